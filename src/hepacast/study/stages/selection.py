"""Who of the table is in the study and in which set, and what is predicted, as the study file says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort import (
    Finding,
    Outcome,
    SurvivalOutcome,
    derive_outcome,
    find_excluded,
    read_patient_list,
    split_at_random,
    split_by_column,
    split_by_list,
    split_none,
)
from hepacast.cohort.exclusions import remarks_that_say_no
from hepacast.cohort.joining import near_ids, tell_near_ids
from hepacast.cohort.split import EXTERNAL
from hepacast.cohort.tables import ClinicalTable
from hepacast.core.seeds import derive_seed
from hepacast.errors import StudyFileError, TableError
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskPattern, mask_files
from hepacast.study.reviews import left_out
from hepacast.study.schema import Exclusion, SplitAtRandom, SplitByColumn, SplitByList
from hepacast.study.sequences import needed_sequences
from hepacast.study.stages.feature_table import read_feature_table

#: Does a step and gives its answer, or None when it failed (and keeps why).
Attempt = Callable[[Callable[[], Any]], Any]


def outcome_of(context: Context, table: ClinicalTable) -> Outcome:
    item = context.study.outcome
    columns, options = dict(item.columns), dict(item.options)
    if item.definition == "binary-column":
        if item.column is None:
            raise StudyFileError("The outcome names no column.", expected="outcome.column", where="outcome")
        columns["column"] = item.column
        options |= {"positive_values": item.positive, "negative_values": item.negative}
    if item.definition == "survival":
        options |= {"unit": item.unit, "event_values": item.event_values, "competing_values": item.competing_values}
    if item.within_days is not None:
        options["within_days"] = item.within_days
    outcome = derive_outcome(
        table,
        item.definition,
        columns,
        name=item.name or "",
        positive=item.positive_label or "",
        negative=item.negative_label or "",
        **options,
    )
    return replace(outcome, horizons=item.times) if isinstance(outcome, SurvivalOutcome) else outcome


def derive_survival(context: Context, table: ClinicalTable) -> dict[str, SurvivalOutcome]:
    item = context.study.survival
    if item is None:
        return {}
    outcome = derive_outcome(
        table,
        "survival",
        {"time": item.time, "event": item.event},
        name=item.name,
        unit=item.unit,
        event_values=item.event_values,
    )
    assert isinstance(outcome, SurvivalOutcome)
    return {item.name: outcome}


def exclusions(
    context: Context, table: ClinicalTable, findings: list[Finding], attempt: Attempt
) -> dict[str, list[str]]:
    """Reason -> patients: the study's own rules, then those without an image, a mask or features.

    Parameters
    ----------
    findings
        Takes what reading a feature table has to say.
    attempt
        Each rule is one step, so that one that cannot be applied does not hide the others.
    """
    reasons: dict[str, list[str]] = {}
    for number, rule in enumerate(context.study.cohort.exclude, start=1):
        if rule.column in table.absent:
            continue
        found = attempt(partial(_excluded_by, rule, number, table, findings))
        if found is not None:
            reasons.setdefault(rule.reason, []).extend(found)
    for patient, reason in (attempt(partial(left_out, context)) or {}).items():
        if patient in table.patients:
            reasons.setdefault(reason, []).append(patient)
    for reason, lacking in _without_files(context, findings):
        found = attempt(partial(lacking, table))
        if found:
            reasons[reason] = found
    if context.study.features.table is not None:
        wide = attempt(lambda: _features(context, findings))
        found = None if wide is None else attempt(lambda: _without_features(context, table, wide, findings))
        if found:
            reasons["no radiomics features"] = found
    return reasons


def _excluded_by(rule: Exclusion, number: int, table: ClinicalTable, findings: list[Finding]) -> list[str]:
    try:
        found = find_excluded(
            table,
            rule.column,
            equals=rule.equals,
            above=rule.above,
            below=rule.below,
            missing=rule.missing,
            filled=rule.filled,
        )
    except (StudyFileError, TableError) as error:
        error.where = error.where or f"cohort.exclude, rule {number} ({rule.reason})"
        raise
    doubtful = remarks_that_say_no(table, rule.column) if rule.filled else []
    if doubtful:
        message = (
            f"{len(doubtful)} of the {len(found)} patients whom the exclusion {rule.reason!r} leaves out have only a "
            f"word for no in {rule.column!r}; empty these cells if it is no remark"
        )
        findings.append(Finding("warning", "remark-says-no", message))
    return found


def _without_files(context: Context, findings: list[Finding]) -> list[tuple[str, Callable[[ClinicalTable], list[str]]]]:
    """Reason and the function that finds the patients without an image of each needed sequence, or without a mask."""
    images = context.study.images
    if images is None:
        return []
    found = [
        (f"no {name} image", _lacking_file(context, f"{name} images", images.sequences[name].path, findings))
        for name in needed_sequences(context)
    ]
    if images.segmentation.source == "given":
        found.append(("no mask", _lacking_file(context, "masks", images.segmentation.masks, findings)))
    return found


def has_its_files(context: Context, patient: str) -> bool:
    """Whether a patient has an image of every needed sequence and, where masks are given, a mask."""
    images, patterns = context.study.images, list[MaskPattern | None]()
    if images is not None:
        patterns = [images.sequences[name].path for name in needed_sequences(context)]
    if images is not None and images.segmentation.source == "given":
        patterns.append(images.segmentation.masks)
    return all(pattern is not None and mask_files(context, pattern, patient).exists() for pattern in patterns)


def _lacking_file(
    context: Context, what: str, pattern: MaskPattern | None, findings: list[Finding]
) -> Callable[[ClinicalTable], list[str]]:
    def find(table: ClinicalTable) -> list[str]:
        if pattern is None:
            raise StudyFileError("The masks are given, but where?", expected="images.segmentation.masks")
        lacking = [p for p in table.patients if not mask_files(context, pattern, p).exists()]
        named = [pattern] if isinstance(pattern, str) else list(pattern.values())
        there = [name for text in named for name in _names_of_files(context, text)] if lacking else []
        _tell_lacking(lacking, table, what, ", ".join(named), there, findings)
        return lacking

    return find


def _names_of_files(context: Context, pattern: str) -> list[str]:
    """What stands for ``{patient}`` in the files that are there."""
    mark = "\0"
    parts = context.path(pattern, patient=mark).parts
    first = next((number for number, part in enumerate(parts) if mark in part), None)
    if first is None:
        return []
    folder, (before, _, after) = Path(*parts[:first]), parts[first].partition(mark)
    if mark in after or not folder.is_dir():
        return []
    names = [item.name for item in folder.iterdir()]
    return [
        name[len(before) : len(name) - len(after)]
        for name in sorted(names)
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
    ]


def _features(context: Context, findings: list[Finding]) -> pd.DataFrame:
    wide, remarks = read_feature_table(context)
    findings += remarks
    return wide


def _without_features(context: Context, table: ClinicalTable, wide: pd.DataFrame, findings: list[Finding]) -> list[str]:
    lacking = [p for p in table.patients if p not in wide.index]
    _tell_lacking(lacking, table, "features", str(context.study.features.table), list(wide.index), findings)
    return lacking


def _tell_lacking(
    lacking: list[str], table: ClinicalTable, what: str, where: str, there: Sequence[str], findings: list[Finding]
) -> None:
    """Refuse where nobody has it; tell of those who have it under another spelling of their identifier."""
    known = set(table.patients)
    near = near_ids(lacking, [name for name in there if name not in known])
    told = tell_near_ids(near, what)
    if len(lacking) == len(table.patients):
        raise TableError(
            f"No patient of the table has {what}.",
            expected="files or rows named by the study's identifiers",
            found=f"nothing for {', '.join(lacking[:5])}, ...",
            where=where,
            remedy=told or "check the path, and that the table and the files use one identifier",
        )
    if near:
        findings.append(Finding("error", "id-spelled-otherwise", f"{len(near)} patients would be left out: {told}"))


def splitter(context: Context, table: ClinicalTable) -> Callable[[Outcome], pd.Series] | pd.Series | None:
    split = context.study.cohort.split
    if context.models:
        return split_none(table.patients, EXTERNAL)
    if isinstance(split, SplitByColumn):
        sets = {"training": split.training, "validation": split.validation}
        if split.external:
            sets["external"] = split.external
        return split_by_column(table.values(split.column), sets)
    if isinstance(split, SplitByList):
        lists = {"training": split.training, "validation": split.validation}
        return split_by_list(
            table.patients, {name: read_patient_list(context.path(path)) for name, path in lists.items()}
        )
    if isinstance(split, SplitAtRandom):
        seed, fraction = derive_seed(context.study.seed, "split"), split.validation_fraction
        return lambda outcome: split_at_random(outcome, seed=seed, validation_fraction=fraction)
    return None
