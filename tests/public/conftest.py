"""The stand-in and the virtual collection, made once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from standin import BUCKET, StandIn, stand_in
from virtual_collection import VirtualCollection, make_patients

from hepacast.public import fetching, index, transfer


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> VirtualCollection:
    """Three virtual patients, the first and third with both phases in one series."""
    return make_patients(tmp_path_factory.mktemp("virtual"), (1, 2, 3))


@pytest.fixture(scope="module")
def servers(collection: VirtualCollection) -> Iterator[StandIn]:
    with stand_in() as place:
        for folder, files in collection.files.items():
            for name, content in files.items():
                place.put(BUCKET, f"{folder}/{name}", content)
        yield place


@pytest.fixture
def idc(servers: StandIn, collection: VirtualCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The virtual collection is what the index names, and the stand-in is the network; nobody waits long."""
    servers.faults.clear()
    servers.asked.clear()
    monkeypatch.setattr(index, "EXTRACT", collection.write_index(tmp_path / "index.csv"))
    monkeypatch.setenv(transfer.MIRROR, servers.address)
    monkeypatch.setattr(fetching, "Patience", lambda: transfer.Patience(tries=4, first_s=0.01, timeout_s=20))
    return servers
