"""A prediction as DICOM and as FHIR: what is in it, the same again from the same, other from another mask."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import highdicom
import jsonschema
import numpy as np
import pydicom
import pytest
from pypdf import PdfReader

from hepacast.bundle import Bundle, predict
from hepacast.bundle.dicom_results import FILES
from hepacast.bundle.fhir import INTERVAL, fhir_bundle
from hepacast.errors import ImageError, ModelError
from hepacast.imaging import read_volume
from hepacast.imaging.dicom_seg import read_dicom_seg
from hepacast.imaging.io import read_labelmap, write_labelmap
from hepacast.radiomics.units import ucum_unit
from hepacast.study.predict import predict_patient

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_volume import write_volume_as_dicom

OLD = Path(__file__).parent / "old"
BUNDLE = OLD / "2313617" / "ptlf.hepacast"
IMAGE, MASK = OLD / "images" / "ptlf-P001-portal.nii.gz", OLD / "images" / "ptlf-P001-mask.nii.gz"
SCHEMA = json.loads((Path(__file__).parent / "fhir-r4.schema.json").read_text(encoding="utf-8"))
NAME = "Zhang^X=张^小东"


def predicted(folder: Path, to: str, mask: Path = MASK, **more):
    return predict_patient(
        BUNDLE, image=folder / "ct", mask=mask, labs=["alb=28.7"], dicom_out=folder / to, patient="P001", **more
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A Chinese scanner's series and what was predicted from it."""
    folder = tmp_path_factory.mktemp("dicom")
    write_volume_as_dicom(folder / "ct", read_volume(IMAGE), PatientName=NAME, SpecificCharacterSet="GB18030")
    found = predicted(folder, "a", out=folder / "plain")
    files = {name: pydicom.dcmread(folder / "a" / name) for name in FILES}
    return SimpleNamespace(folder=folder, prediction=found, files=files)


def numbers(report) -> dict[str, tuple[float, str]]:
    """Value and unit of every number of a report, by code."""
    found = {}

    def walk(items) -> None:
        for item in items:
            if item.ValueType == "NUM":
                value, code = item.MeasuredValueSequence[0], item.ConceptNameCodeSequence[0]
                name = code.get("CodeValue") or code.LongCodeValue
                unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                found[name, item.get("ContentSequence", [None])[0] and _method(item)] = (value.FloatingPointValue, unit)
            walk(item.get("ContentSequence", []))

    walk(report.ContentSequence)
    return {name if of is None else f"{of} {name}": value for (name, of), value in found.items()}


def _method(item) -> str:
    code = item.ContentSequence[0].ConceptCodeSequence[0]
    return code.get("CodeValue") or code.LongCodeValue


def texts(report) -> list[str]:
    found = []

    def walk(items) -> None:
        for item in items:
            if item.ValueType == "TEXT":
                found.append(item.TextValue)
            walk(item.get("ContentSequence", []))

    walk(report.ContentSequence)
    return found


def test_results_lie_in_the_study_in_series_of_their_own(made) -> None:
    source = pydicom.dcmread(next((made.folder / "ct").iterdir()))
    for item in made.files.values():
        assert item.StudyInstanceUID == source.StudyInstanceUID and item.PatientID == source.PatientID
        assert str(item.PatientName) == NAME and item.SpecificCharacterSet == "ISO_IR 192"
        assert "RESEARCH ONLY" in item.SeriesDescription and item.SeriesInstanceUID.startswith("2.25.")
        assert item.SeriesInstanceUID != source.SeriesInstanceUID and len(item.SOPInstanceUID) <= 64
    assert len({item.SeriesInstanceUID for item in made.files.values()}) == len(FILES)
    assert [item.Modality for item in made.files.values()] == ["SEG", "SR", "DOC", "OT"]
    report = made.files["report.dcm"]
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")


def test_the_report_holds_features_risk_interval_set_and_identity(made) -> None:
    report, item = made.files["report.dcm"], made.prediction
    found = numbers(report)
    assert found["RISK"] == (pytest.approx(item.risk), "1")
    assert found["RISK_LOW"][0] == pytest.approx(item.low) and found["RISK_HIGH"][0] == pytest.approx(item.high)
    bundle = Bundle.read(BUNDLE)
    measured = {name.split(":")[-1] for name in bundle.feature_names(item.model)}
    assert "original_firstorder_InterquartileRange" in measured
    value, unit = found["ORIGINAL SALO"]
    assert unit == "[hnsf'U]" and value == 24.0
    features = [name for name in found if not name.startswith(("RISK", "SCORE"))]
    meanings: dict[str, set[str]] = {}

    def walk(node) -> None:
        for element in node:
            for part in element.value if element.VR == "SQ" else ():
                if part.get("CodingSchemeDesignator") == "99HEPACAST":
                    code = part.get("CodeValue") or part.LongCodeValue
                    meanings.setdefault(code, set()).add(part.CodeMeaning)
                walk(part)

    walk(report)
    assert "SCORE_RADSCORE" in found and all(len(said) == 1 for said in meanings.values()), meanings
    assert len(features) == len(measured)
    said = " ".join(texts(report))
    assert bundle.identity in said and "hepacast" in said and "Albumin 28.7 g/L" in said
    assert item.conformal.label == "event" and "holds the event" in str(report)


