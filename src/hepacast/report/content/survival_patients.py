"""A time-to-event study's design, patients, follow-up and outcome."""

from __future__ import annotations

from hepacast.evaluation.results import EvaluationResults, SetResult
from hepacast.figures import DesignStage
from hepacast.report.content.common import Omit
from hepacast.report.content.patients import (
    _findings,
    _radiomics_stage,
    design_panel,
    flow_caption,
    flow_panel,
    lost_text,
)
from hepacast.report.content.survival_common import (
    by_word,
    c_of,
    ci_of,
    event_name,
    horizon,
    horizons,
    judge,
    judged,
    lower_first,
    measured,
    model_name,
    set_name,
    sets_in_order,
    survival,
)
from hepacast.report.formatting import MISSING, number, percent_with_interval, plural
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import Survival
from hepacast.report.model import Block, FigureBlock, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table
from hepacast.stats.table_one import characteristics


def build(results: Results) -> list[Block]:
    """Outcome, Figure 1, follow-up, characteristics, findings of the checks."""
    if results.flow is None or results.outcome is None:
        raise Omit("the cohort stage has not run")
    item = survival(results)
    blocks: list[Block] = [Paragraph(_outcome_text(results, item)), _figure(results, item)]
    lost = lost_text(results)
    if lost:
        blocks.append(Paragraph(lost))
    if results.evaluation is not None:
        blocks.append(TableBlock("follow-up", follow_up_table(item, results.evaluation)))
    if item.models.binary is not None:
        blocks.append(Paragraph(_binary_text(item)))
    if results.comparisons is not None and results.comparisons.by_set is not None:
        several = len(results.comparisons.by_set.groups) > 1
        title = "Characteristics of the patients by set" if several else "Characteristics of the patients"
        blocks.append(TableBlock("sets", characteristics(results.comparisons.by_set, title)))
    return [*blocks, *_findings(results.findings)]


def _outcome_text(results: Results, item: Survival) -> str:
    outcome = results.outcome
    assert outcome is not None
    text = f"The outcome is **{lower_first(outcome.name)}**: {outcome.definition.rstrip('. ')}. "
    text += f"There were {plural(outcome.n_events, 'event')} ({outcome.positive}) in {plural(outcome.n, 'patient')}"
    text += f"; {outcome.n_competing} had a competing event" if outcome.n_competing else ""
    text += f". Risks are given of {event_name(item)} {by_word(item)} {horizons(item)}."
    if item.models.before_horizon:
        text += " An event at the very horizon does not count as one before it."
    return text


def _binary_text(item: Survival) -> str:
    states = item.models.binary
    assert states is not None
    word, at = by_word(item), horizon(item, item.models.horizons[-1])
    total = states.events + states.free + states.censored
    return (
        f"**{at[:1].upper() + at[1:]} as a binary outcome.** Of {total} training patients, {states.events} had "
        f"{event_name(item)} {word} {at} and {states.free} were known to be without it; "
        f"{plural(states.censored, 'patient was', 'patients were')} censored before that time, so that it cannot be "
        "told. They were neither dropped in silence nor counted as free of the event: in the binary model and in all "
        "estimates at a horizon, patients with a known state are weighted by the inverse of their probability of not "
        f"being censored (largest weight {number(states.largest_weight, 2)}); the Cox model uses their time as it is."
    )


