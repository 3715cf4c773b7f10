"""Honest validation of survival models: C by way of validation, stability of the selection, the null distribution."""

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
    plus_632,
    without_limits,
)
from hepacast.report.content.honest import shuffled_text, stability_text
from hepacast.report.content.survival_common import ci_of, model_name, set_name, survival
from hepacast.report.formatting import number, p_sentence, percent, plural
from hepacast.report.inputs import Results, SelectedShare
from hepacast.report.inputs.survival import ModelC, NullC, Survival
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table

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


def build(results: Results) -> list[Block]:
    """Figure, stability and permutation test."""
    item = survival(results)
    if not item.validation.models:
        raise Omit("the modelling stage has written no validation")
    text = (
        "C on the patients of the fit is too good. Below, every step of the chain (imputation, selection, Radscore, "
        "combination, baseline hazard) is repeated inside every fold and resample; frozen models meet patients whom "
        "they have never seen."
    )
    if item.models.selection == "given" and "radiomics" not in item.models.names:
        text += " With predictors that were given and not selected, little optimism is to be expected."
    main = item.validation.models.get(item.models.main, ModelC())
    if main.usual is not None and main.nested is not None and main.usual.value > main.nested.c.value:
        gap = main.usual.value - main.nested.c.value
        text += (
            " Cross-validation of a model whose predictors were selected on all patients first, the usual way, is too "
            f"good as well: for the {item.models.main} model it flatters by {number(gap, 3)}."
        )
    blocks: list[Block] = [Paragraph(text), _figure(results, item)]
    if results.validation is not None:
        for kind, shares in results.validation.stability.items():
            if shares:
                what, index = _KINDS.get(kind, (kind, kind))[0], results.validation.nogueira.get(kind)
                blocks.append(Paragraph(stability_text(kind, what, shares, index, ci_of(item))))
    if item.validation.permutation is not None and item.validation.permutation.null:
        blocks.append(Paragraph(shuffled_text("C", "follow-up", item.validation.permutation.p)))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """The ways to validate in numbers, the null distribution, how stable the selection is."""
    item = survival(results)
    blocks: list[Block] = [TableBlock("validation", _table(results, item))] if item.validation.models else []
    if item.validation.permutation is not None and item.validation.permutation.null:
        blocks.append(_null(item.validation.permutation))
    shown = results.validation.stability.items() if results.validation is not None else []
    return [*blocks, *(_stability(results, kind, shares) for kind, shares in shown if shares)]


#: What is selected in each part of the chain, one and several.
_KINDS = {
    "radiomics": ("radiomics feature", "radiomics features"),
    "clinical": ("predictor of the Cox model", "predictors of the Cox model"),
    "binary": ("predictor of the binary model", "predictors of the binary model"),
}


def _stability(results: Results, kind: str, shares: list[SelectedShare]) -> FigureBlock:
    item = survival(results)
    chosen = {"clinical": item.models.selected, "binary": item.models.binary.selected if item.models.binary else []}
    radiomics = results.models.radiomics if results.models is not None else None
    if radiomics is not None and radiomics.radscore is not None:
        chosen["radiomics"] = [term.feature for term in radiomics.radscore.terms]
    labels = {entry.name: entry.label for entry in shares if entry.label}
    pairs = [(entry.name, entry.frequency) for entry in shares]
    refits = results.validation.refits if results.validation is not None else 0
    draw = partial(draw_selection_frequency, pairs, selected=chosen.get(kind, []), refits=refits, labels=labels)
    shown = "; ".join(f"{labels.get(n) or feature_label(n)} {percent(v, 0)}" for n, v in pairs[:20])
    more = f" (the 20 most frequent of {len(pairs)})" if len(pairs) > 20 else ""
    caption = (
        f"Stability of the selection: how often {_KINDS.get(kind, (kind, kind))[1]} were chosen when the chain was "
        f"refitted{more}; those of the final model are filled."
    )
    return FigureBlock(f"stability-{kind}", caption, (Panel(draw, shown),))


