"""The extract of IDC's index that the package holds, and which of its series are wanted."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from hepacast.core.yaml_text import read_yaml
from hepacast.errors import HepacastError
from hepacast.pacs.choose import SeriesFacts, SeriesRule, choose, fits

EXTRACT = Path(__file__).with_name("idc_series.csv.gz")
SOURCE = Path(__file__).with_name("SOURCE.txt")
#: The examinations in which structures were outlined (all where none was), and every examination.
SEGMENTED, ALL = "segmented", "all"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_UID = re.compile(r"[0-9.]{1,64}")


@cache
def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["files"], frame["bytes"] = frame["files"].astype("int64"), frame["bytes"].astype("int64")
    for column, pattern in (("uuid", _UUID), ("bucket", _BUCKET), ("series", _UID), ("study", _UID)):
        strange = frame.index[~frame[column].str.fullmatch(pattern)]
        if len(strange):
            raise HepacastError(
                "The index of the collections is damaged.",
                expected=f"{column}: {pattern.pattern}",
                where=f"{path}, row {int(strange[0]) + 2}",
                remedy="install hepacast again",
            )
    return frame


def series_of(collection: str, path: Path | None = None) -> pd.DataFrame:
    """The radiology series of a collection of IDC: one row each, with its address and size.

    Columns: collection, patient, study, study_date, series, number, modality, description, derived_by (empty: the
    collection's own), files, bytes, license, doi, bucket, uuid.
    """
    frame = _read(path or EXTRACT)
    return frame[frame.collection == collection].reset_index(drop=True)


def index_version() -> str:
    """Version of the index that the extract was made from."""
    found = re.search(r"idc-index-data ([0-9.]+)", SOURCE.read_text(encoding="utf-8"))
    return found[1].rstrip(".") if found else "unknown"


def select_series(
    series: pd.DataFrame, *, patients: int | None = None, rule: str = SEGMENTED, derived: bool = False
) -> pd.DataFrame:
    """The series that are wanted.

    Parameters
    ----------
    series
        As `series_of` gives them.
    patients
        At most so many, the first by identifier.
    rule
        ``segmented``: images of the examinations in which the collection's makers outlined something (every
        examination, where they outlined nothing), ``all``: of every examination; or which images of ``segmented`` are
        wanted: words of which the description holds one (``"3 phase, venous"``), or a rule as the node of a PACS takes
        it (``"{without: [pre], min_images: 40, prefer: most images}"``; `SeriesRule`).
    derived
        Segmentations that others derived (AI-made, corrected) as well; else the makers' own only.

    Returns
    -------
    DataFrame
        Rows of `series`; segmentations of every chosen examination that they lie in.

    Raises
    ------
    HepacastError
        The rule cannot be read, asks for what the index does not say, or fits no series.
    """
    own = series.derived_by == ""
    masks = series.modality == "SEG"
    outlined = set(series.study[masks & own])
    chosen = ~masks & own
    if rule != ALL and outlined:
        chosen &= series.study.isin(outlined)
    if rule not in (ALL, SEGMENTED):
        chosen &= _fitting(series[chosen], _rule_of(rule)).reindex(series.index, fill_value=False)
    if not chosen.any():
        raise HepacastError(
            "No series fits the rule.",
            found=rule,
            expected="; ".join(series.description[~masks & own].value_counts().index[:8]),
            remedy="choose other words; descriptions are those of the scanner",
        )
    wanted = sorted(set(series.patient[chosen]))[:patients]
    chosen |= masks & (own | derived) & series.study.isin(series.study[chosen])
    return series[chosen & series.patient.isin(wanted)].reset_index(drop=True)


def _rule_of(text: str) -> SeriesRule:
    """Words between commas, or a mapping."""
    content, _ = (
        read_yaml(text, what="rule of series", where="--series") if text.lstrip().startswith("{") else (None, 0)
    )
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        rule = SeriesRule.model_validate({"words": words, "min_images": 1} if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        raise HepacastError(
            "The rule of series cannot be read.",
            expected=", ".join(name for name in SeriesRule.model_fields if name != "thickness"),
            found=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where="--series",
        ) from error
    if not words or rule.thickness is not None:
        raise HepacastError(
            "The rule of series asks for what the index does not say.",
            expected="segmented, all, words of the description, or a rule by modality, words, number, images",
            found=text,
            where="--series",
        )
    return rule


def _fitting(series: pd.DataFrame, rule: SeriesRule) -> pd.Series:
    """Whether each series fits; of several of one examination the one that the rule prefers, if it does."""
    facts = {
        place: SeriesFacts(
            uid=str(row["series"]),
            modality=str(row["modality"]),
            description=str(row["description"]),
            number=_number(str(row["number"])),
            thickness=None,
            images=int(row["files"]),
        )
        for place, row in series.iterrows()
    }
    kinds = (rule.modality,) if "modality" in rule.model_fields_set else ("CT", "MR")
    rules = {kind: rule.model_copy(update={"modality": kind}) for kind in kinds}
    good = {place for place, item in facts.items() if any(fits(kind, item) for kind in rules.values())}
    if rule.prefer:
        examinations = [
            list(part.index)
            for _, part in series.loc[[place for place in series.index if place in good]].groupby(["study", "modality"])
        ]
        good = set()
        for places in examinations:
            one = choose({"": rules[facts[places[0]].modality]}, [facts[place] for place in places])[""]
            good |= {place for place in places if facts[place].uid == one.uid}
    return pd.Series([place in good for place in series.index], index=series.index)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
