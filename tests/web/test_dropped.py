"""What is dropped beside the plain table and the plain scan: its right number, or words in each language."""

from __future__ import annotations

import io
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.study.predict import predict_patient
from hepacast.web.messages import languages, messages

from .test_patient_screen import IMAGE, MASK, OLD, SAME, asked, code_of, waited

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_volume import write_volume_as_dicom

LABS = {"alb": "38"}


def said_in_each_language(text: str) -> None:
    """Every sentence of an error is in the catalogues."""
    for language in set(languages()) - {"en"}:
        keys = [re.escape(key) for key in messages(language)["said"] if len(re.findall(r"[a-z]{2,}", key)) > 1]
        sure = re.compile("|".join(key.replace(r"\{\}", ".*").replace(r"\{\#\}", ".*") for key in keys), re.DOTALL)
        pieces = [text] if sure.fullmatch(text) else text.split("; ")
        assert all(sure.fullmatch(piece) for piece in pieces), (language, text)


def told(error: dict) -> str:
    for part in ("message", "remedy"):
        if error.get(part):
            said_in_each_language(error[part])
    return " ".join(str(value) for value in error.values() if value)


@pytest.fixture
def model(site):
    shutil.copy(OLD / "2313617" / "ptlf.hepacast", site.places.roots[0] / "images.hepacast")
    return "images.hepacast"


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return packed.getvalue()


def predicted(client, model, scan: bytes, name: str = "scan.zip", mask: bytes | None = None):
    files = [(f"image/0/{name}", scan), ("mask/mask.nii.gz", MASK.read_bytes() if mask is None else mask)]
    answer = asked(client, code_of(client, model), LABS, files, accept="yes")
    return waited(client, answer.json()["prediction"]) if answer.status_code == 200 else {"error": answer.json()}


def scans(folder: Path, number: int, **attributes) -> None:
    write_volume_as_dicom(folder / f"s{number}", read_volume(IMAGE), **attributes)


def report(folder: Path) -> None:
    """A PDF as scanners and dictation systems send it."""
    from pydicom import dcmread

    scans(folder, 1)
    one = dcmread(folder / "s1" / "000.dcm")
    shutil.rmtree(folder / "s1")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "ImagePositionPatient"):
        if keyword in one:
            delattr(one, keyword)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    one.Modality, one.MIMETypeOfEncapsulatedDocument, one.EncapsulatedDocument = "DOC", "application/pdf", b"%PDF-1.4"
    one.save_as(folder / "report.dcm")


def test_a_zip_from_which_nobody_can_tell_the_scan(client, model, tmp_path):
    kinds = {"patients": "PatientID", "series": "SeriesDescription"}
    for name, keyword in kinds.items():
        for number in (1, 2):
            scans(tmp_path / name, number, series=f"1.2.3.{number}", **{keyword: f"portal {number}"})
        assert "2 series or phases; which one is meant" in told(
            predicted(client, model, zipped(tmp_path / name))["error"]
        )
    for number in (1, 2):
        scans(tmp_path / "mixed", number, PatientID=f"X{number}")
    assert "one folder a patient and series" in told(predicted(client, model, zipped(tmp_path / "mixed"))["error"])
    report(tmp_path / "report")
    assert "not part of a volume" in told(predicted(client, model, zipped(tmp_path / "report"))["error"])


def number_of_plain_scan():
    plain = predict_patient(OLD / "2313617/ptlf.hepacast", image=IMAGE, mask=MASK, labs=LABS, accept_doubtful=True)
    return pytest.approx(plain.to_json()["risk"], abs=SAME)


def test_a_compressed_scan_has_the_number_of_the_plain_one(client, model, tmp_path):
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    scans(tmp_path, 1)
    for path in (tmp_path / "s1").iterdir():
        one = dcmread(path)
        one.compress(RLELossless)
        one.save_as(path)
    assert predicted(client, model, zipped(tmp_path))["prediction"]["risk"] == number_of_plain_scan()


