"""A bundle of joined models: classifiers and networks in one file, applied to one patient's image and values."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle import Bundle, image_notes, measure_features, predict
from hepacast.bundle.container import Container, read_container, write_container
from hepacast.bundle.image_networks import ImageNetworks
from hepacast.cohort import ColumnSpec
from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, TrainedNetwork, crop_patient
from hepacast.errors import BundleError
from hepacast.imaging import Geometry, Volume
from hepacast.modelling.frozen_score import DL_SCORE
from hepacast.modelling.fusion import CLINICAL, Family, FusionSpec, View, fit_view
from hepacast.modelling.grammar import ChainSpec
from hepacast.modelling.predictors import Predictor
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.settings import Settings

pytest.importorskip("torch")

GRID = Geometry((30, 28, 16), (3.0, 3.0, 5.0))
SETTINGS = {"imageType": {"Original": {}}, "featureClass": {"firstorder": []}, "setting": {"binWidth": 25}}
N, CROP = 60, CropSpec(voi="tumor", size=(8, 8, 8), size_mm=(40.0, 40.0, 40.0), channels=["arterial"])


def volumes(seed: int) -> tuple[Volume, Volume]:
    generator = np.random.default_rng(seed)
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[6:11, 10:18, 12:20] = True
    level = generator.uniform(40, 120)
    return Volume(generator.normal(level, 25, GRID.shape).astype(np.int16), GRID), Volume(mask, GRID)


@pytest.fixture(scope="module")
def networks() -> ImageNetworks:
    from hepacast.deep.training import new_network

    spec = DeepSpec(
        crop=CROP, network=NetworkSpec(tasks="classifier", encoder="resnet10", width=4, stages=2, features=4)
    )
    made = []
    for seed in (1, 2):
        state = new_network(spec, 1, 0, seed).state_dict()
        made.append(TrainedNetwork(spec.network, 1, {name: value.numpy() for name, value in state.items()}))
    return ImageNetworks("ResNet-10 3D", CROP, tuple(made), {"arterial, mean of tumor (HU)": (20.0, 140.0)})


@pytest.fixture(scope="module", params=["svm", "extra_trees"])
def fused(request, networks):
    """A bundle whose models were fitted to features measured here, and the fitted risks of a new patient."""
    settings = Settings.load(SETTINGS)
    names = [f"tumor:{name}" for name in settings.feature_names()]
    recipe = ImageRecipe(
        "images", settings.to_pyradiomics(), settings.hash, {"tumor": "tumor"}, sequences={"arterial": "CT"},
        labels={"tumor": 1},
    )  # fmt: skip
    from hepacast.radiomics.extraction import extract

    rows = {}
    for number in range(N + 1):
        image, tumor = volumes(number)
        found = extract(image, {"tumor": tumor}, settings).vois["tumor"].features
        crop = crop_patient({"arterial": image}, {"tumor": tumor}, CROP)[None]
        applied = [item.apply(crop) for item in networks.networks]
        rows[f"P{number:02d}"] = (
            {f"tumor:{name}": value for name, value in found.items()}
            | {f"deep:{j + 1}": float(np.mean([item.features[0, j] for item in applied])) for j in range(4)}
            | {DL_SCORE: float(np.mean([np.log(item.scores[0] / (1 - item.scores[0])) for item in applied]))}
        )
    table = pd.DataFrame(rows).T
    generator = np.random.default_rng(0)
    mean = table["tumor:original_firstorder_Mean"]
    lp = 2 * (mean - mean.mean()) / mean.std()
    y = (generator.random(N + 1) < 1 / (1 + np.exp(-lp))).astype(int)[:N]
    clinical = pd.DataFrame({"age": 60 + 4 * lp + 8 * generator.normal(size=N + 1)}, index=table.index)
    index = list(table.index)
    view = View(
        "final", pd.Series(y, index=index[:N]), pd.Series(np.arange(N) % 3, index=index[:N]), (index[N],), clinical,
        {"DLR score": table.drop(columns=DL_SCORE)}, {networks.name: table[DL_SCORE] + 0.01 * lp},
    )  # fmt: skip
    chain = ChainSpec.load({"univariate": None, "selector": "none", "redundancy": 0.99})
    spec = FusionSpec(
        (Family("DLR score", chain, (request.param,)),), {"Clinical": (CLINICAL,), "DLR": ("DLR score", CLINICAL)},
        (Predictor("age", unit="years"),), alpha=0.99, seed=1,
    )  # fmt: skip
    result = fit_view(view, spec)
    assert any(name.startswith("deep:") for name in result.selected["DLR score"])
    card = {"name": "Proliferative HCC", "outcome": {"name": "Proliferative"}, "intended_use": "tests"}
    column = ColumnSpec("age", kind="numeric", unit="years", label="Age", plausible=(18.0, 120.0))
    bundle = Bundle(result.freeze(), (column,), recipe, None, card, networks=networks)
    return bundle, result, clinical.loc[index[N], "age"], names


def test_one_patient_gets_the_fitted_risk(fused, tmp_path: Path) -> None:
    """From the image: features measured, networks applied, classifier and logistic model computed from the file."""
    bundle, result, age, _ = fused
    first, second = tmp_path / "a.hepacast", tmp_path / "b.hepacast"
    assert bundle.write(first) == bundle.write(second)
    assert first.read_bytes() == second.read_bytes()
    opened = Bundle.read(first)
    image, tumor = volumes(N)
    features = measure_features(opened, {"any": image}, {"tumor": tumor})
    assert set(features) == set(opened.feature_names())
    prediction = predict(opened, {"age": repr(float(age))}, features)
    assert prediction.risk == pytest.approx(result.test.main["DLR"].iloc[0], abs=1e-6)
    assert prediction.scores["DLR score"] == pytest.approx(result.scores.loc[f"P{N}", "DLR score"], abs=1e-6)
    assert "DLR score" in prediction.text() and prediction.radscore is None
    assert sum(item.contribution for item in prediction.shares) == pytest.approx(
        prediction.linear_predictor - _middle(opened.models.model("DLR"))
    )
    clinical = predict(opened, {"age": repr(float(age))}, model="Clinical")
    assert clinical.risk == pytest.approx(result.test.main["Clinical"].iloc[0], abs=1e-12)
    assert clinical.scores == {}
    with pytest.raises(BundleError, match="--model Clinical"):
        predict(opened, {"age": "60"})


def _middle(model) -> float:
    return model.coefficients[0] + sum(
        term.mean * slope for term, slope in zip(model.terms, model.coefficients[1:], strict=True)
    )


def test_strange_images_are_told(fused) -> None:
    bundle, _, _, _ = fused
    image, tumor = volumes(3)
    bright = image.with_array((image.array + 900).astype(np.int16))
    features = measure_features(bundle, {"x": bright}, {"tumor": tumor})
    told = predict(bundle, {"age": "60"}, features).warnings
    assert any("original_firstorder" in text and "outside the training range" in text for text in told)
    assert image_notes(bundle, {"x": image}, {"tumor": tumor}) == ()
    (unlike,) = image_notes(bundle, {"x": bright}, {"tumor": tumor})
    assert unlike.startswith("arterial, mean of tumor (HU)")
    assert unlike.endswith("outside the training range, 20 to 140")
    large = tumor.with_array(np.ones(GRID.shape, dtype=bool))
    assert any("longer than the crop" in text for text in image_notes(bundle, {"x": image}, {"tumor": large}))
    assert image_notes(bundle, {"x": image}, {"tumor": large}, model="Clinical") == ()


def test_the_file_holds_arrays_and_no_patient(fused, tmp_path: Path) -> None:
    bundle, _, _, _ = fused
    bundle.write(tmp_path / "m.hepacast")
    with zipfile.ZipFile(tmp_path / "m.hepacast") as archive:
        assert {name.rsplit(".", 1)[1] for name in archive.namelist()} == {"json", "safetensors"}
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(f"P{number:02d}".encode() in content for number in range(N))


def test_a_bundle_without_its_networks_is_refused(fused, tmp_path: Path) -> None:
    bundle, _, _, _ = fused
    path = tmp_path / "m.hepacast"
    bundle.write(path)
    content = read_container(path)
    few = {name: arrays for name, arrays in content.tensors.items() if name != "network-1"}
    write_container(path, Container(content.documents, few))
    with pytest.raises(BundleError, match="no network-1"):
        Bundle.read(path)
