"""Checks of the design: predictors that must not be there, leaks, too few events for the variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.findings import Finding
from hepacast.cohort.known_columns import role_of
from hepacast.cohort.outcome import Outcome
from hepacast.cohort.quantities import name_key
from hepacast.cohort.tables import ClinicalTable
from hepacast.stats.samplesize import expected_shrinkage, riley_binary

AFTER_WORDS = frozenset(
    """
    post postop postoperative posttace after followup follow fu outcome recurrence relapse death died dead os pfs ttp
    progressed censored alive recurred relapsed event events
    rfs dfs response mrecist recist easl progression survival complication complications discharge readmission
    nach verlauf rezidiv tod verstorben überleben ansprechen entlassung
    """.split()  # noqa: SIM905
)
AFTER_PARTS = ("术后", "随访", "复发", "死亡", "结局", "生存", "进展", "疗效", "出院", "治疗后")
_IDENTITY = frozenset(
    name_key(word)
    for word in (
        *("name", "patient name", "first name", "last name", "surname", "full name", "dob", "date of birth"),
        *("birth date", "birthday", "phone", "telephone", "mobile", "address", "email", "ssn", "insurance number"),
        *("nachname", "vorname", "patientenname", "geburtsdatum", "geburtstag", "adresse", "telefon"),
        *(
            "姓名",
            "患者姓名",
            "病人姓名",
            "出生日期",
            "生日",
            "电话",
            "联系电话",
            "手机",
            "地址",
            "住址",
            "身份证",
            "身份证号",
        ),
    )
)
_MIN_CLASS = 5
_SUSPICIOUS_AUC = 0.98


def check_identity(table: ClinicalTable) -> list[Finding]:
    """Columns that name a person must not be read, and the identifier must be a study number."""
    findings = []
    for spec in table.specs:
        if any(can_name_a_person(text) for text in (spec.name, *spec.source)):
            message = (
                "the column can name a person; take it out of the study file, results must hold study numbers only"
            )
            findings.append(Finding("error", "identity-column", message, column=spec.name))
    named = can_name_a_person(table.provenance.id_header)
    if named == "person":
        message = "patients are identified by name or date of birth; give them study numbers first"
        findings.append(Finding("error", "identity-column", message, column=table.provenance.id_header))
    elif named == "hospital number":
        message = "the identifier looks like a hospital number; results would carry it. Give patients study numbers"
        findings.append(Finding("warning", "identity-column", message, column=table.provenance.id_header))
    return findings


def check_predictors(
    table: ClinicalTable,
    outcome: Outcome | None = None,
    *,
    candidates: Sequence[str] | None = None,
    outcome_columns: Iterable[str] = (),
) -> list[Finding]:
    """Candidate predictors that must not be predictors.

    Parameters
    ----------
    table
        The clinical table.
    outcome
        The outcome, for the search for leaks (binary only).
    candidates
        Names; default: the columns of role ``candidate``.
    outcome_columns
        Columns that the outcome is made of.
    """
    names = table.candidates if candidates is None else list(candidates)
    findings: list[Finding] = []
    for name in names:
        spec, values = table.spec(name), table.frame[name]
        problem = _of_the_outcome(spec, set(outcome_columns)) or _identifier(spec, values) or _named_after(spec)
        if problem is not None:
            findings.append(problem)
        if outcome is not None and not outcome.has_time and (problem is None or problem.severity != "error"):
            findings += _leaks(spec, values, outcome)
    return findings + _twins(table, names)


def _of_the_outcome(spec: ColumnSpec, outcome_columns: set[str]) -> Finding | None:
    if spec.role == "outcome" or spec.name in outcome_columns:
        message = "the outcome is made of this column: a model that sees it predicts what it was told"
        return Finding("error", "outcome-as-predictor", message, column=spec.name)
    if spec.after_event:
        message = "the column is known only after the treatment or the outcome, so it cannot predict it"
        return Finding("error", "after-event", message, column=spec.name)
    if spec.kind == "date":
        message = "a date is no predictor (it tells the time of recruitment); use an age or an interval"
        return Finding("error", "date-as-predictor", message, column=spec.name)
    return None


def _identifier(spec: ColumnSpec, values: pd.Series) -> Finding | None:
    known = values.dropna()
    named = any(role_of(text) == "id" for text in (spec.name, *spec.source))
    unique = len(known) >= 10 and known.nunique() == len(known)
    text = "an identifier among the predictors: "
    if spec.kind == "categorical" and unique:
        return Finding("error", "identifier", text + "every patient has a word of their own", column=spec.name)
    if spec.kind != "numeric" or not unique or not np.equal(known, known.round()).all():
        return None
    steps = np.diff(np.sort(known.to_numpy(dtype=float)))
    if named or steps.max() == steps.min():
        return Finding("error", "identifier", text + "whole numbers, each used once, in sequence", column=spec.name)
    if not spec.quantity:
        message = "whole numbers, each used once: is this an identifier?"
        return Finding("warning", "identifier-like", message, column=spec.name)
    return None


def _named_after(spec: ColumnSpec) -> Finding | None:
    for text in (spec.name, *spec.source):
        if word := after_event_word(text):
            message = f"{word!r} in the name sounds like something known only after the treatment; is it?"
            return Finding("warning", "after-event-name", message, column=spec.name)
    return None


def after_event_word(text: str) -> str:
    """The word in a name that sounds like something known only after the treatment, or an empty text."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    tokens = {token.casefold() for token in re.split(r"[\W_]+", spaced) if token}
    whole = {re.sub(r"[\W_]+", "", text).casefold()}
    found = sorted((tokens | whole) & AFTER_WORDS)
    return found[0] if found else next((part for part in AFTER_PARTS if part in text), "")


