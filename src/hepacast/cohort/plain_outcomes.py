"""Outcomes that stand in the table: a column of yes and no, time and event, recurrence before a limit."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hepacast.cohort.columns import ColumnSpec, level_key, level_words, levels_meant, word_key
from hepacast.cohort.definitions import OutcomeDefinition, OutcomePart, Parts, register
from hepacast.cohort.findings import Finding
from hepacast.cohort.outcome import TIME_UNITS, Outcome, SurvivalOutcome
from hepacast.core.formatting import plural
from hepacast.errors import OutcomeError, StudyFileError

#: Nobody is followed for longer: 110 years.
_LONGEST_DAYS = 110 * 365.25
#: Follow-up of patients with liver cancer that is longer is hardly one, years.
_LONG_YEARS = 40.0
#: Share of times with decimals from which on they are hardly counted days, where none is longer (years).
_SPLIT_DAYS, _FEW_YEARS = 0.5, 1.0


def _binary_column(parts: Parts) -> Outcome:
    parts.need("column")
    values = _worded(parts, "column")
    column, spec = parts.columns["column"], _spec(parts, "column")
    positive, negative = parts.options["positive_values"], parts.options["negative_values"]
    if spec is not None and spec.levels:
        if positive is None and spec.kind == "binary":
            positive, negative = [spec.level_names[1]], [spec.level_names[0]]
        positive, negative = levels_meant(spec, _listed(positive)), levels_meant(spec, _listed(negative))
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
    source = f"column {column}: {', '.join(sorted(positive))}"
    rest = () if negative else _counted(parts, "column", values[~fired.fillna(value=True)], "without the event")
    return parts.binary(fired, source=source, reasons=_reasons(values), findings=rest)


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
    limit = _LONGEST_DAYS / TIME_UNITS[unit]
    beyond = time.index[time.astype("float64") > limit]
    if len(beyond):
        raise OutcomeError(
            f"{plural(len(beyond), 'patient')} of {parts.name!r} would have been followed for longer than a life.",
            expected=f"at most {limit:,.0f} {unit}",
            found=", ".join(f"{patient}: {time[patient]:g}" for patient in beyond[:10]),
            remedy=f"correct the times, or the unit ({unit}) of the outcome",
        )
    return time, event, reasons


def _doubtful_unit(parts: Parts, time: pd.Series) -> tuple[Finding, ...]:
    """A word on times that look like those of another unit."""
    unit, known = parts.options["unit"], time.dropna().astype("float64")
    years = float(known.max()) * TIME_UNITS[unit] / 365.25 if len(known) else 0.0
    if years > _LONG_YEARS:
        message = f"the longest follow-up is {known.max():g} {unit}, {years:.0f} years: is the unit another one?"
        return (parts.finding("warning", "time-unit", message),)
    count = int((known % 1 != 0).sum())
    if unit == "days" and count > _SPLIT_DAYS * len(known) and years < _FEW_YEARS:
        message = (
            f"{count} of {len(known)} times in days have decimals, up to {known.max():g}: are they months or years?"
        )
        return (parts.finding("warning", "time-unit", message),)
    return ()


def _shown_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


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
                found=f"{_shown_value(wrong.iloc[0])} for patient {wrong.index[0]} ({len(wrong)} patients in all)",
                remedy="say which values mean the event: `event_values: [2]`",
            )
        return values
    event = _meant(parts, parts.options["event_values"])
    if not event.any():
        found = _worded(parts, "event").value_counts()
        raise OutcomeError(
            f"Nobody has a value of {parts.columns['event']!r} that means the event.",
            expected=f"event_values: {', '.join(sorted(wanted))}",
            found=", ".join(f"{value!r} ({plural(n, 'patient')})" for value, n in list(found.items())[:10])
            or "no values",
            remedy="correct `event_values:` of the outcome",
        )
    return event.astype("float64").mask(parts.raw("event").isna())


def _spec(parts: Parts, part: str) -> ColumnSpec | None:
    column = parts.columns[part]
    return parts.table.spec(column) if column in parts.table.frame.columns else None


def _worded(parts: Parts, part: str) -> pd.Series:
    """The values of a part; those of a binary column, which holds 0 and 1 now, by the study's words again."""
    values, spec = parts.raw(part), _spec(parts, part)
    if spec is None or spec.kind != "binary" or not spec.levels:
        return values
    return values.map(dict(enumerate(spec.level_names)))


def _meant(parts: Parts, given: Any) -> pd.Series:
    """Whether the event column has one of these values: a level, or any word of the table for it."""
    spec = _spec(parts, "event")
    known = level_words(spec) if spec is not None else {}
    wanted = {word_key(known.get(level_key(word), word)) for word in _listed(given)}
    return _worded(parts, "event").map(lambda value: not pd.isna(value) and word_key(value) in wanted).astype(bool)


def _listing(counts: pd.Series) -> str:
    return ", ".join(f"{value!r} ({plural(n, 'patient')})" for value, n in list(counts.items())[:10])


def _counted(parts: Parts, part: str, values: pd.Series, counts_as: str) -> tuple[Finding, ...]:
    """A word about several values that count as one thing because the study file names others."""
    shown = values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value)).value_counts()
    if len(shown) < 2:
        return ()
    listed = _listing(shown)
    message = (
        f"{parts.columns[part]}: {listed} all count as {counts_as}; leave out the patients for whom that is not so"
    )
    return (parts.finding("warning", "several-values", message),)


def _censored(parts: Parts, event: pd.Series, competing: pd.Series | None = None) -> tuple[Finding, ...]:
    """What counts as censored, where several values do; and a competing event that nobody has."""
    rest = _worded(parts, "event")[(event == 0) & ((competing if competing is not None else event) == 0)]
    found = _counted(parts, "event", rest, "censored")
    if competing is not None and not competing.any():
        values = ", ".join(sorted(_words(parts.options["competing_values"])))
        found += (parts.finding("warning", "no-competing-event", f"nobody has the competing event ({values})"),)
    return found


def _survival(parts: Parts) -> Outcome:
    time, event, reasons = _time_and_event(parts)
    policy = parts.options["zero_times"]
    if policy not in ("refuse", "exclude"):
        raise StudyFileError("`zero_times` is not known.", expected="refuse, exclude", found=str(policy))
    if policy == "exclude":
        reasons |= {str(patient): f"time {time[patient]:g} is not above 0" for patient in time.index[time <= 0]}
    kept = [patient for patient in time.index if patient not in reasons]
    competing = competing_all = _competing(parts)
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
        (*_censored(parts, event, competing_all), *_doubtful_unit(parts, time)),
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
    return _meant(parts, parts.options["competing_values"]).astype("int64")


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
    note = (*_censored(parts, event), *_doubtful_unit(parts, time))
    censored = [patient for patient, reason in reasons.items() if reason.startswith("censored")]
    if censored:
        message = f"{len(censored)} patients were censored before {limit:g} months and have no known outcome"
        note += (parts.finding("warning", "censored-early", message),)
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
