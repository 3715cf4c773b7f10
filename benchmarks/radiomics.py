"""Time and memory of the radiomics engine beside PyRadiomics and other libraries, all in one run.

    python benchmarks/radiomics.py --data DIR [--json FILE] [--workers 1,2] [--peers]
        [--cases native,1mm] [--no-oracle] [--no-growth] [--environments DIR] [--limit SECONDS]

`DIR` holds `ct/ircadb17`. Each measurement is a process of its own; times are wall-clock seconds of the extraction
without reading files, memory is the peak of the process's resident set above what it held just before. The VOIs are
the whole liver and the tumors (1874 features each); in a line of its own hepacast measures the parenchyma as well.
With two workers two patients (the same one twice) are extracted at once and the time is that of one. `--peers` installs
each peer into an environment that is thrown away (kept in `--environments` for the next run), and is for the original
image only (most peers have no filters); a peer is stopped after `--limit` seconds.
Run it on a quiet machine: PyRadiomics takes minutes, the peers more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
# This file's name must not hide the package `radiomics`
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]
sys.path.insert(0, str(HERE.with_name("tools")))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from measured import run  # noqa: E402

PEERS = {
    "flash-radiomics": ["flash-radiomics", "numpy", "h5py", "pykwalify", "PyWavelets", "scipy", "scikit-image",
                        "scikit-learn", "trimesh"],
    "numpyradiomics": ["numpyradiomics"],
    "nyxus": ["nyxus"],
    "mirp": ["mirp"],
    "fastrad": ["fastrad"],
}  # fmt: skip
PAIR = {"liver": [1, 2], "tumor": [2]}
ORIGINAL = {
    "imageType": {"Original": {}},
    "featureClass": dict.fromkeys(["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]),
    "setting": {"binWidth": 25},
}


# ---------------------------------------------------------------------------------------------- the measuring side


def task(what: str, **arguments: Any) -> list[str]:
    """The command that runs one measurement of this file."""
    return [sys.executable, str(HERE), "--task", json.dumps({"what": what, **arguments})]


# --------------------------------------------------------------------------------------------------- the child side


def child(arguments: dict[str, Any]) -> None:
    """Prepare, say READY, measure, print one line of JSON."""
    what = arguments.pop("what")
    work = {"extract": _extract, "compile": _compile, "growth": _growth}[what](**arguments)
    print("READY", flush=True)
    print(json.dumps(work()), flush=True)


def _read(folder: str, labels: dict[str, list[int]]) -> tuple[Any, dict[str, Any]]:
    from hepacast.imaging import read_volume

    image = read_volume(Path(folder) / "image.nii")
    labelled = read_volume(Path(folder) / "labels.nii")
    return image, {name: labelled.with_array(np.isin(labelled.array, values)) for name, values in labels.items()}


def _extract(
    folder: str, labels: dict[str, list[int]], settings: Any, backend: str, stages: bool = False
) -> Callable[[], dict[str, Any]]:
    from hepacast.radiomics import extract

    image, vois = _read(folder, labels)
    if backend == "hepacast":
        extract(*_small(), settings)  # compiled code is loaded from its cache here

    def work() -> dict[str, Any]:
        times: dict[str, float] = {}
        with _stage_times(times) if stages else _nothing():
            start = time.perf_counter()
            result = extract(image, vois, settings, backend=backend)  # type: ignore[arg-type]
            seconds = time.perf_counter() - start
        features = {name: sum(1 for value in _values(result[name]) if np.isfinite(value)) for name in vois}
        return {"seconds": seconds, "features": features, **({"stages": times} if stages else {})}

    return work


def _values(result: Any) -> list[float]:
    return list(result.features.values())


def _small() -> tuple[Any, dict[str, Any]]:
    """A small image with two VOIs, for compilation and loading."""
    from hepacast.imaging import Geometry, Volume

    rng = np.random.default_rng(0)
    grid = Geometry((24, 22, 20), (1.0, 1.0, 1.0))
    image = Volume(rng.normal(100, 60, grid.shape).astype(np.int16), grid)
    inside = np.zeros(grid.shape, dtype=bool)
    inside[4:16, 4:18, 4:20] = True
    part = np.zeros_like(inside)
    part[6:10, 6:12, 6:12] = True
    return image, {"liver": Volume(inside, grid), "tumor": Volume(part, grid)}


def _compile() -> Callable[[], dict[str, Any]]:
    """The first call in a process and the second: with an empty cache the difference is compilation."""

    def work() -> dict[str, Any]:
        from hepacast.radiomics import extract

        small = _small()
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            extract(*small, "ptlf")
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds[0] - seconds[1]}

    return work


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _stage_times(times: dict[str, float]) -> Iterator[None]:
    """Add up the time of filters by image type, of feature classes, of shape and of preparation."""
    from hepacast.radiomics import core, diagnostics, extraction

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                times[name] = times.get(name, 0.0) + time.perf_counter() - start

        return call

    def filtered(image_type: str, *args: Any) -> Iterator[Any]:
        images = make_filtered(image_type, *args)
        following = timed(f"filter {image_type}", lambda: next(images, None))
        while (item := following()) is not None:
            yield item

    make_filtered = extraction.filtered_images
    kept = [(extraction, name, getattr(extraction, name)) for name in ("filtered_images", "prepare", "shape_features")]
    kept += [(diagnostics, name, getattr(diagnostics, name)) for name in ("image_entries", "mask_entries")]
    classes = dict(core._CLASSES)
    levels = core._Work.level_image
    try:
        extraction.filtered_images = filtered  # type: ignore[assignment]
        extraction.prepare = timed("preparation (with diagnostics)", kept[1][2])
        extraction.shape_features = timed("class shape", kept[2][2])
        for module, name, function in kept[3:]:
            setattr(module, name, timed("diagnostics", function))
        core._Work.level_image = timed("grey levels", levels)  # type: ignore[method-assign]
        core._CLASSES.update({name: timed(f"class {name}", function) for name, function in classes.items()})
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)
        core._Work.level_image = levels  # type: ignore[method-assign]
        core._CLASSES.update(classes)


def _growth(folder: str) -> Callable[[], dict[str, Any]]:
    """Seconds of one image's features by voxels and by grey levels, and of each image type."""
    from hepacast.radiomics import Settings, extract

    image, vois = _read(folder, {"liver": [1, 2]})
    mask = vois["liver"].array
    extract(*_small(), "ptlf")

    def timed(inside: np.ndarray, settings: Any) -> float:
        part = vois["liver"].with_array(inside)
        best = np.inf
        for _ in range(2):
            start = time.perf_counter()
            extract(image, part, settings)
            best = min(best, time.perf_counter() - start)
        return float(best)

    def original(width: float, **more: Any) -> dict[str, Any]:
        return {**ORIGINAL, "setting": {"binWidth": width, "additionalInfo": False, **more}}

    def work() -> dict[str, Any]:
        places = np.flatnonzero(mask)
        voxels = {}
        for share in (0.05, 0.1, 0.25, 0.5, 1.0):
            part = np.zeros(mask.size, dtype=bool)
            part[places[: int(share * len(places))]] = True
            voxels[int(part.sum())] = timed(part.reshape(mask.shape), original(25))
        inside = image.array[mask].astype(float)
        levels = {}
        for width in (100, 25, 10, 5, 2, 1):
            count = int(inside.max() // width - inside.min() // width + 1)
            levels[count] = timed(mask, original(width))
        types = {
            name: timed(mask, {"imageType": {name: own}, "featureClass": ORIGINAL["featureClass"],
                               "setting": {"binWidth": 25, "additionalInfo": False}})
            for name, own in Settings.load("ptlf").image_types.items()
        }  # fmt: skip
        return {"voxels": voxels, "grey levels": levels, "image types": types}

    return work


# -------------------------------------------------------------------------------------------------------- the cases


def write_cases(data: Path, folder: Path, wanted: list[str]) -> dict[str, dict[str, Any]]:
    """The native scan and a copy of 1 mm, as uncompressed files."""
    import SimpleITK as sitk

    source = data / "ct" / "ircadb17"
    image = sitk.ReadImage(str(source / "ircadb17_ct.nii.gz"))
    labels = sitk.ReadImage(str(source / "ircadb17_seg_1liver_2tumour.nii.gz"))
    cases = {}
    for name in wanted:
        if name == "1mm":
            size = [round(n * step) for n, step in zip(image.GetSize(), image.GetSpacing(), strict=True)]
            resample = sitk.ResampleImageFilter()
            resample.SetReferenceImage(image)
            resample.SetOutputSpacing((1.0, 1.0, 1.0))
            resample.SetSize(size)
            resample.SetInterpolator(sitk.sitkBSpline)
            picture = resample.Execute(image)
            resample.SetInterpolator(sitk.sitkNearestNeighbor)
            marked = resample.Execute(labels)
        else:
            picture, marked = image, labels
        place = folder / name
        place.mkdir()
        sitk.WriteImage(picture, str(place / "image.nii"))
        sitk.WriteImage(marked, str(place / "labels.nii"))
        liver = sitk.Cast(marked > 0, sitk.sitkUInt8)
        sitk.WriteImage(liver, str(place / "liver.nii"))
        array = sitk.GetArrayViewFromImage(marked)
        cases[name] = {
            "folder": str(place),
            "size": list(picture.GetSize()),
            "voxels": {"liver": int((array > 0).sum()), "tumor": int((array == 2).sum())},
        }
    return cases


def measure_case(case: dict[str, Any], workers: list[int], oracle: bool) -> dict[str, Any]:
    """hepacast with each number of workers, then PyRadiomics, on the liver and the tumors."""
    result: dict[str, Any] = {}
    arguments = {"folder": case["folder"], "settings": "ptlf"}
    for count in workers:
        command = task("extract", labels=PAIR, backend="hepacast", stages=False, **arguments)
        result[f"hepacast, {count} workers"] = _together(command, count)
    result["hepacast, stages"] = run(task("extract", labels=PAIR, backend="hepacast", stages=True, **arguments))
    three = {**PAIR, "parenchyma": [1]}
    result["hepacast, three VOIs"] = run(task("extract", labels=three, backend="hepacast", **arguments))
    if oracle:
        result["pyradiomics"] = run(task("extract", labels=PAIR, backend="pyradiomics", **arguments))
        slow = result["pyradiomics"].get("seconds")
        for count in workers:
            fast = result[f"hepacast, {count} workers"].get("seconds")
            if slow and fast:
                result[f"ratio, {count} workers"] = slow / fast
    return result


def _together(command: list[str], count: int) -> dict[str, Any]:
    """`count` processes at the same time; the time of one patient is the longest of them divided by their number."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]

    def one(place: int) -> None:
        found[place] = run(command)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [item for item in found if item["status"] != "ok"]
    if failed:
        return failed[0]
    return {**found[0], "seconds": max(item["seconds"] for item in found) / count}


def measure_peers(case: dict[str, Any], folder: Path, limit: float) -> dict[str, Any]:
    """The original image's features of the liver by every peer that installs, with hepacast and PyRadiomics."""
    arguments = {"folder": case["folder"], "labels": {"liver": [1, 2]}, "settings": ORIGINAL}
    result = {name: run(task("extract", backend=name, **arguments)) for name in ("hepacast", "pyradiomics")}
    script = str(HERE.with_name("radiomics_peers.py"))
    image, mask = (str(Path(case["folder"]) / f"{part}.nii") for part in ("image", "liver"))
    for name, packages in PEERS.items():
        python = _environment(folder / name, packages)
        failed = {"status": "skipped: cannot be installed here"}
        result[name] = run([str(python), script, name, image, mask], limit=limit) if python else failed
    return result


def _environment(place: Path, packages: list[str]) -> Path | None:
    """The Python of an environment with these packages, None where they cannot be installed."""
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (place / "ready").exists():
        return python
    venv.create(place, with_pip=True)
    constraints = ["-c", str(HERE.parents[1] / "constraints.txt")]  # the CPU build of torch, where a peer wants it
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *constraints, "SimpleITK"]
    try:
        subprocess.run([*install, *packages], check=True, capture_output=True, timeout=900)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    (place / "ready").touch()
    return python