def can_name_a_person(header: str) -> str:
    """What of a person a header gives: ``person`` (name, birth date, address), ``hospital number`` or nothing."""
    if name_key(header) in _IDENTITY:
        return "person"
    return "hospital number" if role_of(header) == "hospital number" else ""


def _leaks(spec: ColumnSpec, values: pd.Series, outcome: Outcome) -> list[Finding]:
    """A predictor that alone (nearly) decides the outcome, by its values or by being missing."""
    target = outcome.events.reindex([patient for patient in values.index if patient in outcome.events.index])
    values = values.reindex(target.index)
    findings = []
    known = values.dropna()
    classes = target.reindex(known.index)
    if min((classes == 0).sum(), (classes == 1).sum()) >= _MIN_CLASS:
        if spec.kind == "categorical":
            rates = classes.groupby(known).transform("mean")
            # The mean outcome of the own level decides only if every level is pure, and levels are few.
            auc = _auc(rates, classes) if known.nunique() <= len(known) / _MIN_CLASS else 0.5
        else:
            auc = _auc(known.astype("float64"), classes)
        strength = max(auc, 1 - auc)
        if strength == 1.0:
            message = "the column alone decides the outcome without error: it was made from it, or after it"
            findings.append(Finding("error", "perfect-predictor", message, column=spec.name))
        elif strength >= _SUSPICIOUS_AUC:
            message = f"the column alone has an AUC of {strength:.3f}: is it known before the outcome?"
            findings.append(Finding("warning", "leak-suspected", message, column=spec.name))
    if (finding := _missing_tells(spec, values, target)) is not None:
        findings.append(finding)
    return findings


def _missing_tells(spec: ColumnSpec, values: pd.Series, target: pd.Series) -> Finding | None:
    from scipy.stats import fisher_exact

    missing = values.isna()
    if missing.sum() < _MIN_CLASS or (~missing).sum() < _MIN_CLASS:
        return None
    table = [[int((missing & (target == label)).sum()), int((~missing & (target == label)).sum())] for label in (1, 0)]
    p = float(fisher_exact(table).pvalue)
    if p >= 1e-3:
        return None
    message = (
        f"missing in {table[0][0]} of {sum(table[0])} patients with the event and {table[1][0]} of {sum(table[1])} "
        f"without (P = {p:.1g}): that a value is missing would tell the outcome"
    )
    return Finding("warning", "missing-tells-outcome", message, column=spec.name)


