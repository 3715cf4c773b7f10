"""TRIPOD+AI, CLEAR, METRICS, PROBAST+AI of a time-to-event study: what differs from a binary one; the rest is alike."""

from __future__ import annotations

from hepacast.report.content import checklists
from hepacast.report.content.common import Omit
from hepacast.report.content.metrics_score import metrics_score
from hepacast.report.content.probast import judge
from hepacast.report.content.survival_common import (
    by_word,
    event_name,
    horizons,
    judged,
    lower_first,
    set_name,
    survival,
)
from hepacast.report.content.survival_quality import METRICS_RULES, PROBAST_RULES
from hepacast.report.formatting import listing, plural
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Details, Paragraph, TableBlock
from hepacast.report.tables import Table, make_table


def build(results: Results) -> list[Block]:
    """The checklists, folded."""
    survival(results)
    judged(results)
    lists = checklists.load_checklists()
    blocks: list[Block] = [
        Paragraph(
            "Filled with what this run knows; items that only the author can answer say so. Items are in short words "
            "of our own: the published lists are binding."
        )
    ]
    radiomics = results.models is not None and results.models.radiomics is not None
    for key in ("tripod_ai", *(("clear",) if radiomics else ())):
        table, answered = _filled(lists[key], results)
        summary = f"{lists[key]['title']}: {answered} of {len(table.rows)} items answered by this run"
        blocks.append(Details(summary, (TableBlock(f"checklist-{key}", table),)))
    if radiomics:
        score = metrics_score(lists["metrics"], results, METRICS_RULES)
        blocks.append(checklists.metrics_block(lists["metrics"], score))
    else:
        blocks.append(Paragraph("CLEAR and METRICS are lists for radiomics; this study has no radiomics model."))
    return [*blocks, checklists.probast_block(judge(results, PROBAST_RULES))]


def _filled(content: dict[str, object], results: Results) -> tuple[Table, int]:
    rows, answered = [], 0
    items: list[dict[str, object]] = content["items"]  # type: ignore[assignment]
    for item in items:
        answer = _answer(str(item["fill"]), results) if "fill" in item else None
        answered += answer is not None
        rows.append((str(item["number"]), str(item["part"]), str(item["item"]), answer or checklists.AUTHOR))
    columns = ["Item", "Part", "What is asked", "Answer"]
    return make_table(str(content["title"]), columns, rows, words=True), answered


def _answer(name: str, results: Results) -> str | None:
    if name in _OWN:
        return _OWN[name](results)
    if name not in _SHARED:
        return None
    try:
        return checklists.FILLS[name](results)
    except Omit:
        return None


def _objectives(results: Results) -> str | None:
    item, found = survival(results), judged(results)
    frozen = any(s.kind == "frozen" for s in found.sets.values())
    what = "development and evaluation" if frozen else "development with internal validation"
    return f"This run: {what} of a model of the time to {event_name(item)}; risks {by_word(item)} {horizons(item)}."


def _predictors(results: Results) -> str | None:
    candidates = [column for column in results.columns if column.candidate]
    return f"{plural(len(candidates), 'clinical candidate')} with units and levels: {{sets}}, {{univariate}}."


def _missing(results: Results) -> str | None:
    return "Counted in the notes of {sets}; training median or most frequent level, refitted in every fold."


def _measures(results: Results) -> str | None:
    return (
        "Harrell's C, AUC, Brier score and calibration at the horizons, integrated Brier score, net benefit: "
        "{discrimination}, {calibration}, {decision}."
    )


def _testing(results: Results) -> str | None:
    item, found = survival(results), judged(results)
    ways = [f"frozen models in the {lower_first(set_name(n))}" for n, s in found.sets.items() if s.kind == "frozen"]
    entry = item.validation.models.get(item.models.main)
    if entry is not None and entry.nested is not None:
        n = entry.nested
        ways.append(f"nested cross-validation ({plural(n.folds, 'fold')}, {plural(n.repeats, 'repeat')})")
    if entry is not None and entry.bootstrap is not None:
        ways.append(f"bootstrap optimism ({plural(entry.bootstrap.resamples, 'resample')})")
    text = listing(ways)
    return text[:1].upper() + text[1:] + ": {validation}." if ways else None