def follow_up_table(item: Survival, found: EvaluationResults) -> Table:
    """Patients, events and follow-up of each set, and what is known at each horizon."""
    shown = {name: s for name, s in sets_in_order(found).items() if name != "nested"}
    heads = [set_name(name).removesuffix(", apparent") for name in shown]
    rows: list[Row] = [
        Row(("Patients", *(str(s.n) for s in shown.values()))),
        Row((f"Events ({found.event})", *(str(s.events) for s in shown.values()))),
    ]
    if found.competing:
        rows.append(Row(("Competing events", *(str(s.competing) for s in shown.values()))))
    rows.append(Row((f"Median follow-up, {found.unit} ({ci_of(item)})", *(_follow_up(s) for s in shown.values()))))
    word = "Before" if found.before_horizon else "By"
    for place, time in enumerate(found.horizons):
        states = [s.states[place] for s in shown.values()]
        rows.append(Row((f"{word} {time:g} {found.unit}",), "group"))
        rows.append(Row(("With the event", *(str(s.events) for s in states)), "indent"))
        if found.competing:
            rows.append(Row(("With a competing event", *(str(s.competing) for s in states)), "indent"))
        rows.append(Row(("Censored (state not known)", *(str(s.censored) for s in states)), "indent"))
        rows.append(Row(("Known to be without the event", *(str(s.free) for s in states)), "indent"))
        risk = [percent_with_interval(s.risk.value, s.risk.low, s.risk.high) for s in states]
        rows.append(Row((f"Observed risk, % ({ci_of(item)})", *risk), "indent"))
    notes = [
        "Follow-up: reverse Kaplan-Meier median; a dash where it was not reached. Observed risk: "
        + ("Aalen-Johansen" if found.competing else "1 minus Kaplan-Meier")
        + ", which counts the censored for as long as they were seen.",
    ]
    return make_table("Patients, events and follow-up", ["", *heads], rows, notes)


def _follow_up(item: SetResult) -> str:
    f = item.follow_up
    if f is None or not f.known:
        return MISSING
    low = number(f.low, 0) if f.low == f.low else MISSING
    high = number(f.high, 0) if f.high == f.high else "not reached"
    return f"{number(f.value, 0)} ({low} to {high})"


def _figure(results: Results, item: Survival) -> FigureBlock:
    flow = results.flow
    assert flow is not None
    caption = flow_caption(flow)
    states = item.models.binary
    if states is not None:
        at = horizon(item, item.models.horizons[-1])
        caption += (
            f" {by_word(item).capitalize()} {at}: {states.events} training patients "
            f"with {item.models.event}, {states.free} known to be without it, {states.censored} censored before and "
            "weighted for."
        )
    panels = (design_panel(design_stages(results, item)), flow_panel(flow, item.models.event))
    return FigureBlock("design", caption, panels)


def design_stages(results: Results, item: Survival) -> list[DesignStage]:
    """The chain of this study, with the numbers of this run."""
    flow, outcome = results.flow, results.outcome
    assert flow is not None
    assert outcome is not None
    lines = [f"{flow.included} patients"]
    lines += [f"{set_name(name).removesuffix(', apparent')}: {entry.n}" for name, entry in flow.sets.items()]
    stages = [DesignStage("Patients", [*lines, f"Outcome: {outcome.name}"], plural(outcome.n_events, "event"))]
    if results.models is not None and results.models.radiomics is not None:
        stages.append(_radiomics_stage(results))
    labels = {column.name: column.label for column in results.columns}
    lines = []
    for name in item.models.names:
        text = model_name(item, name)
        if name == "clinical":
            text += ": " + (", ".join(labels.get(n, n) for n in item.models.selected) or "no predictor")
        lines.append(text)
    nomogram = results.models is not None and results.models.nomogram is not None
    stages.append(DesignStage("Models", lines, "Nomogram" if nomogram else ""))
    if results.evaluation is not None:
        every = judged(results)
        name, found = judge(every)
        best = found.models.get(item.models.main)
        frozen = [key for key in ("validation", "external") if key in every.sets]
        lines = [f"Frozen models: {lower_first(set_name(key))}" for key in frozen]
        if item.validation.models.get(item.models.main) is not None:
            lines.append("Nested cross-validation, bootstrap")
        lines.append("C, AUC(t), calibration, decision curves, risk groups")
        result = (
            f"C {measured(c_of(every, name, item.models.main)).split(' ')[0]}, {lower_first(set_name(name))}"
            if best is not None
            else ""
        )
        stages.append(DesignStage("Validation", lines, result))
    return stages
