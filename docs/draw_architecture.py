"""Draw the rooms and their imports, read from the source, into ``docs/architecture.svg`` (``make architecture``).

Layers and their order are those of the import contract in ``pyproject.toml``. An arrow's width is the number of imports
of one room by another. Everybody imports ``core`` and ``errors``: their boxes say how many modules do, without arrows.
The same source gives the same bytes.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "hepacast"
WITHOUT_ARROWS = ("core", "errors")
WIDTH, BOX, HEIGHT, STEP, TOP = 960, 148, 50, 104, 64
#: Where the boxes of a layer stand, by their number, as parts of the width; layers of one box alternate.
PLACES = {
    1: ((0.36,), (0.64,)),
    2: ((0.24, 0.76),),
    3: ((0.2, 0.5, 0.8),),
    4: ((0.12, 0.37, 0.63, 0.88),),
    5: ((0.1, 0.3, 0.5, 0.7, 0.9),),
}
COLORS = ("#1b6ca8", "#b3541e", "#3b7a57", "#7a3b69", "#8a6d1d", "#34616b", "#a03a3a", "#4f5d95")


class Room(NamedTuple):
    """A box: its middle, and what stands in it."""

    x: float
    y: float
    text: str
    color: str


def layers() -> list[list[str]]:
    """Rooms by layer, the highest first, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    contract = next(item for item in contracts if item["type"] == "layers")
    return [[name.strip(" ()") for name in layer.split("|")] for layer in contract["layers"]]


def count_imports() -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Imports between rooms, by pair, and modules outside each room that import it."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    known = {room for names in layers() for room in names}
    pairs: Counter[tuple[str, str]] = Counter()
    users: dict[str, set[str]] = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            importer, imported = (name.split(".")[1] if "." in name else "" for name in (module, other))
            if importer in known and imported in known and importer != imported:
                pairs[importer, imported] += 1
                users.setdefault(imported, set()).add(module)
    return pairs, Counter({room: len(modules) for room, modules in users.items()})


def size_of(room: str) -> tuple[int, int]:
    """Lines and files of a room."""
    place = ROOT / "src" / PACKAGE / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files), len(files)


def place_rooms(users: Counter[str]) -> dict[str, Room]:
    rooms: dict[str, Room] = {}
    single = 0
    for row, names in enumerate(layers()):
        places = PLACES[len(names)]
        parts = (0.5,) if names[0] in WITHOUT_ARROWS else places[single % len(places)]
        single += len(names) == 1
        for name, part in zip(names, parts, strict=True):
            lines, files = size_of(name)
            text = f"{lines:,} lines, {files} file{'s' if files > 1 else ''}"
            if name in WITHOUT_ARROWS:
                text += f"; used by {users[name]} modules"
            rooms[name] = Room(part * WIDTH, TOP + row * STEP, text, COLORS[len(rooms) % len(COLORS)])
    return rooms


def _box(name: str, room: Room) -> str:
    half = (BOX + (110 if name in WITHOUT_ARROWS else 0)) / 2
    return (
        f'<rect x="{room.x - half:.1f}" y="{room.y - HEIGHT / 2:.1f}" width="{2 * half:.1f}" height="{HEIGHT}" rx="6" '
        f'fill="#ffffff" stroke="{room.color}" stroke-width="1.5"/>\n'
        f'<text x="{room.x:.1f}" y="{room.y - 3:.1f}" font-size="15" fill="{room.color}">{name}</text>\n'
        f'<text x="{room.x:.1f}" y="{room.y + 15:.1f}" font-size="11" fill="#444444">{room.text}</text>'
    )


def _arrow(start: Room, end: Room, shift: tuple[float, float], count: int) -> str:
    """A curve from under one box to above another, as wide as the imports are many."""
    x1, y1 = start.x + shift[0], start.y + HEIGHT / 2
    x2, y2 = end.x + shift[1], end.y - HEIGHT / 2 - 5
    bend = max(30.0, 0.45 * (y2 - y1))
    path = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
    width = 0.7 + 0.55 * sqrt(count)
    head = f"M{x2 - 2 - width:.1f},{y2 - 2:.1f} L{x2 + 2 + width:.1f},{y2 - 2:.1f} L{x2:.1f},{y2 + 5:.1f} Z"
    return (
        f'<path d="{path}" fill="none" stroke="{start.color}" stroke-width="{width:.2f}" stroke-opacity="0.5">'
        f"<title>{count} imports</title></path>\n"
        f'<path d="{head}" fill="{start.color}" fill-opacity="0.75"/>'
    )


def draw() -> str:
    """The drawing, as SVG."""
    pairs, users = count_imports()
    rooms = place_rooms(users)
    shown = sorted((pair, count) for pair, count in pairs.items() if pair[1] not in WITHOUT_ARROWS)
    arrows = []
    for (importer, imported), count in shown:
        # Arrows of one box start and end beside each other, in the order of where they go and come from.
        starts = sorted((rooms[other].x, other) for (one, other), _ in shown if one == importer)
        ends = sorted((rooms[other].x, other) for (other, one), _ in shown if one == imported)
        shift = (_offset(starts, imported), _offset(ends, importer))
        arrows.append(_arrow(rooms[importer], rooms[imported], shift, count))
    height = TOP + (len(layers()) - 1) * STEP + HEIGHT
    boxes = [_box(name, room) for name, room in rooms.items()]
    lines, files = (sum(part) for part in zip(*(size_of(name) for name in rooms), strict=True))
    caption = f"hepacast: {lines:,} lines in {files} files. An arrow: imports, as wide as they are many."
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            'text-anchor="middle">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{WIDTH / 2}" y="20" font-size="12" fill="#444444">{caption}</text>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _offset(order: list[tuple[float, str]], name: str) -> float:
    place = [other for _, other in order].index(name)
    return (place - (len(order) - 1) / 2) * min(12.0, (BOX - 24) / len(order))


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw(), encoding="utf-8", newline="\n")