def _auc(scores: pd.Series, labels: pd.Series) -> float:
    ranks = scores.rank().to_numpy(dtype=float)
    positive = labels.to_numpy() == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _twins(table: ClinicalTable, names: Sequence[str]) -> list[Finding]:
    numeric = [name for name in names if table.spec(name).kind in ("numeric", "binary")]
    correlation = table.frame[numeric].corr(min_periods=10).abs().to_numpy()
    findings = []
    for first, second in zip(*np.nonzero(np.triu(correlation > 1 - 1e-12, k=1))):
        n = int(table.frame[[numeric[first], numeric[second]]].notna().all(axis=1).sum())
        message = f"the column says the same as {numeric[first]!r} (correlation of 1 in {n} patients)"
        findings.append(Finding("warning", "same-as-other", message, column=numeric[second]))
    return findings


def check_unseen_levels(
    training: ClinicalTable, others: Mapping[str, ClinicalTable], candidates: Sequence[str]
) -> list[Finding]:
    """Levels of candidates that patients elsewhere have and no patient of the training set.

    Parameters
    ----------
    training
        The patients on whom the models are fitted.
    others
        Patients of other sets and cohorts, by what to call them (``validation set``).
    candidates
        Names of the candidates.
    """
    findings = []
    for name in candidates:
        spec = training.spec(name)
        if spec.kind not in ("binary", "categorical"):
            continue
        known = set(training.frame[name].dropna())
        for other, table in others.items():
            counts = table.frame[name].value_counts()
            findings += [_unseen(spec, level, other, int(n)) for level, n in counts.items() if level not in known]
    return findings


def _unseen(spec: ColumnSpec, value: object, where: str, n: int) -> Finding:
    level = spec.level_names[int(float(str(value)))] if spec.kind == "binary" else str(value)
    message = (
        f"the level {level!r} occurs in {n} patient{'s' if n != 1 else ''} of the {where} and in none of the "
        "training set: the models have no coefficient for it and take these patients as missing, filled with the most "
        f"frequent level. Join it with another level (cohort.columns.{spec.name}.levels), leave these patients out "
        "(cohort.exclude), or take the column out of the candidates"
    )
    return Finding("warning", "level-not-in-training", message, column=spec.name)


def count_parameters(table: ClinicalTable, candidates: Sequence[str] | None = None) -> int:
    """Parameters of the candidates: one each, a categorical column of k levels k - 1."""
    names = table.candidates if candidates is None else list(candidates)
    return sum(
        max(len(table.spec(name).level_names) - 1, 1) if table.spec(name).kind == "categorical" else 1 for name in names
    )


def check_sample_size(outcome: Outcome, n_parameters: int, *, what: str = "clinical candidates") -> list[Finding]:
    """Whether there are patients and events enough for so many parameters.

    Fewer events (or patients without the event, where they are fewer) than parameters is an error; Riley's criteria
    (see `hepacast.stats.samplesize`) not met is a warning with the number that would be needed; those per parameter
    are noted.

    Parameters
    ----------
    outcome
        Outcome of the patients on whom the model is fitted.
    n_parameters
        Candidate parameters.
    what
        What they are, for the message.
    """
    if n_parameters < 1:
        return []
    n, events = outcome.n, outcome.n_events
    limiting, rarer = events, "events"
    if not outcome.has_time and n - events < events:
        limiting, rarer = n - events, f"patients without the event ({outcome.negative})"
    ratio = limiting / n_parameters
    if limiting < n_parameters:
        message = (
            f"{limiting} {rarer} for {n_parameters} parameters of the {what}: fewer than variables. "
            f"Choose at most {max(limiting // 10, 1)} candidates by what is known, before looking at the data"
        )
        return [Finding("error", "fewer-events-than-variables", message, column=outcome.name)]
    note = f"{ratio:.1f} {rarer} per parameter ({limiting} for {n_parameters} parameters of the {what}"
    note += ")" if limiting == events else f"; {events} patients have the event)"
    findings = [Finding("note" if ratio >= 10 else "warning", "events-per-variable", note, column=outcome.name)]
    if outcome.has_time:
        return findings
    need = riley_binary(n_parameters, events / n)
    if need.n > n:
        shrinkage = expected_shrinkage(n, n_parameters, need.cox_snell_r2)
        message = (
            f"{n} patients; Riley's criteria ask for {need.n} ({need.events:.0f} events) for {n_parameters} parameters"
            f", if the model explains 15 % of Nagelkerke's R2. With {n}, coefficients will be too large: expected "
            f"shrinkage {shrinkage:.2f}"
        )
        findings.append(Finding("warning", "sample-too-small", message, column=outcome.name))
    return findings
