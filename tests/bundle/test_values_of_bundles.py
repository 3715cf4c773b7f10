"""A bundle is refused, in words, when a value in it cannot be: whatever its hashes say, and whatever bit was turned."""

import copy
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hepacast.bundle import Bundle, predict
from hepacast.bundle import container as container_module
from hepacast.bundle.container import Container, read_container, write_container
from hepacast.cohort import ColumnSpec
from hepacast.errors import BundleError, HepacastError
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLogistic, ModelTerm, Source
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE, FrozenScore, ScoreFeature
from hepacast.modelling.predictors import Predictor
from hepacast.radiomics.recipe import ImageRecipe

INR = Source(Predictor("inr"), 1.1, (), 0.8, 2.4)
SEX = Source(Predictor("sex", "categorical", ("female", "male")), "male", ("female", "male"))
SCORE = Source(Predictor(RADSCORE), 0.0, (), -3.0, 3.0)
SHARED = {"p_values": (math.nan, 0.01, 0.2, 0.001), "method": "ml", "status": "ok", "note": "", "n": 90, "n_events": 31}
LINEAR = {
    "sources": (INR, SEX, SCORE),
    "terms": (
        ModelTerm("inr", "inr", None, 1.15, 0.2),
        ModelTerm("sex=male", "sex", "male", 0.7, 0.46),
        ModelTerm(RADSCORE, RADSCORE, None, 0.0, 1.0),
    ),
    "coefficients": (-3.0, 1.8, 0.4, 1.1),
    "covariance": ((0.4, 0.01, 0.0, 0.0), (0.01, 0.09, 0.0, 0.0), (0.0, 0.0, 0.1, 0.02), (0.0, 0.0, 0.02, 0.05)),
    **SHARED,
}
RADIOMICS = FrozenScore(0.1, (ScoreFeature("tumor:f1", 0.6, 10.0, 2.0, 9.5, 4.0, 17.0),))
CARD = {"name": "A study", "outcome": {"name": "Failure"}, "intended_use": "tests"}
RULE = {"model": "combined", "level": 0.9, "event_from": 0.2, "no_event_to": 0.6}
COVERAGE = {"set": "validation", "n_events": 9, "coverage_events": None, "n_others": 30, "coverage_others": 0.9}
COLUMNS = (
    ColumnSpec("inr", kind="numeric", quantity="none"),
    ColumnSpec("sex", kind="categorical", levels={"female": ("f",), "male": ("m",)}),
)
COX = FrozenCox(
    **{**LINEAR, "method": "cox"},
    baseline_time=(30.0, 90.0, 200.0),
    baseline_hazard=(0.02, 0.1, 0.3),
    last_time=700.0,
    limits={"180": (0.001, (0.01, 0.02, 0.0))},
)


def binary() -> Bundle:
    models = FrozenModels({"combined": FrozenLogistic(**LINEAR)}, RADIOMICS, {"combined": 0.35})
    return Bundle(models, COLUMNS, ImageRecipe("table"), None, CARD)


def survival() -> Bundle:
    models = FrozenModels({"combined": COX}, RADIOMICS, {"combined": math.nan}, (90.0, 180.0), "days")
    return Bundle(models, COLUMNS, ImageRecipe("table"), None, CARD)


def changed(bundle: Bundle, tmp_path, change, name: str = "models"):
    """The file of a bundle one of whose documents was changed by somebody who made the hashes right again."""
    path = tmp_path / "b.hepacast"
    bundle.write(path)
    documents = copy.deepcopy(dict(read_container(path).documents))
    change(documents[name])
    # The container writes no NaN of its own, so a null stands for it here; see the test of NaN below.
    write_container(path, Container(documents))
    return path


def at(*keys, value):
    def change(document):
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


MODEL = ("models", "combined")
TERM = (*MODEL, "terms", 0)


