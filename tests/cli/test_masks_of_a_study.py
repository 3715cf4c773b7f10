"""Masks of a study: one file a structure, values without a name, names that contradict, what a parameter file says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.imaging.io import write_volume
from hepacast.imaging.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("figures_as_words")

GRID = Geometry((24, 22, 10), (3.0, 3.0, 5.0), (-36.0, -33.0, -25.0))
WORDS = ("--until", "radiomics", "--workers", "1", "--quiet")


@pytest.fixture
def volumes(small):
    """The study measures volumes of the liver and the tumor; here they are by patient and VOI, mm3."""
    shape = {"imageType": {"Original": {}}, "featureClass": {"shape": ["VoxelVolume"], "firstorder": ["Mean"]}}
    (small.folder / "features.yaml").write_text(yaml.safe_dump(shape))
    small.values["images"]["vois"] = {"liver": "liver", "rest": "liver - tumor", "tumor": "tumor"}
    small.write()

    def read() -> dict[tuple[str, str], float]:
        table = pd.read_parquet(small.out / "radiomics" / "features.parquet")
        table = table[table["feature"] == "original_shape_VoxelVolume"]
        return dict(zip(zip(table["patient"], table["voi"], strict=True), table["value"], strict=True))

    return read


def expected(small, patient):
    labels = small.labels(patient)
    sizes = {"liver": labels > 0, "rest": labels == 1, "tumor": labels == 2}
    return {name: 45.0 * mask.sum() for name, mask in sizes.items()}


def test_one_file_a_structure(small, volumes, hepacast):
    masks = {name: f"masks/{name}-{{patient}}.nii.gz" for name in ("liver", "tumor")}
    small.values["images"]["segmentation"]["masks"] = masks
    small.write()
    for patient in small.table["patient"]:
        labels = small.labels(patient)
        # The liver is drawn with its tumor in it, rows from back to front as some converters write them.
        flipped = Geometry(GRID.size, GRID.spacing, (-36.0, 30.0, -25.0), ((1, 0, 0), (0, -1, 0), (0, 0, 1)))
        write_volume(Volume((labels > 0)[:, ::-1].copy(), flipped), small.folder / f"masks/liver-{patient}.nii.gz")
        write_volume(Volume(labels == 2, GRID), small.folder / f"masks/tumor-{patient}.nii.gz")
        small.mask(patient).unlink()
    assert hepacast("check", small.folder).code == 0
    answer = hepacast("run", small.folder, *WORDS)
    assert answer.code == 0, answer.err
    found = volumes()
    for patient in ("S01", "S17"):
        assert {voi: found[patient, voi] for voi in ("liver", "rest", "tumor")} == pytest.approx(
            expected(small, patient)
        )
    (small.folder / "masks/tumor-S17.nii.gz").unlink()
    answer = hepacast("run", small.folder, *WORDS)
    assert answer.code == 2
    assert "S17" in answer.err and "tumor-S17.nii.gz" in answer.err
    small.left_clean()


def test_liver_and_tumor_as_labels_are_the_same_as_parenchyma_and_tumor(small, volumes, hepacast):
    small.values["images"]["segmentation"]["labels"] = {"liver": 1, "tumor": 2}
    small.write()
    assert hepacast("run", small.folder, *WORDS).code == 0
    found = volumes()
    assert {voi: found["S03", voi] for voi in ("liver", "rest", "tumor")} == pytest.approx(expected(small, "S03"))


def test_a_value_without_a_name_is_told(small, volumes, hepacast):
    labels = small.labels("S08")
    labels[0, 0, :3] = 3
    write_volume(Volume(labels, GRID), small.mask("S08"))
    told = [line for line in hepacast("check", small.folder).out.splitlines() if "has no name" in line]
    assert len(told) == 1 and "S08" in told[0] and "value 3" in told[0]


def test_correct_mask_and_label_are_heeded(small, volumes, hepacast):
    labels = small.labels("S05")
    moved = Geometry((24, 22, 9), GRID.spacing, GRID.origin)
    write_volume(Volume(labels[:9], moved), small.mask("S05"))
    answer = hepacast("run", small.folder, *WORDS)
    assert answer.code == 2 and "correctMask" in answer.err
    settings = yaml.safe_load((small.folder / "features.yaml").read_text())
    settings["setting"] = {"correctMask": True}
    (small.folder / "features.yaml").write_text(yaml.safe_dump(settings))
    answer = hepacast("run", small.folder, *WORDS)
    assert answer.code == 0, answer.err
    assert volumes()["S05", "tumor"] == pytest.approx(45.0 * np.count_nonzero(labels[:9] == 2))
    settings["setting"] = {"correctMask": True, "label": 7}
    (small.folder / "features.yaml").write_text(yaml.safe_dump(settings))
    answer = hepacast("check", small.folder)
    assert answer.code == 2 and answer.out.count("label 7") == 1