def show(result: dict[str, Any], indent: int = 0) -> None:
    """Print nested results; seconds with two decimals."""
    for key, value in result.items():
        if isinstance(value, dict) and "status" in value and "stages" not in value:
            if value["status"] != "ok":
                print(f"{' ' * indent}{key}: {value['status']}")
            else:
                print(f"{' ' * indent}{key}: {value['seconds']:.2f} s, {value['peak_mb']} MB, {value.get('features')}")
        elif isinstance(value, dict):
            print(f"{' ' * indent}{key}:")
            show(value, indent + 2)
        else:
            print(f"{' ' * indent}{key}: {f'{value:.3f}' if isinstance(value, float) else value}")


def main() -> None:
    """Measure everything asked for, print it, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder that holds ct/ircadb17")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--cases", default="1mm,native")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--no-oracle", action="store_true")
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--environments", type=Path, help="keep the peers' environments here")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for a peer")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        child(json.loads(options.task))
        return
    if options.data is None:
        parser.error("--data is needed")
    result: dict[str, Any] = {
        "machine": {"cores": psutil.cpu_count(), "load": psutil.getloadavg()[0], "python": platform.python_version()}
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = write_cases(options.data, folder, options.cases.split(","))
        empty = {"NUMBA_CACHE_DIR": str(folder / "numba")}
        result["compilation, once"] = run(task("compile"), environment=empty)
        result["loading compiled code, each process"] = run(task("compile"), environment=empty)
        workers = [int(count) for count in options.workers.split(",")]
        for case_name, case in cases.items():
            result[case_name] = {"voxels": case["voxels"], **measure_case(case, workers, not options.no_oracle)}
        first = next(iter(cases.values()))
        if not options.no_growth:
            result["growth"] = run(task("growth", folder=first["folder"]))
        if options.peers:
            kept = options.environments or folder
            result["peers, original image, liver"] = measure_peers(first, kept, options.limit)
    show({key: value for key, value in result.items() if key != "growth"})
    if "growth" in result:
        print("growth: seconds by voxels, grey levels and image types")
        show({key: value for key, value in result["growth"].items() if isinstance(value, dict)}, 2)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
