"""Which series of the packaged index are fetched."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hepacast.errors import HepacastError
from hepacast.public import COLLECTIONS, index, select_series, series_of


@pytest.fixture(scope="module")
def hcc() -> pd.DataFrame:
    return series_of("hcc_tace_seg")


def test_hcc_tace_seg_is_105_patients_with_105_original_segmentations(hcc: pd.DataFrame) -> None:
    assert len(hcc) == 572 + 448 and (hcc.modality == "CT").sum() == 572
    found = select_series(hcc)
    masks = found[found.modality == "SEG"]
    assert found.patient.nunique() == len(masks) == masks.patient.nunique() == 105
    assert set(masks.derived_by) == {""} and set(masks.description) == {"Segmentation"}
    assert set(found.license) == {"CC BY 4.0"} and set(found.doi) == {"10.7937/tcia.5fna-0924"}
    # One examination a patient, that of the segmentation, and its images alone.
    assert found.groupby("patient").study.nunique().eq(1).all()
    assert (found.modality == "CT").sum() == 289 and int(found["bytes"].sum()) == 13_890_994_472 + 1_245_630_088


def test_every_examination_and_derived_segmentations_are_asked_for(hcc: pd.DataFrame) -> None:
    assert (select_series(hcc, rule="all").modality == "CT").sum() == 572
    more = select_series(hcc, rule="all", derived=True)
    assert (more.modality == "SEG").sum() == 448 and (more.derived_by != "").sum() == 343


def test_other_collections() -> None:
    metastases = select_series(series_of("colorectal_liver_metastases"))
    assert metastases.patient.nunique() == 197 and metastases.modality.value_counts().to_dict() == {
        "CT": 197,
        "SEG": 197,
    }
    # Nobody outlined anything in TCGA-LIHC: all of its images.
    genome = select_series(series_of("tcga_lihc"))
    assert (
        genome.patient.nunique() == 97 and set(genome.modality) == {"CT", "MR"} and set(genome.license) == {"CC BY 3.0"}
    )
    assert all(len(series_of(item.idc)) for item in COLLECTIONS.values() if item.idc)


def test_rules_choose_images_and_keep_the_segmentations(hcc: pd.DataFrame) -> None:
    words = select_series(hcc, rule="3 phase, 2 phase")
    images = words[words.modality == "CT"]
    assert images.description.str.contains("[23] PHASE", case=False).all() and len(words) > len(images)
    one = select_series(hcc, rule="{without: [pre], prefer: most images}")
    assert one.modality.value_counts().to_dict() == {"CT": 105, "SEG": 105}
    assert not one.description.str.contains("PRE").any()
    four = select_series(hcc, patients=4)
    assert sorted(set(four.patient)) == ["HCC_001", "HCC_002", "HCC_003", "HCC_004"]


@pytest.mark.parametrize(
    "rule", ["no such words", "{thickness: [1, 3]}", "{colour: red}", "{words: [", ",", "{number: 99999}"]
)
def test_rules_that_mean_nothing_are_refused(hcc: pd.DataFrame, rule: str) -> None:
    with pytest.raises(HepacastError):
        select_series(hcc, rule=rule)


@pytest.mark.parametrize("column, value", [("uuid", "../../etc"), ("bucket", "evil.example/x"), ("series", "1.2/../3")])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, column: str, value: str) -> None:
    frame = series_of("hcc_tace_seg").head(3).assign(**{column: value})
    frame.to_csv(tmp_path / "index.csv", index=False)
    with pytest.raises(HepacastError, match="damaged"):
        index.series_of("hcc_tace_seg", tmp_path / "index.csv")
