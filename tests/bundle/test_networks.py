from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, TrainedNetwork, crop_patient
from hepacast.errors import BundleError, HepacastError, ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.modelling.score_scale import ScoreScale
from hepacast.radiomics.recipe import ImageRecipe

pytest.importorskip("torch")

GRID = Geometry((30, 28, 16), (3.0, 3.0, 5.0))

RECIPE = ImageRecipe("images", sequences={"arterial": "CT"}, labels={"tumor": 1})


@pytest.fixture(scope="module")
def bundle():
    from hepacast.bundle.networks import NetworkBundle
    from hepacast.deep.training import new_network

    crop = CropSpec(voi="largest(tumor)", size=(8, 8, 8), size_mm=(40.0, 40.0, 40.0), channels=["arterial"])
    spec = DeepSpec(crop=crop, network=NetworkSpec(encoder="resnet10", width=4, stages=2, features=4))
    networks = []
    for seed in (1, 2, 3):
        state = new_network(spec, 1, 0, seed).state_dict()
        networks.append(TrainedNetwork(spec.network, 1, {name: value.numpy() for name, value in state.items()}))
    card = {"name": "Response", "outcome": {"name": "OR"}, "intended_use": "tests"}
    return NetworkBundle("multi-task network", crop, RECIPE, ScoreScale(0.2, 1.3), 0.5, tuple(networks), card)


@pytest.fixture(scope="module")
def patient() -> tuple[Volume, Volume]:
    generator = np.random.default_rng(1)
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[6:11, 10:18, 12:20] = True
    return Volume(generator.normal(80, 30, GRID.shape).astype(np.int16), GRID), Volume(mask, GRID)


def test_a_written_bundle_predicts_the_same(bundle, patient, tmp_path: Path) -> None:
    from hepacast.bundle.networks import NetworkBundle, holds_networks, predict_networks

    image, tumor = patient
    first, second = tmp_path / "a.hepacast", tmp_path / "b.hepacast"
    assert bundle.write(first) == bundle.write(second)
    assert first.read_bytes() == second.read_bytes()
    assert holds_networks(first)
    opened = NetworkBundle.read(first)
    mine, theirs = (predict_networks(item, {"x": image}, {"tumor": tumor}) for item in (bundle, opened))
    assert mine.prediction.risk == theirs.prediction.risk
    assert 0 < mine.prediction.low <= mine.prediction.risk <= mine.prediction.high < 1
    assert theirs.prediction.bundle == opened.identity
    assert mine.tumor is not None
    assert mine.tumor.geometry == image.geometry == mine.attention.geometry
    np.testing.assert_array_equal(mine.attention.array, theirs.attention.array)


def test_a_tumor_larger_than_the_crop_is_told(bundle, patient) -> None:
    from hepacast.bundle.networks import predict_networks

    image, tumor = patient
    large = tumor.with_array(np.ones(GRID.shape, dtype=bool))
    assert any("longer than the crop" in item for item in _warnings(bundle, image, large))
    assert not any("longer than the crop" in item for item in _warnings(bundle, image, tumor))
    with pytest.raises(ImageError, match="no center"):
        predict_networks(bundle, {"x": image}, {"tumor": tumor.with_array(tumor.array & False)})


def _warnings(bundle, image: Volume, tumor: Volume) -> tuple[str, ...]:
    from hepacast.bundle.networks import predict_networks

    return predict_networks(bundle, {"x": image}, {"tumor": tumor}).prediction.warnings


