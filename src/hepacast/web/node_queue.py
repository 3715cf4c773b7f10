"""What the page shows and changes of a node: its file, its queue, and which model is pinned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hepacast.bundle.applying import open_bundle
from hepacast.core.lock import is_held
from hepacast.core.run_progress import STOP, ask_to_stop
from hepacast.errors import BundleError, HepacastError
from hepacast.pacs.choose import SeriesRule
from hepacast.pacs.config import NodeConfig, pin_model, read_config
from hepacast.pacs.jobs import ENDED, NodeQueue, QueuedStudy
from hepacast.web.connections import EarlierModel, read_settings, write_settings
from hepacast.web.places import PlaceError
from hepacast.web.predictions import bundles
from hepacast.web.processes import start_module
from hepacast.web.site import Site

#: Studies that the page shows, and former models that are remembered.
_SHOWN, _REMEMBERED = 500, 20
#: The node's process among those that the server started; how long it is waited for, and the end of what it said.
NODE, _START_S, _SAID = "node", 20.0, 600
#: What needs a person stands above what goes on by itself.
_ORDER = ("dead", "running", "complete", "received", "made", "sent", "confirmed")


def node_file(site: Site) -> Path:
    """The node's file.

    Raises
    ------
    PlaceError
        None was chosen.
    """
    chosen = read_settings(site).node
    if not chosen:
        raise PlaceError("No node was chosen yet.", remedy="choose the node's file in the settings")
    return site.places.within(chosen)


def choose_node(site: Site, path: str) -> None:
    """Show this node from now on; an empty path: none.

    Raises
    ------
    HepacastError
        The file is no node's, or lies outside of the folders that may be read.
    """
    found = str(site.places.within(path)) if path else ""
    if found:
        read_config(found)
    write_settings(site, replace(read_settings(site), node=found))


def described_node(site: Site) -> dict[str, Any]:
    """Where the node listens and to whom, where results go, its model, when what is deleted, and its queue."""
    path = node_file(site)
    config = read_config(path)
    # A queue that is not there is not made by looking at it.
    there = (Path(config.folder) / "secret").is_file()
    return {
        "file": _shown_path(site, path),
        "running": there and is_held(config.folder),
        "stopping": (Path(config.folder) / STOP).exists(),
        "listen": config.listen.model_dump(),
        "send_to": config.send_to,
        "model": {"bundle": config.model.bundle, "identity": config.model.identity},
        "series": {name: rule.model_dump(exclude_defaults=True) for name, rule in config.series.items()},
        "quiet_s": config.quiet_s,
        "keep_hours": config.keep_hours,
        "keep_failed_hours": config.keep_failed_hours,
        "tries": config.tries,
        "send_tries": config.send_tries,
        **(_queue(NodeQueue(config.folder), config) if there else {"studies": [], "total": 0, "quarantined": []}),
    }


def _shown_path(site: Site, path: Path) -> str:
    """From the served folder where it lies in it."""
    root = site.places.roots[0]
    return path.relative_to(root).as_posix() if root in path.parents else str(path)


def _queue(queue: NodeQueue, config: NodeConfig) -> dict[str, Any]:
    listed = queue.listing()
    studies = sorted(listed.studies, key=lambda item: (item.deleted, _ORDER.index(item.state), -item.due))
    aside = [
        {"name": name, "reason": reason, "deleted": _when(_put_aside(queue, name) + 3600 * config.keep_failed_hours)}
        for name, reason in listed.quarantined
    ]
    return {"studies": [_shown(item) for item in studies[:_SHOWN]], "total": len(studies), "quarantined": aside}


def _put_aside(queue: NodeQueue, name: str) -> float:
    path = queue.quarantine / f"{name}.json"
    return path.stat().st_mtime if path.is_file() else 0.0


def _shown(item: QueuedStudy) -> dict[str, Any]:
    ended = item.state in ENDED
    return {
        "key": item.key,
        "state": item.state,
        "attempts": item.attempts,
        "reason": item.reason,
        "model": item.model,
        "deleted": item.deleted,
        "delete_at": _when(item.due) if ended and not item.deleted and item.due else "",
        "again_at": _when(item.due) if not ended and item.due > time.time() else "",
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def series_rules(site: Site) -> dict[str, SeriesRule]:
    """Rules of the chosen node, by sequence; none where there is no node or its file is damaged."""
    try:
        return dict(read_config(node_file(site)).series)
    except HepacastError:
        return {}


def start_node(site: Site) -> None:
    """Start `hepacast node` as a process of its own, which goes on when the server ends.

    Raises
    ------
    PlaceError
        It runs already, or ends at once; with what it said.
    """
    path = node_file(site)
    folder = Path(read_config(path).folder)
    if is_held(folder):
        raise PlaceError("The node is running already.")
    (site.state / "jobs").mkdir(parents=True, exist_ok=True)
    log = site.state / "jobs" / "node.log"
    process = site.children[NODE] = start_module("hepacast.cli.main", ["node", str(path)], log)
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        if is_held(folder):
            return
        time.sleep(0.2)
    if process.poll() is not None:
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        raise PlaceError("The node has ended at once.", found=said[-_SAID:], remedy="correct the node's file")


def stop_node(site: Site) -> None:
    """Ask the node to stop, whoever started it: what it has taken in stays in its queue.

    Raises
    ------
    PlaceError
        It does not run.
    """
    folder = Path(read_config(node_file(site)).folder)
    if not is_held(folder):
        raise PlaceError("The node is not running.")
    ask_to_stop(folder)


def retry(site: Site, keys: Sequence[str]) -> list[str]:
    """Try dead studies again (``all``: every one): their keys.

    Raises
    ------
    HepacastError
        The node has no queue yet, or no such study is dead.
    """
    config = read_config(node_file(site))
    if not (Path(config.folder) / "secret").is_file():
        raise PlaceError("The node has no queue yet.", remedy="start it: hepacast node")
    taken = [item.key for item in NodeQueue(config.folder).retry(keys)]
    if not taken:
        raise HepacastError("No such study can be tried again.", expected="one that is dead and not deleted")
    return taken


def models(site: Site) -> list[dict[str, Any]]:
    """Models that the node can be given: that which is pinned, those that it had, and those of the served folder."""
    config = read_config(node_file(site))
    had = {item.identity: item for item in read_settings(site).earlier}
    paths = [Path(config.model.bundle), *(Path(item.bundle) for item in had.values()), *bundles(site).values()]
    found: dict[str, dict[str, Any]] = {}
    for path in dict.fromkeys(item.resolve() for item in paths):
        try:
            opened = open_bundle(path)
        except (HepacastError, OSError):
            continue
        former = had.get(opened.identity)
        found.setdefault(
            opened.identity,
            {
                "identity": opened.identity,
                "bundle": str(path),
                "place": _shown_path(site, path),
                "study": opened.card["name"],
                "held": opened.held_text(),
                "pinned": opened.identity.startswith(config.model.identity.lower()),
                "fits": set(opened.recipe.sequences) == set(config.series),
                "until": former.until if former else "",
            },
        )
    return list(found.values())


def pin(site: Site, identity: str) -> None:
    """Pin another model in the node's file, which takes it up when it is started again; the former is remembered.

    Raises
    ------
    HepacastError
        There is no such model, or its sequences are not those of the node's rules.
    """
    path = node_file(site)
    known = models(site)
    chosen = next((item for item in known if item["identity"] == identity), None)
    if chosen is None:
        raise PlaceError("There is no such model.", remedy="load the page again")
    if not chosen["fits"]:
        raise BundleError(
            "The model reads other sequences than the node has rules for.",
            expected=", ".join(read_config(path).series),
            remedy="change `series` in the node's file by hand, then pin the model",
        )
    settings = read_settings(site)
    before = next((item for item in known if item["pinned"]), None)
    pin_model(path, chosen["bundle"], identity)
    if before is not None and before["identity"] != identity:
        former = EarlierModel(before["bundle"], before["identity"], datetime.now(UTC).isoformat(timespec="seconds"))
        rest = [item for item in settings.earlier if item.identity != former.identity]
        write_settings(site, replace(settings, earlier=tuple([former, *rest][:_REMEMBERED])))
