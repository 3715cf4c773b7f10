"""Tables of features, of patients to measure, and lists of patients: read as the clinical table is."""

import json

import numpy as np
import openpyxl
import pandas as pd
import pytest

from hepacast.cohort.split import read_patient_list, split_by_list
from hepacast.core.files import write_text
from hepacast.errors import HepacastError, StudyFileError, TableError
from hepacast.modelling.predictions import Predictions
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import concat_long, to_wide
from hepacast.study.check import check_study
from hepacast.study.context import make_context
from hepacast.study.extract_patients import _read_patients
from hepacast.study.measured_features import MeasuredFeatures
from hepacast.study.run import run_study
from hepacast.study.stages import radiomics
from hepacast.study.stages.feature_table import read_feature_table
from hepacast.study.validate import validate_model

pytestmark = pytest.mark.usefixtures("figures_as_words")

STUDY = """hepacast: 1
name: features
seed: 3
cohort:
  table: clinical.csv
  id: Pat
  columns:
    age: {{column: Age, unit: years}}
    relapse: {{column: Relapse, kind: binary, after_event: true}}
outcome: {{definition: binary-column, column: relapse}}
{features}
modelling:
  candidates: [age]
  models: [clinical]
  validation: {{folds: 3, repeats: 1, bootstrap: 0, importance: 0, learning_curve: 0, usual_way: false}}
evaluation: {{bootstrap: 0}}
"""
N = 24


def features(ids):
    r = np.random.default_rng(5)
    table = pd.DataFrame(r.normal(size=(len(ids), 3)).round(3) * 1000, columns=["t_a", "t_b", "t_c"]).round(1)
    table.insert(0, "Pat", ids)
    return table


