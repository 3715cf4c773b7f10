"""How a result shows itself: a sentence, a table, figures, a page; the same for terminal, notebook and report.

Each view is a function of the result, registered for its class where the class is defined (or in a module that this
one imports), so that nobody who has the result lacks its view::

    @views.table.register
    def _(record: AnalysisOfMine) -> Table: ...

    views.table(record)   # a `Table`: text, HTML, CSV, DOCX, PDF
    views.text(record)    # what `hepacast stats` prints
    views.html(record)    # what a notebook shows

What lives here: the dispatch and what follows from it. What may not: a view of a certain result.
"""

from __future__ import annotations

import html as markup
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any, TypeAlias

from hepacast.core.tables import Table
from hepacast.errors import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Figures by name, drawn when called.
Drawings: TypeAlias = Mapping[str, Callable[[], Any]]


@singledispatch
def table(record: Any) -> Table:
    """The main table of a result, every cell a text.

    Raises
    ------
    TypeError
        Results of this class have no table.
    """
    raise TypeError(f"a {type(record).__name__} has no table")


@singledispatch
def sentence(record: Any) -> str:
    """A result in a sentence or a few.

    Raises
    ------
    TypeError
        Results of this class have no sentence.
    """
    raise TypeError(f"a {type(record).__name__} has no sentence")


@singledispatch
def drawings(record: Any) -> Drawings:
    """Figures of a result by name, drawn when called; empty where there is nothing to draw."""
    return {}


@singledispatch
def page(record: Any) -> Sequence[str | Table]:
    """Sentences and tables of a result in the order in which they are read; its sentence and its table otherwise."""
    parts: list[str | Table] = []
    for view in (sentence, table):
        if _has(view, record):
            parts.append(view(record))
    if not parts:
        raise TypeError(f"a {type(record).__name__} has no view")
    return parts


def figure(record: Any, name: str | None = None) -> Figure:
    """One figure of a result, the first by default.

    Raises
    ------
    ModelError
        There is no such figure.
    """
    known = drawings(record)
    chosen = name if name is not None else next(iter(known), "")
    if chosen not in known:
        raise ModelError("There is no such figure.", expected=", ".join(known) or "none", found=chosen or "none")
    return known[chosen]()


def text(record: Any) -> str:
    """The page of a result as text for a terminal, its parts an empty line apart."""
    return "\n\n".join(str(part) for part in page(record) if part)


def html(record: Any) -> str:
    """The page of a result as HTML for a notebook."""
    return "".join(_html_part(part) for part in page(record) if part)


def _html_part(part: str | Table) -> str:
    if isinstance(part, Table):
        return part.to_html()
    return "<p>" + markup.escape(part).replace("\n", "<br>") + "</p>"


def _has(view: Any, record: Any) -> bool:
    return view.dispatch(type(record)) is not view.dispatch(object)


class Shown:
    """Base of results that show themselves by their views: on a terminal, in a notebook, as figures."""

    def text(self) -> str:
        """The tables as text, with everything that a reader must know beside them."""
        return text(self)

    def figures(self) -> dict[str, Figure]:
        """All figures by name (matplotlib)."""
        return {name: draw() for name, draw in drawings(self).items()}

    def plot(self, name: str | None = None) -> Figure:
        """One figure, the first by default.

        Raises
        ------
        ModelError
            There is no such figure.
        """
        return figure(self, name)

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)
