"""What tests of the node share: small series, a maker that is quick, a PACS that is a dictionary."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from hepacast.imaging import read_volume
from hepacast.imaging.dicom import read_series
from hepacast.imaging.dicom_seg_write import write_dicom_seg
from hepacast.pacs.config import NodeConfig
from hepacast.pacs.peer import FoundSeries, Instance, PacsError

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_files import write_series
from dicom_volume import write_volume_as_dicom

BUNDLE = Path(__file__).parents[1] / "bundle" / "old" / "2313617" / "ptlf.hepacast"
IDENTITY = "7a083c9818419f57"
HEIGHTS = [5.0 * n for n in range(6)]


def study_files(folder: Path, number: int, **attributes: Any) -> list[Path]:
    """The slices of one small study."""
    more = {"StudyInstanceUID": f"1.2.3.{number}", "PatientID": f"SECRET-{number}", **attributes}
    return write_series(folder / f"study-{number}", HEIGHTS, series=f"1.2.3.{number}.1", **more)


def config(folder: Path, **changes: Any) -> NodeConfig:
    """A node that waits for nothing."""
    content = {
        "folder": str(folder / "queue"),
        "listen": {"callers": {"SENDER": "127.0.0.1"}},
        "model": {"bundle": str(BUNDLE), "identity": IDENTITY},
        "series": {"portal": {"words": ["portal"], "min_images": 3}},
        "send_to": ["PACS@127.0.0.1:1"],
        "quiet_s": 0.0,
        **changes,
    }
    return NodeConfig.model_validate(content)


def quick(images: Path, results: Path) -> None:
    """Results as the prediction's are (named by their content), made in a moment: one SEG."""
    image = read_series(images)
    write_dicom_seg({"liver": image.with_array(image.array > -22)}, images, results / "segmentation.dcm")


def slow(images: Path, results: Path) -> None:
    """The same with time to be killed in."""
    time.sleep(0.4)
    quick(images, results)
    time.sleep(0.4)


class ShelfPeer:
    """A PACS in memory that counts how often it got each instance."""

    name = "shelf"

    def __init__(self) -> None:
        self.shelf: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self.up = True

    def _answer(self) -> None:
        if not self.up:
            raise PacsError("The PACS does not answer.", found="test", where=self.name)

    def echo(self) -> None:
        self._answer()

    def find(self, filters: Mapping[str, str]) -> list[FoundSeries]:
        self._answer()
        found: dict[str, list[pydicom.Dataset]] = {}
        for content in self.shelf.values():
            header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            if all(str(header.get(keyword)) == value for keyword, value in filters.items()):
                found.setdefault(str(header.SeriesInstanceUID), []).append(header)
        return [
            FoundSeries(
                str(items[0].StudyInstanceUID), series, str(items[0].Modality),
                description=str(items[0].get("SeriesDescription", "")), instances=len(items),
            )
            for series, items in found.items()
        ]  # fmt: skip

    def retrieve(self, series: FoundSeries) -> Iterator[tuple[str, bytes]]:
        self._answer()
        for content in self.shelf.values():
            header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            if str(header.SeriesInstanceUID) == series.series:
                yield str(header.SOPInstanceUID), content

    def store(self, instances: Sequence[Instance]) -> dict[str, str]:
        self._answer()
        for item in instances:
            self.shelf[item.uid] = item.path.read_bytes()
            self.times[item.uid] = self.times.get(item.uid, 0) + 1
        return {}

    def holds(self, instances: Sequence[Instance]) -> set[str]:
        self._answer()
        return {item.uid for item in instances} & set(self.shelf)


def receive(node: Any, files: Sequence[Path]) -> list[int]:
    """Hand files to a node as its receiver does."""
    found = []
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        uids = [str(header.get(f"{name}InstanceUID") or "") for name in ("Study", "Series", "SOP")]
        found.append(node.keep(*uids, file.read_bytes()))
    return found


IMAGES = BUNDLE.parents[1] / "images"


def real(images: Path, results: Path) -> None:
    """The prediction itself, with the mask of the virtual patient that all studies are variants of."""
    from hepacast.study.predict import predict_patient

    mask = IMAGES / "ptlf-P001-mask.nii.gz"
    predict_patient(BUNDLE, image=images, mask=mask, labs=["alb=28.7"], dicom_out=results)


def virtual_patient(folder: Path, number: int) -> list[Path]:
    """A variant of the virtual patient as a study of its own."""
    image = read_volume(IMAGES / "ptlf-P001-portal.nii.gz")
    noise = np.random.default_rng(number).normal(0, 3, image.array.shape)
    image = image.with_array((image.array + noise).round().astype(np.int16))
    name = {"PatientName": f"Virtual^{number}=张^小东", "SpecificCharacterSet": "GB18030"}
    more = {"StudyInstanceUID": f"1.2.4.{number}", "FrameOfReferenceUID": f"1.2.4.{number}.9", **name}
    place = folder / f"patient-{number}"
    write_volume_as_dicom(place, image, series=f"1.2.4.{number}.1", PatientID=f"V{number}", **more)
    return sorted(place.iterdir())
