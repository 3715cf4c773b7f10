"""Implausible images and masks at every door: told with the patient, stopped where impossible, accepted by one word."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd

from hepacast.core.files import read_json
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.volume import Volume


def change_image(small, patient, change):
    volume = read_volume(small.image(patient))
    write_volume(volume.with_array(change(volume.array.astype(float)).round().astype(np.int16)), small.image(patient))


def swap(small, patient):
    volume = read_volume(small.mask(patient))
    write_volume(volume.with_array(np.array([0, 2, 1], dtype=np.uint8)[volume.array]), small.mask(patient))


def test_check_lists_everything_at_once(small, hepacast):
    change_image(small, "S03", lambda hu: hu + 1024)
    change_image(small, "S05", lambda hu: np.roll(hu, 9, axis=2) - 500)
    swap(small, "S07")
    change_image(small, "S09", lambda hu: np.where(np.arange(hu.shape[2]) < 2, -2000, hu))
    target = small.folder / "volumes.csv"
    answer = hepacast("check", small.folder, "--volumes", target)
    assert answer.code == 2
    errors = [line for line in answer.out.splitlines() if "ERROR" in line]
    assert {patient for patient in ("S03", "S05", "S07") if any(patient in line for line in errors)} == {
        "S03",
        "S05",
        "S07",
    }
    assert not any("S01" in line or "S09" in line for line in errors)
    told = "\n".join(errors)
    assert "HU + 1024" in told and "swapped" in told and "accept_doubtful" in told
    assert "lowest values differ" in answer.out and "far from the cohort" in answer.out
    with target.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 80 and {row["voi"] for row in rows} == {"parenchyma", "tumor"}
    by_key = {(row["patient"], row["voi"]): row for row in rows}
    assert float(by_key["S03", "parenchyma"]["median"]) > 1000 and "median" in by_key["S03", "parenchyma"]["outlier"]


def test_run_stops_with_pictures_and_goes_on_where_it_is_accepted(small, hepacast):
    change_image(small, "S03", lambda hu: hu + 1024)
    stopped = hepacast("run", small.folder, "--quiet")
    assert stopped.code == 2 and "S03" in stopped.err and "accept_doubtful" in stopped.err
    assert (small.out / "implausible-S03.png").is_file()
    assert not (small.out / "segmentation").exists()
    small.values["images"]["segmentation"]["accept_doubtful"] = ["S03"]
    small.write()
    done = hepacast("run", small.folder, "--quiet", "--until", "radiomics", "--workers", "1")
    assert done.code == 0, done.err
    found = read_json(small.out / "segmentation" / "plausibility.json")
    own = [item for item in found["remarks"] if item["patient"] == "S03" and item["code"] == "intensity"]
    assert own and all(item["severity"] == "doubtful" and "accepted" in item["problem"] for item in own)
    assert (small.out / "segmentation" / "doubtful-S03.png").is_file()
    assert {(item["patient"], item["quantity"]) for item in found["outliers"]} == {("S03", "median")}
    levels = read_json(small.out / "radiomics" / "summary.json")["gray_levels"]
    assert len(levels) == 80 and levels[0]["code"] == "gray-levels"


def test_extract_refuses_and_names_its_switch(small, hepacast, tmp_path):
    volume, settings = read_volume(small.image("S02")), small.folder / "features.yaml"
    air = np.where(read_volume(small.mask("S02")).array > 0, volume.array, -1000)
    write_volume(volume.with_array(np.roll(air, 8, axis=2)), tmp_path / "other.nii.gz")
    words = ("--labels", "parenchyma=1,tumor=2", "--settings", settings, "-q")
    sound = hepacast("extract", small.image("S02"), small.mask("S02"), *words)
    assert sound.code == 0 and "doubtful: liver: the volume is not plausible" in sound.out
    refused = hepacast("extract", tmp_path / "other.nii.gz", small.mask("S02"), *words)
    assert refused.code == 2 and "--accept-doubtful" in refused.err and "liver on CT" in refused.err
    accepted = hepacast("extract", tmp_path / "other.nii.gz", small.mask("S02"), *words, "--accept-doubtful")
    assert accepted.code == 0 and "accepted with --accept-doubtful" in accepted.out
    table = pd.DataFrame(
        {
            "patient": ["A", "B"],
            "image": [small.image("S02"), tmp_path / "other.nii.gz"],
            "mask": [small.mask("S02")] * 2,
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    both = hepacast("extract", tmp_path / "table.csv", "-o", tmp_path / "f.parquet", "-w", "1", *words)
    assert both.code == 0 and "1 of them with a VOI that could not be measured" in both.out
    rows = pd.read_parquet(tmp_path / "f.parquet").groupby("patient")["status"].agg(lambda x: (x == "failed").all())
    assert rows.to_dict() == {"A": False, "B": True}
    assert "not measured: B: " in both.out and "liver on CT" in both.out
    # Not one number: no table of empty cells.
    table.iloc[1:].to_csv(tmp_path / "table.csv", index=False)
    none = hepacast("extract", tmp_path / "table.csv", "-o", tmp_path / "none.csv", "-w", "1", *words)
    assert none.code == 2 and "Nothing could be measured" in none.err and "not measured: B: " in none.err
    assert not (tmp_path / "none.csv").exists()


def test_segment_says_what_is_impossible_and_refuses_an_image_that_is_no_ct(small, hepacast, monkeypatch, tmp_path):
    from hepacast import segmentation

    volume = read_volume(small.image("S02"))
    write_volume(volume.with_array(((volume.array + 200.0) / 400).astype(np.float32)), tmp_path / "unit.nii.gz")
    refused = hepacast("segment", tmp_path / "unit.nii.gz", "-o", tmp_path / "m.nii.gz", "-q")
    assert refused.code == 2 and "0 to 1" in refused.err and not (tmp_path / "m.nii.gz").exists()
    made = segmentation.GivenSegmenter(small.mask("S02"), {"parenchyma": 2, "tumor": 1})
    monkeypatch.setattr(segmentation, "make_segmenter", lambda *_args, **_named: made)
    told = hepacast("segment", small.image("S02"), "-o", tmp_path / "m.nii.gz", "-q")
    assert told.code == 0 and "impossible: tumor: the labels look swapped" in told.out


def test_masks_of_a_network_that_are_impossible_are_not_measured(small, hepacast, monkeypatch):
    """The patient leaves with the reason; nobody vanishes, and the others go on."""
    from hepacast import segmentation
    from hepacast.segmentation import plausibility
    from hepacast.study.stages import segmentation as stage

    class Network(segmentation.GivenSegmenter):
        def describe(self):
            return super().describe() | {"source": "builtin", "identity": "1"}

        def segment(self, volume, *, liver=None, progress=None):
            number = round(float(volume.array.flat[0])) % 2
            labels = {"parenchyma": 2, "tumor": 1} if number else {"parenchyma": 1, "tumor": 2}
            self._masks = next(p for p in small.table["patient"] if _same(small, p, volume))
            self._masks = small.mask(self._masks)
            self._labels = labels
            return super().segment(volume)

    monkeypatch.setattr(segmentation, "make_segmenter", lambda *_args, **_named: Network({}, {}))
    monkeypatch.setattr(stage, "_SEGMENTERS", {})
    # These livers are spheres of 24 to 45 mL, which nobody asks a person who has drawn them, but a network.
    monkeypatch.setattr(plausibility, "LIVER_ML", (20.0, 5000.0))
    swapped = ["S04", "S11"]
    for patient in small.table["patient"]:
        change_image(small, patient, lambda hu, p=patient: _mark(hu, p in swapped))
    small.values["images"]["segmentation"] = {"source": "builtin"}
    small.write()
    done = hepacast("run", small.folder, "--quiet", "--until", "radiomics", "--workers", "1")
    assert done.code == 0, done.err
    status = {item["patient"]: item for item in read_json(small.out / "segmentation" / "segmentation.json")["status"]}
    assert [patient for patient, item in status.items() if item["status"] == "failed"] == swapped
    lost = read_json(small.out / "radiomics" / "excluded.json")
    assert {patient for item in lost for patient in item["patients"]} == set(swapped)
    assert all("swapped" in item["reason"] for item in lost)


def _mark(hu, odd):
    marked = hu.copy()
    marked.flat[0] = -81 if odd else -80
    return marked


def _same(small, patient, volume: Volume) -> bool:
    return bool(np.array_equal(read_volume(small.image(patient)).array, volume.array))


def test_predict_refuses_warns_and_withholds(finished, hepacast):
    from hepacast.imaging.io import read_labelmap

    patient = "P050"
    words = ["predict", finished.bundle, *finished.image(patient), "--labs", *finished.labs(patient), "-q"]
    sound = hepacast(*words)
    assert sound.code == 0 and "validated: AUC" in sound.out
    image, mask = (finished.image(patient)[i] for i in (1, 3))
    volume, labels = read_volume(image), read_labelmap(mask).volume
    folder = finished.folder / "implausible"
    folder.mkdir()
    write_volume(volume.with_array(volume.array + 1024), folder / "raw.nii.gz")
    write_volume(labels.with_array(np.roll(labels.array, 3, axis=0)), folder / "moved.nii.gz")
    refused = hepacast("predict", finished.bundle, "--image", folder / "raw.nii.gz", "--mask", mask, *words[6:])
    assert refused.code == 2 and "--accept-doubtful" in refused.err and "HU + 1024" in refused.err
    moved = hepacast("predict", finished.bundle, "--image", image, "--mask", folder / "moved.nii.gz", *words[6:])
    assert moved.code == 0 and "conformal set: none" in moved.out, moved.out + moved.err