def _estimates(results: Results, item: Survival, name: str) -> dict[str, Estimate]:
    """C by way of validation."""
    found: dict[str, Estimate] = {}
    sets = results.evaluation.sets if results.evaluation is not None else {}
    entry = item.validation.models.get(name, ModelC())
    if "training" in sets:
        found["apparent"] = sets["training"].models[name].discrimination
    if entry.usual is not None:
        found["usual"] = entry.usual
    if entry.nested is not None:
        found["nested"] = entry.nested.c
    if entry.bootstrap is not None:
        found["bootstrap"] = entry.bootstrap.corrected
        found["plus_632"] = plus_632(entry.bootstrap) or Estimate(float("nan"))
    for key in ("validation", "external"):
        if key in sets:
            found[key] = sets[key].models[name].discrimination
    return {way: value for way, value in found.items() if is_finite(value.value)}


def _figure(results: Results, item: Survival) -> FigureBlock:
    rows = [
        AucRow(model_name(item, name), _WAYS[way], value.value, value.low, value.high, way not in _FLATTERS)
        for name in item.models.names
        for way, value in _estimates(results, item, name).items()
    ]
    caption = "Harrell's C by way of validation; hollow marks are the ways that flatter."
    alt = "; ".join(f"{row.model}, {row.way}: {number(row.auc, 3)}" for row in rows)
    draw = partial(draw_validation_compare, rows, measure="C", ci=confidence(results))
    return FigureBlock("honest", caption, (Panel(draw, alt),))


def _table(results: Results, item: Survival) -> Table:
    rows: list[Row] = []
    for name in item.models.names:
        rows.append(Row((f"{model_name(item, name)} model",), "group"))
        entry = item.validation.models.get(name, ModelC())
        rows += [
            Row((_WAYS[way], estimate(value), _remark(way, entry)), "indent")
            for way, value in _estimates(results, item, name).items()
        ]
    notes = [WHICH_TO_TRUST.format(measure="C")]
    return make_table(
        "Harrell's C by way of validation", ["Way", f"C ({confidence(results)})", "How"], rows, notes, words=True
    )


def _remark(way: str, item: ModelC) -> str:
    if way == "nested" and item.nested is not None:
        n = item.nested
        text = f"{plural(n.folds, 'fold')}, {plural(n.repeats, 'repeat')}"
        if len(n.per_repeat) > 1:
            text += f", repeats from {number(min(n.per_repeat), 3)} to {number(max(n.per_repeat), 3)}"
        return text + (f"; {plural(n.n_failed, 'fit')} failed and gave no prediction" if n.n_failed else "")
    if way == "bootstrap" and item.bootstrap is not None:
        b = item.bootstrap
        text = f"{plural(b.resamples, 'resample')}: {number(b.apparent, 3)} less an optimism of {number(b.optimism, 3)}"
        text += f"; slope {number(b.slope, 2)}" if is_finite(b.slope) else ""
        return text + (f"; {b.n_failed} failed" if b.n_failed else "") + without_limits(b)
    return {
        "plus_632": "patients outside each resample, weighed with the apparent C",
        "apparent": "flatters: judged on the patients of the fit",
        "usual": "flatters: predictors were selected with the patients that are judged",
    }.get(way, "patients never seen in training")


def _null(item: NullC) -> FigureBlock:
    caption = (
        f"The whole chain on follow-up that was dealt to the patients at random ({len(item.null)} times), {item.model} "
        f"model: the observed C is {number(item.observed, 3)} ({p_sentence(item.p)})."
    )
    draw = partial(draw_null_distribution, item.null, item.observed, item.p, measure="C")
    return FigureBlock("null", caption, (Panel(draw, f"Histogram of {len(item.null)} C with shuffled follow-up"),))


def nothing_found(results: Results) -> str:
    """Why the study has found nothing, in words; empty where it has found something."""
    item = survival(results)
    entry = item.validation.models.get(item.models.main)
    if item.models.models[item.models.main].status != "ok":
        return f"No {item.models.main} model could be made: {item.models.models[item.models.main].reason}."
    nested = entry.nested if entry is not None else None
    if nested is None or not is_finite(nested.c.value, nested.c.low) or nested.c.low > 0.5:
        return ""
    text = (
        f"The {item.models.main} model's C in nested cross-validation is {estimate(nested.c)}, which chance alone "
        "(0.500) explains."
    )
    sets = results.evaluation.sets if results.evaluation is not None else {}
    held = [
        set_name(key).lower()
        for key in ("validation", "external")
        if key in sets and sets[key].models[item.models.main].discrimination.low > 0.5
    ]
    if held:
        return text + f" In the {' and the '.join(held)} it does better than chance: the two disagree."
    return text + " The figures and tables below are shown for completeness; none of them is evidence of a signal."
