"""All biomarkers of one patient: images by phase, masks on their grid, and what images do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pandas as pd

from hepacast.biomarkers import enhancement, geometry, staging, tissue
from hepacast.biomarkers import phases as timing
from hepacast.biomarkers.definitions import (
    BETWEEN,
    FAMILY,
    INTENSITY,
    SHAPE,
    STAGE,
    UNITS,
    VISIBLE,
    Biomarker,
    Missing,
    Number,
    Numbers,
)
from hepacast.biomarkers.enhancement import PhaseImage, measure_phase
from hepacast.biomarkers.regions import Regions
from hepacast.biomarkers.staging import PatientFacts
from hepacast.errors import HepacastError
from hepacast.imaging.phases import ARTERIAL, PHASES, UNENHANCED, phase_of
from hepacast.imaging.volume import Volume

#: Candidates of a question about the tumor, by pattern: few, stable, each with a meaning of its own.
OF_TUMOR = (
    *(
        f"*/{name}"
        for name in (
            "tumor_minus_liver", "tumor_p10_minus_liver", "tumor_p90_minus_liver", "rim_minus_liver",
            "core_minus_liver", "rim_minus_core", "core_sd", "core_detrended_sd", "core_fine_1_5", "core_coarse_1_5",
            "around_minus_liver", "liver_sd",
        )
    ),
    "phases/wash_in", "phases/wash_out_*", "shape/ln_tumor_volume", "shape/longest_diameter", "shape/tumor_number",
    "shape/sphericity",
)  # fmt: skip
#: The same of a question about the liver.
OF_LIVER = (
    *(f"*/{name}" for name in ("liver_mean", "liver_p10", "liver_p90", "liver_sd", "liver_fine_*", "liver_coarse_*")),
    "shape/ln_liver_volume",
)
#: Sets of candidates by the name that a study file asks for them by.
SETS = {
    "tumor": OF_TUMOR,
    "liver": OF_LIVER,
    "recommended": tuple(dict.fromkeys((*OF_TUMOR, *OF_LIVER))),
    "all": ("*",),
}

#: Columns of `PatientBiomarkers.to_frame`.
COLUMNS = ("biomarker", "label", "value", "unit", "grade", "status", "reason", "definition", "source")


@dataclass(frozen=True)
class PatientBiomarkers:
    """The biomarkers of one patient.

    Parameters
    ----------
    values
        By name, such as ``biomarker/portal/tumor_minus_liver``; NaN where there is none.
    reasons
        Why a number is missing, for each that is.
    grades
        Grade or category in words, where the number stands for one.
    definitions
        Label, unit, definition and source of each.
    """

    values: Mapping[str, float]
    reasons: Mapping[str, str]
    grades: Mapping[str, str]
    definitions: Mapping[str, Biomarker]

    @classmethod
    def failed(cls, definitions: Mapping[str, Biomarker], reason: str) -> PatientBiomarkers:
        """Every number missing for one reason."""
        return cls(dict.fromkeys(definitions, np.nan), dict.fromkeys(definitions, reason), {}, definitions)

    def to_frame(self) -> pd.DataFrame:
        """One row a biomarker, with unit, definition, source, and the reason where it is missing."""
        rows = [
            {
                "biomarker": name,
                "label": item.label,
                "value": self.values[name],
                "unit": item.unit,
                "grade": self.grades.get(name, ""),
                "status": "missing" if name in self.reasons else "ok",
                "reason": self.reasons.get(name),
                "definition": item.definition,
                "source": item.source,
            }
            for name, item in self.definitions.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def phases_of(sequences: Mapping[str, str] | tuple[str, ...] | list[str]) -> dict[str, str | None]:
    """The phase of each sequence: as given, else as its name says.

    Raises
    ------
    HepacastError
        A phase that is none, or that two sequences claim.
    """
    given = dict(sequences) if isinstance(sequences, Mapping) else dict.fromkeys(sequences, "")
    found: dict[str, str | None] = {name: phase or phase_of(name) for name, phase in given.items()}
    for name, phase in found.items():
        if phase is not None and phase not in PHASES:
            raise HepacastError(f"The phase of {name!r} is not known.", expected=", ".join(PHASES), found=phase)
    known = [phase for phase in found.values() if phase is not None]
    twice = sorted({phase for phase in known if known.count(phase) > 1})
    if twice:
        both = [name for name, phase in found.items() if phase == twice[0]]
        raise HepacastError(
            f"Several images are of the {twice[0]} phase.",
            expected="one image a phase",
            found=", ".join(both),
            remedy="name the phase of each image",
        )
    return found


def definitions_of(sequences: Mapping[str, str | None], modality: str = "CT") -> dict[str, Biomarker]:
    """Every biomarker of images of these phases by name, in order, with its unit.

    Parameters
    ----------
    sequences
        Phase of each sequence (see `phases_of`).
    modality
        ``CT`` or ``MR``.
    """
    unit = UNITS[modality]
    found: dict[str, Biomarker] = {}

    def add(group: str, items: tuple[Biomarker, ...], where: str = "") -> None:
        for item in items:
            label = f"{item.label}, {where}" if where else item.label
            own = unit if item.unit == INTENSITY else item.unit
            found[f"{FAMILY}/{group}/{item.name}"] = replace(item, label=label, unit=own)

    for name, phase in sequences.items():
        add(phase or name, enhancement.BIOMARKERS, phase or name)
    add(BETWEEN, (*timing.BIOMARKERS, *tissue.BIOMARKERS))
    # Clinical tables have sizes, numbers and stages too: a label is of one of them.
    add(SHAPE, (*geometry.BIOMARKERS, *geometry.VIABLE), "measured")
    add("li-rads", staging.FEATURES)
    add(STAGE, staging.STAGES, "measured")
    return found


@dataclass
class _Numbers:
    """Numbers as they come in, by full name."""

    numbers: dict[str, Number] = field(default_factory=dict)
    grades: dict[str, str] = field(default_factory=dict)

    def add(self, group: str, numbers: Numbers) -> None:
        self.numbers |= {f"{FAMILY}/{group}/{name}": value for name, value in numbers.items()}

    def result(self, definitions: Mapping[str, Biomarker]) -> PatientBiomarkers:
        values, reasons = {}, {}
        for name in definitions:
            number = self.numbers[name]
            bad = isinstance(number, Missing) or not np.isfinite(number)
            values[name] = np.nan if bad else float(number)
            if bad:
                reasons[name] = str(number) if isinstance(number, Missing) else "it has no finite value here"
        return PatientBiomarkers(values, reasons, self.grades, definitions)


def measure_biomarkers(
    images: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    *,
    phases: Mapping[str, str] | None = None,
    modality: str = "CT",
    facts: PatientFacts | None = None,
    lesions: str = "union",
    min_lesion_ml: float = 0.0,
) -> PatientBiomarkers:
    """Every biomarker of one patient.

    Parameters
    ----------
    images
        By sequence, on one grid; MR as preprocessed, or as it comes: the liver is the scale.
    masks
        Structures by name on the images' grid: liver (or parenchyma) and tumor, and where there are spleen, aorta,
        vessels, hilum.
    phases
        Phase of a sequence whose name does not tell it.
    modality
        ``CT``: HU; ``MR``: (x - median) / robust SD of the liver without tumor.
    facts
        Hematocrit, vascular invasion, growth.
    lesions, min_lesion_ml
        As in the image recipe: whose intensities are measured (``union`` or ``largest``), and from which volume (ml) a
        tumor counts.

    Returns
    -------
    PatientBiomarkers
        Every number that images of these phases can have; what cannot be measured is missing, with the reason.

    Raises
    ------
    HepacastError
        No image, a phase that two images claim, another modality; neither liver nor tumor is outlined; or images and
        masks lie on different grids.
    """
    by_phase = _phases_of(images, phases or {}, modality)
    regions = Regions.of(masks, lesions=lesions, min_lesion_ml=min_lesion_ml)
    grid = next(iter(masks.values())).geometry
    for name, image in images.items():
        image.geometry.require_same(grid, what="the masks", where=name)
    known = facts or PatientFacts()
    found = _Numbers()
    scaled = {name: PhaseImage.of(image, regions.box, regions.parenchyma, modality) for name, image in images.items()}
    seen = {phase: scaled[name] for name, phase in by_phase.items() if phase is not None}
    measured, main = _in_phases(scaled, by_phase, regions, found)
    found.add(BETWEEN, {**timing.between_phases(measured), **tissue.measure_tissue(seen, regions, known.hematocrit)})
    shape = geometry.measure_geometry(regions)
    arterial = seen.get(ARTERIAL, Missing("there is no arterial phase"))
    found.add(SHAPE, {**shape, **staging.measure_viable(arterial, regions)})
    features = staging.measure_features(seen, main, regions)
    found.add("li-rads", features)
    stages, grades = staging.grade_patient(features, main.get(ARTERIAL), shape, known, VISIBLE[modality])
    found.add(STAGE, stages)
    found.grades |= {f"{FAMILY}/{STAGE}/{name}": grade for name, grade in grades.items()}
    return found.result(definitions_of(by_phase, modality))


def _phases_of(images: Mapping[str, Volume], given: Mapping[str, str], modality: str) -> dict[str, str | None]:
    if not images or modality not in UNITS:
        raise HepacastError(
            "Biomarkers need an image of a known modality.",
            expected=" or ".join(UNITS),
            found=modality if images else "no image",
        )
    return phases_of({name: given.get(name, "") for name in images})


def _in_phases(
    scaled: Mapping[str, PhaseImage | Missing],
    by_phase: Mapping[str, str | None],
    regions: Regions,
    found: _Numbers,
) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Numbers by phase, of the tumors that are measured and of the largest; all of them are collected."""
    measured: dict[str, Numbers] = {}
    main: dict[str, Numbers] = {}
    for name, image in scaled.items():
        phase = by_phase[name]
        enhanced = None if phase is None else phase != UNENHANCED
        numbers = measure_phase(image, regions, regions.measured, enhanced=enhanced)
        found.add(phase or name, numbers)
        if phase is not None:
            measured[phase] = numbers
            main[phase] = numbers if regions.main is regions.measured else _of_main(image, regions)
    return measured, main


