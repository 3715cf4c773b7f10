"""Post-TACE liver failure by the criteria of APASL, with the condition that fired for each patient."""

from __future__ import annotations

import pandas as pd

from hepacast.cohort.definitions import OutcomeDefinition, OutcomePart, Parts, register, truth
from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.outcome import Outcome
from hepacast.errors import OutcomeError, StudyFileError

SOURCE = (
    "Liver failure after TACE by the criteria of the APASL consensus on acute-on-chronic liver failure, update 2019 "
    "(Sarin SK et al., Hepatol Int 2019;13:353-390): total bilirubin >= 85 umol/L (5 mg/dL); INR > 1.5 or "
    "prothrombin activity < 40 %; ascites and/or hepatic encephalopathy; within 4 weeks"
)
BILIRUBIN_UMOL_L = 85.0
INR_LIMIT = 1.5
PTA_PERCENT = 40.0


def _derive(parts: Parts) -> Outcome:
    """Any of the three conditions (`rule: any`, as published for PTLF), or all of them (`rule: all`, as for ACLF)."""
    conditions = _conditions(parts)
    rule = parts.options["rule"]
    if rule not in ("any", "all"):
        raise StudyFileError("`rule` of apasl2019-ptlf is not known.", expected="any, all", found=str(rule))
    fired = _combine(conditions, rule)
    fired, reasons = _within_window(parts, conditions, fired)
    fired, findings = _missing_policy(parts, conditions, fired)
    words = "any of these" if rule == "any" else "all of these"
    source = f"{SOURCE}; {words}, recorded within {parts.options['within_days']:g} days"
    shown = conditions.astype("float64").where(conditions.notna())
    return parts.binary(fired, source=source, conditions=shown, reasons=reasons, findings=findings)


def _conditions(parts: Parts) -> pd.DataFrame:
    parts.need("bilirubin")
    if not (parts.has("inr") or parts.has("pta")):
        parts.need("inr")
    bilirubin = parts.number("bilirubin")
    columns = {"bilirubin": truth(bilirubin >= BILIRUBIN_UMOL_L, bilirubin.isna())}
    columns["coagulation"] = _coagulation(parts)
    columns["decompensation"] = _decompensation(parts)
    return pd.DataFrame(columns)


def _coagulation(parts: Parts) -> pd.Series:
    """INR and prothrombin activity measure one thing: one of them, recorded and normal, is enough to say no."""
    fired: list[pd.Series] = []
    if parts.has("inr"):
        inr = parts.number("inr")
        fired.append(truth(inr > INR_LIMIT, inr.isna()))
    if parts.has("pta"):
        pta = parts.number("pta")
        fired.append(truth(pta < PTA_PERCENT, pta.isna()))
    either = fired[0].fillna(False)
    recorded = fired[0].notna()
    for other in fired[1:]:
        either = either | other.fillna(False)
        recorded = recorded | other.notna()
    return either.mask(~recorded)


def _decompensation(parts: Parts) -> pd.Series:
    """Ascites and encephalopathy are two things: a missing one leaves a negative other undecided."""
    if parts.has("ascites_or_encephalopathy"):
        return parts.flag("ascites_or_encephalopathy")
    known = [part for part in ("ascites", "encephalopathy") if parts.has(part)]
    if len(known) < 2 and not (known and parts.options["allow_unrecorded"]):
        parts.need("ascites", "encephalopathy")
    fired = parts.flag(known[0])
    for part in known[1:]:
        fired = fired | parts.flag(part)
    return fired


def _combine(conditions: pd.DataFrame, rule: str) -> pd.Series:
    """Kleene logic: unknown only where a missing condition could still turn the answer."""
    result = conditions.iloc[:, 0]
    for name in conditions.columns[1:]:
        result = (result | conditions[name]) if rule == "any" else (result & conditions[name])
    return result


def _within_window(parts: Parts, conditions: pd.DataFrame, fired: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """Where the day of onset is recorded, an event after the window is none, and one before day 0 is undecided."""
    reasons = {
        str(patient): "not recorded: " + ", ".join(conditions.columns[row.isna()]) + "; the rest is negative"
        for patient, row in conditions[fired.isna()].iterrows()
    }
    if not parts.has("onset_days"):
        return fired, reasons
    days = parts.number("onset_days")
    positive = fired.fillna(False).astype(bool)
    late = positive & (days > parts.options["within_days"])
    undecided = positive & (days.isna() | (days < 0))
    for patient in fired.index[undecided]:
        day = days[patient]
        reasons[str(patient)] = "day of onset not recorded" if pd.isna(day) else f"onset on day {day:g}, before TACE"
    return fired.mask(late, False).mask(undecided), reasons


def _missing_policy(parts: Parts, conditions: pd.DataFrame, fired: pd.Series) -> tuple[pd.Series, tuple[Finding, ...]]:
    policy = parts.options["missing"]
    if policy not in ("unknown", "negative", "refuse"):
        raise StudyFileError(
            "`missing` of the outcome is not known.", expected="unknown, negative, refuse", found=str(policy)
        )
    incomplete = list(fired.index[fired.isna()])
    if not incomplete or policy == "unknown":
        return fired, ()
    if policy == "refuse":
        raise OutcomeError(
            f"The outcome cannot be told for {len(incomplete)} patients.",
            found=name_patients(incomplete),
            remedy="complete the table, or set `missing: unknown` to leave them out with the reason",
        )
    gaps = conditions.loc[incomplete].isna().any(axis=1)
    taken = [patient for patient in incomplete if gaps[patient]]
    message = (
        f"{len(taken)} patients with missing conditions were taken as negative, as the study file says "
        f"(missing: negative): {name_patients(taken)}"
    )
    return fired.mask(fired.index.isin(taken), False), (parts.finding("warning", "outcome-assumed", message),)


register(
    OutcomeDefinition(
        name="apasl2019-ptlf",
        title="post-TACE liver failure (APASL 2019), within 4 weeks",
        source=SOURCE,
        parts=(
            OutcomePart("bilirubin", "highest total bilirubin within 4 weeks of TACE", "bilirubin"),
            OutcomePart("inr", "highest INR within 4 weeks of TACE", "inr"),
            OutcomePart("pta", "lowest prothrombin activity within 4 weeks of TACE", "pta"),
            OutcomePart("ascites", "ascites that came or grew within 4 weeks of TACE (yes or no)"),
            OutcomePart("encephalopathy", "hepatic encephalopathy within 4 weeks of TACE (yes or no)"),
            OutcomePart("ascites_or_encephalopathy", "either of the two in one column (yes or no)"),
            OutcomePart("onset_days", "days from TACE to the first condition, where one fired"),
        ),
        options={"rule": "any", "missing": "unknown", "within_days": 28.0, "allow_unrecorded": False},
        function=_derive,
        positive="PTLF",
        negative="no PTLF",
    )
)
