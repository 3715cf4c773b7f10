"""PACS that results may be sent to, sending, and the node beside the PACS."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from hepacast.core.records import read_record, write_record
from hepacast.web import connections, node_queue, predictions
from hepacast.web.connections import PacsConnection
from hepacast.web.site import OWNER, REVIEWER, AccountOf, SiteOf

router = APIRouter()


class ConnectionsGiven(BaseModel):
    """All PACS that are allowed."""

    connections: list[dict[str, Any]] = Field(max_length=50)


class NodeChosen(BaseModel):
    """The node's file; empty: none."""

    path: str = ""


class RetryGiven(BaseModel):
    """Keys of dead studies, or ``all``."""

    keys: list[str] = Field(min_length=1, max_length=1000)


class PinGiven(BaseModel):
    """Identity of a model."""

    identity: str = Field(min_length=12, max_length=128)


class SendGiven(BaseModel):
    """Name of an allowed PACS."""

    to: str


@router.get("/pacs", dependencies=REVIEWER)
def allowed(site: SiteOf) -> list[str]:
    """Names of the PACS that results may be sent to."""
    return [item.name for item in connections.read_settings(site).connections]


@router.get("/settings/pacs", dependencies=OWNER)
def pacs_settings(site: SiteOf) -> dict[str, Any]:
    """Allowed PACS, the results that there are, and the node's file."""
    found = connections.read_settings(site)
    return {
        "connections": [asdict(item) for item in found.connections],
        "results": list(connections.RESULTS),
        "calling": connections.AE_TITLE,
        "node": found.node,
    }


@router.put("/settings/pacs", dependencies=OWNER)
def set_pacs(given: ConnectionsGiven, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Allow these PACS and no others."""
    site.audit.add(account.name, account.role, "set-pacs")
    made = tuple(PacsConnection.from_json(item) for item in given.connections)
    connections.set_connections(site, made)
    return {"kept": True}


@router.post("/settings/pacs/{name}/echo", dependencies=OWNER)
def echo(name: str, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Ask whether a PACS is there."""
    site.audit.add(account.name, account.role, "echo-pacs")
    connections.connection(site, name).peer().echo()
    return {"answers": True}


@router.put("/settings/node", dependencies=OWNER)
def choose_node(given: NodeChosen, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Show this node from now on."""
    site.audit.add(account.name, account.role, "choose-node")
    node_queue.choose_node(site, given.path)
    return {"kept": True}


@router.get("/node", dependencies=OWNER)
def node(site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """The node, its queue, its quarantine."""
    if not connections.read_settings(site).node:
        return {}
    site.audit.add(account.name, account.role, "see-queue")
    return node_queue.described_node(site)


@router.get("/node/models", dependencies=OWNER)
def node_models(site: SiteOf) -> list[dict[str, Any]]:
    """Models that the node can be given."""
    return node_queue.models(site)


@router.post("/node/start", dependencies=OWNER)
def start(site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Start the node."""
    site.audit.add(account.name, account.role, "start-node")
    node_queue.start_node(site)
    return {"started": True}


@router.post("/node/stop", dependencies=OWNER)
def stop(site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Ask the node to stop."""
    site.audit.add(account.name, account.role, "stop-node")
    node_queue.stop_node(site)
    return {"asked": True}


@router.post("/node/retry", dependencies=OWNER)
def retry(given: RetryGiven, site: SiteOf, account: AccountOf) -> dict[str, list[str]]:
    """Try dead studies again."""
    site.audit.add(account.name, account.role, "retry-queue", given.keys[0] if len(given.keys) == 1 else "")
    return {"keys": node_queue.retry(site, given.keys)}


@router.post("/node/pin", dependencies=OWNER)
def pin(given: PinGiven, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Pin another model, or one that the node had before."""
    site.audit.add(account.name, account.role, "pin-model", given.identity[:12])
    node_queue.pin(site, given.identity)
    return {"pinned": True}


@router.post("/predictions/{token}/send", dependencies=REVIEWER)
def send(token: str, given: SendGiven, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Send a prediction's results to a PACS, and ask it whether it holds them."""
    to = connections.connection(site, given.to)
    folder = predictions.sendable(site, token)
    study, whom = predictions.trail_codes(site, token)
    site.audit.add(account.name, account.role, "send", study, whom)
    result = connections.send_results(to, folder)
    path = folder.parent / predictions.SENDINGS
    before = read_record(list[connections.SentResults], path) if path.is_file() else []
    write_record(path, [*before, result])
    return asdict(result)
