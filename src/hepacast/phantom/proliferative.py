"""Virtual cohorts of study C: proliferative tumors on arterial-phase CT, and two treated cohorts without that label.

The tumor's proliferation is a hidden score: it makes the mosaic of the tissue coarser in contrast and the arterial rim
brighter. It decides the label (with AFP), and in the two further cohorts the hazard after ablation and TACE.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hepacast.core.executor import Progress, map_items
from hepacast.core.files import write_json, write_text
from hepacast.core.seeds import rng
from hepacast.errors import StudyFileError
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.volume import Volume
from hepacast.phantom.anatomy import HU, make_body
from hepacast.phantom.ct import LABELS, NOISE_HU, PhantomCT
from hepacast.phantom.liver import Tumors, liver_mask, place_tumors, vessel_weights
from hepacast.phantom.resection import LN_AFP_MEAN, LN_AFP_SD, draw_causes, draw_row, printed, tumors_of
from hepacast.phantom.shapes import Field, Grid, make_grid, random_field
from hepacast.phantom.spec import PatientSpec
from hepacast.phantom.truth import expected_auc, risk

Effect = Literal["planted", "none"]
#: Amplitude of the mosaic at a score of 0 (HU) and its growth a unit of the score; the rim's enhancement likewise.
MOSAIC_HU, MOSAIC_GROWTH = 13.0, 0.42
RIM_HU, RIM_PER_SCORE = 10.0, 9.0
#: Log hazard a unit of the hidden score, and median time (months) at a score of 0.
LOG_HAZARD = {"RFA": 0.75, "TACE": 0.75}
MEDIAN_MONTHS = {"RFA": 30.0, "TACE": 11.0}
FOLLOW_UP_MONTHS = {"RFA": (18.0, 60.0), "TACE": (8.0, 36.0)}
_SIMULATED = 200_000


@dataclass(frozen=True)
class ProliferationTruth:
    """Logistic truth of the label: intercept, and effects of the hidden score and of one SD of ln AFP."""

    intercept: float
    hidden: float
    afp: float

    def linear_predictor(self, causes: dict[str, np.ndarray], *, image: bool = True) -> np.ndarray:
        """Log odds of a proliferative tumor."""
        value = self.intercept + self.afp * (np.log(causes["afp"]) - LN_AFP_MEAN) / LN_AFP_SD
        return value + self.hidden * causes["hidden"] if image else value


#: Share of proliferative tumors 0.40.
PLANTED = ProliferationTruth(-0.58, 2.3, 0.55)
NOTHING = ProliferationTruth(float(np.log(0.4 / 0.6)), 0.0, 0.0)


def bayes_aucs(truth: ProliferationTruth, number: int = _SIMULATED) -> dict[str, float]:
    """The best AUC with image and AFP, and with AFP alone."""
    causes = draw_causes(rng(0, "phantom-proliferation-bayes"), number)
    return _aucs(truth, causes, risk(truth.linear_predictor(causes)))


def _aucs(truth: ProliferationTruth, causes: dict[str, np.ndarray], probability: np.ndarray) -> dict[str, float]:
    rate = float(np.mean(probability))
    if not 0 < rate < 1:
        return dict.fromkeys(("combined", "clinical", "image"), float("nan")) | {"event_rate": rate}
    return {
        "combined": expected_auc(truth.linear_predictor(causes), probability),
        "clinical": expected_auc(truth.linear_predictor(causes, image=False), probability),
        "image": expected_auc(truth.hidden * causes["hidden"], probability),
        "event_rate": rate,
    }


def make_arterial_ct(spec: PatientSpec, size: str = "demo") -> PhantomCT:
    """One patient's arterial-phase CT; ``spec.texture`` is the hidden proliferation."""
    grid = make_grid(size)
    stream = lambda purpose: rng(spec.seed, "phantom-arterial", spec.patient, purpose)  # noqa: E731
    body = make_body(grid, spec, stream("body"))
    liver, _ = liver_mask(grid, body, spec, stream("liver"))
    tumors = place_tumors(grid, liver, body, spec, stream("tumors"))
    image = body.image.copy()
    image[image == HU["aorta"]] = 310.0
    hu = float(np.clip(stream("enhancement").normal(72, 5), 60, 86))
    image[liver] = hu
    texture = 7.0 * random_field(liver.shape, grid.spacing_kji, 5.0, stream("texture"))
    image[liver] += texture[liver]
    portal, veins = vessel_weights(grid, liver, body, spec, stream("vessels"))
    image += portal * (hu + 12.0 - image)
    image += veins * (hu - 6.0 - image)
    tissue = _tissue(grid, tumors, hu, spec, stream("tissue"))
    image[tumors.mask] = tissue[tumors.mask]
    labels = np.where(tumors.mask, LABELS["tumor"], np.where(liver, LABELS["parenchyma"], 0)).astype(np.uint8)
    scanned = _scan(grid, image, stream("scanner"))
    return PhantomCT(Volume(scanned, grid.geometry), LabelMap(Volume(labels, grid.geometry), dict(LABELS)))


