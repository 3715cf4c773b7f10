"""Images and masks found by the patients' identifiers."""

import numpy as np
import pytest

from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.study.propose import image_values, init_from_table
from hepacast.study.propose_images import propose_images
from hepacast.study.schema import Study
from hepacast.study.schema.images import Images

PATIENTS = ["P1", "P2", "P10"]


def volume(value, dtype=np.int16):
    array = np.full((3, 4, 5), value, dtype)
    array[0, 0, 0] = 0
    return Volume(array, Geometry((5, 4, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1))))


def put(path, value, dtype=np.int16):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(volume(value, dtype), path)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{patient}.nii.gz", "{patient}_mask.nii.gz"),
        ("images/{patient}.nii.gz", "masks/{patient}.nii.gz"),
        ("{patient}/ct_{patient}.nii.gz", "{patient}/{patient}-seg.nii.gz"),
        ("CT_{patient}_portal.nii.gz", "CT_{patient}_portal_label.nii.gz"),
        ("images/{patient}/ct.nii.gz", "images/{patient}/mask.nii.gz"),
    ],
)
def test_patterns_are_found(tmp_path, image, mask):
    for patient in PATIENTS:
        put(tmp_path / image.replace("{patient}", patient), -900)
        put(tmp_path / mask.replace("{patient}", patient), 1, np.uint8)
    found = propose_images(tmp_path, PATIENTS)
    assert (found.image, found.mask) == (image, mask)
    assert (found.with_image, found.with_mask, found.modality) == (3, 3, "CT")
    assert found.labels == {"tumor": 1}


def test_a_mask_beside_a_dicom_series_leaves_the_folder_the_image(tmp_path):
    for patient in PATIENTS:
        put(tmp_path / patient / "mask.nii.gz", 1, np.uint8)
        (tmp_path / patient / "1.dcm").write_bytes(b"")
    found = propose_images(tmp_path, PATIENTS)
    assert (found.image, found.mask) == ("{patient}", "{patient}/mask.nii.gz")


def test_a_patient_is_not_found_in_anothers_name(tmp_path):
    put(tmp_path / "P10.nii.gz", 100)
    found = propose_images(tmp_path, ["P1", "P10"])
    assert found.with_image == 1 and found.modality == "MR"
    with pytest.raises(ImageError, match="identifier"):
        propose_images(tmp_path, ["P1"])


def test_init_writes_them_into_the_study_file(tmp_path):
    rows = "\n".join(f"P{i},{30 + i % 9},{i % 2}" for i in range(1, 41))
    (tmp_path / "t.csv").write_text(f"patient,ALB (g/L),death\n{rows}\n")
    for patient in PATIENTS:
        put(tmp_path / "ct" / "images" / f"{patient}.nii.gz", -900)
    path, proposed = init_from_table(tmp_path / "study", tmp_path / "t.csv", images=tmp_path / "ct")
    images = Study.model_validate(proposed.values).images
    assert images.sequences["CT"].path == "../ct/images/{patient}.nii.gz"
    assert images.segmentation.source == "builtin"
    modelling = proposed.values["modelling"]
    assert modelling["models"] == ["clinical", "biomarkers", "radiomics", "joint"]
    assert (modelling["chain"], modelling["combination"], modelling["selection"]) == ("auto", "auto", "backward")
    assert modelling["candidates"] == ["albumin"] and proposed.values["biomarkers"] == {"use": ["recommended"]}
    assert "model file holds no values of single training patients" in path.read_text()
    assert any("masks" in line for line in proposed.unsure)
    assert "no masks were found" in path.read_text()


