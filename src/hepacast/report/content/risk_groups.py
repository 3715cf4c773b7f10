"""Follow-up by risk group: of the study's own sets, and of further cohorts under the frozen model."""

from __future__ import annotations

from functools import partial

from hepacast.core.formatting import MISSING, capital, listing, number, p_sentence, p_value, plural
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.risk_groups import RiskGroups
from hepacast.figures.kaplan_meier import draw_km
from hepacast.report.content.common import (
    Omit,
    at_horizon,
    confidence,
    estimate,
    event_word,
    figure_of,
    has_time,
    is_finite,
    lower_first,
    main_model,
    set_label,
)
from hepacast.report.model import Block, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

#: How a cut-off was found.
_RULES = {
    "median": "the median risk",
    "maxstat": "maximally selected rank statistics",
    "youden": "Youden's index of the time-dependent ROC curve",
}


def build(results: Results) -> list[Block]:
    """Curves by risk group in every set."""
    found = results.evaluation.groups if results.evaluation is not None else ()
    if not found:
        raise Omit(_why_none(results))
    names = [_name(results, item) for item in found]
    panels = [_panel(results, item, name, narrow=len(found) > 1) for item, name in zip(found, names, strict=True)]
    kind = "Cumulative incidence by risk group" if found[0].kind == "incidence" else "Survival by risk group"
    title = f"{kind}{'' if found[0].kind == 'incidence' else ' (Kaplan-Meier)'} with bands ({confidence(results)})"
    figure = figure_of("survival", title, panels, [lower_first(name) for name in names])
    assert figure is not None
    text = _cut_text(results)
    told = [Paragraph(_told(results, item, name)) for item, name in zip(found, names, strict=True)]
    return [*([Paragraph(text)] if text else []), figure, *told]


def build_further(results: Results) -> list[Block]:
    """Curves by risk group of every further cohort, and the AUC over time."""
    if not results.further:
        raise Omit("the study has no further cohorts")
    first = results.further[0]
    names = listing([f"{item.cohort} ({item.n} patients, {item.events} events)" for item in results.further])
    text = (
        f"The frozen {first.model} model was applied unchanged to patients for whom the outcome is not known but the "
        f"follow-up is: {names}. They were divided at the cut-off of the training set ({number(first.cut, 3)}, "
        "Youden's index); nothing was fitted to them."
    )
    drawn = {f"{item.cohort}, {item.end_point}": item.groups for item in results.further if item.groups is not None}
    panels = [_panel(results, groups, name, narrow=len(drawn) > 1) for name, groups in drawn.items()]
    figure = figure_of("further", "Follow-up by risk group of the frozen model", panels, list(drawn))
    blocks: list[Block] = [Paragraph(text), *([figure] if figure is not None else [])]
    blocks += [Paragraph(_told(results, groups, name)) for name, groups in drawn.items()]
    blocks += [Paragraph(f"{item.cohort}: {item.reason}.") for item in results.further if item.groups is None]
    if any(item.auc for item in results.further):
        blocks.append(TableBlock("further-auc", _auc_table(results)))
    return blocks


def _why_none(results: Results) -> str:
    if results.timed is None:
        return "the study has no follow-up"
    cut = results.timed.cuts.get(main_model(results))
    why = cut.note if cut is not None and cut.note else "the cut-off leaves all patients on one side"
    return f"there are no risk groups: {why}"


def _name(results: Results, item: RiskGroups) -> str:
    if has_time(results):
        return "Training set, by cross-validated risk" if item.set == "training" else set_label(results, item.set)
    return f"{set_label(results, item.set)}, {item.end_point}"


def _cut_text(results: Results) -> str:
    """How the patients were divided."""
    assert results.evaluation is not None
    if results.timed is None:
        cuts = [f"{lower_first(set_label(results, g.set))}: {g.cutoff}" for g in results.evaluation.groups if g.cutoff]
        how = "; ".join(dict.fromkeys(cuts))
        return f"Patients were divided into two groups of risk at a cut-off that was fixed in training ({how})." if (
            how
        ) else ""  # fmt: skip
    main = main_model(results)
    cut = results.timed.cuts[main]
    text = (
        f"Patients are at high risk when the {main} model's risk{at_horizon(results, results.evaluation.horizons[-1])} "
        f"is {number(cut.value, 3)} or more. This cut-off was fixed in the training set "
        f"({_RULES.get(cut.rule, cut.rule)}) and applied unchanged."
    )
    return text + (f" Corrected for the search, its P in training is {p_value(cut.p)}." if is_finite(cut.p) else "")


def _panel(results: Results, item: RiskGroups, name: str, *, narrow: bool) -> Panel:
    curves = {capital(group.name): group for group in item.groups}
    ratio, rising = item.hazard_ratio, item.kind == "incidence"
    if has_time(results):
        y_label = f"{'Cumulative incidence of' if rising else 'Without'} {event_word(results)}"
    else:
        y_label = f"Without event ({item.end_point})"
    draw = partial(
        draw_km,
        curves,
        at_risk_times=item.at_risk_times,
        p=item.p,
        test=item.test,
        note=f"Hazard ratio ({confidence(results)}) {estimate(ratio, 2)}" if ratio is not None else "",
        rising=rising,
        x_label=f"Time ({item.unit})",
        y_label=y_label,
        title=name,
        size_mm=(85.0, 84.0) if narrow else (118.0, 88.0),
    )
    return Panel(draw, _told(results, item, name))


def _told(results: Results, item: RiskGroups, name: str) -> str:
    """Patients, events and medians of the groups, and how they differ."""
    groups, ci = [], confidence(results)
    for g in item.groups:
        text = f"{g.name} {plural(g.n, 'patient')}, {plural(g.events, 'event')}"
        if item.kind != "incidence":
            known = g.median.known
            text += f", median {number(g.median.value, 1)} {item.unit}" if known else ", median not reached"
        groups.append(text)
    text = f"**{name}.** {capital('; '.join(groups))}; {item.test} {p_sentence(item.p)}"
    if item.hazard_ratio is not None:
        text += f"; hazard ratio of high against low risk ({ci}) {estimate(item.hazard_ratio, 2)}"
    if not has_time(results):
        text += f"; C ({ci}) {estimate(item.concordance)}"
    return text + "."


def _auc_table(results: Results) -> Table:
    rows: list[Row] = []
    for item in results.further:
        rows.append(Row((f"{item.cohort}, {item.end_point}",), "group"))
        for time, entry in item.auc.items():
            shown = estimate(entry) if entry.known else MISSING
            rows.append(Row((f"{time:g} {item.unit}", shown, entry.reason), "indent"))
    notes = ["Cumulative/dynamic AUC of the model's risk with inverse probability of censoring weights."]
    plain = not any(entry.reason for item in results.further for entry in item.auc.values())
    columns = ["Time", f"AUC ({confidence(results)})", *([] if plain else ["Note"])]
    rows = [Row(row.cells[: len(columns)], row.kind) for row in rows]
    return make_table("Discrimination over time in the further cohorts", columns, rows, notes)
