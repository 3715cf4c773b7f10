"""The virtual cohort on disk: complete, the same with any number of workers, and read as the study would read it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.cohort import ColumnSpec, check_table, derive_outcome, find_excluded, read_table
from hepacast.errors import ModelError, StudyFileError
from hepacast.imaging import read_labelmap, read_volume
from hepacast.phantom import make_cohort
from hepacast.phantom.columns import (
    CHARACTERISTICS,
    EXCLUSION_HEADER,
    EXCLUSION_REASONS,
    FOLLOW_UP,
    candidates,
    exclusions,
    outcome_columns,
    study_columns,
)

SMALL = {"n_train": 7, "n_validation": 4, "seed": 9, "n_masks": 4, "n_second_reader": 2, "size": "tiny"}


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".xlsx")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), **SMALL)


def specs() -> list[ColumnSpec]:
    chosen = []
    for column in (*CHARACTERISTICS, *FOLLOW_UP):
        chosen.append(
            ColumnSpec(
                name=column.name,
                source=(column.header,),
                kind=column.kind,
                label=column.label,
                quantity=column.quantity,
                levels={k: tuple(str(w) for w in v) for k, v in column.levels.items()} if column.levels else {},
                role="candidate" if column.role == "candidate" else "outcome",
                after_event=column.role == "follow-up",
            )
        )
    return chosen


def test_files_are_there_and_fit_together(cohort) -> None:
    assert len(cohort.images) == 11 and len(cohort.masks) == 4 and len(cohort.second_reader) == 2
    assert set(cohort.masks) <= set(cohort.training) and set(cohort.second_reader) <= set(cohort.masks)
    assert len(cohort.training) == 7 and len(cohort.validation) == 4
    for patient, path in cohort.masks.items():
        image = read_volume(cohort.images[patient])
        labels = read_labelmap(path, {"parenchyma": 1, "tumor": 2}, reference=image)
        assert labels.unnamed == () and all(mask.array.any() for mask in labels.masks().values())
    assert all(path.exists() for path in (*cohort.images.values(), *cohort.second_reader.values(), cohort.workbook))
    assert not list(cohort.folder.rglob(".tmp-*"))


def test_workers_and_order_change_nothing(cohort, tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    make_cohort(tmp_path, workers=2, progress=lambda done, total: ticks.append((done, total)), **SMALL)
    assert digest(tmp_path) == digest(cohort.folder)
    assert ticks[-1] == (11, 11)


def test_a_larger_cohort_holds_the_same_patients(cohort, tmp_path: Path) -> None:
    larger = make_cohort(tmp_path, **{**SMALL, "n_train": 9, "n_validation": 1})
    for patient in cohort.training:
        assert larger.images[patient].read_bytes() == cohort.images[patient].read_bytes()


def test_the_study_derives_exactly_the_drawn_outcome(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path, **{**SMALL, "n_train": 14})
    truth = {p["patient"]: p["outcome"] for p in json.loads(cohort.truth.read_text())["patients"]}
    for path in (cohort.clinical, cohort.workbook):
        table = read_table(path, id_column="patient", columns=specs())
        assert [f for f in table.findings if f.severity == "error"] == []
        outcome = derive_outcome(table, "apasl2019-ptlf", outcome_columns())
        values = outcome.values.reindex(list(truth)).astype(int)
        assert values.to_dict() == truth


def test_the_table_passes_the_studys_checks(cohort) -> None:
    table = read_table(cohort.clinical, id_column="patient", columns=specs())
    errors = [finding for finding in check_table(table) if finding.severity == "error"]
    assert errors == []


def test_exclusions_are_flow_diagram_reasons(cohort) -> None:
    table = read_table(cohort.clinical, id_column="patient", columns=specs())
    left_out: set[str] = set()
    for rule in exclusions():
        assert rule["reason"] in EXCLUSION_REASONS
        left_out |= set(find_excluded(table, rule["column"], equals=rule["equals"]))
    frame = pd.read_csv(cohort.clinical)
    assert len(frame) == round(11 * 500 / 210) == 26
    assert set(frame["patient"]) - left_out == set(cohort.images)
    assert len(left_out) == 15


def test_study_sections_name_every_column(cohort) -> None:
    frame = pd.read_csv(cohort.clinical)
    headers = [entry["column"] for entry in study_columns().values()]
    assert headers == [h for h in frame.columns if h not in ("patient", "center", EXCLUSION_HEADER)]
    assert len(candidates()) == 25
    assert set(outcome_columns()) == {"bilirubin", "inr", "pta", "ascites", "encephalopathy", "onset_days"}
    assert all(study_columns()[name].get("after_event") for name in outcome_columns().values())
    assert not any(study_columns()[name].get("after_event") for name in candidates())


def test_blemishes_are_few_and_never_in_the_causes(tmp_path: Path) -> None:
    few = {"n_train": 1, "n_validation": 1, "seed": 9, "n_masks": 0, "size": "tiny", "n_reviewed": 600}
    plain, spotted = make_cohort(tmp_path / "a", blemishes=False, **few), make_cohort(tmp_path / "b", **few)
    first, second = pd.read_csv(plain.clinical), pd.read_csv(spotted.clinical)
    names = [column.header for column in CHARACTERISTICS]
    assert first[names].notna().all().all()
    gaps = second[names].isna().mean()
    assert 0.004 < gaps.mean() < 0.02
    assert gaps[["INR", "ALB (g/L)"]].sum() == 0
    assert (second["AFP (ng/mL)"] == "<2").any()
    follow = [column.header for column in FOLLOW_UP]
    pd.testing.assert_frame_equal(first[follow], second[follow])


def test_truth_file(cohort) -> None:
    truth = json.loads(cohort.truth.read_text())
    assert truth["effect"] == "planted" and truth["bayes_auc"]["combined"] == pytest.approx(0.967, abs=0.003)
    assert truth["events"]["all"] == sum(person["outcome"] for person in truth["patients"])
    table = pd.read_csv(cohort.clinical).set_index("patient")
    c = truth["coefficients"]
    for person in truth["patients"]:
        row = table.loc[person["patient"]]
        expected = (
            c["intercept"]
            + c["inr_per_unit"] * (row["INR"] - 1.07)
            + c["alb_per_g_per_L"] * (row["ALB (g/L)"] - 38)
            + c["texture_per_sd"] * person["texture"]
        )
        assert person["linear_predictor"] == pytest.approx(expected, abs=1e-9)
        assert person["risk"] == pytest.approx(1 / (1 + np.exp(-expected)))
        assert person["texture_sd_hu"] == pytest.approx(12 + 3.2 * person["texture"])
        assert 800 < person["parenchyma_ml"] + person["tumor_ml"] < 2100
    assert truth["masks"] == sorted(cohort.masks)


def test_no_effect_leaves_the_patients_and_takes_the_outcome(cohort, tmp_path: Path) -> None:
    empty = make_cohort(tmp_path, effect="none", **SMALL)
    truth = json.loads(empty.truth.read_text())
    assert truth["bayes_auc"] == pytest.approx({"combined": 0.5, "clinical": 0.5, "texture": 0.5, "event_rate": 0.25})
    assert len({person["risk"] for person in truth["patients"]}) == 1
    for patient in cohort.images:
        assert empty.images[patient].read_bytes() == cohort.images[patient].read_bytes()


def test_true_masks_on_demand(tmp_path: Path) -> None:
    cohort = make_cohort(
        tmp_path, **{**SMALL, "n_train": 3, "n_validation": 1, "n_masks": 2}, truth_masks=True, n_reviewed=0
    )
    assert len(cohort.truth_masks) == 4
    for patient, path in cohort.masks.items():
        assert path.read_bytes() == cohort.truth_masks[patient].read_bytes()
    assert len(pd.read_csv(cohort.clinical)) == 4


def test_impossible_wishes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError):
        make_cohort(tmp_path, n_train=0)
    with pytest.raises(StudyFileError):
        make_cohort(tmp_path, n_train=3, n_masks=-1)
    with pytest.raises(ModelError):
        make_cohort(tmp_path, effect="huge")
    assert list(tmp_path.iterdir()) == []
