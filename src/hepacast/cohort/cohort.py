"""`Cohort`: table, outcome, sets and flow of a study in one object, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.findings import Finding, findings_table, sort_findings
from hepacast.cohort.flow import FlowCounts, PatientFlow, draw_patient_flow
from hepacast.cohort.outcome import Outcome, SurvivalOutcome, outcome_from_json, unknown_findings
from hepacast.cohort.split import check_sets, split_none
from hepacast.cohort.tables import ClinicalTable
from hepacast.core import views
from hepacast.core.files import atomic_path, read_json, write_json, write_text
from hepacast.core.records import read_record, write_record
from hepacast.core.tables import Table
from hepacast.core.texts import cells, plain_cell, visible
from hepacast.errors import StorageError, TableError

FILES = ("clinical.parquet", "columns.json", "flow.json", "outcome.json", "sets.csv", "findings.json")

#: How `assemble_cohort` makes sets once the included patients and their outcome are known.
Splitter = Callable[[Outcome], pd.Series]


@dataclass(frozen=True, repr=False)
class Cohort(views.Shown):
    """Everything later stages need to know about the patients.

    Parameters
    ----------
    table
        Clinical columns of the included patients.
    outcome
        Their outcome, in the same order.
    sets
        Set (``training``, ``validation``, ...) by patient.
    centers
        Center by patient, empty where none is recorded.
    flow
        Patient flow with reasons.
    findings
        All remarks of reading and checking.
    survival
        Further follow-up for curves by risk group, where the study has it.
    """

    table: ClinicalTable
    outcome: Outcome
    sets: pd.Series
    centers: pd.Series
    flow: PatientFlow
    findings: tuple[Finding, ...] = ()
    survival: Mapping[str, SurvivalOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        patients = self.table.patients
        for name, index in (("outcome", self.outcome.patients), ("sets", list(self.sets.index))):
            if index != patients:
                raise TableError(f"The cohort's {name} are not those of its patients.")

    @property
    def patients(self) -> list[str]:
        """Included patients."""
        return self.table.patients

    def to_frame(self) -> pd.DataFrame:
        """One row a patient: set, center, outcome (with the time of a follow-up), and the clinical columns."""
        frame = pd.DataFrame({"set": self.sets, "center": self.centers, self.outcome.name: self.outcome.events})
        if self.outcome.has_time:
            frame.insert(3, f"time ({self.outcome.unit})", pd.Series(self.outcome.by_patient()["time"]))
        return frame.join(self.table.frame, rsuffix=" (column)")

    def members(self, name: str) -> list[str]:
        """Patients of one set."""
        return list(self.sets.index[self.sets == name])


def assemble_cohort(
    table: ClinicalTable,
    outcome: Outcome,
    *,
    exclusions: Mapping[str, Iterable[str]] | None = None,
    split: Splitter | pd.Series | None = None,
    centers: pd.Series | None = None,
    findings: Iterable[Finding] = (),
    survival: Mapping[str, SurvivalOutcome] | None = None,
) -> Cohort:
    """Put a cohort together: leave out whom the study leaves out, count them, divide the rest.

    Parameters
    ----------
    table
        All reviewed patients.
    outcome
        Their outcome as derived; who is in `outcome.unknown` is left out with the reason.
    exclusions
        Reason -> patients, in order.
    split
        Set by patient, or a function of the included patients' outcome (`split.split_at_random` with its seed);
        None for one undivided cohort. A patient whom it does not place is left out, with that reason.
    centers, survival
        Center by patient; further follow-up by name.
    findings
        Further findings (of the checks).

    Raises
    ------
    OutcomeError
        A set has one class only.
    """
    flow = PatientFlow.start(table.patients)
    for reason, patients in (exclusions or {}).items():
        flow = flow.exclude(reason, patients)
    flow = _without_outcome(flow, outcome)
    included = outcome.select(flow.included)
    sets = split_none(flow.included) if split is None else split(included) if callable(split) else split
    unplaced = [patient for patient in flow.included if patient not in sets.index]
    if unplaced:
        flow = flow.exclude("in none of the study's sets", unplaced)
        included = outcome.select(flow.included)
    sets = sets.loc[list(flow.included)].rename("set")
    check_sets(sets, included)
    events = included.events
    order = {"training": 0, "validation": 1, "external": 2}
    names = sorted(sets.unique(), key=lambda name: (order.get(name, 3), name))
    flow = flow.with_sets(
        {name: sets.index[sets == name] for name in names},
        {name: int(events[sets == name].sum()) for name in names},
    )
    named = pd.Series("", index=sets.index) if centers is None else centers.reindex(sets.index).fillna("")
    own = named.astype(str).astype(object)
    remarks = sort_findings(dict.fromkeys((*table.findings, *findings, *outcome.findings, *unknown_findings(outcome))))
    follow_up = {
        name: item.select([patient for patient in flow.included if patient in item.time.index])
        for name, item in (survival or {}).items()
    }
    return Cohort(table.select(flow.included), included, sets, own.rename("center"), flow, remarks, follow_up)


def _general_reason(reason: str) -> str:
    """Reasons that differ by a number only count as one in the flow diagram."""
    if reason.startswith("censored at"):
        return "censored " + reason.partition("months, ")[2]
    return reason.split(":")[0]


def write_cohort(cohort: Cohort, out: str | Path) -> None:
    """Write the cohort's files into a folder (each file whole or not at all). Only study identifiers are written.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    out = Path(out)
    with atomic_path(out / "clinical.parquet") as temporary:
        cohort.table.frame.to_parquet(temporary)
    write_json(out / "columns.json", cohort.table.to_columns_json())
    write_record(out / "flow.json", cohort.flow.counts())
    write_json(out / "outcome.json", _outcome_json(cohort))
    sets = pd.DataFrame({"set": cohort.sets, "center": cohort.centers})
    named = cells(sets.rename_axis("patient").reset_index())
    write_text(out / "sets.csv", named.to_csv(index=False, lineterminator="\n"))
    write_record(out / "findings.json", cohort.findings)


