"""TRIPOD+AI, CLEAR, METRICS and PROBAST+AI, filled with what this run can answer; the rest is the author's by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hepacast.core.formatting import capital, listing, percent, plural
from hepacast.core.tables import Table, make_table
from hepacast.report.content.common import (
    Omit,
    by_word,
    evaluated,
    event_word,
    has_time,
    horizons,
    judged_set,
    main_model,
    set_word,
    unseen_sets,
    validation_of,
)
from hepacast.report.content.metrics_score import MetricsScore, metrics_score, metrics_table
from hepacast.report.content.probast import Judgement, domains_table, judge, questions_table
from hepacast.report.model import Block, Details, Paragraph, TableBlock
from hepacast.report.results import Results

AUTHOR = "Author to fill"
_FILE = Path(__file__).parents[1] / "checklists.yaml"
#: Keys of tables and figures, as `number_blocks` gives them, that stand in a report if its part exists.
Fill = Callable[[Results], str | None]


def load_checklists() -> dict[str, dict[str, Any]]:
    """All lists, as data."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return content


def build(results: Results) -> list[Block]:
    """All checklists, folded."""
    if results.models is None or results.evaluation is None:
        raise Omit("the checklists are filled when models have been evaluated")
    blocks: list[Block] = [
        Paragraph(
            "Filled with what this run knows; items that only the author can answer say so. Items are in short words "
            "of our own: the published lists are binding."
        )
    ]
    lists, radiomics = load_checklists(), _has_features(results)
    for key in ("tripod_ai", *(("clear",) if radiomics else ())):
        content = lists[key]
        table, answered = checklist_table(content, results)
        summary = f"{content['title']}: {answered} of {len(table.rows)} items answered by this run"
        blocks.append(Details(summary, (TableBlock(f"checklist-{key}", table),)))
    if radiomics:
        blocks.append(metrics_block(lists["metrics"], metrics_score(lists["metrics"], results)))
    else:
        blocks.append(Paragraph("CLEAR and METRICS are lists for radiomics; this study has no radiomics model."))
    return [*blocks, probast_block(judge(results))]


def _has_features(results: Results) -> bool:
    """Whether lists for radiomics are filled: of follow-up only where there is a radiomics model."""
    return not has_time(results) or (results.models is not None and results.models.radiomics is not None)


def metrics_block(content: dict[str, Any], score: MetricsScore) -> Details:
    """METRICS, folded under its score."""
    table = TableBlock("checklist-metrics", metrics_table(content, score))
    return Details(score.text(), (table,))


def probast_block(flags: list[Judgement]) -> Details:
    """PROBAST+AI by domain and by question, folded under the number of high flags."""
    high = sum(item.flag == "high" for item in flags)
    tables = (
        TableBlock("probast-domains", domains_table(flags)),
        TableBlock("checklist-probast", questions_table(flags)),
    )
    return Details(f"PROBAST+AI: {high} of {len(flags)} questions flagged high", tables)


def checklist_table(content: dict[str, Any], results: Results) -> tuple[Table, int]:
    """The filled list, and how many items the run has answered."""
    rows, answered = [], 0
    for item in content["items"]:
        answer = _answer(item["fill"], results) if "fill" in item else None
        answered += answer is not None
        rows.append((str(item["number"]), item["part"], item["item"], answer or AUTHOR))
    return make_table(content["title"], ["Item", "Part", "What is asked", "Answer"], rows, words=True), answered


def _answer(name: str, results: Results) -> str | None:
    try:
        return FILLS[name](results)
    except Omit:
        return None


def _intended_use(results: Results) -> str | None:
    return results.study.intended_use or None


def _objectives(results: Results) -> str | None:
    frozen = any(item.kind == "frozen" for item in evaluated(results).sets.values())
    what = "development and evaluation" if frozen else "development with internal validation"
    if has_time(results):
        risks = f"risks {by_word(results)} {horizons(results)}"
        return f"This run: {what} of a model of the time to {event_word(results)}; {risks}."
    return f"This run: {what} of a model that predicts {results.outcome.name}." if results.outcome else None


