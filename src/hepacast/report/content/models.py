"""The models: Tables 2 and 3, the signature's making, Figure 3, the Radscore's formula."""

from __future__ import annotations

from functools import partial

from hepacast.figures import ForestRow, draw_forest, draw_lasso_cv, draw_lasso_path, draw_weights
from hepacast.figures.labels import feature_label
from hepacast.report.content.common import Omit, confidence, event_names, is_finite, main_model, model_label
from hepacast.report.formatting import (
    MINUS,
    MISSING,
    listing,
    number,
    p_value,
    plural,
    ratio_with_interval,
    significant,
)
from hepacast.report.inputs import ChainStep, LassoPath, Logistic, RadiomicsModel, Radscore, Results, Term
from hepacast.report.inputs.survival import HazardTerm
from hepacast.report.model import Block, Callout, FigureBlock, Formula, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table
from hepacast.stats.table_one import characteristics

_SINGULAR = {"years": "year", "months": "month", "weeks": "week", "days": "day", "points": "point"}
_ABBREVIATIONS = {
    "GLCM": "gray level co-occurrence matrix",
    "GLRLM": "gray level run length matrix",
    "GLSZM": "gray level size zone matrix",
    "GLDM": "gray level dependence matrix",
    "NGTDM": "neighboring gray tone difference matrix",
    "LoG": "Laplacian of Gaussian",
    "LBP": "local binary pattern",
}


def build_clinical(results: Results) -> list[Block]:
    """Table 2 and Table 3."""
    blocks: list[Block] = []
    positive, negative = event_names(results)
    if results.comparisons is not None and results.comparisons.by_outcome is not None:
        title = f"Univariate analysis in the training set, {positive} against {negative}"
        blocks.append(TableBlock("univariate", characteristics(results.comparisons.by_outcome, title)))
    models = results.models
    if models is None or models.clinical is None:
        if not blocks:
            raise Omit("the study compares no clinical model")
        return blocks
    clinical = models.clinical
    labels = {column.name: column.label for column in results.columns}
    chosen = listing([labels.get(name, name) for name in clinical.selected])
    if chosen:
        verb = "was an independent predictor" if len(clinical.selected) == 1 else "were independent predictors"
        candidates = len({term.name.split("=")[0] for term in clinical.univariate})
        text = f"Of {plural(candidates, 'candidate')}, {chosen} {verb} in the training set ({{multivariate}})."
    else:
        text = "No clinical candidate was an independent predictor in the training set."
    blocks.append(Paragraph(text))
    parts = [("Clinical candidates together", clinical.multivariate), ("Clinical model", clinical.final)]
    if models.radiomics is not None:
        parts.append(("Radiomics model", models.radiomics.final))
    if models.combined is not None:
        parts.append((f"{model_label(main_model(results))} model", models.combined.final))
    fitted = [(name, model) for name, model in parts if model is not None and model.terms]
    if fitted:
        blocks.append(TableBlock("multivariate", logistic_table(fitted, confidence(results))))
    blocks += [_failed(name, model) for name, model in parts if model is not None and not model.terms and model.reason]
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """Every candidate alone, the odds ratios drawn."""
    models = results.models
    blocks: list[Block] = []
    if models is None:
        return blocks
    if models.clinical is not None and models.clinical.univariate:
        blocks.append(TableBlock("odds", univariate_odds(models.clinical.univariate, confidence(results))))
    final = models.combined.final if models.combined is not None else models.clinical.final if models.clinical else None
    if final is not None and final.terms:
        name = main_model(results) if models.combined is not None else "clinical"
        blocks.append(_forest(final, name, confidence(results)))
    return blocks


def _failed(name: str, model: Logistic) -> Callout:
    return Callout("warning", name, f"There is no such model: {model.reason or model.status}.")


def logistic_table(
    models: list[tuple[str, Logistic]], ci: str, title: str = "Multivariate logistic regression"
) -> Table:
    """Coefficient, odds ratio per unit and per change that means something, P; one block a model."""
    rows: list[Row] = []
    for name, model in models:
        method = "" if model.method == "maximum likelihood" else f"; {model.method}'s penalized likelihood"
        rows.append(Row((f"{name} ({model.n} patients, {model.events} events{method})",), "group"))
        for term in model.terms:
            rows += _term_rows(term)
        rows.append(Row(("Intercept", "", number(model.intercept, 3)), "indent"))
    notes = ["OR, odds ratio; CI, confidence interval; \N{GREEK SMALL LETTER BETA}, log odds per unit."]
    notes.append(
        "The odds ratio per unit of a variable that varies by much less than a unit is of no use; those below it are."
    )
    beta = "\N{GREEK SMALL LETTER BETA} (SE)"
    return make_table(title, ["Variable", "Change", beta, f"OR ({ci})", "P"], rows, notes)


