"""What the shell offers behind a command when the tabulator is pressed.

Names come from where they are defined; what would take a second to load is read from the names of files instead.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

_ROOT = Path(__file__).parents[1]
#: The controls of `noise`, whose modules take a second to load.
CONTROLS = ("outcome", "features", "noise-features", "voxels", "noise-voxels", "region")
SEGMENTERS = (
    "builtin",
    "builtin:openvino",
    "builtin:openvino-bf16",
    "builtin:torch-bf16",
    "nnunet:",
    "totalsegmentator",
)

Complete = Callable[[str], list[str]]


def one_of(*names: str) -> Complete:
    """Offers some words."""
    return lambda incomplete: _beginning(names, incomplete)


def several_of(*names: str) -> Complete:
    """Offers words that stand behind one another, separated by commas."""
    return lambda incomplete: _after_comma(names, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Names of recipes, which are those of the demos too."""
    return _beginning(_files("study/recipes"), incomplete)


def collections(incomplete: str) -> list[str]:
    """Names of public collections."""
    catalog = (_ROOT / "public" / "catalog.yaml").read_text(encoding="utf-8")
    return _beginning(re.findall(r"^([\w-]+):$", catalog, re.MULTILINE), incomplete)


def stages(incomplete: str) -> list[str]:
    """Names of a study's stages, in the order of the plan."""
    plan = (_ROOT / "study" / "plan.py").read_text(encoding="utf-8")
    modules = re.findall(r"^    (\w+)\.STAGE,$", plan, re.MULTILINE)
    texts = [(_ROOT / "study" / "stages" / f"{module}.py").read_text(encoding="utf-8") for module in modules]
    named = [re.search(r'^STAGE = Stage\(\s+name="(\w+)"', text, re.MULTILINE) for text in texts]
    return _beginning(dict.fromkeys(match[1] for match in named if match), incomplete)


def settings(incomplete: str) -> list[str]:
    """Names of feature settings."""
    return _beginning(_files("radiomics/named"), incomplete)


def features(incomplete: str) -> list[str]:
    """Names of features: class and feature."""
    from hepacast.radiomics.names import FEATURES

    return _beginning((f"{group}_{name}" for group, names in FEATURES.items() for name in names), incomplete)


def phases(incomplete: str) -> list[str]:
    """Phases after contrast."""
    from hepacast.imaging.phases import PHASES

    return _beginning(PHASES, incomplete)


def scores(incomplete: str) -> list[str]:
    """Names of clinical scores."""
    from hepacast.cohort.scores import SCORES

    return _beginning(SCORES, incomplete)


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Headers of the command's table, where that is a text file; several stand behind one another with commas."""
    return _after_comma(_headers(ctx), incomplete)


def column(ctx: typer.Context, incomplete: str) -> list[str]:
    """One header of the command's table, where that is a text file."""
    return _beginning(_headers(ctx), incomplete)


def _headers(ctx: typer.Context) -> list[str]:
    # While the last option lacks its value, the words before it stand in `args`.
    words = [str(word) for word in (ctx.params.get("table"), *ctx.args) if word is not None]
    path = next((Path(word) for word in words if word.lower().endswith((".csv", ".tsv", ".txt"))), None)
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            line = file.readline()
    except OSError:
        return []
    mark = max((",", ";", "\t"), key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=mark), [])]


def _files(folder: str) -> list[str]:
    return sorted(item.stem for item in (_ROOT / folder).glob("*.yaml"))


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.casefold().startswith(incomplete.casefold())]


def _after_comma(names: Iterable[str], incomplete: str) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    given = {name.strip() for name in before.split(",")}
    return [f"{before}{comma}{name}" for name in _beginning(names, last.strip()) if name not in given]
