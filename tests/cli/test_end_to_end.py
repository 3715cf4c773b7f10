"""The program as a user runs it: from table and images to the report, and from a new patient to a risk."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import docx
import numpy as np
import pandas as pd
import psutil
import pytest

from hepacast.core.files import read_json
from hepacast.core.kept import read_record, write_record
from hepacast.imaging.io import read_labelmap, read_volume, write_volume
from hepacast.imaging.volume import Volume
from hepacast.study.load import load_study

STAGES = ["cohort", "segmentation", "radiomics", "modelling", "evaluation", "bundle", "report"]


def read_bundle(path):
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def state(folder):
    return {item: item.stat().st_mtime_ns for item in folder.rglob("*") if item.name != ".lock"}


def predictions(out):
    return pd.read_parquet(out / "modelling" / "predictions.parquet")


# -- what a run leaves -------------------------------------------------------------------------------------------------


def test_the_run_says_where_report_and_model_are(finished):
    assert f"Report: {finished.out / 'report' / 'report.html'}" in finished.answer.out
    assert f"Model:  {finished.bundle}" in finished.answer.out
    assert "Research use only" in finished.answer.out
    for stage in STAGES:
        assert f"{stage}: " in finished.answer.err


def test_report_is_one_page_that_needs_nothing_else(finished):
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((finished.out / "report").glob("*.html")))
    assert not re.findall(r'<(?:img|script|link|iframe|source)[^>]+(?:src|href)\s*=\s*["\']?+(?!data:|#)', text)
    assert not re.findall(r"url\(\s*['\"]?+(?!data:|#)", text)
    assert "@import" not in text
    for words in ("PTLF", "INR", "Radscore", "nested", "Research use only", "Methods"):
        assert words in text


def test_every_table_and_figure_is_there_as_a_file(finished):
    report = finished.out / "report"
    text = "".join(page.read_text(encoding="utf-8") for page in sorted(report.glob("*.html")))
    tables = sorted(item.stem for item in (report / "tables").glob("*.csv"))
    assert len(tables) >= 8
    for name in tables:
        with (report / "tables" / f"{name}.csv").open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream))
        assert len(rows) >= 2, name
        document = docx.Document(str(report / "tables" / f"{name}.docx"))
        assert document.tables, name
        assert document.tables[0].rows[0].cells
    for name in {re.sub(r"\d*$", "", item).rstrip("-") for item in tables}:
        assert name.replace("-", " ") in text.lower()
    figures = {item.stem for item in (report / "figures").iterdir()}
    assert len(figures) >= 10
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for name in figures:
        for suffix, start in starts.items():
            assert (report / "figures" / f"{name}{suffix}").read_bytes().startswith(start), name


def test_run_json_says_how_it_was_made(finished):
    run = read_json(finished.out / "run.json")
    assert [item["name"] for item in run["stages"]] == STAGES
    assert not any(item["cached"] for item in run["stages"])
    assert run["seed"] == 7
    assert {"numpy", "scipy", "scikit-learn"} <= set(run["packages"])
    assert {item["path"] for item in run["inputs"]} >= {"clinical table", "images portal", "expert masks"}
    assert all(re.fullmatch("[0-9a-f]{64}", item["sha256"]) for item in run["inputs"])
    assert run["checks"]
    assert all(check["passed"] for check in run["checks"])
    assert load_study(finished.out / "study.resolved.yaml") == load_study(finished.folder)
    for stage in STAGES:
        assert read_json(finished.out / stage / "stage.json")["key"] in {item["key"] for item in run["stages"]}


def test_nobody_vanishes(finished):
    table = pd.read_csv(finished.folder / "clinical.csv", dtype=str)
    flow = read_json(finished.out / "modelling" / "flow.json")
    left_out = [patient for step in flow["excluded"] for patient in step["patients"]]
    frame = predictions(finished.out)
    assert flow["reviewed"] == len(table) == len(left_out) + flow["included"]
    assert flow["included"] == 68
    assert set(frame["patient"]) == set(table["patient"]) - set(left_out)
    assert (frame[frame["kind"] == "nested"].groupby(["repeat", "model"])["patient"].nunique() == 44).all()
    assert len(frame[frame["kind"] == "frozen"]) == 24 * 3


def test_planted_predictors_are_offered_and_inr_is_found(finished):
    models = read_json(finished.out / "modelling" / "models.json")
    assert models["names"] == ["clinical", "radiomics", "combined"]
    assert "inr" in models["clinical"]["selected"]
    evaluation = read_json(finished.out / "evaluation" / "evaluation.json")
    assert set(evaluation["sets"]) == {"training", "validation", "nested"}


# -- again: nothing to do, a plan, a part ------------------------------------------------------------------------------


def test_second_run_finds_everything_and_writes_nothing(finished, hepacast):
    before = state(finished.out)
    answer = hepacast("run", finished.folder)
    assert answer.code == 0, answer.err
    assert f"Kept from an earlier run: {', '.join(STAGES)}." in answer.out
    assert state(finished.out) == before


def test_dry_run_prints_the_plan_and_writes_nothing(finished, hepacast, tmp_path):
    answer = hepacast("run", finished.folder, "--dry-run", "--out", tmp_path / "new")
    assert answer.code == 0, answer.err
    assert not (tmp_path / "new").exists()
    for stage in STAGES:
        assert re.search(rf"^  {stage} .*to run, about .*", answer.out, re.MULTILINE), answer.out
    assert "In all about" in answer.out
    before = state(finished.out)
    again = hepacast("run", finished.folder, "--dry-run")
    assert again.out.count("cached") == len(STAGES)
    assert "Nothing to do." in again.out
    assert state(finished.out) == before


def test_a_change_redoes_what_depends_on_it_and_no_more(finished, hepacast, tmp_path):
    """The plan is enough to see it; a parameter file counts by its content."""
    folder = tmp_path / "changed"
    shutil.copytree(finished.folder, folder)
    text = (folder / "study.yaml").read_text(encoding="utf-8")

    def to_run():
        plan = hepacast("run", folder, "--dry-run").out
        return [stage for stage in STAGES if re.search(rf"^  {stage} .*to run", plan, re.MULTILINE)]

    assert to_run() == []
    (folder / "study.yaml").write_text(text.replace("formats: [html]", "formats: [html, docx]"), encoding="utf-8")
    assert to_run() == ["report"]
    (folder / "study.yaml").write_text(text.replace("alpha: 0.3", "alpha: 0.2"), encoding="utf-8")
    assert to_run() == STAGES[3:]
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    (folder / "fast.yaml").write_text((folder / "fast.yaml").read_text().replace("25", "20"))
    assert to_run() == STAGES[2:]
    table = (folder / "clinical.csv").read_text()
    (folder / "clinical.csv").write_text(table.replace("P001,1,", "P001,2,", 1))
    assert to_run() == STAGES


def test_one_run_at_a_time(finished, hepacast):
    from hepacast.core.lock import hold_folder

    code = f"""
