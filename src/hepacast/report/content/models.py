"""The fitted models: univariate and multivariate analysis, coefficients and ratios, tests of what they assume."""

from __future__ import annotations

import math

from hepacast.core.formatting import MISSING, listing, number, p_sentence, p_value, plural, ratio_with_interval
from hepacast.core.p_values import p_below
from hepacast.core.tables import Row, Table, make_table
from hepacast.figures.forest import ForestRow, draw_forest
from hepacast.modelling.described import FittedModel, Term
from hepacast.report.content.common import (
    Omit,
    at_horizon,
    confidence,
    event_names,
    event_word,
    is_finite,
    main_model,
    model_label,
    selected_predictors,
    selection,
)
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results
from hepacast.stats.table_one import characteristics

_SINGULAR = {"years": "year", "months": "month", "weeks": "week", "days": "day", "points": "point"}
_BETA = "\N{GREEK SMALL LETTER BETA}"
_METHODS = {
    "Firth": "; Firth's penalized likelihood",
    "cox-firth": "; Firth's penalized likelihood, as a predictor separates the events",
    "fine-gray": "; subdistribution hazard",
    "ipcw": "; logistic, weighted for censoring",
    "ridge": "; shrunk by ridge regression",
    "averaged": "; mean of shrunk coefficients and of the scores' own models",
}

#: Methods whose coefficients are shrunk: they have no P.
_SHRUNK = ("ridge", "averaged")
_STAYED = {
    "backward": "backward elimination by P",
    "aic": "backward elimination by Akaike's criterion",
    "lasso": "the LASSO",
}


def build(results: Results) -> list[Block]:
    """Univariate and multivariate table; what could not be fitted; proportional hazards."""
    if results.external:
        raise Omit("the model is another study's")
    blocks: list[Block] = []
    positive, negative = event_names(results)
    if results.comparisons is not None and results.comparisons.by_outcome is not None:
        title = f"Univariate analysis in the training set, {positive} against {negative}"
        blocks.append(TableBlock("univariate", characteristics(results.comparisons.by_outcome, title)))
    fitted = _fitted(results)
    if not fitted:
        if not blocks:
            raise Omit("the study compares no clinical model")
        return blocks
    blocks.append(Paragraph(_choice_text(results)))
    if results.timed is not None and results.timed.univariate:
        blocks.append(TableBlock("univariate", candidates_table(results)))
    shown = {name: model for name, model in fitted.items() if model.terms}
    if shown:
        title = "The models" if results.timed is not None else "Multivariate logistic regression"
        blocks.append(TableBlock("multivariate", models_table(results, shown, title)))
    for name, model in fitted.items():
        if not model.terms and model.reason:
            blocks.append(Callout("warning", name, f"There is no such model: {model.reason}."))
        elif _note(results, name):
            blocks.append(Callout("note", name, f"{_note(results, name)}."))
    tested = {name: model for name, model in fitted.items() if model.zph and model.terms}
    return [*blocks, *([Paragraph(_proportional_text(tested))] if tested else [])]


def build_supplement(results: Results) -> list[Block]:
    """Every candidate alone, tests of proportional hazards, cause-specific hazards, the main model's ratios drawn."""
    blocks: list[Block] = []
    clinical = results.models.clinical if results.models is not None else None
    if clinical is not None and clinical.univariate:
        blocks.append(TableBlock("odds", univariate_odds(clinical.univariate, confidence(results))))
    measured = results.models.biomarkers if results.models is not None else None
    if measured is not None and measured.univariate:
        title = "Each biomarker alone"
        blocks.append(TableBlock("odds-biomarkers", univariate_odds(measured.univariate, confidence(results), title)))
    tested = {name: model for name, model in _fitted(results).items() if model.zph and model.terms}
    if tested:
        blocks.append(TableBlock("proportional", proportional_table(tested)))
    cause = results.timed.cause_specific if results.timed is not None else None
    if cause is not None and cause.terms:
        title = "Cause-specific hazards, competing events censored"
        blocks.append(TableBlock("cause-specific", models_table(results, {"Cause-specific Cox model": cause}, title)))
    name, final = _final(results)
    return [*blocks, *([_forest(final, name, confidence(results))] if final is not None and final.terms else [])]