def test_clinical_values_enter_and_unlike_patients_are_told(patient, tmp_path: Path) -> None:
    from hepacast.bundle.networks import SCORE, NetworkBundle, predict_networks
    from hepacast.cohort import ColumnSpec
    from hepacast.deep.training import new_network

    image, tumor = patient
    crop = CropSpec(voi="tumor", size=(8, 8, 8), size_mm=(40.0, 40.0, 40.0), channels=["arterial"])
    spec = DeepSpec(crop=crop, network=NetworkSpec(encoder="resnet10", width=4, stages=2, covariates=["alb", "stage"]))
    networks = [
        TrainedNetwork(
            spec.network,
            1,
            {name: value.numpy() for name, value in new_network(spec, 1, 3, seed).state_dict().items()},
            covariates=np.array([[38.0, 5.0], [0.5, 0.5], [0.2, 0.4]]),
        )
        for seed in (1, 2)
    ]
    columns = (
        ColumnSpec("alb", label="Albumin", kind="numeric", unit="g/L", quantity="albumin", plausible=(10.0, 60.0)),
        ColumnSpec("stage", label="Stage", kind="categorical", levels={"A": ("A",), "B": ("B",), "C": ("C",)}),
    )
    card = {"name": "Response", "outcome": {"name": "OR"}, "intended_use": "tests"}
    seen = {"Albumin": (30.0, 45.0), SCORE: (-50.0, 50.0), "volume of tumor in the crop (ml)": (0.1, 0.2)}
    made = NetworkBundle(
        "net",
        crop,
        RECIPE,
        ScoreScale(0.0, 1.0),
        0.5,
        tuple(networks),
        card,
        columns=columns,
        seen=seen,
    )
    made.write(tmp_path / "n.hepacast")
    opened = NetworkBundle.read(tmp_path / "n.hepacast")
    assert opened.columns == columns
    assert opened.seen == seen

    def risk(alb: str, stage: str):
        return predict_networks(opened, {"x": image}, {"tumor": tumor}, {"alb": alb, "stage": stage}).prediction

    usual, low, other = risk("38 g/L", "B"), risk("2.5 g/dL", "B"), risk("38", "C")
    assert len({usual.risk, low.risk, other.risk}) == 3
    assert usual.values == {"Albumin": "38 g/L", "Stage": "B"}
    assert [item for item in low.warnings if item.startswith("Albumin 25: outside the training range, 30 to 45")]
    assert not [item for item in usual.warnings if item.startswith(("Albumin", "score"))]
    assert [item for item in usual.warnings if item.startswith("volume of tumor in the crop (ml)")]
    # What nobody knows is the training mean.
    expected = networks[0].apply(_crop(opened, image, tumor), np.array([[38.0, 1.0, 0.0]]))
    unknown = networks[0].apply(_crop(opened, image, tumor), np.array([[np.nan, 1.0, 0.0]]))
    assert unknown.scores[0] == expected.scores[0]
    assert risk("NA", "B").risk == usual.risk
    assert "Albumin: not known, the training mean stands in" in risk("NA", "B").warnings
    with pytest.raises(HepacastError, match="are missing"):
        predict_networks(opened, {"x": image}, {"tumor": tumor}, {"alb": "38"})


def _crop(bundle, image: Volume, tumor: Volume) -> np.ndarray:
    return crop_patient({"arterial": image}, {"tumor": tumor}, bundle.crop, modalities={"arterial": "CT"})[None]


def test_scores_beyond_what_the_study_recalibrates_are_limited_as_there(bundle, patient) -> None:
    from dataclasses import replace

    from hepacast.bundle.networks import predict_networks

    image, tumor = patient
    sure = replace(bundle, networks=tuple(replace(network, shift=100.0) for network in bundle.networks))
    found = predict_networks(sure, {"x": image}, {"tumor": tumor}).prediction
    assert found.linear_predictor == pytest.approx(0.2 + 1.3 * np.log(1e-6 / (1 - 1e-6)), abs=1e-9)
    assert "cut-off" in found.text()
    assert "cut-off" not in replace(found, cutoff=float("nan"), group="no risk groups").text()


def test_damaged_and_other_bundles_are_refused(bundle, tmp_path: Path) -> None:
    from hepacast.bundle import Container, write_container
    from hepacast.bundle.networks import NetworkBundle, holds_networks

    path = tmp_path / "n.hepacast"
    bundle.write(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError):
        NetworkBundle.read(path)
    other = tmp_path / "other.hepacast"
    write_container(other, Container({"card": {}}))
    assert not holds_networks(other)
    with pytest.raises(BundleError, match="holds no networks"):
        NetworkBundle.read(other)
