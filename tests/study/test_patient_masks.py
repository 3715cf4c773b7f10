"""The mask of a new patient: whatever its form, the structures that the model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepacast.core.progress import SilentReporter
from hepacast.errors import GeometryError
from hepacast.imaging import Geometry, Volume, write_volume
from hepacast.radiomics import Settings
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.patient_images import Outlined, outlined_images

GRID = Geometry((12, 10, 8), (2.0, 2.0, 4.0), (5.0, -7.0, 11.0))
LIVER, TUMOR = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
LIVER[1:7, 2:9, 2:10] = True
TUMOR[2:5, 4:7, 3:6] = True
LABELS = (LIVER.astype(np.uint8) + TUMOR).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.random.default_rng(1).integers(0, 90, GRID.shape).astype(np.int16)
    write_volume(Volume(image, GRID), tmp_path / "ct.nii.gz")
    write_volume(Volume(LABELS, GRID), tmp_path / "m.nii.gz")
    return tmp_path


def outlined(folder: Path, mask: Any, labels: str = "", rules: dict[str, Any] | None = None) -> Outlined:
    settings = Settings.load({"setting": rules or {}})
    recipe = ImageRecipe.of_settings(settings, sequences={"ct": "CT"}, labels={"parenchyma": 1, "tumor": 2})
    return outlined_images(recipe, folder / "ct.nii.gz", mask, labels, "builtin", SilentReporter())


def sizes(found: Outlined) -> dict[str, int]:
    return {name: int(mask.array.sum()) for name, mask in sorted(found.masks.items())}


EXPECTED = {"liver": int(LIVER.sum()), "parenchyma": int((LIVER & ~TUMOR).sum()), "tumor": int(TUMOR.sum())}


def test_the_same_structures_by_every_road(folder: Path) -> None:
    (folder / "each").mkdir()
    for name, mask in (("liver", LIVER), ("tumor", TUMOR)):
        write_volume(Volume(mask, GRID), folder / "each" / f"{name}.nii.gz")
    each = [f"{name}={folder / 'each' / f'{name}.nii.gz'}" for name in ("liver", "tumor")]
    both = folder / "m.nii.gz"
    for mask, labels in ((both, ""), (both, "liver=1,tumor=2"), (folder / "each", ""), (each, "")):
        assert sizes(outlined(folder, mask, labels)) == EXPECTED


def test_a_mask_turned_by_a_converter_lies_where_it_was_drawn(folder: Path) -> None:
    back = Geometry(GRID.size, GRID.spacing, (5.0 + 22.0, -7.0 + 18.0, 11.0), ((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    write_volume(Volume(LABELS[:, ::-1, ::-1].copy(), back), folder / "turned.nii.gz")
    found = outlined(folder, folder / "turned.nii.gz")
    assert np.array_equal(found.masks["tumor"].array, TUMOR)


def test_what_a_reader_should_know_of_the_mask_is_told(folder: Path) -> None:
    labels = LABELS.copy()
    labels[7, 9, :2] = 5
    write_volume(Volume(labels, GRID), folder / "more.nii.gz")
    assert any("value 5" in note for note in outlined(folder, folder / "more.nii.gz").notes)


def test_the_models_settings_say_what_becomes_of_another_grid(folder: Path) -> None:
    part = Geometry((12, 10, 7), GRID.spacing, GRID.origin)
    write_volume(Volume(LABELS[:7], part), folder / "part.nii.gz")
    with pytest.raises(GeometryError, match="correctMask"):
        outlined(folder, folder / "part.nii.gz")
    assert sizes(outlined(folder, folder / "part.nii.gz", rules={"correctMask": True})) == EXPECTED
    # Structures are chosen by name: a label of the settings is that of files of one structure.
    assert sizes(outlined(folder, folder / "m.nii.gz", rules={"label": 3})) == EXPECTED


def test_a_mask_by_another_segmenter_than_the_training_masks_is_told() -> None:
    from hepacast.imaging.labels import LabelMap
    from hepacast.segmentation.base import LabelMapResult
    from hepacast.study.predict import _other_segmenter

    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    made = LabelMapResult(LabelMap(Volume(LABELS, GRID), {"parenchyma": 1, "tumor": 2}), "nnunet", identity="abc")
    card = {"made_by": {"name": "nnunet", "identity": "abc", "channels": ["ct"]}}
    assert _other_segmenter(card, Outlined({"ct": image}, {}, (), made)) == ()
    assert _other_segmenter(card, Outlined({"ct": image}, {})) == (), "a mask that was given is the reader's"
    assert _other_segmenter({}, Outlined({"ct": image}, {}, (), made)) == ()
    other = LabelMapResult(made.labelmap, "builtin")
    (note,) = _other_segmenter(card, Outlined({"ct": image}, {}, (), other))
    assert "nnU-Net (identity abc) and this one by builtin" in note