from hepacast.core.lock import hold_folder
with hold_folder({str(finished.out)!r}):
    print("held", flush=True)
    input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        answer = hepacast("run", finished.folder)
    finally:
        other.kill()
        other.communicate()
    assert answer.code == 2
    assert "Another run is writing into this folder" in answer.err
    with hold_folder(finished.out):
        pass


# -- the model's file --------------------------------------------------------------------------------------------------


def test_bundle_holds_no_patient_and_no_pickle(finished):
    table = pd.read_csv(finished.folder / "clinical.csv", dtype=str)
    with zipfile.ZipFile(finished.bundle) as archive:
        assert set(archive.namelist()) == {
            "manifest.json",
            "card.json",
            "clinical.json",
            "features.json",
            "models.json",
            "nomogram.json",
            "training.json",
        }
        for name in archive.namelist():
            content = archive.read(name)
            json.loads(content)
            found = re.findall(rb"P\d{3}", content)
            assert not found, f"{name} names patients: {found[:3]}"
            assert not [patient for patient in table["patient"] if f'"{patient}"'.encode() in content]
            assert str(finished.folder).encode() not in content, f"{name} names a folder of this machine"
    assert finished.bundle.read_bytes() == (finished.out / "bundle" / "model.hepacast").read_bytes()


def risk_by_hand(bundle, features, labs, model="combined"):
    """The combined model's risk from the bundle's numbers, with nothing of hepacast."""
    content = read_bundle(bundle)["models.json"]
    score = content["score"]["intercept"] + sum(
        item["weight"] * (features[item["name"]] - item["mean"]) / item["sd"] for item in content["score"]["features"]
    )
    fitted = content["models"][model]
    values = {"Radscore": score, **labs}
    lp = fitted["coefficients"][0] + sum(
        beta * values[term["source"]] for term, beta in zip(fitted["terms"], fitted["coefficients"][1:], strict=True)
    )
    return 1 / (1 + math.exp(-lp))


