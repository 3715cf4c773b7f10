"""A served folder, and clients of it that have entered."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from hepacast.web.access import Access, Account, token_hash
from hepacast.web.app import create_app
from hepacast.web.places import Places
from hepacast.web.site import Site

ORIGIN = "http://127.0.0.1:8321"
TOKENS = {role: f"token-of-{role}" for role in ("reader", "reviewer", "owner")}


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
