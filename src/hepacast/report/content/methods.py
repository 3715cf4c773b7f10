"""Methods: the sentences of the stages that ran, and their references."""

from __future__ import annotations

from hepacast._version import __version__
from hepacast.core.sentences import Sentence
from hepacast.report.content.common import Omit
from hepacast.report.methods import write_methods
from hepacast.report.model import Block, Paragraph
from hepacast.report.results import Results


def build(results: Results) -> list[Block]:
    """What a journal prints of the text that the stages wrote, and its references."""
    if not results.sentences:
        raise Omit("no stage has written its sentences")
    sentences = [sentence for sentence in results.sentences if not sentence.detail]
    more = " More of the methods is in the supplement." if len(sentences) < len(results.sentences) else ""
    return _methods(results, sentences, more)


def build_supplement(results: Results) -> list[Block]:
    """The whole text, where the main report has not all of it."""
    shortened = any(sentence.detail for sentence in results.sentences)
    return _methods(results, results.sentences, "") if shortened else []


def _methods(results: Results, sentences: list[Sentence], more: str) -> list[Block]:
    text = write_methods(sentences)
    blocks: list[Block] = [Paragraph(f"**{head}.** {body}") for head, body in text.paragraphs]
    blocks.append(
        Paragraph(
            f"The study was run with hepacast {results.run.version if results.run else __version__}. "
            f"This text was written by the stages that ran, from the settings they ran with.{more}"
        )
    )
    if text.references:
        items = tuple(f"{number}. {reference}" for number, reference in enumerate(text.references, start=1))
        blocks.append(Paragraph("**References**"))
        blocks += [Paragraph(item) for item in items]
    return blocks
