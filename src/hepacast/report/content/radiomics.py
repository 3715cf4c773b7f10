"""The radiomics signature: its making, Figure 3, the Radscore's formula."""

from __future__ import annotations

from functools import partial

from hepacast.core.formatting import MINUS, MISSING, listing, number, plural, significant
from hepacast.core.tables import Table, make_table
from hepacast.figures.labels import feature_label
from hepacast.figures.lasso import draw_lasso_cv, draw_lasso_path, draw_weights
from hepacast.modelling.described import ChainStep, DescribedRadiomics, LassoPath, RadscoreFormula
from hepacast.radiomics.explanation import abbreviations
from hepacast.report.content.common import Omit
from hepacast.report.model import Block, Callout, FigureBlock, Formula, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

_OF_FILTERS = {"LoG": "Laplacian of Gaussian", "LBP": "local binary pattern"}


def build(results: Results) -> list[Block]:
    """The signature: Figure 3, formula."""
    model = results.models.radiomics if results.models is not None else None
    if model is None:
        raise Omit("the study compares no radiomics model")
    blocks: list[Block] = [Paragraph(_features_text(results, model))]
    if model.status != "ok":
        blocks.append(Callout("warning", "No signature", f"{model.reason or model.status}."))
    elif model.reason:
        blocks.append(Callout("warning", "Not shown", f"{model.reason}."))
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


def build_supplement(results: Results) -> list[Block]:
    """Features at each step of the chain; the Radscore's scaling."""
    model = results.models.radiomics if results.models is not None else None
    if model is None:
        return []
    blocks: list[Block] = [TableBlock("steps", _steps_table(model))] if model.steps else []
    if model.radscore is not None and model.radscore.terms:
        blocks.append(TableBlock("radscore", _radscore_table(model.radscore)))
    return blocks


def _features_text(results: Results, model: DescribedRadiomics) -> str:
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


def _steps_table(model: DescribedRadiomics) -> Table:
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


def _signature_figure(model: DescribedRadiomics) -> FigureBlock | None:
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
    known = {**abbreviations(), **_OF_FILTERS}
    used = [short for short in known if any(short in panel.alt for panel in panels)]
    if used:
        caption += " " + "; ".join(f"{short}, {known[short]}" for short in used) + "."
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


def radscore_formula(score: RadscoreFormula) -> str:
    """The formula with one line a feature."""
    lines = [f"Radscore = {number(score.intercept, 4)}"]
    for term in score.terms:
        sign = MINUS if term.weight < 0 else "+"
        lines.append(f"           {sign} {abs(term.weight):.4f} × z({term.feature})")
    return "\n".join(lines)


def _radscore_table(score: RadscoreFormula) -> Table:
    rows = [
        (term.feature, number(term.weight, 4), significant(term.mean, 5), significant(term.sd, 5))
        for term in score.terms
    ]
    notes = [
        f"Intercept {number(score.intercept, 4)}.",
        "Mean and SD of the feature in the training set, for the Z-score.",
    ]
    return make_table("The Radscore's features, weights and scaling", ["Feature", "Weight", "Mean", "SD"], rows, notes)
