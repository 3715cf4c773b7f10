"""Runs are processes of their own: started, followed, stopped, gone on with, whatever becomes of the server."""

import asyncio
import json
import time

import pytest

from hepacast.web import jobs
from hepacast.web.routes.runs import told
from hepacast.web.site import Site

from .test_cohort import TABLE


@pytest.fixture
def study(client, site):
    (site.places.folder / "t.csv").write_text(TABLE)
    code = client.post("/api/studies", json={"name": "Run", "table": "t.csv"}).json()["code"]
    yield code
    folder = site.places.folder / "RUN"
    if jobs.is_running(site, folder):
        jobs.stop(site, folder)
        wait(site, folder, "stopped", "done", "failed")


def wait(site, folder, *states, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = jobs.status(site, folder)
        if now["state"] in states:
            return now
        time.sleep(0.2)
    raise AssertionError(now)


def test_the_plan_is_that_of_a_dry_run(client, study):
    plan = client.get(f"/api/studies/{study}/plan").json()
    assert plan["stages"][0]["name"] == "cohort" and plan["stages"][-1]["name"] == "report"
    assert all(not item["kept"] and item["seconds"] > 0 for item in plan["stages"])
    assert "In all about" in plan["text"]


def test_a_run_outlives_its_server_is_stopped_by_the_next_and_goes_on(client, site, study):
    folder = site.places.folder / "RUN"
    assert client.post(f"/api/studies/{study}/run", json={}).json()["state"] == "starting"
    assert client.post(f"/api/studies/{study}/run", json={}).status_code == 422
    wait(site, folder, "running")
    # Another server, which has started nothing.
    other = Site(site.places, site.access, site.hosts)
    seen = wait(other, folder, "running")
    assert [item["state"] for item in seen["stages"]].count("running") <= 1
    jobs.stop(other, folder)
    stopped = wait(other, folder, "stopped", seconds=30)
    done = [item["name"] for item in stopped["stages"] if item["state"] in ("done", "kept")]
    jobs.start_run(other, folder)
    wait(other, folder, "running")
    again = jobs.status(other, folder)["stages"]
    assert all(item["state"] == "kept" for item in again if item["name"] in done)


def test_a_run_that_fails_says_why(client, site, study):
    folder = site.places.folder / "RUN"
    (site.places.folder / "t.csv").unlink()
    client.post(f"/api/studies/{study}/run", json={})
    failed = wait(site, folder, "failed")
    assert "t.csv" in failed["message"]


def test_a_study_that_does_not_run_cannot_be_stopped(client, study):
    assert client.post(f"/api/studies/{study}/stop").status_code == 422


def test_events_tell_every_change_until_the_browser_is_gone(client, site, study, monkeypatch):
    states = iter([{"state": "running"}, {"state": "running"}, {"state": "done"}])
    monkeypatch.setattr(jobs, "status", lambda *_: next(states))
    monkeypatch.setattr("hepacast.web.routes.runs._LOOK", 0.0)

    class Browser:
        looks = 0

        async def is_disconnected(self):
            self.looks += 1
            return self.looks > 3

    async def collect():
        return [event async for event in told(site, site.places.folder / "RUN", Browser())]

    events = asyncio.run(collect())
    assert [json.loads(event.removeprefix("data: "))["state"] for event in events] == ["running", "done"]


def test_readers_may_follow_and_not_start(enter, study):
    reader = enter("reader")
    assert reader.post(f"/api/studies/{study}/run", json={}).status_code == 403
    assert reader.get(f"/api/studies/{study}/progress").json()["state"] == "none"