def features_of(finished, patient):
    table = pd.read_parquet(finished.out / "radiomics" / "features.parquet")
    table = table[table["patient"] == patient]
    return dict(zip(table["voi"] + ":" + table["feature"], table["value"], strict=True))


@pytest.fixture(scope="module")
def new_patient(finished):
    """A patient of the validation set with a recorded risk."""
    frozen = predictions(finished.out).query("kind == 'frozen' and model == 'combined'").set_index("patient")
    return frozen.index[3], float(frozen["risk"].iloc[3])


def test_predict_gives_the_frozen_risk(finished, hepacast, new_patient, tmp_path):
    patient, recorded = new_patient
    out = tmp_path / "prediction"
    words = ["predict", finished.bundle, *finished.image(patient), "--labs", *finished.labs(patient)]
    answer = hepacast(*words, "--out", out, "--json", "--quiet")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result == read_json(out / "prediction.json")
    assert result["risk"] == pytest.approx(recorded, rel=1e-12)
    labs = {name: float(value) for name, value in (item.split("=") for item in finished.labs(patient))}
    by_hand = risk_by_hand(finished.bundle, features_of(finished, patient), labs)
    assert result["risk"] == pytest.approx(by_hand, rel=1e-12)
    assert result["low"] < result["risk"] < result["high"]
    assert result["group"] == ("high risk" if result["risk"] >= result["cutoff"] else "low risk")
    assert sum(result["points"].values()) == pytest.approx(result["total_points"])
    assert result["notice"].startswith("Research use only")
    assert (out / "prediction.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")
    text = hepacast(*words, "--quiet")
    assert f"risk {result['risk']:.1%}" in text.out
    assert "Research use only" in text.out


def test_shares_add_up_to_the_log_odds_against_the_mean_patient(finished, hepacast, new_patient):
    patient, _ = new_patient
    words = ["predict", finished.bundle, *finished.image(patient), "--labs", *finished.labs(patient)]
    result = json.loads(hepacast(*words, "--json", "--quiet").out)
    fitted = read_bundle(finished.bundle)["models.json"]["models"]["combined"]
    mean = fitted["coefficients"][0] + sum(
        beta * term["mean"] for term, beta in zip(fitted["terms"], fitted["coefficients"][1:], strict=True)
    )
    assert sum(item["contribution"] for item in result["shares"]) == pytest.approx(result["linear_predictor"] - mean)


def clinical(finished, hepacast, *labs):
    answer = hepacast("predict", finished.bundle, "--model", "clinical", "--json", "--quiet", *labs)
    return answer, json.loads(answer.out) if answer.code == 0 else None


def test_units_and_decimal_commas(finished, hepacast):
    _, plain = clinical(finished, hepacast, "inr=1.2", "alb=38")
    for labs in (
        ["inr=1.2", "alb=3.8 g/dL"],
        ["inr=1,2", "alb=38,0 g/L"],
        ["inr=1.2,alb=38"],
        ["--labs", "inr=1.2", "--labs", "ALB=38"],
        ["INR=1.2", "Albumin=38"],
    ):
        _, other = clinical(finished, hepacast, *labs)
        assert other["risk"] == pytest.approx(plain["risk"], rel=1e-12), labs
    assert plain["values"] == {"INR": "1.2", "Albumin": "38 g/L"}
    assert plain["radscore"] is None


