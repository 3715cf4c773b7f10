"""Virtual patients laid out as HCC-TACE-Seg lies in IDC: two examinations, phases, original and AI-made masks."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from hepacast.core.seeds import rng
from hepacast.imaging import Volume
from hepacast.imaging.dicom_seg_write import write_dicom_seg
from hepacast.phantom.ct import PhantomCT
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.phantom.tace_ct import TaceImage, make_tace_ct

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_volume import write_volume_as_dicom

OWN, AI = "10.7937/tcia.5fna-0924", "10.5281/zenodo.8345959"
#: Names of the original segments, in their order.
SEGMENTS = ("Liver", "Mass", "Portal vein", "Abdominal aorta")


@dataclass
class VirtualCollection:
    """Rows of the index, and the files of each series by its folder in the bucket."""

    rows: list[dict[str, Any]]
    files: dict[str, dict[str, bytes]]

    def write_index(self, path: Path) -> Path:
        """As the package holds it."""
        pd.DataFrame(self.rows).to_csv(path, index=False)
        return path

    def folder(self, patient: str, description: str, study: str = "") -> str:
        """The folder in the bucket of one series."""
        for row in self.rows:
            if (row["patient"], row["description"]) == (patient, description) and study in row["study"]:
                return row["uuid"]
        raise KeyError(description)


def four_masks(scan: PhantomCT) -> dict[str, Volume]:
    """Masks as the makers of the collection drew them: the liver whole, its tumor within, two vessels."""
    labels = scan.labels.volume
    liver = labels.array > 0
    vessel = ndimage.binary_erosion(liver, iterations=2) & (labels.array == 1)
    aorta = np.zeros_like(liver)
    aorta[:, liver.shape[1] * 3 // 4, liver.shape[2] // 2] = True
    arrays = (liver, labels.array == 2, vessel, aorta)
    return {name: labels.with_array(mask) for name, mask in zip(SEGMENTS, arrays, strict=True)}


def make_patients(
    folder: Path, numbers: Iterable[int], *, mixed: Callable[[int], bool] = lambda n: n % 2 == 1, size: str = "tiny"
) -> VirtualCollection:
    """Write the DICOM files of some patients.

    Parameters
    ----------
    numbers
        Of the patients, as in the collection: 1 is HCC_001.
    mixed
        Whose arterial and portal venous phase lie in one series, as after many scanners; else they are two.
    """
    made = VirtualCollection([], {})
    for n in numbers:
        _patient(made, folder / f"HCC_{n:03d}", n, mixed(n), size)
    return made


def _patient(made: VirtualCollection, folder: Path, n: int, mixed: bool, size: str) -> None:
    patient, draw = f"HCC_{n:03d}", rng(7, "virtual-collection", n)
    base = PatientSpec(patient, 7, tumors=(TumorSpec("right", float(draw.uniform(50, 80))),))
    scan = make_tace_ct(TaceImage(base, float(draw.normal()), float(draw.normal())), size)
    plain = scan.image.with_array((scan.image.array - 30 * (scan.labels.volume.array > 0)).astype(np.int16))
    before, after = f"1.2.{n}.1", f"1.2.{n}.2"
    # The first patients alone came back.
    for study, date in ((before, "1999-03-01"), (after, "1999-05-01"))[: 2 if n <= 3 else 1]:
        common = {"PatientID": patient, "StudyInstanceUID": study, "FrameOfReferenceUID": f"{study}.9"}
        pre = folder / study / "pre"
        _series(pre, plain, f"{study}.2", 2, "PRE LIVER", common)
        made_series = [(pre, f"{study}.2", 2, "PRE LIVER")]
        venous = scan.image
        arterial = venous.with_array(np.maximum(venous.array - 15, -1024).astype(np.int16))
        if mixed:
            both = folder / study / "both"
            for acquisition, image in ((1, arterial), (2, venous)):
                more = {**common, "AcquisitionNumber": acquisition}
                _series(both / str(acquisition), image, f"{study}.4", 4, "Recon 2: LIVER 3 PHASE (AP)", more)
            made_series.append((both, f"{study}.4", 4, "Recon 2: LIVER 3 PHASE (AP)"))
            drawn = both / "2"
        else:
            for place, image, name in ((4, arterial, "Recon 2"), (5, venous, "Recon 3")):
                where, words = folder / study / str(place), f"{name}: LIVER 3 PHASE (AP)"
                _series(where, image, f"{study}.{place}", place, words, common)
                made_series.append((where, f"{study}.{place}", place, words))
            drawn = folder / study / "5"
        for where, series, place, words in made_series:
            _add(made, where, patient, study, date, series, place, "CT", words)
        if study == before:
            masks = four_masks(scan)
            write_dicom_seg(masks, drawn, folder / "seg" / "seg.dcm")
            _add(made, folder / "seg", patient, study, date, f"{study}.300", 300, "SEG", "Segmentation")
        write_dicom_seg({"Liver": four_masks(scan)["Liver"]}, drawn, folder / study / "ai" / "ai.dcm")
        words = "AIMI liver-tumor AI segmentation"
        _add(made, folder / study / "ai", patient, study, date, f"{study}.301", 300, "SEG", words, "bamf")


def _series(folder: Path, image: Volume, series: str, number: int, words: str, common: dict[str, Any]) -> None:
    # The slice's place in the series decides its SOPInstanceUID: two phases in one series must not share theirs.
    write_volume_as_dicom(folder, image, series=series, SeriesNumber=number, SeriesDescription=words, **common)


def _add(
    made: VirtualCollection, folder: Path, patient: str, study: str, date: str, series: str, number: int,
    modality: str, words: str, derived: str = "",
) -> None:  # fmt: skip
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, series))
    content = [path.read_bytes() for path in sorted(folder.rglob("*.dcm"))]
    made.files[key] = {f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{series}.{i}')}.dcm": one for i, one in enumerate(content)}
    made.rows.append(
        {
            "collection": "hcc_tace_seg", "patient": patient, "study": study, "study_date": date, "series": series,
            "number": str(number), "modality": modality, "description": words, "derived_by": derived,
            "files": len(content), "bytes": sum(map(len, content)), "license": "CC BY 4.0",
            "doi": AI if derived else OWN, "bucket": "idc-open-data", "uuid": key,
        }
    )  # fmt: skip
