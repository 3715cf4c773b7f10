"""What the negative controls of a study gave, as text, JSON, table and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import number, p_value, with_interval
from hepacast.core.tables import Table, make_table
from hepacast.figures.noise import NullPanel, draw_noise
from hepacast.modelling.controls import NullDistribution
from hepacast.stats.intervals import ci_label
from hepacast.stats.resampling import ResampledMean
from hepacast.stats.results import TestResult
from hepacast.study.statistics.result import StatisticsResult, note_lines

#: What a control leaves, by its name.
LEFT = {
    "permuted outcome": "nothing",
    "shuffled features": "the clinical columns",
    "noise features": "the clinical columns",
    "shuffled voxels": "the distribution of intensities, and the size of the VOI",
    "noise voxels": "the size of the VOI",
    "random region": "the size of the VOI, and the scanner",
}


@dataclass(frozen=True)
class ImageControl:
    """The radiomics model on features of altered images, beside the real ones (shape left out) in the same folds."""

    control: str
    real: ResampledMean
    altered: ResampledMean
    difference: TestResult
    n_features: int
    failed_vois: int
    failed_fits: int
    measure: str = "AUC"

    @property
    def status(self) -> str:
        """``"holds"`` (0.50 within the limits), ``"carries"`` (the limits lie above), ``"below"``, ``"unknown"``."""
        if math.isnan(self.altered.low):
            return "unknown"
        return "carries" if self.altered.low > 0.5 else "below" if self.altered.high < 0.5 else "holds"

    def text(self) -> str:
        """One sentence."""
        found = with_interval(self.altered.estimate, self.altered.low, self.altered.high)
        return {
            "unknown": "cannot be judged: too few folds gave an estimate",
            "holds": f"{found}: 0.50 within its error",
            "carries": f"{found}: above 0.50; the features still know {LEFT[self.control]}",
            "below": f"{found}: below 0.50 by more than its error allows",
        }[self.status]


@dataclass(frozen=True, repr=False)
class NoiseResult(StatisticsResult):
    """Negative controls of a study.

    Attributes
    ----------
    tables
        Null distributions: permuted outcome, shuffled or random features.
    images
        Controls with images.
    folds, seed
        Of the cross-validation; base of the random numbers.
    made_from
        Keys of the stages and of the models.
    """

    tables: tuple[NullDistribution, ...]
    images: tuple[ImageControl, ...]
    folds: int
    seed: int
    made_from: dict[str, str]

    @property
    def measure(self) -> str:
        """``"AUC"``, or ``"C"`` of time to an event."""
        for table in self.tables:
            return table.measure
        return self.images[0].measure if self.images else "AUC"

    @property
    def leaks(self) -> list[str]:
        """Models of the table's controls that are not at 0.50 within their error."""
        return [
            f"{item.control}, {model} model"
            for item in self.tables
            for model in judged(item)
            if item.verdict(model).status in ("leak", "biased")
        ]

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "measure": self.measure,
            "seed": self.seed,
            "folds": self.folds,
            "made_from": self.made_from,
            "controls": [
                {
                    "control": item.control,
                    "rounds": max((len(values) for values in item.values.values()), default=0),
                    "models": {name: _model_json(item, name) for name in item.values},
                    "failures": item.failures,
                }
                for item in self.tables
            ],
            "images": [
                {
                    "control": item.control,
                    "left": LEFT[item.control],
                    "value": item.altered.estimate,
                    "low": item.altered.low,
                    "high": item.altered.high,
                    "real": {"value": item.real.estimate, "low": item.real.low, "high": item.real.high},
                    "difference": item.difference.estimate,
                    "p": item.difference.p,
                    "verdict": item.status,
                    "sentence": item.text(),
                    "features": item.n_features,
                    "failed_vois": item.failed_vois,
                    "failed_fits": item.failed_fits,
                }
                for item in self.images
            ],
            "leaks": self.leaks,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a control and model."""
        rows: list[dict[str, Any]] = []
        for item in self.tables:
            for model in item.values:
                values = {k: v for k, v in _model_json(item, model).items() if k not in ("null", "sentence")}
                rows.append({"control": item.control, "model": model, **values})
        for control in self.images:
            found = control.altered
            rows.append(
                {
                    "control": control.control,
                    "model": "radiomics",
                    "mean": found.estimate,
                    "se": found.se,
                    "low": found.low,
                    "high": found.high,
                    "observed": control.real.estimate,
                    "p": control.difference.p,
                    "verdict": control.status,
                }
            )
        return pd.DataFrame(rows)


@views.page.register
def _(found: NoiseResult) -> Sequence[str | Table]:
    """The tables, the verdicts, and how to read them."""
    lines = [
        f"{item.control}, {model}: {item.verdict(model).text()}." for item in found.tables for model in judged(item)
    ]
    lines += [f"{item.control}, radiomics: {item.text()}." for item in found.images]
    return [
        f"Negative controls, {found.folds}-fold cross-validation with every step refitted.",
        *([_null_table(found)] if found.tables else []),
        *([_image_table(found)] if found.images else []),
        "\n".join(lines),
        note_lines(_notes(found)),
    ]


def _notes(found: NoiseResult) -> list[str]:
    notes = []
    for item in found.tables:
        failed = {entry["round"] for entry in item.failures}
        if failed:
            notes.append(f"{item.control}: {len(failed)} rounds had a fit that failed and gave no {item.measure}.")
    for control in found.images:
        if control.failed_vois or control.failed_fits:
            notes.append(
                f"{control.control}: {control.failed_vois} VOIs could not be measured (their features are imputed "
                f"in the fold); {control.failed_fits} fits failed and gave no {control.measure}."
            )
    if any(item.control != "permuted outcome" for item in found.tables):
        notes.append("Without the features only the radiomics model must be at 0.50: clinical columns stay.")
    if found.images:
        notes.append(
            f"Shape features are left out of the controls with images, and of the real {found.measure} beside them."
        )
    if found.measure == "C":
        notes.append("C: Harrell's concordance; time and event of a patient are dealt together.")
    return notes


def _null_table(found: NoiseResult) -> Table:
    measure = found.measure
    rows = []
    for item in found.tables:
        for model in item.values:
            null = item.verdict(model)
            mean, sd, real = number(null.mean, 3), number(null.sd, 3), number(item.observed[model], 3)
            shown = f"{mean} ({number(null.se, 3)})"
            rows.append((item.control, model, str(null.n), shown, sd, real, p_value(item.p[model])))
    heads = ("Control", "Model", "Rounds", f"Null {measure} (SE)", "Null SD", f"Real {measure}", "Permutation P")
    return make_table("Nothing to find", heads, rows)


def _image_table(found: NoiseResult) -> Table:
    first = found.images[0]
    rows = [
        (
            item.control,
            LEFT[item.control],
            with_interval(item.altered.estimate, item.altered.low, item.altered.high),
            with_interval(item.real.estimate, item.real.low, item.real.high),
            number(item.difference.estimate, 3),
            p_value(item.difference.p),
        )
        for item in found.images
    ]
    ci = ci_label(first.altered.level)
    heads = ("Control", "What is left", f"{first.measure} ({ci})", f"Real {first.measure} ({ci})", "Difference", "P")
    return make_table("Images altered (radiomics model)", heads, rows)


@views.drawings.register
def _(found: NoiseResult) -> views.Drawings:
    """One figure a control of the table."""
    return {
        item.control: partial(draw_noise, panels(item), what=_WHAT[item.control], measure=item.measure)
        for item in found.tables
    }


_WHAT = {
    "permuted outcome": "outcome shuffled",
    "shuffled features": "features shuffled",
    "noise features": "features replaced by noise",
}


def judged(item: NullDistribution) -> list[str]:
    """Models that must be at 0.50: all when the outcome is permuted, else the radiomics model."""
    return [name for name in item.values if item.control == "permuted outcome" or name in ("radiomics", "model")]


def panels(item: NullDistribution) -> list[NullPanel]:
    """One panel a judged model."""
    found = []
    for name in judged(item):
        verdict = item.verdict(name)
        title = f"{name[:1].upper()}{name[1:]} model" if name != "model" else "Model"
        found.append(
            NullPanel(title, item.values[name].tolist(), item.observed[name], item.p[name], verdict.mean, verdict.se)
        )
    return found


def _model_json(item: NullDistribution, name: str) -> dict[str, Any]:
    found = item.verdict(name)
    must = name in judged(item)
    return {
        "null": item.values[name].tolist(),
        "mean": found.mean,
        "se": found.se,
        "sd": found.sd,
        "low": found.low,
        "high": found.high,
        "observed": item.observed[name],
        "p": item.p[name],
        "verdict": found.status if must else None,
        "sentence": found.text() if must else None,
    }