@pytest.mark.parametrize("make", [binary, survival])
def test_what_was_written_is_read_and_predicts_the_same(make, tmp_path):
    bundle = make()
    bundle.write(tmp_path / "b.hepacast")
    back = Bundle.read(tmp_path / "b.hepacast")
    labs, features = {"inr": "1.3", "sex": "m"}, {"tumor:f1": 12.0}
    assert predict(back, labs, features).risk == predict(bundle, labs, features).risk


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (at(*MODEL, "coefficients", 1, value=None), r"coefficients\[1\]"),
        (at(*MODEL, "coefficients", 1, value=True), r"coefficients\[1\]"),
        (at(*MODEL, "coefficients", 1, value="1.8"), r"coefficients\[1\]"),
        (at(*MODEL, "coefficients", value=[-3.0, 1.8, 0.4]), "4 numbers"),
        (at(*MODEL, "covariance", 0, 1, value=0.02), "not symmetric"),
        (at(*MODEL, "covariance", 1, 1, value=-0.09), "variance"),
        (
            at(*MODEL, "covariance", value=[[0.1, 0.5, 0, 0], [0.5, 0.1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "eigenvalue",
        ),
        (at(*MODEL, "n_events", value=3.5), "n_events"),
        (at(*MODEL, "n", value=-1), "whole number"),
        (at(*MODEL, "n", value=10**400), "whole number"),
        (lambda document: document["models"]["combined"].update(status="separated", covariance=None), "covariance"),
        (at(*MODEL, "method", value=7), "method"),
        (at(*TERM, "source", value="albumin"), "source"),
        (at(*TERM, "sd", value=-0.2), "sd"),
        (at(*TERM, "level", value="male"), "level"),
        (at(*MODEL, "sources", 0, "fill", value=[1]), "fill"),
        (at(*MODEL, "sources", 0, "minimum", value=9.0), "at least the minimum"),
        (at(*MODEL, "sources", 1, "fill", value="diverse"), "fill"),
        (at(*MODEL, "sources", 0, "predictor", "kind", value="ordinal"), "kind"),
        (at("cutoffs", "combined", value=1.2), "cutoffs: combined"),
        (at("cutoffs", value={}), "cutoffs: combined"),
        (at("models", value={}), "models"),
        (at("models", value=[1]), "models"),
        (at("schema", value="1"), "another version"),
        (at("kind", value="ordinal"), "kind"),
        (at("score", value=None), "score"),
        (at("score", "features", 0, "sd", value=0.0), "sd"),
        (at("score", "features", 0, "weight", value="0.6"), "weight"),
        (lambda document: document["score"].pop("intercept"), "intercept"),
        (lambda document: document["models"]["combined"].pop("covariance"), "covariance"),
    ],
)
def test_an_impossible_value_of_a_logistic_model_is_refused(change, words, tmp_path):
    with pytest.raises(BundleError, match=words) as caught:
        Bundle.read(changed(binary(), tmp_path, change))
    assert "bundle is not valid" in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (at(*MODEL, "baseline_hazard", 0, value=-0.5), "never falls"),
        (at(*MODEL, "baseline_hazard", 2, value=0.05), "never falls"),
        (at(*MODEL, "baseline_hazard", 1, value=None), r"baseline_hazard\[1\]"),
        (at(*MODEL, "baseline_hazard", value=[0.1]), "baseline"),
        (at(*MODEL, "baseline_time", 1, value=250.0), "increasing order"),
        (at(*MODEL, "baseline_time", 0, value=-3.0), "from 0 on"),
        (at(*MODEL, "last_time", value=100.0), "last_time"),
        (at(*MODEL, "limits", "180", value=[-0.1, [0.0, 0.0, 0.0]]), "limits: 180"),
        (at(*MODEL, "limits", "180", value=[0.1, [0.0]]), "3 numbers"),
        (at(*MODEL, "kind", value="weibull"), "kind"),
        (at("horizons", value=[]), "horizons"),
        (at("horizons", value=[0]), "horizons"),
        (at("unit", value=None), "unit"),
    ],
)
def test_an_impossible_value_of_a_cox_model_is_refused(change, words, tmp_path):
    with pytest.raises(BundleError, match=words):
        Bundle.read(changed(survival(), tmp_path, change))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("card", at("name", value=3), "card: name"),
        ("card", at("outcome", value="Failure"), "card: outcome"),
        ("card", at("conformal", value={"model": "combined", "level": 1.4}), "level"),
        ("card", at("verdicts", value={"combined": "weak"}), "verdicts: combined"),
        ("card", at("validated", value=3), "validated"),
        ("card", at("provenance", value="0.1.0"), "provenance"),
        ("card", at("net_benefit", value=True), "net_benefit"),
        ("card", at("net_benefit", value={"combined": [{"set": "nested", "ranges": 3}]}), "ranges"),
        ("card", at("net_benefit", value={"combined": [{"set": "nested", "ranges": [[0.1]]}]}), "2 numbers"),
        ("card", at("validated", value={"level": 0.95, "models": {"combined": [{"set": "nested"}]}}), "measure"),
        ("card", at("conformal", value={**RULE, "coverage": [{**COVERAGE, "n_events": "9"}]}), "n_events"),
        (
            "card",
            at("conformal", value={**RULE, "coverage": [{**COVERAGE, "coverage_others": 1.5}]}),
            "coverage_others",
        ),
        ("clinical", at(0, "kind", value=None), "kind"),
        ("clinical", at(0, "plausible", value=[1, "2"]), "plausible"),
        ("clinical", lambda document: document.pop(), "sex"),
        ("features", at("source", value="guess"), "source"),
        ("features", at("vois", value={"tumor": 2}), "vois.tumor"),
        ("features", at("min_lesion_ml", value=-1), "min_lesion_ml"),
    ],
)
def test_an_impossible_value_beside_the_models_is_refused(name, change, words, tmp_path):
    with pytest.raises(BundleError, match=words):
        Bundle.read(changed(binary(), tmp_path, change, name))


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused_wherever_it_stands(token, tmp_path, monkeypatch):
    real = container_module._json_bytes
    monkeypatch.setattr(container_module, "_json_bytes", lambda value: real(value).replace(b"77.5", token))
    with pytest.raises(BundleError, match="auc > combined"):
        path = tmp_path / "b.hepacast"
        write_container(path, Container({"card": {**CARD, "auc": {"combined": 77.5}}}))
        read_container(path)


