"""LI-RADS CT/MRI v2018: the whole diagnostic table."""

import itertools

import pytest

from hepacast.cohort.scores import compute_score

#: By APHE, size (mm) and number of other major features, as the table is printed; 10 to 19 mm with one is below.
TABLE = {
    (False, 15, 0): "LR-3", (False, 15, 1): "LR-3", (False, 15, 2): "LR-4", (False, 15, 3): "LR-4",
    (False, 20, 0): "LR-3", (False, 20, 1): "LR-4", (False, 20, 2): "LR-4", (False, 20, 3): "LR-4",
    (True, 9, 0): "LR-3", (True, 9, 1): "LR-4", (True, 9, 2): "LR-4", (True, 9, 3): "LR-4",
    (True, 10, 0): "LR-3", (True, 10, 2): "LR-5", (True, 10, 3): "LR-5",
    (True, 20, 0): "LR-4", (True, 20, 1): "LR-5", (True, 20, 2): "LR-5", (True, 20, 3): "LR-5",
}  # fmt: skip
OTHERS = ("washout", "capsule", "threshold_growth")


@pytest.mark.parametrize(("bright", "size", "number"), TABLE)
def test_the_table(bright, size, number):
    for chosen in itertools.combinations(OTHERS, number):
        values = {"tumor_diameter": f"{size} mm", "arterial_hyperenhancement": bright}
        found = compute_score("LI-RADS", {**values, **{name: name in chosen for name in OTHERS}})
        assert found.grade == TABLE[bright, size, number], chosen


@pytest.mark.parametrize(("feature", "grade"), [("washout", "LR-5"), ("threshold_growth", "LR-5"), ("capsule", "LR-4")])
def test_from_10_to_19_mm_with_one_feature_it_matters_which(feature, grade):
    values = {"tumor_diameter": "19.9 mm", "arterial_hyperenhancement": True, "washout": False, "capsule": False}
    assert compute_score("LI-RADS", {**values, feature: True}).grade == grade


def test_targetoid_and_tumor_in_vein_come_first():
    values = {"tumor_diameter": "3 cm", "arterial_hyperenhancement": True, "washout": True, "capsule": True}
    assert compute_score("LI-RADS", {**values, "targetoid": True}).grade == "LR-M"
    assert compute_score("LI-RADS", {**values, "targetoid": True, "tumor_in_vein": True}).grade == "LR-TIV"