def test_clinical_values_that_cannot_be_used(finished, hepacast):
    cases = {
        ("inr=1.2",): ("Clinical values are missing", "no alb"),
        ("inr=1.2", "albumine=38"): ("knows no clinical value 'albumine'", "did you mean 'alb'"),
        ("inr=12", "alb=38"): ("INR of 12 is not possible", "0.5 to 10"),
        ("inr=1.2", "alb=3.8"): ("Albumin of 3.8 g/L is not possible", "g/dL"),
        ("inr=1.2", "alb=high"): ("high",),
        ("inr=1.2", "alb=38 furlongs"): ("furlongs",),
        ("inr=1.2", "inr=1.3", "alb=38"): ("given twice",),
        ("inr",): ("name=value",),
        ("inr=1.2", "alb="): ("name=value",),
    }
    for labs, texts in cases.items():
        answer, _ = clinical(finished, hepacast, *labs)
        assert answer.code == 2, labs
        for text in texts:
            assert text in answer.err, (labs, answer.err)


def test_value_that_nobody_knows(finished, hepacast):
    _, result = clinical(finished, hepacast, "inr=NA", "alb=38")
    source = read_bundle(finished.bundle)["models.json"]["models"]["clinical"]["sources"]
    fill = {item["predictor"]["name"]: item["fill"] for item in source}
    _, filled = clinical(finished, hepacast, f"inr={fill['inr']}", "alb=38")
    assert result["risk"] == pytest.approx(filled["risk"])
    assert any("INR" in item for item in result["warnings"])
    assert result["values"]["INR"] == "not known"


def test_value_outside_the_training_range_warns(finished, hepacast):
    _, usual = clinical(finished, hepacast, "inr=1.1", "alb=38")
    _, result = clinical(finished, hepacast, "inr=2.4", "alb=38")
    assert usual["warnings"] == []
    assert len(result["warnings"]) == 1
    assert "INR (2.4)" in result["warnings"][0]


def test_models_images_and_bundles_that_cannot_be_used(finished, hepacast, tmp_path):
    labs = ("inr=1.2", "alb=38")
    image, mask = finished.image("P050")[1::2]
    damaged = tmp_path / "damaged.hepacast"
    damaged.write_bytes(finished.bundle.read_bytes()[:-400])
    cases = [
        ((finished.bundle, *labs), ("needs an image", "--model clinical")),
        ((finished.bundle, *labs, "--model", "klinical"), ("klinical", "clinical")),
        ((finished.bundle, *labs, "--image", tmp_path / "no.nii.gz"), ("does not exist",)),
        ((finished.bundle, *labs, "--image", image, "--mask", tmp_path / "no.nii.gz"), ("does not exist",)),
        ((finished.bundle, *labs, "--image", image, "--segmenter", "magic"), ("magic", "builtin")),
        ((finished.bundle, *labs, "--image", image, "--mask", mask, "--labels", "liver=1"), ("parenchyma",)),
        ((finished.bundle, "inr=1.2", "--image", image, "--segmenter", "magic"), ("Clinical values are missing",)),
        ((damaged, *labs), ("damaged",)),
        ((tmp_path / "no.hepacast", *labs), ("does not exist",)),
        ((finished.folder / "study.yaml", *labs), ("no bundle",)),
    ]
    for words, texts in cases:
        answer = hepacast("predict", *words, "--quiet", "--out", tmp_path / "out")
        assert answer.code == 2, (words, answer)
        for text in texts:
            assert text in answer.err, (words, answer.err)
    assert not (tmp_path / "out").exists()


