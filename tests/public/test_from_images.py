"""`examples/hcc-tace-seg-images` on virtual patients: fetched, checked, run from DICOM and SEG to the report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
import yaml
from standin import BUCKET, stand_in
from virtual_collection import make_patients

from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging.dicom import read_series, scan_folder, series_of_mask
from hepacast.imaging.dicom_seg import read_dicom_seg
from hepacast.public import fetch, index, plan_fetch, transfer
from hepacast.study.check import check_study
from hepacast.study.context import make_context
from hepacast.study.load import load_study
from hepacast.study.run import run_study
from hepacast.study.sequences import raw_image

pytestmark = pytest.mark.usefixtures("figures_as_words")

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = EXAMPLES / "hcc-tace-seg-images" / "study.yaml"
#: Of the real table six with a response and six without; odd numbers have both phases in one series.
PATIENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 20, 25)
#: What makes the study small; what is read, measured and modelled stays.
SMALL = {
    "features": {"settings": "features.yaml"},
    "modelling": {
        "chain": "ptlf",
        "candidates": ["age"],
        "validation": {"folds": 3, "repeats": 1, "bootstrap": 20},
    },
}


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `hepacast fetch HCC-TACE-Seg` makes of the virtual patients."""
    folder = tmp_path_factory.mktemp("hcc")
    made = make_patients(folder / "virtual", PATIENTS)
    with stand_in() as servers, pytest.MonkeyPatch.context() as patch:
        for key, files in made.files.items():
            for name, content in files.items():
                servers.put(BUCKET, f"{key}/{name}", content)
        patch.setattr(index, "EXTRACT", made.write_index(folder / "index.csv"))
        patch.setenv(transfer.MIRROR, servers.address)
        fetch(plan_fetch("HCC-TACE-Seg", folder / "data"))
    return folder / "data"


def small_study(folder: Path, **changes: Any) -> Path:
    values = yaml.safe_load(STUDY.read_text(encoding="utf-8")) | SMALL | changes
    (folder / "features.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: [], shape: []}\n")
    (folder / "study.yaml").write_text(yaml.safe_dump(values, allow_unicode=True))
    return folder / "study.yaml"


def test_it_asks_for_the_same_columns_as_the_study_of_tables() -> None:
    tables, images = (load_study(EXAMPLES / name / "study.yaml") for name in ("hcc-tace-seg", "hcc-tace-seg-images"))
    assert images.cohort.columns == tables.cohort.columns and images.outcome == tables.outcome
    assert images.modelling == tables.modelling and images.survival == tables.survival


def test_its_networks_can_be_asked_for(tmp_path: Path) -> None:
    text = STUDY.read_text(encoding="utf-8")
    (tmp_path / "study.yaml").write_text(text.replace("#| ", ""))
    assert load_study(STUDY).deep is None and load_study(tmp_path / "study.yaml").deep is not None


def test_the_phase_that_was_outlined_is_read(fetched: Path) -> None:
    context = make_context(STUDY, data=fetched, out=fetched / "unused")
    for patient, number in (("HCC_001", 4), ("HCC_002", 5)):
        image = raw_image(context, patient)
        (mask,) = (fetched / "images" / patient / "SEG").rglob("*.dcm")
        first = pydicom.dcmread(image.slices()[0])
        assert (first.SeriesNumber, first.SeriesDescription[:5]) == (number, "Recon")
        # Both phases of HCC_001 lie in series 4; the SEG was drawn on the second acquisition.
        assert number == 5 or {pydicom.dcmread(path).AcquisitionNumber for path in image.slices()} == {2}
        frames = pydicom.dcmread(mask).PerFrameFunctionalGroupsSequence
        drawn = {str(one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID) for one in frames}
        assert drawn <= {str(pydicom.dcmread(path).SOPInstanceUID) for path in image.slices()}


def test_from_dicom_and_seg_to_features(fetched: Path, tmp_path: Path) -> None:
    run_study(small_study(tmp_path), data=fetched, out=tmp_path / "results", workers=1, until="radiomics")
    features = pd.read_parquet(tmp_path / "results" / "radiomics" / "features.parquet")
    assert set(features.status) == {"ok"} and set(features.voi) == {"tumor", "parenchyma"}
    assert features.patient.nunique() == len(PATIENTS)
    # The mean of the tumor, by hand.
    context = make_context(STUDY, data=fetched, out=tmp_path / "unused")
    for patient in ("HCC_001", "HCC_002"):
        image = raw_image(context, patient).read()
        (mask,) = (fetched / "images" / patient / "SEG").rglob("*.dcm")
        tumor = read_dicom_seg(mask, image)["Mass"].array
        one = features.query("patient == @patient and voi == 'tumor'")
        mean = one[one.feature.str.endswith("firstorder_Mean")].value.item()
        assert mean == pytest.approx(float(image.array[tumor].mean()), abs=1e-9)
    methods = (tmp_path / "results" / "segmentation" / "methods.json").read_text(encoding="utf-8")
    assert "the one that the mask was drawn on" in methods


