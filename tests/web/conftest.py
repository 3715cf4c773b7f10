"""A served folder, and clients of it that have entered."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from hepacast.web.access import Access, Account, token_hash
from hepacast.web.app import create_app
from hepacast.web.places import Places
from hepacast.web.site import Site

ORIGIN = "http://127.0.0.1:8321"
#: Of a browser without a screen, that asks nobody for anything.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TOKENS = {role: f"token-of-{role}" for role in ("reader", "reviewer", "owner")}


def picture(page, name):
    place = os.environ.get("HEPACAST_SCREENSHOTS")
    if place:
        page.screenshot(path=Path(place) / f"web-{name}.png")


def until(condition, seconds=60.0):
    """Wait for what a page or a run will make true; pages allow no code as text, so this side asks again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


@pytest.fixture
def site(tmp_path):
    """A site in a folder of its own, with one user a role."""
    folder = tmp_path / "served"
    folder.mkdir()
    users = [Account(f"the-{role}", role, token_hash(token)) for role, token in TOKENS.items()]
    return Site(Places(folder), Access(users), frozenset({"127.0.0.1:8321", "localhost:8321"}))


@pytest.fixture
def app(site):
    return create_app(site)


@pytest.fixture
def enter(app):
    """A client that has entered with a role, its changes coming from the page's own origin."""

    def entered(role: str = "owner") -> TestClient:
        client = TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"})
        assert client.post("/api/enter", json={"token": TOKENS[role]}).json()["role"] == role
        return client

    return entered


@pytest.fixture
def client(enter):
    return enter("owner")


@pytest.fixture
def stranger(app):
    """A client without a session."""
    return TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"})


@pytest.fixture
def server(site, app):
    """The application on a port of this machine."""
    uvicorn = pytest.importorskip("uvicorn")

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    site.hosts |= {f"127.0.0.1:{port}"}
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def chromium():
    api = pytest.importorskip("playwright.sync_api")
    where = shutil.which("chromium")
    if where is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def entered(chromium, server, site):
    """`with entered() as page`: a page whose owner has entered; at its end no error, and no other host was asked."""

    @contextlib.contextmanager
    def opened(locale="en-US", width=1280):
        context = chromium.new_context(locale=locale, viewport={"width": width, "height": 900})
        page = context.new_page()
        page.problems, page.hosts = [], set()
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: page.hosts.add(request.url.split("/")[2]))
        page.goto(f"{server}#token={site.access.new_token()}")
        page.wait_for_selector("nav a")
        page.problems.clear()  # a browser that has not entered asks who it is, and is told 401
        yield page
        assert not page.problems and page.hosts == {server.split("/")[2]}
        context.close()

    return opened
