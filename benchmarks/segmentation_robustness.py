"""How the built-in liver network holds on a real CT that is cut, turned, resampled, degraded or set into other bodies.

    python benchmarks/segmentation_robustness.py IMAGE MASK --labels 1,2 [--json FILE] [--only cut] [--engine openvino]

Every change of the scan is segmented anew and compared, by Dice, with the given liver inside what remains of the
scan; beside it the Dice of the unchanged scan's result inside the same part. The script says where the difference is
more than 0.02 although at least 120 mm of the scan remain, and what the judge of masks says. Scans without a liver
come last: there an error or a mask that is called impossible is right. Results are kept in the file, so that a stopped
run goes on. Without MASK (``-``) the unchanged scan's own result stands in for it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hepacast.errors import HepacastError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume
from hepacast.segmentation import make_segmenter
from hepacast.segmentation.axes import turn
from hepacast.segmentation.base import Segmenter
from hepacast.segmentation.plausibility import judge

LEAST_MM, MOST_LOSS = 120.0, 0.02
AIR, FAT, TISSUE, BONE = -1000.0, -100.0, 45.0, 700.0
Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]


class Scan(NamedTuple):
    """HU, liver (both x, y, z to the left, the back and the head), voxel size."""

    image: Array
    liver: Mask
    mm: Spacing


Change = Callable[[Scan], Scan]


# -------------------------------------------------------------------------------------------------- what is cut, where


def cut(top: float = 0.0, bottom: float = 0.0) -> Change:
    """Slices left out at both ends (mm)."""

    def change(scan: Scan) -> Scan:
        part = _part(scan, top, bottom)
        return Scan(scan.image[:, :, part], scan.liver[:, :, part], scan.mm)

    return change


def _part(scan: Scan, top: float, bottom: float) -> slice:
    return slice(round(bottom / scan.mm[2]), scan.image.shape[2] - round(top / scan.mm[2]))


def cuts(scan: Scan, every: float) -> Iterator[tuple[float, float]]:
    """So many mm from the top, from the bottom, and from both, as long as 120 mm remain."""
    height = scan.image.shape[2] * scan.mm[2]
    steps = np.arange(every, height - LEAST_MM + 1e-6, every)
    yield from ((step, 0.0) for step in steps)
    yield from ((0.0, step) for step in steps)
    yield from ((step, step) for step in steps if height - 2 * step >= LEAST_MM)


# ------------------------------------------------------------------------------------------------------ other geometry


def slices(thick: float) -> Change:
    """Other slice distances, by linear interpolation (mm)."""

    def change(scan: Scan) -> Scan:
        factors = (1.0, 1.0, scan.mm[2] / thick)
        liver = ndimage.zoom(scan.liver.astype(np.float32), factors, order=1) > 0.5
        return Scan(ndimage.zoom(scan.image, factors, order=1), liver, (*scan.mm[:2], thick))

    return change


def affine(matrix: npt.NDArray[np.float64]) -> Change:
    """Turned or sheared about the middle by a matrix of mm."""

    def change(scan: Scan) -> Scan:
        mm, middle = np.array(scan.mm), (np.array(scan.image.shape) - 1) / 2
        inner = np.diag(1 / mm) @ np.linalg.inv(matrix) @ np.diag(mm)
        offset = middle - inner @ middle
        image = ndimage.affine_transform(scan.image, inner, offset, order=1, cval=AIR)
        liver = ndimage.affine_transform(scan.liver.astype(np.float32), inner, offset, order=1) > 0.5
        return Scan(image, liver, scan.mm)

    return change


def rotation(axis: int, degrees: float) -> npt.NDArray[np.float64]:
    """About x, y or z."""
    a, b = [n for n in range(3) if n != axis]
    matrix, angle = np.eye(3), np.deg2rad(degrees)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def shear(y_of_z: float) -> npt.NDArray[np.float64]:
    """Slices that follow one another aslant, as of a tilted gantry."""
    matrix = np.eye(3)
    matrix[1, 2] = y_of_z
    return matrix


def scaled(x: float, y: float, z: float) -> Change:
    """A smaller or a larger patient: other voxel sizes."""
    return lambda scan: scan._replace(mm=(scan.mm[0] * x, scan.mm[1] * y, scan.mm[2] * z))


def moved(x: float, y: float) -> Change:
    """Off the middle of the field (mm)."""

    def change(scan: Scan) -> Scan:
        step = (round(x / scan.mm[0]), round(y / scan.mm[1]), 0)
        image = ndimage.shift(scan.image, step, order=0, cval=AIR)
        return Scan(image, ndimage.shift(scan.liver, step, order=0), scan.mm)

    return change


def padded(x: float, y: float, low: float, high: float, value: float = AIR) -> Change:
    """Air around the scan (mm on each side of x and y, below and above)."""

    def change(scan: Scan) -> Scan:
        a, b, c, d = (round(v / mm) for v, mm in zip((x, y, low, high), (*scan.mm, scan.mm[2]), strict=True))
        around = [(a, a), (b, b), (c, d)]
        return Scan(np.pad(scan.image, around, constant_values=value), np.pad(scan.liver, around), scan.mm)

    return change


def mirrored(scan: Scan) -> Scan:
    """Left and right exchanged: situs inversus, or a wrong header."""
    return Scan(scan.image[::-1], scan.liver[::-1], scan.mm)


def upside_down(scan: Scan) -> Scan:
    """Head and feet exchanged: a wrong header."""
    return Scan(scan.image[:, :, ::-1], scan.liver[:, :, ::-1], scan.mm)


# --------------------------------------------------------------------------------------------------- other intensities


def values(function: Callable[[Array, Scan], Array]) -> Change:
    """Other HU at the same places."""
    return lambda scan: scan._replace(image=function(scan.image, scan).astype(np.float32))


def noise(hu: float) -> Change:
    """Independent in every voxel."""
    return values(lambda a, _: a + hu * np.random.default_rng(1).standard_normal(a.shape, dtype=np.float32))


def blurred(mm: float) -> Change:
    """A soft kernel in the slices."""
    return values(lambda a, scan: ndimage.gaussian_filter(a, (mm / scan.mm[0], mm / scan.mm[1], 0)))


def sharpened(amount: float) -> Change:
    """A hard kernel in the slices."""

    def change(a: Array, scan: Scan) -> Array:
        soft = ndimage.gaussian_filter(a, (1.0 / scan.mm[0], 1.0 / scan.mm[1], 0))
        return np.clip(a + amount * (a - soft), -1024, 3071)

    return values(change)


def unenhanced(a: Array, _: Scan) -> Array:
    """Contrast taken away: organs and vessels within 15 HU of 50."""
    return np.where((a > 50) & (a < 350), 50 + 0.15 * (a - 50), a)


def streaks(a: Array, scan: Scan) -> Array:
    """Metal in the spine: bright and dark rays through its slices."""
    generator, result = np.random.default_rng(4), a.copy()
    body = a > -300
    x, y = (np.flatnonzero(body.any(axis=(1 - n, 2))) for n in (0, 1))
    center = (float(x.mean()), float(y.min() + 0.75 * (y.max() - y.min())))
    dx, dy = np.meshgrid(np.arange(a.shape[0]) - center[0], np.arange(a.shape[1]) - center[1], indexing="ij")
    angle, far = np.arctan2(dy, dx), np.hypot(dx * scan.mm[0], dy * scan.mm[1])
    rays = sum(np.cos(k * angle + generator.uniform(0, 6.28)) for k in (4, 7, 11, 16)) * 90 * np.exp(-far / 120)
    low, high = int(0.35 * a.shape[2]), int(0.75 * a.shape[2])
    result[:, :, low:high] += np.asarray(rays)[:, :, None].astype(np.float32)
    result[far < 8, low:high] = 3071
    return result


def circle(value: float) -> Change:
    """Nothing measured outside the circle of the field."""

    def change(a: Array, _: Scan) -> Array:
        x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in a.shape[:2]), indexing="ij")
        return np.where((np.hypot(x, y) > 1.0)[:, :, None], value, a)

    return values(change)


# --------------------------------------------------------------------------------------------------- what lies in view


def body_of(scan: Scan) -> tuple[slice, slice]:
    """The patient's box across."""
    tissue = ndimage.binary_opening(scan.image[:, :, :: max(1, round(8 / scan.mm[2]))] > -200, iterations=2)
    labels, _ = ndimage.label(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    box = ndimage.find_objects((labels == sizes.argmax()).astype(np.uint8))[0]
    return box[0], box[1]


def arms(gap: float) -> Change:
    """Both arms beside the trunk (mm between), with their bones; the field grows to hold them."""

    def change(scan: Scan) -> Scan:
        scan = padded(90, 0, 0, 0)(scan)
        x, y = body_of(scan)
        image = scan.image.copy()
        i, j = np.ogrid[: image.shape[0], : image.shape[1]]
        for side in (x.start - (gap + 40) / scan.mm[0], x.stop + (gap + 40) / scan.mm[0]):
            far = np.hypot((i - side) * scan.mm[0], (j - (y.start + y.stop) / 2) * scan.mm[1])
            for radius, hu in ((40, FAT), (33, 55.0), (11, BONE), (6, 30.0)):
                image[(far < radius) & (image[:, :, 0] < -500)] = hu
        return scan._replace(image=image)

    return change


def table(thick: float, front: bool = False) -> Change:
    """A slab under the patient (of a prone one: before), touching the skin."""

    def change(scan: Scan) -> Scan:
        _, y = body_of(scan)
        image, n = scan.image.copy(), max(1, round(thick / scan.mm[1]))
        rows = slice(max(0, y.start - n), y.start + 2) if front else slice(y.stop - 2, y.stop - 2 + n)
        part = image[:, rows]
        part[part < -300] = 120.0
        return scan._replace(image=image)

    return change


def gas(prone: bool = False) -> Change:
    """A colon full of gas: bubbles below and left of the liver, where gas gathers."""

    def change(scan: Scan) -> Scan:
        x, y = body_of(scan)
        image = scan.image.copy()
        extent = (x.stop - x.start, y.stop - y.start, image.shape[2])
        high = 0.68 if prone else 0.28
        bubbles = [(0.5, high, 0.12, 0.28, 0.12, 0.12), (0.78, high + 0.1, 0.4, 0.09, 0.16, 0.3)]
        bubbles += [(0.3, high + 0.1, 0.05, 0.12, 0.16, 0.12), (0.72, high, 0.75, 0.13, 0.14, 0.16)]
        points = np.ogrid[tuple(slice(0, n) for n in image.shape)]
        for *center, a, b, c in bubbles:
            place = (x.start + center[0] * extent[0], y.start + center[1] * extent[1], center[2] * extent[2])
            radii = (a * extent[0], b * extent[1], c * extent[2])
            inside = sum(((p - q) / r) ** 2 for p, q, r in zip(points, place, radii, strict=True)) < 1
            inside &= (image > -200) & (image < 250) & ~ndimage.binary_dilation(scan.liver, iterations=3)
            image[inside] = AIR
        return scan._replace(image=image)

    return change


def in_a_body(above: float, below: float) -> Change:
    """The scan inside a longer body (mm above and below): chest and head, pelvis and legs of simple shapes."""

    def change(scan: Scan) -> Scan:
        x, y = body_of(scan)
        parts = [_lower_body(scan, x, y, round(below / scan.mm[2])), scan.image,
                 _upper_body(scan, x, y, round(above / scan.mm[2]))]  # fmt: skip
        image = np.concatenate([part for part in parts if part.shape[2]], axis=2)
        around = ((0, 0), (0, 0), (parts[0].shape[2], parts[2].shape[2]))
        return Scan(image, np.pad(scan.liver, around), scan.mm)

    return change


def _discs(scan: Scan, x: slice, y: slice) -> Callable[..., Mask]:
    """Ellipses in fractions of the patient's box across."""
    i, j = np.ogrid[: scan.image.shape[0], : scan.image.shape[1]]
    u, v = (i - x.start) / (x.stop - x.start), (j - y.start) / (y.stop - y.start)
    return lambda cx, cy, rx, ry: ((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2 < 1


def _upper_body(scan: Scan, x: slice, y: slice, n: int) -> Array:
    """Lungs, heart and spine, then shoulders without lungs, then a head."""
    disc, generator = _discs(scan, x, y), np.random.default_rng(5)
    image = np.full((*scan.image.shape[:2], n), AIR, np.float32)
    for k in range(n):
        mm = k * scan.mm[2]
        if mm < 300:
            r = 1.0 if mm < 230 else 1.0 - (mm - 230) / 140
            for shape, hu in (
                ((0.5, 0.5, 0.5, 0.5), FAT), ((0.5, 0.5, 0.46, 0.45), TISSUE),
                ((0.25, 0.52, 0.18 * r, 0.34 * r), -850.0), ((0.75, 0.52, 0.18 * r, 0.34 * r), -850.0),
                ((0.54, 0.4, 0.13, 0.2), 110.0), ((0.5, 0.85, 0.06, 0.08), 350.0),
            ):  # fmt: skip
                image[disc(*shape), k] = hu
        elif mm < 520:
            neck = mm < 340
            for shape, hu in (
                ((0.5, 0.55, 0.18 if neck else 0.22, 0.25 if neck else 0.36), TISSUE),
                ((0.5, 0.6, 0.03 if neck else 0.2, 0.05 if neck else 0.34), BONE),
                ((0.5, 0.6, 0.02 if neck else 0.185, 0.03 if neck else 0.32), 35.0),
            ):
                image[disc(*shape), k] = hu
    inside = image > -950
    image[inside] += 12 * generator.standard_normal(int(inside.sum()), dtype=np.float32)
    return image


def _lower_body(scan: Scan, x: slice, y: slice, n: int) -> Array:
    """Bowel with gas, iliac bones and a bladder, then two thighs; the last slice is the one below the scan."""
    disc, generator = _discs(scan, x, y), np.random.default_rng(6)
    image = np.full((*scan.image.shape[:2], n), AIR, np.float32)
    for k in range(n):
        mm = (n - 1 - k) * scan.mm[2]
        shapes = [((0.5, 0.5, 0.5, 0.5), FAT), ((0.5, 0.5, 0.46, 0.44), TISSUE), ((0.5, 0.4, 0.38, 0.28), -90.0)]
        shapes += [((0.5 + 0.25 * np.cos(1.9 * c), 0.4 + 0.16 * np.sin(1.9 * c), 0.1, 0.1), 35.0) for c in range(5)]
        if mm < 90:
            shapes += [((0.32, 0.28, 0.12, 0.1), AIR), ((0.7, 0.3, 0.1, 0.12), AIR), ((0.5, 0.82, 0.07, 0.09), 350.0)]
        elif mm < 250:
            shapes += [((0.2, 0.6, 0.06, 0.2), BONE), ((0.8, 0.6, 0.06, 0.2), BONE), ((0.5, 0.85, 0.12, 0.08), BONE)]
            shapes += [((0.5, 0.35, 0.18, 0.2), 8.0)] if mm > 170 else []
        else:
            shapes = [((c, 0.5, 0.22, 0.4), TISSUE) for c in (0.25, 0.75)]
            shapes += [((c, 0.5, 0.05, 0.09), BONE) for c in (0.25, 0.75)]
        for shape, hu in shapes:
            image[disc(*shape), k] = hu
    inside = image > -950
    image[inside] += 12 * generator.standard_normal(int(inside.sum()), dtype=np.float32)
    return image


# ----------------------------------------------------------------------------------------------- scans without a liver


def without_liver(scan: Scan) -> Iterator[tuple[str, Scan]]:
    """Chest, head, pelvis, legs, a bottle of water: of these shapes there is no liver to be found."""
    x, y = body_of(scan)
    empty = scan.mm
    for name, image in (
        ("chest", _upper_body(scan, x, y, round(220 / scan.mm[2]))),
        ("head and neck", _upper_body(scan, x, y, round(520 / scan.mm[2]))[:, :, round(310 / scan.mm[2]) :]),
        ("pelvis and thighs", _lower_body(scan, x, y, round(360 / scan.mm[2]))),
        ("water bottle", _bottle(scan, x, y)),
    ):
        yield name, Scan(image, np.zeros(image.shape, bool), empty)


def _bottle(scan: Scan, x: slice, y: slice) -> Array:
    image = np.full((*scan.image.shape[:2], round(250 / scan.mm[2])), AIR, np.float32)
    image[_discs(scan, x, y)(0.5, 0.5, 0.3, 0.42), 5:-5] = 0.0
    return image + 8 * np.random.default_rng(7).standard_normal(image.shape, dtype=np.float32)


# ------------------------------------------------------------------------------------------------------------ the runs


def changes(scan: Scan, step: float) -> Iterator[tuple[str, Change, slice]]:
    """Name, change, and which slices of the original remain."""
    whole = slice(0, scan.image.shape[2])
    for top, bottom in cuts(scan, step):
        name = " and ".join(f"{mm:.0f} mm {end}" for mm, end in ((top, "top"), (bottom, "bottom")) if mm)
        yield f"cut {name}", cut(top, bottom), _part(scan, top, bottom)
    named: dict[str, Change] = {f"slices of {mm:g} mm": slices(mm) for mm in (0.6, 3.0, 5.0, 7.5, 10.0)}
    named |= {f"turned by {a} degrees": affine(rotation(2, a)) for a in (-30, -15, 15, 30)}
    named |= {f"tilted {way} by 12 degrees": affine(rotation(axis, 12)) for axis, way in ((0, "forward"), (1, "aside"))}
    named |= {"gantry tilt of 15 degrees": affine(shear(np.tan(np.deg2rad(15))))}
    named |= {f"patient {f:g} times as large": scaled(f, f, f) for f in (0.8, 0.9, 1.1, 1.2)}
    named |= {"wider by 15 %": scaled(1.15, 1, 1), "deeper by 15 %": scaled(1, 1.15, 1)}
    named |= {"moved by 40 mm": moved(40, 0), "moved by -40 and 30 mm": moved(-40, 30)}
    named |= {"field 160 mm larger": padded(80, 80, 0, 0), "air above and below": padded(0, 0, 60, 90)}
    named |= {f"noise of {hu} HU": noise(hu) for hu in (30, 60)}
    named |= {"soft kernel": blurred(1.5), "hard kernel": sharpened(1.5), "unenhanced": values(unenhanced)}
    named |= {"HU 30 lower": values(lambda a, _: np.where(a > -20, a - 30, a))}
    named |= {
        "metal in the spine": values(streaks),
        "values of -200 to 300 only": values(lambda a, _: np.clip(a, -200, 300)),
    }
    named |= {"-2000 outside the circle": circle(-2000.0), "-1024 outside the circle": circle(-1024.0)}
    named |= {"arms beside the trunk": arms(15), "arms that touch it": arms(-4)}
    named |= {"thick table": table(60), "prone: table before": table(30, front=True)}
    named |= {"gas in the bowel": gas(), "prone, with gas": gas(prone=True)}
    named |= {"gas, cut 20 mm top": lambda s: cut(20)(gas()(s)), "gas, cut 40 mm top": lambda s: cut(40)(gas()(s))}
    named |= {"with chest": in_a_body(300, 0), "with pelvis": in_a_body(0, 260), "trunk": in_a_body(300, 260)}
    named |= {"whole body": in_a_body(540, 600), "trunk from the liver down": lambda s: in_a_body(0, 400)(cut(40)(s))}
    named |= {"mirrored": mirrored, "upside down": upside_down}
    tops = {"gas, cut 20 mm top": 20, "gas, cut 40 mm top": 40, "trunk from the liver down": 40}
    for name, change in named.items():
        yield name, change, _part(scan, tops[name], 0) if name in tops else whole


class Found(NamedTuple):
    """Liver, what the judge says, CPU seconds."""

    liver: Mask
    remarks: list[str]
    cpu: float


def segmented(scan: Scan, segmenter: Segmenter) -> Found:
    """The liver as the segmenter finds it; empty with the reason where it refuses."""
    size = (scan.image.shape[0], scan.image.shape[1], scan.image.shape[2])
    volume = Volume(np.ascontiguousarray(scan.image.transpose(2, 1, 0)), Geometry(size, scan.mm))
    start = time.process_time()
    try:
        result = segmenter.segment(volume)
    except HepacastError as error:
        return Found(np.zeros(size, bool), [f"refused: {error.message}"], time.process_time() - start)
    cpu = time.process_time() - start
    judged = judge({"ct": volume}, result.masks(), {"ct": "CT"}, made=True)
    remarks = [f"{item.severity}: {item.code}" for item in judged]
    notes = [note for note in result.notes if "lesion" not in note]
    return Found(np.asarray(result.mask("liver").array).transpose(2, 1, 0), [*notes, *remarks], cpu)


def dice(a: Mask, b: Mask) -> float:
    """Dice coefficient."""
    return 2.0 * float((a & b).sum()) / max(1.0, float(a.sum()) + float(b.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("mask", help="file, or - for the unchanged scan's result")
    parser.add_argument("--labels", default="1", help="label values of the liver, by commas")
    parser.add_argument("--only", default="", help="changes whose names begin so, by commas")
    parser.add_argument("--half", action="store_true", help="slices of half as many rows and columns, means of four")
    parser.add_argument("--engine", default="openvino", help="torch, openvino, openvino-bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", type=float, default=20.0, help="mm between cuts")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    turned = turn(read_volume(given.image), "LPS")
    segmenter = make_segmenter(f"builtin:{given.engine}", lesions=False, threads=given.threads)
    image, mm, liver = turned.array.astype(np.float32), turned.spacing, np.zeros(turned.array.shape, bool)
    if given.mask != "-":
        labels = [int(word) for word in given.labels.split(",")]
        liver = np.isin(np.rint(turn(read_volume(given.mask), "LPS").array).astype(int), labels)
    if given.half:
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = np.mean([even[a::2, b::2] for a in (0, 1) for b in (0, 1)], axis=0)
        liver, mm = liver[: even.shape[0] : 2, : even.shape[1] : 2], (mm[0] * 2, mm[1] * 2, mm[2])
    base = segmented(Scan(image, liver, mm), segmenter)
    if given.mask == "-":
        liver = base.liver
    scan = Scan(image, liver, mm)
    kept = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    print(
        f"{'unchanged':30} Dice {dice(base.liver, liver):.3f}, {base.cpu:.1f} CPU s; {'; '.join(base.remarks)}",
        flush=True,
    )
    wanted = tuple(given.only.split(","))
    for name, change, part in changes(scan, given.step):
        if not name.startswith(wanted):
            continue
        if name not in kept:
            other = change(scan)
            found = segmented(other, segmenter)
            unchanged = dice(base.liver[:, :, part], liver[:, :, part])
            kept[name] = {"dice": dice(found.liver, other.liver), "unchanged": unchanged, "cpu": found.cpu,
                          "remarks": found.remarks}  # fmt: skip
            if given.json:
                given.json.write_text(json.dumps(kept, indent=1))
        entry = kept[name]
        mark = "LOWER  " if entry["unchanged"] - entry["dice"] > MOST_LOSS else ""
        print(
            f"{name:30} Dice {entry['dice']:.3f}, unchanged {entry['unchanged']:.3f}, {entry['cpu']:.1f} CPU s "
            f"{mark}{'; '.join(entry['remarks'])}",
            flush=True,
        )
    for name, other in without_liver(scan):
        if name.startswith(wanted):
            found = segmented(other, segmenter)
            volume = float(found.liver.sum() * np.prod(other.mm)) / 1000
            print(f"{name:30} {volume:.0f} mL found; {'; '.join(found.remarks)}", flush=True)


if __name__ == "__main__":
    main()
