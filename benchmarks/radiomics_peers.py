"""One peer's features of one VOI of one image, run by `radiomics.py` inside that peer's own environment.

    python benchmarks/radiomics_peers.py NAME IMAGE.nii MASK.nii

Prints READY before and one line of JSON after. What each computes is as near as it offers to the original image's
seven PyRadiomics classes (107 features) with bins of width 25.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

CLASSES = ["firstorder", "shape", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]


def flash_radiomics(image: str, mask: str) -> Callable[[], Any]:
    from flash_radiomics import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor(backend="cpu", binWidth=25, distances=[1])
    folder = tempfile.mkdtemp()
    return lambda: extractor.execute(image, mask, label=1, output_hdf5_path=f"{folder}/out.h5", case_id="a", roi_id="b")


def fastrad(image: str, mask: str) -> Callable[[], Any]:
    import numpy as np
    import SimpleITK as sitk
    import torch
    from fastrad import FeatureExtractor, FeatureSettings, Mask, MedicalImage

    torch.set_num_threads(1)
    picture = sitk.ReadImage(image)
    spacing = picture.GetSpacing()
    array = torch.from_numpy(sitk.GetArrayFromImage(picture).astype(np.float32))
    label = torch.from_numpy((sitk.GetArrayFromImage(sitk.ReadImage(mask)) > 0).astype(np.float32))
    extractor = FeatureExtractor(FeatureSettings(feature_classes=CLASSES, bin_width=25.0, device="cpu"))
    return lambda: extractor.extract(MedicalImage(array, spacing), Mask(label, spacing))


def numpyradiomics(image: str, mask: str) -> Callable[[], Any]:
    import numpyradiomics as library
    import SimpleITK as sitk

    picture = sitk.ReadImage(image)
    spacing = picture.GetSpacing()[::-1]
    array = sitk.GetArrayFromImage(picture).astype(float)
    label = sitk.GetArrayFromImage(sitk.ReadImage(mask)) > 0

    def work() -> dict[str, Any]:
        found = dict(library.firstorder(array, label, binWidth=25))
        found.update({f"shape_{key}": value for key, value in library.shape(label, spacing).items()})
        for name in CLASSES[2:]:
            found.update({f"{name}_{k}": v for k, v in getattr(library, name)(array, label, binWidth=25).items()})
        return found

    return work


def mirp(image: str, mask: str) -> Callable[[], Any]:
    from mirp import extract_features

    families = ["morphological", "statistics", "glcm", "glrlm", "glszm", "ngldm", "ngtdm"]

    def work() -> dict[str, Any]:
        table = extract_features(
            image=image,
            mask=mask,
            image_modality="ct",
            base_discretisation_method="fixed_bin_size",
            base_discretisation_bin_width=25.0,
            base_feature_families=families,
            resegmentation_intensity_range=[-1100.0, 3100.0],
            num_cpus=1,
        )[0]
        return dict.fromkeys(table.columns)

    return work


def nyxus(image: str, mask: str) -> Callable[[], Any]:
    from nyxus import Nyxus3D

    engine = Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=1, coarse_gray_depth=64)
    return lambda: dict.fromkeys(engine.featurize_files([image], [mask], False).columns)


PEERS: dict[str, Callable[[str, str], Callable[[], Any]]] = {
    "flash-radiomics": flash_radiomics,
    "numpyradiomics": numpyradiomics,
    "nyxus": nyxus,
    "mirp": mirp,
    "fastrad": fastrad,
}


def main() -> None:
    """Prepare, say READY, compute, print the time."""
    name, image, mask = sys.argv[1:4]
    work = PEERS[name](image, mask)
    print("READY", flush=True)
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "features": len(found)}), flush=True)


if __name__ == "__main__":
    main()