def test_a_part_that_nobody_knows_is_left_alone(tmp_path):
    def with_more(text: str):
        bundle, path = binary(), tmp_path / "b.hepacast"
        bundle.write(path)
        return write_container(path, Container({**read_container(path).documents, "later": {"note": text}}))

    with_more("x" * 1000)
    assert Bundle.read(tmp_path / "b.hepacast").main == "combined"
    with pytest.raises(BundleError, match="unpacks to more"):
        with_more(" " * 70 * 2**20)
        Bundle.read(tmp_path / "b.hepacast")


def test_too_many_parts_are_refused_unread(tmp_path):
    write_container(tmp_path / "b.hepacast", Container({f"part{number}": number for number in range(600)}))
    with pytest.raises(BundleError, match="601 parts"):
        read_container(tmp_path / "b.hepacast")


def test_a_document_that_is_too_deep_is_refused(tmp_path):
    for depth in (100, 100_000):
        text = b"[" * depth + b"]" * depth
        path = tmp_path / "b.hepacast"
        write_container(path, Container({"card": 0}))
        _replace_part(path, "card.json", text)
        with pytest.raises(BundleError):
            read_container(path)


def _replace_part(path, name: str, data: bytes) -> None:
    """One part with other bytes, under a manifest that agrees."""
    import hashlib

    from hepacast.core.hashing import hash_value

    with zipfile.ZipFile(path) as archive:
        files = {item: archive.read(item) for item in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    manifest["identity"] = hash_value(manifest["files"])
    with zipfile.ZipFile(path, "w") as archive:
        for item, content in (files | {name: data, "manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(item, content)


def test_the_identity_of_the_manifest_has_to_be_that_of_the_files(tmp_path):
    path = tmp_path / "b.hepacast"
    binary().write(path)
    with zipfile.ZipFile(path) as archive:
        files = {item: archive.read(item) for item in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    with zipfile.ZipFile(path, "w") as archive:
        for item, content in (
            files | {"manifest.json": json.dumps(manifest | {"identity": "f" * 64}).encode()}
        ).items():
            archive.writestr(item, content)
    with pytest.raises(BundleError, match="identity"):
        Bundle.read(path)


def test_any_turned_bit_is_refused_in_words_or_changes_nothing(tmp_path):
    path, damaged = tmp_path / "b.hepacast", tmp_path / "c.hepacast"
    survival().write(path)
    labs, row = {"inr": "1.3", "sex": "m"}, {"tumor:f1": 12.0}
    right, content = predict(Bundle.read(path), labs, row), path.read_bytes()
    rng = np.random.default_rng(12)
    refused = 0
    for _ in range(150):
        turned = bytearray(content)
        turned[rng.integers(len(turned))] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(turned)
        try:
            found = predict(Bundle.read(damaged), labs, row)
        except HepacastError as error:
            refused += 1
            assert "bundle" in str(error).lower() or "zip" in str(error)
        else:
            assert found.text() == right.text()
    assert refused > 100


def test_a_score_that_no_model_reads_asks_for_no_feature(tmp_path):
    """Selection may leave the Radscore out of every model, and the file still says how it was made."""
    clinical = FrozenLogistic(
        **{
            **LINEAR,
            "sources": (INR,),
            "terms": LINEAR["terms"][:1],
            "coefficients": (-3.0, 1.8),
            "covariance": ((0.4, 0.01), (0.01, 0.09)),
            "p_values": (math.nan, 0.01),
        }
    )
    models = FrozenModels({"combined": clinical}, RADIOMICS, {"combined": 0.35})
    Bundle(models, COLUMNS, ImageRecipe("table"), None, CARD).write(tmp_path / "b.hepacast")
    bundle = Bundle.read(tmp_path / "b.hepacast")
    assert not bundle.needs_features("combined")
    found = predict(bundle, {"inr": "1.15"})
    assert found.risk == pytest.approx(1 / (1 + math.exp(3.0 - 1.8 * 1.15)))
    assert found.radscore is None and found.scores == {}


def test_features_far_from_all_training_give_a_risk_and_limits(recwarn):
    for value in (-1e9, 1e9):
        found = predict(survival(), {"inr": "1.3", "sex": "m"}, {"tumor:f1": value})
        assert 0 <= found.low <= found.risk <= found.high <= 1 and found.warnings
    assert not recwarn.list


OLD = Path(__file__).with_name("old") / "2313617"


@pytest.mark.parametrize("value", [10**400, "3.5", [], None, True])
def test_a_tick_of_a_nomogram_that_is_no_value_of_its_axis_is_refused(value, tmp_path):
    content = read_container(OLD / "clinical.hepacast")
    documents = copy.deepcopy(dict(content.documents))
    axis = next(a for a in documents["nomogram"]["predictors"] if isinstance(a["ticks"][0]["value"], float))
    axis["ticks"][0]["value"] = value
    write_container(tmp_path / "m.hepacast", Container(documents, content.tensors))
    with pytest.raises(BundleError, match="nomogram"):
        Bundle.read(tmp_path / "m.hepacast")


def test_a_coefficient_beyond_all_ratios_is_shown(tmp_path):
    content = read_container(OLD / "cox.hepacast")
    documents = copy.deepcopy(dict(content.documents))
    documents["models"]["models"]["combined"]["coefficients"][3] = 1e308
    write_container(tmp_path / "m.hepacast", Container(documents, content.tensors))
    assert math.inf in set(Bundle.read(tmp_path / "m.hepacast").to_frame()["ratio"])
