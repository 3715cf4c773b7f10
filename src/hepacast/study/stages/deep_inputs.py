"""What the networks of a study get: every patient's crop, mask, outcome and covariates, in the order of identifiers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hepacast.cohort import Cohort, SurvivalOutcome
from hepacast.cohort.columns import numeric_columns
from hepacast.deep import CropStore, DeepSpec, Targets
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry
from hepacast.modelling.targets import event_classes
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.crops import DrawnMask, crop_patients
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.patient_masks import mask_of
from hepacast.study.schema import Deep


@dataclass(frozen=True)
class DeepData:
    """All analysed patients as the networks see them.

    Parameters
    ----------
    cohort
        Who is analysed.
    patients
        Identifiers, sorted; the order of every array.
    crops
        (n, channels, z, y, x).
    targets
        Outcomes, masks, covariates.
    drawn
        Masks of the study's segmentation (a network's, where one was trained) on the crops' grids.
    y
        The study's outcome, (n,) or (n, 2): `Outcome.y`.
    spacing
        Voxel size of each crop (x, y, z), mm, (n, 3).
    """

    cohort: Cohort
    patients: tuple[str, ...]
    crops: CropStore
    targets: Targets
    drawn: CropStore
    y: np.ndarray
    spacing: np.ndarray

    @property
    def event(self) -> np.ndarray:
        """1 for patients with the event, (n,)."""
        return event_classes(self.y)

    def rows(self, name: str) -> np.ndarray:
        """Row numbers of one set."""
        sets = self.cohort.sets
        return np.flatnonzero([sets[patient] == name for patient in self.patients])

    def geometry(self, row: int) -> Geometry:
        """A crop's grid up to its place: enough for distances and volumes."""
        x, y, z = (float(value) for value in self.spacing[row])
        shape = self.drawn[row].shape
        return Geometry((shape[2], shape[1], shape[0]), (x, y, z))


def deep_of(context: Context) -> Deep:
    """The study's networks (the stage is only run where there are some)."""
    assert context.study.deep is not None
    return context.study.deep


def spec_of(context: Context) -> DeepSpec:
    """Crop, network and training, with the file of pretrained weights found beside the study file."""
    spec = deep_of(context).spec
    if spec.network.pretrained is None:
        return spec
    found = str(context.path(spec.network.pretrained))
    return spec.model_copy(update={"network": spec.network.model_copy(update={"pretrained": found})})


def load_data(context: Context) -> DeepData:
    """Make or find all crops.

    Raises
    ------
    HepacastError
        A patient's image or mask cannot be cropped.
    """
    cohort = analysis_cohort(context)
    patients = tuple(sorted(cohort.patients))
    rules = deep_of(context)
    learned = {patient: _mask_to_learn_from(context, patient) for patient in patients}
    cropped = crop_patients(context, patients, rules.crop, rules.structure, learned)
    event, time = _learned(context, cohort, patients)
    covariates = covariate_table(cohort, rules.network.covariates)
    targets = Targets(
        outcome=event,
        time=time,
        masks=cropped.learned,
        has_mask=cropped.has_mask,
        covariates=None if covariates is None else covariates.loc[list(patients)].to_numpy(dtype=float),
    )
    y = cohort.outcome.select(patients).y
    return DeepData(cohort, patients, cropped.crops, targets, cropped.drawn, y, cropped.spacing)


def _learned(context: Context, cohort: Cohort, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prediction pathway learns: the event, or the follow-up for Cox and discrete hazards."""
    outcome = cohort.outcome.select(patients)
    if deep_of(context).network.outcome == "binary":
        return outcome.events.to_numpy(dtype=float), None
    if isinstance(outcome, SurvivalOutcome):
        # A competing event ends the time in which the event could have come.
        return outcome.event.to_numpy(dtype=float), outcome.time.to_numpy(dtype=float)
    if not cohort.survival:
        raise StudyFileError(
            "A network of times to an event needs the follow-up.",
            expected="survival: {time: ..., event: ...}",
            where="deep.network.outcome",
        )
    follow_up = next(iter(cohort.survival.values()))
    return (
        follow_up.event.astype(float).reindex(list(patients)).to_numpy(),
        follow_up.time.astype(float).reindex(list(patients)).to_numpy(),
    )


def covariate_table(cohort: Cohort, names: list[str]) -> pd.DataFrame | None:
    """Clinical values as numbers: levels of a categorical column become 0/1 columns, without the first.

    Raises
    ------
    StudyFileError
        A name is no candidate column.
    """
    if not names:
        return None
    specs = {spec.name: spec for spec in cohort.table.specs}
    parts = []
    for name in names:
        spec = specs.get(name)
        if spec is None or spec.after_event or spec.kind == "date":
            raise StudyFileError(
                f"The covariate {name!r} of the network cannot be used.",
                expected="a numeric, binary or categorical column that is known before the event",
                where="deep.network.covariates",
            )
        parts.append(numeric_columns(cohort.table.frame[name], spec))
    return pd.concat(parts, axis=1)


def _mask_to_learn_from(context: Context, patient: str) -> DrawnMask | None:
    """Of the pattern given, an expert's where a network made the study's, else the study's; None without one."""
    options, rules = context.images.segmentation, deep_of(context)
    pattern = rules.masks or (options.masks if options.source != "given" else None)
    if pattern is None:
        mask, labels = mask_of(context, patient)
        return DrawnMask(MaskFiles((("", mask),)), tuple(labels.items()))
    files = mask_files(context, pattern, patient)
    return DrawnMask(files, tuple(options.labels.items())) if files.exists() else None