def _flow(results: Results) -> str | None:
    flow = results.flow
    if flow is None:
        return None
    left = sum(item.n for item in flow.left_out)
    lost = f", {flow.n_lost} included and not analyzed" if flow.lost else ""
    kept = "analyzed" if lost else "included"
    return f"{{design}}: {flow.reviewed} reviewed, {left} excluded with reasons{lost}, {flow.included} {kept}."


def _preparation(results: Results) -> str | None:
    if results.findings:
        return "Units, plausible ranges, duplicates and dates were checked; {findings} lists what was found."
    return "Units, plausible ranges, duplicates and dates were checked; nothing was found."


def _outcome(results: Results) -> str | None:
    return f"{results.outcome.name}: {results.outcome.definition.rstrip('. ')}." if results.outcome else None


def _predictors(results: Results) -> str | None:
    candidates = [column for column in results.columns if column.candidate]
    if not candidates or results.comparisons is None:
        return None
    tables = "{sets}, {univariate}" if has_time(results) else "{univariate}"
    return f"{plural(len(candidates), 'clinical candidate')} with units and levels: {tables}."


def _sample_size(results: Results) -> str | None:
    if results.external and results.external[0].sizes:
        return "{sizes}: patients that so precise a validation needs; how many there are, in {discrimination}."
    said = [
        item.message.rstrip(". ")
        for item in results.findings
        if item.code in ("events-per-variable", "sample-too-small")
    ]
    return "; ".join(said) + "." if said else None


def _missing(results: Results) -> str | None:
    if has_time(results):
        return "Counted in the notes of {sets}; training median or most frequent level, refitted in every fold."
    step = _step(results, "missing")
    where = "counted in the notes of {univariate}" if results.comparisons is not None else ""
    parts = [part for part in (where, f"features: {step}, refitted in every fold" if step else "") if part]
    return ("; ".join(parts) + ".").capitalize() if parts else None


def _partition(results: Results) -> str | None:
    if results.flow is None:
        return None
    sets = listing([f"{name} {item.n}" for name, item in results.flow.sets.items()])
    by = ((results.study.settings.get("cohort") or {}).get("split") or {}).get("by")
    how = {"column": "by a column of the table", "list": "by lists of patients", "random": "at random, by the seed"}
    return f"Patients: {sets}" + (f", divided {how[by]}." if by in how else ".")


def _step(results: Results, word: str) -> str | None:
    model = results.models.radiomics if results.models is not None else None
    found = [step.label for step in model.steps if word in step.label.lower()] if model is not None else []
    return found[0] if found else None


def _handling(results: Results) -> str | None:
    step = _step(results, "z-score")
    return f"Features: {step}, with the training set's mean and SD; refitted in every fold." if step else None


def _reduction(results: Results) -> str | None:
    model = results.models.radiomics if results.models is not None else None
    if model is None or not model.steps:
        return None
    return (
        "{steps}: " + "; ".join(f"{s.label} {s.n_in:,} to {s.n_out:,}" for s in model.steps if s.n_in != s.n_out) + "."
    )


def _building(results: Results) -> str | None:
    if results.external:
        return "Not of this study: the model is another's, and nothing was fitted."
    if has_time(results):
        return "Methods, under Models; {multivariate}; assumption tested in {proportional}."
    return "Methods, under Models; {multivariate}." if _has_logistic(results) else None


def _has_logistic(results: Results) -> bool:
    models = results.models
    if models is None or models.clinical is None:
        return False
    fits = [models.clinical.multivariate, models.clinical.final]
    fits += [models.radiomics.final if models.radiomics else None, models.combined.final if models.combined else None]
    return any(fit is not None and fit.terms for fit in fits)


def _tuning(results: Results) -> str | None:
    model = results.models.radiomics if results.models is not None else None
    if model is None or model.lasso is None:
        return None
    return f"Penalty of the LASSO by {model.lasso.folds}-fold cross-validation inside the training set: {{signature}}."