def test_predict_refuses_images_and_masks_as_a_study_does(finished, hepacast, tmp_path):
    patient = finished.image("P050")
    image, mask = read_volume(patient[1]), read_labelmap(patient[3]).volume
    geometry = image.geometry
    moved = replace(geometry, origin=(geometry.origin[0] + 3.0, *geometry.origin[1:]))
    whole = Path(patient[1]).read_bytes()
    (tmp_path / "in").mkdir()
    cut, shifted, empty, one = (tmp_path / "in" / f"{name}.nii.gz" for name in ("cut", "shifted", "empty", "one"))
    cut.write_bytes(whole[: len(whole) // 2])
    write_volume(Volume(mask.array, moved), shifted)
    write_volume(mask.with_array(mask.array * 0), empty)
    write_volume(mask.with_array((mask.array == 1).astype(np.uint8)), one)
    (tmp_path / "file").write_text("no folder")
    cases = [
        (cut, patient[3], "out", "damaged or incomplete"),
        (patient[1], shifted, "out", "3.00 mm"),
        (patient[1], finished.image("P051")[1], "out", "an image, not a mask"),
        (patient[1], empty, "out", "empty"),
        (patient[1], one, "out", "tumor.*empty"),
        (patient[1], patient[3], "file", "cannot be written"),
    ]
    for a, b, out, text in cases:
        words = ("predict", finished.bundle, "--image", a, "--mask", b, "--labs", *finished.labs("P050"), "--quiet")
        answer = hepacast(*words, "--out", tmp_path / out)
        assert answer.code == 2, answer
        assert re.search(text, answer.err, re.DOTALL), answer.err
        assert "Traceback" not in answer.err
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "in"]


# -- one image ---------------------------------------------------------------------------------------------------------


def test_extract_gives_the_features_of_the_run(finished, hepacast, tmp_path):
    image, mask = finished.image("P050")[1::2]
    words = ["extract", image, mask, "--labels", "parenchyma=1,tumor=2", "--settings", finished.folder / "fast.yaml"]
    answer = hepacast(*words, "-o", tmp_path / "features.parquet", "--quiet")
    assert answer.code == 0, answer.err
    made = pd.read_parquet(tmp_path / "features.parquet")
    expected = features_of(finished, "P050")
    assert dict(zip(made["voi"] + ":" + made["feature"], made["value"], strict=True)) == expected
    assert hepacast(*words, "-o", tmp_path / "features.csv", "--quiet").code == 0
    wide = pd.read_csv(tmp_path / "features.csv").set_index("voi")
    for name, value in expected.items():
        voi, feature = name.split(":")
        assert wide.loc[voi, feature] == pytest.approx(value, rel=1e-12)


def test_extract_a_table_of_patients_keeps_those_who_fail(finished, hepacast, tmp_path):
    rows = [("P050", *finished.image("P050")[1::2]), ("P051", *finished.image("P051")[1::2])]
    cut = tmp_path / "cut.nii.gz"
    whole = Path(rows[0][2]).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    rows += [("X1", rows[0][1], str(tmp_path / "no.nii.gz")), ("X2", rows[0][1], str(cut))]
    pd.DataFrame(rows, columns=["patient", "image", "mask"]).to_csv(tmp_path / "patients.csv", index=False)
    words = ["extract", tmp_path / "patients.csv", "--labels", "parenchyma=1,tumor=2", "--workers", "1", "--quiet"]
    words += ["--settings", finished.folder / "fast.yaml"]
    answer = hepacast(*words, "-o", tmp_path / "out.parquet")
    assert answer.code == 0, answer.err
    assert "4 patients, 2 of them" in answer.out
    made = pd.read_parquet(tmp_path / "out.parquet")
    assert list(dict.fromkeys(made["patient"])) == ["P050", "P051", "X1", "X2"]
    bad = made[made["patient"].isin(["X1", "X2"])]
    assert (bad["status"] == "failed").all()
    assert bad["value"].isna().all()
    assert bad["reason"].str.len().gt(10).all()
    assert (made[~made["patient"].isin(["X1", "X2"])]["status"] == "ok").all()


def test_extract_and_segment_refuse_what_they_cannot_use(finished, hepacast, tmp_path):
    image, mask = finished.image("P050")[1::2]
    table, double = tmp_path / "t.csv", tmp_path / "d.csv"
    table.write_text("name,image\nx,y\n")
    double.write_text(f"patient,image,mask\nx,{image},{mask}\nx,{image},{mask}\n")
    fast, names = ("--settings", finished.folder / "fast.yaml"), ("--labels", "parenchyma=1,tumor=2")
    cases = [
        (("extract", image, mask, "--labels", "liver=one"), ("whole number",)),
        (("extract", image, mask, "--labels", "liver"), ("name=value",)),
        (("extract", image, mask, "--settings", "ptfl"), ("did you mean 'ptlf'",)),
        (("extract", image, mask, *fast, *names, "-o", tmp_path / "x.txt"), (".csv or .parquet",)),
        (("extract", image, mask, *fast), ("several labels",)),
        (("extract", image, mask, *fast, *names, "--vois", "ring"), ("NAME: EXPRESSION",)),
        (("extract", image, mask, *fast, "--labels", "tumor=2", "--vois", "a: liver - tumor"), ("liver",)),
        (("extract", image), ("mask",)),
        (("extract",), ("needed",)),
        (("extract", table, "-o", tmp_path / "x.csv"), ("patient, image, mask",)),
        (("extract", double, *fast, "-o", tmp_path / "x.csv"), ("twice",)),
        (("extract", tmp_path / "no.csv", "-o", tmp_path / "x.csv"), ("not found",)),
        (("extract", "--explain", "original_glcm_Idm2"), ("original_glcm_Idm2",)),
        (("segment", image, "-o", tmp_path / "m.nii.gz", "--model", "magic"), ("magic", "builtin")),
        (("segment", image, "-o", tmp_path / "m.nii.gz", "--model", f"nnunet:{tmp_path / 'no'}"), ("no",)),
        (("segment", image, "-o", tmp_path / "m.nii.gz", "--weights", tmp_path / "no.h5"), ("no.h5",)),
        (("segment", tmp_path / "no.nii.gz", "-o", tmp_path / "m.nii.gz"), ("does not exist",)),
        (("segment", image), ("output",)),
    ]
    for words, texts in cases:
        answer = hepacast(*words)
        assert answer.code == 2, (words, answer)
        for text in texts:
            assert text in answer.err, (words, answer.err)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["d.csv", "t.csv"]


def test_check_of_the_virtual_study(finished, hepacast):
    answer = hepacast("check", finished.folder)
    assert answer.code == 0
    assert "68 in the study" in answer.out
    assert "Ready to run." in answer.out


def test_report_needs_results_of_one_run(finished, hepacast, tmp_path):
    answer = hepacast("report", tmp_path)
    assert answer.code == 2
    assert "There are no results to report" in answer.err
    answer = hepacast("report", finished.out, "--formats", "html,odt")
    assert answer.code == 2
    assert "odt" in answer.err
    mixed = tmp_path / "mixed"
    shutil.copytree(finished.out, mixed, ignore=shutil.ignore_patterns("report", ".cache"))
    table = (
        (mixed / "cohort" / "table.csv")
        if (mixed / "cohort" / "table.csv").is_file()
        else mixed / "cohort" / "sets.csv"
    )
    table.write_bytes(table.read_bytes().replace(b"1", b"2", 1))
    answer = hepacast("report", mixed)
    assert answer.code == 2
    assert table.name in answer.err and "changed after the run" in answer.err
    table.write_bytes((finished.out / "cohort" / table.name).read_bytes())
    mark = read_record(mixed / "cohort" / "stage.json")
    write_record(mixed / "cohort" / "stage.json", {**mark, "key": "0" * 64})
    answer = hepacast("report", mixed)
    assert answer.code == 2
    assert "two different runs" in answer.err
    assert not (mixed / "report").exists()


# -- the same numbers whatever happens ---------------------------------------------------------------------------------

SAME = (
    "radiomics/features.parquet",
    "modelling/models.json",
    "modelling/frozen.json",
    "modelling/predictions.parquet",
    "modelling/validation.json",
    "evaluation/evaluation.json",
)


def same_numbers(one, other):
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_order_of_patients_and_number_of_processes_change_nothing(finished, hepacast, virtual_cohort, write_study):
    """Rows shuffled, one process instead of two: equal to the last byte."""
    n = len(pd.read_csv(virtual_cohort / "clinical.csv"))
    folder = write_study(order=np.random.default_rng(3).permutation(n))
    answer = hepacast("run", folder, "--workers", "1", "--until", "bundle", "--quiet")
    assert answer.code == 0, answer.err
    same_numbers(finished.out, folder / "results")
    one, other = read_bundle(finished.bundle), read_bundle(folder / "results" / "model.hepacast")
    # The shuffled table is another file, so the hashes of where the model comes from differ; nothing else does.
    for content in (one, other):
        content.pop("manifest.json")
        content["card.json"].pop("provenance")
    assert one == other


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "threads", "cores"), [(3, 2, None), (0, 1, 1), (1, 4, 1)])
def test_processes_threads_and_cores_change_no_byte_of_the_bundle(finished, tmp_path, workers, threads, cores):
    """A computer with one core, or one whose libraries use several threads, gives the same model."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("results"))
    command = [sys.executable, "-m", "hepacast.cli.main", "run", str(folder), "--until", "bundle", "--quiet"]
    if cores and shutil.which("taskset"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    subprocess.run([*command, "--workers", str(workers)], check=True, env=environment, stdout=subprocess.DEVNULL)
    same_numbers(finished.out, folder / "results")
    assert (folder / "results" / "model.hepacast").read_bytes() == finished.bundle.read_bytes()


def start(folder):
    command = [sys.executable, "-m", "hepacast.cli.main", "run", str(folder), "--workers", "2", "--until", "bundle"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))


def wait_for(ready, process, seconds=300.0):
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def measured(out):
    return sorted((out / ".cache" / "features").glob("P*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["segmentation", "radiomics", "modelling"])
def test_killed_and_started_again_gives_the_same_numbers(finished, program, tmp_path, stage):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("results"))
    out = folder / "results"
    moments = {
        "segmentation": lambda: len(list((out / ".segmentation.partial" / "masks").glob("P*"))) >= 5,
        "radiomics": lambda: len(measured(out)) >= 5,
        "modelling": lambda: (out / ".modelling.partial" / "frozen.json").is_file(),
    }
    process = start(folder)
    try:
        wait_for(moments[stage], process)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    assert not (out / stage).exists()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "workers outlive the killed run"
    kept = {item: item.stat().st_mtime_ns for item in measured(out)}
    answer = program("run", folder, "--workers", "2", "--until", "bundle")
    assert answer.code == 0, answer.err
    same_numbers(finished.out, out)
    assert (out / "model.hepacast").read_bytes() == finished.bundle.read_bytes()
    assert kept.items() <= {item: item.stat().st_mtime_ns for item in measured(out)}.items(), "measured again"
    assert not [item for item in out.rglob("*") if ".tmp-" in item.name or item.suffix in (".partial", ".old")]
    if stage != "segmentation":
        assert "segmentation: kept from an earlier run" in answer.err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_interrupted_by_the_user(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("results"))
    command = [sys.executable, "-m", "hepacast.cli.main", "run", str(folder), "--workers", "2"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background lets them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: len(measured(folder / "results")) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command again to go on" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_report_again_in_all_formats(finished, hepacast, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(finished.out, copy, ignore=shutil.ignore_patterns(".cache"))
    answer = hepacast("report", copy, "--formats", "html,pdf,docx")
    assert answer.code == 0, answer.err
    from pypdf import PdfReader

    pages = PdfReader(copy / "report" / "report.pdf").pages
    text = "".join(page.extract_text() for page in pages)
    assert len(pages) > 5
    assert "Radscore" in text
    document = docx.Document(str(copy / "report" / "report.docx"))
    assert len(document.tables) >= 5
    shown = "\n".join(paragraph.text for paragraph in document.paragraphs)
    assert "Radscore" in shown
    before, after = ((root / "report" / "report.html").read_text(encoding="utf-8") for root in (finished.out, copy))
    assert before == after, "the same results give the same page"


@pytest.mark.slow
def test_model_stops_after_the_models(finished, program, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("results"))
    answer = program("model", folder, "--workers", "2")
    assert answer.code == 0, answer.err
    out = folder / "results"
    assert not (out / "evaluation").exists()
    assert not (out / "report").exists()
    assert [item["name"] for item in read_json(out / "run.json")["stages"]] == STAGES[:4]
    same = (out / "modelling" / "models.json").read_bytes()
    assert same == (finished.out / "modelling" / "models.json").read_bytes()