@pytest.fixture
def study(tmp_path):
    """`study(name, ids=...)`: the folder of a study whose feature table has this name."""

    def write(features_part, ids):
        r = np.random.default_rng(4)
        clinical = pd.DataFrame({"Pat": ids, "Age": r.integers(40, 80, len(ids)), "Relapse": [0, 1] * (len(ids) // 2)})
        clinical.to_csv(tmp_path / "clinical.csv", index=False)
        write_text(tmp_path / "study.yaml", STUDY.format(features=features_part))
        return tmp_path

    return write


def table_part(name):
    return f"features: {{table: {name}, id: Pat, vois: {{tumor: t_}}}}"


IDS = [f"{i:03d}" for i in range(1, N + 1)]


def write_workbook(path, table, change=None):
    book = openpyxl.Workbook()
    page = book.active
    page.append(["features of the tumor"])
    page.append(list(table.columns))
    for row in table.itertuples(index=False):
        page.append([item.item() if hasattr(item, "item") else item for item in row])
    if change:
        change(book, page)
    book.save(path)


@pytest.mark.parametrize("kind", ["comma", "german", "utf-16", "gb18030", "xlsx", "xlsx of numbers", "parquet"])
def test_the_same_features_from_any_file(tmp_path, study, kind):
    table = features(IDS)
    name = {"xlsx": "f.xlsx", "xlsx of numbers": "f.xlsx", "parquet": "f.parquet"}.get(kind, "f.csv")
    if kind == "german":
        (tmp_path / name).write_bytes(b"sep=;\r\n" + table.to_csv(index=False, sep=";", decimal=",").encode("cp1252"))
    elif name == "f.csv":
        text = table.assign(备注="正常").to_csv(index=False)
        (tmp_path / name).write_bytes(text.encode("utf-8" if kind == "comma" else kind))
    elif kind == "parquet":
        table.to_parquet(tmp_path / name)
    elif kind == "xlsx":
        write_workbook(tmp_path / name, table)
    else:

        def shown_with_zeros(book, page):
            for row in range(3, N + 3):
                page.cell(row, 1).number_format = "000"

        write_workbook(tmp_path / name, table.assign(Pat=range(1, N + 1)), shown_with_zeros)
    wide, _ = read_feature_table(make_context(study(table_part(name), IDS)))
    assert list(wide.index) == IDS
    np.testing.assert_allclose(wide.to_numpy(), table[["t_a", "t_b", "t_c"]].to_numpy())


def test_numbers_with_two_readings_and_totals_of_features(tmp_path, study):
    lines = ["Pat;t_a;t_b", *(f"{i};{'1,234' if i == '003' else '2,345'};7" for i in IDS), "Mean;2,3;7"]
    (tmp_path / "f.csv").write_text("\n".join(lines), encoding="utf-8")
    wide, findings = read_feature_table(make_context(study(table_part("f.csv"), IDS)))
    assert len(wide) == N and {"total-row"} <= {item.code for item in findings}
    wide, findings = (
        read_feature_table(make_context(study(table_part("f.csv").replace("f.csv", "g.csv"), IDS)))
        if ((tmp_path / "g.csv").write_text("\n".join(lines[:-1]), encoding="utf-8"))
        else (None, [])
    )
    assert [item.column for item in findings if item.code == "ambiguous-number"] == ["t_a"]


def test_other_spellings_of_identifiers_are_shown(tmp_path, study):
    features([str(int(i)) for i in IDS]).to_csv(tmp_path / "f.csv", index=False)
    text = check_study(study(table_part("f.csv"), IDS)).text()
    assert "'1' where the table has '001'" in text
    features([f"P-{i}" for i in IDS[:6]] + [f"p{i}" for i in IDS[6:]]).to_csv(tmp_path / "f.csv", index=False)
    result = check_study(study(table_part("f.csv"), [f"P-{i}" for i in IDS]))
    (told,) = [item for _, item in result.findings if item.code == "id-spelled-otherwise"]
    assert told.severity == "error" and "18 patients" in told.message and "'p007'" in told.message


def test_identifiers_that_lost_digits_are_refused_in_features_and_tables_of_images(tmp_path, study):
    table = features(IDS).assign(Pat=[110101199003070000 + i for i in range(N)])
    write_workbook(tmp_path / "f.xlsx", table)
    with pytest.raises(TableError, match="lost digits"):
        read_feature_table(make_context(study(table_part("f.xlsx"), IDS)))
    (tmp_path / "t.csv").write_text("patient,image,mask\n1.10101E+17,a.nii,m.nii\n", encoding="utf-8")
    with pytest.raises(TableError, match="lost digits"):
        _read_patients(tmp_path / "t.csv")


def test_files_under_another_spelling_are_shown(tmp_path, study):
    part = (
        "images: {sequences: {ct: {path: 'img/{patient}-ct.nii.gz'}}, "
        "segmentation: {source: given, masks: 'img/{patient}-ct.nii.gz', labels: {tumor: 1}}, vois: {tumor: tumor}}"
    )
    folder = study(part, IDS)
    (folder / "img").mkdir()
    for i in IDS:
        (folder / "img" / f"{int(i)}-ct.nii.gz").write_bytes(b"")
    assert "the ct images have '1' where the table has '001'" in check_study(folder).text()


@pytest.mark.parametrize(
    "content",
    [
        "Patient;Image;Mask\n007;增强图像.nii;m.nii\nTotal;1;1\n".encode("gb18030"),
        "sep=|\nPatient|Image|Mask\n007|增强图像.nii|m.nii\n".encode("utf-16"),
    ],
)
def test_the_table_of_patients_to_measure(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    frame, _ = _read_patients(path)
    assert frame[["patient", "image", "mask"]].to_numpy().tolist() == [["007", "增强图像.nii", "m.nii"]]


def test_an_image_is_no_table(tmp_path):
    with pytest.raises(StudyFileError, match="A mask is needed"):
        _read_patients(tmp_path / "liver.nii.gz")


def test_lists_of_patients(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("甲1\n001\n".encode("gb18030"))
    assert read_patient_list(path) == ["甲1", "001"]
    with pytest.raises(TableError, match="the lists have '1'"):
        split_by_list(["001", "002"], {"training": ["1"], "validation": ["002"]})


def test_points_that_group_thousands_in_a_file_of_decimal_commas_are_told(tmp_path, study):
    lines = ["Pat;t_a;t_b", *(f"{name};{place**2},5;1.{7 * place:03d}" for place, name in enumerate(IDS, 20))]
    (tmp_path / "f.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wide, findings = read_feature_table(make_context(study(table_part("f.csv"), IDS)))
    assert wide.iloc[0].tolist() == [400.5, 1140]
    assert ["24 cells of 't_b' such as '1.140'" in item.message for item in findings] == [True]


@pytest.mark.parametrize(
    ("voxels", "vois", "seconds", "gigabytes"),
    [(36_864, 2, 0.23, 0.33), (31_195_136, 2, 5.05, 0.94)],
    ids=["phantom", "CT of the liver, 512 x 512 x 119"],
)
def test_the_time_of_measuring_is_foreseen_within_a_factor_of_one_and_a_half(
    tmp_path, study, monkeypatch, voxels, vois, seconds, gigabytes
):
    """Seconds of one patient and memory of the process were measured with recipe ptlf on one core."""
    monkeypatch.setattr(radiomics, "typical_voxels", lambda context: float(voxels))
    monkeypatch.setattr(radiomics, "imaged_patients", lambda context: 10)
    named = ", ".join(f"v{number}: tumor" for number in range(vois))
    part = (
        "images: {sequences: {ct: {path: 'img/{patient}-ct.nii.gz'}}, "
        "segmentation: {source: given, masks: 'img/{patient}-ct.nii.gz', labels: {tumor: 1}}, "
        f"vois: {{{named}}}}}"
    )
    context = make_context(study(part, IDS), workers=1)
    cost = radiomics.STAGE.cost(context)
    assert 10 * seconds / 1.5 < cost.seconds < 10 * seconds * 1.5
    assert gigabytes / 1.5 < cost.memory / 1e9 < gigabytes * 1.5
    assert radiomics.STAGE.cost(make_context(tmp_path, workers=2)).seconds == pytest.approx(cost.seconds / 2)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("vois", [("tumor",), ("liver", "tumor")], ids=["one VOI", "two VOIs"])
def test_what_extract_wrote_is_a_feature_table(tmp_path, study, ending, vois):
    """One row a value (Parquet) or one row a patient and VOI (CSV): both are one row a patient of the study."""
    random = np.random.default_rng(1)
    results = {
        patient: {voi: VoiResult.of(voi, ["a", "b"], dict(zip("ab", random.normal(size=2))), {}) for voi in vois}
        for patient in IDS
    }
    results["003"]["tumor"] = VoiResult.failed("tumor", ["a", "b"], "The VOI is empty.")
    parts = [ExtractionResult(own, "h", "E").to_long(patient) for patient, own in results.items()]
    long = concat_long(parts, settings_hash="h", engine="E")
    MeasuredFeatures((), Settings.load("ptlf"), patients=long).write(tmp_path / f"f.{ending}")
    part = f"features: {{table: f.{ending}, id: patient}}"
    wide, _ = read_feature_table(make_context(study(part, IDS)))
    expected = to_wide(long)
    if ending == "csv" and len(vois) == 1:
        # One row a patient is a wide table whatever it was before.
        expected.columns = [name.replace("tumor:", "voi:") for name in expected.columns]
    pd.testing.assert_frame_equal(wide[list(expected.columns)], expected, check_exact=True, check_names=False)
    assert wide.shape == expected.shape


def test_a_value_that_stands_twice_in_a_long_table_is_refused(tmp_path, study):
    long = pd.DataFrame({"patient": ["001", "001"], "voi": "t", "feature": "a", "value": [1.0, 2.0]})
    long.to_parquet(tmp_path / "f.parquet")
    with pytest.raises(TableError, match="stands twice"):
        read_feature_table(make_context(study("features: {table: f.parquet, id: patient}", IDS)))


@pytest.mark.parametrize("chain", ["ptlf", "auto"])
def test_a_model_of_a_feature_table_is_validated_on_another_hospitals_table(tmp_path, study, chain):
    """Its own patients as if they were another hospital's: the risks are those of the study."""
    study(table_part("f.csv"), IDS)
    folder = tmp_path
    generator = np.random.default_rng(2)
    clinical = pd.read_csv(folder / "clinical.csv", dtype={"Pat": str})
    table = features(IDS)
    table["t_a"] += 2500 * clinical["Relapse"] + generator.normal(0, 900, N)
    table.to_csv(folder / "f.csv", index=False)
    text = (folder / "study.yaml").read_text()
    models = f"  models: [clinical, radiomics]\n  chain: {chain}"
    (folder / "study.yaml").write_text(text.replace("  models: [clinical]", models))
    out = run_study(folder, workers=1, until="bundle").out
    other = tmp_path / "other"
    other.mkdir()
    clinical.to_csv(other / "clinical.csv", index=False)
    table[["Pat", "t_a", "t_c", "t_b"]].iloc[:-1].to_csv(other / "f.csv", index=False)
    (other / "study.yaml").write_text(text)
    validate_model(out / "bundle" / "model.hepacast", other, workers=1)
    found = Predictions.read(other / "validation" / "modelling" / "predictions.parquet").table.set_index("patient")
    own = Predictions.read(out / "modelling" / "predictions.parquet").table
    own = own[(own["kind"] == "apparent") & (own["model"] == "radiomics")].set_index("patient")
    assert len(found) == N - 1 and found["risk"].nunique() > 10
    np.testing.assert_allclose(found["risk"], own.loc[found.index, "risk"], atol=1e-6)
    flow = json.loads((other / "validation" / "modelling" / "flow.json").read_text())
    (lost,) = [step for step in flow["excluded"] if step["patients"]]
    assert lost["patients"] == [IDS[-1]] and lost["reason"] == "no radiomics features"
    renamed = table_part("f.csv").replace("tumor", "liver")
    for part, told in (("", "was made from a table of features"), (renamed, "lacks features")):
        (other / "study.yaml").write_text(text.replace(table_part("f.csv"), part))
        with pytest.raises(HepacastError, match=told):
            validate_model(out / "bundle" / "model.hepacast", other, out=tmp_path / "none", workers=1)
