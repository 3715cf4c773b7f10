"""Long and wide tables, many patients, estimator: nobody vanishes, and workers change nothing."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError, StudyFileError, TableError
from hepacast.imaging import Geometry, Volume, write_volume
from hepacast.radiomics import (
    Case,
    RadiomicsExtractor,
    Settings,
    estimate,
    extract_patients,
    join_long,
    read_long,
    status_counts,
    to_wide,
    write_long,
)

SETTINGS = {"featureClass": {"shape": None, "firstorder": None, "glcm": ["Contrast"]}, "setting": {"binWidth": 20}}
COUNT = 14 + 18 + 1


def volume(seed: int) -> Volume:
    grid = Geometry((20, 18, 10), (1.0, 1.0, 2.5))
    return Volume(np.random.default_rng(seed).normal(60, 30, grid.shape).astype(np.int16), grid)


def mask_of(image: Volume, radius: float = 6.0) -> Volume:
    k, j, i = np.indices(image.array.shape)
    return image.with_array((k - 5) ** 2 * 4 + (j - 9) ** 2 + (i - 10) ** 2 < radius**2)


def case(seed: int, name: str | None = None) -> Case:
    image = volume(seed)
    return Case(name or f"p{seed}", {"": image}, {"liver": mask_of(image), "tumor": mask_of(image, 3.0)})


def make_image() -> Volume:
    """An image that is made in the worker."""
    return volume(1)


def test_the_table_does_not_depend_on_workers_or_order() -> None:
    cases = [case(seed) for seed in range(3)]
    one = extract_patients(cases, SETTINGS, workers=1)
    two = extract_patients(cases, SETTINGS, workers=2)
    pd.testing.assert_frame_equal(one, two)
    back = extract_patients(cases[::-1], SETTINGS)
    order = ["patient", "voi", "feature"]
    pd.testing.assert_frame_equal(one.sort_values(order, ignore_index=True), back.sort_values(order, ignore_index=True))
    assert len(one) == 3 * 2 * COUNT
    assert one.attrs["settings_hash"] == Settings.load(SETTINGS).hash


def test_a_patient_that_fails_stays_in_the_table(tmp_path: Path) -> None:
    good = case(0)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not an image")
    image = volume(2)
    other_grid = Volume(mask_of(image).array, Geometry((20, 18, 10), (1.0, 1.0, 2.5), (3.0, 0.0, 0.0)))
    cases = [
        good,
        Case("unreadable", {"": broken}, {"liver": broken}),
        Case("empty", {"": image}, {"liver": image.with_array(np.zeros(image.array.shape, bool))}),
        Case("shifted", {"": image}, {"liver": other_grid, "tumor": mask_of(image, 3.0)}),
    ]
    calls: list[tuple[int, int]] = []
    table = extract_patients(cases, SETTINGS, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4)
    assert list(pd.unique(table["patient"])) == ["p0", "unreadable", "empty", "shifted"]
    counts = status_counts(table).set_index(["patient", "voi"])
    for key in (("unreadable", "liver"), ("empty", "liver"), ("shifted", "liver")):
        assert counts.loc[key, "failed"] == COUNT
        assert counts.loc[key, "reason"]
    assert counts.loc[("shifted", "tumor"), "ok"] == COUNT
    assert "3.00 mm" in counts.loc[("shifted", "liver"), "reason"]
    assert table.loc[table["status"] == "failed", "value"].isna().all()
    wide = to_wide(table)
    assert wide.shape == (4, 2 * COUNT)
    assert wide.loc["unreadable"].isna().all()


def test_results_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = volume(0)
    write_volume(image, tmp_path / "image.nii.gz")
    labels = mask_of(image).array.astype(np.uint8) + mask_of(image, 3.0).array
    write_volume(image.with_array(labels.astype(np.uint8)), tmp_path / "labels.nii.gz")
    file = str(tmp_path / "labels.nii.gz")
    cases = [Case("p", {"": tmp_path / "image.nii.gz"}, {"rim": (file, 1), "core": (file, 2)})]
    cache = tmp_path / "cache"
    first = extract_patients(cases, SETTINGS, cache_dir=cache)
    assert (first["status"] == "ok").all()
    (kept,) = cache.glob("*.parquet")

    import hepacast.radiomics.patients as patients

    def never(task: object) -> object:
        raise AssertionError("extracted again")

    monkeypatch.setattr(patients, "_extract", never)
    again = extract_patients([Case("q", cases[0].images, cases[0].vois)], SETTINGS, cache_dir=cache)
    assert set(again["patient"]) == {"q"}  # the name is not part of the content
    np.testing.assert_array_equal(again["value"], first["value"])
    kept.unlink()
    with pytest.raises(AssertionError, match="again"):
        extract_patients(cases, SETTINGS, cache_dir=cache)


def test_an_image_may_be_made_in_the_worker_and_vois_differ_by_sequence() -> None:
    image = make_image()
    vois = {"arterial": {"tumor": mask_of(image)}, "portal": {"tumor": mask_of(image, 4.0)}}
    table = extract_patients([Case("p", {"arterial": make_image, "portal": make_image}, vois)], SETTINGS)
    wide = to_wide(table)
    volumes = wide.loc["p", [f"{name}:tumor:original_shape_VoxelVolume" for name in vois]]
    assert volumes.iloc[0] > volumes.iloc[1] > 0


def test_each_sequence_may_have_its_own_settings() -> None:
    image = volume(0)
    settings = {"a": Settings.load(SETTINGS), "b": Settings.load({**SETTINGS, "setting": {"binWidth": 5}})}
    table = extract_patients([Case("p", {"a": image, "b": image}, {"liver": mask_of(image)})], settings)
    wide = to_wide(table)
    assert wide.loc["p", "a:liver:original_glcm_Contrast"] < wide.loc["p", "b:liver:original_glcm_Contrast"]
    with pytest.raises(StudyFileError, match="no feature settings"):
        extract_patients([Case("p", {"c": image}, {"liver": mask_of(image)})], settings)


def test_a_patient_given_twice_is_refused() -> None:
    with pytest.raises(StudyFileError, match="twice"):
        extract_patients([case(0), case(0)], SETTINGS)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_survive_the_disk(tmp_path: Path, ending: str) -> None:
    table = extract_patients([case(0, "007")], SETTINGS)
    file = tmp_path / f"features.{ending}"
    write_long(table, file)
    back = read_long(file)
    np.testing.assert_array_equal(back["value"], table["value"])
    assert list(back["patient"]) == list(table["patient"])  # leading zeros stay
    if ending == "parquet":
        assert back.attrs == table.attrs


def test_tables_of_other_settings_are_not_joined() -> None:
    first = extract_patients([case(0)], SETTINGS)
    second = extract_patients([case(1)], SETTINGS)
    assert to_wide(join_long(first, second)).shape == (2, 2 * COUNT)
    other = extract_patients([case(2)], {**SETTINGS, "setting": {"binWidth": 10}})
    with pytest.raises(TableError, match="different settings"):
        join_long(first, other)
    with pytest.raises(TableError, match="in both"):
        join_long(first, first)


def test_the_estimator_gives_a_wide_table() -> None:
    cases = [case(0), case(1)]
    extractor = RadiomicsExtractor(SETTINGS)
    with pytest.raises(ModelError):
        extractor.transform(cases)
    wide = extractor.fit_transform(cases)
    assert list(wide.index) == ["p0", "p1"]
    assert list(wide.columns) == list(extractor.get_feature_names_out())
    assert wide.notna().all().all()
    from sklearn.base import clone

    assert clone(extractor).settings == SETTINGS


def test_the_forecast_grows_with_the_work() -> None:
    image = volume(0)
    small = estimate(image, mask_of(image, 3.0), Settings.load("early-recurrence"))
    large = estimate(image, mask_of(image, 6.0), Settings.load("ptlf"))
    assert estimate(image, mask_of(image, 6.0), Settings.load("ptlf"), 2).peak_bytes > large.peak_bytes
    assert 0 < small.seconds < large.seconds
    assert small.peak_bytes > 1e8


def test_a_channel_of_a_mask_with_several_is_chosen(tmp_path: Path) -> None:
    import SimpleITK as sitk

    image = volume(0)
    parts = [image.with_array(mask_of(image, radius).array).to_sitk() for radius in (6.0, 3.0)]
    sitk.WriteImage(sitk.Compose(parts), str(tmp_path / "both.nrrd"))
    sizes = []
    for channel in (0, 1):
        settings = {**SETTINGS, "setting": {"label_channel": channel}}
        table = extract_patients([Case("p", {"": image}, {"v": tmp_path / "both.nrrd"})], settings)
        assert (table["status"] == "ok").all()
        sizes.append(to_wide(table).loc["p", "v:original_shape_VoxelVolume"])
    assert sizes[0] > sizes[1]
    missing = {**SETTINGS, "setting": {"label_channel": 2}}
    table = extract_patients([Case("p", {"": image}, {"v": tmp_path / "both.nrrd"})], missing)
    assert table["reason"].str.contains("no such channel").all()


def test_the_engine_is_loaded_before_anything_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hepacast.study.extract as module

    steps: list[str] = []
    image = make_image()
    for name, item in (("i.nii.gz", image), ("m.nii.gz", mask_of(image))):
        write_volume(item, tmp_path / name)
    masks = module.read_mask_set
    monkeypatch.setattr(module, "_load_engine", lambda: (time.sleep(0.3), steps.append("loaded")))
    monkeypatch.setattr(module, "read_mask_set", lambda *a, **o: (steps.append("masks"), masks(*a, **o))[1])
    module.extract(tmp_path / "i.nii.gz", tmp_path / "m.nii.gz", settings={"featureClass": {"firstorder": ["Mean"]}})
    assert steps == ["loaded", "masks"]
