"""Staging systems and indexes beside the main model."""

from __future__ import annotations

from functools import partial

from hepacast.core.formatting import MISSING, number, p_value, with_interval
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.indexes import IndexResults, IndexSet
from hepacast.evaluation.reclassification import Change
from hepacast.figures.comparison import ScoreRow, draw_scores
from hepacast.report.content.common import Omit, confidence, estimate, set_label
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results


def build(results: Results) -> list[Block]:
    """Discrimination of every staging system and index, and its difference from that of the main model."""
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
    has_nri = item.measure == "AUC"
    has_c = any(entry.c_index is not None for entry in item.sets.values())
    for name, entry in item.sets.items():
        way = "cross-validated" if entry.kind == "nested" else "frozen"
        rows.append(
            Row((f"{set_label(results, name)} (n = {entry.n}, {entry.events} events; {item.model} {way})",), "group")
        )
        own = [item.model, estimate(entry.discrimination), *([estimate(entry.c_index)] if has_c else [])]
        rows.append(Row(tuple(own), "indent"))
        for row in entry.rows:
            if row.discrimination is None:
                rows.append(Row((row.name, row.reason or MISSING), "indent"))
                continue
            cells = [row.name if row.n == entry.n else f"{row.name} (n = {row.n})", estimate(row.discrimination)]
            cells += [estimate(row.c_index)] if has_c else []
            cells += [estimate(row.difference), p_value(row.p), *([_nri(row.nri)] if has_nri else [])]
            rows.append(Row(tuple(cells), "indent"))
    ci = confidence(results)
    columns = ["Score", f"{item.measure} ({ci})", *([f"C ({ci})"] if has_c else []), f"Difference ({ci})", "P"]
    columns += [f"NRI ({ci})"] if has_nri else []
    test = "DeLong's test" if has_nri else "its influence functions"
    notes = [
        f"Difference: {item.measure} of the {item.model} model minus that of the score, P of {test} for the same "
        "patients (cross-validated: of the differences within the folds of every repeat), not corrected for multiple "
        "comparisons."
        + (
            " NRI: continuous net reclassification improvement of the model over a logistic model of the score (fitted "
            "in the training set)."
            if has_nri
            else " C: Harrell's concordance."
        ),
    ]
    if has_c:
        notes.append("C: Harrell's concordance with the follow-up.")
    return make_table(f"The {item.model} model beside staging systems and indexes", columns, rows, notes)


def _nri(change: Change | None) -> str:
    return MISSING if change is None else with_interval(change.value, *change.ci, 2)


def _indexes_figure(results: Results, item: IndexResults) -> FigureBlock:
    groups = {set_label(results, name): _score_rows(item.model, entry) for name, entry in item.sets.items()}
    judged = list(item.sets)[-1]
    best = item.sets[judged]
    told = ((row.name, row.discrimination) for row in best.rows)
    alt = "; ".join(f"{name} {number(found.value, 3)}" for name, found in told if found is not None)
    caption = f"{item.measure} of the {item.model} model (in color) and of staging systems and indexes."
    panel = Panel(
        partial(draw_scores, groups, x_label=f"{item.measure} ({confidence(results)})"),
        f"{set_label(results, judged)}: {item.model} {number(best.discrimination.value, 3)}; {alt}",
    )
    return FigureBlock("indexes-figure", caption, (panel,))


def _score_rows(model: str, entry: IndexSet) -> list[ScoreRow]:
    own = entry.discrimination
    rows = [ScoreRow(model, own.value, own.low, own.high, True)]
    for row in entry.rows:
        a = row.discrimination
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
