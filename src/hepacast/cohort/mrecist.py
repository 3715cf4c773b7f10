"""Response by mRECIST: from reader codes, from sums of viable diameters, or from single lesions.

Source: Lencioni R, Llovet JM. Semin Liver Dis 2010;30:52-60 (modified RECIST for hepatocellular carcinoma).
Viable means enhancing in the arterial phase; the sum is that of the longest viable diameters of up to two target
lesions. Complete response (CR): no enhancement left in any target. Partial response (PR): sum down by at least 30 %
from baseline. Progressive disease (PD): sum up by at least 20 % from the smallest sum since the start of treatment, or
a new lesion. Stable disease (SD): neither.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from hepacast.cohort.columns import word_key
from hepacast.cohort.definitions import OutcomeDefinition, OutcomePart, Parts, register
from hepacast.cohort.findings import Finding
from hepacast.cohort.outcome import Outcome
from hepacast.errors import OutcomeError, TableError

Category = Literal["CR", "PR", "SD", "PD"]

SOURCE = (
    "Objective response (complete or partial) by mRECIST (Lencioni R, Llovet JM, Semin Liver Dis 2010;30:52-60), "
    "first imaging after TACE"
)
PARTIAL_DECREASE = 0.30
PROGRESSION_INCREASE = 0.20
MAX_TARGETS = 2
#: Codes that readers use, unless the study file says otherwise.
CODES: dict[str, Category] = {
    **{"cr": "CR", "complete response": "CR", "complete": "CR", "1": "CR", "完全缓解": "CR"},
    **{"pr": "PR", "partial response": "PR", "partial": "PR", "2": "PR", "部分缓解": "PR"},
    **{"sd": "SD", "stable disease": "SD", "stable": "SD", "3": "SD", "疾病稳定": "SD", "稳定": "SD"},
    **{"pd": "PD", "progressive disease": "PD", "progression": "PD", "4": "PD", "疾病进展": "PD", "进展": "PD"},
}
# Diameters are read to 0.1 mm; without this, 70.0 from 100.0 would miss PR by rounding in binary.
_ROUNDING = 1e-9


def mrecist_category(
    baseline: float, followup: float, *, nadir: float | None = None, new_lesion: bool | None = False
) -> Category | None:
    """The category of one patient.

    Parameters
    ----------
    baseline, followup
        Sum of viable diameters before and after treatment, in one unit (mm).
    nadir
        Smallest sum since the start of treatment before this follow-up; the baseline when there is none in between.
    new_lesion
        Whether a new lesion appeared; None when nobody looked.

    Returns
    -------
    str or None
        None when it cannot be told: a sum is missing, or no new lesion is recorded where one would matter.
    """
    if new_lesion:
        return "PD"
    values = (baseline, followup) if nadir is None else (baseline, followup, nadir)
    if any(math.isnan(value) for value in values):
        return None
    if baseline <= 0 or followup < 0 or (nadir is not None and nadir < 0):
        raise TableError(
            "Sums of viable diameters cannot give a response.",
            expected="a baseline above 0, follow-up and nadir of 0 or more",
            found=f"baseline {baseline:g}, follow-up {followup:g}"
            + (f", nadir {nadir:g}" if nadir is not None else ""),
            remedy="a patient without viable tumor at baseline has no measurable response: leave it out with a reason",
        )
    smallest = baseline if nadir is None else min(nadir, baseline)
    if followup > 0 and followup >= (1 + PROGRESSION_INCREASE) * smallest - _ROUNDING:
        return "PD"
    if new_lesion is None:
        return None
    if followup == 0:
        return "CR"
    if followup <= (1 - PARTIAL_DECREASE) * baseline + _ROUNDING:
        return "PR"
    return "SD"


def sums_of_viable_diameters(lesions: pd.DataFrame) -> pd.DataFrame:
    """Baseline, nadir and follow-up sums from a table of single target lesions.

    Parameters
    ----------
    lesions
        Columns ``patient``, ``lesion``, ``visit`` (0 is the baseline; higher is later) and ``viable_mm`` (0 where
        the enhancement is gone). The two largest lesions at baseline are the targets.

    Returns
    -------
    DataFrame
        By patient: ``baseline``, ``nadir``, ``followup`` (mm), ``n_targets`` and ``reason`` where a sum is NaN.

    Raises
    ------
    TableError
        A column is missing, or a lesion stands twice in one visit.
    """
    needed = {"patient", "lesion", "visit", "viable_mm"}
    if lacking := sorted(needed - set(lesions.columns)):
        raise TableError("The lesion table lacks columns.", expected=", ".join(sorted(needed)), found=f"no {lacking}")
    double = lesions[lesions.duplicated(["patient", "lesion", "visit"])]
    if len(double):
        first = double.iloc[0]
        raise TableError(
            f"Lesion {first['lesion']} of patient {first['patient']} stands twice in visit {first['visit']}."
        )
    rows = {str(patient): _patient_sums(part) for patient, part in lesions.groupby("patient", sort=False)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("patient")


def _patient_sums(lesions: pd.DataFrame) -> dict[str, float | int | str]:
    table = lesions.pivot(index="visit", columns="lesion", values="viable_mm").sort_index()
    empty = {"baseline": np.nan, "nadir": np.nan, "followup": np.nan, "n_targets": 0}
    if 0 not in table.index or len(table) < 2:
        return {**empty, "reason": "no baseline visit" if 0 not in table.index else "no follow-up visit"}
    at_baseline = pd.Series(table.loc[0]).dropna()
    targets = list(at_baseline.sort_values(ascending=False, kind="stable").index[:MAX_TARGETS])
    if not targets:
        return {**empty, "reason": "no target lesion measured at baseline"}
    sums = table[targets].sum(axis=1, skipna=False)
    reason = ""
    if sums.iloc[1:].isna().any():
        reason = f"a target lesion was not measured at visit {sums.index[sums.isna()][0]}"
    before = sums.iloc[:-1]
    return {
        "baseline": float(sums.loc[0]),
        "nadir": float(before.min(skipna=False)),
        "followup": float(sums.iloc[-1]),
        "n_targets": len(targets),
        "reason": reason,
    }


def _derive(parts: Parts) -> Outcome:
    categories, reasons = _from_codes(parts) if parts.has("category") else _from_sums(parts)
    fired = categories.isin(["CR", "PR"]).astype("boolean").mask(categories.isna())
    conditions = pd.DataFrame(
        {name: (categories == name).astype("float64").where(categories.notna()) for name in ("CR", "PR", "SD", "PD")}
    )
    findings = _compare(parts, categories) if parts.has("category") and parts.has("baseline_sum") else ()
    return parts.binary(fired, source=SOURCE, conditions=conditions, reasons=reasons, findings=findings)


def _from_codes(parts: Parts) -> tuple[pd.Series, dict[str, str]]:
    codes = {word_key(word): category for word, category in parts.options["codes"].items()} or dict(CODES)
    values = parts.raw("category")
    column = parts.columns["category"]
    if column in parts.table.frame.columns and parts.table.spec(column).kind == "binary":
        raise OutcomeError("The mRECIST category must not be a binary column.", remedy="use `kind: categorical`")
    categories = values.map(lambda value: None if pd.isna(value) else codes.get(word_key(value), "?"))
    unclear = categories.index[categories == "?"]
    if len(unclear):
        raise OutcomeError(
            "A response category is not known.",
            expected="CR, PR, SD, PD, or codes given by the option `codes`",
            found=f"{values[unclear[0]]!r} for patient {unclear[0]}",
            remedy="say `codes: {1: CR, 2: PR, 3: SD, 4: PD}` with the table's own codes",
        )
    lacking = categories.index[categories.isna()]
    return categories, {str(patient): "no response category recorded" for patient in lacking}


def _from_sums(parts: Parts) -> tuple[pd.Series, dict[str, str]]:
    parts.need("baseline_sum", "followup_sum")
    baseline, followup = parts.number("baseline_sum"), parts.number("followup_sum")
    nadir = parts.number("nadir_sum") if parts.has("nadir_sum") else None
    new = parts.flag("new_lesion") if parts.has("new_lesion") else None
    categories: dict[str, str | None] = {}
    reasons: dict[str, str] = {}
    for patient in baseline.index:
        fresh = False if new is None else (None if pd.isna(new[patient]) else bool(new[patient]))
        lowest = None if nadir is None or pd.isna(nadir[patient]) else float(nadir[patient])
        if baseline[patient] <= 0:
            reasons[patient] = "no viable tumor at baseline"
            categories[patient] = None
            continue
        category = mrecist_category(float(baseline[patient]), float(followup[patient]), nadir=lowest, new_lesion=fresh)
        categories[patient] = category
        if category is None:
            missing = "sum of viable diameters" if fresh is not None else "presence of new lesions"
            reasons[patient] = f"{missing} not recorded"
    return pd.Series(categories, dtype=object), reasons


def _compare(parts: Parts, categories: pd.Series) -> tuple[Finding, ...]:
    """Where both the reader's code and the sums are there, say where they differ."""
    computed, _ = _from_sums(parts)
    both = categories.notna() & computed.notna()
    findings = []
    for patient in categories.index[both & (categories != computed)]:
        message = f"the recorded category is {categories[patient]}, the sums of diameters give {computed[patient]}"
        findings.append(parts.finding("warning", "category-differs", message, str(patient)))
    return tuple(findings)


register(
    OutcomeDefinition(
        name="mrecist-objective-response",
        title="objective response by mRECIST",
        source=SOURCE,
        parts=(
            OutcomePart("category", "the reader's category (CR, PR, SD, PD or codes)"),
            OutcomePart("baseline_sum", "sum of viable target diameters before treatment, mm"),
            OutcomePart(
                "followup_sum", "sum of viable target diameters at follow-up, mm; 0 where the enhancement is gone"
            ),
            OutcomePart("nadir_sum", "smallest sum since the start of treatment, mm"),
            OutcomePart("new_lesion", "whether a new lesion appeared (yes or no)"),
        ),
        options={"codes": {}},
        function=_derive,
        positive="objective response",
        negative="no objective response",
    )
)