def _tissue(grid: Grid, tumors: Tumors, hu: float, spec: PatientSpec, generator: np.random.Generator) -> Field:
    """Enhancing tissue with a mosaic and a rim, both by the hidden score; the mean enhancement tells nothing."""
    shape, spacing = tumors.mask.shape, grid.spacing_kji
    base = hu + float(generator.normal(22, 10))
    mosaic = random_field(shape, spacing, float(generator.normal(5.5, 0.5)), generator)
    fine = random_field(shape, spacing, 2.5, generator)
    values = base + MOSAIC_HU * float(np.exp(MOSAIC_GROWTH * spec.texture)) * mosaic + 4.0 * fine
    rim = tumors.depth * tumors.radius_mm < 5.0
    values[rim] += RIM_HU + RIM_PER_SCORE * spec.texture
    return values.astype(np.float32)


def _scan(grid: Grid, image: Field, generator: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    in_plane = max(0.4, 1.6 / grid.geometry.spacing[0])
    blurred = ndimage.gaussian_filter(image, (0.18, in_plane, in_plane), mode="nearest")
    white = generator.standard_normal(image.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, (0.0, in_plane, in_plane), mode="wrap")
    return np.clip(np.rint(blurred + NOISE_HU / float(noise.std()) * noise), -1024, 3071).astype(np.int16)


@dataclass(frozen=True)
class _ProliferativePatient:
    patient: str
    group: str
    seed: int
    row: dict[str, Any]
    causes: dict[str, float]
    label: int
    months: float
    event: int
    folder: Path
    size: str


def draw_patient(
    patient: str, group: str, seed: int, truth: ProliferationTruth, folder: Path, *, hazard: bool, size: str = "demo"
) -> _ProliferativePatient:
    """Draw one patient of a group (``training``, ``validation``, ``external``, ``RFA``, ``TACE``)."""
    drawn = draw_causes(rng(seed, "phantom-proliferation-causes", patient), 1)
    generator = rng(seed, "phantom-proliferation", patient)
    label = int(generator.random() < float(risk(truth.linear_predictor(drawn))[0]))
    causes = {name: float(values[0]) for name, values in drawn.items()}
    row = draw_row(causes, generator)
    months, event = _follow_up(group, causes["hidden"] if hazard else 0.0, generator)
    return _ProliferativePatient(patient, group, seed, row, causes, label, months, event, folder, size)


def _follow_up(group: str, score: float, generator: np.random.Generator) -> tuple[float, int]:
    """Exponential time whose hazard rises with the score; censored at the end of follow-up."""
    if group not in MEDIAN_MONTHS:
        return float("nan"), 0
    rate = np.log(2) / MEDIAN_MONTHS[group] * np.exp(LOG_HAZARD[group] * score)
    time, last = float(generator.exponential(1 / rate)), float(generator.uniform(*FOLLOW_UP_MONTHS[group]))
    return max(min(time, last), 0.3), int(time < last)


def _write(person: _ProliferativePatient) -> dict[str, Any]:
    generator = rng(person.seed, "phantom-proliferation-tumors", person.patient)
    tumors, hidden = tumors_of(person.row, generator), person.causes["hidden"]
    spec = PatientSpec(person.patient, person.seed, person.row["sex"], tumors, texture=hidden)
    scan = make_arterial_ct(spec, person.size)
    write_volume(scan.image, person.folder / "images" / f"{person.patient}.nii.gz")
    write_labelmap(scan.labels, person.folder / "masks" / f"{person.patient}.nii.gz")
    return {"patient": person.patient, "group": person.group, "hidden": person.causes["hidden"], "label": person.label}


def make_proliferative_cohorts(
    folder: str | Path,
    sizes: dict[str, int] | None = None,
    *,
    seed: int = 2025,
    effect: Effect | str = "planted",
    hazard: Effect | str = "planted",
    size: str = "demo",
    workers: int | None = 1,
    progress: Progress | None = None,
) -> Path:
    """Write all cohorts: ``clinical.csv`` (labelled), ``rfa.csv`` and ``tace.csv`` (follow-up), images, masks, truth.

    Parameters
    ----------
    sizes
        Patients by group; as in the leading study where left out (182 / 46 / 84; 80 and 100 in the further cohorts).
    effect
        ``planted``, or ``none``: the label at random.
    hazard
        ``planted``: the hazard of the further cohorts follows the hidden score; ``none``: it does not.

    Raises
    ------
    StudyFileError
        An unknown effect.
    """
    for name in (effect, hazard):
        if name not in ("planted", "none"):
            raise StudyFileError(f"The phantom knows no effect {name!r}.", expected="planted, none")
    folder = Path(folder)
    truth = PLANTED if effect == "planted" else NOTHING
    counts = {"training": 182, "validation": 46, "external": 84, "RFA": 80, "TACE": 100} | (sizes or {})
    letters = {"training": "A", "validation": "B", "external": "E", "RFA": "R", "TACE": "T"}
    people = [
        draw_patient(f"{letters[g]}{i:03d}", g, seed, truth, folder, hazard=hazard == "planted", size=size)
        for g, number in counts.items()
        for i in range(1, number + 1)
    ]
    written = map_items(_write, people, workers=workers, progress=progress)
    for name, groups in {
        "clinical": ("training", "validation", "external"), "rfa": ("RFA",), "tace": ("TACE",)
    }.items():  # fmt: skip
        rows = [_row(person) for person in people if person.group in groups]
        write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    truths = _truth(people, truth, effect, hazard, seed)
    write_json(folder / "truth.json", {**truths, "patients": written})
    return folder / "truth.json"


def _truth(
    people: list[_ProliferativePatient], truth: ProliferationTruth, effect: str, hazard: str, seed: int
) -> dict[str, Any]:
    """What the cohorts were drawn from, and how well the truth itself separates these patients."""
    return {
        "effect": effect,
        "hazard": hazard,
        "seed": seed,
        "coefficients": {"proliferation_per_sd": truth.hidden, "afp_per_sd": truth.afp},
        "log_hazard": LOG_HAZARD if hazard == "planted" else dict.fromkeys(LOG_HAZARD, 0.0),
        "bayes_auc": bayes_aucs(truth),
        "auc_of_the_truth_on_these_patients": {
            g: _aucs(truth, _together(part), np.array([float(p.label) for p in part]))
            for g in ("training", "validation", "external")
            if (part := [p for p in people if p.group == g])
        },
    }


def _row(person: _ProliferativePatient) -> dict[str, Any]:
    row = {"patient": person.patient, "set": person.group, **printed(person.row)}
    if person.group in MEDIAN_MONTHS:
        return row | {"Time (months)": round(person.months, 1), "Event": "yes" if person.event else "no"}
    return row | {"Proliferative": "yes" if person.label else "no"}


def _together(people: list[_ProliferativePatient]) -> dict[str, np.ndarray]:
    return {name: np.array([p.causes[name] for p in people]) for name in people[0].causes}
