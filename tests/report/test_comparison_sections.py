"""Sections of studies with MR, competing networks and classifiers, further cohorts, staging systems."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from hepacast.core.estimates import Estimate, missing
from hepacast.core.files import write_json
from hepacast.core.formatting import MISSING
from hepacast.evaluation.further_cohorts import FurtherResult
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.figures.comparison import ScoreRow, draw_scores, draw_training
from hepacast.modelling.described import FittedModel, ScaledRatio, Term
from hepacast.report.build import build_report
from hepacast.report.content import compose, fusion, indexes
from hepacast.report.content import risk_groups as groups_section
from hepacast.report.content.common import Omit, judged_set, main_model
from hepacast.report.content.models import models_table
from hepacast.report.content.performance import comparison_table
from hepacast.report.model import FigureBlock, TableBlock
from hepacast.report.results import load_results

HEADINGS = ["Preprocessing of images", "Networks and classifiers", "Further cohorts", "Staging systems and indexes"]


def estimate(value):
    return {"value": value, "low": value - 0.07, "high": min(value + 0.07, 1.0)}


def competitor(score, name, kind, inner, chosen):
    return {
        "score": score, "name": name, "kind": kind, "inner_auc": inner, "nested": estimate(inner - 0.02),
        "sets": {"validation": inner - 0.03}, "times_chosen": 4 if chosen else 0, "chosen": chosen,
    }  # fmt: skip


FUSION = {
    "folds": 5,
    "competitors": [
        competitor("Radscore", "Logistic regression", "classifier", 0.81, True),
        competitor("Radscore", "Support vector machine", "classifier", 0.79, False),
        competitor("DL score", "ResNet-18 3D", "network", 0.84, True),
        competitor("DL score", "ResNet-50 2.5D", "network", 0.80, False),
    ],
    "networks": [
        {
            "name": name, "trainings": 2, "parameters": 123456, "epochs": [3, 4], "seconds": 20.5,
            "curves": [{"loss": [0.7, 0.6, 0.5], "inner_loss": [0.7, 0.65, 0.66]}, {"loss": [0.71, 0.6, 0.5, 0.4]}],
        }
        for name in ("ResNet-18 3D", "ResNet-50 2.5D")
    ],
    "choices": [{"score": "Radscore", "nested": estimate(0.77), "sets": {"validation": 0.78}}],
    "notes": {},
}  # fmt: skip

PREPROCESSING = {
    "reference": "arterial",
    "settings": {},
    "summary": {
        "bias_spread": {"arterial": 0.11, "portal": 0.12},
        "registration": {
            "portal": {
                "mutual_information_before": 1.08, "mutual_information_after": 1.19, "displacement_mm": 6.2,
                "largest_displacement_mm": 14.0, "n": 60, "n_kept": 1,
            }
        },
    },
    "pictures": [],
}  # fmt: skip


def follow_up(seed, effect):
    rng = np.random.default_rng(seed)
    score = rng.random(80)
    time = rng.exponential(20 * np.exp(-effect * score))
    event = (time < 30).astype(int)
    return FurtherResult(
        "RFA", "recurrence-free survival", "months", 80, int(event.sum()), "DLR", 0.5,
        {12.0: Estimate(0.7, 0.6, 0.8), 99.0: missing("Nothing can be estimated")},
        risk_groups(np.minimum(time, 30), event, score, 0.5),
    ).to_json()  # fmt: skip


FURTHER = [
    follow_up(1, 2.0),
    {
        "cohort": "TACE", "end_point": "time to progression", "unit": "months", "n": 40, "events": 20, "model": "DLR",
        "cut": 0.5, "auc": {}, "groups": None, "reason": "The cut-off puts all patients into one risk group",
    },
]  # fmt: skip


def index_row(name, auc):
    return {
        "name": name, "n": 60, "events": 20, "discrimination": estimate(auc), "c_index": estimate(auc - 0.02),
        "difference": {"value": 0.2, "low": 0.05, "high": 0.35}, "p": 0.01,
        "nri": {"value": 0.6, "low": 0.1, "high": 1.1, "p": 0.02},
    }  # fmt: skip


INDEXES = {
    "model": "combined",
    "scores": [
        {"name": "ALBI", "title": "Albumin-bilirubin score", "source": "Johnson 2015", "n_missing": 0},
        {"name": "BCLC", "title": "BCLC stage", "source": "Reig 2022", "n_missing": 3, "reason": "missing: ecog"},
    ],
    "sets": {
        "validation": {
            "kind": "frozen", "n": 63, "events": 20, "discrimination": estimate(0.88), "c_index": estimate(0.8),
            "rows": [index_row("ALBI", 0.66), {
                "name": "BCLC", "n": 63, "events": 20, "discrimination": None, "c_index": None, "difference": None,
                "p": None, "nri": None, "reason": "all patients have the same value",
            }],
        }
    },
}  # fmt: skip


@pytest.fixture
def fused(changed):
    folder = changed("modelling/validation.json", lambda content: content)
    write_json(folder / "modelling" / "fusion.json", FUSION)
    write_json(folder / "preprocessing" / "preprocessing.json", PREPROCESSING)
    write_json(folder / "further" / "further.json", FURTHER)
    write_json(folder / "indexes" / "indexes.json", INDEXES)
    return folder


def test_sections_stand_in_the_report_only_where_there_is_something(complete, fused):
    plain = [section.title for section in compose(load_results(complete)).sections]
    assert not set(plain) & set(HEADINGS)
    titles = [section.title for section in compose(load_results(fused)).documents[0].sections]
    assert [title for title in titles if title in HEADINGS] == HEADINGS


def test_numbers_of_the_competitors_are_those_of_the_file(fused):
    results = load_results(fused)
    table = fusion.competitors_table(results, results.fusion)
    text = table.to_csv()
    assert "Logistic regression *" in text and "Support vector machine *" not in text
    assert "4/5" in text and "0.790 (0.720–0.860)" in text
    assert "As chosen in each fold,,0.770 (0.700–0.840),0.780" in text
    rows = fusion.networks_table(results.fusion).rows
    assert rows[0].cells == ("ResNet-18 3D", "123,456", "2", "3–4", "10.2")


def test_further_cohorts_are_told_with_their_reason(fused):
    blocks = groups_section.build_further(load_results(fused))
    words = " ".join(block.text for block in blocks if hasattr(block, "text"))
    assert "log-rank" in words and "hazard ratio" in words
    assert "TACE: The cut-off puts all patients into one risk group" in words
    table = next(block.table for block in blocks if isinstance(block, TableBlock))
    assert "0.700 (0.600–0.800)" in table.to_csv() and "Nothing can be estimated" in table.to_csv()
    figure = next(block for block in blocks if isinstance(block, FigureBlock))
    assert len(figure.panels) == 1


def test_index_table(fused):
    results = load_results(fused)
    text = indexes.indexes_table(results, results.indexes).to_csv()
    assert "combined,0.880" in text
    assert "ALBI (n = 60),0.660" in text and "0.60 (0.10 to 1.10)" in text.replace("–", " to ")
    assert "BCLC,all patients have the same value" in text


def test_preprocessing_says_what_was_kept(fused):
    words = fusion.build_preprocessing(load_results(fused))[0].text
    assert "arterial 11%" in words and "In 1 of 60 registrations it did not" in words


def test_every_builder_omits_itself(complete):
    results = load_results(complete)
    for build in (fusion.build_preprocessing, fusion.build_fusion, groups_section.build_further, indexes.build):
        with pytest.raises(Omit):
            build(results)


@pytest.mark.usefixtures("words_of_figures")
def test_the_whole_report_is_written(fused, tmp_path):
    page = build_report(fused, formats=("html",), out=tmp_path / "report").read_text(encoding="utf-8")
    assert all(heading in page for heading in HEADINGS)


def test_figures_have_their_panels():
    groups = {
        name: [ScoreRow("a", 0.8, 0.7, 0.9, True), ScoreRow("b", 0.6), ScoreRow("c", float("nan"))]
        for name in ("one", "two")
    }
    figure = draw_scores(groups)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["one", "two"]
    curves = {"net": [{"loss": [1.0, 0.5]}], "other": [{"loss": [1.0, None]}]}
    assert len(draw_training(curves, names={"loss": "training"}).axes) >= 2


def test_of_many_pairs_the_report_shows_those_of_the_main_model(complete):
    found = load_results(complete)
    name, item = judged_set(found)
    pair, main = item.comparisons[0], main_model(found)
    models = [main, "A", "B", "C"]
    pairs = [replace(pair, first=a, second=b) for a, b in itertools.combinations(models, 2)]
    labelled = dict.fromkeys(models, item.models[main])

    def with_pairs(several):
        entry = replace(item, comparisons=tuple(several), models=labelled)
        return replace(found, evaluation=replace(found.evaluation, sets={name: entry}))

    def pairs_in(table):
        return [row.cells[0] for row in table.rows if row.kind == "indent"]

    few = with_pairs(pairs)
    assert len(pairs_in(comparison_table(few))) == 6 and not comparison_table(few, others=True).rows
    many = with_pairs([*pairs, *(replace(pair, first=model, second="D") for model in models)])
    shown, others = pairs_in(comparison_table(many)), pairs_in(comparison_table(many, others=True))
    assert len(shown) == 4 and len(others) == 6
    assert not set(shown) & set(others)
    assert "supplement" in comparison_table(many).notes[-1]


def test_no_ratio_per_unit_where_nobody_differs_by_a_unit(complete):
    found = load_results(complete)
    term = Term("inr", "INR", coefficient=11.2, ratio=7e4, low=150.0, high=3e7, p=0.001, numeric=True)

    def table(scale):
        models = {"Clinical": FittedModel([replace(term, scales=[scale])], 147, 39, intercept=0.5)}
        return models_table(found, models, "Models")

    little = table(ScaledRatio("per 0.1", math.exp(1.12), 1.5, 6.0))
    assert little.rows[1].cells[3] == MISSING and little.rows[2].cells[3].startswith("3.06")
    assert any("less than a unit" in note for note in little.notes)
    much = table(ScaledRatio("per SD (5)", math.exp(56), 2.0, 1e30))
    assert much.rows[1].cells[3] != MISSING
    assert not any("less than a unit" in note for note in much.notes)


def test_a_number_in_a_shrunk_model_has_one_row_per_sd(complete):
    scales = [ScaledRatio("per 0.1", 3.06, 1.5, 6.0), ScaledRatio("per SD (0.13)", 4.29, 1.9, 9.6)]
    term = Term("inr", "INR", coefficient=11.2, ratio=7e4, low=150.0, high=3e7, p=math.nan, numeric=True, scales=scales)
    level = Term("b", "Class: B", coefficient=0.7, ratio=2.0, low=0.9, high=4.4, p=math.nan)
    model = FittedModel([term, level], 147, 39, method="averaged", intercept=0.5)
    table = models_table(load_results(complete), {"Joint": model}, "Models")
    assert [row.cells[0] for row in table.rows[1:]] == ["INR", "Class: B", "Intercept"]
    assert table.rows[1].cells[1] == "per SD (0.13)" and table.rows[1].cells[3].startswith("4.29")
    assert table.rows[1].cells[2].startswith("11.2") and table.rows[2].cells[3].startswith("2.00")
    assert any("per SD" in note for note in table.notes)