def _fitted(results: Results) -> dict[str, FittedModel]:
    """The fitted models as tables call them."""
    if results.timed is not None:
        found = results.timed
        return {model_label(results, name): found.models[name] for name in found.names if name in found.models}
    models = results.models
    if models is None or models.clinical is None:
        return {}
    named = {"Clinical candidates together": models.clinical.multivariate, "Clinical model": models.clinical.final}
    if models.biomarkers is not None:
        named |= {"Biomarkers together": models.biomarkers.multivariate, "Biomarker model": models.biomarkers.final}
    if models.radiomics is not None:
        named["Radiomics model"] = models.radiomics.final
    if models.combined is not None:
        name = "combined" if models.joint is not None else main_model(results)
        named[f"{model_label(results, name)} model"] = models.combined.final
    if models.joint is not None:
        named["Joint model"] = models.joint.final
    return {name: model for name, model in named.items() if model is not None}


def _final(results: Results) -> tuple[str, FittedModel | None]:
    """Name of the final model and what it is."""
    main, models = main_model(results), results.models
    if results.timed is not None:
        return main, results.timed.models[main]
    if models is not None and (models.joint or models.combined) is not None:
        return main, (models.joint or models.combined).final  # type: ignore[union-attr]
    return "clinical", models.clinical.final if models is not None and models.clinical is not None else None


def _note(results: Results, label: str) -> str:
    """What the fit of a model of follow-up had to say."""
    if results.timed is None:
        return ""
    found = results.timed
    return next((note for name, note in found.notes.items() if note and model_label(results, name) == label), "")


def _choice_text(results: Results) -> str:
    labels = {column.name: column.label for column in results.columns}

    def named(names: list[str]) -> str:
        return listing([labels.get(name, name) for name in names])

    chosen = selected_predictors(results, "clinical")
    timed = results.timed if results.timed is not None else None
    way = selection(results)
    if way == "penalised" and not chosen:
        return "All clinical candidates together, by ridge regression, tell no more than none in the training set."
    if way == "penalised":
        return (
            f"The clinical model holds all {plural(len(chosen), 'candidate')}, their coefficients shrunk by ridge "
            "regression; none was selected by its P value ({multivariate})."
        )
    if way == "given":
        return (
            f"The predictors ({named(chosen)}) were chosen before these data were analyzed; none was selected by its P "
            "value ({multivariate})."
        )
    clinical = results.models.clinical if results.models is not None else None
    terms = timed.univariate if timed is not None else clinical.univariate if clinical is not None else []
    candidates = len({term.name.split("=")[0] for term in terms})
    if not chosen:
        if timed is not None:
            return f"Of {plural(candidates, 'candidate')}, none was an independent predictor in the training set."
        return "No clinical candidate was an independent predictor in the training set."
    if way in _STAYED:
        verb = "was" if len(chosen) == 1 else "were"
        return (
            f"Of {plural(candidates, 'candidate')}, {named(chosen)} {verb} kept by {_STAYED[way]} in the training set "
            "({multivariate})."
        )
    verb = "was an independent predictor" if len(chosen) == 1 else "were independent predictors"
    text = f"Of {plural(candidates, 'candidate')}, {named(chosen)} {verb} in the training set ({{multivariate}})."
    if timed is not None and timed.binary is not None:
        other = named(timed.binary.selected) or "no predictor"
        at = at_horizon(results, timed.binary.horizon)
        text += f" The binary model of {event_word(results)}{at} holds {other}."
    return text