def _of_main(image: PhaseImage | Missing, regions: Regions) -> Numbers:
    """What LI-RADS reads of the largest tumor."""
    if isinstance(image, Missing):
        return {item.name: image for item in enhancement.BIOMARKERS}
    return enhancement.measure_parts(image, regions, regions.main)


class MeasuringRecipe(Protocol):
    """What an image recipe says of biomarkers."""

    @property
    def sequences(self) -> Mapping[str, str]:
        """Modality by sequence."""

    @property
    def phases(self) -> Mapping[str, str] | None:
        """Phase of a sequence whose name does not tell it."""

    @property
    def lesions(self) -> str:
        """Whose intensities are measured: ``union`` or ``largest``."""

    @property
    def min_lesion_ml(self) -> float:
        """From which volume a tumor counts."""

    def by_sequence(self, images: Mapping[str, Volume]) -> dict[str, Volume]:
        """Images in the recipe's order."""


def measure_by_recipe(
    recipe: MeasuringRecipe,
    images: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    facts: PatientFacts | None = None,
) -> PatientBiomarkers:
    """Biomarkers of one patient, in a study as in a prediction; those of a phase that the patient lacks are missing.

    Raises
    ------
    HepacastError
        As `measure_biomarkers`; a sequence is missing.
    """
    found = measure_biomarkers(
        recipe.by_sequence(images),
        masks,
        phases=recipe.phases,
        modality=modality_of_recipe(recipe),
        facts=facts,
        lesions=recipe.lesions,
        min_lesion_ml=recipe.min_lesion_ml,
    )
    wanted = definitions_of_recipe(recipe)
    if wanted.keys() == found.definitions.keys():
        return found
    lacking = {name: "the patient has no image of this phase" for name in wanted if name not in found.values}
    values = dict.fromkeys(lacking, np.nan) | dict(found.values)
    return PatientBiomarkers(
        {name: values[name] for name in wanted}, {**found.reasons, **lacking}, found.grades, wanted
    )


def definitions_of_recipe(recipe: MeasuringRecipe) -> dict[str, Biomarker]:
    """Every biomarker of the recipe's sequences."""
    phases = phases_of({name: (recipe.phases or {}).get(name, "") for name in recipe.sequences})
    return definitions_of(phases, modality_of_recipe(recipe))


def modality_of_recipe(recipe: MeasuringRecipe) -> str:
    """``MR`` where any sequence is MR, else ``CT``."""
    return "MR" if "MR" in recipe.sequences.values() else "CT"
