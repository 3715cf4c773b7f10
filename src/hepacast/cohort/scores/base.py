"""What a score is: inputs with units and plausible ranges, a formula, grades, a source; and the registry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hepacast.cohort.columns import BINARY_WORDS, SEX_LEVELS, ColumnSpec, nearest, word_key
from hepacast.cohort.quantities import Measurement, convert, get_quantity, parse_quantity
from hepacast.cohort.value_checks import impossible_message
from hepacast.errors import StudyFileError, TableError

InputKind = Literal["quantity", "flag", "choice", "count"]


@dataclass(frozen=True)
class ScoreInput:
    """One input of a score.

    Parameters
    ----------
    name
        Keyword, also the column's name that a table is searched for.
    kind
        ``quantity`` (a number with unit), ``flag`` (yes or no), ``choice`` (one of `choices`) or ``count``.
    help
        What it is.
    quantity
        For a quantity: its name in `quantities.yaml`.
    unit
        Unit that the formula takes.
    choices
        Word -> value, for a choice.
    default
        Value when it is not given; None means that it must be.
    probes
        Values that stand for every region that the score tells apart, to enumerate a missing input.
    limits
        Smallest and largest count.
    """

    name: str
    kind: InputKind
    help: str
    quantity: str = ""
    unit: str = ""
    choices: Mapping[str, Any] = field(default_factory=dict)
    default: Any = None
    probes: tuple[Any, ...] = ()
    limits: tuple[float, float] = (0, 1000)

    def parse(self, given: Any) -> Any:
        """A value as the formula takes it.

        Raises
        ------
        TableError
            The value has no unit where one is needed, is none of the choices, or is not possible.
        """
        if self.kind == "quantity":
            return self._parse_quantity(given)
        if self.kind == "flag":
            return self._parse_flag(given)
        if self.kind == "choice":
            return self._parse_choice(given)
        return self._parse_count(given)

    def _parse_quantity(self, given: Any) -> float:
        item = given if isinstance(given, Measurement) else parse_quantity(given, quantity=self.quantity)
        known = get_quantity(self.quantity)
        if item.comparator and not isinstance(given, Measurement):
            raise TableError(
                f"{known.label} is given as a limit, which is no value.",
                expected="a number",
                found=f"{given}",
                where=self.name,
                remedy="give the number that is to stand for it (of <0.8 many studies take half, 0.4)",
            )
        low, high = known.plausible
        if not low <= item.value <= high:
            spec = ColumnSpec(self.name, quantity=self.quantity, unit=known.unit)
            raise TableError(
                f"{known.label}: {impossible_message(spec, item.value, low, high)}.", found=f"{given}", where=self.name
            )
        return convert(item.value, known.unit, self.unit, self.quantity)

    def _parse_flag(self, given: Any) -> bool:
        key = word_key(int(given) if isinstance(given, bool) else given)
        for answer, words in enumerate(BINARY_WORDS):
            if key in words:
                return bool(answer)
        raise TableError(f"{self.name} is a yes-or-no input ({self.help}).", expected="yes or no", found=repr(given))

    def _parse_choice(self, given: Any) -> Any:
        table = {word_key(word): value for word, value in self.choices.items()}
        key = word_key(given)
        if key not in table:
            listed = ", ".join(self.choices)
            raise TableError(
                f"{given!r} is no value of {self.name} ({self.help}).",
                expected=listed,
                remedy=nearest(str(given), list(self.choices)) or None,
            )
        return table[key]

    def _parse_count(self, given: Any) -> float:
        try:
            number = float(given)
        except (TypeError, ValueError) as error:
            raise TableError(f"{given!r} is not a number of {self.name} ({self.help}).") from error
        low, high = self.limits
        if not (low <= number <= high) or number != int(number):
            raise TableError(
                f"{self.name} ({self.help}) cannot be {given}.", expected=f"a whole number from {low:g} to {high:g}"
            )
        return number


@dataclass(frozen=True)
class Computed:
    """What a score's function returns: value, grade, and the parts that led there."""

    value: float
    grade: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A staging system or index.

    Parameters
    ----------
    name
        Name in the registry.
    title
        Full name.
    formula
        How it is computed, in words that a reader can check.
    source
        Paper or guideline.
    inputs
        What it needs.
    function
        Computes it from parsed inputs.
    grades
        Grades from best to worst, with their limits.
    higher_is_worse
        Direction of `value`.
    ordered
        For a staging system: stages from best to worst (the value is the position in it).
    note
        What a user should know: variants, choices made where the source is not clear.
    """

    name: str
    title: str
    formula: str
    source: str
    inputs: tuple[ScoreInput, ...]
    function: Callable[[Mapping[str, Any]], Computed]
    grades: str = ""
    higher_is_worse: bool = True
    ordered: tuple[str, ...] = ()
    note: str = ""

    def input(self, name: str) -> ScoreInput:
        """The input of that name."""
        return next(item for item in self.inputs if item.name == name)


@dataclass(frozen=True)
class ScoreResult:
    """A score of one patient.

    Parameters
    ----------
    name
        Name of the score.
    value
        Number (for a staging system the position of the stage, 0 is the best).
    grade
        Grade, class or stage.
    formula, source
        As in `Score`.
    parts
        Inputs in the formula's units and what they contributed.
    """

    name: str
    value: float
    grade: str
    formula: str
    source: str
    parts: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g}" + (f" ({self.grade})" if self.grade else "")


#: Every score by name.
SCORES: dict[str, Score] = {}


def register(score: Score) -> Score:
    """Add a score to the registry."""
    SCORES[score.name] = score
    return score


def get_score(name: str) -> Score:
    """The score of that name, whatever the case and marks (``meld-na``, ``MELD Na``).

    Raises
    ------
    StudyFileError
        There is none; the message names the nearest.
    """
    by_key = {_key(item): item for item in SCORES}
    if _key(name) in by_key:
        return SCORES[by_key[_key(name)]]
    raise StudyFileError(
        f"The score {name!r} is not known.",
        expected=", ".join(SCORES),
        found=name,
        remedy=nearest(name, list(SCORES)) or None,
    )


def compute_score(name: str, values: Mapping[str, Any]) -> ScoreResult:
    """Compute one score of one patient.

    Parameters
    ----------
    name
        Name of the score.
    values
        Input -> value: text with unit (``"20 umol/L"``), a `Measurement`, yes or no, a word, or a number.

    Raises
    ------
    StudyFileError
        An unknown score or input.
    TableError
        An input is missing, has no unit, or is not possible.

    Examples
    --------
    >>> result = compute_score("ALBI", {"bilirubin": "20 umol/L", "albumin": "3.8 g/dL"})
    >>> round(result.value, 3), result.grade
    (-2.371, '2')
    """
    score = get_score(name)
    parsed, lacking = parse_inputs(score, values)
    if lacking:
        raise TableError(
            f"{score.name} needs more inputs.",
            expected="; ".join(f"{item.name}: {describe_input(item)}" for item in score.inputs if item.name in lacking),
            found=", ".join(values) or "none",
        )
    return evaluate(score, parsed)


def parse_inputs(score: Score, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Parsed inputs (defaults filled in), and the names of those that are missing."""
    names = [item.name for item in score.inputs]
    for name in values:
        if name not in names:
            raise StudyFileError(
                f"{score.name} has no input {name!r}.",
                expected=", ".join(names),
                remedy=nearest(name, names) or None,
            )
    parsed: dict[str, Any] = {}
    lacking = []
    for item in score.inputs:
        given = values.get(item.name)
        if given is None or (isinstance(given, float) and math.isnan(given)):
            if item.default is None:
                lacking.append(item.name)
            else:
                parsed[item.name] = item.default
        else:
            parsed[item.name] = item.parse(given)
    return parsed, lacking


