"""Outcomes that stand in the table: a column of yes and no, time and event, recurrence before a limit."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hepacast.cohort.columns import levels_meant, word_key
from hepacast.cohort.definitions import OutcomeDefinition, OutcomePart, Parts, register
from hepacast.cohort.findings import Finding
from hepacast.cohort.outcome import TIME_UNITS, Outcome, SurvivalOutcome
from hepacast.errors import OutcomeError, StudyFileError


def _binary_column(parts: Parts) -> Outcome:
    parts.need("column")
    values = parts.raw("column")
    column = parts.columns["column"]
    positive, negative = parts.options["positive_values"], parts.options["negative_values"]
    spec = parts.table.spec(column) if column in parts.table.frame.columns else None
    if spec is not None and spec.levels:
        if positive is None and spec.kind == "binary":
            positive, negative = [spec.level_names[1]], [spec.level_names[0]]
        positive, negative = levels_meant(spec, _listed(positive)), levels_meant(spec, _listed(negative))
        if spec.kind == "binary":
            # It holds 0 and 1 now; the words that the study file gives are those of the table.
            values = values.map(dict(enumerate(spec.level_names)))
    positive, negative = _words(positive), _words(negative)
    if not positive:
        positive, negative = {"1"}, negative or {"0"}
    keys = values.map(lambda value: None if pd.isna(value) else word_key(value))
    unclear = keys[keys.notna() & ~keys.isin(positive | negative)] if negative else keys.iloc[:0]
    if len(unclear):
        raise OutcomeError(
            f"The outcome column {column!r} holds a value that is neither positive nor negative.",
            expected=f"positive: {', '.join(sorted(positive))}; negative: {', '.join(sorted(negative))}",
            found=f"{values[unclear.index[0]]!r} for patient {unclear.index[0]} ({len(unclear)} patients in all)",
            remedy="add it to `positive:` or `negative:` of the outcome, or leave these patients out with a reason",
        )
    fired = keys.isin(positive).astype("boolean").mask(keys.isna())
    return parts.binary(fired, source=f"column {column}: {', '.join(sorted(positive))}", reasons=_reasons(values))


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple | set) else [given]


def _words(given: Any) -> set[str]:
    return {word_key(word) for word in _listed(given)}


def _reasons(values: pd.Series) -> dict[str, str]:
    return {str(patient): "no outcome recorded" for patient in values.index[values.isna()]}


def _time_and_event(parts: Parts) -> tuple[pd.Series, pd.Series, dict[str, str]]:
    parts.need("time", "event")
    time = parts.number("time")
    event = _event(parts)
    reasons = {}
    for patient in time.index:
        lacking = [word for word, values in (("time", time), ("event", event)) if pd.isna(values[patient])]
        if lacking:
            reasons[str(patient)] = f"{' and '.join(lacking)} not recorded"
    unit = parts.options["unit"]
    if unit not in TIME_UNITS:
        raise StudyFileError(f"{unit!r} is not a unit of time.", expected=", ".join(TIME_UNITS))
    return time, event, reasons


def _event(parts: Parts) -> pd.Series:
    wanted = _words(parts.options["event_values"])
    if not wanted:
        values = pd.to_numeric(parts.raw("event"), errors="coerce").astype("float64")
        raw = parts.raw("event")
        wrong = raw[raw.notna() & ~values.isin([0.0, 1.0])]
        if len(wrong):
            raise OutcomeError(
                f"The event column {parts.columns['event']!r} has values other than 0 and 1.",
                expected="1 = event, 0 = censored",
                found=f"{wrong.iloc[0]!r} for patient {wrong.index[0]} ({len(wrong)} patients in all)",
                remedy="say which values mean the event: `event_values: [2]`",
            )
        return values
    raw = parts.raw("event")
    keys = raw.map(lambda value: None if pd.isna(value) else word_key(value))
    return keys.isin(wanted).astype("float64").mask(keys.isna())


def _survival(parts: Parts) -> Outcome:
    time, event, reasons = _time_and_event(parts)
    policy = parts.options["zero_times"]
    if policy not in ("refuse", "exclude"):
        raise StudyFileError("`zero_times` is not known.", expected="refuse, exclude", found=str(policy))
    if policy == "exclude":
        reasons |= {str(patient): f"time {time[patient]:g} is not above 0" for patient in time.index[time <= 0]}
    kept = [patient for patient in time.index if patient not in reasons]
    competing = _competing(parts)
    source = f"time in {parts.options['unit']} (column {parts.columns['time']}) to the event"
    source += f" (column {parts.columns['event']}) or the last contact"
    if competing is not None:
        source += f"; competing event (values {', '.join(sorted(_words(parts.options['competing_values'])))})"
        competing = competing[kept]
    return SurvivalOutcome(
        parts.name,
        time[kept],
        event[kept],
        parts.options["unit"],
        source,
        reasons,
        competing=competing,
        positive=parts.positive,
    )


def _competing(parts: Parts) -> pd.Series | None:
    """1 where the event column says that a competing event came."""
    wanted = _words(parts.options["competing_values"])
    if not wanted:
        return None
    if not _words(parts.options["event_values"]):
        raise StudyFileError(
            "Which values mean the event, where others mean a competing one?",
            expected="event_values beside competing_values",
            where="outcome",
        )
    keys = parts.raw("event").map(lambda value: None if pd.isna(value) else word_key(value))
    return keys.isin(wanted).astype("int64")


def _early_recurrence(parts: Parts) -> Outcome:
    """Recurrence before the limit; who was censored before it is unknown, because nobody saw whether it came."""
    time, event, reasons = _time_and_event(parts)
    factor = TIME_UNITS[parts.options["unit"]] / TIME_UNITS["months"]
    months = time * factor
    if (months < 0).any():
        patient = months.index[months < 0][0]
        raise OutcomeError("A time to recurrence is negative.", found=f"{time[patient]:g} for patient {patient}")
    limit = float(parts.options["limit_months"])
    early = (months < limit) & (event == 1)
    free = months >= limit
    fired = early.astype("boolean").mask(~early & ~free)
    for patient in fired.index[fired.isna()]:
        if patient not in reasons:
            reasons[str(patient)] = f"censored at {months[patient]:.1f} months, before {limit:g} months"
    source = f"recurrence within {limit:g} months of treatment (early recurrence); censored before that: unknown"
    note: tuple[Finding, ...] = ()
    censored = [patient for patient, reason in reasons.items() if reason.startswith("censored")]
    if censored:
        message = f"{len(censored)} patients were censored before {limit:g} months and have no known outcome"
        note = (parts.finding("warning", "censored-early", message),)
    return parts.binary(fired, source=source, reasons=reasons, findings=note)


register(
    OutcomeDefinition(
        name="binary-column",
        title="a column of the table that says whether the event happened",
        source="the table itself",
        parts=(OutcomePart("column", "the outcome column"),),
        options={"positive_values": None, "negative_values": None},
        function=_binary_column,
    )
)
register(
    OutcomeDefinition(
        name="survival",
        title="time to an event or to the last contact",
        source="the table itself",
        parts=(
            OutcomePart("time", "time to the event or the last contact"),
            OutcomePart("event", "1 = event, 0 = censored"),
        ),
        options={"unit": "days", "event_values": None, "competing_values": None, "zero_times": "refuse"},
        function=_survival,
    )
)
register(
    OutcomeDefinition(
        name="early-recurrence",
        title="recurrence within 24 months of resection",
        source="recurrence within 2 years of resection, the limit in common use for hepatocellular carcinoma",
        parts=(
            OutcomePart("time", "recurrence-free time"),
            OutcomePart("event", "1 = recurrence, 0 = censored"),
        ),
        options={"unit": "months", "limit_months": 24.0, "event_values": None},
        function=_early_recurrence,
        positive="early recurrence",
        negative="no early recurrence",
    )
)
