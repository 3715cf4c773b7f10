"""The models of a time-to-event study: univariate and multivariate Cox, final models, tests of their assumption."""

from __future__ import annotations

from hepacast.core.p_values import p_below
from hepacast.figures import ForestRow, draw_forest
from hepacast.report.content.common import is_finite
from hepacast.report.content.models import per_unit
from hepacast.report.content.survival_common import by_word, ci_of, event_name, horizon, model_name, survival
from hepacast.report.formatting import MISSING, listing, number, p_sentence, p_value, plural, ratio_with_interval
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import HazardModel, HazardTerm, Survival
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table

_BETA = "\N{GREEK SMALL LETTER BETA}"
_METHODS = {
    "cox-firth": "; Firth's penalized likelihood, as a predictor separates the events",
    "fine-gray": "; subdistribution hazard",
    "ipcw": "; logistic, weighted for censoring",
}


def build(results: Results) -> list[Block]:
    """Univariate and multivariate table, final models, proportional hazards."""
    item = survival(results)
    blocks: list[Block] = [Paragraph(_choice_text(results, item))]
    if item.models.univariate:
        blocks.append(TableBlock("univariate", candidates_table(item)))
    fitted = {name: item.models.models[name] for name in item.models.names if item.models.models[name].terms}
    if fitted:
        blocks.append(TableBlock("multivariate", final_table(item, fitted)))
    for name in item.models.names:
        model = item.models.models[name]
        if not model.terms:
            blocks.append(Callout("warning", model_name(item, name), f"There is no such model: {model.reason}."))
        elif item.models.notes.get(name):
            blocks.append(Callout("note", model_name(item, name), f"{item.models.notes[name]}."))
    checked = {name: model for name, model in fitted.items() if model.zph}
    if checked:
        blocks.append(Paragraph(_proportional_text(item, checked)))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """Tests of proportional hazards, cause-specific hazards, the hazard ratios of the main model drawn."""
    item = survival(results)
    checked = {n: item.models.models[n] for n in item.models.names if item.models.models[n].zph}
    blocks: list[Block] = [TableBlock("proportional", proportional_table(item, checked))] if checked else []
    if item.models.cause_specific is not None and item.models.cause_specific.terms:
        named = {"Cause-specific Cox model": item.models.cause_specific}
        table = _models_table("Cause-specific hazards, competing events censored", named, item)
        blocks.append(TableBlock("cause-specific", table))
    model = item.models.models[item.models.main]
    if not model.terms:
        return blocks
    rows = []
    for term in model.terms:
        scale = term.scales[-1] if term.scales else None
        values = scale if scale is not None else term
        change = scale.label if scale is not None else per_unit(term)
        label = f"{term.label}, {change}" if change else term.label
        rows.append(ForestRow(label, values.ratio, values.low, values.high, term.p))
    what = "Hazard" if model.kind == "cox" else "Odds"
    caption = f"{what} ratios of the {item.models.main} model in the training set, numbers per the change named."
    alt = "; ".join(f"{row.label} {ratio_with_interval(row.ratio, row.low, row.high)}" for row in rows)
    short = "HR" if model.kind == "cox" else "OR"
    draw = Panel(lambda: draw_forest(rows, measure=f"{what} ratio", short=short, ci=ci_of(item)), alt)
    return [*blocks, FigureBlock("forest", caption, (draw,))]


def _choice_text(results: Results, item: Survival) -> str:
    labels = {column.name: column.label for column in results.columns}
    chosen = listing([labels.get(name, name) for name in item.models.selected])
    if item.models.selection == "given":
        return (
            f"The predictors ({chosen}) were chosen before these data were analyzed; none was selected by its P value "
            "({multivariate})."
        )
    candidates = len({term.name.split("=")[0] for term in item.models.univariate})
    if not chosen:
        return f"Of {plural(candidates, 'candidate')}, none was an independent predictor in the training set."
    verb = "was an independent predictor" if len(item.models.selected) == 1 else "were independent predictors"
    text = f"Of {plural(candidates, 'candidate')}, {chosen} {verb} in the training set ({{multivariate}})."
    if item.models.binary is not None:
        other = listing([labels.get(name, name) for name in item.models.binary.selected]) or "no predictor"
        at = f"{by_word(item)} {horizon(item, item.models.binary.horizon)}"
        text += f" The binary model of {event_name(item)} {at} holds {other}."
    return text