def _output(results: Results) -> str | None:
    item = survival(results)
    return f"Risk {by_word(item)} {horizons(item)}; the cut-off of the risk groups was fixed in training: {{survival}}."


def _baseline(results: Results) -> str | None:
    has = results.comparisons is not None and results.comparisons.by_set is not None
    return "{sets}, missing values in its notes; follow-up in {follow-up}." if has else "{follow-up}."


def _imbalance(results: Results) -> str | None:
    training = judged(results).sets.get("training")
    return None if training is None else f"{training.events} events in {training.n} training patients: {{follow-up}}."


def _comparison(results: Results) -> str | None:
    return "{comparisons}." if any(s.comparisons for s in judged(results).sets.values()) else None


def _guidelines(results: Results) -> str | None:
    radiomics = results.models is not None and results.models.radiomics is not None
    lists = "; CLEAR: {checklist-clear}; METRICS: {checklist-metrics}" if radiomics else ""
    return f"TRIPOD+AI: {{checklist-tripod_ai}}{lists}; PROBAST+AI: {{checklist-probast}}."


def _heterogeneity(results: Results) -> str | None:
    found = results.model_scrutiny
    if found is None or not found.centers.rows:
        return None
    count = len({row.center for row in found.centers.rows})
    return f"Each of {plural(count, 'center')} predicted by models of the others: {{centers}}."


def _fairness(results: Results) -> str | None:
    found = results.prediction_scrutiny
    if found is None or len(found.subgroups.rows) < 2:
        return None
    names = list(dict.fromkeys(row.group for row in found.subgroups.rows if row.level))
    return f"Performance by {listing(names)}: {{subgroups}}; the author judges fairness."


def _updating(results: Results) -> str | None:
    found = results.prediction_scrutiny
    told = [entry for entry in found.recalibration if entry.methods] if found is not None else []
    if not told:
        return None
    parts = [f"{lower_first(set_name(entry.set))}: {{recalibration-{entry.set}}}" for entry in told]
    return "No change, baseline, slope, or coefficients anew (closed test); " + "; ".join(parts) + "."


def _full_model(results: Results) -> str | None:
    return "{multivariate}, with the baseline at each horizon; the frozen model in model.hepacast."


_OWN = {
    "objectives": _objectives,
    "predictors": _predictors,
    "missing": _missing,
    "measures": _measures,
    "testing": _testing,
    "output": _output,
    "baseline": _baseline,
    "imbalance": _imbalance,
    "comparison": _comparison,
    "full_model": _full_model,
    "building": lambda results: "Methods, under Models; {multivariate}; assumption tested in {proportional}.",
    "predictions": lambda results: "By the frozen formula and baseline in {multivariate}.",
    "differences": lambda results: "{sets}." if len(judged(results).sets) > 2 else None,
    "events": lambda results: "{follow-up}, and the headings of {discrimination}.",
    "performance": lambda results: "{discrimination}, {calibration}, {roc}, {calibration-curves}, {decision}.",
    "guidelines": _guidelines,
    "heterogeneity": _heterogeneity,
    "fairness": _fairness,
    "updating": _updating,
}
#: Items that are answered as in a binary study.
_SHARED = frozenset(
    [
        "intended_use",
        "flow",
        "preparation",
        "outcome",
        "sample_size",
        "partition",
        "handling",
        "reduction",
        "tuning",
        "limits",
        "safeguards",
        "code",
        "data_files",
        "pipeline",
        "segmentation",
        "reliability",
        "settings",
        "image_types",
        "engine",
        "feature_count",
        "explain",
        "feature_statistics",
        "bundle",
    ]
)
