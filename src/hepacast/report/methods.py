"""The Methods text: sentences that the stages wrote about this run, with numbered references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hepacast.core.sentences import Sentence
from hepacast.report.results import STAGES

_MARK = re.compile(r"\s*\[@([\w:.-]+(?:\s*[;,]\s*@?[\w:.-]+)*)\]")

HEADINGS: Mapping[str, str] = {
    "cohort": "Patients and outcome",
    "segmentation": "Segmentation",
    "radiomics": "Radiomics features",
    "modelling": "Models",
    "evaluation": "Evaluation",
}


def load_bibliography() -> dict[str, str]:
    """References by key, shipped with the package."""
    path = Path(__file__).parent / "bibliography.yaml"
    content: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: " ".join(text.split()) for key, text in content.items()}


@dataclass(frozen=True)
class MethodsText:
    """Headed paragraphs with reference numbers as ``^1,2^``, and the references in order of first mention."""

    paragraphs: tuple[tuple[str, str], ...]
    references: tuple[str, ...]


class Numbering:
    """Gives each reference its number at its first mention."""

    def __init__(self, bibliography: Mapping[str, str] | None = None) -> None:
        self._bibliography = load_bibliography() if bibliography is None else bibliography
        self._order: list[str] = []

    def number(self, key: str) -> int:
        """Number of a key of the bibliography, or of a full reference given as text."""
        text = self._bibliography.get(key, key)
        if text not in self._order:
            self._order.append(text)
        return self._order.index(text) + 1

    @property
    def references(self) -> tuple[str, ...]:
        """Full references in order of number."""
        return tuple(self._order)

    def mark(self, keys: Sequence[str]) -> str:
        """Superscript numbers of some references."""
        return f"^{','.join(str(n) for n in sorted({self.number(key) for key in keys}))}^" if keys else ""

    def resolve(self, text: str, citations: Sequence[str] = ()) -> str:
        """Text with its ``[@key]`` marks numbered; citations without a mark go to the end, before no full stop."""
        cited: set[str] = set()

        def replace(match: re.Match[str]) -> str:
            keys = [key.strip().lstrip("@") for key in re.split(r"[;,]", match.group(1))]
            cited.update(keys)
            return self.mark(keys)

        resolved = _MARK.sub(replace, text.strip())
        return resolved + self.mark([key for key in citations if key not in cited])


def write_methods(sentences: Sequence[Sentence], numbering: Numbering | None = None) -> MethodsText:
    """Put the stages' sentences into paragraphs, one a stage, in the order of the study."""
    numbering = numbering or Numbering()
    paragraphs = []
    for stage in (*STAGES, *dict.fromkeys(item.stage for item in sentences if item.stage not in STAGES)):
        texts = [numbering.resolve(item.text, item.citations) for item in sentences if item.stage == stage]
        if texts:
            paragraphs.append((HEADINGS.get(stage, stage.capitalize()), " ".join(texts)))
    return MethodsText(tuple(paragraphs), numbering.references)
