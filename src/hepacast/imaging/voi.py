"""VOI algebra: ``ring: dilate(tumor, 10 mm) & liver - tumor`` as a small language, parsed and never evaluated as code.

Grammar (``-`` and ``&`` bind tighter than ``|``, from left to right; parentheses group)::

    expression := term { "|" term }
    term       := factor { ("&" | "-") factor }
    factor     := name | quoted | function "(" expression ["," length] ")" | "(" expression ")"
    quoted     := a name in double or single quotes, where it holds spaces or signs
    length     := number ("mm" | "cm")

``a | b`` is the union, ``a & b`` the intersection, ``a - b`` what is in a and not in b. Lengths are Euclidean, in mm.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hepacast.errors import ImageError
from hepacast.imaging import morphology
from hepacast.imaging.volume import Volume

#: Functions that take a mask and a length, and those that take a mask alone.
SIZED_FUNCTIONS: dict[str, Callable[[Volume, float], Volume]] = {
    "dilate": morphology.dilate,
    "erode": morphology.erode,
    "open": morphology.opened,
    "close": morphology.closed,
    "ring": morphology.ring,
    "rim": morphology.rim,
}
PLAIN_FUNCTIONS: dict[str, Callable[[Volume], Volume]] = {"largest": morphology.largest, "fill": morphology.fill}
FUNCTIONS = (*SIZED_FUNCTIONS, *PLAIN_FUNCTIONS)

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<name>[^\W\d]\w*)|(?P<quoted>"[^"]+"|'[^']+')|(?P<sign>[-&|(),]))"""
)
_PLAIN = re.compile(r"[^\W\d]\w*")
_MAX_DEPTH = 50
_QUOTES = 'a name with spaces or signs is written in quotes, as "Tumor 1"'


class VoiError(ImageError):
    """A VOI expression that cannot be read or evaluated."""


@dataclass(frozen=True)
class Name:
    """A mask by name."""

    name: str

    def __str__(self) -> str:
        if _PLAIN.fullmatch(self.name):
            return self.name
        return f"'{self.name}'" if '"' in self.name else f'"{self.name}"'


@dataclass(frozen=True)
class Operation:
    """Two expressions joined by ``|``, ``&`` or ``-``."""

    sign: str
    left: Node
    right: Node

    def __str__(self) -> str:
        left, right = str(self.left), str(self.right)
        if self.sign != "|":
            left = f"({left})" if _is_union(self.left) else left
            right = f"({right})" if isinstance(self.right, Operation) else right
        elif _is_union(self.right):
            right = f"({right})"
        return f"{left} {self.sign} {right}"


@dataclass(frozen=True)
class Call:
    """A function of one expression, with a length in mm where the function takes one."""

    function: str
    argument: Node
    mm: float | None = None

    def __str__(self) -> str:
        length = "" if self.mm is None else f", {_plain_number(self.mm)} mm"
        return f"{self.function}({self.argument}{length})"


Node = Name | Operation | Call


