"""One meaning of a structure and of a VOI, whatever the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.bundle.measure import measure_features
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry, LabelMap, Volume, write_volume
from hepacast.imaging.structures import available_structures, evaluate_vois, structure_mask, structures_of, with_unions
from hepacast.segmentation.given import GivenSegmenter
from hepacast.segmentation.nnunet.dataset import _training_labels
from hepacast.study.extract import extract_image
from hepacast.study.segment import _liver_of, mask_path, parse_vois

GRID = Geometry((14, 12, 9), (1.0, 1.0, 2.0))
#: The liver is 8 x 8 x 5 voxels; a tumor of 3 x 3 x 3 in it and one of a voxel's breadth at its edge.
LIVER, TUMOR = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
LIVER[2:7, 2:10, 3:11] = True
TUMOR[3:6, 4:7, 5:8] = True
TUMOR[4, 9, 9:11] = True
WHOLE, REST = int(LIVER.sum()), int((LIVER & ~TUMOR).sum())


def label_map(labels: dict[str, int]) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[LIVER] = labels.get("liver", labels.get("parenchyma", 0))
    array[TUMOR] = labels["tumor"]
    return LabelMap(Volume(array, GRID), labels)


def n(mask: Volume) -> int:
    return int(mask.array.sum())


def test_capitals_are_no_other_structures() -> None:
    labelmap = label_map({"liver": 1, "tumor": 2})
    spelt = LabelMap(labelmap.volume, {"Liver": 1, "Tumor": 2})
    for masks in (structures_of(spelt), with_unions(spelt.masks())):
        assert {name: n(mask) for name, mask in masks.items()} == {"Liver": WHOLE, "Tumor": 29, "parenchyma": REST}


def test_the_liver_given_to_a_segmenter_is_the_whole_liver_and_nothing_else() -> None:
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    spleen = np.zeros(GRID.shape, bool)
    spleen[0, :2] = True
    masks = {
        "Liver": image.with_array(LIVER & ~TUMOR),
        "Tumor": image.with_array(TUMOR),
        "spleen": image.with_array(spleen),
    }
    assert n(_liver_of(masks, "m")) == WHOLE
    assert n(_liver_of({"mask": image.with_array(LIVER)}, "m")) == WHOLE
    with pytest.raises(StudyFileError, match="is the liver"):
        _liver_of({"spleen": image.with_array(spleen), "tumor": image.with_array(TUMOR)}, "m")


@pytest.mark.parametrize("labels", [{"liver": 1, "tumor": 2}, {"parenchyma": 1, "tumor": 2}, {"tumor": 4, "liver": 9}])
def test_the_liver_is_whole_by_every_road(labels: dict[str, int]) -> None:
    labelmap = label_map(labels)
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    roads = [
        structures_of(labelmap),
        with_unions(labelmap.masks()),
        with_unions({"liver": image.with_array(LIVER), "tumor": image.with_array(TUMOR)}),
        GivenSegmenter({"liver": image.with_array(LIVER), "tumor": image.with_array(TUMOR)}).segment(image).masks(),
        with_unions(with_unions(labelmap.masks())),
    ]
    for masks in roads:
        assert {name: n(mask) for name, mask in masks.items()} == {"liver": WHOLE, "parenchyma": REST, "tumor": 29}
    assert set(available_structures(labelmap)) == {"liver", "parenchyma", "tumor"}
    assert n(structure_mask(labelmap, "liver")) == WHOLE


def test_the_order_of_labels_does_not_lose_the_tumor_of_a_training_map() -> None:
    drawn = label_map({"parenchyma": 1, "tumor": 2})
    for labels in ({"liver": 1, "tumor": 2}, {"tumor": 2, "liver": 1}):
        array = _training_labels(drawn, labels, "p")
        assert int((array == 2).sum()) == 29 and int((array > 0).sum()) == WHOLE


def test_which_lesions_count_changes_the_tumor_alone() -> None:
    masks = structures_of(label_map({"parenchyma": 1, "tumor": 2}))
    vois = {"tumor": "tumor", "liver": "liver", "parenchyma": "parenchyma", "near": "ring(tumor, 2 mm) & liver"}
    largest = evaluate_vois(vois, masks, lesions="largest")
    assert [n(largest[name]) for name in ("tumor", "liver", "parenchyma")] == [27, WHOLE, REST]
    assert n(evaluate_vois(vois, masks, min_lesion_ml=1.0)["tumor"]) == 0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    image = np.random.default_rng(2).normal(60, 9, GRID.shape).round().astype(np.int16)
    write_volume(Volume(image, GRID), tmp_path / "ct.nii.gz")
    write_volume(label_map({"liver": 1, "tumor": 2}).volume, tmp_path / "both.nii.gz")
    (tmp_path / "each").mkdir()
    for name, mask in (("liver", LIVER), ("tumor", TUMOR)):
        write_volume(Volume(mask, GRID), tmp_path / "each" / f"{name}.nii.gz")
    (tmp_path / "s.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {shape: [VoxelVolume]}\n")
    (tmp_path / "label.yaml").write_text(
        "setting: {label: 2}\nimageType: {Original: {}}\nfeatureClass: {shape: [VoxelVolume]}\n"
    )
    return tmp_path


def volumes(text: str) -> dict[str, float]:
    rows = [line.split() for line in text.splitlines() if "VoxelVolume" in line]
    return {row[0]: float(row[-1]) for row in rows}


def measured(files: Path, mask: object, **options: object) -> str:
    settings = str(files / str(options.pop("settings", "s.yaml")))
    return extract_image(files / "ct.nii.gz", mask, None, settings=settings, accept_doubtful=True, **options)  # type: ignore[arg-type]


def test_extract_measures_the_same_with_and_without_vois(files: Path) -> None:
    expected = {"liver": 2.0 * WHOLE, "tumor": 58.0}
    each = [f"liver={files}/each/liver.nii.gz", f"tumor={files}/each/tumor.nii.gz"]
    named: dict[str, object] = {"labels": {"liver": "1", "tumor": "2"}}
    for mask, options in ((files / "both.nii.gz", named), (files / "each", {}), (each, {})):
        assert volumes(measured(files, mask, **options)) == expected
        assert volumes(measured(files, mask, vois="liver: liver; tumor: tumor", **options)) == expected
        ring = measured(files, mask, vois="'the rest': liver - tumor; parenchyma: parenchyma", **options)
        assert volumes(ring)["parenchyma"] == 2.0 * REST and "the rest: ok" in ring


def test_labels_beside_files_of_structures_are_refused(files: Path) -> None:
    each = [f"liver={files}/each/liver.nii.gz", f"tumor={files}/each/tumor.nii.gz"]
    with pytest.raises(StudyFileError, match="leave --labels out"):
        measured(files, each, labels={"liver": "1"})


def test_prediction_measures_what_extract_does(files: Path) -> None:
    from types import SimpleNamespace

    from hepacast.radiomics import Settings
    from hepacast.radiomics.recipe import ImageRecipe

    settings = Settings.load(files / "s.yaml")
    recipe = ImageRecipe(
        source="images",
        settings=settings.to_pyradiomics(),
        settings_hash=settings.hash,
        backend="hepacast",
        sequences={"ct": "CT"},
        vois={"liver": "liver", "rest": "liver - tumor"},
    )
    bundle = SimpleNamespace(
        recipe=recipe,
        networks=None,
        feature_names=lambda _: ["liver:original_shape_VoxelVolume", "rest:original_shape_VoxelVolume"],
    )
    labelmap = label_map({"liver": 1, "tumor": 2})
    image = Volume(np.zeros(GRID.shape, np.int16), GRID)
    found = measure_features(bundle, {"ct": image}, labelmap.masks())  # type: ignore[arg-type]
    assert list(found.values()) == [2.0 * WHOLE, 2.0 * REST]


def test_a_table_of_patients_takes_files_by_structure(files: Path) -> None:
    rows = ["patient,image,mask", "p1,ct.nii.gz,each", "p2,ct.nii.gz,liver=each/liver.nii.gz; tumor=each/tumor.nii.gz"]
    (files / "t.csv").write_text("\n".join([*rows, "p3,ct.nii.gz,gone.nii.gz"]) + "\n")
    options = {"settings": str(files / "s.yaml"), "accept_doubtful": True, "workers": 1}
    extract_image(files / "t.csv", None, files / "o.parquet", vois="liver: liver", **options)  # type: ignore[arg-type]
    table = pd.read_parquet(files / "o.parquet").set_index("patient")
    assert list(table["value"].iloc[:2]) == [2.0 * WHOLE] * 2
    assert table.loc["p3", "status"] == "failed" and "does not exist" in table.loc["p3", "reason"]


def test_the_label_of_a_parameter_file(files: Path) -> None:
    found = volumes(measured(files, files / "both.nii.gz", settings="label.yaml"))
    assert found == {"mask": 58.0}


def test_expressions_of_the_command_line() -> None:
    assert parse_vois("a: liver - tumor; 'b: c': \"x; y\" | tumor ;") == {
        "a": "liver - tumor",
        "b: c": '"x; y" | tumor',
    }
    assert parse_vois(" ") == {}
    for text in ("liver - tumor", "a: liver; a: tumor", "a: b: c"):
        with pytest.raises(StudyFileError):
            parse_vois(text)


def test_mask_files_by_name() -> None:
    assert mask_path("m=1.nii.gz".replace("=", "-")) == "m-1.nii.gz"
    assert mask_path(["liver=a.nii.gz", "tumor=b.nii.gz"]) == {"liver": "a.nii.gz", "tumor": "b.nii.gz"}
    for given in (["a.nii.gz", "b.nii.gz"], ["liver=a.nii.gz", "liver=b.nii.gz"]):
        with pytest.raises(StudyFileError):
            mask_path(given)
