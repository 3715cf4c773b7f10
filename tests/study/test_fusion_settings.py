"""What the study file may say of fusions, further cohorts, MR preprocessing; and how their tables are read."""

import copy
from typing import get_args

import pandas as pd
import pytest
from pydantic import ValidationError

from hepacast.core.files import write_text
from hepacast.errors import OutcomeError, StudyFileError, TableError
from hepacast.modelling.classifiers import CLASSIFIERS, COMPETING
from hepacast.phantom.early_recurrence import PLANTED, draw_patient
from hepacast.phantom.resection import printed
from hepacast.study.context import make_context
from hepacast.study.demos import DEMOS, MINUTES, early_recurrence, proliferative, run_demo_of
from hepacast.study.further_cohorts import further_patients, read_further
from hepacast.study.schema import Study
from hepacast.study.schema.fusion import Classifier
from hepacast.study.template import render_study


def study_d():
    return copy.deepcopy(early_recurrence.DEMO.study(early_recurrence.DEMO.choose({}, seed=1)))


def study_c():
    return copy.deepcopy(proliferative.DEMO.study(proliferative.DEMO.choose({}, seed=1)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["fusion"].update(networks=[]), "name one or more under `networks`"),
        (lambda s: s["fusion"].update(models={"R": []}), "joins at least one part"),
        (lambda s: s["fusion"]["deep"]["network"].update(tasks="multi-task"), "are classifiers"),
        (lambda s: s["fusion"]["networks"].append(s["fusion"]["networks"][0]), "stands twice"),
        (lambda s: s["images"]["preprocessing"].update(registration="elastic"), "bspline"),
        (lambda s: s["images"]["preprocessing"].update(registration_control_mm=1), "greater than or equal to 10"),
        (lambda s: s["images"]["preprocessing"].update(reference="late"), "none of"),
        (lambda s: s["images"]["preprocessing"].update(tissue="kidney"), "not among the named masks or labels"),
        (lambda s: s["images"]["preprocessing"].update(spacing=[1, 1, 0]), "above 0 mm"),
        (lambda s: s["images"]["preprocessing"].update(normalization="histogram"), "white-stripe"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(change, words):
    study = study_d()
    Study.model_validate(study)
    change(study)
    with pytest.raises(ValidationError, match=words):
        Study.model_validate(study)


def test_a_region_needs_given_masks():
    study = study_d()
    study["images"]["preprocessing"].update(normalization="zscore", region="spleen")
    Study.model_validate(study)
    study["images"]["segmentation"]["source"] = "builtin"
    with pytest.raises(ValidationError, match="needs given masks"):
        Study.model_validate(study)


def test_further_cohorts_need_measurable_images_of_known_centers():
    study = study_c()
    del study["fusion"]
    Study.model_validate(study)
    study["modelling"] |= {"harmonize": "combat"}
    with pytest.raises(ValidationError, match=r"centers that `modelling\.harmonize` does not know"):
        Study.model_validate(study)


def test_the_recipes_have_the_published_comparisons():
    d, c = study_d(), study_c()
    assert d["fusion"]["classifiers"] == ["logistic", "svm", "knn", "xgboost", "mlp"]
    variants = {(item["encoder"], item["dimensions"]) for item in d["fusion"]["networks"]}
    assert variants == {(f"resnet{n}", dim) for n in (18, 34, 50) for dim in ("3d", "2.5d")}
    assert list(d["fusion"]["models"]) == ["CR", "R", "RCR", "DL", "DLRCR", "Auto", "Biomarkers", "DLRCR+B"]
    assert set(c["fusion"]["classifiers"]) == {
        "logistic", "svm", "knn", "random_forest", "extra_trees", "xgboost", "mlp",
    }  # fmt: skip
    assert list(c["fusion"]["models"])[-1] == "DLR+B" and set(c["further"]) == {"RFA", "TACE"}


def test_study_d_has_3111_features():
    from hepacast.study.feature_settings import study_settings

    study = Study.model_validate(study_d())
    assert len(study_settings(study).feature_names()) * len(study.images.sequences) * len(study.images.vois) == 3111


def table(names, time="12.5", event="yes"):
    rows = []
    for name in names:
        person = draw_patient(name, 1, PLANTED, None)
        rows.append({"patient": name, **printed(person.row), "Time (months)": time, "Event": event})
    return pd.DataFrame(rows).to_csv(index=False)


def context_of(folder, rfa, tace):
    write_text(folder / "rfa.csv", rfa)
    write_text(folder / "tace.csv", tace)
    write_text(folder / "clinical.csv", "patient\n")
    write_text(folder / "study.yaml", render_study(study_c()))
    return make_context(folder / "study.yaml")


def test_further_tables_are_read_with_their_follow_up(tmp_path):
    context = context_of(tmp_path, table(["R2", "R1"]), table(["T1"]))
    rfa, tace = read_further(context)
    assert further_patients(context) == ["R1", "R2", "T1"]
    assert rfa.outcome.time.tolist() == [12.5, 12.5] and rfa.outcome.event.tolist() == [1, 1]
    assert tace.outcome.event.tolist() == [1] and tace.outcome.unit == "months"
    assert "proliferative" not in {spec.name for spec in rfa.table.specs}


def test_a_cohort_without_an_event_is_refused(tmp_path):
    with pytest.raises(OutcomeError, match="means the event"):
        read_further(context_of(tmp_path, table(["R1"]), table(["T1"], event="no")))


def test_a_patient_of_two_further_cohorts_is_refused(tmp_path):
    with pytest.raises(TableError, match="two further cohorts"):
        read_further(context_of(tmp_path, table(["R1"]), table(["R1"])))


def test_an_unknown_follow_up_is_refused_by_name(tmp_path):
    both = table(["R1"]) + table(["R2"], time="").split("\n", 1)[1]
    with pytest.raises(TableError, match="not known"):
        read_further(context_of(tmp_path, both, table(["T1"])))


def test_every_demo_is_found_and_a_stranger_is_not():
    import importlib

    assert list(MINUTES) == list(DEMOS)
    for module in DEMOS.values():
        assert callable(importlib.import_module(f"hepacast.study.demos.{module}").DEMO.study)
    with pytest.raises(StudyFileError, match="no demo of this study"):
        run_demo_of("appendicitis", "nowhere")


def test_the_classifiers_of_a_study_file_are_those_of_the_registry():
    assert get_args(Classifier) == COMPETING
    assert all(CLASSIFIERS[name].label for name in COMPETING)
