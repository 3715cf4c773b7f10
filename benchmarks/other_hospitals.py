"""A demo's model in virtual hospitals of known truth: one alike, one of other patients, one of other risk and scanner.

``python benchmarks/other_hospitals.py MODEL OUT [PATIENTS]``: MODEL is the bundle of ``hepacast demo``; in OUT each
hospital has a folder with its images, table and validation, and what is there is kept. Prints a Markdown table. The
first hospital draws its patients as the demo does, so the model's risks should hold; the second admits patients with
low albumin only, so discrimination falls as the case-mix promises and calibration should hold; the third has odds of
liver failure 12 times as high and a scanner with more noise, so the risks should fail, and the model updated there is
validated in the same hospital's next patients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hepacast.core.files import write_text
from hepacast.core.records import read_record
from hepacast.core.seeds import rng
from hepacast.evaluation.case_mix import read_external
from hepacast.evaluation.results import EvaluationResults
from hepacast.evaluation.scrutiny import PredictionScrutiny
from hepacast.imaging.io import read_volume, write_volume
from hepacast.phantom.cohort import make_cohort
from hepacast.phantom.labs import VirtualPatient
from hepacast.phantom.truth import PLANTED, Coefficients
from hepacast.study.demos.ptlf import DEMO
from hepacast.study.template import render_study
from hepacast.study.validate import validate_model

RISKIER = replace(PLANTED, intercept=PLANTED.intercept + np.log(12.0))
#: Noise, HU, that the third hospital's scanner adds.
NOISE_HU = 10.0


@dataclass(frozen=True)
class Hospital:
    """Who comes, with which truth, before which scanner."""

    name: str
    seed: int
    truth: Coefficients = PLANTED
    admits: Callable[[VirtualPatient], bool] = lambda person: True
    noisy: bool = False


def low_albumin(person: VirtualPatient) -> bool:
    """Below 36 g/L: 35 % of the population."""
    return bool(person.baseline["alb"] < 36.0)


HOSPITALS = (
    Hospital("same", 7101),
    Hospital("other-patients", 7102, admits=low_albumin),
    Hospital("other-risk-and-scanner", 7103, RISKIER, noisy=True),
    Hospital("other-risk-and-scanner-later", 7104, RISKIER, noisy=True),
)


def make(hospital: Hospital, folder: Path, n: int) -> Path:
    """The hospital's files, unless they are there."""
    if (folder / "study.yaml").is_file():
        return folder
    made = make_cohort(
        folder, n, 0, seed=hospital.seed, n_masks=0, n_second_reader=0, n_reviewed=0, truth_masks=True,
        truth=hospital.truth, admits=hospital.admits,
    )  # fmt: skip
    if hospital.noisy:
        for patient, path in made.images.items():
            image = read_volume(path)
            noise = rng(hospital.seed, "scanner", patient).normal(0.0, NOISE_HU, image.array.shape)
            write_volume(replace(image, array=(image.array + noise).round().astype(image.array.dtype)), path)
    study = DEMO.study(DEMO.choose({}, seed=hospital.seed, segmenter="given"))
    study["name"] = f"Virtual hospital: {hospital.name}"
    del study["cohort"]["truth"], study["images"]["segmentation"]["second_reader"]
    write_text(folder / "study.yaml", render_study(study))
    return folder


def row(name: str, out: Path) -> str:
    """One validation as a line of the table."""
    (found,) = read_external(out / "evaluation" / "external.json")
    judged = read_record(EvaluationResults, out / "evaluation" / "evaluation.json")
    scrutiny = read_record(PredictionScrutiny, out / "evaluation" / "scrutiny.json")
    item = judged.sets[judged.judged]
    fit = item.models[found.name].main.calibration
    assert fit is not None
    limits = [
        f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
        for value, digits in ((found.observed, 3), (fit.observed_expected, 2), (fit.slope, 2))
    ]
    auc, ratio, slope = limits
    chosen = scrutiny.recalibration[0].chosen
    return f"| {name} | {item.n} ({item.events}) | {auc} | {found.expected:.3f} | {ratio} | {slope} | {chosen} |"


def main(model: Path, out: Path, n: int = 140) -> str:
    """The table of all hospitals."""
    lines = [
        "| hospital | patients (events) | AUC | its risks promise | observed / expected | slope | closed test |",
        "|---|---|---|---|---|---|---|",
    ]
    for hospital in HOSPITALS:
        folder = make(hospital, out / hospital.name, n)
        update = "closed-test" if hospital.noisy else None
        validate_model(model, folder, update=update, workers=1)
        lines.append(row(hospital.name, folder / "validation"))
    third, later = (out / item.name for item in HOSPITALS[2:])
    updated = third / "validation" / "updated.hepacast"
    if updated.is_file():
        validate_model(updated, later, out=later / "updated", workers=1)
        lines.append(row(f"{later.name}, model updated in the third", later / "updated"))
    return "\n".join(lines)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(text) for text in sys.argv[3:])))
