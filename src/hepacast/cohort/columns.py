"""`ColumnSpec`: what one column of the clinical table is, under the name that the study uses for it."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import pandas as pd

from hepacast.cohort.headers import split_header
from hepacast.cohort.numbers import is_missing_word, normalize_text
from hepacast.cohort.quantities import Quantity, find_quantity, get_quantity, is_unit_of, known_units
from hepacast.errors import StudyFileError

Kind = Literal["numeric", "binary", "categorical", "date"]
Role = Literal["candidate", "covariate", "outcome", "center", "set"]
Log = Literal["", "ln", "log2", "log10", "log10p1"]

#: Words that a binary column may use without saying so; the first tuple is 0, the second 1.
BINARY_WORDS: tuple[tuple[str, ...], tuple[str, ...]] = (
    ("0", "no", "n", "false", "negative", "neg", "absent", "nein", "negativ", "falsch", "无", "否", "没有", "阴性"),
    ("1", "yes", "y", "true", "positive", "pos", "present", "+", "ja", "j", "positiv", "wahr", "有", "是", "阳性"),
)
#: Words for the sexes, in the three languages; a coded column (1, 2) must say its levels.
SEX_LEVELS: dict[str, tuple[str, ...]] = {
    "female": ("female", "f", "woman", "w", "weiblich", "frau", "女", "女性"),
    "male": ("male", "m", "man", "männlich", "mann", "男", "男性"),
}
_PLUS = re.compile(r"\(?[1-4]?\+{1,4}\)?|±")
_SEX_NAMES = frozenset({"sex", "gender", "geschlecht", "性别"})


@dataclass(frozen=True)
class ColumnSpec:
    """One column: where it is in the table, what it holds and what part it plays.

    Parameters
    ----------
    name
        The study's name for it.
    source
        Possible headers in the table; when empty the name, the label and the quantity's synonyms are tried.
    kind
        ``numeric``, ``binary`` (kept as 0 and 1), ``categorical`` (kept as level names) or ``date``.
    label
        Name in tables and figures.
    quantity
        Name of a known quantity (`quantities.yaml`); found from name and headers when left out, for numeric columns.
        ``"none"`` says that it is none of them.
    unit
        Unit in which the values are kept (default: the header's, else the quantity's canonical unit).
    source_unit
        Unit in the table. When empty, the header's; when given, a header that says otherwise is an error.
    levels
        Level names in order (the first is the reference, 0 for a binary column), each with the words in the table.
    plausible
        Lowest and highest possible value in `unit`; default the quantity's.
    role
        ``candidate`` (may become a predictor), ``covariate`` (described only), ``outcome`` (a part of the
        outcome), ``center`` or ``set``.
    after_event
        Known only after the treatment or the outcome: never a predictor.
    log
        Logarithm that models use: ``ln``, ``log2``, ``log10``, ``log10p1`` (of 1 + x). The stored values stay as
        measured.
    sheet
        Excel sheet that holds it.
    date_format
        `datetime.strptime` format of a date column whose order of day and month is not clear.
    accept
        Codes of findings that the study's author has looked at and accepts for this column.
    """

    name: str
    source: tuple[str, ...] = ()
    kind: Kind = "numeric"
    label: str = ""
    quantity: str = ""
    unit: str = ""
    source_unit: str = ""
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plausible: tuple[float, float] | None = None
    role: Role = "covariate"
    after_event: bool = False
    log: Log = ""
    sheet: str = ""
    date_format: str = ""
    accept: tuple[str, ...] = ()

    #: The quantity that the names mean where a stated unit speaks against it, so that none was taken.
    contradicted: ClassVar[str] = ""

    def __post_init__(self) -> None:
        source = (self.source,) if isinstance(self.source, str) else tuple(self.source)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "levels", _tidy_levels(self.levels))
        for attribute, allowed in (("kind", Kind), ("role", Role), ("log", Log)):
            _check_choice(self, attribute, get_args(allowed))
        if self.kind == "numeric" and self.levels:
            self._wrong("levels belong to a binary or categorical column", "set `kind: binary` or `kind: categorical`")
        if self.kind == "binary" and self.levels and len(self.levels) != 2:
            self._wrong(f"a binary column has two levels, not {len(self.levels)}", "use `kind: categorical`")
        self._fill_from_quantity()
        if not self.levels and self.kind == "binary":
            names = {normalize_text(text).casefold() for text in (self.name, *self.source)}
            levels = SEX_LEVELS if names & _SEX_NAMES else {"no": BINARY_WORDS[0], "yes": BINARY_WORDS[1]}
            object.__setattr__(self, "levels", dict(levels))
        if not self.label:
            object.__setattr__(self, "label", self.name.replace("_", " "))
        if self.plausible is not None and not self.plausible[0] < self.plausible[1]:
            self._wrong(f"plausible range {self.plausible} is empty", "write the lower limit first")

    def _fill_from_quantity(self) -> None:
        if self.kind != "numeric" or self.quantity == "none":
            object.__setattr__(self, "quantity", "")
            return
        known = get_quantity(self.quantity) if self.quantity else self._guessed_quantity()
        if known is None:
            return
        object.__setattr__(self, "quantity", known.name)
        object.__setattr__(self, "label", self.label or known.label)
        for unit in (self.unit, self.source_unit):
            if unit and not is_unit_of(unit, known):
                self._wrong(
                    f"{unit!r} is not a unit of {known.label}",
                    f"use one of {', '.join(known_units(known))}, or `quantity: none` if it is something else",
                )

    def _guessed_quantity(self) -> Quantity | None:
        """The quantity that the names mean, when a stated unit does not speak against it."""
        for text in (self.name, *self.source):
            name, header_unit = split_header(text)
            found = find_quantity(text) or find_quantity(name)
            units = [unit for unit in (self.unit, self.source_unit, header_unit) if unit]
            if found is not None and all(is_unit_of(unit, found) for unit in units):
                return found
            if found is not None and not self.contradicted:
                object.__setattr__(self, "contradicted", found.name)
        return None

    def _wrong(self, what: str, remedy: str) -> None:
        raise StudyFileError(f"The column {self.name!r} is not described well: {what}.", remedy=remedy)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Level names in order; the first is the reference."""
        return tuple(self.levels)

    @property
    def candidate(self) -> bool:
        """Whether it may become a predictor."""
        return self.role == "candidate"

    def to_json(self) -> dict[str, Any]:
        """The column as an entry of ``columns.json``."""
        return {
            "name": self.name,
            "label": self.label,
            "unit": self.unit,
            "kind": self.kind,
            "levels": list(self.level_names),
            "candidate": self.candidate,
            "role": self.role,
            "quantity": self.quantity,
            "log": self.log,
            "plausible": list(self.plausible) if self.plausible else None,
            "after_event": self.after_event,
            "words": {level: list(words) for level, words in self.levels.items()},
            "source": list(self.source),
            "accept": list(self.accept),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ColumnSpec:
        """The inverse of `to_json`."""
        plausible = entry.get("plausible")
        return cls(
            name=entry["name"],
            label=entry["label"],
            unit=entry["unit"],
            kind=entry["kind"],
            levels={level: tuple(words) for level, words in entry.get("words", {}).items()},
            role=entry["role"],
            quantity=entry["quantity"] or "none",
            log=entry["log"],
            plausible=(plausible[0], plausible[1]) if plausible else None,
            after_event=entry["after_event"],
            source=tuple(entry["source"]),
            accept=tuple(entry["accept"]),
        )


def levels_from_words(words: Mapping[object, object], order: Sequence[object] = ()) -> dict[str, tuple[str, ...]]:
    """Turn ``{"男": "male", "女": "female"}`` into levels with their words.

    Parameters
    ----------
    words
        Word in the table -> level. The levels 0 and 1 (or False and True) stay in that order.
    order
        Levels in order; default: 0 before 1, else as they first appear.
    """
    levels: dict[str, list[str]] = {str(level): [] for level in order}
    found = list(dict.fromkeys(words.values()))
    if not order and all(level in (0, 1) for level in found):
        levels = {"0": [], "1": []}
    for word, level in words.items():
        key = str(int(level)) if isinstance(level, bool) else str(level)
        levels.setdefault(key, []).append(str(word))
    return {level: tuple(items) for level, items in levels.items()}


def level_words(spec: ColumnSpec) -> dict[str, str]:
    """Normalized word -> level name, for reading the cells of a binary or categorical column."""
    table: dict[str, str] = {}
    for level, words in spec.levels.items():
        for word in (*words, level):
            table.setdefault(level_key(word), level)
    return table


def levels_meant(spec: ColumnSpec, words: Iterable[object]) -> set[str]:
    """The levels of a column that these words mean (a level's name, or a word of the table).

    Raises
    ------
    StudyFileError
        A word means none of them.
    """
    table = level_words(spec)
    meant = set()
    for word in words:
        level = table.get(level_key(word))
        if level is None:
            raise StudyFileError(
                f"The column {spec.name!r} has no value {word!r}.",
                expected=", ".join(sorted(table)),
                remedy=nearest(level_key(word), sorted(table)) or None,
            )
        meant.add(level)
    return meant


def has_plus(cells: Iterable[object]) -> bool:
    """Whether a column grades by plus signs (``+``, ``++``, ``2+``, ``+/-``), so that its ``-`` is a value."""
    return any(isinstance(cell, str) and bool(_PLUS.fullmatch(level_key(cell))) for cell in cells)


def is_no_level(cell: object, *, minus: bool) -> bool:
    """Whether a cell of a column of words is missing; with `minus`, a dash is a value."""
    return cell is None or (is_missing_word(cell) and not (minus and level_key(cell) == "-"))


def level_key(cell: object) -> str:
    """`word_key`, with every kind of dash written as ``-``, and of plus-or-minus as ``±``."""
    key = word_key(cell)
    if key in ("+/-", "-/+", "+-", "(±)", "(+/-)"):
        return "±"
    return "-" if key in ("–", "—", "‐", "‒", "―", "(-)") else key


def levels_from_cells(cells: Sequence[object]) -> tuple[dict[str, tuple[str, ...]], str]:
    """Levels of a column that nobody declared, in order, each with its spellings; and which spellings were joined.

    Spellings that differ in case, spaces or width are one level, named as most cells have it; so are words for yes
    and no, or for the sexes, in several languages, where a column holds nothing else. Codes and grades of plus signs
    are in their order, words in that of the alphabet.
    """
    minus = has_plus(cells)
    spelled: dict[str, Counter[str]] = {}
    examples: dict[str, object] = {}
    present = [cell for cell in cells if not is_no_level(cell, minus=minus)]
    same = _synonyms({level_key(cell) for cell in present})
    leaders: dict[int, str] = {}
    for cell in present:
        key = level_key(cell)
        home = leaders.setdefault(same[key], key) if key in same else key
        examples.setdefault(home, cell)
        spelled.setdefault(home, Counter())[normalize_text(cell) if isinstance(cell, str) else key] += 1
    lowest = leaders.get(0) if minus else None
    order = sorted(spelled, key=lambda key: level_order("-" if key == lowest else key, examples[key]))
    names = {key: spelled[key].most_common(1)[0][0] for key in order}
    joined = "; ".join(
        f"the spellings {', '.join(repr(text) for text in spelled[key])} were joined into one level, {names[key]!r}"
        for key in order
        if len(spelled[key]) > 1
    )
    return {names[key]: tuple(dict.fromkeys(level_key(text) for text in spelled[key])) for key in order}, joined


def _synonyms(keys: set[str]) -> dict[str, int]:
    """Key -> meaning, where all words of a column mean yes and no, or the sexes, or a grade of plus signs."""
    for sides in (BINARY_WORDS, tuple(SEX_LEVELS.values())):
        meaning = {word: number for number, words in enumerate(sides) for word in words}
        if "+" in keys:
            meaning["-"] = 0
        if keys <= set(meaning):
            return {key: meaning[key] for key in keys}
    if any(_PLUS.fullmatch(key) for key in keys):
        # Beside grades of plus signs, all words for "negative" are the lowest grade.
        return {key: 0 for key in keys if key == "-" or (key in BINARY_WORDS[0] and key != "0")}
    return {}


def level_order(key: str, cell: object) -> tuple[int, float, str]:
    """Where a level stands among others: codes and grades of plus signs by size, then words by the alphabet."""
    code = getattr(cell, "code", None)
    if isinstance(code, int | float):
        return 0, float(code), key
    if key == "-" or _PLUS.fullmatch(key):
        digits = re.search(r"\d", key)
        strength = 0.0 if key == "-" else 0.5 if key in ("±", "(+)") else float(key.count("+"))
        return 0, float(digits.group()) if digits else strength, key
    return (0, float(key), key) if re.fullmatch(r"-?\d+(\.\d+)?", key) else (1, 0.0, key)


def numeric_columns(values: pd.Series, spec: ColumnSpec) -> pd.DataFrame:
    """A column as numbers: levels of a categorical one become 0/1 columns, without the first; unknown ones NaN."""
    if spec.kind != "categorical":
        return pd.to_numeric(values, errors="coerce").astype(float).to_frame(spec.name)
    levels = {
        f"{spec.name}: {level}": (values == level).astype(float).mask(values.isna()) for level in spec.level_names[1:]
    }
    return pd.DataFrame(levels, index=values.index)


def word_key(word: object) -> str:
    """What two spellings of one word share: case, spaces, and ``1`` for ``1.0``."""
    if isinstance(word, bool):
        return str(int(word))
    if isinstance(word, float) and word.is_integer():
        return str(int(word))
    text = normalize_text(word).casefold()
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def key_among(cell: object, words: Container[str]) -> str:
    """The key under which a cell stands among words: its own, else that of the code behind its label, else its own."""
    code = getattr(cell, "code", None)
    key = word_key(cell)
    return word_key(code) if code is not None and key not in words and word_key(code) in words else key


def nearest(word: str, words: Sequence[str]) -> str:
    """``did you mean 'x'?`` for a misspelt word, or an empty text."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if not near:
        lower = {item.casefold(): item for item in words}
        near = [lower[key] for key in difflib.get_close_matches(word.casefold(), list(lower), n=1, cutoff=0.6)]
    return f"did you mean {near[0]!r}?" if near else ""


def _tidy_levels(levels: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    tidy: dict[str, tuple[str, ...]] = {}
    for level, words in levels.items():
        listed = [words] if isinstance(words, str | int | float) else list(words)
        tidy[str(level)] = tuple(word_key(word) if not isinstance(word, str) else word for word in listed)
    return tidy


def _check_choice(spec: ColumnSpec, attribute: str, allowed: tuple[str, ...]) -> None:
    value = getattr(spec, attribute)
    if value not in allowed:
        raise StudyFileError(
            f"The column {spec.name!r} has an unknown {attribute}.",
            expected=", ".join(item or "(none)" for item in allowed),
            found=repr(value),
            remedy=nearest(str(value), allowed) or None,
        )
