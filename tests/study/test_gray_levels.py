"""`hepacast check` counts the gray levels of a VOI on the intensity scale that MR will have, before any long work."""

import re

import pytest

from hepacast.core.files import read_json, write_json, write_text
from hepacast.phantom.early_recurrence import make_recurrence_cohort
from hepacast.study.check import check_study
from hepacast.study.demos.early_recurrence import DEMO
from hepacast.study.template import render_study


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels")
    truth = read_json(make_recurrence_cohort(folder, 40, 20, size="tiny", seed=5))
    write_json(folder / "planted.json", DEMO.planted_truth(truth))
    return folder


def checked(folder, **changes):
    study = DEMO.study(DEMO.choose({}, seed=5))
    study["images"]["preprocessing"] |= changes
    write_text(folder / "study.yaml", render_study(study))
    return check_study(folder)


def levels(result):
    (fact,) = [line for line in result.facts if line.startswith("gray levels of tumor at a bin width of 5: ")]
    found = re.search(r": ([\d.]+) \((\d+) to (\d+)\)$", fact)
    return [float(value) for value in found.groups()]


def remarks(result):
    return [item.message for _, item in result.findings if "gray levels" in item.message]


def test_the_proposed_scale_of_the_liver_fits_its_bin_width(cohort):
    median, _, most = levels(checked(cohort))
    assert 16 <= median <= 128 and most <= 256


def test_a_scale_that_does_not_fit_the_bin_width_is_told(cohort):
    result = checked(cohort, scale=1000.0)
    assert levels(result)[0] > 256
    assert any("more than 256 gray levels at a bin width of 5" in text for text in remarks(result))
    few = checked(cohort, scale=0.5)
    assert levels(few)[0] < 8 and any("fewer than 8" in text for text in remarks(few))


def test_images_without_a_scale_are_counted_as_they_are(cohort):
    raw, scaled = checked(cohort, normalization="none"), checked(cohort)
    assert levels(raw) != levels(scaled)