def models_table(results: Results, models: dict[str, FittedModel], title: str) -> Table:
    """Coefficient, ratio per unit and per change that means something, P; what is needed to compute a risk."""
    rows: list[Row] = []
    for name, model in models.items():
        censored = f", {model.n_censored} of weight 0" if model.kind == "logistic" and model.n_censored else ""
        method = _METHODS.get(model.method, "")
        rows.append(Row((f"{name} ({model.n} patients, {model.events} events{censored}{method})",), "group"))
        for term in model.terms:
            rows += _term_rows(term, model.method in _SHRUNK)
        if model.kind == "logistic":
            rows.append(Row(("Intercept", "", number(model.intercept, 3)), "indent"))
            continue
        rows.append(Row(("Mean of the linear predictor", "", number(-model.intercept, 4)), "indent"))
        for entry in model.baseline:
            at = at_horizon(results, entry.time)
            rows.append(Row((f"Baseline: no event{at}", "", number(entry.survival, 4)), "indent"))
    ci = confidence(results)
    if results.timed is None:
        notes = [f"OR, odds ratio; CI, confidence interval; {_BETA}, log odds per unit."]
        plain = [model for model in models.values() if model.method not in _SHRUNK]
        if any(_varies_little(term) for model in plain for term in model.terms):
            notes.append("No odds ratio per unit where a variable varies by much less than a unit.")
        notes += _of_shrunk(models)
        return make_table(title, ["Variable", "Change", f"{_BETA} (SE)", f"OR ({ci})", "P"], rows, notes)
    notes = [
        f"HR, hazard ratio (OR, odds ratio, in a binary model); CI, confidence interval; {_BETA}, log ratio per unit."
    ]
    if any(model.kind == "cox" for model in models.values()):
        notes.append(
            f"Risk of a patient by a horizon: 1 \N{MINUS SIGN} S^exp(LP)^, with the baseline S above and LP the sum of "
            f"{_BETA} x variable less its mean."
        )
    notes += _of_shrunk(models)
    return make_table(title, ["Variable", "Change", f"{_BETA} (SE)", f"HR or OR ({ci})", "P"], rows, notes)


def _of_shrunk(models: dict[str, FittedModel]) -> list[str]:
    if not any(model.method in _SHRUNK for model in models.values()):
        return []
    return [
        "Coefficients shrunk by ridge regression have no P; their intervals are those given the penalty. Ratios of "
        f"numbers beside them are per SD, {_BETA} per unit."
    ]


def _per_unit(term: Term) -> str:
    """The change that a coefficient is of: ``per year``, ``per unit``; empty for a level against its reference."""
    if term.unit:
        return f"per {_SINGULAR.get(term.unit, term.unit)}"
    return "per unit" if term.numeric or term.scales else ""


def _varies_little(term: Term) -> bool:
    """Whether the ratio per unit tells of a change that no patient shows: a change that counts is under half a unit."""
    return any(0 < abs(math.log(s.ratio)) < abs(term.coefficient) / 2 for s in term.scales if s.ratio > 0)


def _term_rows(term: Term, shrunk: bool) -> list[Row]:
    """A row a change; of a number in a shrunk model, which has many, the one per SD."""
    beta = number(term.coefficient, 3) + (f" ({number(term.se, 3)})" if is_finite(term.se) else "")
    sd = next((s for s in term.scales if s.label.startswith("per SD")), None)
    if shrunk and sd is not None:
        per_sd = ratio_with_interval(sd.ratio, sd.low, sd.high)
        return [Row((term.label, sd.label, beta, per_sd, p_value(term.p)), "indent")]
    ratio = MISSING if _varies_little(term) else ratio_with_interval(term.ratio, term.low, term.high)
    first = Row((term.label, _per_unit(term), beta, ratio, p_value(term.p)), "indent")
    rest = [Row(("", s.label, "", ratio_with_interval(s.ratio, s.low, s.high), ""), "indent") for s in term.scales]
    # Before the first of several levels: the P of all of them, by which the predictor is chosen.
    whole = (f"{term.label.rsplit(': ', 1)[0]}, all levels", "", "", "", p_value(term.p_predictor))
    return [*([Row(whole, "indent")] if is_finite(term.p_predictor) else []), first, *rest]


def univariate_odds(terms: list[Term], ci: str, title: str = "Each clinical candidate alone") -> Table:
    """Every candidate alone: its odds ratio per SD (or against the reference)."""
    rows = []
    for term in terms:
        change, values = _per_change(term)
        rows.append((term.label, change, ratio_with_interval(*values), p_value(term.p)))
    notes = [
        "OR, odds ratio of a logistic model with this variable alone, training set, missing values replaced; P of its "
        "coefficient. The P that chose the candidates is that of the univariate analysis, of the patients with a value."
    ]
    return make_table(title, ["Variable", "Change", f"OR ({ci})", "P"], rows, notes)


