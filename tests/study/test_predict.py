"""A bundle of networks applied to one patient's files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest

from hepacast.bundle.networks import SCORE, NetworkBundle
from hepacast.core.files import read_json
from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, TrainedNetwork
from hepacast.errors import BundleError, HepacastError, ImageError, StudyFileError
from hepacast.imaging import Geometry, Volume, read_volume
from hepacast.imaging.io import write_volume
from hepacast.imaging.labels import LabelMap
from hepacast.modelling.score_scale import ScoreScale
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.segmentation.base import PARENCHYMA_TUMOR, LabelMapResult, SegmentationCost
from hepacast.study.predict import predict_patient
from hepacast.study.stages.bundle import _segmenter_card

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_files import write_slice
from rtstruct_files import rectangle, write_rtstruct

pytest.importorskip("torch")

GRID = Geometry((30, 28, 16), (3.0, 3.0, 5.0))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """``n.hepacast``, ``ct.nii.gz`` and ``mask.nii.gz``."""
    from hepacast.deep.training import new_network

    folder = tmp_path_factory.mktemp("one")
    crop = CropSpec(voi="tumor", size=(8, 8, 8), size_mm=(40.0, 40.0, 40.0), channels=["arterial"])
    spec = DeepSpec(crop=crop, network=NetworkSpec(encoder="resnet10", width=4, stages=2, features=4))
    networks = [
        TrainedNetwork(
            spec.network,
            1,
            {name: value.numpy() for name, value in new_network(spec, 1, 0, seed).state_dict().items()},
        )
        for seed in (1, 2)
    ]
    card = {"name": "Response", "outcome": {"name": "OR"}, "intended_use": "tests"}
    recipe = ImageRecipe("images", sequences={"arterial": "CT"}, labels={"parenchyma": 1, "tumor": 2})
    parts = ("net", crop, recipe, ScoreScale(0.0, 1.0), 0.5, tuple(networks), card)
    NetworkBundle(*parts, seen={SCORE: (900.0, 901.0)}).write(folder / "n.hepacast")
    generator = np.random.default_rng(4)
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[3:14, 5:24, 6:26] = 1
    labels[6:11, 10:18, 12:20] = 2
    write_volume(Volume(generator.normal(80, 30, GRID.shape).astype(np.int16), GRID), folder / "ct.nii.gz")
    write_volume(Volume(labels, GRID), folder / "mask.nii.gz")
    return folder


def test_all_files_are_written_and_an_unlike_patient_is_told(files: Path, tmp_path: Path) -> None:
    found = predict_patient(
        files / "n.hepacast", image=files / "ct.nii.gz", mask=files / "mask.nii.gz", out=tmp_path / "one"
    )
    names = {item.name for item in (tmp_path / "one").iterdir()}
    assert names == {"prediction.json", "prediction.pdf", "overlay.png", "grad-cam.nii.gz", "mask-networks.nii.gz"}
    assert read_json(tmp_path / "one" / "prediction.json")["risk"] == found.risk
    (told,) = [text for text in found.warnings if text.startswith(SCORE)]
    assert told.endswith("outside the training range, 900 to 901")
    assert "disagreement of the folds' networks" in found.interval_of


def test_what_the_networks_cannot_use_is_refused(files: Path) -> None:
    bundle, image = files / "n.hepacast", files / "ct.nii.gz"
    with pytest.raises(BundleError, match="no such model"):
        predict_patient(bundle, image=image, model="combined")
    with pytest.raises(HepacastError, match="knows no clinical value"):
        predict_patient(bundle, image=image, labs=["alb=38"])
    with pytest.raises(BundleError, match="applied to an image"):
        predict_patient(bundle)


def test_a_dicom_patient_is_predicted_from_the_series_that_is_named(files: Path, tmp_path: Path) -> None:
    """DICOM of two phases with contours, beside the same voxels as NIfTI with a label map."""
    bundle, image, mask = files / "n.hepacast", read_volume(files / "ct.nii.gz"), files / "mask.nii.gz"
    expected = predict_patient(bundle, image=files / "ct.nii.gz", mask=mask)
    for uid, number, change in (("1.2.1", 4, 0), ("1.2.2", 7, 60)):
        for k, plane in enumerate(image.array):
            more = {"SeriesNumber": number, "PixelSpacing": [3.0, 3.0], "ImagesInAcquisition": 40}
            place = (0.0, 0.0, 5.0 * k)
            path = tmp_path / "scan" / f"{number}-{k}.dcm"
            write_slice(path, place, instance=k + 1, series=uid, pixels=plane + change + 1024, **more)
    tumor = [rectangle((12 * 3 - 1.5, 20 * 3 - 1.5), (10 * 3 - 1.5, 18 * 3 - 1.5), 5.0 * k) for k in range(6, 11)]
    liver = [rectangle((6 * 3 - 1.5, 26 * 3 - 1.5), (5 * 3 - 1.5, 24 * 3 - 1.5), 5.0 * k) for k in range(3, 14)]
    holes = [*liver, *tumor]  # parenchyma: the liver without the tumor
    contours = write_rtstruct(tmp_path / "rt.dcm", {"Parenchyma": holes, "Tumor": tumor})
    with pytest.raises(ImageError, match="--series"):
        predict_patient(bundle, image=tmp_path / "scan", mask=contours)
    for choice in (4, "1.2.1", ["arterial=4"], {"arterial": "4"}):
        found = predict_patient(bundle, image=tmp_path / "scan", mask=contours, series=choice)
        assert found.risk == pytest.approx(expected.risk, abs=1e-12)
    assert any("announced 40" in text for text in found.warnings)
    assert predict_patient(bundle, image=tmp_path / "scan", mask=contours, series=7).risk != found.risk
    with pytest.raises(StudyFileError, match="which image a series is of"):
        predict_patient(bundle, image=tmp_path / "scan", mask=contours, series={"portal": 4})
    for path in (tmp_path / "scan").iterdir():
        header = pydicom.dcmread(path)
        header.Modality = "MR"
        header.save_as(path)
    with pytest.raises(ImageError, match="another modality: MR"):
        predict_patient(bundle, image=tmp_path / "scan", mask=contours, series=4)


class _Painter:
    """A segmenter that gives the masks of a file."""

    name, structures = "painter", ("parenchyma", "tumor", "liver")

    def __init__(self, path: Path) -> None:
        self.path = path

    def estimate(self, volume: Volume) -> SegmentationCost:
        return SegmentationCost(0.0, 0)

    def segment(self, volume: Volume, **_: object) -> LabelMapResult:
        labels = read_volume(self.path)
        return LabelMapResult(LabelMap(labels.with_array(labels.array.astype(np.uint8)), PARENCHYMA_TUMOR), self.name)


def test_a_made_mask_that_is_hardly_a_liver_is_refused_unless_accepted(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The liver of these files has 188 mL and lies in the middle of the image."""
    asked = []

    def prepared(model: str) -> _Painter:
        asked.append(model)
        return _Painter(files / "mask.nii.gz")

    monkeypatch.setattr("hepacast.study.patient_images.prepared_segmenter", prepared)
    with pytest.raises(ImageError, match=r"(?s)hardly a liver.*accept-doubtful"):
        predict_patient(files / "n.hepacast", image=files / "ct.nii.gz")
    found = predict_patient(files / "n.hepacast", image=files / "ct.nii.gz", accept_doubtful=True)
    assert any("hardly a liver" in warning and "accepted" in warning for warning in found.warnings)
    # A person who has drawn this mask is believed.
    predict_patient(files / "n.hepacast", image=files / "ct.nii.gz", mask=files / "mask.nii.gz")
    # The masks are made as those of the training were, where the bundle says so.
    opened = NetworkBundle.read(files / "n.hepacast")
    opened = replace(opened, card={**opened.card, "segmenter": "builtin:openvino"})
    predict_patient(opened, image=files / "ct.nii.gz", accept_doubtful=True)
    predict_patient(opened, image=files / "ct.nii.gz", segmenter="totalsegmentator", accept_doubtful=True)
    assert asked == ["builtin", "builtin", "builtin:openvino", "totalsegmentator"]


@pytest.mark.parametrize(
    ("source", "kept"),
    [("builtin:openvino-bf16", {"segmenter": "builtin:openvino-bf16"}), ("given", {}), ("nnunet:/home/x", {})],
)
def test_a_bundle_says_how_the_training_masks_were_made(source: str, kept: dict[str, Any]) -> None:
    images = SimpleNamespace(segmentation=SimpleNamespace(source=source))
    context: Any = SimpleNamespace(images=images, study=SimpleNamespace(images=images))
    assert _segmenter_card(context, {}) == kept
    made_by = {"name": "nnunet", "identity": "abc", "channels": ["ct"]}
    assert _segmenter_card(context, {"segmenter": made_by}) == kept | {"made_by": made_by}