def evaluate(score: Score, parsed: Mapping[str, Any]) -> ScoreResult:
    """Apply a score's function to parsed inputs."""
    outcome = score.function(parsed)
    value = float(score.ordered.index(outcome.grade)) if score.ordered else float(outcome.value)
    return ScoreResult(score.name, value, outcome.grade, score.formula, score.source, {**parsed, **dict(outcome.parts)})


def possible_grades(name: str, values: Mapping[str, Any]) -> set[str]:
    """Grades that a patient can have when some inputs are missing.

    Each missing input runs through values that stand for every region the score tells apart. One grade left means
    that the missing inputs do not matter: metastases make BCLC stage C or D whatever the size of the tumor.

    Raises
    ------
    TableError
        A missing input cannot be enumerated (a continuous one of a formula).
    """
    score = get_score(name)
    parsed, lacking = parse_inputs(score, values)
    for item in score.inputs:
        if item.name in lacking and not item.probes:
            raise TableError(f"{score.name} cannot be bounded without {item.name} ({item.help}).")
    spans = [score.input(item).probes for item in lacking]
    return {
        evaluate(score, {**parsed, **dict(zip(lacking, combination))}).grade
        for combination in itertools.product(*spans)
    }


def describe_input(item: ScoreInput) -> str:
    """Help text with unit or choices, for messages and the command line."""
    if item.kind == "quantity":
        return f"{item.help} (with unit, for example in {item.unit})" if item.unit else item.help
    if item.kind == "choice":
        return f"{item.help}: {', '.join(item.choices)}"
    return f"{item.help} ({'yes or no' if item.kind == 'flag' else 'number'})"


def quantity(name: str, unit: str, *, of: str = "", help: str = "", probes: tuple[float, ...] = ()) -> ScoreInput:
    """An input that is a known quantity, in the unit that the formula takes."""
    known = get_quantity(of or name)
    return ScoreInput(name, "quantity", help or known.label, known.name, unit, probes=probes)


def flag(name: str, help: str, *, default: bool | None = None) -> ScoreInput:
    """A yes-or-no input."""
    return ScoreInput(name, "flag", help, default=default, probes=(False, True))


def count(name: str, help: str, low: float, high: float, *, default: float | None = None) -> ScoreInput:
    """A counted or graded input."""
    probes = tuple(float(number) for number in range(int(low), int(min(high, 5)) + 1))
    return ScoreInput(name, "count", help, default=default, probes=probes, limits=(low, high))


#: Class or points of Child-Pugh, as tables write them.
_CLASSES: dict[str, str] = {
    **{"A": "A", "B": "B", "C": "C", "class A": "A", "class B": "B", "class C": "C"},
    **{str(points): "A" if points <= 6 else "B" if points <= 9 else "C" for points in range(5, 16)},
    **{
        f"{'A' if p <= 6 else 'B' if p <= 9 else 'C'}{p}": "A" if p <= 6 else "B" if p <= 9 else "C"
        for p in range(5, 16)
    },
}

CHILD_PUGH_CLASS = ScoreInput(
    "child_pugh", "choice", "Child-Pugh class (A, B, C) or points (5 to 15)", choices=_CLASSES, probes=("A", "B", "C")
)
SEX = ScoreInput(
    "sex",
    "choice",
    "sex",
    choices={word: level for level, words in SEX_LEVELS.items() for word in words},
    probes=("female", "male"),
)


def grade_by_limits(value: float, limits: tuple[float, ...], names: tuple[str, ...]) -> str:
    """The grade of a value when each limit still belongs to the lower grade."""
    return names[sum(value > limit for limit in limits)]


def _key(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())