def _measures(results: Results) -> str | None:
    if has_time(results):
        return (
            "Harrell's C, AUC, Brier score and calibration at the horizons, integrated Brier score, net benefit: "
            "{discrimination}, {calibration}, {decision}."
        )
    return "AUC, Brier score, calibration slope, intercept and curve, net benefit: {discrimination}, {performance}."


def _testing(results: Results) -> str | None:
    item = validation_of(results, main_model(results))
    judged, _ = judged_set(results)
    frozen = [n for n, s in unseen_sets(results).items() if s.kind == "frozen" and (has_time(results) or n == judged)]
    ways = [f"frozen models in the {set_word(results, name)}" for name in frozen]
    if item is not None and item.nested is not None:
        folds = f"{plural(item.nested.folds, 'fold')}, {plural(item.nested.repeats, 'repeat')}"
        ways.append(f"nested cross-validation ({folds})")
    if item is not None and item.bootstrap is not None:
        ways.append(f"bootstrap optimism ({plural(item.bootstrap.resamples, 'resample')})")
    return f"{capital(listing(ways))}: {{validation}}." if ways and item is not None else None


def _predictions(results: Results) -> str | None:
    if has_time(results):
        return "By the frozen formula and baseline in {multivariate}."
    model = results.models.radiomics if results.models is not None else None
    if model is None or model.radscore is None or not model.radscore.terms:
        return None
    return (
        "By the frozen formula: Radscore under Radiomics signature, coefficients in {multivariate}."
        if _has_logistic(results)
        else None
    )


def _imbalance(results: Results) -> str | None:
    training = results.flow.sets.get("training") if results.flow is not None else None
    if training is None or not training.events or not training.n:
        return None
    if has_time(results):
        return f"{training.events} events in {training.n} training patients: {{follow-up}}."
    return (
        f"{training.events} of {training.n} training patients ({percent(training.events / training.n)}) had the event."
    )


def _output(results: Results) -> str | None:
    if has_time(results):
        risk = f"Risk {by_word(results)} {horizons(results)}"
        return f"{risk}; the cut-off of the risk groups was fixed in training: {{survival}}."
    _, item = judged_set(results)
    has_cut = any(found.main.thresholds for found in item.models.values())
    return "Risk between 0 and 1; cut-offs fixed in the training set: {classification}." if has_cut else None


def _differences(results: Results) -> str | None:
    if results.external:
        return "{case-mix}."
    several = len(results.flow.sets) > 1 if results.flow is not None else False
    return "{sets}." if several and results.comparisons is not None and results.comparisons.by_set is not None else None


def _baseline(results: Results) -> str | None:
    if has_time(results):
        has = results.comparisons is not None and results.comparisons.by_set is not None
        return "{sets}, missing values in its notes; follow-up in {follow-up}." if has else "{follow-up}."
    return "{univariate}, missing values in its notes." if results.comparisons is not None else None


def _code(results: Results) -> str | None:
    if results.run is None:
        return None
    return f"hepacast {results.run.version} (Apache-2.0), seed {results.run.seed}; versions in {{provenance}}."


def _segmentation(results: Results) -> str | None:
    item = results.segmentation
    if item is None:
        return None
    own = any(row.set != "readers" for row in item.metrics)
    return item.description.rstrip(". ") + (": {segmentation}." if own else ".") if item.description else None


def _reliability(results: Results) -> str | None:
    item = results.segmentation
    return "{readers}." if item is not None and any(row.set == "readers" for row in item.metrics) else None


def _settings(results: Results) -> str | None:
    item = results.radiomics
    if item is None or not item.settings:
        return None
    return f"All settings are in radiomics/summary.json (SHA-256 {item.settings_hash[:12]})."


def _image_types(results: Results) -> str | None:
    item = results.radiomics
    return f"{listing(list(item.image_types))}." if item is not None and item.image_types else None


def _engine(results: Results) -> str | None:
    return f"{results.radiomics.engine}; Methods, under Radiomics features." if results.radiomics is not None else None