def test_highdicom_reads_report_and_segmentation_back(made) -> None:
    folder = made.folder / "a"
    report = highdicom.sr.srread(folder / "report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    names = {group.tracking_identifier for group in groups}
    assert names == {"parenchyma", "tumor"}
    segmentation = made.files["segmentation.dcm"]
    for group in groups:
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    image = read_volume(made.folder / "ct")
    labelmap = read_labelmap(MASK, {"parenchyma": 1, "tumor": 2}, reference=image)
    back = read_dicom_seg(folder / "segmentation.dcm", image)
    for name, value in labelmap.labels.items():
        np.testing.assert_array_equal(back[name].array, labelmap.volume.array == value)


def test_who_made_the_masks_is_told(made, tmp_path: Path) -> None:
    from hepacast.imaging.dicom_seg_write import make_segmentation
    from hepacast.imaging.dicom_source import Origin, read_source

    drawn = made.files["segmentation.dcm"].SegmentSequence[0]
    assert drawn.SegmentAlgorithmType == "MANUAL" and "SegmentAlgorithmName" not in drawn
    source, image = read_source(made.folder / "ct"), read_volume(made.folder / "ct")
    liver = {"liver": image.with_array(image.array > 60)}
    segment = make_segmentation(liver, source, Origin("key"), made_by="hepacast builtin").SegmentSequence[0]
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "hepacast builtin")


def test_page_and_picture_are_whole(made) -> None:
    page, picture = made.files["page.dcm"], made.files["overlay.dcm"]
    content = page.EncapsulatedDocument[: page.EncapsulatedDocumentLength]
    text = PdfReader(io.BytesIO(content)).pages[0].extract_text()
    assert "96.7%" in text and "P001" in text and "Date: 2020-01-01" in text
    assert picture.pixel_array.shape == (picture.Rows, picture.Columns, 3)
    assert picture.pixel_array.std() > 10


def test_the_same_again_is_the_same_and_another_mask_is_not(made, tmp_path: Path) -> None:
    predicted(made.folder, "again")
    for name in FILES:
        assert (made.folder / "again" / name).read_bytes() == (made.folder / "a" / name).read_bytes(), name
    labelmap = read_labelmap(MASK, {"parenchyma": 1, "tumor": 2})
    array = labelmap.volume.array.copy()
    array[tuple(np.argwhere(array == 2)[0])] = 1
    write_labelmap(replace(labelmap, volume=labelmap.volume.with_array(array)), tmp_path / "corrected.nii.gz")
    predicted(made.folder, "corrected", tmp_path / "corrected.nii.gz")
    for name in FILES:
        other = pydicom.dcmread(made.folder / "corrected" / name)
        assert other.SOPInstanceUID != made.files[name].SOPInstanceUID
        assert other.SeriesInstanceUID != made.files[name].SeriesInstanceUID


def test_a_resampled_mask_is_sent_on_the_grid_of_the_source(made) -> None:
    from hepacast.bundle.dicom_results import _on_source
    from hepacast.imaging.dicom_source import read_source
    from hepacast.imaging.resample import resample_mask

    source = read_source(made.folder / "ct")
    liver = read_labelmap(MASK, {"parenchyma": 1, "tumor": 2}).volume
    liver = liver.with_array(liver.array > 0)
    fine = resample_mask(liver, spacing=[value / 2 for value in liver.spacing])
    back = _on_source(fine, source)
    back.geometry.require_same(source.geometry)
    overlap = 2 * (back.array & liver.array).sum() / (back.array.sum() + liver.array.sum())
    assert overlap > 0.9


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"])
def test_a_source_without_identifiers_is_refused(tmp_path: Path, keyword: str) -> None:
    write_volume_as_dicom(tmp_path / "ct", read_volume(IMAGE), **{keyword: ""})
    with pytest.raises(ImageError, match=keyword):
        predicted(tmp_path, "a")
    assert not (tmp_path / "a").exists()


