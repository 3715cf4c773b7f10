"""PACS in the page: who is allowed, sending what was predicted, the node's queue and its model."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from hepacast.bundle import Bundle
from hepacast.imaging.io import read_volume
from hepacast.pacs.config import read_config
from hepacast.pacs.node import Node
from hepacast.web import connections, predictions
from hepacast.web.expiry import expire

from .conftest import picture, until
from .test_patient_screen import IMAGE, MASK, OLD, asked, code_of, waited

sys.path.insert(0, str(Path(__file__).parents[1] / "pacs"))
from clinic import BUNDLE, IDENTITY, ShelfPeer, quick, receive, study_files
from dicom_volume import write_volume_as_dicom

SHELF = {
    "name": "Archive",
    "address": "PACS@127.0.0.1:11112",
    "calling": "HEPACAST",
    "results": ["segmentation", "report"],
}


@pytest.fixture
def shelf(monkeypatch):
    """The PACS at every address."""
    peer = ShelfPeer()
    monkeypatch.setattr(connections, "make_peer", lambda address, calling: peer)
    return peer


def allow(client, **changes):
    return client.put("/api/settings/pacs", json={"connections": [{**SHELF, **changes}]})


def actions(site):
    return [entry.action for entry in site.audit.read()]


def predicted(client, site, folder, files):
    """Token of a prediction of files from a model that reads a scan."""
    shutil.copy(OLD / "2313617" / "ptlf.hepacast", site.places.roots[0] / "images.hepacast")
    sent = [*files, ("mask/mask.nii.gz", MASK.read_bytes())]
    code = code_of(client, "images.hepacast")
    token = asked(client, code, {"alb": "38"}, sent, accept="yes", patient="S-17").json()["prediction"]
    told = waited(client, token)
    assert told["state"] == "made", told
    return token, told


def scan(tmp_path, **options):
    folder = write_volume_as_dicom(tmp_path / "scan", read_volume(IMAGE), **options)
    return [(f"image/0/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "name of its own"),
        ({"name": "a/b"}, "name of its own"),
        ({"calling": "A\\B"}, "no AE title"),
        ({"calling": "科室"}, "no AE title"),
        ({"address": "file:///etc/passwd"}, "no address"),
        ({"address": "PACS@host:99999"}, "no address"),
        ({"calling": "A" * 17}, "no AE title"),
        ({"results": []}, "one result"),
        ({"results": ["../key"]}, "one result"),
    ],
)
def test_a_pacs_that_is_none_is_refused_and_nothing_is_kept(client, site, changes, said):
    answer = allow(client, **changes)
    assert answer.status_code == 422 and said in answer.json()["message"]
    assert client.get("/api/settings/pacs").json()["connections"] == []


def test_allowed_pacs_are_kept_tested_and_named_to_reviewers(client, enter, site, shelf):
    assert allow(client).json() == {"kept": True}
    assert client.get("/api/settings/pacs").json()["connections"] == [SHELF]
    assert enter("reviewer").get("/api/pacs").json() == ["Archive"]
    assert client.post("/api/settings/pacs/Archive/echo").json() == {"answers": True}
    shelf.up = False
    answer = client.post("/api/settings/pacs/Archive/echo")
    assert answer.status_code == 422 and "does not answer" in answer.json()["message"]
    assert client.post("/api/settings/pacs/Other/echo").status_code == 404
    assert [name for name in actions(site) if name != "enter"] == ["set-pacs", "echo-pacs", "echo-pacs", "echo-pacs"]


def test_what_was_predicted_is_sent_to_an_allowed_pacs_once_and_the_trail_says_so(client, enter, site, shelf, tmp_path):
    allow(client)
    token, told = predicted(client, site, tmp_path, scan(tmp_path))
    assert told["dicom"] and told["no_dicom"] == "" and told["sendings"] == []
    reviewer = enter("reviewer")
    assert reviewer.post(f"/api/predictions/{token}/send", json={"to": "Elsewhere"}).status_code == 404
    assert enter("reader").post(f"/api/predictions/{token}/send", json={"to": "Archive"}).status_code == 403
    for _ in range(2):
        answer = reviewer.post(f"/api/predictions/{token}/send", json={"to": "Archive"}).json()
        assert (answer["confirmed"], answer["failed"]) == (2, [])
    assert set(shelf.times.values()) == {1} and len(shelf.shelf) == 2, "only what this PACS is to get, each once"
    assert len(client.get(f"/api/predictions/{token}").json()["sendings"]) == 2
    entries = [entry for entry in site.audit.read() if entry.action == "send"]
    assert len(entries) == 2 and entries[0].user == "the-reviewer"
    assert entries[0].study and entries[0].patient and "S-17" not in site.audit.path.read_text()
    shelf.up = False
    answer = reviewer.post(f"/api/predictions/{token}/send", json={"to": "Archive"})
    assert answer.status_code == 422 and "does not answer" in answer.json()["message"]


def test_one_patient_is_looked_up_in_a_pacs_and_predicted(client, enter, site, shelf, tmp_path, monkeypatch):
    allow(client)
    named = {"SpecificCharacterSet": "GB18030", "SeriesDescription": "门静脉期 1.0mm", "PatientID": "H-4711"}
    files = write_volume_as_dicom(tmp_path / "scan", read_volume(IMAGE), series="1.2.9.1", **named)
    other = study_files(tmp_path, 5, PatientID="H-4712")
    shelf.shelf = {str(number): path.read_bytes() for number, path in enumerate([*sorted(files.iterdir()), *other])}
    shutil.copy(OLD / "2313617" / "ptlf.hepacast", site.places.roots[0] / "images.hepacast")
    code = code_of(client, "images.hepacast")
    ask = {"pacs": "Archive", "patient": "H-4711"}
    found = client.post(f"/api/models/{code}/find", json=ask).json()
    (series,) = found["series"]
    assert found["proposed"] == {"portal": "1.2.9.1"} and series["instances"] == len(list(files.iterdir()))
    assert enter("reader").post(f"/api/models/{code}/find", json=ask).status_code == 403
    assert client.post(f"/api/models/{code}/find", json={**ask, "pacs": "Elsewhere"}).status_code == 404
    for several in ("*", "H-47?1", "A\\B", " "):
        answer = client.post(f"/api/models/{code}/find", json={**ask, "patient": several})
        assert answer.status_code == 422 and "no patient's number" in answer.json()["message"]
    assert client.post(f"/api/models/{code}/find", json={**ask, "patient": "nobody"}).json() == {
        "series": [],
        "proposed": {},
    }

    class Here:
        """The prediction in this process, which knows the PACS of the test."""

        def __init__(self, module, words, log):
            predictions.predict_asked(Path(words[0]))

        def poll(self):
            return 0

    monkeypatch.setattr(predictions, "start_module", Here)
    fetch = {"pacs": "Archive", "series": {"portal": {key: series[key] for key in ("study", "series", "instances")}}}
    mask = [("mask/mask.nii.gz", MASK.read_bytes())]

    def predicted_from(given):
        labs, fetched = {"alb": "38"}, json.dumps(given)
        return asked(client, code, labs, mask, accept="yes", patient="S-17", fetch=fetched)

    token = predicted_from(fetch).json()["prediction"]
    told = client.get(f"/api/predictions/{token}").json()
    assert told["state"] == "made" and told["dicom"], told
    dropped, _ = predicted(client, site, tmp_path, scan(tmp_path / "dropped"))
    same = client.get(f"/api/predictions/{dropped}").json()
    assert told["prediction"]["risk"] == same["prediction"]["risk"]
    assert not list((site.state / "predictions").rglob("*fetched*")), "images are deleted when they are measured"
    assert "H-4711" not in site.audit.path.read_text() and "1.2.9.1" not in site.audit.path.read_text()
    assert [entry.action for entry in site.audit.read()].count("find-in-pacs") == 6
    # Fewer images than there are: no prediction of half a scan.
    fetch["series"]["portal"]["instances"] += 1
    token = predicted_from(fetch).json()["prediction"]
    assert "fewer images" in client.get(f"/api/predictions/{token}").json()["error"]["message"]
    assert predicted_from({"pacs": "Elsewhere", "series": fetch["series"]}).status_code == 404
    fetch["series"]["portal"]["series"] = "../../x"
    assert predicted_from(fetch).status_code == 422


def test_what_belongs_to_no_study_of_a_pacs_is_predicted_and_not_sent(client, site, shelf):
    allow(client)
    token, told = predicted(client, site, None, [("image/0/scan.nii.gz", IMAGE.read_bytes())])
    assert not told["dicom"] and "DICOM series" in told["no_dicom"]
    answer = client.post(f"/api/predictions/{token}/send", json={"to": "Archive"})
    assert answer.status_code == 404 and not shelf.shelf


def test_predictions_tables_and_uploads_expire(client, site):
    allow(client)
    token, _ = predicted(client, site, None, [("image/0/scan.nii.gz", IMAGE.read_bytes())])
    client.post("/api/uploads", data={"path": "t.csv"}, files={"file": ("f", b"a,b\n1,2\n")})
    client.post("/api/statistics/tables", files={"file": ("t.csv", b"a,b\n1,2\n3,4\n")})
    now = (site.state / "predictions" / token / "asked.json").stat().st_mtime
    assert expire(site, now + 23 * 3600) == 0
    assert expire(site, now + 25 * 3600) == 3 and actions(site)[-1] == "expire"
    assert client.get(f"/api/predictions/{token}").status_code == 404
    assert not [
        path for path in site.places.roots[0].rglob("*") if path.is_file() and path.name in ("t.csv", "asked.json")
    ]


def test_uploads_that_a_study_names_stay(client, site):
    place = client.post("/api/uploads", data={"path": "t.csv"}, files={"file": ("f", b"a\n")}).json()["folder"]
    (site.places.roots[0] / "s").mkdir()
    (site.places.roots[0] / "s" / "study.yaml").write_text(f"hepacast: 1\n# {place}\n")
    assert expire(site, 4e9) == 0 and Path(place).is_dir()


# The node -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def node(site, tmp_path):
    """A node with one study that went through, one dead, and one image in quarantine."""
    folder = site.places.roots[0]
    shutil.copy(BUNDLE, folder / "first.hepacast")
    (folder / "node.yaml").write_text(
        "# the hospital's node\nfolder: queue\nlisten: {callers: {PACS: 127.0.0.1}}\n"
        f'model:\n  bundle: first.hepacast   # judged in May\n  identity: "{IDENTITY}"\n'
        "series: {portal: {words: [portal], min_images: 3}}\nsend_to: [PACS@127.0.0.1:1]\nquiet_s: 0\nkeep_hours: 2\n"
    )

    def make(images, results):
        if len(list(images.glob("*/*.dcm"))) < 6:
            raise connections.PacsError("No series fits the rule of 'portal'.")
        quick(images, results)

    made = Node(read_config(folder / "node.yaml"), make=make, peers=[ShelfPeer()], clock=lambda: time.time() + 5)
    receive(made, study_files(tmp_path, 1))
    receive(made, study_files(tmp_path, 2)[:4])
    receive(made, study_files(tmp_path, 3, StudyInstanceUID="")[:1])
    while made.step():
        pass
    return made


def chosen(client):
    assert client.put("/api/settings/node", json={"path": "node.yaml"}).json() == {"kept": True}


def test_the_queue_is_shown_without_names_and_dead_studies_are_tried_again(client, enter, site, node):
    assert client.get("/api/node").json() == {}
    chosen(client)
    told = client.get("/api/node").json()
    assert not told["running"] and told["keep_hours"] == 2 and told["listen"]["callers"] == {"PACS": "127.0.0.1"}
    dead, done = told["studies"]
    assert (dead["state"], done["state"], told["total"]) == ("dead", "confirmed", 2)
    assert "No series fits" in dead["reason"] and dead["delete_at"]
    assert 7100 < datetime.fromisoformat(done["delete_at"]).timestamp() - time.time() < 7300
    assert len(told["quarantined"]) == 1 and "Study Instance UID" in told["quarantined"][0]["reason"]
    assert "SECRET" not in json.dumps(told) and "1.2.3." not in json.dumps(told)
    assert enter("reviewer").get("/api/node").status_code == 403
    assert client.post("/api/node/retry", json={"keys": ["nothing"]}).status_code == 422
    assert client.post("/api/node/retry", json={"keys": [dead["key"]]}).json() == {"keys": [dead["key"]]}
    assert {item.state for item in node.queue.studies()} == {"received", "confirmed"}
    assert actions(site)[-3:] == ["enter", "retry-queue", "retry-queue"] and site.audit.read()[-1].study == dead["key"]


def test_a_model_is_pinned_and_rolled_back_in_the_nodes_own_file(client, site, node):
    folder = site.places.roots[0]
    first = Bundle.read(folder / "first.hepacast").identity
    chosen(client)
    others = [path for path in sorted(OLD.glob("*/*.hepacast")) if path != BUNDLE]
    second = next(path for path in others if _fits(path) and Bundle.read(path).identity != first)
    shutil.copy(second, folder / "second.hepacast")
    shutil.copy(OLD / "2313617" / "cox.hepacast", folder / "table.hepacast")
    known = {item["identity"]: item for item in client.get("/api/node/models").json()}
    identity = Bundle.read(second).identity
    assert known[first]["pinned"] and known[identity]["fits"] and not known[identity]["pinned"]
    table = Bundle.read(folder / "table.hepacast").identity
    answer = client.post("/api/node/pin", json={"identity": table})
    assert answer.status_code == 422 and "other sequences" in answer.json()["message"]
    assert client.post("/api/node/pin", json={"identity": "0" * 64}).status_code == 404
    assert read_config(folder / "node.yaml").model.identity == IDENTITY
    client.post("/api/node/pin", json={"identity": identity})
    assert read_config(folder / "node.yaml").model.identity == identity
    text = (folder / "node.yaml").read_text()
    assert "# the hospital's node" in text and "# judged in May" in text
    known = {item["identity"]: item for item in client.get("/api/node/models").json()}
    assert known[identity]["pinned"] and known[first]["until"]
    client.post("/api/node/pin", json={"identity": first})
    assert read_config(folder / "node.yaml").model.identity == first
    assert [entry.study for entry in site.audit.read() if entry.action == "pin-model"][-1] == first[:12]
    Node(read_config(folder / "node.yaml"), make=quick, peers=[ShelfPeer()])  # takes it


def _fits(path):
    try:
        return set(Bundle.read(path).recipe.sequences) == {"portal"}
    except Exception:
        return False


def test_the_node_is_started_and_stopped_from_its_page(client, site, node):
    chosen(client)
    assert client.post("/api/node/stop").status_code == 404
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = site.places.roots[0] / "node.yaml"
    text = path.read_text()
    path.write_text(text.replace("listen: {", f"listen: {{port: {port}, "))
    assert client.post("/api/node/start").json() == {"started": True}
    assert client.get("/api/node").json()["running"]
    assert client.post("/api/node/start").status_code == 404
    assert client.post("/api/node/stop").json() == {"asked": True}
    until(lambda: not client.get("/api/node").json()["running"], 60)
    assert site.children["node"].wait(20) == 0 and not client.get("/api/node").json()["stopping"]
    # One that cannot start says why.
    (site.places.roots[0] / "first.hepacast").unlink()
    answer = client.post("/api/node/start")
    assert answer.status_code == 404 and "ended at once" in answer.json()["message"] and answer.json()["found"]


def test_a_file_that_is_no_nodes_or_lies_outside_is_refused(client, site, tmp_path):
    (tmp_path / "node.yaml").write_text("x")
    (site.places.roots[0] / "bad.yaml").write_text("folder: x\n")
    assert client.put("/api/settings/node", json={"path": str(tmp_path / "node.yaml")}).status_code == 404
    assert client.put("/api/settings/node", json={"path": "bad.yaml"}).status_code == 422
    assert client.get("/api/settings/pacs").json()["node"] == ""


# In the browser -------------------------------------------------------------------------------------------------------


@pytest.mark.web
def test_journey_9_a_pacs_is_allowed_a_result_sent_and_the_queue_read(entered, client, site, shelf, node, tmp_path):
    allow(client)
    token, _ = predicted(client, site, tmp_path, scan(tmp_path))
    allow(client, name="Other")
    code = code_of(client, "images.hepacast")
    for path in study_files(tmp_path, 7, PatientID="H-4711", SeriesDescription="portal 1.0"):
        shelf.shelf[path.name] = path.read_bytes()
    held = len(shelf.shelf)
    with entered() as page:
        page.click("nav >> text=Settings")
        page.click("summary:has-text('Allow a PACS')")
        page.get_by_label("Name", exact=True).fill("Archive")
        page.get_by_label("Address").fill("PACS@127.0.0.1:11112")
        page.click("button:text-is('Allow')")
        page.click("button[aria-label='Test: Archive']")
        page.wait_for_selector("text=Archive answers.")
        page.click("summary:has-text('Choose another file')")
        page.get_by_label("File of the node").fill("node.yaml")
        page.click("button:has-text('Take it')")
        page.wait_for_selector("text=Show its queue")
        picture(page, "settings")
        page.click("text=Show its queue")
        page.wait_for_selector(".tag:has-text('given up')")
        page.wait_for_selector(".tag:has-text('pinned')")
        picture(page, "node")
        page.click("button[aria-label^='Try again']")
        page.wait_for_selector(".tag:has-text('images come')")
        page.evaluate("(place) => { location.hash = place; }", f"#/patient/{code}/{token}")
        page.wait_for_selector("strong.predicted")
        page.get_by_label("PACS", exact=True).select_option("Archive")
        page.click("button:text-is('Send')")
        page.wait_for_selector("text=Archive holds all 4 results")
        page.locator("section[aria-label='To the PACS']").scroll_into_view_if_needed()
        picture(page, "send")
        page.click("summary:has-text('Fetch the scan from a PACS')")
        page.get_by_label("Patient's number in the PACS").fill("H-4711")
        page.click("button:text-is('Look up')")
        page.wait_for_selector("text=1 series found.")
        picked = page.get_by_label("Series for portal (CT)")
        assert "portal 1.0" in picked.locator("option:checked").text_content()
        picked.scroll_into_view_if_needed()
        picture(page, "fetch")
        assert "H-4711" not in page.url and "H-4711" not in page.title()
    assert len(shelf.shelf) == held + 4
    until(lambda: {item.state for item in node.queue.studies()} == {"received", "confirmed"})
