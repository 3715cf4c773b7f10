"""A study whose biomarkers are candidates: from images to the bundle, and one new patient."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hepacast as hc
from hepacast.core.files import read_json
from hepacast.errors import HepacastError, StudyFileError
from hepacast.imaging import Volume
from hepacast.study.run import run_study

sys.path.insert(0, str(Path(__file__).parents[1] / "biomarkers"))
sys.path.insert(0, str(Path(__file__).parent))

from ball_phantom import CENTER, Patient
from image_study import write_image_study

pytestmark = pytest.mark.usefixtures("figures_as_words")

NAME = "biomarker/portal/tumor_minus_liver"
BIOMARKERS = """biomarkers:
  use: ["portal/tumor_minus_liver", "shape/longest_diameter", "portal/spleen_minus_liver"]
  phases: {pv: portal}
"""
MODELS = "clinical, biomarkers, radiomics, combined"


def draw(difference: float, radius: float, seed: int) -> tuple[Volume, Volume]:
    """Image and mask of a patient whose tumor differs by so many HU from the liver."""
    places = np.random.default_rng(seed)
    center = (CENTER[0] + places.uniform(-9, 9), CENTER[1] + places.uniform(-9, 9), CENTER[2] + places.uniform(-9, 9))
    patient = Patient(((center, radius),), spacing=(4.0, 4.0, 5.0))
    image = patient.image(110, 110 + difference, 110 + difference)
    noise = places.normal(0, 5, image.array.shape)
    labels = np.where(patient.tumor, 2, np.where(patient.liver, 1, 0)).astype(np.uint8)
    return image.with_array(np.rint(image.array + noise).astype(np.int16)), image.with_array(labels)


def patients() -> Iterator[tuple[Volume, Volume, bool]]:
    """60 patients whose event follows the difference of tumor and liver."""
    generator = np.random.default_rng(4)
    for number in range(60):
        difference, radius = float(generator.normal(-15, 12)), float(generator.uniform(12, 24))
        yield *draw(difference, radius, number), bool(generator.random() < 1 / (1 + np.exp((difference + 15) / 5)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study that has run."""
    folder = tmp_path_factory.mktemp("biomarkers")
    write_image_study(folder, patients(), labels="{liver: 1, tumor: 2}", models=MODELS, further=BIOMARKERS,
                      features="{firstorder: [Mean]}")  # fmt: skip
    run_study(folder / "study.yaml", data=folder, workers=1)
    return folder


def test_biomarkers_are_measured_and_those_without_a_structure_are_no_candidates(finished):
    out = finished / "results" / "biomarkers"
    long = pd.read_parquet(out / "biomarkers.parquet")
    assert long["patient"].nunique() == 60
    assert [entry["name"] for entry in read_json(out / "columns.json")] == [NAME, "biomarker/shape/longest_diameter"]
    assert read_json(out / "left_out.json")["biomarker/portal/spleen_minus_liver"].startswith("missing in")
    one = hc.biomarkers({"portal": finished / "P03.nii.gz"}, finished / "P03_mask.nii.gz",
                        labels={"liver": 1, "tumor": 2}, accept_doubtful=True).to_frame().iloc[0]  # fmt: skip
    values = pd.read_parquet(out / "values.parquet").loc["P03"]
    assert values.to_dict() == pytest.approx(one[values.index].to_dict())


def test_the_model_finds_the_biomarker_with_its_unit_and_shows_it(finished):
    out = finished / "results"
    models = read_json(out / "modelling" / "models.json")
    assert models["names"] == ["clinical", "biomarkers", "radiomics", "combined"]
    assert NAME in models["biomarkers"]["selected"] and NAME not in str(models["clinical"])
    term = next(item for item in models["biomarkers"]["final"]["terms"] if item["name"] == NAME)
    assert (term["label"], term["unit"]) == ("Tumor minus liver, portal", "HU")
    assert NAME in str(models["combined"])
    assert "Tumor minus liver, portal" in str(models["nomogram"])
    sentence = read_json(out / "biomarkers" / "methods.json")[0]["text"]
    assert sentence.startswith("2 biomarkers of liver and tumor")
    combined = hc.predict(next(out.rglob("model.hepacast")), image=finished / "P07.nii.gz", accept_doubtful=True,
                          mask=finished / "P07_mask.nii.gz", labels={"liver": 1, "tumor": 2}, labs={})  # fmt: skip
    assert "Tumor minus liver, portal" in combined.values
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    whole = [path.read_text(encoding="utf-8") for path in (out / "report").glob("*.html")]
    assert len(whole) == 3 and not any("biomarker/" in text for text in whole)  # what is not seen is in words too
    assert "Tumor minus liver, portal" in page and "2 biomarkers of liver and tumor" in page


