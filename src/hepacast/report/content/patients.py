"""Patients: outcome, flow, follow-up, characteristics, who was lost."""

from __future__ import annotations

from hepacast.cohort.comparisons import LOST_EVENT, LOST_VOLUME
from hepacast.cohort.flow import FlowCounts
from hepacast.core.formatting import (
    MISSING,
    capital,
    listing,
    number,
    percent,
    percent_with_interval,
    plural,
    significant,
)
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.results import SetResult
from hepacast.figures.flow import FlowSet, draw_flow
from hepacast.report.content.common import (
    Omit,
    at_horizon,
    by_word,
    confidence,
    evaluated,
    event_names,
    event_word,
    has_time,
    horizon,
    horizons,
    lower_first,
    set_label,
    sets_in_order,
)
from hepacast.report.content.findings import in_one_sentence
from hepacast.report.content.study_design import design_panel
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results
from hepacast.stats.table_one import NumericSummary, TableOne, characteristics


def build(results: Results) -> list[Block]:
    """Outcome, Figure 1, who was lost, follow-up, and the findings of the data checks."""
    if results.flow is None or results.outcome is None:
        raise Omit("the cohort stage has not run")
    blocks: list[Block] = [*_outcome(results), _figure(results)]
    lost = lost_text(results)
    blocks += [Paragraph(lost)] if lost else []
    if has_time(results):
        blocks += _followed(results)
    return [*blocks, Paragraph(in_one_sentence(results.findings))]


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
    if tables.by_set is not None and not has_time(results):
        others = listing([f"{name} set" for name in tables.by_set.groups if name != "training"])
        blocks.append(TableBlock("sets", characteristics(tables.by_set, f"Training set against {others}", smd=True)))
    if tables.lost is not None:
        title = "Patients who were included and could not be analyzed, beside the others"
        blocks.append(TableBlock("lost", characteristics(tables.lost, title, smd=True)))
    return blocks


def _outcome(results: Results) -> list[Block]:
    outcome = results.outcome
    assert outcome is not None
    if has_time(results):
        text = f"The outcome is **{lower_first(outcome.name)}**: {outcome.definition.rstrip('. ')}. There were "
        text += f"{plural(outcome.n_events, 'event')} ({outcome.positive}) in {plural(outcome.n, 'patient')}"
        text += f"; {outcome.n_competing} had a competing event" if outcome.n_competing else ""
        text += f". Risks are given of {event_word(results)} {by_word(results)} {horizons(results)}."
        if by_word(results) == "before":
            text += " An event at the very horizon does not count as one before it."
        return [Paragraph(text)]
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


def _figure(results: Results) -> FigureBlock:
    flow, states = results.flow, results.timed.binary if results.timed is not None else None
    assert flow is not None
    caption = flow_caption(flow)
    if states is not None and results.timed is not None:
        found = results.timed
        caption += (
            f" {capital(at_horizon(results, found.horizons[-1]).strip())}: {states.events} training patients with "
            f"{found.event}, {states.free} known to be without it, {states.censored} censored before and weighted for."
        )
    event = results.timed.event if results.timed is not None else event_names(results)[0]
    return FigureBlock("design", caption, (design_panel(results), flow_panel(flow, event)))


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
        elif name.startswith(LOST_VOLUME) and lost.n and kept.n:
            if not isinstance(lost, NumericSummary) or not isinstance(kept, NumericSummary):
                continue
            parts.append(
                f"their median {item.label[:1].lower()}{item.label[1:]} was {significant(lost.median, 2)} mL against "
                f"{significant(kept.median, 2)} mL"
            )
    return f"Of them, {'; '.join(parts)} ({{lost}})." if parts else ""


def _followed(results: Results) -> list[Block]:
    """Follow-up, who is known at the horizon of a binary model, characteristics by set."""
    blocks: list[Block] = []
    if results.evaluation is not None:
        blocks.append(TableBlock("follow-up", follow_up_table(results)))
    text = _known_at_the_horizon(results)
    blocks += [Paragraph(text)] if text else []
    table = results.comparisons.by_set if results.comparisons is not None else None
    if table is not None:
        several = " by set" if len(table.groups) > 1 else ""
        blocks.append(TableBlock("sets", characteristics(table, f"Characteristics of the patients{several}")))
    return blocks


def _known_at_the_horizon(results: Results) -> str:
    """Who can be told to have had the event by the horizon of a binary model; empty where there is none."""
    states = results.timed.binary if results.timed is not None else None
    if results.timed is None or states is None:
        return ""
    at = horizon(results, results.timed.horizons[-1])
    total = states.events + states.free + states.censored
    return (
        f"**{capital(at)} as a binary outcome.** Of {total} training patients, {states.events} had "
        f"{event_word(results)} {by_word(results)} {at} and {states.free} were known to be without it; "
        f"{plural(states.censored, 'patient was', 'patients were')} censored before that time, so that it cannot be "
        "told. They were neither dropped in silence nor counted as free of the event: in the binary model and in all "
        "estimates at a horizon, patients with a known state are weighted by the inverse of their probability of not "
        f"being censored (largest weight {number(states.largest_weight, 2)}); the Cox model uses their time as it is."
    )


def follow_up_table(results: Results) -> Table:
    """Patients, events and follow-up of each set, and what is known at each horizon."""
    found, ci = evaluated(results), confidence(results)
    shown = {name: s for name, s in sets_in_order(results).items() if name != "nested"}
    heads = [set_label(results, name).removesuffix(", apparent") for name in shown]
    rows: list[Row] = [
        Row(("Patients", *(str(s.n) for s in shown.values()))),
        Row((f"Events ({found.event})", *(str(s.events) for s in shown.values()))),
    ]
    if found.competing:
        rows.append(Row(("Competing events", *(str(s.competing) for s in shown.values()))))
    rows.append(Row((f"Median follow-up, {found.unit} ({ci})", *(_follow_up(s) for s in shown.values()))))
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
        rows.append(Row((f"Observed risk, % ({ci})", *risk), "indent"))
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
