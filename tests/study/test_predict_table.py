"""A table of patients gives the very risks of one patient after the other; who has none has a reason."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hepacast.bundle import Bundle, predict
from hepacast.cli.main import app
from hepacast.errors import BundleError, StudyFileError, TableError
from hepacast.study.predict_table import predict_table

OLD = Path(__file__).resolve().parents[1] / "bundle" / "old"
COX, PTLF = OLD / "2313617" / "cox.hepacast", OLD / "2313617" / "ptlf.hepacast"


def written(folder, text):
    path = folder / "patients.csv"
    path.write_text(text, encoding="utf-8")
    return path


def own_folder_in(folder):
    (folder / "own").mkdir()
    return folder / "own"


@pytest.fixture
def image_folder(tmp_path):
    for name in ("A1", "B2"):
        shutil.copy(OLD / "images" / "ptlf-P001-portal.nii.gz", tmp_path / f"{name}.nii.gz")
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("A1", "B2"):
        shutil.copy(OLD / "images" / "ptlf-P001-mask.nii.gz", masks / f"{name}.nii.gz")
    return tmp_path


def test_every_row_is_the_patient_predicted_alone(tmp_path):
    rows = [("A", "6.1", "39.8", "1.09"), ("B", "3", "3.1 g/dL", "1.4"), ("C", "", "41", "1.1")]
    table = written(tmp_path, "Patient ID,size,albumin,inr\n" + "\n".join(",".join(row) for row in rows) + "\n")
    found = predict_table(COX, table, out=tmp_path / "out", workers=1)
    bundle = Bundle.read(COX)
    for (patient, size, albumin, inr), (_, row) in zip(rows, found.to_frame().iterrows()):
        alone = predict(bundle, {"size": size or "NA", "albumin": albumin, "inr": inr})
        assert (row["patient"], row["risk"], row["low"], row["high"]) == (patient, alone.risk, alone.low, alone.high)
        assert row["risk by 12 months"] == alone.horizons[0].risk
    again = pd.read_csv(tmp_path / "out" / "risks.csv")
    assert again["risk"].tolist() == found.table["risk"].tolist() and list(again["status"]) == ["ok"] * 3


def test_who_cannot_be_predicted_says_why_and_the_others_are(tmp_path):
    table = written(tmp_path, "id,size,albumin,inr\n007,6.1,39.8,1.09\n008,6.1,<20,1.09\n009,6.1,39.8,900\n")
    found = predict_table(COX, table, out=tmp_path / "out", workers=1)
    assert found.table["status"].tolist() == ["ok", "failed", "failed"]
    assert "limit" in found.failed["008"] and "not possible" in found.failed["009"]
    assert "2 of" not in found.text() and "1 of 3 patients have a risk" in found.text()
    assert pd.read_csv(tmp_path / "out" / "risks.csv", dtype={"patient": str})["patient"].tolist() == [
        "007",
        "008",
        "009",
    ]


def test_a_table_that_no_patient_can_be_predicted_from_is_refused(tmp_path):
    with pytest.raises(TableError, match="lacks columns") as told:
        predict_table(COX, written(tmp_path, "id,size,albumin\nA,6.1,39.8\nB,5,40\n"), out=tmp_path / "out")
    assert "inr" in str(told.value.found) and not (tmp_path / "out").exists()
    with pytest.raises(TableError, match="stands twice"):
        predict_table(COX, written(tmp_path, "id,size,albumin,inr\nA,6,40,1\nA,5,40,1\n"), out=tmp_path / "out")
    with pytest.raises(BundleError, match="No patient of 1"):
        predict_table(COX, written(tmp_path, "patient,size,albumin,inr\nA,6.1,39.8,900\n"), out=tmp_path / "out")
    assert "not possible" in (tmp_path / "out" / "risks.csv").read_text(encoding="utf-8-sig")


def test_images_lie_in_a_folder_by_name_or_in_columns_and_are_measured_once(image_folder, monkeypatch):
    table = written(image_folder, "patient,alb\nA1,28.7\nB2,28.7\nC3,28.7\n")
    given = {"images": image_folder, "masks": image_folder / "masks", "workers": 1}
    found = predict_table(PTLF, table, out=image_folder / "out", pages=True, **given)
    assert found.table["risk"].tolist()[:2] == pytest.approx([0.9666192956195209] * 2, rel=1e-6)
    assert "No file bears the patient's name" in found.failed["C3"]
    assert (image_folder / "out" / "patients" / "A1" / "prediction.pdf").is_file()
    monkeypatch.setattr("hepacast.study.predict_table.predict_patient", None)  # what is kept is not made again
    assert predict_table(PTLF, table, out=image_folder / "out", pages=True, **given).table.equals(found.table)
    monkeypatch.undo()
    shutil.copy(image_folder / "A1.nii.gz", image_folder / "scan.nii.gz")
    columns = written(own_folder_in(image_folder), "patient,alb,image,mask\nX,28.7,../scan.nii.gz,../masks/A1.nii.gz\n")
    by_column = predict_table(PTLF, columns, out=image_folder / "columns", workers=1)
    assert by_column.table["risk"].tolist() == found.table["risk"].tolist()[:1]
    text = f"{image_folder}/{{patient}}.nii.gz"
    by_pattern = predict_table(PTLF, table, out=image_folder / "p", images=text, masks=given["masks"], workers=1)
    assert by_pattern.table["risk"].tolist()[:2] == found.table["risk"].tolist()[:2]


def test_rows_that_may_be_one_patient_are_told(image_folder):
    rows = [f"{name},28.7,{image}.nii.gz,masks/A1.nii.gz" for name, image in (("p1", "A1"), ("P01", "B2"), ("X", "A1"))]
    table = written(image_folder, "\n".join(["patient,alb,image,mask", *rows]))
    found = predict_table(PTLF, table, out=image_folder / "out", workers=1)
    similar, same = found.remarks
    assert "'p1', 'P01' differ only in case, zeros" in similar and "p1, X have one and the same image" in same
    near = predict_table(PTLF, written(image_folder, "patient,alb\na1,28.7\nB2,28.7\n"), out=image_folder / "near",
                         images=image_folder, masks=image_folder / "masks", workers=1)  # fmt: skip
    assert "'A1' where the table has 'a1'" in near.failed["a1"] and len(near.failed) == 1


def test_an_identifier_leaves_no_folder(image_folder):
    table = written(image_folder, "patient,alb\n../A1,28.7\nA1,28.7\n")
    found = predict_table(
        PTLF, table, out=image_folder / "out", images=image_folder / "masks", masks=image_folder / "masks",
        accept_doubtful=True, workers=1,
    )  # fmt: skip
    assert "cannot be the name of a file" in found.failed["../A1"]


def test_the_command_and_what_it_refuses(tmp_path):
    table = written(tmp_path, "patient,size,albumin,inr\nA,6.1,39.8,1.09\n")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["predict", str(COX), "--table", str(table), "--out", str(out), "-w", "1"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 patients have a risk" in done.output and (out / "risks.csv").is_file()
    for wrong in (["--table", str(table)], ["--pages", "inr=1"], ["--table", str(table), "--out", str(out), "inr=1"]):
        failed = CliRunner().invoke(app, ["predict", str(COX), *wrong])
        assert isinstance(failed.exception, StudyFileError), wrong
