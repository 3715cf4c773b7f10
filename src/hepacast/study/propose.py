"""`hepacast init --table`: a study file proposed from the user's own table, its doubts as comments.

With a recipe, the recipe's columns are looked for in the table; without one, the study is what the table shows: its
covariates as candidates of a clinical model, the outcome that it probably holds. What `check` would refuse among the
candidates is left out of them, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepacast.cohort import ColumnSpec
from hepacast.cohort.columns import level_key, level_words, word_key
from hepacast.cohort.matching import match_headers, nearest_headers
from hepacast.cohort.proposal import ProposedColumn, TableProposal, propose_columns
from hepacast.cohort.quantities import find_quantity
from hepacast.core.files import atomic_folder, write_text
from hepacast.errors import StorageError
from hepacast.study.context import Context
from hepacast.study.propose_images import ProposedImages, propose_images
from hepacast.study.schema import Column, Study
from hepacast.study.stages.clinical import column_spec
from hepacast.study.stages.judging import judge_cohort
from hepacast.study.template import STRONGEST, STRONGEST_NOTES, proposed_values, recipe_values, render_study

_TRAINING = ("training", "train", "development", "derivation", "训练集", "训练", "训练组", "Training", "Trainingsset")
_VALIDATION = (
    "validation",
    "valid",
    "test",
    "testing",
    "internal",
    "验证集",
    "验证",
    "验证组",
    "测试集",
    "Validierung",
)
_EXTERNAL = ("external", "external validation", "外部", "外部验证集", "extern")
_RESPONSE = frozenset({"cr", "pr", "sd", "pd"})
#: Findings after which a candidate cannot be one.
_NO_CANDIDATE = frozenset(
    (
        *("identifier", "date-as-predictor", "outcome-as-predictor", "after-event", "perfect-predictor"),
        *("all-missing", "constant-column"),
    )
)


@dataclass
class Proposed:
    """A proposed study.

    Parameters
    ----------
    values
        What the study file sets.
    notes
        Comments by key.
    mapped
        One line for each header that is read.
    unsure, unmapped
        What to look at, and what is not read, with the reason.
    errors
        How many errors `check` will still find in the table.
    """

    values: dict[str, Any]
    notes: dict[str, list[str]] = field(default_factory=dict)
    mapped: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    errors: int = 0

    def note(self, key: str, *lines: str) -> None:
        """Add comments above a key."""
        self.notes.setdefault(key, []).extend(lines)

    def text(self) -> str:
        """The summary for the terminal."""
        lines = [f"Read from the table ({len(self.mapped)}):", *(f"  {line}" for line in self.mapped)]
        for title, items in (("Look at these", self.unsure), ("Not read", self.unmapped)):
            if items:
                lines += ["", f"{title} ({len(items)}):", *(f"  {line}" for line in items)]
        if self.errors:
            lines += ["", f"`hepacast check` will list {self.errors} errors that only you can correct."]
        return "\n".join(lines)


def init_from_table(
    folder: str | Path,
    table: str | Path,
    recipe: str | None = None,
    *,
    images: str | Path | None = None,
    force: bool = False,
) -> tuple[Path, Proposed]:
    """Write ``study.yaml`` into a folder, proposed from a table and a folder of images (which stay where they are).

    Raises
    ------
    TableError
        The table cannot be read, or no column tells its patients apart.
    ImageError
        No image in the folder is named by a patient's identifier.
    StorageError
        A study is there already and `force` is not set.
    """
    folder, table = Path(folder), Path(table)
    study = folder / "study.yaml"
    if study.exists() and not force:
        raise StorageError(
            "There is a study in this folder already.", where=str(study), remedy="choose another folder, or --force"
        )
    found = propose_columns(table)
    proposed = _plain(found, table) if recipe is None else _of_recipe(found, recipe)
    _settle_candidates(proposed, table)
    proposed.values["cohort"]["table"] = _from(folder, table)
    if images is not None:
        _add_images(proposed, propose_images(Path(images), found.raw.patients), _from(folder, Path(images)))
    text = render_study(proposed.values, proposed.notes)
    with atomic_folder(folder) as scratch:
        write_text(scratch / study.name, text)
    return study, proposed


def image_values(images: ProposedImages, folder: str) -> dict[str, Any]:
    """What images add to a study file that had none: the part `images` with its paths in a folder, the scale of MR, and
    the strongest models."""
    own = images.part()
    for entry in own["sequences"].values():
        entry["path"] = f"{folder}/{entry['path']}"
    if "masks" in own["segmentation"]:
        own["segmentation"]["masks"] = f"{folder}/{own['segmentation']['masks']}"
    values: dict[str, Any] = {"images": own, **STRONGEST}
    if "normalization" in own.get("preprocessing", {}):  # the engine's own scale of each image would undo it
        values["features"] = {"options": {"normalize": False, "normalizeScale": 1}}
    return values


def _add_images(proposed: Proposed, images: ProposedImages, folder: str) -> None:
    """The part `images`, and the models that read them."""
    added = image_values(images, folder)
    if proposed.values["modelling"].get("models") == ["clinical"]:
        proposed.notes.pop("modelling", None)
        for key, text in STRONGEST_NOTES.items():
            proposed.note(key, *text)
    else:  # a recipe's own
        added = {key: part for key, part in added.items() if key not in STRONGEST}
        _keep_recipe(proposed, added["images"])
    for key, part in added.items():
        proposed.values[key] = part if key == "images" else {**proposed.values.get(key, {}), **part}
    for phase, path in (images.phases or {"": images.image}).items():
        number = images.with_phase.get(phase, images.with_image)
        proposed.mapped.append(f"{path} -> {images.modality} images ({number} patients)")
    if images.mask:
        proposed.mapped.append(f"{images.mask} -> masks ({images.with_mask} patients)")
    proposed.note("images", *images.doubts)
    proposed.unsure += [f"images: {doubt}" for doubt in images.doubts]


def _keep_recipe(proposed: Proposed, part: dict[str, Any]) -> None:
    """What a recipe measures, and how it prepares MR, whatever the files are called."""
    known = proposed.values.get("images", {})
    part |= {"vois": known["vois"]} if "vois" in known else {}
    sequences = part["sequences"]
    if any(item["modality"] != "MR" for item in sequences.values()) or "preprocessing" not in known:
        return
    steps = known["preprocessing"]
    if steps.get("tissue", "parenchyma") not in part["segmentation"].get("labels", {}):
        published = recipe_values(proposed.values["recipe"])
        steps = published["images"]["preprocessing"]
        if "fusion" in published:  # the networks' window is one on that scale
            proposed.values["fusion"]["deep"]["crop"] = published["fusion"]["deep"]["crop"]
        proposed.notes["images.preprocessing.normalization"] = [
            "As published, as the masks hold no liver: with one, `normalization: reference-tissue` is recommended."
        ]
    steps = {**steps, **part.get("preprocessing", {})}
    if steps.get("reference") not in sequences:
        steps.pop("reference", None)
    if len(sequences) == 1:
        steps["registration"] = "none"
    part["preprocessing"] = steps


def _from(folder: Path, table: Path) -> str:
    """The table's path as seen from the study file."""
    try:
        return Path(os.path.relpath(table.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive
        return str(table.absolute())


# -- a study of what the table shows -----------------------------------------------------------------------------------


def _plain(found: TableProposal, table: Path) -> Proposed:
    columns = {item.spec.name: _entry(item) for item in found.columns if item.spec and item.role not in _PLACES}
    proposed = Proposed({"hepacast": 1, "name": table.stem.replace("_", " "), "seed": 2024})
    cohort: dict[str, Any] = {"table": table.name, "id": found.id_header, "columns": columns}
    proposed.values["cohort"] = cohort
    _tell_identifier(found, proposed)
    _tell_columns(found, proposed)
    _sets(found, cohort, proposed)
    proposed.values["outcome"] = _outcome(found, proposed)
    parts = {proposed.values["outcome"].get("column"), *proposed.values["outcome"].get("columns", {}).values()}
    proposed.values["modelling"] = {
        "candidates": [
            item.spec.name
            for item in found.of_role("covariate")
            if item.spec and item.spec.name not in parts and item.spec.kind != "date"
        ],
        "models": ["clinical"],
        "selection": "backward",
    }
    proposed.note(
        "modelling.selection",
        "All candidates in one model, the one of largest P leaves until all are below `alpha`. `independent`, as in",
        "papers, tests all at once, which loses both of two that tell the same (AST and ALT).",
    )
    proposed.note(
        "modelling",
        "Only a clinical model, as there are no images yet: give `images` (or `features.table`) and set",
        "`models: [clinical, radiomics, combined]`.",
    )
    return proposed


#: Roles that are keys of the cohort, not columns.
_PLACES = ("center", "set")


def _entry(item: ProposedColumn) -> dict[str, Any]:
    spec = item.spec
    assert spec is not None
    entry: dict[str, Any] = {"column": item.header}
    if spec.kind != "numeric":
        entry["kind"] = spec.kind
    if spec.label and not spec.quantity:
        entry["label"] = spec.label
    if spec.quantity:
        entry["quantity"] = spec.quantity
    elif spec.kind == "numeric" and (find_quantity(item.header) or find_quantity(spec.name) or spec.unit):
        entry["quantity"] = "none"
    if spec.unit:
        entry["unit"] = spec.unit
    if spec.levels:
        entry["levels"] = {name: [_scalar(word) for word in words] for name, words in spec.levels.items()}
    if spec.date_format:
        entry["date_format"] = spec.date_format
    if spec.after_event:
        entry["after_event"] = True
    return entry


def _scalar(word: str) -> str | int:
    return int(word) if word.isdigit() and str(int(word)) == word else word


def _tell_identifier(found: TableProposal, proposed: Proposed) -> None:
    proposed.mapped.append(f"{found.id_header!r} -> patient identifier ({found.patients} patients)")
    if not found.id_is_sure:
        text = f"{found.id_header!r} is taken as the identifier: is it a study number (no name, no hospital number)?"
        proposed.note("cohort.id", text)
        proposed.unsure.append(text)
    proposed.unmapped += [
        f"sheet {name}: it is hidden, or has no column {found.id_header!r}" for name in found.left_aside
    ]


def _tell_columns(found: TableProposal, proposed: Proposed) -> None:
    for item in found.columns:
        if item.spec is None:
            line = f"{item.header!r}: {'; '.join(item.doubts)}"
            proposed.unmapped.append(line)
            proposed.note("cohort.columns", f"not read: {line}")
            continue
        if item.role in _PLACES:
            continue
        proposed.mapped.append(_line(item))
        for doubt in item.doubts:
            proposed.note(f"cohort.columns.{item.spec.name}", doubt)
            proposed.unsure.append(f"{item.spec.name} ({item.header!r}): {doubt}")
    remarks = [f"{{reason: remark, column: {_yaml(item.header)}, filled: true}}" for item in found.of_role("remark")]
    if remarks:
        proposed.note("cohort.exclude", "to leave out whoever has a remark:", f"exclude: [{', '.join(remarks)}]")
        proposed.values["cohort"]["exclude"] = []


def _line(item: ProposedColumn) -> str:
    spec = item.spec
    assert spec is not None
    kind = spec.quantity or spec.kind
    if spec.levels:
        kind += " " + " | ".join(f"{name} ({', '.join(words)})" for name, words in spec.levels.items())
    unit = f" [{spec.unit}]" if spec.unit else ""
    after = ", known only after the event" if spec.after_event else ""
    return f"{item.header!r} -> {spec.name}: {kind}{unit}{after}"


def _sets(found: TableProposal, cohort: dict[str, Any], proposed: Proposed) -> None:
    """Center, and how the sets are made: by a column that names them, else one cohort with the alternatives."""
    centers = found.of_role("center")
    if centers:
        cohort["center"] = centers[0].header
        proposed.mapped.append(f"{centers[0].header!r} -> center")
        _more_of(centers[1:], "center", proposed)
    cohort["split"] = {"by": "none"}
    for item in found.of_role("set"):
        words = [word for word, _ in item.words]
        sets = {
            name: [word for word in words if word_key(word) in {word_key(known) for known in spellings}]
            for name, spellings in (("training", _TRAINING), ("validation", _VALIDATION), ("external", _EXTERNAL))
        }
        if sets["external"] and not sets["validation"]:
            sets["validation"], sets["external"] = sets["external"], []
        if sets["training"] and sets["validation"] and cohort["split"]["by"] == "none":
            cohort["split"] = {"by": "column", "column": item.header} | {
                key: value for key, value in sets.items() if value
            }
            proposed.mapped.append(f"{item.header!r} -> sets")
        else:
            proposed.unmapped.append(f"{item.header!r}: names sets or groups, but not training and validation")
    if cohort["split"]["by"] == "none":
        alternatives = ["split: {by: random, validation_fraction: 0.3}"]
        ranked = sorted(centers[0].words, key=lambda pair: -pair[1]) if centers else []
        if len(ranked) > 1:
            rest = ", ".join(_yaml(word) for word, _ in ranked[1:])
            alternatives.insert(
                0,
                f"split: {{by: column, column: {_yaml(centers[0].header)}, training: [{_yaml(ranked[0][0])}], "
                f"validation: [{rest}]}}",
            )
            proposed.unsure.append("split: one cohort; a validation in the other center is stronger (see the comment)")
        proposed.note("cohort.split", "alternatives:", *alternatives)


def _yaml(word: str) -> str:
    return word if word.replace("_", "").isalnum() else repr(word)


def _more_of(items: Iterable[ProposedColumn], what: str, proposed: Proposed) -> None:
    proposed.unmapped += [f"{item.header!r}: another {what}" for item in items]


def _outcome(found: TableProposal, proposed: Proposed) -> dict[str, Any]:
    """The most likely outcome; the others, and a time to the event, as comments."""
    likely = [item for item in found.of_role("outcome") if item.spec is not None]
    ranked = sorted(likely, key=lambda item: item.spec.kind != "binary")  # type: ignore[union-attr]
    times = found.of_role("time")
    if not ranked:
        text = "no column looks like the outcome: name it here (and its values, `positive: [...]`)"
        two = [item.spec.name for item in found.columns if item.spec is not None and item.spec.kind == "binary"]
        proposed.note("outcome", text, f"columns of two values: {', '.join(two) or 'none'}")
        proposed.unsure.append(f"outcome: {text}")
        return {"definition": "binary-column", "column": "NAME OF THE OUTCOME COLUMN"}
    best = ranked[0].spec
    assert best is not None
    lines = [f"or {_outcome_line(item)}" for item in ranked[1:]]
    if times and best.kind == "binary":
        lines.append("or " + _survival_line(times[0], best.name))
    if lines:
        proposed.note("outcome", "alternatives:", *lines)
    proposed.unsure.append(f"outcome: {best.name} is taken; {len(lines)} alternatives stand in the study file")
    outcome: dict[str, Any] = {"name": best.label or best.name}
    words = {word_key(word) for word, _ in ranked[0].words}
    if words and words <= _RESPONSE:
        return {"definition": "mrecist-objective-response", **outcome, "columns": {"category": best.name}}
    outcome = {"definition": "binary-column", **outcome, "column": best.name}
    if best.kind != "binary":
        first, *others = best.levels
        outcome |= {"positive": [first], "negative": others}
        proposed.unsure.append(f"outcome: which of {', '.join(best.levels)} mean the event (`outcome.positive`)?")
    return outcome


def _survival_line(time: ProposedColumn, event: str) -> str:
    assert time.spec is not None
    words = time.header.casefold()
    unit = next((name for name, known in _TIME_WORDS.items() if any(word in words for word in known)), "months")
    horizons = {"days": "[365, 730]", "weeks": "[52, 104]", "months": "[12, 24]", "years": "[1, 2]"}[unit]
    columns = f"{{time: {time.spec.name}, event: {event}}}"
    return f"{{definition: survival, columns: {columns}, unit: {unit}, horizons: {horizons}}}"


_TIME_WORDS = {
    "days": ("day", "tag", "天", "日"),
    "weeks": ("week", "woche", "周"),
    "years": ("year", "jahr", "年"),
    "months": ("month", "monat", "月"),
}


def _outcome_line(item: ProposedColumn) -> str:
    assert item.spec is not None
    if {word_key(word) for word, _ in item.words} <= _RESPONSE:
        return f"{{definition: mrecist-objective-response, columns: {{category: {item.spec.name}}}}}"
    return f"{{definition: binary-column, column: {item.spec.name}}}"


# -- a recipe whose columns are looked for in the table ----------------------------------------------------------------


def _of_recipe(found: TableProposal, recipe: str) -> Proposed:
    values, notes = proposed_values(recipe)
    proposed = Proposed(values, notes)
    cohort = values["cohort"]
    cohort["id"] = found.id_header
    wanted = {name: Column.model_validate(entry) for name, entry in cohort["columns"].items()}
    specs = [column_spec(name, column, False, False) for name, column in wanted.items()]
    headers, _ = match_headers(specs, found.raw)
    by_header = {item.header: item for item in found.columns}
    _tell_identifier(found, proposed)
    columns: dict[str, Any] = {}
    for spec in specs:
        item = by_header.get(headers.get(spec.name, "")) or _after_of(spec, found, set(headers.values()), proposed)
        if item is None or item.spec is None:
            near = nearest_headers(
                spec.source or (spec.name,), [head for head in by_header if head not in headers.values()]
            )
            text = f"{spec.name} ({spec.label}): no header like {' or '.join(map(repr, spec.source))}"
            text += f"; the nearest: {', '.join(map(repr, near))}" if near else ""
            proposed.unsure.append(text)
            proposed.note("cohort.columns", f"not found: {text}")
            continue
        headers[spec.name] = item.header
        columns[spec.name] = _recipe_entry(spec, cohort["columns"][spec.name], item)
        proposed.mapped.append(f"{item.header!r} -> {spec.name}: {spec.label}")
        for doubt in item.doubts if item.role != "after" else ():
            proposed.note(f"cohort.columns.{spec.name}", doubt)
            proposed.unsure.append(f"{spec.name} ({item.header!r}): {doubt}")
    _others(found, headers, columns, proposed)
    cohort["columns"] = columns
    values["modelling"]["candidates"] = [name for name in values["modelling"]["candidates"] if name in columns]
    cohort.pop("center", None)
    _sets(found, cohort, proposed)
    return proposed


def _others(found: TableProposal, headers: dict[str, str], columns: dict[str, Any], proposed: Proposed) -> None:
    """Columns of the table that the recipe does not have: described, but no candidates."""
    used = set(headers.values())
    for item in found.columns:
        if item.header in used or item.role in _PLACES:
            continue
        if item.spec is None or item.spec.name in columns:
            proposed.unmapped.append(f"{item.header!r}: {'; '.join(item.doubts) or 'not in the recipe'}")
            continue
        columns[item.spec.name] = _entry(item)
        proposed.mapped.append(f"{_line(item)} (not in the recipe: described, no candidate)")


def _after_of(spec: ColumnSpec, found: TableProposal, used: set[str], proposed: Proposed) -> ProposedColumn | None:
    """For a value after the treatment: the one column of its quantity that sounds like it."""
    if not spec.after_event or not spec.quantity:
        return None
    likely = [
        item
        for item in found.of_role("after")
        if item.header not in used and item.spec is not None and item.spec.quantity == spec.quantity
    ]
    if len(likely) != 1:
        return None
    text = f"{spec.name}: {likely[0].header!r} is taken for {spec.label}: is it?"
    proposed.note(f"cohort.columns.{spec.name}", text)
    proposed.unsure.append(text)
    return likely[0]


def _recipe_entry(spec: ColumnSpec, entry: dict[str, Any], item: ProposedColumn) -> dict[str, Any]:
    """The recipe's description with the table's header, unit and words."""
    own = _entry(item)
    entry = {**entry, "column": item.header}
    if "unit" in own:
        entry["unit"] = own["unit"]
    if spec.kind == "numeric" and item.spec is not None and item.spec.kind != "numeric":
        return {**own, "label": spec.label}
    known = level_words(spec)
    if spec.levels and not all(level_key(word) in known for word, _ in item.words):
        entry["levels"] = own.get("levels", entry.get("levels"))
        entry["kind"] = own.get("kind", entry.get("kind"))
    return entry


# -- what `check` would refuse -----------------------------------------------------------------------------------------


def _settle_candidates(proposed: Proposed, table: Path) -> None:
    """Leave out candidates that cannot be ones, and those for which there are too few events."""
    modelling = proposed.values["modelling"]
    for _ in range(2):
        study = {**proposed.values, "cohort": {**proposed.values["cohort"], "table": str(table.absolute())}}
        seen = judge_cohort(Context(Study.model_validate(study), table.parent, table.parent / "results"))
        out = {
            item.column: item.message
            for item in seen.findings
            if item.column in modelling["candidates"] and item.code in _NO_CANDIDATE
        }
        if not out:
            break
        modelling["candidates"] = [name for name in modelling["candidates"] if name not in out]
        for name, why in out.items():
            proposed.note("modelling.candidates", f"not {name}: {why}")
            proposed.unsure.append(f"{name} is no candidate: {why}")
    few = [item for item in seen.findings if item.code == "fewer-events-than-variables"]
    if few and seen.cohort is not None:
        training = seen.cohort.outcome.select(seen.cohort.members("training"))
        limit = min(training.n_events, training.n - training.n_events) // 2
        kept, cut = modelling["candidates"][:limit], modelling["candidates"][limit:]
        modelling["candidates"] = kept
        text = f"too few events for more candidates; choose by what is known: {', '.join(cut)}"
        proposed.note("modelling.candidates", text)
        proposed.unsure.append(text)
    proposed.errors = sum(item.severity == "error" for item in seen.findings) - len(few) + len(seen.errors)
