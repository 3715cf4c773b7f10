"""Validation of the whole chain: the ways to validate side by side, stability of the selection, shuffled outcomes."""

from __future__ import annotations

from functools import partial

from hepacast.core.estimates import Estimate
from hepacast.core.formatting import number, p_sentence, percent, plural, with_interval
from hepacast.core.tables import Row, Table, make_table
from hepacast.figures.labels import feature_label
from hepacast.figures.validation import (
    AucRow,
    draw_null_distribution,
    draw_selection_frequency,
    draw_validation_compare,
)
from hepacast.modelling.described import ModelValidation, Permutation, SelectedShare, StabilityIndex
from hepacast.report.content.common import (
    Omit,
    confidence,
    discrimination_of,
    estimate,
    has_time,
    is_finite,
    main_model,
    measure,
    model_label,
    model_names,
    plus_632,
    selected_predictors,
    validation_of,
    without_limits,
)
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

_FLATTERS = ("apparent", "usual")
_WAYS = {
    "apparent": "Apparent (patients of the fit)",
    "usual": "Usual way (selection, then cross-validation)",
    "nested": "Nested cross-validation",
    "bootstrap": "Bootstrap, optimism-corrected",
    "plus_632": "Bootstrap, .632+",
    "validation": "Frozen, validation set",
    "external": "Frozen, external set",
}
#: Note below the table of the ways to validate.
_WHICH_TO_TRUST = (
    "{measure} of nested cross-validation is the mean over the repeats of that within folds. A chain that selects "
    "among many more features than there are patients fits every bootstrap sample almost without a fault, and the "
    "bootstrap then corrects too little: there nested cross-validation and patients never seen are to be believed."
)


def build(results: Results) -> list[Block]:
    """The ways to validate in numbers, stability and permutation test."""
    validation = results.validation
    if validation is None:
        raise Omit("the modelling stage has written no validation")
    models = _validated(results)
    if not models:
        raise Omit("the modelling stage has validated no model")
    blocks: list[Block] = [Paragraph(_text(results)), TableBlock("validation", _table(results, models))]
    for kind, shares in validation.stability.items():
        if shares:
            what, index = _kind_words(results, kind)[0], validation.nogueira.get(kind)
            blocks.append(Paragraph(stability_text(kind, what, shares, index, confidence(results))))
    if validation.permutation is not None and validation.permutation.null:
        what, p = "follow-up" if has_time(results) else "outcome", validation.permutation.p
        reached = f"With shuffled {what} the whole chain reaches the observed {measure(results)}"
        blocks.append(Paragraph(f"{reached} with {p_sentence(p)} ({{null}})."))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """The ways to validate drawn, the null distribution, how stable the selection is."""
    validation, models = results.validation, _validated(results)
    if validation is None or not models:
        return []
    blocks: list[Block] = [_figure(results, models)]
    if validation.permutation is not None and validation.permutation.null:
        blocks.append(_null(results, validation.permutation))
    shown = [(kind, shares) for kind, shares in validation.stability.items() if shares]
    return [*blocks, *(_stability(results, kind, shares) for kind, shares in shown)]


def _validated(results: Results) -> list[str]:
    return [name for name in model_names(results) if validation_of(results, name) is not None]


def _kind_words(results: Results, kind: str) -> tuple[str, str]:
    """What is selected in a part of the chain: one, and all of them."""
    if kind == "radiomics":
        return "radiomics feature", "features of the radiomics signature"
    if kind == "biomarkers":
        return "biomarker", "biomarkers"
    of = {"clinical": "Cox", "binary": "binary"}.get(kind) if has_time(results) else None
    return (f"predictor of the {of} model", f"predictors of the {of} model") if of else (
        f"{kind} predictor", f"{kind} predictors"
    )  # fmt: skip


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


def ways(results: Results, model: str) -> dict[str, Estimate]:
    """AUC or C by way of validation; apparent and frozen ones stand in the evaluation if not in the validation."""
    item = validation_of(results, model) or ModelValidation()
    found = {
        "apparent": item.apparent or discrimination_of(results, "training", model),
        "usual": item.usual,
        "nested": item.nested.estimate if item.nested is not None else None,
        "bootstrap": item.bootstrap.corrected if item.bootstrap is not None else None,
        "plus_632": plus_632(item.bootstrap),
        "validation": item.frozen or discrimination_of(results, "validation", model),
        "external": discrimination_of(results, "external", model),
    }
    return {way: value for way, value in found.items() if value is not None and value.known}


def _text(results: Results) -> str:
    name = main_model(results)
    found, item = ways(results, name), validation_of(results, name)
    nested = found.get("nested")
    flattering = found.get("usual") or found.get("apparent")
    gap = flattering.value - nested.value if flattering is not None and nested is not None else 0.0
    if not has_time(results):
        text = (
            "An AUC on the patients of the fit is too good, and so is cross-validation of a model whose features were "
            "selected on all patients first. Below, every step of the chain (imputation, scaling, filters, LASSO, "
            "choice of clinical predictors, combination) is repeated inside every fold and resample."
        )
        way = "usual way" if item is not None and item.usual is not None else "apparent AUC"
        return text + (f" For the {name} model the {way} flatters by {number(gap, 3)}." if gap > 0 else "")
    text = (
        "C on the patients of the fit is too good. Below, every step of the chain (imputation, selection, Radscore, "
        "combination, baseline hazard) is repeated inside every fold and resample; frozen models meet patients whom "
        "they have never seen."
    )
    assert results.timed is not None
    if results.timed.selection == "given" and "radiomics" not in model_names(results):
        text += " With predictors that were given and not selected, little optimism is to be expected."
    if "usual" in found and gap > 0:
        text += (
            " Cross-validation of a model whose predictors were selected on all patients first, the usual way, is too "
            f"good as well: for the {name} model it flatters by {number(gap, 3)}."
        )
    return text


