"""Study design, patient flow, outcome, what the checks of the table found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hepacast.cohort.comparisons import LOST_EVENT, LOST_VOLUME
from hepacast.cohort.findings import Finding
from hepacast.cohort.flow import FlowCounts
from hepacast.figures import DesignStage, FlowSet, draw_flow, draw_study_design
from hepacast.report.content.common import (
    Omit,
    confidence,
    estimate,
    event_names,
    judged_set,
    main_model,
    model_label,
    model_names,
    set_label,
    validation_of,
)
from hepacast.report.formatting import capital, listing, number, percent, plural, significant
from hepacast.report.inputs import Results
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import make_table
from hepacast.stats.table_one import NumericSummary, TableOne, characteristics

_SHOWN_FINDINGS = 60
_SHOWN_HERE = 3
_SHOWN_PATIENTS = 12


def build(results: Results) -> list[Block]:
    """Figure 1, the outcome, and the findings of the data checks."""
    if results.flow is None or results.outcome is None:
        raise Omit("the cohort stage has not run")
    lost = lost_text(results)
    told = [Paragraph(lost)] if lost else []
    return [*_outcome(results), _figure(results), *told, *_findings(results.findings)]


def _outcome(results: Results) -> list[Block]:
    outcome = results.outcome
    assert outcome is not None
    text = f"The outcome is **{outcome.name}** ({outcome.positive} against {outcome.negative}): {outcome.definition}"
    text = text.rstrip(". ") + "."
    if outcome.source and outcome.source not in outcome.definition:
        text += f" Source: {outcome.source.rstrip('. ')}."
    text += f" It occurred in {outcome.n_events} of {outcome.n} patients ({percent(outcome.n_events / outcome.n)})."
    blocks: list[Block] = [Paragraph(text)]
    if outcome.conditions:
        fired = listing([f"{name} in {count}" for name, count in outcome.conditions.items()])
        several = f"; {plural(outcome.several, 'patient')} met more than one" if outcome.several else ""
        blocks.append(Paragraph(f"Conditions that were met: {fired}{several}."))
    return blocks


def flow_panel(flow: FlowCounts, event: str) -> Panel:
    """The patient flow, drawn and in words."""
    sets = [FlowSet(name, item.n, item.events or 0) for name, item in flow.sets.items()]
    excluded, lost = ([(item.reason, item.n) for item in part] for part in (flow.left_out, flow.lost))
    words = [f"{flow.reviewed} patients reviewed, excluded: {_reasons(excluded)}"]
    if lost:
        words.append(f"{flow.included + flow.n_lost} included, not analyzed: {_reasons(lost)}")
    words.append(f"{flow.included} {'analyzed' if lost else 'included'}")
    words += [f"{item.name} {item.n} with {item.events} events" for item in sets]
    included = flow.included + flow.n_lost
    return Panel(
        lambda: draw_flow(flow.reviewed, excluded, included, sets, lost=lost, event_label=event), "; ".join(words)
    )


def _reasons(counted: list[tuple[str, int]]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in counted) or "nobody"


def flow_caption(flow: FlowCounts) -> str:
    """Caption of Figure 1."""
    text = "Study design (a) and patient flow (b)"
    text += " with the reasons for exclusion in the order in which they were applied." if flow.left_out else "."
    return text + (" All numbers after the flow are of the patients who were analyzed." if flow.lost else "")


def lost_text(results: Results) -> str:
    """Who was included and could not be analyzed, why, and what they were like; empty where nobody was lost."""
    flow = results.flow
    if flow is None or not flow.lost:
        return ""
    why = listing([f"{item.reason} in {item.n}" for item in flow.lost])
    included = flow.included + flow.n_lost
    text = f"{flow.n_lost} of {included} included patients ({percent(flow.n_lost / included)}) could not be analyzed"
    text += f": {why}."
    table = results.comparisons.lost if results.comparisons is not None else None
    return text + (f" {_beside_the_others(table)}" if table is not None else "")


def _beside_the_others(table: TableOne) -> str:
    """Events and sizes of the lost beside those who stayed."""
    parts = []
    for name, item in table.variables.items():
        kept, lost = (item.groups[group] for group in table.groups)
        if name == LOST_EVENT:
            cells = [f"{(g.counts or {}).get('yes', 0)} of {sum((g.counts or {}).values())}" for g in (lost, kept)]
            parts.append(f"{cells[0]} had the event against {cells[1]} of the others")
        elif name.startswith(LOST_VOLUME) and isinstance(lost, NumericSummary) and lost.n and kept.n:
            parts.append(
                f"their median {item.label[:1].lower()}{item.label[1:]} was {significant(lost.median, 2)} mL against "
                f"{significant(kept.median, 2)} mL"
            )
    return f"Of them, {'; '.join(parts)} ({{lost}})." if parts else ""


def build_supplement(results: Results) -> list[Block]:
    """The patients of the network, the sets against each other, the lost beside the others."""
    tables = results.comparisons
    if tables is None:
        return []
    blocks: list[Block] = []
    if tables.segmentation is not None:
        title = "Patients who trained and tested the segmentation network"
        blocks.append(TableBlock("segmentation-cohort", characteristics(tables.segmentation, title)))
    # Of a time-to-event outcome this table stands in the main report: there are no groups by outcome.
    if tables.by_set is not None and results.survival is None:
        others = listing([f"{name} set" for name in tables.by_set.groups if name != "training"])
        blocks.append(TableBlock("sets", characteristics(tables.by_set, f"Training set against {others}", smd=True)))
    if tables.lost is not None:
        title = "Patients who were included and could not be analyzed, beside the others"
        blocks.append(TableBlock("lost", characteristics(tables.lost, title, smd=True)))
    return blocks


def _figure(results: Results) -> FigureBlock:
    flow = results.flow
    assert flow is not None
    positive, _ = event_names(results)
    return FigureBlock("design", flow_caption(flow), (design_panel(design_stages(results)), flow_panel(flow, positive)))


def design_panel(stages: list[DesignStage]) -> Panel:
    """The steps of the study, drawn and in words."""
    alt = "Steps of the study: " + "; ".join(f"{stage.title}: {', '.join(stage.lines)}" for stage in stages)
    return Panel(lambda: draw_study_design(stages), alt)


def design_stages(results: Results) -> list[DesignStage]:
    """The chain of this study, with the numbers of this run."""
    stages = [_patients_stage(results)]
    if results.segmentation is not None:
        stages.append(_segmentation_stage(results))
    if results.radiomics is not None or (results.models is not None and results.models.radiomics is not None):
        stages.append(_radiomics_stage(results))
    if results.fusion is not None and results.fusion.networks:
        names = [item.name for item in results.fusion.networks]
        trainings = sum(item.trainings for item in results.fusion.networks)
        chosen = [item.name for item in results.fusion.competitors if item.kind == "network" and item.chosen]
        stages.append(DesignStage("Networks", [*names, f"{trainings} trainings"], chosen[0] if chosen else ""))
    if results.models is not None:
        lines = []
        if results.models.clinical is not None:
            lines.append(f"Clinical: {', '.join(_selected_labels(results)) or 'no independent predictor'}")
        if results.fusion is not None:
            lines += [f"{item.score}: {item.name}" for item in results.fusion.competitors if item.chosen]
            lines.append("Joined by logistic regression: " + ", ".join(model_names(results)))
        elif results.models.radiomics is not None:
            lines.append("Radiomics: Radscore")
        if results.models.combined is not None and results.fusion is None:
            lines.append("Combined: both, by logistic regression")
        stages.append(DesignStage("Models", lines, "Nomogram" if results.models.nomogram else ""))
    if results.evaluation is not None:
        stages.append(_validation_stage(results))
    return stages


def _patients_stage(results: Results) -> DesignStage:
    flow, outcome = results.flow, results.outcome
    assert flow is not None
    assert outcome is not None
    lines = [f"{flow.included} patients"]
    lines += [f"{set_label(name)}: {item.n}" for name, item in flow.sets.items()]
    lines.append(f"Outcome: {outcome.name}")
    return DesignStage("Patients", lines, plural(outcome.n_events, "event"))


def _segmentation_stage(results: Results) -> DesignStage:
    item = results.segmentation
    assert item is not None
    names = {"given": "Expert masks", "builtin": "Built-in network", "totalsegmentator": "TotalSegmentator"}
    lines = [item.network.name if item.network is not None else names.get(item.source, item.source)]
    structures = list(dict.fromkeys(row.structure for row in item.metrics if row.set != "readers"))
    tested = [row for row in item.metrics if row.set == "test"]
    if item.network is not None:
        lines.append(f"Classes: {', '.join(item.network.classes)}")
    sets = {row.set for row in item.metrics if row.set.startswith("fold")}
    if sets:
        lines.append(f"{len(sets)} folds" + (" and a held-out test set" if tested else ""))
    return DesignStage("Segmentation", lines, f"Masks of {listing(structures)}" if structures else "Masks")


def _radiomics_stage(results: Results) -> DesignStage:
    lines = []
    if results.radiomics is not None:
        vois = results.radiomics.vois
        lines.append(f"{results.radiomics.n_features:,} features of {listing(vois)}")
    model = results.models.radiomics if results.models is not None else None
    score = ""
    if model is not None:
        lines += [
            f"{step.label}: {step.n_in:,}\u00a0→\u00a0{step.n_out:,}" for step in model.steps if step.n_in != step.n_out
        ]
        found = model.radscore
        score = f"Radscore of {plural(len(found.terms), 'feature')}" if found is not None else "No signature"
        if results.fusion is not None:
            trained = [item for item in results.fusion.competitors if item.kind == "classifier" and item.chosen]
            score = f"{model.steps[-1].n_out} features, {trained[0].name}" if trained and model.steps else ""
    return DesignStage("Radiomics", lines, score)


def _validation_stage(results: Results) -> DesignStage:
    lines = []
    name, item = judged_set(results)
    if item.kind == "frozen":
        lines.append(f"Frozen models on the {set_label(name).lower()}")
    honest = validation_of(results, main_model(results))
    if honest is not None and honest.nested is not None:
        lines.append("Nested cross-validation of the whole chain")
    if honest is not None and honest.bootstrap is not None:
        lines.append("Bootstrap optimism")
    lines.append("DeLong's test, calibration, decision curves")
    best = item.models.get(main_model(results))
    result = f"AUC {number(best.main.auc.value, 3)}" if best is not None and best.main.status == "ok" else ""
    return DesignStage("Validation", lines, result)


def _selected_labels(results: Results) -> list[str]:
    labels = {column.name: column.label for column in results.columns}
    assert results.models is not None
    assert results.models.clinical is not None
    return [labels.get(name, name) for name in results.models.clinical.selected]


@dataclass(frozen=True)
class _Grouped:
    """One remark that was made of several patients."""

    finding: Finding
    patients: list[str]

    @property
    def where(self) -> str:
        shown = ", ".join(self.patients[:_SHOWN_PATIENTS])
        more = len(self.patients) - _SHOWN_PATIENTS
        return shown + (f" and {more} more" if more > 0 else "")


def _grouped(findings: list[Finding]) -> list[_Grouped]:
    """Equal remarks of different patients become one line."""
    groups: dict[tuple[str, str, str], _Grouped] = {}
    for item in findings:
        key = (item.severity, item.column or "", item.message)
        group = groups.setdefault(key, _Grouped(item, []))
        if item.patient:
            group.patients.append(item.patient)
    return list(groups.values())


def _findings(findings: list[Finding]) -> list[Block]:
    """How much the checks of the table said; the list itself stands at the end of the report."""
    if not findings:
        return [Paragraph("The checks of the clinical table found nothing to report.")]
    counts = Counter(item.severity for item in findings)
    said = listing([plural(counts[kind], kind) for kind in ("error", "warning", "note") if counts[kind]])
    warned = [
        item.finding.message.rstrip(".") + (f" ({plural(len(item.patients), 'patient')})" if item.patients else "")
        for item in _grouped(findings)
        if item.finding.severity != "note"
    ]
    text = f"The checks of the clinical table gave {said} ({{findings}})"
    return [Paragraph(text + (f", among them: {'; '.join(warned[:_SHOWN_HERE])}." if warned else "."))]


def build_findings(results: Results) -> list[Block]:
    """Everything that the checks said; nothing is hidden, very long lists end in a pointer to the file."""
    groups = _grouped(results.findings)
    if not groups:
        return []
    rows = [
        (
            capital(item.finding.severity),
            item.where,
            str(item.finding.row or "") if len(item.patients) < 2 else "",
            item.finding.column or "",
            item.finding.message,
        )
        for item in groups[:_SHOWN_FINDINGS]
    ]
    more = len(groups) - len(rows)
    table = make_table(
        "What the checks of the clinical table found",
        ["Kind", "Patient", "Row", "Column", "Finding"],
        rows,
        [f"{more} more are in cohort/findings.json." if more > 0 else "", "Row numbers are those of the sheet."],
        words=True,
    )
    return [TableBlock("findings", table)]


def facts(results: Results) -> list[tuple[str, str]]:
    """Lines of the first page."""
    found = []
    if results.outcome is not None:
        found.append(("Outcome", f"{results.outcome.name}: {results.outcome.n_events} of {results.outcome.n} patients"))
    if results.models is not None:
        found.append(("Models", ", ".join(model_label(name) for name in model_names(results))))
    if results.evaluation is not None:
        name, item = judged_set(results)
        best = item.models.get(main_model(results))
        if best is not None and best.main.status == "ok":
            auc = f"{estimate(best.main.auc)} ({confidence(results)})"
            text = f"{auc}, {main_model(results)} model, {set_label(name).lower()}"
            found.append(("AUC", text))
    return found