def test_one_new_patient_by_image_or_by_what_was_read_off_it(finished):
    model = next((finished / "results").rglob("model.hepacast"))
    frozen = pd.read_parquet(finished / "results" / "modelling" / "predictions.parquet")
    frozen = frozen[frozen["kind"].isin(["apparent", "frozen"]) & (frozen["model"] == "biomarkers")]
    own = frozen[frozen["patient"] == "P05"]
    labs = {"age": str(pd.read_csv(finished / "patients.csv").set_index("patient").loc["P05", "age"])}
    needed = set(hc.load_model(model).clinical_names("biomarkers"))
    how = {
        "labs": {name: text for name, text in labs.items() if name in needed},
        "accept_doubtful": True,
        "labels": {"liver": 1, "tumor": 2},
        "model": "biomarkers",
    }
    found = hc.predict(model, image=finished / "P05.nii.gz", mask=finished / "P05_mask.nii.gz", **how)
    assert found.risk == pytest.approx(float(own["risk"].iloc[0]), abs=1e-6)
    assert "Tumor minus liver, portal" in found.values
    value = pd.read_parquet(finished / "results" / "biomarkers" / "values.parquet").loc["P05", NAME]
    told = {name: f"{value:.8f}" if name == NAME else labs["age"] for name in ("age", NAME)}
    typed = hc.predict(model, model="biomarkers", labs={name: text for name, text in told.items() if name in needed})
    assert typed.risk == pytest.approx(found.risk, abs=1e-5)
    away = {name: "400" if name == NAME else text for name, text in told.items() if name in needed}
    far = hc.predict(model, model="biomarkers", labs=away)
    assert any("Tumor minus liver" in warning for warning in far.warnings)
    with pytest.raises(HepacastError, match="Clinical values are missing"):
        hc.predict(model, model="biomarkers")


def test_a_name_that_is_no_biomarker_is_told_before_anything_runs(finished):
    from hepacast.study.context import make_context
    from hepacast.study.preflight import find_problems

    text = (finished / "study.yaml").read_text()
    (finished / "wrong.yaml").write_text(text.replace("portal/tumor_minus_liver", "portal/tumour"))
    assert not find_problems(make_context(finished / "study.yaml", data=finished))
    (problem,) = find_problems(make_context(finished / "wrong.yaml", data=finished))
    assert isinstance(problem, StudyFileError) and "No biomarker of these images" in problem.message


def test_the_study_file_knows_the_phases_that_are_measured():
    from typing import get_args

    from hepacast.imaging.phases import PHASES
    from hepacast.study.schema.biomarkers import Phase

    assert get_args(Phase) == PHASES


#: What the study file says in the place of what it said.
FOLLOWED = {
    "  split: {by": """    hct: {kind: numeric, label: Hematocrit, quantity: none}
    invaded: {kind: binary, label: Vascular invasion}
    size: {kind: numeric, label: Largest diameter, unit: cm, quantity: none}
    stage: {kind: categorical, label: T, levels: {T1b: [T1b], T2: [T2]}}
    months: {kind: numeric, label: Follow-up, unit: months, quantity: none, after_event: true}
    event: {kind: binary, label: Progression, after_event: true}
  split: {by""",
    "outcome: {column: event, positive: [1], negative: [0]}": "outcome: {definition: survival, "
    "columns: {time: months, event: event}, unit: months, horizons: [24]}",
    "  phases: {pv: portal}\n": """  phases: {pv: portal}
  hematocrit: hct
  vascular_invasion: invaded
  recorded: {tumor_diameter: size, t_stage: stage}
""",
    f"models: [{MODELS}]": f"models: [{MODELS}, joint]\n  combination: auto",
}


@pytest.fixture(scope="module")
def followed(finished, tmp_path_factory) -> Path:
    """The same patients followed until progression, with what readers recorded: to the report and the bundle."""
    folder = tmp_path_factory.mktemp("followed")
    generator = np.random.default_rng(6)
    measured = pd.read_parquet(finished / "results" / "biomarkers" / "values.parquet")
    differences, longest = measured[NAME], measured["biomarker/shape/longest_diameter"]
    table = pd.read_csv(finished / "patients.csv")
    times = generator.exponential(24 * np.exp((differences.loc[table["patient"]].to_numpy() + 15) / 8))
    longest = pd.read_parquet(finished / "results" / "biomarkers" / "values.parquet")[
        "biomarker/shape/longest_diameter"
    ]
    table["months"], table["event"] = np.minimum(times, 48).round(2) + 0.01, (times < 48).astype(int)
    table["hct"], table["invaded"] = 42.0, np.where(table.index % 2, "yes", "no")
    table["size"] = (longest.loc[table["patient"]].to_numpy() / 10 + generator.normal(0, 0.1, len(table))).round(1)
    table["stage"] = np.where(table.index % 2, "T2", "T1b")
    table.to_csv(folder / "patients.csv", index=False)
    for file in (*finished.glob("P*.nii.gz"), finished / "s.yaml"):
        (folder / file.name).symlink_to(file)
    text = (finished / "study.yaml").read_text()
    for before, now in FOLLOWED.items():
        text = text.replace(before, now)
    (folder / "study.yaml").write_text(text)
    run_study(folder / "study.yaml", data=folder, workers=1)
    return folder