def _per_change(term: Term) -> tuple[str, tuple[float, float, float]]:
    """The change that means most (per SD), else per unit, and the ratio with its limits."""
    if not term.scales:
        return _per_unit(term), (term.ratio, term.low, term.high)
    scale = term.scales[-1]
    return scale.label, (scale.ratio, scale.low, scale.high)


def candidates_table(results: Results) -> Table:
    """Each candidate alone and all that entered together, per SD or against the reference."""
    assert results.timed is not None
    found = results.timed
    joint = found.multivariate
    if joint is None:
        joint = found.models.get("clinical")
    together = {term.name: term for term in joint.terms} if joint is not None else {}
    rows = []
    for term in found.univariate:
        change, values = _per_change(term)
        alone = (ratio_with_interval(*values), p_value(term.p)) if term.reason is None else (term.reason, MISSING)
        other = together.get(term.name)
        both = (MISSING, MISSING)
        if other is not None:
            both = (ratio_with_interval(*_per_change(other)[1]), p_value(other.p))
        if is_finite(term.p_predictor):
            joined = together[term.name].p_predictor if term.name in together else float("nan")
            cells = ("", p_value(term.p_predictor), "", p_value(joined) if is_finite(joined) else MISSING)
            rows.append((f"{term.label.rsplit(': ', 1)[0]}, all levels", "", *cells))
        rows.append((term.label, change, *alone, *both))
    name = "Subdistribution hazard ratio" if found.competing else "Hazard ratio"
    notes = [f"HR, {name.lower()} of the event; CI, confidence interval (Wald). Training set."]
    if any(term.reason for term in found.univariate):
        notes.append("Words stand where there is no estimate.")
    if found.selection == "independent":
        notes.append(f"Candidates with {p_below(found.alpha)} alone entered the multivariate model.")
    ci = confidence(results)
    columns = ["Variable", "Change", f"HR alone ({ci})", "P", f"HR together ({ci})", "P "]
    return make_table("Univariate and multivariate analysis of the clinical candidates", columns, rows, notes)


def proportional_table(models: dict[str, FittedModel]) -> Table:
    """Tests of proportional hazards."""
    rows: list[Row] = []
    for name, model in models.items():
        rows.append(Row((name,), "group"))
        rows += [Row((t.label, number(t.chi2, 2), str(t.df), p_value(t.p)), "indent") for t in model.zph]
    notes = ["Score test of a coefficient that changes with time (scaled Schoenfeld residuals, Kaplan-Meier scale)."]
    return make_table("Test of proportional hazards", ["Variable", "Chi-squared", "df", "P"], rows, notes)


def _proportional_text(models: dict[str, FittedModel]) -> str:
    weak = [
        f"{t.label.lower() if t.label.startswith('All') else t.label} ({name}, {p_sentence(t.p)})"
        for name, model in models.items()
        for t in model.zph
        if t.p < 0.05
    ]
    if not weak:
        return "The hazards may be taken as proportional: no test gave P < .05 ({proportional})."
    return (
        f"The hazards are not proportional for {listing(weak)} ({{proportional}}): such a ratio is an average over the "
        "follow-up, stronger at some times than at others. Calibration at each horizon shows what this does to risks."
    )


def _forest(model: FittedModel, name: str, ci: str) -> FigureBlock:
    rows = []
    for term in model.terms:
        change, values = _per_change(term)
        rows.append(ForestRow(f"{term.label}, {change}" if change else term.label, *values, term.p))
    what, short = ("Odds", "OR") if model.kind == "logistic" else ("Hazard", "HR")
    caption = f"{what} ratios of the {name} model in the training set, numbers per the change named."
    alt = "; ".join(f"{row.label} {ratio_with_interval(row.ratio, row.low, row.high)}" for row in rows)
    panel = Panel(lambda: draw_forest(rows, measure=f"{what} ratio", short=short, ci=ci), alt)
    return FigureBlock("forest", caption, (panel,))
