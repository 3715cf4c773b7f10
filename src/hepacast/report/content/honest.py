"""Honest validation: the ways to validate side by side, stability of the selection, the null distribution."""

from __future__ import annotations

from functools import partial

from hepacast.core.estimates import Estimate
from hepacast.figures import AucRow, draw_null_distribution, draw_selection_frequency, draw_validation_compare
from hepacast.figures.labels import feature_label
from hepacast.report.content.common import (
    WHICH_TO_TRUST,
    Omit,
    confidence,
    estimate,
    is_finite,
    main_model,
    model_label,
    model_names,
    plus_632,
    result_of,
    validation_of,
    without_limits,
)
from hepacast.report.formatting import MISSING, number, p_sentence, percent, plural, with_interval
from hepacast.report.inputs import ModelValidation, Results, SelectedShare, StabilityIndex
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table

_FLATTERS = ("apparent", "usual")
_WAYS = {
    "apparent": "Apparent (patients of the fit)",
    "usual": "Usual way (selection, then cross-validation)",
    "nested": "Nested cross-validation",
    "bootstrap": "Bootstrap, optimism-corrected",
    "plus_632": "Bootstrap, .632+",
    "frozen": "Frozen, validation set",
}


def build(results: Results) -> list[Block]:
    """Figure, stability and permutation test."""
    if results.validation is None:
        raise Omit("the modelling stage has written no validation")
    models = [name for name in model_names(results) if validation_of(results, name) is not None]
    if not models:
        raise Omit("the modelling stage has validated no model")
    blocks: list[Block] = [Paragraph(_text(results))]
    blocks.append(_figure(results, models))
    for kind, shares in results.validation.stability.items():
        if shares:
            what = "radiomics feature" if kind == "radiomics" else f"{kind} predictor"
            index = results.validation.nogueira.get(kind)
            blocks.append(Paragraph(stability_text(kind, what, shares, index, confidence(results))))
    permutation = results.validation.permutation
    if permutation is not None and permutation.null_auc:
        blocks.append(Paragraph(shuffled_text("AUC", "outcome", permutation.p)))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """The ways to validate in numbers, the null distribution, how stable the selection is."""
    models = [name for name in model_names(results) if validation_of(results, name) is not None]
    if results.validation is None or not models:
        return []
    blocks: list[Block] = [TableBlock("validation", _table(results, models))]
    permutation = results.validation.permutation
    if permutation is not None and permutation.null_auc:
        blocks.append(_null(permutation.null_auc, permutation.observed, permutation.p, permutation.model))
    shown = [(kind, shares) for kind, shares in results.validation.stability.items() if shares]
    return [*blocks, *(_stability(results, kind, shares) for kind, shares in shown)]


def shuffled_text(measure: str, what: str, p: float) -> str:
    """One sentence on the whole chain where there is nothing to find."""
    return f"With shuffled {what} the whole chain reaches the observed {measure} with {p_sentence(p)} ({{null}})."


def stability_text(kind: str, what: str, shares: list[SelectedShare], index: StabilityIndex | None, ci: str) -> str:
    """How many variables of a kind were ever selected, and how alike the selections were."""
    always = [item for item in shares if item.frequency >= 0.8]
    known = ""
    if index is not None and is_finite(index.index):
        known = f" Nogueira's stability index ({ci}) is {with_interval(index.index, index.low, index.high, 2)}."
    return (
        f"{plural(len(shares), what)} {'was' if len(shares) == 1 else 'were'} selected in one refit or more, "
        f"{len(always)} of them in at least 80% of the refits ({{stability-{kind}}}).{known}"
    )


def _estimates(results: Results, model: str) -> dict[str, Estimate]:
    """AUC by way of validation; apparent and frozen ones stand in the evaluation if not in the validation."""
    item = validation_of(results, model) or ModelValidation()
    found = {
        "apparent": item.apparent or _auc(results, "training", model),
        "usual": item.usual,
        "nested": item.nested.auc if item.nested is not None else None,
        "bootstrap": item.bootstrap.corrected if item.bootstrap is not None else None,
        "plus_632": plus_632(item.bootstrap),
        "frozen": item.frozen or _auc(results, "validation", model),
    }
    return {way: value for way, value in found.items() if value is not None}


def _auc(results: Results, set_name: str, model: str) -> Estimate | None:
    found = result_of(results, set_name, model)
    return found.auc if found is not None and found.status == "ok" else None


def _text(results: Results) -> str:
    text = (
        "An AUC on the patients of the fit is too good, and so is cross-validation of a model whose features were "
        "selected on all patients first. Below, every step of the chain (imputation, scaling, filters, LASSO, choice "
        "of clinical predictors, combination) is repeated inside every fold and resample."
    )
    item = validation_of(results, main_model(results))
    if item is not None and item.nested is not None:
        flattering = item.usual or _estimates(results, main_model(results)).get("apparent")
        if flattering is not None and is_finite(flattering.value, item.nested.auc.value):
            gap = flattering.value - item.nested.auc.value
            way = "usual way" if item.usual is not None else "apparent AUC"
            if gap > 0:
                text += f" For the {main_model(results)} model the {way} flatters by {number(gap, 3)}."
    return text