def test_a_study_of_follow_up_with_biomarkers_comes_to_report_and_bundle(followed):
    out = followed / "results"
    models = read_json(out / "modelling" / "models.json")
    assert models["names"] == ["clinical", "biomarkers", "radiomics", "combined", "joint"]
    assert models["main"] == "joint" and models["models"]["joint"]["kind"] == "cox"
    assert NAME in str(models["models"]["joint"]) and NAME not in str(models["models"]["combined"])
    nested = read_json(out / "modelling" / "validation.json")["models"]
    assert nested["joint"]["nested"]["estimate"]["value"] > nested["clinical"]["nested"]["estimate"]["value"] + 0.1
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "The joint model holds the Radscore, the biomarkers" in page and "against permuted outcomes" in page
    frozen = pd.read_parquet(out / "modelling" / "predictions.parquet")
    own = frozen[(frozen["patient"] == "P05") & (frozen["model"] == "joint") & (frozen["kind"] != "nested")]
    found = hc.predict(next(out.rglob("model.hepacast")), image=followed / "P05.nii.gz", accept_doubtful=True,
                       mask=followed / "P05_mask.nii.gz", labels={"liver": 1, "tumor": 2}, model="joint",
                       labs={"age": "60"} if "'age'" in str(models["models"]["joint"]) else {})  # fmt: skip
    if "'age'" not in str(models["models"]["joint"]):
        assert found.risk == pytest.approx(float(own["risk"].iloc[0]), abs=1e-6)


def test_what_readers_recorded_stands_beside_what_was_measured(followed):
    recorded = {
        item["recorded"]: item for item in read_json(followed / "results" / "biomarkers" / "summary.json")["recorded"]
    }
    assert set(recorded) == {"tumor_diameter_mm", "t_stage"}
    assert recorded["tumor_diameter_mm"]["n"] == 60
    assert recorded["tumor_diameter_mm"]["agreement"]["value"] > 0.9  # cm in the table, mm in the masks
    assert abs(recorded["tumor_diameter_mm"]["difference"]) < 1.0
    # Vascular invasion is told by the table: without it T would be "T1b or T2", which is no stage.
    assert recorded["t_stage"]["agreement"]["value"] > 0.9
    page = (followed / "results" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Measured beside recorded" in page
    supplement = next((followed / "results" / "report").glob("*supplement*.html")).read_text(encoding="utf-8")
    assert "Biomarkers of all patients" in supplement


def test_a_hematocrit_that_is_none_is_told_with_the_patient(followed, tmp_path):
    table = pd.read_csv(followed / "patients.csv")
    table.loc[table["patient"] == "P09", "hct"] = 4.2
    for file in followed.glob("*"):
        if file.name not in ("results", "patients.csv"):
            (tmp_path / file.name).symlink_to(file)
    table.to_csv(tmp_path / "patients.csv", index=False)
    with pytest.raises(HepacastError, match="hematocrit is a share of the blood") as raised:
        run_study(tmp_path / "study.yaml", data=tmp_path, workers=1, until="biomarkers")
    assert "P09" in str(raised.value)


def test_a_phase_that_a_patient_lacks_leaves_the_others_measured(finished):
    from hepacast.biomarkers.measure import definitions_of_recipe, measure_by_recipe
    from hepacast.imaging import read_volume
    from hepacast.radiomics.recipe import ImageRecipe

    image, mask = read_volume(finished / "P03.nii.gz"), read_volume(finished / "P03_mask.nii.gz")
    masks = {name: mask.with_array(mask.array == value) for name, value in (("parenchyma", 1), ("tumor", 2))}
    recipe = ImageRecipe("images", sequences={"portal": "CT", "arterial": "CT"}, phases={}, missing="flag")
    found = measure_by_recipe(recipe, {"portal": image}, masks)
    assert list(found.values) == list(definitions_of_recipe(recipe)) == list(found.definitions)
    assert np.isfinite(found.values[NAME])
    assert found.reasons["biomarker/arterial/tumor_minus_liver"] == "the patient has no image of this phase"
    assert "arterial" in found.reasons["biomarker/phases/wash_out_portal"]
    with pytest.raises(HepacastError, match="An image is missing"):
        measure_by_recipe(ImageRecipe("images", sequences=recipe.sequences, phases={}), {"portal": image}, masks)
