"""`hepacast extract --biomarkers` and `hc.biomarkers`: one patient, a table, perturbations, what was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ball_phantom import CENTER, Patient

import hepacast as hc
from hepacast.errors import HepacastError
from hepacast.imaging import LabelMap, write_labelmap, write_volume
from hepacast.study.biomarkers import perturbed_biomarkers

LABELS = {"liver": 1, "tumor": 2}


def write(folder, name: str, patient: Patient, **images) -> None:
    """Images of a patient by phase, and the label map."""
    array = np.where(patient.tumor, 2, np.where(patient.liver, 1, 0)).astype(np.uint8)
    volume = next(iter(images.values())).with_array(array)
    write_labelmap(LabelMap(volume, LABELS), folder / f"{name}_mask.nii.gz")
    for phase, image in images.items():
        write_volume(image.with_array(image.array.astype(np.int16)), folder / f"{name}_{phase}.nii.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four patients whose tumors grow, with an arterial and a portal phase."""
    place = tmp_path_factory.mktemp("patients")
    rows = []
    for number, radius in enumerate((9.0, 12.0, 16.0, 22.0)):
        patient = Patient(((CENTER, radius),))
        arterial = patient.image(70, 110, 90 + 5 * number, noise=8.0)
        write(place, f"p{number}", patient, arterial=arterial, portal=patient.image(110, 95, 85, noise=8.0))
        rows.append({
            "patient": f"p{number}", "mask": f"p{number}_mask.nii.gz", "arterial": f"p{number}_arterial.nii.gz",
            "portal": f"p{number}_portal.nii.gz", "tumor_diameter_mm": 2 * radius + number - 1,
            "tumor_number": 1 + (number == 3), "t_stage": ("T1a", "T1b", "T1b", "T2")[number],
            "vascular_invasion": "no", "hematocrit": 40,
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    return place


def test_one_patient_in_python_and_at_the_command_line(folder, tmp_path, hepacast):
    images = {"arterial": folder / "p2_arterial.nii.gz", "portal": folder / "p2_portal.nii.gz"}
    found = hc.biomarkers(images, folder / "p2_mask.nii.gz", labels=LABELS)
    assert "biomarker/phases/wash_out_portal" in found.text()
    assert "there is no mask of the spleen" in found.text()
    target = tmp_path / "one.csv"
    done = hepacast(
        "extract", images["portal"], folder / "p2_mask.nii.gz", "--labels", "liver=1,tumor=2", "--biomarkers",
        "--phase", "portal", "--phase", f"arterial={images['arterial']}", "-o", target,
        "--picture", tmp_path / "seen.png",
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    written = pd.read_csv(target).set_index("biomarker")
    wide = found.to_frame().iloc[0]
    assert set(wide.index) == set(written.index)
    assert np.allclose(written["value"].reindex(wide.index), wide, equal_nan=True)
    assert written.loc["biomarker/shape/longest_diameter", "unit"] == "mm"
    assert "axial" in written.loc["biomarker/shape/longest_diameter", "definition"]
    assert (tmp_path / "seen.png").stat().st_size > 10_000
    assert list(found.figures()) == ["regions"]


def test_a_table_with_what_was_recorded_and_a_patient_who_fails(folder, tmp_path, hepacast):
    rows = pd.read_csv(folder / "patients.csv").astype(object)
    rows.loc[1, "portal"] = "nowhere.nii.gz"
    rows.to_csv(folder / "broken.csv", index=False)
    options = ["--biomarkers", "--labels", "liver=1,tumor=2", "-o", tmp_path / "t.parquet"]
    done = hepacast("extract", folder / "broken.csv", *options)
    assert done.code == 0, done.out + done.err
    assert "4 patients, 1 of them could not be measured" in (done.out + done.err)
    assert "tumor_diameter_mm" in (done.out + done.err) and "weighted kappa" in (done.out + done.err)
    table = pd.read_parquet(tmp_path / "t.parquet")
    failed = table[table["patient"] == "p1"]
    assert set(failed["status"]) == {"failed"} and failed["value"].isna().all()
    assert failed["reason"].str.contains("nowhere").all()
    assert len(failed) == (table["patient"] == "p0").sum()
    measured = table[table["biomarker"] == "biomarker/shape/longest_diameter"].set_index("patient")["value"]
    assert measured["p3"] == pytest.approx(44, abs=1.5)


def test_agreement_with_what_was_recorded(folder):
    found = hc.biomarkers(folder / "patients.csv", labels=LABELS)
    recorded = found.recorded.set_index("recorded")
    assert recorded.loc["tumor_diameter_mm", "value"] > 0.95
    assert recorded.loc["tumor_diameter_mm", "difference"] == pytest.approx(0.5, abs=1.0)
    assert recorded.loc["t_stage", "n"] == 4
    assert recorded.loc["t_stage", "value"] < 1  # T1b was recorded as T2 once
    assert np.isnan(recorded.loc["tumor_number", "value"]) or recorded.loc["tumor_number", "value"] < 0.5


def test_reproducibility_under_perturbed_masks(folder):
    table = perturbed_biomarkers(folder / "patients.csv", labels=LABELS, workers=1)
    assert table.loc["biomarker/shape/tumor_volume", "icc2"] > 0.9
    assert table.loc["biomarker/shape/tumor_volume", "unit"] == "ml"
    assert table.loc["biomarker/phases/wash_in", "reason"] == "too few complete patients"
    known = table["icc2"].dropna()
    assert known.is_monotonic_decreasing and len(known) > 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["IMAGE", "MASK", "--phase", "portal", "--phase", "arterial"], "which image a phase is of"),
        (["IMAGE", "MASK", "--phase", "early"], "phase 'early' is not known"),
        (["IMAGE", "MASK", "-o", "x.txt"], ".csv or .parquet"),
        (["IMAGE", "MASK", "--hematocrit", "4"], "hematocrit is a share"),
        (["TABLE"], "Where should the biomarkers go"),
        (["IMAGE"], "A mask is needed"),
    ],
)
def test_refusals(folder, hepacast, arguments, words):
    files = {"IMAGE": folder / "p0_portal.nii.gz", "MASK": folder / "p0_mask.nii.gz", "TABLE": folder / "patients.csv"}
    given = [str(files.get(item, item)) for item in arguments]
    out = [] if "-o" in given or words.startswith("Where") else ["-o", folder / "x.csv"]
    done = hepacast("extract", *given, "--biomarkers", "--labels", "liver=1,tumor=2", *out)
    assert done.code == 2 and words in (done.out + done.err), done.out + done.err


def test_hematocrit_of_a_table_may_be_in_percent_and_nothing_else():
    from hepacast.study.biomarkers import facts_of

    assert facts_of(41.0, "yes").hematocrit == pytest.approx(0.41)
    assert facts_of(None, None).vascular_invasion is None
    with pytest.raises(HepacastError):
        facts_of(2.0, None)
    with pytest.raises(HepacastError):
        facts_of(None, "perhaps")


def test_images_of_two_modalities_are_no_phases_of_one_examination():
    patient = Patient()
    arterial = replace(patient.image(70, 110, 90), modality="CT")
    portal = replace(patient.image(110, 95, 85), modality="MR")
    with pytest.raises(HepacastError, match="several modalities") as told:
        hc.biomarkers({"arterial": arterial, "portal": portal}, patient.masks)
    assert "arterial: CT, portal: MR" in str(told.value)
    assert hc.biomarkers({"arterial": arterial, "portal": portal}, patient.masks, modality="CT").lines