def _figure(results: Results, models: list[str]) -> FigureBlock:
    rows = [
        AucRow(model_label(model), _WAYS[way], value.value, value.low, value.high, way not in _FLATTERS)
        for model in models
        for way, value in _estimates(results, model).items()
    ]
    bayes = _bayes(results)
    caption = "AUC by way of validation; hollow marks are the ways that flatter."
    if bayes is not None:
        caption += " Dashed line: AUC of the true risk of these virtual patients."
    alt = "; ".join(f"{row.model}, {row.way}: {number(row.auc, 3)}" for row in rows)
    draw = partial(draw_validation_compare, rows, bayes_auc=bayes, ci=confidence(results))
    return FigureBlock("honest", caption, (Panel(draw, alt),))


def _bayes(results: Results) -> float | None:
    """AUC of the true risk in the training set, to which the cross-validated AUCs belong."""
    if results.truth is None or not results.truth.planted:
        return None
    values = results.truth.bayes_auc
    found = values.get("training", next(iter(values.values()), None))
    return found if found is not None and is_finite(found) else None


def _table(results: Results, models: list[str]) -> Table:
    rows: list[Row] = []
    for model in models:
        item = validation_of(results, model)
        assert item is not None
        rows.append(Row((f"{model_label(model)} model",), "group"))
        rows += [
            Row((_WAYS[way], estimate(value), _remark(way, item)), "indent")
            for way, value in _estimates(results, model).items()
        ]
    bayes = _bayes(results)
    if bayes is not None:
        rows.append(
            Row(
                (
                    "True risk (Bayes), training set",
                    number(bayes, 3),
                    "virtual patients; no model can do better in the long run",
                )
            )
        )
    notes = [
        "What the usual way flatters by is the difference between its AUC and that of nested cross-validation.",
        WHICH_TO_TRUST.format(measure="AUC"),
    ]
    return make_table(
        "AUC by way of validation", ["Way", f"AUC ({confidence(results)})", "How"], rows, notes, words=True
    )


def _remark(way: str, item: ModelValidation) -> str:
    if way == "nested" and item.nested is not None:
        n = item.nested
        text = f"{plural(n.folds, 'fold')}, {plural(n.repeats, 'repeat')}"
        if len(n.per_repeat) > 1:
            text += f", repeats from {number(min(n.per_repeat), 3)} to {number(max(n.per_repeat), 3)}"
        return text + (f"; {plural(n.n_failed, 'fit')} failed and gave no prediction" if n.n_failed else "")
    if way == "bootstrap" and item.bootstrap is not None:
        b = item.bootstrap
        text = f"{plural(b.resamples, 'resample')}: {number(b.apparent, 3)} less an optimism of {number(b.optimism, 3)}"
        return text + (f"; {b.n_failed} failed" if b.n_failed else "") + without_limits(b)
    return {
        "plus_632": "patients outside each resample, weighed with the apparent AUC",
        "apparent": "flatters: judged on the patients of the fit",
        "usual": "flatters: features were selected with the patients that are judged",
        "frozen": "patients never seen in training",
    }.get(way, MISSING)


def _stability(results: Results, kind: str, shares: list[SelectedShare]) -> FigureBlock:
    assert results.validation is not None
    chosen: list[str] = []
    if results.models is not None and kind == "clinical" and results.models.clinical is not None:
        chosen = list(results.models.clinical.selected)
    radiomics = results.models.radiomics if results.models is not None else None
    if kind == "radiomics" and radiomics is not None and radiomics.radscore is not None:
        chosen = [term.feature for term in radiomics.radscore.terms]
    labels = {item.name: item.label for item in shares if item.label}
    pairs = [(item.name, item.frequency) for item in shares]
    draw = partial(draw_selection_frequency, pairs, selected=chosen, refits=results.validation.refits, labels=labels)
    shown = "; ".join(f"{labels.get(n) or feature_label(n)} {percent(v, 0)}" for n, v in pairs[:20])
    what = "features of the radiomics signature" if kind == "radiomics" else f"{kind} predictors"
    caption = (
        f"Stability of the selection: how often the {what} were chosen when the chain was refitted"
        + (f" (the {min(20, len(pairs))} most frequent of {len(pairs)})" if len(pairs) > 20 else "")
        + "; those of the final model are filled."
    )
    return FigureBlock(f"stability-{kind}", caption, (Panel(draw, shown),))


def _null(null_auc: list[float], observed: float, p: float, model: str) -> FigureBlock:
    caption = (
        f"The whole chain on shuffled outcomes ({len(null_auc)} times), {model} model: the observed AUC is "
        f"{number(observed, 3)} ({p_sentence(p)})."
    )
    alt = f"Histogram of {len(null_auc)} AUCs with shuffled outcome; observed {number(observed, 3)}"
    return FigureBlock("null", caption, (Panel(partial(draw_null_distribution, null_auc, observed, p), alt),))
