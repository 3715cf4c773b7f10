"""Draw the pictures of ``docs/guide/biomarkers.md``: ``python docs/draw_biomarkers.py``.

Regions and scales are shown on phantoms whose tissue is known. The tables of the page are printed as Markdown, from the
definitions in the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from hepacast.biomarkers import measure_biomarkers
from hepacast.biomarkers.measure import definitions_of
from hepacast.biomarkers.scales import smoothed
from hepacast.imaging import Geometry, Volume
from hepacast.study.biomarkers import shown_regions

IMAGES = Path(__file__).parent / "images"
COLORS = {"liver": "#56B4E9", "liver within 8 mm": "#E69F00", "rim (4 mm)": "#009E73", "core": "#CC79A7"}
#: Liver, rim, core, and liver beside the tumor of a textbook HCC in HU, by phase.
PHASES = {
    "unenhanced": (55, 48, 46),
    "arterial": (75, 112, 108),
    "portal": (115, 142, 96),
    "delayed": (98, 128, 78),
}


def phantom() -> tuple[dict[str, Volume], dict[str, Volume]]:
    """A liver with one tumor in four phases, 0.8 x 0.8 x 2.5 mm voxels, and its masks."""
    geometry = Geometry((180, 150, 44), (0.8, 0.8, 2.5))
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij", sparse=True)
    x, y, z = 0.8 * i, 0.8 * j, 2.5 * k
    liver = ((x - 72) / 62) ** 2 + ((y - 60) / 48) ** 2 + ((z - 55) / 45) ** 2 <= 1
    wave = 1.2 * np.sin(0.7 * x) + 1.2 * np.cos(0.6 * y + 0.3 * z)
    far = np.sqrt((x - 82) ** 2 + (y - 58) ** 2 + (z - 55) ** 2) + wave
    tumor, core = far <= 20, far <= 16.5
    generator = np.random.default_rng(7)
    images = {}
    for phase, (tissue, edge, middle) in PHASES.items():
        values = np.full(geometry.shape, -90.0)
        values[liver], values[tumor], values[core] = tissue, edge, middle
        images[phase] = Volume((values + generator.normal(0, 9, values.shape)).astype(np.float32), geometry)
    return images, {"liver": Volume(liver, geometry), "tumor": Volume(tumor & liver, geometry)}


def draw_phases(images: dict[str, Volume], masks: dict[str, Volume]) -> None:
    """Four phases with the regions, and what is measured in each."""
    regions = shown_regions(masks, images["portal"])
    figure, axes = plt.subplots(1, 5, figsize=(13.2, 2.6), width_ratios=(1, 1, 1, 1, 1.5), layout="constrained")
    k = 22
    for axis, (phase, image) in zip(axes, images.items()):
        axis.imshow(image.array[k], cmap="gray", vmin=0, vmax=170, aspect="equal")
        for name, mask in regions.items():
            axis.contour(mask.array[k], [0.5], colors=COLORS[name], linewidths=1.1)
        axis.set_title(phase, fontsize=10)
        axis.set_axis_off()
    found = measure_biomarkers(images, masks).values
    axis = axes[-1]
    for name, color in (("rim", "rim (4 mm)"), ("core", "core"), ("around", "liver within 8 mm")):
        values = [found[f"biomarker/{phase}/{name}_minus_liver"] for phase in images]
        axis.plot(list(images), values, "o-", color=COLORS[color], label=color)
    axis.axhline(0, color="0.5", linewidth=0.8)
    axis.set_ylabel("minus liver (HU)")
    axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "biomarkers-phases.png", dpi=130)


def draw_scales() -> None:
    """One liver, its coarse structure at 1, 2 and 4 mm, and what is left and what is taken away."""
    _, masks = phantom()
    generator = np.random.default_rng(3)
    mask = masks["liver"].array & ~masks["tumor"].array
    nodules = np.zeros(mask.shape)
    for _ in range(900):
        k, j, i = (generator.integers(0, n) for n in mask.shape)
        nodules[k, j, i] = generator.choice([-1.0, 1.0])
    from scipy import ndimage

    field = ndimage.gaussian_filter(nodules, (1.3, 4.0, 4.0))
    image = 110 + 12 * field / field[mask].std() + generator.normal(0, 12, mask.shape)
    figure, axes = plt.subplots(1, 4, figsize=(11.2, 2.4), layout="constrained")
    for axis, mm in zip(axes, (None, 1.0, 2.0, 4.0)):
        shown = np.full(mask.shape, np.nan)
        values = image[mask] if mm is None else smoothed(image, mask, (2.5, 0.8, 0.8), mm)
        shown[mask] = values
        axis.imshow(shown[22], cmap="gray", vmin=70, vmax=150)
        text = f"as scanned: SD {values.std():.1f} HU" if mm is None else (
            f"{mm:g} mm: coarse {values.std():.1f}, fine {(image[mask] - values).std():.1f} HU"
        )  # fmt: skip
        axis.set_title(text, fontsize=9)
        axis.set_axis_off()
    figure.savefig(IMAGES / "biomarkers-scales.png", dpi=130)


def definitions() -> str:
    """Every biomarker by group, as Markdown."""
    lines = []
    heads = {
        "portal": "In each phase (`biomarker/PHASE/...`)", "phases": "Between phases (`biomarker/phases/...`)",
        "shape": "Geometry (`biomarker/shape/...`)", "li-rads": "LI-RADS features (`biomarker/li-rads/...`)",
        "stage": "Stages from masks (`biomarker/stage/...`)",
    }  # fmt: skip
    for group, head in heads.items():
        lines += [f"### {head}", "", "| name | unit | how it is measured | source |", "|---|---|---|---|"]
        for name, item in definitions_of({"portal": "portal"}).items():
            if name.split("/")[1] == group:
                both = item.unit == "HU" and group != "shape" and not name.endswith("liver_minus_spleen")
                unit = "HU; MR: SD of the liver" if both else item.unit
                label = item.label.removesuffix(", portal").removesuffix(", measured").removeprefix("LI-RADS: ")
                lines.append(f"| `{name.split('/')[2]}`: {label} | {unit} | {item.definition} | {item.source} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    draw_phases(*phantom())
    draw_scales()
    sys.stdout.write(definitions())