def test_what_has_no_study_is_refused(made, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="DICOM series to refer to"):
        predict_patient(BUNDLE, image=IMAGE, mask=MASK, labs=["alb=28.7"], dicom_out=tmp_path / "a")
    with pytest.raises(ImageError, match="this model reads none"):
        predict_patient(BUNDLE, model="clinical", labs=["alb=28.7"], dicom_out=tmp_path / "a")


def test_units_of_features() -> None:
    assert ucum_unit("tumor:original_firstorder_Mean", "CT") == "[hnsf'U]"
    assert ucum_unit("tumor:original_firstorder_Mean", "MR") == "[arb'U]"
    assert ucum_unit("tumor:original_firstorder_Mean", "CT", scaled=True) == "[arb'U]"
    assert ucum_unit("wavelet-LLH_firstorder_Variance", "CT") == "[arb'U]2"
    assert ucum_unit("original_shape_MeshVolume", "MR") == "mm3"
    assert ucum_unit("original_glcm_Idn", "CT") == "1"


def valid(content: dict) -> dict[str, list[dict]]:
    """The resources of a FHIR Bundle by type, each valid by R4's schema."""
    found: dict[str, list[dict]] = {}
    for entry in content["entry"]:
        kind = entry["resource"]["resourceType"]
        rule = {**SCHEMA, "$ref": f"#/definitions/{kind}"}
        jsonschema.Draft6Validator(rule).validate(entry["resource"])
        found.setdefault(kind, []).append(entry["resource"])
    return found


def test_fhir_of_an_image_is_valid(made, tmp_path: Path) -> None:
    predicted(made.folder, "f", fhir=tmp_path / "risk.json")
    content = json.loads((tmp_path / "risk.json").read_text(encoding="utf-8"))
    found = valid(content)
    (risk,), item = found["RiskAssessment"], made.prediction
    (entry,) = risk["prediction"]
    assert entry["probabilityDecimal"] == item.risk
    assert entry["extension"][0]["url"] == INTERVAL
    assert entry["extension"][0]["valueRange"]["high"]["value"] == item.high
    assert risk["subject"] == {"identifier": {"value": "P001"}} and "张" not in json.dumps(content, ensure_ascii=False)
    albumin = next(o for o in found["Observation"] if o["code"]["text"] == "Albumin")
    assert albumin["code"]["coding"][0]["code"] == "1751-7"
    assert albumin["valueQuantity"] == {
        "value": 28.7, "unit": "g/L", "system": "http://unitsofmeasure.org", "code": "g/L"
    }  # fmt: skip
    urls = {entry["fullUrl"] for entry in content["entry"]}
    assert {item["reference"] for item in risk["basis"]} < urls and risk["performer"]["reference"] in urls


@pytest.mark.parametrize("name", ["clinical", "cox", "competing", "horizon", "auto"])
def test_fhir_of_every_kind_of_outcome_is_valid(name: str) -> None:
    bundle = Bundle.read(OLD / "2313617" / f"{name}.hepacast")
    for case in json.loads((OLD / "2313617" / f"{name}.json").read_text(encoding="utf-8")):
        item = predict(bundle, case["labs"], case.get("features"), model=case["model"], date="2026-01-02")
        (risk,) = valid(fhir_bundle(bundle, item, case["labs"]))["RiskAssessment"]
        assert len(risk["prediction"]) == max(1, len(item.horizons))
        assert all(0 <= entry["probabilityDecimal"] <= 1 for entry in risk["prediction"])


def test_the_cut_off_is_that_of_the_main_horizon_alone() -> None:
    bundle = Bundle.read(OLD / "2313617" / "cox.hepacast")
    case = json.loads((OLD / "2313617" / "cox.json").read_text(encoding="utf-8"))[0]
    item = predict(bundle, case["labs"], model=case["model"])
    assert len(item.horizons) > 1
    # Nobody has the event between the horizons: both risks are the same number.
    flat = replace(item, horizons=tuple(replace(one, risk=item.risk) for one in item.horizons))
    (risk,) = valid(fhir_bundle(bundle, flat, case["labs"]))["RiskAssessment"]
    assert ["qualitativeRisk" in entry for entry in risk["prediction"]] == [False] * (len(item.horizons) - 1) + [True]


def test_a_probability_beyond_one_is_no_risk() -> None:
    bundle = Bundle.read(OLD / "2313617" / "clinical.hepacast")
    case = json.loads((OLD / "2313617" / "clinical.json").read_text(encoding="utf-8"))[0]
    item = predict(bundle, case["labs"], model=case["model"])
    with pytest.raises(ModelError, match="within 0 and 1"):
        fhir_bundle(bundle, replace(item, risk=1.7, horizons=()), case["labs"])
