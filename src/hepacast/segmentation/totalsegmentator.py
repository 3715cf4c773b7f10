"""TotalSegmentator, where it is installed: its command, run as a child, with no network and no usage statistics."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import MissingPackageError, ModelError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.segmentation.base import LabelMapResult, Progress, SegmentationCost, parenchyma_tumor_map

CITATION = (
    "Wasserthal J, Breit HC, Meyer MT, et al. TotalSegmentator: robust segmentation of 104 anatomic structures in CT "
    "images. Radiol Artif Intell 2023;5:e230024."
)

_Task = tuple[str, list[str], str]
_LIVER: _Task = ("total", ["--roi_subset", "liver"], "liver")
_LESIONS: _Task = ("liver_lesions", [], "liver_lesions")
_DOWNLOAD = "totalseg_download_weights -t total && totalseg_download_weights -t liver_lesions"

#: A port that nothing listens on: a download that is tried nevertheless fails at once, and says so.
_NOWHERE = "http://127.0.0.1:9"


class TotalSegmentatorSegmenter:
    """Liver and liver lesions by TotalSegmentator (tasks ``total``, ``liver_lesions``).

    Parameters
    ----------
    lesions
        Run the task ``liver_lesions`` too.
    fast
        The 3-mm liver model.
    device
        ``gpu``, ``cpu`` or ``gpu:N``.
    timeout
        Seconds a task may take.

    Raises
    ------
    MissingPackageError
        TotalSegmentator is not installed.

    Notes
    -----
    Its models must have been fetched before (``totalseg_download_weights``): at run time no network is used, and
    its anonymous usage statistics are off, whatever its own configuration says.
    """

    name = "totalsegmentator"

    def __init__(
        self, *, lesions: bool = True, fast: bool = False, device: str = "gpu", timeout: float = 7200.0
    ) -> None:
        if importlib.util.find_spec("totalsegmentator") is None:
            raise MissingPackageError(
                "The segmenter 'totalsegmentator' needs the package 'TotalSegmentator', which is not installed.",
                remedy="pip install TotalSegmentator, then " + _DOWNLOAD,
            )
        self._lesions, self._fast, self._device, self._timeout = lesions, fast, device, timeout
        self.structures: tuple[str, ...] = ("parenchyma", "tumor", "liver") if lesions else ("liver",)

    def describe(self) -> dict[str, Any]:
        """Facts for the report."""
        found = _version()
        tasks = "total, liver_lesions" if self._lesions else "total"
        return {
            "source": self.name,
            "version": found,
            "identity": f"TotalSegmentator {found} {tasks}{' fast' if self._fast else ''}",
            "structures": list(self.structures),
            "sentence": f"Masks were made by TotalSegmentator {found} (tasks: {tasks}).",
            "citations": [CITATION],
            "network": None,
        }

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Rough: its documentation gives minutes on a CPU and under a minute on a GPU."""
        tasks = 2 if self._lesions else 1
        return SegmentationCost(tasks * (300.0 if not self._fast else 90.0), int(6e9 + volume.array.size * 40))

    def segment(
        self, volume: Volume, *, liver: Volume | None = None, progress: Progress | None = None
    ) -> LabelMapResult:
        """Segment one CT.

        Parameters
        ----------
        liver
            A liver mask to use in the place of TotalSegmentator's.

        Raises
        ------
        ModelError
            Its models are not on this computer, or it failed (with the end of its stderr).
        """
        from hepacast.imaging.io import write_volume

        start = time.perf_counter()
        report = progress or (lambda share, message: None)
        with tempfile.TemporaryDirectory(prefix="hepacast-") as name:
            folder = Path(name)
            image = folder / "image.nii.gz"
            write_volume(volume, image)
            environment = _environment(folder)
            if liver is None:
                report(0.05, "TotalSegmentator: liver")
                liver = self._run(_LIVER, image, folder, environment, volume)
            else:
                volume.geometry.require_same(liver.geometry, what="the liver mask")
            if not self._lesions:
                labelmap = LabelMap(volume.with_array(liver.array.astype(np.uint8)), {"liver": 1})
            else:
                report(0.5, "TotalSegmentator: lesions")
                tumor = self._run(_LESIONS, image, folder, environment, volume)
                labelmap = parenchyma_tumor_map(liver, tumor)
        report(1.0, "done")
        empty = [name for name, value in labelmap.labels.items() if not (labelmap.volume.array == value).any()]
        notes = (f"no voxel of {', '.join(empty)} was found",) if empty else ()
        return LabelMapResult(labelmap, self.name, time.perf_counter() - start, notes)

    def _run(self, task: _Task, image: Path, folder: Path, environment: dict[str, str], volume: Volume) -> Volume:
        from hepacast.imaging.io import read_volume

        name, options, file = task
        output = folder / name
        command = [*_command(), "-i", str(image), "-o", str(output), "--task", name, *options]
        command += ["--device", self._device]
        if self._fast and name == "total":
            command.append("--fast")
        try:
            run = subprocess.run(
                command, env=environment, capture_output=True, encoding="utf-8", errors="replace",
                timeout=self._timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise _failed(name, f"no result within {self._timeout:.0f} s") from error
        result = output / f"{file}.nii.gz"
        if run.returncode != 0 or not result.is_file():
            lines = [line for line in (run.stdout + "\n" + run.stderr).splitlines() if line.strip()]
            raise _failed(name, "\n".join(lines[-15:]) or f"exit code {run.returncode}, no {result.name}")
        mask = read_volume(result)
        volume.geometry.require_same(mask.geometry, what=f"TotalSegmentator's {file}")
        return volume.with_array(mask.array != 0)


def _failed(task: str, found: str) -> ModelError:
    return ModelError(
        f"TotalSegmentator's task {task!r} failed.",
        found=found,
        remedy=f"fetch its models once, with internet: {_DOWNLOAD}; use device cpu where there is no GPU",
    )


def _version() -> str:
    try:
        return version("TotalSegmentator")
    except PackageNotFoundError:
        return "of unknown version"


def _command() -> list[str]:
    """Its console script beside this Python, or its module."""
    script = shutil.which("TotalSegmentator", path=str(Path(sys.executable).parent)) or shutil.which("TotalSegmentator")
    return [script] if script else [sys.executable, "-m", "totalsegmentator.bin.TotalSegmentator"]


def _environment(folder: Path) -> dict[str, str]:
    """Its models, a configuration of our own without usage statistics, and no way to the network."""
    home = Path(os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator")
    weights = Path(os.environ.get("TOTALSEG_WEIGHTS_PATH") or home / "nnunet" / "results")
    if not weights.is_dir() or not any(weights.iterdir()):
        raise ModelError(
            "TotalSegmentator's models are not on this computer.",
            expected="fetched models",
            where=str(weights),
            remedy=f"with internet, once: {_DOWNLOAD}; or copy that folder from another computer",
        )
    settings = {"totalseg_id": "totalseg_00000000", "prediction_counter": 0, "statistics_disclaimer_shown": True}
    known = home / "config.json"
    if known.is_file():
        settings |= {k: v for k, v in json.loads(known.read_text(encoding="utf-8")).items() if k == "license_number"}
    private = folder / "totalsegmentator"
    private.mkdir()
    (private / "config.json").write_text(json.dumps({**settings, "send_usage_stats": False}), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    for scheme in ("http", "https", "all"):
        environment[f"{scheme}_proxy"] = environment[f"{scheme.upper()}_PROXY"] = _NOWHERE
    return {**environment, "TOTALSEG_HOME_DIR": str(private), "TOTALSEG_WEIGHTS_PATH": str(weights)}