def per_unit(term: Term | HazardTerm) -> str:
    """The change that a coefficient is of: ``per year``, ``per unit``; empty for a level against its reference."""
    if term.unit:
        return f"per {_SINGULAR.get(term.unit, term.unit)}"
    return "per unit" if term.numeric or term.scales else ""


def _term_rows(term: Term) -> list[Row]:
    unit = per_unit(term)
    beta = (
        f"{number(term.coefficient, 3)} ({number(term.se, 3)})" if is_finite(term.se) else number(term.coefficient, 3)
    )
    first = Row(
        (term.label, unit, beta, ratio_with_interval(term.ratio, term.low, term.high), p_value(term.p)), "indent"
    )
    rest = [Row(("", s.label, "", ratio_with_interval(s.ratio, s.low, s.high), ""), "indent") for s in term.scales]
    return [*predictor_row(term, 3), first, *rest]


def predictor_row(term: Term | HazardTerm, empty: int) -> list[Row]:
    """Before the first of several levels: the P of all of them, by which the predictor is chosen."""
    if not is_finite(term.p_predictor):
        return []
    return [Row((f"{term.label.rsplit(': ', 1)[0]}, all levels", *[""] * empty, p_value(term.p_predictor)), "indent")]


def univariate_odds(terms: list[Term], ci: str) -> Table:
    """Every candidate alone: its odds ratio per SD (or against the reference)."""
    rows = []
    for term in terms:
        scale = term.scales[-1] if term.scales else None
        change = scale.label if scale is not None else per_unit(term)
        values = scale if scale is not None else term
        rows.append((term.label, change, ratio_with_interval(values.ratio, values.low, values.high), p_value(term.p)))
    notes = [
        "OR, odds ratio of a logistic model with this variable alone, training set, missing values replaced; P of its "
        "coefficient. The P that chose the candidates is that of the univariate analysis, of the patients with a value."
    ]
    return make_table("Each clinical candidate alone", ["Variable", "Change", f"OR ({ci})", "P"], rows, notes)


def _forest(model: Logistic, name: str, ci: str) -> FigureBlock:
    rows = []
    for term in model.terms:
        scale = term.scales[-1] if term.scales else None
        values = scale if scale is not None else term
        change = scale.label if scale is not None else per_unit(term)
        label = f"{term.label}, {change}" if change else term.label
        rows.append(ForestRow(label, values.ratio, values.low, values.high, term.p))
    caption = f"Odds ratios of the {name} model in the training set, numbers per the change named."
    alt = "; ".join(f"{row.label} {ratio_with_interval(row.ratio, row.low, row.high)}" for row in rows)
    return FigureBlock("forest", caption, (Panel(lambda: draw_forest(rows, ci=ci), alt),))


def build_radiomics(results: Results) -> list[Block]:
    """The signature: Figure 3, formula."""
    model = results.models.radiomics if results.models is not None else None
    if model is None:
        raise Omit("the study compares no radiomics model")
    blocks: list[Block] = [Paragraph(_features_text(results, model))]
    if model.status != "ok":
        blocks.append(Callout("warning", "No signature", f"{model.reason or model.status}."))
    figure = _signature_figure(model)
    if figure is not None:
        blocks.append(figure)
    if model.radscore is not None and model.radscore.terms:
        blocks.append(
            Paragraph("The Radscore of a patient (z: the feature minus its training mean, over its training SD):")
        )
        blocks.append(Formula(radscore_formula(model.radscore)))
        blocks.append(Paragraph("Means and SDs for the Z-scores are in {radscore}."))
    return blocks


def build_radiomics_supplement(results: Results) -> list[Block]:
    """Features at each step of the chain; the Radscore's scaling."""
    model = results.models.radiomics if results.models is not None else None
    if model is None:
        return []
    blocks: list[Block] = [TableBlock("steps", _steps_table(model))] if model.steps else []
    if model.radscore is not None and model.radscore.terms:
        blocks.append(TableBlock("radscore", _radscore_table(model.radscore)))
    return blocks


