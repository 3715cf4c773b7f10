"""`Sentence`: what a stage says of itself for the Methods."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.records import Record


@dataclass(frozen=True)
class Sentence(Record):
    """One sentence (or a few) for the Methods, written by the stage that ran.

    Every `<stage>/methods.json` is a list of these.

    Parameters
    ----------
    stage
        ``cohort``, ``segmentation``, ``radiomics``, ``modelling`` or ``evaluation``.
    text
        True of this run: settings and versions as used. ``[@key]`` marks where a reference goes; without a mark the
        references go to the end.
    citations
        Keys of the report's bibliography (`bibliography.yaml`), or full references as text.
    detail
        A journal would print it in the supplement only.
    """

    stage: str
    text: str
    citations: list[str] = field(default_factory=list)
    detail: bool = False