def test_a_scan_that_says_jpeg_2000_and_is_none(client, model, tmp_path):
    """A damaged or unknown compression never becomes a number."""
    from pydicom import dcmread
    from pydicom.encaps import encapsulate

    scans(tmp_path, 1)
    for path in (tmp_path / "s1").iterdir():
        one = dcmread(path)
        one.PixelData = encapsulate([bytes(1000)])
        one["PixelData"].is_undefined_length = True
        one.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        one.save_as(path)
    assert "cannot be decoded" in told(predicted(client, model, zipped(tmp_path))["error"])


def test_a_mask_of_another_grid(client, model, tmp_path):
    mask = read_volume(MASK)
    grid = mask.geometry
    size = grid.shape[::-1]
    moved = Geometry(size, grid.spacing, tuple(value + 7 for value in grid.origin), grid.direction)
    less = Geometry((*size[:2], size[2] - 1), grid.spacing, grid.origin, grid.direction)
    for other in (Volume(mask.array, moved), Volume(mask.array[:-1], less)):
        path = tmp_path / "mask.nii.gz"
        write_volume(other, path)
        made = predicted(client, model, IMAGE.read_bytes(), "scan.nii.gz", path.read_bytes())
        assert "mask" in told(made["error"]), made


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def patients():
    g = np.random.default_rng(3)
    ids = [f"P{number:02d}" for number in range(30)]
    columns = {"ID": ids, "年龄": g.integers(40, 80, 30), "AFP": (g.random(30) * 50).round(2)}
    return pd.DataFrame(columns | {"death": g.integers(0, 2, 30)})


def workbook(rows, merged=()) -> bytes:
    book, packed = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(list(row))
    for area in merged:
        book.active.merge_cells(area)
    book.save(packed)
    return packed.getvalue()


def described(client, name: str, content: bytes) -> dict:
    """Table 1 of a dropped table, or the error."""
    got = client.post("/api/statistics/tables", files={"file": (name, content)})
    if got.status_code != 200:
        return {"error": got.json()}
    asked_for = {"table": got.json()["table"], "categorical": [], "options": {"by": "death"}}
    made = client.post("/api/statistics/run/describe", json=asked_for).json()
    return {"rows": got.json()["rows"], "cells": [row["cells"] for row in made["parts"][0]["table"]["rows"]]}


def test_a_table_of_any_kind_has_the_numbers_of_the_plain_one(client, patients, tmp_path):
    plain = patients.to_csv(index=False)
    comma = patients.to_csv(index=False, sep=";", decimal=",")
    rows = [list(patients.columns), *patients.astype(object).to_numpy().tolist()]
    expected = described(client, "plain.csv", plain.encode())
    assert expected["rows"] == 30 and len(expected["cells"]) == 2
    grouped = workbook([["患者", None, "化验", None], *rows], ["A1:B1", "C1:D1"])
    kinds = {
        "semicolon.csv": comma.encode("utf-8-sig"), "chinese.csv": plain.encode("gb18030"),
        "both.csv": comma.encode("gb18030"), "merged.xlsx": grouped,
    }  # fmt: skip
    pyreadstat = pytest.importorskip("pyreadstat")
    pyreadstat.write_sav(patients.rename(columns={"年龄": "V1"}), tmp_path / "t.sav", column_labels={"V1": "年龄"})
    for name, content in kinds.items():
        assert described(client, name, content) == expected, name
    of_spss = described(client, "t.sav", (tmp_path / "t.sav").read_bytes())
    assert [cells[1:] for cells in of_spss["cells"]] == [cells[1:] for cells in expected["cells"]]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_table_that_cannot_be_read_as_it_is(client, patients):
    rows = patients.astype(object).to_numpy().tolist()
    twice = described(client, "twice.xlsx", workbook([["ID", "AFP", "AFP", "death"], *rows]))
    assert "rename one" in told(twice["error"])
    old = described(client, "old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "save it as .xlsx" in told(old["error"])
