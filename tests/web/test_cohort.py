"""A study set up in the browser is the one that `init` and a hand write, and what is found stands beside its field."""

import pytest

from hepacast.study.check import check_study
from hepacast.study.edit import edit_study, study_values
from hepacast.study.propose import init_from_table
from hepacast.web.whole_checks import findings_of

from . import small_images
from .conftest import until

ROWS = "\n".join(
    f"P{i:03},{30 + i % 17},{50 + i % 31},{i % 2 + 1},{'AB'[i % 3 == 0]},{int(i % 5 < 2)}" for i in range(90)
)
TABLE = f"patient,ALB (g/L),Age,Sex,Center,death\n{ROWS}\n"


@pytest.fixture
def table(site):
    path = site.places.folder / "t.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def study(client, table):
    made = client.post("/api/studies", json={"name": "My study", "table": "t.csv"})
    assert made.status_code == 200, made.text
    return made.json()["code"]


def test_the_file_is_the_one_that_init_writes(client, site, study, table, tmp_path):
    by_hand, _ = init_from_table(site.places.folder / "HAND", table)
    expected = edit_study(by_hand.read_text(), {"name": "My study"})
    assert (site.places.folder / "MY-STUDY" / "study.yaml").read_text() == expected


def test_what_is_chosen_is_judged_and_saved_as_by_hand(client, site, study):
    seen = client.get(f"/api/studies/{study}/cohort").json()
    assert client.get(f"/api/studies/{study}/judge").json()["flow"]["reviewed"] == 90
    assert "g/dL" in seen["quantities"]["albumin"]["units"]
    assert {"name": "survival"}.items() <= next(d for d in seen["definitions"] if d["name"] == "survival").items()
    columns = seen["values"]["cohort"]["columns"]
    (name,) = [key for key, item in columns.items() if item["column"] == "ALB (g/L)"]
    changes = {
        f"cohort.columns.{name}": {**columns[name], "unit": "g/dL"},
        "cohort.split": {"by": "column", "column": "Center", "training": ["A"], "validation": ["B"]},
    }
    body = {"version": seen["version"], "changes": changes}
    judged = client.post(f"/api/studies/{study}/judge", json=body).json()
    wrong = [item for item in judged["findings"] if item["key"].startswith(f"cohort.columns.{name}")]
    assert wrong and judged["errors"] and all(item["severity"] == "error" for item in wrong[:1])
    assert set(judged["flow"]["sets"]) == {"training", "validation"} or judged["flow"]["sets"] == {}
    path = site.places.folder / "MY-STUDY" / "study.yaml"
    before = path.read_text()
    assert judged["text"] == edit_study(before, changes) and path.read_text() == before
    assert client.put(f"/api/studies/{study}/cohort", json=body).status_code == 200
    assert path.read_text() == judged["text"]
    assert study_values(path.read_text())["cohort"]["split"]["by"] == "column"


def test_a_file_that_was_changed_meanwhile_is_not_written_over(client, site, study):
    version = client.get(f"/api/studies/{study}/cohort").json()["version"]
    path = site.places.folder / "MY-STUDY" / "study.yaml"
    path.write_text(path.read_text().replace("My study", "By hand"))
    answer = client.put(f"/api/studies/{study}/cohort", json={"version": version, "changes": {"name": "Other"}})
    assert answer.status_code == 422 and "changed meanwhile" in answer.json()["message"]
    assert "By hand" in path.read_text()


def test_what_the_schema_refuses_is_told_and_not_saved(client, site, study):
    version = client.get(f"/api/studies/{study}/cohort").json()["version"]
    body = {"version": version, "changes": {"outcome": {"definition": "survival", "columns": {}}}}
    answer = client.post(f"/api/studies/{study}/judge", json=body)
    assert answer.status_code == 422 and "horizons" in answer.json()["message"]


def test_readers_see_and_do_not_save(enter, study):
    reader = enter("reader")
    version = reader.get(f"/api/studies/{study}/cohort").json()["version"]
    body = {"version": version, "changes": {"name": "Other"}}
    assert reader.put(f"/api/studies/{study}/cohort", json=body).status_code == 403
    assert reader.post(f"/api/studies/{study}/judge", json=body).status_code == 403
    assert reader.get(f"/api/studies/{study}/judge").json()["flow"]["reviewed"] == 90


def test_a_dropped_table_moves_into_the_study(client, site):
    got = client.post(
        "/api/uploads", data={"path": "Liver.csv"}, files={"file": ("f", TABLE.encode())}, headers={"x-upload": "1"}
    ).json()
    made = client.post("/api/studies", json={"name": "Dropped", "table": got["files"][0]})
    assert made.status_code == 200, made.text
    folder = site.places.folder / "DROPPED"
    assert (folder / "Liver.csv").is_file()
    assert study_values((folder / "study.yaml").read_text())["cohort"]["table"] == "Liver.csv"
    again = client.post("/api/studies", json={"name": "Dropped", "table": "t.csv"})
    assert again.status_code == 422 and "already" in again.json()["message"]


def test_no_name_of_a_study_or_patient_is_in_an_address_or_the_trail(client, site, study):
    client.get(f"/api/studies/{study}/cohort")
    text = site.audit.path.read_text()
    assert "new-study" in text and study in text and "My" not in text and "P001" not in text


def test_the_whole_check_is_a_process_whose_result_holds_until_the_file_changes(client, enter, site):
    folder = site.places.folder / "small"
    small_images.make(folder)
    (folder / "images" / "P03.nii.gz").write_bytes(b"no image")
    base = f"/api/studies/{site.places.code(folder)}/check"
    assert client.get(base).json() == {"state": "none"}
    assert enter("reviewer").post(base, json={}).status_code == 403
    assert client.post(base, json={}).json()["state"] == "running"
    assert client.post(base, json={}).status_code == 422, "one at a time"
    site.children.clear()  # another server sees it too
    until(lambda: client.get(base).json()["state"] == "done")
    told, result = client.get(base).json(), check_study(folder)
    assert told["text"] == result.text() and told["facts"] == result.facts
    assert [item["message"] for item in told["findings"]] == [item["message"] for item in findings_of(result)]
    assert any(item["patient"] == "P03" and item["severity"] == "error" for item in told["findings"])
    path = folder / "study.yaml"
    path.write_text(path.read_text() + "\n# changed\n")
    assert client.get(base).json() == {"state": "none"}
