"""Masks judged in the browser: order by doubt, slices as NumPy has them, decisions and corrected files."""

import hashlib

import numpy as np
import pytest

from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.study.reviews import read_reviews
from hepacast.study.run import run_study
from hepacast.web import slices
from hepacast.web.slices import _in_16_bits

from . import small_images
from .conftest import until


@pytest.fixture
def folder(site):
    folder = site.places.folder / "small"
    small_images.make(folder)
    run_study(folder, until="segmentation", workers=1)
    return folder


@pytest.fixture
def base(site, folder):
    return f"/api/studies/{site.places.code(folder)}/masks"


def code_of(client, base, patient):
    return next(row["code"] for row in client.get(base).json()["patients"] if row["patient"] == patient)


def test_the_most_doubtful_is_first_and_the_decided_are_last(client, base):
    rows = client.get(base).json()["patients"]
    assert rows[0]["patient"] == "P07" and any(item["code"] == "liver-volume" for item in rows[0]["doubts"])
    assert len(rows) == len(small_images.PATIENTS)
    assert client.post(f"{base}/{rows[0]['code']}/decision", json={"decision": "good"}).status_code == 200
    rows = client.get(base).json()["patients"]
    assert rows[-1]["patient"] == "P07" and rows[-1]["decision"] == "good" and rows[-1]["reviewer"] == "the-owner"


def test_outcome_and_set_are_not_told(client, base):
    text = client.get(base).text
    assert '"bad"' not in text and "training" not in text


def test_outcome_and_set_are_told_to_a_reviewer_who_asks_and_the_trail_says_so(client, enter, site, base):
    rows = {row["patient"]: row for row in enter("reviewer").get(f"{base}?unblinded=true").json()["patients"]}
    assert rows["P03"]["outcome"] != rows["P01"]["outcome"] and {row["set"] for row in rows.values()} == {"training"}
    assert enter("reader").get(f"{base}?unblinded=true").status_code == 403
    assert [(item.user, item.action) for item in site.audit.read() if "masks" in item.action] == [
        ("the-reviewer", "unblind-masks")
    ]


def test_slices_that_come_next_are_read_ahead_once_and_the_oldest_make_room(client, site, base, monkeypatch):
    read = []
    real = slices._read
    monkeypatch.setattr(slices, "_read", lambda context, patient: read.append(patient) or real(context, patient))
    rows = client.get(base).json()["patients"]
    until(lambda: len(read) == 2 and all(one.done() for one in site.slices._found.values()))
    assert client.get(f"{base}/{rows[0]['code']}").status_code == 200
    client.get(base)
    assert read == [row["patient"] for row in rows[:2]]
    monkeypatch.setattr(slices, "_KEPT", 2.5 * 3 * 64 * 64 * 20)
    for row in rows[:4]:
        assert client.get(f"{base}/{row['code']}").status_code == 200
    assert len(site.slices._found) == 2 and read == [row["patient"] for row in rows[:4]]


def test_slices_are_those_of_the_files(client, base):
    image, mask = small_images.body(7)
    code = code_of(client, base, "P07")
    facts = client.get(f"{base}/{code}").json()
    assert facts["shape"] == [20, 64, 64] and facts["spacing"] == [5.0, 5.0, 5.0]
    assert (facts["slope"], facts["intercept"]) == (1.0, 0.0)
    got = np.frombuffer(client.get(f"{base}/{code}/image/4/8").content, "<i2").reshape(8, 64, 64)
    assert np.array_equal(got, image[4:12])
    got = np.frombuffer(client.get(f"{base}/{code}/mask/16/16").content, np.uint8).reshape(4, 64, 64)
    assert np.array_equal(got, mask[16:])


def test_slices_of_turned_images_are_axial_in_radiological_convention(client, base, folder):
    image, mask = small_images.body(4)
    turned = Geometry((20, 64, 64), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), ((0, 0, -1.0), (0, 1.0, 0), (1.0, 0, 0)))
    for name, array in (("images", image), ("masks", mask)):
        write_volume(Volume(np.ascontiguousarray(array.transpose(2, 1, 0)), turned), folder / name / "P04.nii.gz")
    run_study(folder, until="segmentation", workers=1)
    code = code_of(client, base, "P04")
    got = np.frombuffer(client.get(f"{base}/{code}/image/0/20").content, "<i2").reshape(20, 64, 64)
    assert np.array_equal(got, image[:, :, ::-1])