@pytest.mark.slow
def test_to_the_report(fetched: Path, tmp_path: Path) -> None:
    run_study(small_study(tmp_path), data=fetched, out=tmp_path / "results", workers=1)
    page = (tmp_path / "results" / "report" / "report.html").read_text(encoding="utf-8")
    assert "105 patients" in page and "no enhanced image" in page and "the mask was drawn on" in page
    assert (tmp_path / "results" / "bundle" / "model.hepacast").is_file()


def test_a_lost_slice_is_said_with_its_patient(fetched: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(fetched, data, ignore=shutil.ignore_patterns("HCC_00[7-9]", "HCC_01*", "HCC_02*"))
    context = make_context(STUDY, data=data, out=tmp_path / "unused")
    raw_image(context, "HCC_002").slices()[5].unlink()
    found = check_study(small_study(tmp_path), data=data)
    wrong = [item for where, item in found.findings if where == "images" and item.severity == "error"]
    assert len(wrong) == 1 and "HCC_002" in str(wrong[0]) and "slice" in str(wrong[0])
    # Left out by name, as the study file says.
    cohort = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["cohort"]
    excluded = {"column": "TCIA_ID", "equals": ["HCC_002"], "reason": "images cannot be used"}
    found = check_study(small_study(tmp_path, cohort={**cohort, "exclude": [excluded]}), data=data)
    assert not [item for where, item in found.findings if where == "images" and item.severity == "error"], found.text()
    assert "1 (images cannot be used)" in found.text()


# -- which series a mask was drawn on ----------------------------------------------------------------------------------


@pytest.fixture
def phases(fetched: Path, tmp_path: Path) -> Path:
    """CT folder of a patient with both phases in one series."""
    return Path(shutil.copytree(fetched / "images" / "HCC_001", tmp_path / "HCC_001"))


def rewritten(folder: Path, change: Any) -> Path:
    (mask,) = (folder / "SEG").rglob("*.dcm")
    dataset = pydicom.dcmread(mask)
    change(dataset)
    dataset.save_as(mask)
    return mask


def refer_to(instances: list[str], dataset: Any) -> None:
    """Every frame refers to all of these, as programs write it that were given every slice."""
    for group in dataset.PerFrameFunctionalGroupsSequence:
        sources = group.DerivationImageSequence[0].SourceImageSequence
        first = sources[0]
        group.DerivationImageSequence[0].SourceImageSequence = [
            pydicom.Dataset(
                {**{element.tag: element for element in first}, 0x00081155: pydicom.DataElement(0x00081155, "UI", uid)}
            )
            for uid in instances
        ]


def test_a_mask_of_several_phases_is_refused_until_one_is_named(phases: Path) -> None:
    both = [one.uid for item in scan_folder(phases / "CT").series if item.number == 4 for one in item.slices]
    mask = rewritten(phases, lambda dataset: refer_to(both, dataset))
    with pytest.raises(ImageError, match="several series or phases"):
        series_of_mask(phases / "CT", mask)
    first, second = (series_of_mask(phases / "CT", mask, which=which) for which in (1, 2))
    assert (first, second) == ("1.2.1.1.4#1", "1.2.1.1.4#2")
    arterial, venous = (read_series(phases / "CT", series=name).array.astype(int) for name in (first, second))
    assert set(np.unique((venous - arterial)[venous > -1000])) == {15}
    with pytest.raises(ImageError, match="does not hold"):
        series_of_mask(phases / "CT", mask, which=3)


def test_where_no_frame_says_it_the_named_instances_or_the_named_series_do(phases: Path) -> None:
    def without_frames(dataset: Any) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence

    mask = rewritten(phases, without_frames)
    assert series_of_mask(phases / "CT", mask) == "1.2.1.1.4#2"

    def the_series_alone(dataset: Any) -> None:
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.1.1.2"
        del dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence

    mask = rewritten(phases, the_series_alone)
    assert series_of_mask(phases / "CT", mask) == "1.2.1.1.2"
    rewritten(phases, lambda dataset: setattr(dataset.ReferencedSeriesSequence[0], "SeriesInstanceUID", "9.9"))
    with pytest.raises(ImageError, match="does not hold the series"):
        series_of_mask(phases / "CT", mask)


def test_masks_that_are_no_seg_do_not_tell_the_series(fetched: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    values["images"]["segmentation"]["masks"] = "masks/{patient}.nii.gz"
    study = small_study(tmp_path, images=values["images"])
    with pytest.raises(ImageError, match="does not say"):
        raw_image(make_context(study, data=fetched), "HCC_001").read()
    values["images"]["segmentation"] = {"source": "builtin"}
    with pytest.raises(StudyFileError, match=r"needs segmentation\.masks"):
        load_study(small_study(tmp_path, images=values["images"]))
