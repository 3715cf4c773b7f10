"""One patient in the application: values and scan in, the numbers of `hepacast predict` out, nothing sent is kept.

Journeys 5 (a patient from a dropped zip) and 6 (the live nomogram) of the browser stand at the end.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import zipfile
from pathlib import Path

import pytest

from hepacast.bundle import Bundle
from hepacast.bundle.calculator import calculator_of
from hepacast.imaging.io import read_volume
from hepacast.study.predict import predict_patient
from hepacast.web import predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_volume import write_volume_as_dicom

OLD = Path(__file__).parents[1] / "bundle" / "old"
IMAGE, MASK = OLD / "images" / "ptlf-P001-portal.nii.gz", OLD / "images" / "ptlf-P001-mask.nii.gz"
SAME = 1e-9
LABS = {"size": "5.5", "albumin": "3.8 g/dL", "inr": "1.2"}


@pytest.fixture
def served(site):
    """Models of a Cox study (a table) and of a study with images in the served folder."""
    folder = site.places.roots[0]
    (folder / "results").mkdir()
    shutil.copy(OLD / "2313617" / "cox.hepacast", folder / "results" / "model.hepacast")
    shutil.copy(OLD / "2313617" / "ptlf.hepacast", folder / "images.hepacast")
    return folder


def code_of(client, place: str) -> str:
    return next(item["code"] for item in client.get("/api/models").json() if item["place"] == place)


def asked(client, code, labs, files=(), **fields):
    sent = [("file", ("file", content)) for _, content in files]
    paths = {"path": [path for path, _ in files]}
    return client.post(
        f"/api/models/{code}/predict",
        data={"labs": json.dumps(labs), **fields, **(paths if files else {})},
        files=sent or {"none": (None, "")},
    )


def waited(client, token, seconds=600):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = client.get(f"/api/predictions/{token}").json()
        if told["state"] != "running":
            return told
        time.sleep(0.2)
    raise AssertionError("the prediction was not made in time")


def test_values_of_a_table_give_the_numbers_of_predict_and_its_page(client, enter, site, served):
    code, reader = code_of(client, "results/model.hepacast"), enter("reader")
    form = client.get(f"/api/models/{code}").json()
    assert form["description"] == json.loads(json.dumps(calculator_of(Bundle.read(served / "results/model.hepacast"))))
    token = asked(client, code, LABS, patient="S-17").json()["prediction"]
    told = waited(client, token)
    expected = predict_patient(served / "results" / "model.hepacast", labs=LABS).to_json()
    assert told["state"] == "made" and told["prediction"]["patient"] == "S-17"
    assert told["prediction"]["risk"] == pytest.approx(expected["risk"], abs=SAME)
    assert [item["risk"] for item in told["prediction"]["horizons"]] == pytest.approx(
        [item["risk"] for item in expected["horizons"]], abs=SAME
    )
    assert told["values"] == {"size": 5.5, "albumin": 38.0, "inr": 1.2}
    page = client.get(f"/api/predictions/{token}/prediction.pdf")
    assert page.content.startswith(b"%PDF") and page.headers["content-type"] == "application/pdf"
    # Nobody reads more than the answer, a reader deletes and predicts nothing, and the trail holds no name.
    for name in ("asked.json", "..%2fasked.json", "progress.log", "%2e%2e%2f%2e%2e%2fkey"):
        assert client.get(f"/api/predictions/{token}/{name}").status_code == 404
    for other in ("0" * 32, "..%2f..", "x"):
        assert client.get(f"/api/predictions/{other}").status_code == 404
    assert reader.get(f"/api/models/{code}").status_code == 200 and client.get("/api/models/ffff").status_code == 404
    assert asked(reader, code, LABS).status_code == reader.delete(f"/api/predictions/{token}").status_code == 403
    lines = [entry for entry in site.audit.read() if entry.action == "predict"]
    assert len(lines) == 1 and lines[0].patient and "S-17" not in str(lines[0])
    assert client.delete(f"/api/predictions/{token}").json() == {"forgotten": True}
    assert client.get(f"/api/predictions/{token}").status_code == 404
    assert not list((served / ".hepacast" / predictions.FOLDER).iterdir())


def test_a_wrong_unit_a_missing_value_and_an_impossible_one_are_refused_as_by_predict(client, served):
    code = code_of(client, "results/model.hepacast")
    for labs, said in (
        ({**LABS, "albumin": "38 mmol/L"}, "not a unit of Albumin"),
        ({"size": "5"}, "missing"),
        ({**LABS, "inr": "120"}, "not possible"),
        ({**LABS, "size": "<0.8"}, "limit"),
    ):
        answer = asked(client, code, labs)
        assert answer.status_code == 422 and re.search(said, answer.json()["message"]), answer.text
    assert not list((served / ".hepacast" / predictions.FOLDER).iterdir())
    assert asked(client, code, {"size": 5}).status_code == 422


def test_a_scan_gives_the_numbers_of_predict_and_is_deleted(client, served):
    code = code_of(client, "images.hepacast")
    assert client.get(f"/api/models/{code}").json()["image"] == {
        "needed": True, "sequences": {"portal": "CT"}, "possible": True,
    }  # fmt: skip
    files = [("image/0/scan.nii.gz", IMAGE.read_bytes()), ("mask/mask.nii.gz", MASK.read_bytes())]
    token = asked(client, code, {"alb": "38"}, files, accept="yes").json()["prediction"]
    told = waited(client, token)
    expected = predict_patient(
        served / "images.hepacast", image=IMAGE, mask=MASK, labs={"alb": "38"}, accept_doubtful=True
    ).to_json()
    assert told["state"] == "made", told
    assert told["prediction"]["risk"] == pytest.approx(expected["risk"], abs=SAME)
    assert told["values"] == {"Radscore": expected["scores"]["Radscore"], "alb": 38.0}
    assert client.get(f"/api/predictions/{token}/overlay.png").content.startswith(b"\x89PNG")
    folder = served / ".hepacast" / predictions.FOLDER / token
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not any(name.startswith("sent") for name in left), left


def test_an_image_that_cannot_be_read_is_told_with_what_to_do(client, served):
    code = code_of(client, "images.hepacast")
    token = asked(client, code, {"alb": "38"}, [("image/0/scan.nii.gz", b"no image")]).json()["prediction"]
    told = waited(client, token)
    assert told["state"] == "failed" and told["error"]["message"]
    assert str(served) not in json.dumps(told), "no path of the server"


# In the browser -------------------------------------------------------------------------------------------------------


@pytest.mark.web
def test_journey_5_one_patient_from_a_dropped_zip(entered, served, tmp_path):
    folder = write_volume_as_dicom(tmp_path / "scan", read_volume(IMAGE))
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.iterdir()):
            opened.write(path, f"study/{path.name}")
    with entered() as page:
        page.click("nav >> text=Patient")
        option = page.locator("select option", has_text="images.hepacast").get_attribute("value")
        page.select_option("select >> nth=0", option)
        page.wait_for_selector(".nomogram")
        page.set_input_files(".drop input[type=file] >> nth=0", archive)
        page.click("text=I have a mask already")
        page.set_input_files("details .drop input[type=file] >> nth=0", MASK)
        page.fill("input[maxlength='64']", "S-001")
        # A unit that is typed behind the number is understood.
        page.fill('[data-name="alb"] input[type=text]', "3.8 g/dL")
        page.click("button.main:has-text('Predict')")
        page.wait_for_selector("strong.predicted, .box.bad", timeout=120_000)
        if page.locator("text=Predict although").count():
            page.click("text=Predict although")
            page.wait_for_selector("strong.predicted", timeout=120_000)
        shown = float(page.get_attribute("strong.predicted", "data-risk"))
        expected = predict_patient(
            served / "images.hepacast", image=folder, mask=MASK, labs={"alb": "3.8 g/dL"}, accept_doubtful=True
        )
        assert shown == pytest.approx(expected.risk, abs=SAME)
        # The nomogram stands where the patient is.
        live = float(page.get_attribute(".risk.main .percent", "data-risk"))
        assert live == pytest.approx(expected.risk, abs=SAME)
        assert page.is_visible("img.overlay") and page.evaluate("document.querySelector('img.overlay').complete")
        with page.expect_download() as download:
            page.click("text=Page (PDF)")
        assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
        # A reload loses nothing; what is deleted is gone.
        page.reload()
        page.wait_for_selector("strong.predicted")
        page.click("text=Delete this prediction")
        page.wait_for_selector("strong.predicted", state="detached")
        assert not list((served / ".hepacast" / predictions.FOLDER).iterdir())


@pytest.mark.web
@pytest.mark.parametrize("place", ["results/model.hepacast", "binary.hepacast"])
def test_journey_6_the_live_nomogram_says_what_the_command_says(entered, served, place):
    shutil.copy(OLD / "2313617" / "clinical.hepacast", served / "binary.hepacast")
    labs = {"size": "6.3", "albumin": "34.2"} | ({"inr": "1.31"} if "results" in place else {})
    expected = predict_patient(served / place, labs=labs)
    with entered() as page:
        page.click("nav >> text=Patient")
        option = page.locator("select option", has_text=f"({place})").get_attribute("value")
        page.select_option("select >> nth=0", option)
        page.wait_for_selector(".nomogram")
        for name, text in labs.items():
            page.fill(f'[data-name="{name}"] input[type=text]', text)
        risks = [float(item.get_attribute("data-risk")) for item in page.locator(".percent").all()]
        told = [item.risk for item in expected.horizons] or [expected.risk]
        assert risks == pytest.approx(told, abs=SAME)
        limits = page.locator(".risk.main .percent")
        assert float(limits.get_attribute("data-low")) == pytest.approx(expected.low, abs=SAME)
        assert float(limits.get_attribute("data-high")) == pytest.approx(expected.high, abs=SAME)
        slider = page.locator('[data-name="size"] input[type=range]')
        slider.focus()
        page.keyboard.press("ArrowRight")
        size = page.input_value('[data-name="size"] input[type=text]')
        moved = predict_patient(served / place, labs={**labs, "size": size}).risk
        assert float(limits.get_attribute("data-risk")) == pytest.approx(moved, abs=SAME)
        if "binary" in place:
            page.click("text=Settings")
            page.select_option("select >> nth=0", "zh")
            page.go_back()
            page.wait_for_selector("text=患者数据")