def test_phases_told_by_names_are_sequences_and_the_liver_is_the_scale_of_mr(tmp_path):
    rows = "\n".join(f"P{i},{30 + i % 9},{i % 2}" for i in range(1, 41))
    (tmp_path / "t.csv").write_text(f"patient,ALB (g/L),death\n{rows}\n")
    for patient in PATIENTS:
        for phase in ("delayed", "portal", "arterial", "T2"):
            put(tmp_path / "mr" / f"{patient}_{phase}.nii.gz", 100)
        liver = np.zeros((3, 4, 5), np.uint8)
        liver[1], liver[1, 1, 1] = 1, 2
        mask = tmp_path / "mr" / "masks" / f"{patient}.nii.gz"
        mask.parent.mkdir(exist_ok=True)
        write_volume(Volume(liver, volume(0).geometry), mask)
    found = propose_images(tmp_path / "mr", PATIENTS)
    assert list(found.phases) == ["arterial", "portal", "delayed"] and found.image == "{patient}_arterial.nii.gz"
    assert any("{patient}_T2.nii.gz" in doubt for doubt in found.doubts)
    _, proposed = init_from_table(tmp_path / "study", tmp_path / "t.csv", images=tmp_path / "mr")
    study = Study.model_validate(proposed.values)
    assert {name: item.path for name, item in study.images.sequences.items()} == {
        phase: f"../mr/{{patient}}_{phase}.nii.gz" for phase in ("arterial", "portal", "delayed")
    }
    steps = study.images.preprocessing
    assert (steps.reference, steps.normalization, steps.tissue) == ("arterial", "reference-tissue", "parenchyma")
    assert study.features.options["normalize"] is False  # the engine's own scale would undo the liver's


def test_who_lacks_a_phase_is_told(tmp_path):
    rows = "\n".join(f"P{i},{30 + i % 9},{i % 2}" for i in range(1, 41))
    (tmp_path / "t.csv").write_text(f"patient,ALB (g/L),death\n{rows}\n")
    for patient in PATIENTS:
        for phase in ("arterial", "portal")[: 1 if patient == "P2" else 2]:
            put(tmp_path / "ct" / patient / f"{phase}.nii.gz", -900)
    _, proposed = init_from_table(tmp_path / "study", tmp_path / "t.csv", images=tmp_path / "ct")
    assert "{patient}/arterial.nii.gz -> CT images (3 patients)" in proposed.mapped
    assert "{patient}/portal.nii.gz -> CT images (2 patients)" in proposed.mapped
    assert any("not all of 40 patients have every phase (arterial: 3, portal: 2)" in text for text in proposed.unsure)


def test_a_tumor_alone_is_measured_alone(tmp_path):
    for patient in PATIENTS:
        put(tmp_path / f"{patient}.nii.gz", -900)
        put(tmp_path / "masks" / f"{patient}.nii.gz", 1, np.uint8)
    found = propose_images(tmp_path, PATIENTS)
    assert found.part()["vois"] == {"tumor": "tumor"} and "preprocessing" not in found.part()


def test_mr_without_a_liver_has_a_scale_too(tmp_path):
    for patient in PATIENTS:
        put(tmp_path / f"{patient}.nii.gz", 100)
        put(tmp_path / "masks" / f"{patient}.nii.gz", 1, np.uint8)
    found = propose_images(tmp_path, PATIENTS)
    values = image_values(found, "mr")
    steps = Images.model_validate(values["images"]).preprocessing
    assert (steps.normalization, steps.region, steps.bias_correction) == ("zscore", "body", "n4")
    assert values["features"]["options"]["normalize"] is False
    assert any("no mask holds the liver" in doubt for doubt in found.doubts)


def test_a_recipe_keeps_what_it_measures_and_how_it_prepares_mr(tmp_path):
    rows = "\n".join(f"P{i},{30 + i % 9},{i % 2}" for i in range(1, 41))
    (tmp_path / "t.csv").write_text(f"patient,ALB (g/L),death\n{rows}\n")
    for patient in PATIENTS:
        put(tmp_path / "mr" / f"{patient}.nii.gz", 100)
        put(tmp_path / "mr" / "masks" / f"{patient}.nii.gz", 1, np.uint8)

    def values(recipe):
        return init_from_table(tmp_path / recipe, tmp_path / "t.csv", recipe, images=tmp_path / "mr")[1].values

    assert values("tace-response")["images"]["vois"]["ring"] == "dilate(tumor, 10 mm) & parenchyma"
    found = values("early-recurrence")
    steps = found["images"]["preprocessing"]  # the engine's own scale is off
    assert (steps["bias_correction"], steps["normalization"], steps["region"]) == ("n4", "zscore", "body")
    assert steps["registration"] == "none" and "reference" not in steps
    assert found["fusion"]["deep"]["crop"]["window"] == [50.0, 500.0]


def test_two_images_of_one_phase_are_not_chosen_between(tmp_path):
    for patient in PATIENTS:
        for name in ("arterial_1", "arterial_2", "portal"):
            put(tmp_path / f"{patient}_{name}.nii.gz", -900)
    assert propose_images(tmp_path, PATIENTS).phases == {}
