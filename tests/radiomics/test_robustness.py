"""Perturbations and the agreement of features between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ImageError, TableError
from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import Case, Perturbation, extract_perturbed, icc_features, perturb_image, perturbation_icc
from hepacast.radiomics.perturb import adapt_volume, chain, noise_level

GRID = Geometry((40, 36, 16), (1.0, 1.0, 2.0))


def ball(radius: float = 9.0) -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return (k - 8) ** 2 * 4 + (j - 18) ** 2 + (i - 20) ** 2 < radius**2


def image(seed: int = 0) -> Volume:
    values = np.random.default_rng(seed).normal(0, 12, GRID.shape) + 100.0 * ball()
    return Volume(values.astype(np.int16), GRID)


@pytest.mark.parametrize("fraction", [-0.3, -0.1, 0.1, 0.3])
def test_volume_adaptation_changes_the_volume_by_its_share(fraction: float) -> None:
    mask = ball()
    changed = adapt_volume(mask, GRID.spacing, fraction)
    assert changed.sum() == mask.sum() + np.sign(fraction) * round(mask.sum() * abs(fraction))
    assert (changed & mask).sum() == min(changed.sum(), mask.sum())  # one lies in the other


def test_nothing_changes_without_a_change() -> None:
    picture, vois = perturb_image(image(), {"v": image().with_array(ball())}, Perturbation())
    assert np.array_equal(picture.array, image().array)
    assert np.array_equal(vois["v"].array, ball())


@pytest.mark.parametrize(
    "change",
    [
        Perturbation(angle=20.0),
        Perturbation(shift=(0.4, -0.3, 0.2)),
        Perturbation(randomize_contour=True),
        Perturbation(noise=True),
    ],
    ids=lambda change: change.name,
)
def test_changes_are_small_and_repeatable(change: Perturbation) -> None:
    voi = {"v": image().with_array(ball())}
    picture, vois = perturb_image(image(), voi, change, seed=3)
    again, same = perturb_image(image(), voi, change, seed=3)
    assert np.array_equal(picture.array, again.array)
    assert np.array_equal(vois["v"].array, same["v"].array)
    moved = vois["v"].array
    dice = 2 * (moved & ball()).sum() / (moved.sum() + ball().sum())
    assert dice > 0.85
    assert picture.array.dtype == np.int16
    inside = picture.array[moved].astype(float)
    assert inside.mean() == pytest.approx(100, abs=10)  # partial volume at the edge


def test_the_image_and_the_voi_move_together() -> None:
    shifted, vois = perturb_image(image(), {"v": image().with_array(ball())}, Perturbation(shift=(3.0, 0.0, 0.0)))
    expected = np.roll(image().array, -3, axis=2)
    assert np.array_equal(shifted.array[:, :, 5:30], expected[:, :, 5:30])
    assert np.array_equal(vois["v"].array, np.roll(ball(), -3, axis=2))


def test_the_noise_level_is_found() -> None:
    noise = np.random.default_rng(1).normal(0, 12.0, (20, 60, 60)) + np.linspace(0, 300, 60)
    assert noise_level(noise) == pytest.approx(12.0, rel=0.03)


def test_a_voi_of_which_nothing_is_left_is_told() -> None:
    with pytest.raises(ImageError, match="leaves nothing"):
        perturb_image(image(), {"v": image().with_array(ball(2.0))}, Perturbation(volume_fraction=-1.0))


def test_chains_combine_all_changes() -> None:
    changes = chain(volume_fractions=(-0.1, 0.1), shifts=(0.25, 0.75), angles=(-5.0, 5.0), contours=2)
    assert len(changes) == 2 * 8 * 2 * 2
    assert len({change.name for change in changes}) == len(changes)


def test_icc_equals_the_textbook_example() -> None:
    """Shrout and Fleiss (1979), table 2: ICC(2,1) = 0.29, ICC(3,1) = 0.71."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    patients = list("abcdef")
    tables = [pd.DataFrame({"x": ratings[:, k], "flat": 1.0}, index=patients) for k in range(4)]
    result = icc_features(tables)
    assert result.loc["x", "icc2"] == pytest.approx(0.2898, abs=1e-4)
    assert result.loc["x", "icc3"] == pytest.approx(0.7148, abs=1e-4)
    assert np.isnan(result.loc["flat", "icc2"])
    assert result.loc["flat", "reason"] == "it does not vary"


def test_patients_without_a_value_are_left_out_for_that_feature_only() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(20, 3))
    tables = [
        pd.DataFrame(truth + 0.1 * generator.normal(size=truth.shape), columns=list("xyz"), index=range(20))
        for _ in range(3)
    ]
    tables[1].loc[4, "y"] = np.nan
    result = icc_features(tables)
    assert list(result["n"]) == [20, 19, 20]
    assert (result["icc2"] > 0.9).all()
    reduced = icc_features([table.drop(index=4) for table in tables])
    assert result.loc["y", "icc2"] == pytest.approx(reduced.loc["y", "icc2"])
    with pytest.raises(TableError, match="at least two"):
        icc_features(tables[:1])


def test_perturbed_extraction_of_a_cohort() -> None:
    cases = [
        Case(f"p{seed}", {"": image(seed)}, {"tumor": image().with_array(ball(radius))})
        for seed, radius in enumerate((5.0, 7.0, 9.0))
    ]
    changes = [Perturbation(), Perturbation(volume_fraction=0.1), Perturbation(angle=4.0)]
    settings = {"featureClass": {"shape": ["VoxelVolume"], "firstorder": ["Mean", "Minimum"]}}
    tables = extract_perturbed(cases, settings, perturbations=changes)
    assert list(tables) == [change.name for change in changes]
    result = perturbation_icc(tables)
    assert result.loc["tumor:original_shape_VoxelVolume", "icc2"] > 0.95
    assert list(result["n"]) == [3, 3, 3]