def test_values_that_are_no_whole_numbers_are_scaled():
    array = np.linspace(-0.3, 0.7, 60).reshape(3, 4, 5).astype(np.float32)
    stored, slope, intercept = _in_16_bits(Volume(array, Geometry((5, 4, 3), (1.0, 1.0, 1.0))))
    assert np.allclose(stored * slope + intercept, array, atol=1e-4)


def test_decisions_are_kept_in_the_study_and_named_in_its_file(client, base, folder, site):
    code = code_of(client, base, "P02")
    refused = client.post(f"{base}/{code}/decision", json={"decision": "exclude", "reason": ""})
    assert refused.status_code == 422 and not (folder / "reviews.csv").exists()
    client.post(f"{base}/{code}/decision", json={"decision": "exclude", "reason": "motion"})
    review = read_reviews(folder / "reviews.csv")["P02"]
    assert (review.decision, review.reason, review.reviewer) == ("exclude", "motion", "the-owner")
    assert review.mask == hashlib.sha256((folder / "results/segmentation/masks/P02.nii.gz").read_bytes()).hexdigest()
    assert "reviews: reviews.csv" in (folder / "study.yaml").read_text()
    trail = site.audit.read()[-1]
    assert (trail.action, trail.patient) == ("review-exclude", code) and "P02" not in site.audit.path.read_text()
    run_study(folder, until="segmentation", workers=1)
    # Left out, and still to be found, so that the decision can be taken back.
    assert client.get(base).json()["patients"][-1]["patient"] == "P02"
    assert client.post(f"{base}/{code}/decision", json={"decision": "open"}).status_code == 200
    assert read_reviews(folder / "reviews.csv") == {}


def send(client, base, code, path):
    return client.post(f"{base}/{code}/corrected", data={"path": path.name}, files={"file": ("f", path.read_bytes())})


def test_a_corrected_file_is_taken_back_if_it_fits(client, base, folder, tmp_path):
    code = code_of(client, base, "P07")
    mask = client.get(f"{base}/{code}/file/mask.nii.gz")
    assert "P07" not in mask.headers["content-disposition"]
    (tmp_path / "mask.nii.gz").write_bytes(mask.content)
    given = read_volume(tmp_path / "mask.nii.gz")
    write_volume(Volume(small_images.body(8)[1], given.geometry), tmp_path / "better.nii.gz")
    moved = Geometry((64, 64, 20), (5.0, 5.0, 5.0), (-150.0, -160.0, 0.0))
    write_volume(Volume(small_images.body(8)[1], moved), tmp_path / "moved.nii.gz")
    refused = send(client, base, code, tmp_path / "moved.nii.gz")
    assert refused.status_code == 422 and "mm" in refused.text and not (folder / "corrected").exists()
    assert send(client, base, code, tmp_path / "better.nii.gz").status_code == 200
    shown = np.frombuffer(client.get(f"{base}/{code}/mask/0/20").content, np.uint8).reshape(20, 64, 64)
    assert np.array_equal(shown, small_images.body(8)[1])
    run_study(folder, until="segmentation", workers=1)
    assert np.array_equal(read_volume(folder / "results/segmentation/masks/P07.nii.gz").array, shown)


def test_nothing_is_decided_while_the_study_runs(client, base, folder, monkeypatch):
    code = code_of(client, base, "P07")
    monkeypatch.setattr("hepacast.web.routes.masks.is_running", lambda *_: True)
    answer = client.post(f"{base}/{code}/decision", json={"decision": "good"})
    assert answer.status_code == 422 and "running" in answer.json()["message"]


def test_readers_look_and_do_not_decide(enter, base):
    reader = enter("reader")
    code = code_of(reader, base, "P07")
    assert reader.get(f"{base}/{code}").status_code == 200
    assert reader.post(f"{base}/{code}/decision", json={"decision": "good"}).status_code == 403
    assert enter("reviewer").post(f"{base}/{code}/decision", json={"decision": "good"}).status_code == 200


def test_patients_of_other_codes_are_not_found(client, base):
    assert client.get(f"{base}/P07").status_code == 404
    assert client.get(f"{base}/{'0' * 16}").status_code == 404
