"""Readable names, and labels on an axis that never touch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.figures.labels import feature_label, interval
from hepacast.figures.nomogram import place_labels


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("parenchyma:wavelet-LLH_glcm_Idn", "Parenchyma, GLCM Idn (wavelet LLH)"),
        ("tumor:original_shape_Sphericity", "Tumor, shape sphericity"),
        ("original_firstorder_90Percentile", "First order 90th percentile"),
        ("tumor:log-sigma-3-0-mm-3D_ngtdm_Busyness", "Tumor, NGTDM busyness (LoG 3 mm)"),
        ("tumor:lbp-3D-k_firstorder_Kurtosis", "Tumor, first order kurtosis (LBP 3D k)"),
        ("portal:tumor:original_glcm_Imc1", "Portal, Tumor, GLCM Imc1"),
        ("portal_vein:original_shape_Maximum2DDiameterSlice", "Portal vein, shape maximum 2D diameter slice"),
        ("Mass_Volume", "Mass Volume"),
        ("serum_afp_Value", "serum afp Value"),
        ("liver:original_ngldm_Busyness", "Liver, NGLDM busyness"),
    ],
)
def test_feature_labels(name: str, label: str) -> None:
    assert feature_label(name) == label


def test_interval() -> None:
    assert interval(0.878, 0.761, 0.994) == "0.878 (0.761–0.994)"
    assert interval(0.5, float("nan"), float("nan")) == "0.500"
    assert interval(float("nan"), 0.1, 0.2) == "not estimable"


@given(
    st.lists(st.tuples(st.floats(0, 120), st.floats(0.5, 20)), min_size=1, max_size=15),
    st.booleans(),
)
def test_placed_labels_never_touch(items: list[tuple[float, float]], keep_all: bool) -> None:
    x, widths = [p for p, _ in items], [w for _, w in items]
    tiers = place_labels(x, widths, keep_all)
    assert any(tier is not None for tier in tiers)
    for i, first in enumerate(tiers):
        for j in range(i):
            if first is not None and first == tiers[j]:
                assert abs(x[i] - x[j]) >= (widths[i] + widths[j]) / 2


def test_even_ticks_keep_an_even_rhythm() -> None:
    tiers = place_labels([i * 3.0 for i in range(11)], [4.0] * 11, keep_all=False)
    assert [i for i, tier in enumerate(tiers) if tier is not None] == [0, 2, 4, 6, 8, 10]


def test_every_level_of_a_factor_is_shown() -> None:
    assert None not in place_labels([0.0, 1.0, 2.0], [3.0] * 3, keep_all=True)