@dataclass(frozen=True)
class VoiExpression:
    """A parsed VOI expression.

    Parameters
    ----------
    root
        The syntax tree.
    """

    root: Node

    @classmethod
    def parse(cls, text: str) -> VoiExpression:
        """Read an expression.

        Raises
        ------
        VoiError
            With the place in the text and, for a misspelt function, the nearest legal name.
        """
        return cls(_Parser(text).parse())

    def __str__(self) -> str:
        return str(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """Masks that the expression needs, each once, in order of appearance."""
        return tuple(dict.fromkeys(_names(self.root)))

    def check_names(self, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> None:
        """Refuse a name that is not known, naming the nearest that is.

        Raises
        ------
        VoiError
        """
        for name in self.names:
            if name not in known:
                near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
                written = [str(Name(item)) for item in known]
                raise VoiError(
                    f"The VOI {str(self)!r} needs the mask {name!r}, which does not exist.",
                    expected=", ".join(written) or "at least one mask",
                    remedy=f"did you mean {_shown(near[0])}?" if near else "use one of these names",
                )

    def evaluate(self, masks: Mapping[str, Volume]) -> Volume:
        """The VOI as a boolean volume on the masks' grid.

        Parameters
        ----------
        masks
            Masks (boolean, or 0 / non-zero) by name, all on one grid.

        Raises
        ------
        VoiError
            A mask is missing.
        GeometryError
            The masks' grids differ.
        """
        self.check_names(masks)
        first = masks[self.names[0]]
        for name in self.names[1:]:
            first.geometry.require_same(masks[name].geometry, what=f"the mask {name!r}")
        return _evaluate(self.root, masks)


def _shown(name: str) -> str:
    return f"{name!r}" if _PLAIN.fullmatch(name) else str(Name(name))


def _evaluate(node: Node, masks: Mapping[str, Volume]) -> Volume:
    if isinstance(node, Name):
        return masks[node.name].with_array(masks[node.name].array.astype(bool))
    if isinstance(node, Call):
        argument = _evaluate(node.argument, masks)
        if node.mm is None:
            return PLAIN_FUNCTIONS[node.function](argument)
        return SIZED_FUNCTIONS[node.function](argument, node.mm)
    left, right = _evaluate(node.left, masks), _evaluate(node.right, masks)
    if node.sign == "|":
        return left.with_array(left.array | right.array)
    if node.sign == "&":
        return left.with_array(left.array & right.array)
    return left.with_array(left.array & ~right.array)


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Name):
        yield node.name
    elif isinstance(node, Call):
        yield from _names(node.argument)
    else:
        yield from _names(node.left)
        yield from _names(node.right)


def _is_union(node: Node) -> bool:
    return isinstance(node, Operation) and node.sign == "|"


def _plain_number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokenize())
        self.index = 0
        self.depth = 0

    def parse(self) -> Node:
        node = self._expression()
        if self._peek().kind != "end":
            remedy = _QUOTES if self._peek().kind in ("name", "number") else None
            raise self._error("an operator (&, | or -) or the end", remedy=remedy)
        return node

    def _tokenize(self) -> Iterator[_Token]:
        place = 0
        while self.text[place:].strip():
            match = _TOKEN.match(self.text, place)
            if match is None or match.lastgroup is None:
                start = place + len(self.text[place:]) - len(self.text[place:].lstrip())
                raise self._error("names, functions, lengths, &, |, - and parentheses", start, self.text[start])
            yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
            place = match.end()
        yield _Token("end", "", len(self.text))

    def _expression(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(f"at most {_MAX_DEPTH} nested parentheses")
        node = self._term()
        while self._peek().text == "|":
            self._next()
            node = Operation("|", node, self._term())
        self.depth -= 1
        return node

    def _term(self) -> Node:
        node = self._factor()
        while self._peek().text in ("&", "-") and self._peek().kind == "sign":
            sign = self._next().text
            node = Operation(sign, node, self._factor())
        return node

    def _factor(self) -> Node:
        token = self._peek()
        if token.text == "(":
            self._next()
            node = self._expression()
            self._expect(")")
            return node
        if token.kind == "quoted":
            self._next()
            return Name(token.text[1:-1])
        if token.kind != "name":
            raise self._error("a mask's name, a function or '('")
        self._next()
        return self._call(token) if self._peek().text == "(" else Name(token.text)

    def _call(self, name: _Token) -> Node:
        if name.text not in FUNCTIONS:
            near = difflib.get_close_matches(name.text, FUNCTIONS, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else _QUOTES
            raise self._error("one of the functions " + ", ".join(FUNCTIONS), name.start, name.text, remedy)
        self._next()
        argument = self._expression()
        mm = self._length() if name.text in SIZED_FUNCTIONS else None
        self._expect(")")
        return Call(name.text, argument, mm)

    def _length(self) -> float:
        self._expect(",", "a comma and a length, for example ', 10 mm'")
        number = self._peek()
        if number.kind != "number":
            raise self._error("a length, for example 10 mm")
        self._next()
        unit = self._peek()
        if unit.text not in ("mm", "cm"):
            raise self._error("the length's unit, mm or cm")
        self._next()
        mm = float(number.text) * (10.0 if unit.text == "cm" else 1.0)
        if not 0 < mm <= 1000:
            raise self._error("a length above 0 and at most 1000 mm", number.start, f"{number.text} {unit.text}")
        return mm

    def _peek(self) -> _Token:
        return self.tokens[self.index]

    def _next(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def _expect(self, text: str, words: str | None = None) -> None:
        if self._peek().text != text:
            raise self._error(words or f"{text!r}")
        self._next()

    def _error(
        self, expected: str, start: int | None = None, found: str | None = None, remedy: str | None = None
    ) -> VoiError:
        place = self._peek().start if start is None else start
        what = found if found is not None else self._peek().text
        return VoiError(
            f"The VOI expression {self.text!r} cannot be read at position {place + 1}.",
            expected=expected,
            found=f"{what!r}" if what else "the end of the text",
            where=f"{self.text[:place]}>>>{self.text[place:]}",
            remedy=remedy,
        )