def _figure(results: Results, models: list[str]) -> FigureBlock:
    rows = [
        AucRow(model_label(results, model), _WAYS[way], value.value, value.low, value.high, way not in _FLATTERS)
        for model in models
        for way, value in ways(results, model).items()
    ]
    bayes, name = _bayes(results), "Harrell's C" if has_time(results) else "AUC"
    caption = f"{name} by way of validation; hollow marks are the ways that flatter."
    if bayes is not None:
        caption += " Dashed line: AUC of the true risk of these virtual patients."
    alt = "; ".join(f"{row.model}, {row.way}: {number(row.auc, 3)}" for row in rows)
    draw = partial(draw_validation_compare, rows, bayes_auc=bayes, measure=measure(results), ci=confidence(results))
    return FigureBlock("validation-figure", caption, (Panel(draw, alt),))


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
        item = validation_of(results, model) or ModelValidation()
        rows.append(Row((f"{model_label(results, model)} model",), "group"))
        rows += [
            Row((_WAYS[way], estimate(value), _remark(results, way, item)), "indent")
            for way, value in ways(results, model).items()
        ]
    bayes = _bayes(results)
    if bayes is not None:
        true = "virtual patients; no model can do better in the long run"
        rows.append(Row(("True risk (Bayes), training set", number(bayes, 3), true)))
    notes = [
        f"What the usual way flatters by is the difference between its {measure(results)} and that of nested "
        "cross-validation.",
        _WHICH_TO_TRUST.format(measure=measure(results)),
    ]
    title = f"{'Harrell' + chr(39) + 's C' if has_time(results) else 'AUC'} by way of validation"
    columns = ["Way", f"{measure(results)} ({confidence(results)})", "How"]
    return make_table(title, columns, rows, notes, words=True)


def _remark(results: Results, way: str, item: ModelValidation) -> str:
    if way == "nested" and item.nested is not None:
        n = item.nested
        text = f"{plural(n.folds, 'fold')}, {plural(n.repeats, 'repeat')}"
        if len(n.per_repeat) > 1:
            text += f", repeats from {number(min(n.per_repeat), 3)} to {number(max(n.per_repeat), 3)}"
        return text + (f"; {plural(n.n_failed, 'fit')} failed and gave no prediction" if n.n_failed else "")
    if way == "bootstrap" and item.bootstrap is not None:
        b = item.bootstrap
        text = f"{plural(b.resamples, 'resample')}: {number(b.apparent, 3)} less an optimism of {number(b.optimism, 3)}"
        text += f"; slope {number(b.slope, 2)}" if has_time(results) and is_finite(b.slope) else ""
        return text + (f"; {b.n_failed} failed" if b.n_failed else "") + without_limits(b)
    what = "predictors" if has_time(results) else "features"
    return {
        "plus_632": f"patients outside each resample, weighed with the apparent {measure(results)}",
        "apparent": "flatters: judged on the patients of the fit",
        "usual": f"flatters: {what} were selected with the patients that are judged",
    }.get(way, "patients never seen in training")


def _stability(results: Results, kind: str, shares: list[SelectedShare]) -> FigureBlock:
    assert results.validation is not None
    labels = {item.name: item.label for item in shares if item.label}
    pairs = [(item.name, item.frequency) for item in shares]
    chosen, refits = selected_predictors(results, kind), results.validation.refits
    draw = partial(draw_selection_frequency, pairs, selected=chosen, refits=refits, labels=labels)
    shown = "; ".join(f"{labels.get(n) or feature_label(n)} {percent(v, 0)}" for n, v in pairs[:20])
    caption = (
        f"Stability of the selection: how often the {_kind_words(results, kind)[1]} were chosen when the chain was "
        "refitted"
        + (f" (the {min(20, len(pairs))} most frequent of {len(pairs)})" if len(pairs) > 20 else "")
        + "; those of the final model are filled."
    )
    return FigureBlock(f"stability-{kind}", caption, (Panel(draw, shown),))


def _null(results: Results, found: Permutation) -> FigureBlock:
    what = "follow-up that was dealt to the patients at random" if has_time(results) else "shuffled outcomes"
    caption = (
        f"The whole chain on {what} ({len(found.null)} times), {found.model} model: the observed "
        f"{measure(results)} is {number(found.observed, 3)} ({p_sentence(found.p)})."
    )
    alt = f"Histogram of {len(found.null)} values with shuffled outcome; observed {number(found.observed, 3)}"
    draw = partial(draw_null_distribution, found.null, found.observed, found.p, measure=measure(results))
    return FigureBlock("null", caption, (Panel(draw, alt),))
