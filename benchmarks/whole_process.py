"""One patient from two files to a table, whole processes: `hepacast extract` beside PyRadiomics' own command.

    python benchmarks/whole_process.py --data DIR [--slices 2.5] [--cores 1,2] [--repeat 3] [--once] [--json FILE]

`DIR` holds `ct/ircadb17`. Each line is a process from its start to its end: start, reading ``.nii.gz``, the 1874
features of the settings `ptlf`, the table written. Both commands run on the same cores (``sched_setaffinity``), with as
many threads as they take by themselves. CPU seconds (user and system) are what counts on a shared machine; wall-clock
seconds stand beside them. hepacast runs `--repeat` times after a first time that compiles, and the fastest counts;
PyRadiomics runs once (with `--once`, on one core only). `--slices` resamples to slices of this many mm; 0 leaves the
scan as it is. At the end both tables are compared value by value.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
# A script named radiomics.py lies in this folder and must not hide the package of that name
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402
import yaml  # noqa: E402

from hepacast.radiomics import Settings  # noqa: E402
from hepacast.radiomics.compare import relative_difference  # noqa: E402

PYRADIOMICS = "from radiomics.scripts import parse_args; parse_args()"


def write_case(data: Path, folder: Path, slices: float) -> int:
    """Write image and liver as packed files; the liver's voxels."""
    source = data / "ct" / "ircadb17"
    image = sitk.ReadImage(str(source / "ircadb17_ct.nii.gz"))
    labels = sitk.ReadImage(str(source / "ircadb17_seg_1liver_2tumour.nii.gz"))
    if slices:
        spacing, size = image.GetSpacing(), image.GetSize()
        resample = sitk.ResampleImageFilter()
        resample.SetReferenceImage(image)
        resample.SetOutputSpacing((*spacing[:2], slices))
        resample.SetSize((*size[:2], int(size[2] * spacing[2] / slices)))
        resample.SetInterpolator(sitk.sitkLinear)
        image = resample.Execute(image)
        resample.SetInterpolator(sitk.sitkNearestNeighbor)
        labels = resample.Execute(labels)
    liver = sitk.Cast(labels > 0, sitk.sitkUInt8)
    sitk.WriteImage(image, str(folder / "ct.nii.gz"), True)
    sitk.WriteImage(liver, str(folder / "liver.nii.gz"), True)
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(liver)))


def commands(folder: Path) -> dict[str, list[str]]:
    """Both commands; each writes `NAME.csv`."""
    settings = folder / "ptlf.yaml"
    settings.write_text(yaml.safe_dump(Settings.load("ptlf").to_pyradiomics()), encoding="utf-8")
    files = [str(folder / "ct.nii.gz"), str(folder / "liver.nii.gz")]
    ours, theirs = str(folder / "hepacast.csv"), str(folder / "pyradiomics.csv")
    return {
        "hepacast": [sys.executable, "-m", "hepacast.cli.main", "extract", "-q", *files, "-o", ours],
        "pyradiomics": [sys.executable, "-c", PYRADIOMICS, *files, "--param", str(settings), "-o", theirs, "-f", "csv"],
    }


def measure(command: list[str], cores: set[int]) -> dict[str, float]:
    """CPU and wall-clock seconds and peak memory (MB) of a process."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise SystemExit(f"{command[2]} failed: {said.read()[-500:]}")
    wall = time.perf_counter() - start
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "mb": used.ru_maxrss / 1024}


def largest_difference(folder: Path) -> tuple[int, float]:
    """Values in both tables, and the largest relative difference."""
    with (folder / "hepacast.csv").open(newline="") as file:
        ours = next(csv.DictReader(file))
    with (folder / "pyradiomics.csv").open(newline="") as file:
        theirs = next(csv.DictReader(file))
    shared = [name for name in ours if name in theirs and "_" in name]
    return len(shared), max(float(relative_difference(float(ours[name]), float(theirs[name]))) for name in shared)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ct/ircadb17")
    parser.add_argument("--slices", type=float, default=2.5, help="mm; 0 leaves the scan as it is")
    parser.add_argument("--cores", default="1,2")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="PyRadiomics on one core only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["voxels"] = write_case(options.data, folder, options.slices)
        print(f"liver of {found['voxels']:,} voxels, load {found['load']:.1f}")
        run = commands(folder)
        measure(run["hepacast"], {0})
        slow: dict[str, float] = {}
        for count in (int(item) for item in options.cores.split(",")):
            cores = set(sorted(os.sched_getaffinity(0))[:count])
            if not slow or not options.once:
                slow = measure(run["pyradiomics"], cores)
            tried = [measure(run["hepacast"], cores) for _ in range(options.repeat)]
            fast = {key: min(item[key] for item in tried) for key in slow}
            ratio = {key: slow[key] / fast[key] for key in slow}
            found[f"{count} cores"] = {"hepacast": fast, "pyradiomics": slow, "ratio": ratio}
            for what, item in found[f"{count} cores"].items():
                print(f"{count} core(s), {what:11s}: " + ", ".join(f"{key} {item[key]:.2f}" for key in item))
        found["values"], found["largest difference"] = largest_difference(folder)
        print(f"{found['values']} values, largest relative difference {found['largest difference']:.1e}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