def _feature_count(results: Results) -> str | None:
    item = results.radiomics
    return f"{item.n_features:,} features of {listing(list(item.vois))}." if item is not None else None


def _comparison(results: Results) -> str | None:
    return "{comparisons}." if any(item.comparisons for item in evaluated(results).sets.values()) else None


def _explain(results: Results) -> str | None:
    if results.models is None or results.models.nomogram is None:
        return None
    return "{nomogram}" + ("; one patient worked in {example}." if results.models.nomogram.get("example") else ".")


def _feature_statistics(results: Results) -> str | None:
    model = results.models.radiomics if results.models is not None else None
    if model is None or model.radscore is None or not model.radscore.terms:
        return None
    return "{radscore}: training mean and SD of each selected feature."


def _full_model(results: Results) -> str | None:
    if results.external:
        return f"The model file that was validated, {results.external[0].identity[:12]}."
    if has_time(results):
        return "{multivariate}, with the baseline at each horizon; the frozen model in model.hepacast."
    if not _has_logistic(results):
        return None
    return "{multivariate} with intercepts; Radscore under Radiomics signature; the frozen model in model.hepacast."


def _data_files(results: Results) -> str | None:
    path = results.folder / "radiomics" / "features.parquet"
    return (
        "Feature values are in radiomics/features.parquet; the author decides whether to share."
        if path.is_file()
        else None
    )


def _bundle(results: Results) -> str | None:
    found = any((results.folder / name).is_file() for name in ("model.hepacast", "bundle/model.hepacast"))
    return "model.hepacast, applied to one patient by `hepacast predict`." if found else None


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
    parts = "; ".join(f"{entry.set} set: {{recalibration-{entry.set}}}" for entry in told)
    if has_time(results):
        return f"No change, baseline, slope, or coefficients anew (closed test); {parts}."
    return f"Closed test between no change, a new intercept, and intercept and slope; {parts}."


def _events(results: Results) -> str:
    if has_time(results):
        return "{follow-up}, and the headings of {discrimination}."
    return "{discrimination}, in the headings of the sets."


def _performance(results: Results) -> str:
    if has_time(results):
        return "{discrimination}, {calibration}, {roc}, {calibration-curves}, {decision}."
    return "{discrimination} and {performance}."


def _guidelines(results: Results) -> str:
    lists = "; CLEAR: {checklist-clear}; METRICS: {checklist-metrics}" if _has_features(results) else ""
    return f"TRIPOD+AI: {{checklist-tripod_ai}}{lists}; PROBAST+AI: {{checklist-probast}}."


FILLS: dict[str, Fill] = {
    "heterogeneity": _heterogeneity,
    "fairness": _fairness,
    "updating": _updating,
    "intended_use": _intended_use,
    "objectives": _objectives,
    "flow": _flow,
    "preparation": _preparation,
    "outcome": _outcome,
    "predictors": _predictors,
    "sample_size": _sample_size,
    "missing": _missing,
    "partition": _partition,
    "handling": _handling,
    "reduction": _reduction,
    "building": _building,
    "tuning": _tuning,
    "measures": _measures,
    "testing": _testing,
    "predictions": _predictions,
    "imbalance": _imbalance,
    "output": _output,
    "differences": _differences,
    "baseline": _baseline,
    "events": _events,
    "full_model": _full_model,
    "performance": _performance,
    "limits": lambda results: "Section Limits, read off the run's numbers; the author adds the rest.",
    "safeguards": lambda results: (
        "`hepacast predict` warns of missing values and of values outside the training range."
    ),
    "code": _code,
    "data_files": _data_files,
    "guidelines": _guidelines,
    "pipeline": lambda results: "{design}.",
    "segmentation": _segmentation,
    "reliability": _reliability,
    "settings": _settings,
    "image_types": _image_types,
    "engine": _engine,
    "feature_count": _feature_count,
    "comparison": _comparison,
    "explain": _explain,
    "feature_statistics": _feature_statistics,
    "bundle": _bundle,
}
