"""`explain`: what a feature is: image, formula, meaning, source and IBSI code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hepacast.core import views
from hepacast.core.tables import Table, make_table
from hepacast.errors import StudyFileError
from hepacast.radiomics.names import FEATURES, OPTIONAL, REMOVED, split_name


@dataclass(frozen=True, repr=False)
class Explanation(views.Shown):
    """What a feature is.

    Parameters
    ----------
    name
        As asked for.
    image
        The image that it is calculated on, in words ("" when only a feature was named).
    formula, meaning
        Formula in plain text; P is the class's matrix, i its gray level, j the other index.
    ibsi
        Code in the IBSI reference manual, None where the standard has no such feature.
    source
        Where class and formula come from.
    """

    name: str
    image: str
    formula: str
    meaning: str
    ibsi: str | None
    source: str

    def to_text(self) -> str:
        """A few lines for the terminal."""
        lines = [self.name, f"  formula: {self.formula}", f"  meaning: {self.meaning}"]
        if self.image:
            lines.append(f"  image:   {self.image}")
        lines.append(f"  IBSI:    {self.ibsi or 'not in the standard'}")
        lines.append(f"  source:  {self.source}")
        return "\n".join(lines)


@views.table.register
def _(record: Explanation) -> Table:
    rows = [["Formula", record.formula], ["Meaning", record.meaning], ["Source", record.source]]
    rows.insert(2, ["IBSI", record.ibsi or "not in the standard"])
    return make_table("", [record.name, ""], [*rows, *([["Image", record.image]] if record.image else [])], words=True)


@cache
def _content(name: str) -> dict[str, Any]:
    """What is written of a feature class, or of ``images``."""
    import yaml

    path = Path(__file__).parent / "formulas" / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def abbreviations() -> dict[str, str]:
    """Feature classes that are called by an abbreviation, in capitals, and what it stands for."""
    texts = {name.upper(): str(_content(name).get("abbreviation", "")) for name in FEATURES}
    return {name: text for name, text in texts.items() if text}


def explain(name: str) -> Explanation:
    """Formula, meaning, source and IBSI code of a feature.

    Parameters
    ----------
    name
        A full name (``wavelet-LLH_glcm_Idn``, also with a VOI before it: ``liver:original_shape_Sphericity``),
        class and feature (``glcm_Idn``), or a feature's name that occurs in one class only (``Busyness``).

    Raises
    ------
    StudyFileError
        There is no such feature.
    """
    bare = name.split(":")[-1]
    parts = split_name(bare)
    if parts is None:
        parts = ("", *_class_and_feature(bare))
    image, feature_class, feature = parts
    entry = _content(feature_class)["features"].get(feature)
    if entry is None:
        raise _unknown(name, feature_class, feature)
    code, formula, meaning = (str(item) for item in entry)
    return Explanation(
        name=name,
        image=_image_text(image),
        formula=formula,
        meaning=meaning,
        ibsi=None if code == "-" else code,
        source=str(_content(feature_class)["source"]),
    )


def _class_and_feature(name: str) -> tuple[str, str]:
    if "_" in name:
        feature_class, feature = name.split("_", 1)
        if feature_class in FEATURES:
            return feature_class, feature
    owners = [
        owner for owner in FEATURES if name in FEATURES[owner] or name in OPTIONAL.get(owner, ()) or name == owner
    ]
    if len(owners) == 1 and name != owners[0]:
        return owners[0], name
    raise StudyFileError(
        f"There is no single feature {name!r}.",
        expected="a name such as original_glcm_Idn, glcm_Idn or Busyness",
        found=f"it occurs in {', '.join(owners)}" if owners else "no class has it",
        remedy=f"write {owners[0]}_{name}" if owners else _close(name),
    )


def _unknown(name: str, feature_class: str, feature: str) -> StudyFileError:
    replaced = REMOVED.get(feature_class, {}).get(feature)
    return StudyFileError(
        f"The class {feature_class} has no feature {feature!r}.",
        found=name,
        remedy=f"it was replaced: {replaced}" if replaced else _close(feature),
    )


def _close(name: str) -> str | None:
    import difflib

    every = sorted({feature for features in FEATURES.values() for feature in features})
    close = difflib.get_close_matches(name, every, n=1)
    return f"did you mean {close[0]!r}?" if close else None


def _image_text(image: str) -> str:
    texts: dict[str, str] = _content("images")
    if not image:
        return ""
    for prefix in sorted(texts, key=len, reverse=True):
        if image.startswith(prefix):
            return f"{image}: {texts[prefix]}"
    return image
