"""Parameter files, named settings, hashes."""

from __future__ import annotations

import json

import pytest

from hepacast.errors import StudyFileError
from hepacast.radiomics import Settings


@pytest.mark.parametrize(("name", "count"), [("ptlf", 1874), ("early-recurrence", 1037)])
def test_named_settings_give_the_papers_number_of_features(name: str, count: int) -> None:
    names = Settings.load(name).feature_names()
    assert len(names) == count
    assert len(set(names)) == count


def test_names_follow_pyradiomics() -> None:
    names = Settings.load("ptlf").feature_names()
    assert names[0] == "original_shape_Elongation"
    assert "wavelet-LLH_glcm_Idn" in names
    assert "log-sigma-1-0-mm-3D_ngtdm_Busyness" in names
    assert names[-1] == "lbp-3D-k_ngtdm_Strength"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"setting": {"binwidth": 3}}, "did you mean 'binWidth'"),
        ({"setting": {"binWidth": 3, "binCount": 4}}, "binWidth and binCount"),
        ({"setting": {"binWidth": -3}}, "binWidth"),
        ({"setting": {"removeOutliers": 3}}, "without normalize"),
        ({"setting": {"resegmentShape": True}}, "resegmentRange"),
        ({"setting": {"interpolator": "sitkSpline"}}, "sitkBSpline"),
        ({"setting": {"wavelet": "morl"}}, "coif1"),
        ({"setting": {"kernelRadius": 0}}, "kernelRadius"),
        ({"imageType": {"LoG": {}}}, "no sigma"),
        ({"imageType": {"Wavlet": {}}}, "did you mean 'Wavelet'"),
        ({"imageType": {"Square": {"sigma": [1.0]}}}, "belongs to LoG"),
        ({"imageType": {"Original": {"normalize": True}}}, "before the filters"),
        ({"featureClass": {"glcm": ["Idnm"]}}, "did you mean"),
        ({"featureClass": {"glcm": ["Homogeneity1"]}}, "Id"),
        ({"featureClass": {"firstoder": None}}, "did you mean 'firstorder'"),
        ({"featureClass": {"shape2D": None}}, "force2D"),
        ({"settings": {}}, "did you mean 'setting'"),
        ({"mode": "ISBI"}, "did you mean 'ibsi'"),
    ],
)
def test_unknown_and_contradictory_settings_are_errors(content: dict, words: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        Settings.load(content)
    assert words in str(caught.value)


def test_yaml_and_json_files_mean_the_same(tmp_path) -> None:
    content = {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 2.0]}},
        "featureClass": {"firstorder": ["Mean"], "glcm": None},
        "setting": {"binWidth": 10, "resampledPixelSpacing": [1, 1, 1], "interpolator": 3},
        "voxelSetting": {"kernelRadius": 2},
    }
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "a.yaml").write_text(
        "imageType: {Original: {}, LoG: {sigma: [1.0, 2.0]}}\nfeatureClass:\n  firstorder: [Mean]\n  glcm:\n"
        "setting: {binWidth: 10, resampledPixelSpacing: [1, 1, 1], interpolator: sitkBSpline}\n"
        "voxelSetting: {kernelRadius: 2}\n",
        encoding="utf-8",
    )
    first, second = Settings.load(tmp_path / "a.json"), Settings.load(tmp_path / "a.yaml")
    assert first.hash == second.hash
    assert first.feature_names()[0] == "original_firstorder_Mean"
    assert len(first.feature_names()) == 3 * 25


def test_the_hash_follows_values_and_nothing_else() -> None:
    plain = Settings.load({"setting": {"binWidth": 25}})
    assert plain.hash == Settings.load({}).hash  # 25 is the default
    assert plain.hash == Settings.load({"setting": {"label": 2, "additionalInfo": False}}).hash
    assert plain.hash == Settings.load({"setting": {"sigma": [1.0]}}).hash  # no LoG image
    assert plain.hash != plain.with_parameters(binWidth=24.0).hash
    assert plain.hash != Settings.load({"featureClass": {"glcm": []}}).hash


def test_an_image_types_own_bin_count_replaces_the_general_width() -> None:
    settings = Settings.load({"imageType": {"Original": {}, "Square": {"binCount": 16}}, "setting": {"binWidth": 5}})
    assert settings.parameters_for("Square").binCount == 16
    assert settings.parameters_for("Original").binCount is None


def test_names_of_whole_number_sigmas_are_kept_as_written() -> None:
    settings = Settings.load({"imageType": {"LoG": {"sigma": [1, 2.5]}}})
    assert settings.image_names() == ["log-sigma-1-mm-3D", "log-sigma-2-5-mm-3D"]


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "ibsi", "setting": {"binWidth": 12.0, "resegmentRange": [-500, 400]}},
        {"setting": {"binCount": 32, "correctMask": True}, "imageType": {"LoG": {"sigma": [2.0]}}},
    ],
)
def test_the_content_is_read_as_the_same_settings(given: dict) -> None:
    settings = Settings.load(given)
    assert Settings.load(settings.content()).hash == settings.hash