def read_cohort(out: str | Path) -> Cohort:
    """Read what `write_cohort` wrote.

    Raises
    ------
    StorageError
        A file is missing.
    """
    out = Path(out)
    lacking = [name for name in FILES if not (out / name).is_file()]
    if lacking:
        raise StorageError(
            "The cohort's files are not complete.", found=f"no {', '.join(lacking)}", where=str(out), remedy="run again"
        )
    frame = _plain_texts(pd.read_parquet(out / "clinical.parquet"))
    specs = tuple(ColumnSpec.from_json(entry) for entry in read_json(out / "columns.json"))
    findings = read_record(tuple[Finding, ...], out / "findings.json")
    named = pd.read_csv(out / "sets.csv", dtype=str, keep_default_na=False).map(plain_cell)
    sets = _plain_texts(named.set_index("patient"))
    entry = read_json(out / "outcome.json")
    outcome = outcome_from_json(entry)
    survival = {name: _follow_up(item) for name, item in entry.get("survival", {}).items()}
    flow = _flow_of(read_record(FlowCounts, out / "flow.json"), sets["set"], entry["patient_order"])
    table = ClinicalTable(frame, specs, findings)
    return Cohort(table, outcome, sets["set"], sets["center"], flow, findings, survival)


def _without_outcome(flow: PatientFlow, outcome: Outcome) -> PatientFlow:
    """Leave out whose outcome is not known, by reason."""
    by_reason: dict[str, list[str]] = {}
    known = set(outcome.patients)
    for patient in flow.included:
        if patient not in known:
            reason = outcome.unknown.get(patient, "not recorded")
            by_reason.setdefault(_general_reason(reason), []).append(patient)
    for reason, patients in by_reason.items():
        flow = flow.exclude(f"outcome unknown ({reason})", patients)
    return flow


def _plain_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as plain objects with None for missing, as `read_table` has them: pandas 3 reads a type of its own."""
    texts = [str(name) for name, kind in frame.dtypes.items() if isinstance(kind, pd.StringDtype)]
    plain = frame.astype(dict.fromkeys(texts, object))
    plain[texts] = plain[texts].where(plain[texts].notna(), None)
    return plain.set_axis(plain.index.astype(object))


def _outcome_json(cohort: Cohort) -> dict[str, Any]:
    """``outcome.json`` with the values by patient, so that a later stage needs no other file for them."""
    entry = cohort.outcome.facts().to_json() | cohort.outcome.by_patient()
    entry["survival"] = {name: item.facts().to_json() | item.by_patient() for name, item in cohort.survival.items()}
    entry["patient_order"] = list(cohort.flow.reviewed)
    return entry


def _follow_up(entry: Mapping[str, Any]) -> SurvivalOutcome:
    outcome = outcome_from_json(entry)
    assert isinstance(outcome, SurvivalOutcome)
    return outcome


def _flow_of(counts: FlowCounts, sets: pd.Series, patients: Sequence[str]) -> PatientFlow:
    flow, names = PatientFlow.start(patients), {visible(patient): patient for patient in patients}
    for step in counts.excluded:
        left = [names.get(patient, patient) for patient in step.patients]
        flow = flow.exclude(step.reason, left, after_inclusion=step.after_inclusion)
    return flow.with_sets(
        {name: list(sets.index[sets == name]) for name in counts.sets},
        {name: count.events for name, count in counts.sets.items() if count.events is not None},
    )


@views.page.register
def _(record: Cohort) -> list[str | Table]:
    outcome = record.outcome
    about = f"Outcome: {outcome.name}" + (f" ({outcome.source})" if outcome.source else "")
    parts: list[str | Table] = [about, views.table(record.flow)]
    return [*parts, findings_table(record.findings)] if record.findings else parts


@views.drawings.register
def _(record: Cohort) -> views.Drawings:
    """`flow`: the chart of the patients."""
    return {"flow": partial(draw_patient_flow, record.flow.counts(), record.outcome.positive)}
