"""Images and masks found by the patients' identifiers."""

import numpy as np
import pytest

from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.study.propose import init_from_table
from hepacast.study.propose_images import propose_images
from hepacast.study.schema import Study

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
    ],
)
def test_patterns_are_found(tmp_path, image, mask):
    for patient in PATIENTS:
        put(tmp_path / image.replace("{patient}", patient), -900)
        put(tmp_path / mask.replace("{patient}", patient), 1, np.uint8)
    found = propose_images(tmp_path, PATIENTS)
    if not image.startswith("{patient}/"):
        assert (found.image, found.mask) == (image, mask)
    assert (found.with_image, found.with_mask, found.modality) == (3, 3, "CT")
    assert found.labels == {"tumor": 1}


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
    assert proposed.values["modelling"]["models"] == ["clinical", "radiomics", "combined"]
    assert any("masks" in line for line in proposed.unsure)
    assert "no masks were found" in path.read_text()
