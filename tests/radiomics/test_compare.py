"""Tables made elsewhere: what agrees, and what explains the rest. Explanations of single features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import StudyFileError, TableError
from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import Settings, compare_features, explain, extract, read_other_table
from hepacast.radiomics.compare import relative_difference
from hepacast.radiomics.explanation import abbreviations
from hepacast.radiomics.names import FEATURES, OPTIONAL

CLASSES = {"shape": None, "firstorder": None, "glcm": None}
BASE = {"imageType": {"Original": {}, "Square": {}, "Wavelet": {}}, "featureClass": CLASSES}


@pytest.fixture(scope="module")
def measured() -> dict[str, dict]:
    """One VOI under several settings, with diagnostics, as PyRadiomics would write them."""
    grid = Geometry((40, 30, 20), (1.0, 1.0, 2.0))
    generator = np.random.default_rng(4)
    image = Volume((generator.normal(100, 40, grid.shape) + np.arange(40) * 6).astype(np.int16), grid)
    k, j, i = np.indices(grid.shape)
    mask = image.with_array((k - 9) ** 2 * 4 + (j - 15) ** 2 + (i - 20) ** 2 < 100)
    wanted = {
        "plain": {},
        "binWidth": {"binWidth": 10},
        "shift": {"voxelArrayShift": 500},
        "preCrop": {"preCrop": True},
        "normalized": {"normalize": True, "normalizeScale": 100},
    }
    result = {}
    for name, setting in wanted.items():
        found = extract(image, mask, {**BASE, "setting": setting})["voi"]
        result[name] = {**found.features, **found.diagnostics}
    return result


def ours(measured: dict[str, dict]) -> dict[str, float]:
    return {name: value for name, value in measured["plain"].items() if not name.startswith("diagnostics_")}


def test_equal_values_need_no_explanation(measured: dict[str, dict]) -> None:
    result = compare_features(ours(measured), measured["plain"], Settings.load(BASE))
    assert result.agreement == 1.0
    assert result.explanations == []
    assert (result.by_group()["mean"] == 1).all()


@pytest.mark.parametrize("setting", ["binWidth", "shift", "preCrop", "normalized"])
def test_the_setting_that_differs_is_named(measured: dict[str, dict], setting: str) -> None:
    result = compare_features(ours(measured), measured[setting], Settings.load(BASE))
    assert result.agreement < 1
    key = {"shift": "voxelArrayShift", "normalized": "normalize"}.get(setting, setting)
    assert any(text.startswith(f"{key} differs") for text in result.explanations)


@pytest.mark.parametrize(
    ("setting", "words"),
    [("binWidth", "another binWidth"), ("shift", "another voxelArrayShift"), ("preCrop", "preCrop")],
)
def test_without_diagnostics_the_pattern_tells(measured: dict[str, dict], setting: str, words: str) -> None:
    bare = {name: value for name, value in measured[setting].items() if not name.startswith("diagnostics_")}
    result = compare_features(ours(measured), bare, Settings.load(BASE))
    assert any(words in text for text in result.explanations)


def test_tables_of_several_forms_are_read(measured: dict[str, dict]) -> None:
    values = ours(measured)
    wide = pd.DataFrame([{"Patient": "a", **values}, {"Patient": "b", **dict.fromkeys(values, 0.0)}])
    tall = pd.DataFrame({"name": list(values), "value of a": list(values.values())})
    long = pd.DataFrame({"patient": "a", "voi": "v", "feature": list(values), "value": list(values.values())})
    for frame, patient in ((wide, "a"), (tall, None), (long, "a")):
        read = read_other_table(frame, patient)
        assert compare_features(values, read, Settings.load(BASE)).agreement == 1.0
    with pytest.raises(TableError, match="One row"):
        read_other_table(wide)
    with pytest.raises(TableError, match="No features"):
        read_other_table(pd.DataFrame({"age": [3]}))


def test_relative_difference() -> None:
    first = np.array([1.0, 0.0, np.nan, 1.0, np.nan, 0.0])
    second = np.array([1.1, 0.0, np.nan, np.nan, 1.0, 1e-30])
    np.testing.assert_allclose(relative_difference(first, second), [0.1 / 1.1, 0, 0, np.inf, np.inf, 0])


def test_abbreviations_of_classes_are_told() -> None:
    assert abbreviations() == {
        "GLCM": "gray level co-occurrence matrix",
        "GLDM": "gray level dependence matrix",
        "GLRLM": "gray level run length matrix",
        "GLSZM": "gray level size zone matrix",
        "NGTDM": "neighboring gray tone difference matrix",
    }


def test_every_feature_is_explained() -> None:
    for name in Settings.load("ptlf").feature_names():
        assert explain(name).formula
    for cls, features in FEATURES.items():
        for feature in (*features, *OPTIONAL.get(cls, ())):
            assert explain(f"{cls}_{feature}").meaning


def test_explanations_name_code_and_source() -> None:
    text = explain("liver:wavelet-LLH_glcm_Idn").to_text()
    assert "NDRX" in text
    assert "Haralick" in text
    assert "low (L) or high (H)" in text
    assert explain("Busyness").ibsi == "NQ30"
    assert explain("glcm_MCC").ibsi is None
    for name, words in (("Contrast", "glcm, ngtdm"), ("Busines", "Busyness"), ("glcm_Homogeneity1", "glcm_Id")):
        with pytest.raises(StudyFileError) as caught:
            explain(name)
        assert words in str(caught.value)
