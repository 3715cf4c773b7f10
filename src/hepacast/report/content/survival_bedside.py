"""The nomogram with an axis for each horizon, one patient worked on it, and survival by risk group."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.risk_groups import RiskGroups
from hepacast.figures import KmCurve, ShareBar, draw_km, draw_nomogram, draw_shares
from hepacast.report.content.common import Omit, is_finite
from hepacast.report.content.survival_common import (
    by_word,
    ci_of,
    event_name,
    horizon,
    lower_first,
    model_name,
    survival,
)
from hepacast.report.formatting import capital, number, p_sentence, p_value, percent, plural, with_interval
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import Survival
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph

_RULES = {
    "median": "the median risk",
    "maxstat": "maximally selected rank statistics",
    "youden": "Youden's index of the time-dependent ROC curve",
}
_GROUP_SETS = {
    "training": "Training set, by cross-validated risk",
    "validation": "Validation set",
    "external": "External set",
}


def build_nomogram(results: Results) -> list[Block]:
    """The nomogram of the main model."""
    spec = results.models.nomogram if results.models is not None else None
    if spec is None:
        raise Omit("the main model has no nomogram")
    item = survival(results)
    plain = {**spec, "example": None}
    names = ", ".join(entry["label"] for entry in spec["predictors"])
    below = ", ".join(entry["label"] for entry in spec["outputs"])
    text = (
        "Read the points of each predictor on the upper axis, add them, and read below the total the probability of "
        f"being without {event_name(item)} at each horizon."
        if item.models.models[item.models.main].kind == "cox"
        else "Read the points of each predictor on the upper axis, add them, and read the risk below the total."
    )
    if spec.get("example"):
        text += " A patient is worked through in {example}."
    caption = f"Nomogram of the {lower_first(model_name(item, item.models.main))} model."
    panel = Panel(partial(draw_nomogram, plain), f"Nomogram with axes {names}; below the total: {below}")
    return [Paragraph(text), FigureBlock("nomogram", caption, (panel,))]


def build_example(results: Results) -> list[Block]:
    """The nomogram worked for one patient, and the shares in the patient's linear predictor."""
    models, item = results.models, survival(results)
    if models is None or models.nomogram is None or not models.nomogram.get("example") or item.example is None:
        return []
    spec, example = models.nomogram, item.example
    steps = "; ".join(
        f"{name} {v['label']}: {float(v['points']):.1f} points" for name, v in spec["example"]["values"].items()
    )
    panels = [Panel(partial(draw_nomogram, spec), f"{steps}; total {float(spec['example']['total']):.1f} points")]
    risks = "; ".join(
        f"{by_word(item)} {horizon(item, r.time)} {percent(r.risk)}"
        + (f" ({ci_of(item)} {percent(r.low)} to {percent(r.high)})" if is_finite(r.low, r.high) else "")
        for r in example.horizons
    )
    caption = f"The nomogram worked for patient {example.patient}: risk of {event_name(item)} {risks}"
    caption += f"; observed: {example.observed}"
    if example.shares:
        bars = [ShareBar(s.label, s.value, s.contribution) for s in example.shares]
        alt = "; ".join(f"{s.label} {number(s.contribution, 2)}" for s in example.shares)
        label = "Share in the log hazard, against the average patient"
        panels.append(Panel(partial(draw_shares, bars, risk=None, x_label=label), f"Shares in the log hazard: {alt}"))
        caption += ". (a) Points and total; (b) what pushes this patient's hazard up and down"
    return [FigureBlock("example", caption + ".", tuple(panels))]


def build_survival(results: Results) -> list[Block]:
    """Curves by risk group in every set."""
    item = survival(results)
    found = results.evaluation.groups if results.evaluation is not None else ()
    cut = item.models.cuts.get(item.models.main)
    if not found:
        why = cut.note if cut is not None and cut.note else "the cut-off leaves all patients on one side"
        raise Omit(f"there are no risk groups: {why}")
    assert cut is not None
    texts = [_GROUP_SETS.get(entry.set, entry.set) for entry in found]
    incidence = found[0].kind == "incidence"
    title = "Cumulative incidence by risk group" if incidence else "Survival by risk group (Kaplan-Meier)"
    caption = "; ".join(
        f"({chr(97 + i)}) {lower_first(text)}" if len(texts) > 1 else lower_first(text) for i, text in enumerate(texts)
    )
    several = len(found) > 1
    panels = tuple(_panel(item, entry, text, narrow=several) for entry, text in zip(found, texts, strict=True))
    figure = FigureBlock(
        "survival", f"{title} with bands ({ci_of(item)}): {caption}.", panels, columns=2 if several else 1
    )
    return [Paragraph(_text(item)), figure, *(Paragraph(_km_text(item, entry, t)) for entry, t in zip(found, texts))]


def _text(item: Survival) -> str:
    cut = item.models.cuts[item.models.main]
    at = f"{by_word(item)} {horizon(item, item.models.horizons[-1])}"
    text = (
        f"Patients are at high risk when the {item.models.main} model's risk {at} is {number(cut.value, 3)} or more. "
        f"This cut-off was fixed in the training set ({_RULES.get(cut.rule, cut.rule)}) and applied unchanged."
    )
    if is_finite(cut.p):
        text += f" Corrected for the search, its P in training is {p_value(cut.p)}."
    return text


def _panel(item: Survival, entry: RiskGroups, text: str, *, narrow: bool) -> Panel:
    curves = [KmCurve(capital(g.name), g.time, g.survival, g.low, g.high, g.censored, g.at_risk) for g in entry.groups]
    note = ""
    if entry.hazard_ratio is not None:
        h = entry.hazard_ratio
        note = f"Hazard ratio ({ci_of(item)}) {with_interval(h.value, h.low, h.high, 2)}"
    rising = entry.kind == "incidence"
    draw = partial(
        draw_km,
        curves,
        at_risk_times=entry.at_risk_times,
        p=entry.p,
        test=entry.test,
        note=note,
        rising=rising,
        x_label=f"Time ({entry.unit})",
        y_label=f"Cumulative incidence of {event_name(item)}" if rising else f"Without {event_name(item)}",
        title=text,
        size_mm=(85.0, 84.0) if narrow else (118.0, 88.0),
    )
    return Panel(draw, _km_text(item, entry, text))


def _km_text(item: Survival, entry: RiskGroups, name: str) -> str:
    groups = []
    for g in entry.groups:
        text = f"{g.name} {plural(g.n, 'patient')}, {plural(g.events, 'event')}"
        if entry.kind != "incidence":
            known = g.median.known
            text += f", median {number(g.median.value, 1)} {entry.unit}" if known else ", median not reached"
        groups.append(text)
    text = f"**{name}.** {capital('; '.join(groups))}; {entry.test} {p_sentence(entry.p)}"
    if entry.hazard_ratio is not None:
        h = entry.hazard_ratio
        text += f"; hazard ratio of high against low risk ({ci_of(item)}) {with_interval(h.value, h.low, h.high, 2)}"
    return text + "."
