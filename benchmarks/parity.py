"""Parity with PyRadiomics on real images: every feature of every case and setting, as a table for the documentation.

    python benchmarks/parity.py --data DIR [--full] [--only WORD] [--write docs/radiomics-parity.md]

`DIR` holds `radiomics/pyradiomics` (PyRadiomics' five test cases) and `ct/ircadb17`. PyRadiomics takes minutes for
some of the lines; finished ones are kept in `--memory FILE` and not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# This folder holds a script named radiomics.py, which would hide the package of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402

from hepacast.imaging import Geometry, Volume  # noqa: E402
from hepacast.radiomics import Settings, extract  # noqa: E402
from hepacast.radiomics.compare import ZERO, relative_difference  # noqa: E402

CASES = ("brain1", "brain2", "breast1", "lung1", "lung2")
CLASSES = dict.fromkeys(["shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"])
ALL_IMAGES: dict[str, Any] = {
    "Original": {},
    "Wavelet": {},
    "LoG": {"sigma": [1.0, 3.0]},
    "Gradient": {},
    "SquareRoot": {},
}

#: Name in the table -> settings.
SETTINGS: dict[str, Any] = {
    "ptlf (1874)": "ptlf",
    "early-recurrence (1037)": "early-recurrence",
    "ptlf, resampled 2 x 2 x 2 mm": ("ptlf", {"resampledPixelSpacing": (2.0, 2.0, 2.0)}),
    "early-recurrence, resampled 3 mm, linear": (
        "early-recurrence",
        {"resampledPixelSpacing": (3.0, 3.0, 3.0), "interpolator": "sitkLinear"},
    ),
    "2-D, bin width 10": {
        "imageType": {"Original": {}, "Wavelet": {}, "Gradient": {}},
        "featureClass": CLASSES,
        "setting": {"force2D": True, "binWidth": 10},
    },
    "2-D, resampled in the plane 1 mm": {
        "imageType": {"Original": {}, "Wavelet": {}, "LBP2D": {}},
        "featureClass": CLASSES,
        "setting": {"force2D": True, "resampledPixelSpacing": [1, 1, 0], "binWidth": 25},
    },
    "wavelet coif1, 2 levels": {
        "imageType": {"Wavelet": {"level": 2}},
        "featureClass": CLASSES,
        "setting": {"binWidth": 25},
    },
    "wavelet db4 from the second level": {
        "imageType": {"Wavelet": {"wavelet": "db4", "start_level": 1}},
        "featureClass": CLASSES,
        "setting": {"binWidth": 12.5},
    },
    "bin width 5": {"imageType": ALL_IMAGES, "featureClass": CLASSES, "setting": {"binWidth": 5}},
    "bin width 50": {"imageType": ALL_IMAGES, "featureClass": CLASSES, "setting": {"binWidth": 50}},
    "bin count 32": {"imageType": ALL_IMAGES, "featureClass": CLASSES, "setting": {"binCount": 32}},
    "resegmented, distances 1 and 2, weighted": {
        "imageType": {"Original": {}, "Square": {}},
        "featureClass": CLASSES,
        "setting": {
            "resegmentRange": [-2, 2],
            "resegmentMode": "sigma",
            "distances": [1, 2],
            "weightingNorm": "manhattan",
            "binWidth": 25,
        },
    },
}


@dataclass(frozen=True)
class Line:
    """One line of the table: one VOI of one image under one setting."""

    case: str
    settings: str
    load: Callable[[], tuple[Volume, Volume]]


def load_settings(name: str) -> Settings:
    """The settings of a table line."""
    value = SETTINGS[name]
    if isinstance(value, tuple):
        return Settings.load(value[0]).with_parameters(**value[1])
    return Settings.load(value)


def test_case(folder: Path, case: str) -> tuple[Volume, Volume]:
    """One of PyRadiomics' test cases; the label takes the image's geometry (headers differ in the last digits)."""
    import SimpleITK as sitk

    image = Volume.from_sitk(sitk.ReadImage(str(folder / f"{case}_image.nrrd")))
    label = Volume.from_sitk(sitk.ReadImage(str(folder / f"{case}_label.nrrd")))
    return image, image.with_array(label.array == 1)


def liver_case(folder: Path, voi: str, margin: int | None) -> tuple[Volume, Volume]:
    """The real CT with one VOI; `margin` cuts the image to the VOI's box and so many voxels around it."""
    import SimpleITK as sitk
    from scipy.ndimage import label

    image = Volume.from_sitk(sitk.ReadImage(str(folder / "ircadb17_ct.nii.gz")))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "ircadb17_seg_1liver_2tumour.nii.gz")))
    if voi.startswith("tumor "):
        parts, count = label(labels == 2, structure=np.ones((3, 3, 3)))
        order = np.argsort(-np.bincount(parts.ravel())[1 : count + 1]) + 1
        mask = parts == order[int(voi.split()[1]) - 1]
    else:
        mask = labels > 0 if voi == "liver" else labels == 1
    if margin is None:
        return image, image.with_array(mask)
    places = np.argwhere(mask)
    low = np.maximum(places.min(axis=0) - margin, 0)
    high = np.minimum(places.max(axis=0) + margin + 1, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    shape = high - low
    geometry = Geometry((int(shape[2]), int(shape[1]), int(shape[0])), image.spacing)
    cut = Volume(np.ascontiguousarray(image.array[box]), geometry)
    return cut, cut.with_array(np.ascontiguousarray(mask[box]))


def lines(data: Path, full: bool) -> Iterator[Line]:
    """All lines: the five cases under all settings, the real CT under the two named settings."""
    small = data / "radiomics" / "pyradiomics"
    for name in SETTINGS:
        for case in CASES:
            yield Line(case, name, lambda case=case: test_case(small, case))
    liver = data / "ct" / "ircadb17"
    for voi in ("tumor 1", "tumor 2"):
        for name in ("ptlf (1874)", "early-recurrence (1037)"):
            yield Line(f"ircadb17 {voi}", name, lambda voi=voi: liver_case(liver, voi, 25))
    if full:
        for voi in ("liver", "parenchyma"):
            for name in ("ptlf (1874)", "early-recurrence (1037)"):
                yield Line(f"ircadb17 {voi}, whole CT", name, lambda voi=voi: liver_case(liver, voi, None))


def measure(line: Line) -> dict[str, Any]:
    """Both engines on one line."""
    image, voi = line.load()
    settings = load_settings(line.settings)
    start = time.perf_counter()
    ours = extract(image, voi, settings)["voi"]
    middle = time.perf_counter()
    oracle = extract(image, voi, settings, backend="pyradiomics")["voi"]
    end = time.perf_counter()
    names = list(oracle.features)
    a = np.array([ours.features[name] for name in names])
    b = np.array([oracle.features[name] for name in names])
    difference = relative_difference(a, b)
    both_nan = int((np.isnan(a) & np.isnan(b)).sum())
    far = [
        {
            "feature": name,
            "ours": float(x),
            "pyradiomics": float(y),
            "reason": ours.reasons.get(name) or oracle.reasons.get(name),
        }
        for name, x, y, gap in zip(names, a, b, difference)
        if gap > 1e-6
    ]
    return {
        "case": line.case,
        "settings": line.settings,
        "voxels": int(voi.array.sum()),
        "features": len(names),
        "undefined": both_nan,
        "within_1e-9": int((difference <= 1e-9).sum()),
        "within_1e-6": int((difference <= 1e-6).sum()),
        "exceptions": far,
        "status": [ours.status, oracle.status, ours.reason, oracle.reason],
        "seconds": [round(middle - start, 2), round(end - middle, 2)],
    }


def to_markdown(results: list[dict[str, Any]]) -> str:
    """The page of the documentation."""
    total = sum(item["features"] for item in results)
    near = sum(item["within_1e-9"] for item in results)
    close = sum(item["within_1e-6"] for item in results)
    text = [
        "# Parity with PyRadiomics",
        "",
        "Made by `python benchmarks/parity.py`; PyRadiomics is `pyradiomics-bhklab` 3.1.4 with SciPy below 1.17. "
        "Each line "
        "compares every feature of one VOI. The relative difference is abs(a - b) / max(abs(a), abs(b)); values that "
        "differ by "
        f"less than {ZERO:g} (rounding errors of a value that should be 0) and features that both engines leave "
        'undefined count as equal. "PyRadiomics\' values" means these numbers, not a likeness.',
        "",
        f"**{total} values: {close / total:.4%} within 1e-6, {near / total:.4%} within 1e-9.**",
        "",
        "| image, VOI | voxels | settings | features | undefined in both | within 1e-9 | within 1e-6 | exceptions |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for item in results:
        n = item["features"]
        text.append(
            f"| {item['case']} | {item['voxels']} | {item['settings']} | {n} | {item['undefined']} | "
            f"{item['within_1e-9'] / n:.2%} | {item['within_1e-6'] / n:.2%} | {len(item['exceptions'])} |"
        )
    text += ["", "## Exceptions by name", ""]
    some = False
    for item in results:
        for entry in item["exceptions"]:
            some = True
            note = f" ({entry['reason']})" if entry["reason"] else ""
            text.append(
                f"- {item['case']}, {item['settings']}: `{entry['feature']}` ours {entry['ours']:.9g}, "
                f"PyRadiomics {entry['pyradiomics']:.9g}{note}"
            )
    if not some:
        text.append("None.")
    refused = [item for item in results if item["status"][0] == "failed"]
    if refused:
        text += ["", "VOIs that both engines refuse: "]
        text += [f"- {item['case']}, {item['settings']}: {item['status'][2]}" for item in refused]
    return "\n".join(text) + "\n"


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--full", action="store_true", help="also the whole CT with its liver (PyRadiomics: minutes)")
    parser.add_argument("--only", default="", help="run only lines whose case or settings hold this word")
    parser.add_argument("--memory", type=Path, help="JSON file that keeps finished lines")
    parser.add_argument("--write", type=Path, help="Markdown page to write")
    options = parser.parse_args()
    known: dict[str, Any] = {}
    if options.memory and options.memory.is_file():
        known = json.loads(options.memory.read_text(encoding="utf-8"))
    results = []
    for line in lines(options.data, options.full):
        key = f"{line.case} | {line.settings}"
        if key not in known:
            if options.only not in key:
                continue
            known[key] = measure(line)
            if options.memory:
                options.memory.write_text(json.dumps(known, indent=1), encoding="utf-8")
        result = known[key]
        results.append(result)
        print(
            f"{key}: {result['within_1e-9']}/{result['within_1e-6']}/{result['features']} "
            f"({result['seconds'][0]} s, PyRadiomics {result['seconds'][1]} s) {result['status'][:2]}",
            flush=True,
        )
    page = to_markdown(results)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    print(page.split("\n\n")[2])


if __name__ == "__main__":
    main()
