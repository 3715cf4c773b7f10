"""Decisions on masks: only added, the last counts, obeyed by the next run and told in the report."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hepacast.core.files import read_json
from hepacast.errors import GeometryError, HepacastError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.study.context import make_context
from hepacast.study.edit import edit_study
from hepacast.study.reviews import add_review, corrected_file, read_reviews, take_corrected
from hepacast.study.run import run_study
from hepacast.study.sequences import measured_image

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
import small_images

LABELS = {"parenchyma": 1, "tumor": 2}


def test_the_last_line_counts_and_no_line_goes(tmp_path):
    path = tmp_path / "reviews.csv"
    add_review(path, "lee", "P1", "good")
    add_review(path, "kim", "P1", "exclude", "=motion,\n bad")
    add_review(path, "kim", "P2", "good")
    add_review(path, "lee", "P2", "open")
    found = read_reviews(path)
    assert list(found) == ["P1"] and found["P1"].reason == "=motion, bad" and found["P1"].reviewer == "kim"
    lines = path.read_text().splitlines()
    assert len(lines) == 5 and "'=motion" in lines[2]


def test_what_is_no_decision_is_refused_with_its_line(tmp_path):
    path = tmp_path / "reviews.csv"
    with pytest.raises(StudyFileError, match="reason"):
        add_review(path, "lee", "P1", "exclude", " ")
    assert not path.exists()
    add_review(path, "lee", "P1", "good")
    path.write_text(path.read_text().replace("good", "fine"))
    with pytest.raises(StudyFileError, match="line 2"):
        read_reviews(path)
    with pytest.raises(StudyFileError, match="not there"):
        read_reviews(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A study run to its masks, reviewed, and run again."""
    folder = tmp_path_factory.mktemp("reviewed")
    small_images.make(folder)
    run_study(folder, until="segmentation", workers=1)
    context = make_context(folder)
    image = measured_image(context, "P07").read()
    write_volume(Volume(small_images.body(8)[1], small_images.GEOMETRY), folder / "from-elsewhere.nii.gz")
    study = folder / "study.yaml"
    study.write_text(edit_study(study.read_text(), {"images.segmentation.reviews": "reviews.csv"}))
    context = make_context(folder)
    take_corrected(context, "P07", folder / "from-elsewhere.nii.gz", LABELS, image)
    add_review(folder / "reviews.csv", "lee", "P07", "corrected")
    add_review(folder / "reviews.csv", "lee", "P02", "exclude", "motion")
    add_review(folder / "reviews.csv", "lee", "P03", "good")
    run_study(folder, until="segmentation", workers=1)
    return folder


def test_the_next_run_measures_the_corrected_mask_and_leaves_out_whom_it_should(reviewed):
    used = read_volume(reviewed / "results" / "segmentation" / "masks" / "P07.nii.gz").array
    assert np.array_equal(used, small_images.body(8)[1])
    content = read_json(reviewed / "results" / "segmentation" / "segmentation.json")
    assert content["masks"]["P07"] == "corrected" and content["masks"]["P03"] == "given"
    assert "P02" not in content["masks"]
    flow = read_json(reviewed / "results" / "cohort" / "flow.json")
    assert any(item["reason"] == "mask review: motion" for item in flow["excluded"])
    told = read_json(reviewed / "results" / "segmentation" / "methods.json")[0]["text"]
    assert "Masks of 3 patients were reviewed: 1 were accepted as they were, 1 were corrected by hand, and 1" in told
    remarks = read_json(reviewed / "results" / "segmentation" / "plausibility.json")["remarks"]
    assert not [item for item in remarks if item["patient"] == "P07"]


def test_another_decision_makes_the_stage_anew_and_none_does_not(reviewed):
    assert run_study(reviewed, until="segmentation", workers=1).ran == ()
    mask = corrected_file(make_context(reviewed), "P07")
    write_volume(Volume(small_images.body(9)[1], small_images.GEOMETRY), mask)
    assert run_study(reviewed, until="segmentation", workers=1).ran == ("segmentation",)


def test_a_corrected_mask_must_fit_the_image(reviewed, tmp_path):
    context = make_context(reviewed)
    image = measured_image(context, "P04").read()
    moved = type(small_images.GEOMETRY)((64, 64, 20), (5.0, 5.0, 5.0), (-150.0, -160.0, 0.0))
    array = small_images.body(4)[1]
    write_volume(Volume(array, moved), tmp_path / "moved.nii.gz")
    with pytest.raises(GeometryError, match="mm"):
        take_corrected(context, "P04", tmp_path / "moved.nii.gz", LABELS, image)
    write_volume(Volume(array * 3, small_images.GEOMETRY), tmp_path / "values.nii.gz")
    with pytest.raises(HepacastError):
        take_corrected(context, "P04", tmp_path / "values.nii.gz", LABELS, image)
    assert not corrected_file(context, "P04").exists()


def test_a_corrected_mask_that_is_gone_is_missed(reviewed):
    add_review(reviewed / "reviews.csv", "lee", "P05", "corrected")
    with pytest.raises(HepacastError, match="corrected mask"):
        run_study(reviewed, until="segmentation", workers=1)
