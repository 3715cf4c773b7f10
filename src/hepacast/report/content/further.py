"""Further cohorts under the frozen model, and staging systems and indexes beside it."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.further_cohorts import FurtherResult
from hepacast.evaluation.indexes import IndexResults, IndexSet
from hepacast.evaluation.reclassification import Change
from hepacast.figures import KmCurve, draw_km
from hepacast.figures.comparison import ScoreRow, draw_scores
from hepacast.report.content.common import Omit, confidence, estimate, set_label
from hepacast.report.formatting import MISSING, capital, listing, number, p_sentence, p_value, with_interval
from hepacast.report.inputs import Results
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table


def build_further(results: Results) -> list[Block]:
    """Kaplan-Meier by risk group of every further cohort, and the AUC over time."""
    if not results.further:
        raise Omit("the study has no further cohorts")
    first = results.further[0]
    names = listing([f"{item.cohort} ({item.n} patients, {item.events} events)" for item in results.further])
    text = (
        f"The frozen {first.model} model was applied unchanged to patients for whom the outcome is not known but the "
        f"follow-up is: {names}. They were divided at the cut-off of the training set ({number(first.cut, 3)}, "
        "Youden's index); nothing was fitted to them."
    )
    blocks: list[Block] = [Paragraph(text)]
    drawn = [item for item in results.further if item.groups is not None]
    if drawn:
        caption = "; ".join(
            f"({chr(97 + i)}) {item.cohort}, {item.end_point}" if len(drawn) > 1 else f"{item.cohort}, {item.end_point}"
            for i, item in enumerate(drawn)
        )
        several = len(drawn) > 1
        panels = tuple(_km_panel(item, confidence(results), narrow=several) for item in drawn)
        title = f"Follow-up by risk group of the frozen model: {caption}."
        blocks.append(FigureBlock("further", title, panels, columns=2 if several else 1))
    blocks += [Paragraph(_km_text(item, confidence(results))) for item in drawn]
    blocks += [Paragraph(f"{item.cohort}: {item.reason}.") for item in results.further if item.groups is None]
    if any(item.auc for item in results.further):
        blocks.append(TableBlock("further-auc", _auc_table(results)))
    return blocks


def _km_panel(item: FurtherResult, ci: str, *, narrow: bool) -> Panel:
    assert item.groups is not None
    curves = [
        KmCurve(capital(g.name), g.time, g.survival, g.low, g.high, g.censored, g.at_risk) for g in item.groups.groups
    ]
    ratio = item.groups.hazard_ratio
    note = f"Hazard ratio ({ci}) {with_interval(ratio.value, *ratio.ci, 2)}" if ratio is not None else ""
    draw = partial(
        draw_km,
        curves,
        at_risk_times=item.groups.at_risk_times,
        p=item.groups.p,
        note=note,
        x_label=f"Time ({item.unit})",
        y_label=f"Without event ({item.end_point})",
        title=item.cohort,
        size_mm=(85.0, 84.0) if narrow else (118.0, 88.0),
    )
    return Panel(draw, _km_text(item, ci))


def _km_text(item: FurtherResult, ci: str) -> str:
    assert item.groups is not None
    parts = []
    for g in item.groups.groups:
        shown = f", median {number(g.median.value, 1)} {item.unit}" if g.median.known else ", median not reached"
        parts.append(f"{g.name} {g.n} patients, {g.events} events{shown}")
    text = f"{item.cohort}, {item.end_point}: {'; '.join(parts)}; log-rank {p_sentence(item.groups.p)}"
    ratio, c = item.groups.hazard_ratio, item.groups.concordance
    if ratio is not None:
        text += f"; hazard ratio ({ci}) {with_interval(ratio.value, *ratio.ci, 2)}"
    return f"{text}; C ({ci}) {with_interval(c.value, *c.ci)}."


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


def build_indexes(results: Results) -> list[Block]:
    """AUC, DeLong, C and NRI of every staging system and index."""
    item = results.indexes
    if item is None:
        raise Omit("the study compares no staging systems or indexes")
    text = (
        f"{len(item.scores)} staging systems and indexes were calculated from the clinical table and compared with the "
        f"{item.model} model on the same patients; in the training set its cross-validated predictions are used "
        "({indexes})."
    )
    return [Paragraph(text), TableBlock("indexes", indexes_table(results, item))]


def build_supplement(results: Results) -> list[Block]:
    """The comparison drawn; where the staging systems and indexes come from."""
    item = results.indexes
    if item is None:
        return []
    return [_indexes_figure(results, item), TableBlock("indexes-sources", _sources(item))]


def indexes_table(results: Results, item: IndexResults) -> Table:
    """One block a set."""
    rows: list[Row] = []
    has_c = any(entry.c_index is not None for entry in item.sets.values())
    for name, entry in item.sets.items():
        way = "cross-validated" if entry.kind == "nested" else "frozen"
        rows.append(Row((f"{set_label(name)} (n = {entry.n}, {entry.events} events; {item.model} {way})",), "group"))
        own = [item.model, estimate(entry.auc), *([estimate(entry.c_index)] if has_c else [])]
        rows.append(Row(tuple(own), "indent"))
        for row in entry.rows:
            if row.auc is None:
                rows.append(Row((row.name, row.reason or MISSING), "indent"))
                continue
            cells = [row.name if row.n == entry.n else f"{row.name} (n = {row.n})", estimate(row.auc)]
            cells += [estimate(row.c_index)] if has_c else []
            cells += [estimate(row.difference), p_value(row.p), _nri(row.nri)]
            rows.append(Row(tuple(cells), "indent"))
    ci = confidence(results)
    columns = ["Score", f"AUC ({ci})", *([f"C ({ci})"] if has_c else []), f"Difference ({ci})", "P", f"NRI ({ci})"]
    notes = [
        f"Difference: AUC of the {item.model} model minus that of the score, P of DeLong's test for the same patients "
        "(cross-validated: of the differences within the folds of every repeat), not corrected for multiple "
        "comparisons. NRI: continuous net reclassification improvement of the model over a "
        "logistic model of the score (fitted in the training set).",
    ]
    if has_c:
        notes.append("C: Harrell's concordance with the follow-up.")
    return make_table(f"The {item.model} model beside staging systems and indexes", columns, rows, notes)


def _nri(change: Change | None) -> str:
    return MISSING if change is None else with_interval(change.value, *change.ci, 2)


def _indexes_figure(results: Results, item: IndexResults) -> FigureBlock:
    groups = {set_label(name): _score_rows(item.model, entry) for name, entry in item.sets.items()}
    judged = list(item.sets)[-1]
    best = item.sets[judged]
    alt = "; ".join(f"{row.name} {number(row.auc.value, 3)}" for row in best.rows if row.auc is not None)
    caption = f"AUC of the {item.model} model (in color) and of staging systems and indexes."
    panel = Panel(
        partial(draw_scores, groups, x_label=f"AUC ({confidence(results)})"),
        f"{set_label(judged)}: {item.model} {number(best.auc.value, 3)}; {alt}",
    )
    return FigureBlock("indexes-figure", caption, (panel,))


def _score_rows(model: str, entry: IndexSet) -> list[ScoreRow]:
    own = entry.auc
    rows = [ScoreRow(model, own.value, own.low, own.high, True)]
    for row in entry.rows:
        a = row.auc
        rows.append(ScoreRow(row.name, float("nan")) if a is None else ScoreRow(row.name, a.value, a.low, a.high))
    return rows


def _sources(item: IndexResults) -> Table:
    rows = [
        (score.name, score.title, score.source, f"{score.n_missing}: {score.reason}" if score.n_missing else "none")
        for score in item.scores
    ]
    return make_table(
        "Staging systems and indexes: sources, and patients without", ["Score", "Title", "Source", "Missing"], rows,
        ["Higher is worse for all after reversing those for which it is better."], words=True,
    )  # fmt: skip