def _features_text(results: Results, model: RadiomicsModel) -> str:
    item = results.radiomics
    if item is None:
        return "The features' own settings are not known: they were computed elsewhere."
    text = f"{item.n_features:,} features of {listing(list(item.vois))} came from {item.engine}"
    text += f" (settings {item.settings_hash[:12]})." if item.settings_hash else "."
    if item.failed_patients:
        text += f" {plural(item.failed_patients, 'patient')} could not be measured ({{design}})."
    undefined, missing = item.undefined, item.status_counts.get("missing", 0)
    if undefined.get("values"):
        text += (
            f" In {plural(undefined['patients'], 'other patient')} "
            f"{plural(undefined['values'], 'value')} of {plural(undefined['features'], 'feature')} "
            "are not defined by their formula and count as missing."
        )
    if missing:
        text += f" {plural(missing, 'value')} of the table {'is' if missing == 1 else 'are'} missing."
    known = model.steps[0].n_in if model.steps else item.n_features
    if known != item.n_features:
        text += f" {known:,} of the features entered the chain."
    return text + (" How many were left after each of its steps is in {steps}." if model.steps else "")


def _steps_table(model: RadiomicsModel) -> Table:
    rows = [
        (step.label, f"{step.n_in:,}", f"{step.n_in - step.n_out:,}", f"{step.n_out:,}", _why_left(step))
        for step in model.steps
    ]
    columns = ["Step", "Before", "Left out", "After", "Why left out"]
    return make_table("Features at each step of the radiomics chain", columns, rows, words=True)


def _why_left(step: ChainStep) -> str:
    """The reasons with their counts; where the step's own name is the reason, that it is."""
    if step.n_in == step.n_out:
        return MISSING
    return "; ".join(f"{n:,} {reason}" for reason, n in step.reasons.items()) or "not kept by this rule"


def _signature_figure(model: RadiomicsModel) -> FigureBlock | None:
    panels, texts = [], []
    lasso = model.lasso
    if lasso is not None and lasso.lambdas and lasso.coefficients:
        panels.append(_path_panel(lasso))
        texts.append("coefficients along the penalty")
        if lasso.cv_mean:
            panels.append(_cv_panel(lasso))
            texts.append(f"{lasso.measure} in {lasso.folds}-fold cross-validation, mean and standard error")
    if model.radscore is not None and model.radscore.terms:
        weights = {term.feature: term.weight for term in model.radscore.terms}
        alt = "; ".join(f"{feature_label(name)} {number(value, 3)}" for name, value in weights.items())
        panels.append(Panel(lambda: draw_weights(weights), f"Weights of the selected features: {alt}"))
        texts.append("the selected features and their weights in the Radscore")
    if not panels:
        return None
    caption = "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))
    caption = "The radiomics signature: " + caption + "."
    if lasso is not None and lasso.lambdas and lasso.coefficients:
        caption += " The dashed line marks the penalty that was used."
    used = [short for short in _ABBREVIATIONS if any(short in panel.alt for panel in panels)]
    if used:
        caption += " " + "; ".join(f"{short}, {_ABBREVIATIONS[short]}" for short in used) + "."
    return FigureBlock("signature", caption, tuple(panels), columns=2 if len(panels) > 1 else 1)


def _path_panel(lasso: LassoPath) -> Panel:
    draw = partial(draw_lasso_path, lasso.lambdas, lasso.coefficients, n_nonzero=lasso.n_nonzero, chosen=lasso.chosen)
    return Panel(draw, f"LASSO path of {len(lasso.coefficients)} features, lambda used {significant(lasso.chosen)}")


def _cv_panel(lasso: LassoPath) -> Panel:
    draw = partial(
        draw_lasso_cv,
        lasso.lambdas,
        lasso.cv_mean,
        lasso.cv_se,
        n_nonzero=lasso.n_nonzero,
        lambda_min=lasso.lambda_min,
        lambda_1se=lasso.lambda_1se,
        chosen=lasso.chosen,
        measure=lasso.measure,
    )
    return Panel(draw, f"Cross-validated {lasso.measure}, least at lambda {significant(lasso.lambda_min)}")


def radscore_formula(score: Radscore) -> str:
    """The formula with one line a feature."""
    lines = [f"Radscore = {number(score.intercept, 4)}"]
    for term in score.terms:
        sign = MINUS if term.weight < 0 else "+"
        lines.append(f"           {sign} {abs(term.weight):.4f} × z({term.feature})")
    return "\n".join(lines)


def _radscore_table(score: Radscore) -> Table:
    rows = [
        (term.feature, number(term.weight, 4), significant(term.mean, 5), significant(term.sd, 5))
        for term in score.terms
    ]
    notes = [
        f"Intercept {number(score.intercept, 4)}.",
        "Mean and SD of the feature in the training set, for the Z-score.",
    ]
    return make_table("The Radscore's features, weights and scaling", ["Feature", "Weight", "Mean", "SD"], rows, notes)