def candidates_table(item: Survival) -> Table:
    """Each candidate alone and all that entered together, per SD or against the reference."""
    joint = item.models.multivariate
    if joint is None and item.models.selection == "given":
        joint = item.models.models.get("clinical")
    together = {term.name: term for term in joint.terms} if joint is not None else {}
    rows = []
    for term in item.models.univariate:
        scale = term.scales[-1] if term.scales else None
        values = scale if scale is not None else term
        alone = (
            (ratio_with_interval(values.ratio, values.low, values.high), p_value(term.p))
            if term.reason is None
            else (term.reason, MISSING)
        )
        other = together.get(term.name)
        both = (MISSING, MISSING)
        if other is not None:
            shown = other.scales[-1] if other.scales else other
            both = (ratio_with_interval(shown.ratio, shown.low, shown.high), p_value(other.p))
        if is_finite(term.p_predictor):
            joined = together[term.name].p_predictor if term.name in together else float("nan")
            cells = ("", p_value(term.p_predictor), "", p_value(joined) if is_finite(joined) else MISSING)
            rows.append((f"{term.label.rsplit(': ', 1)[0]}, all levels", "", *cells))
        rows.append((term.label, scale.label if scale is not None else per_unit(term), *alone, *both))
    name = "Subdistribution hazard ratio" if item.models.competing else "Hazard ratio"
    notes = [f"HR, {name.lower()} of the event; CI, confidence interval (Wald). Training set."]
    if any(term.reason for term in item.models.univariate):
        notes.append("Words stand where there is no estimate.")
    if item.models.selection == "independent":
        notes.append(f"Candidates with {p_below(item.models.alpha)} alone entered the multivariate model.")
    ci = ci_of(item)
    columns = ["Variable", "Change", f"HR alone ({ci})", "P", f"HR together ({ci})", "P "]
    return make_table("Univariate and multivariate analysis of the clinical candidates", columns, rows, notes)


def final_table(item: Survival, models: dict[str, HazardModel]) -> Table:
    """Coefficients and ratios of the final models, with what is needed to compute a risk."""
    named = {model_name(item, name): model for name, model in models.items()}
    return _models_table("The models", named, item)


def _models_table(title: str, models: dict[str, HazardModel], item: Survival) -> Table:
    rows: list[Row] = []
    for name, model in models.items():
        method = _METHODS.get(model.method, "")
        censored = f", {model.n_censored} of weight 0" if model.kind == "logistic" and model.n_censored else ""
        rows.append(Row((f"{name} ({model.n} patients, {model.events} events{censored}{method})",), "group"))
        for term in model.terms:
            rows += _term_rows(term)
        if model.kind == "logistic":
            rows.append(Row(("Intercept", "", number(model.intercept, 3)), "indent"))
        else:
            center = number(-model.intercept, 4)
            rows.append(Row(("Mean of the linear predictor", "", center), "indent"))
            for entry in model.baseline:
                at = f"{by_word(item)} {entry.time:g} {item.models.unit}"
                rows.append(Row((f"Baseline: no event {at}", "", number(entry.survival, 4)), "indent"))
    notes = [
        f"HR, hazard ratio (OR, odds ratio, in a binary model); CI, confidence interval; {_BETA}, log ratio per unit."
    ]
    if any(model.kind == "cox" for model in models.values()):
        notes.append(
            f"Risk of a patient by a horizon: 1 \N{MINUS SIGN} S^exp(LP)^, with the baseline S above and LP the sum of "
            f"{_BETA} x variable less its mean."
        )
    return make_table(title, ["Variable", "Change", f"{_BETA} (SE)", f"HR or OR ({ci_of(item)})", "P"], rows, notes)


def _term_rows(term: HazardTerm) -> list[Row]:
    unit = per_unit(term)
    beta = number(term.coefficient, 3)
    beta += f" ({number(term.se, 3)})" if is_finite(term.se) else ""
    cells = (term.label, unit, beta, ratio_with_interval(term.ratio, term.low, term.high), p_value(term.p))
    rest = [Row(("", s.label, "", ratio_with_interval(s.ratio, s.low, s.high), ""), "indent") for s in term.scales]
    return [Row(cells, "indent"), *rest]


def proportional_table(item: Survival, models: dict[str, HazardModel]) -> Table:
    """Tests of proportional hazards."""
    rows: list[Row] = []
    for name, model in models.items():
        rows.append(Row((model_name(item, name),), "group"))
        rows += [Row((t.label, number(t.chi2, 2), str(t.df), p_value(t.p)), "indent") for t in model.zph]
    notes = ["Score test of a coefficient that changes with time (scaled Schoenfeld residuals, Kaplan-Meier scale)."]
    return make_table("Test of proportional hazards", ["Variable", "Chi-squared", "df", "P"], rows, notes)


def _proportional_text(item: Survival, models: dict[str, HazardModel]) -> str:
    weak = [
        f"{t.label.lower() if t.label.startswith('All') else t.label} ({model_name(item, name)}, {p_sentence(t.p)})"
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
