"""The nomogram, one patient worked on it, and survival by risk group."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.risk_groups import RiskGroups
from hepacast.figures import KmCurve, ShareBar, draw_km, draw_nomogram, draw_shares
from hepacast.report.content.common import Omit, confidence, is_finite, main_model, set_label
from hepacast.report.formatting import capital, number, p_sentence, percent, with_interval
from hepacast.report.inputs import Results
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph


def build_nomogram(results: Results) -> list[Block]:
    """Figure 5."""
    spec = results.models.nomogram if results.models is not None else None
    if spec is None:
        raise Omit("the main model has no nomogram")
    plain = {**spec, "example": None}
    names = ", ".join(item["label"] for item in spec["predictors"])
    text = (
        "Read the points of each predictor on the upper axis, add them, and read the risk below the total. "
        "A patient is worked through in {example}." if spec.get("example") else
        "Read the points of each predictor on the upper axis, add them, and read the risk below the total."
    )  # fmt: skip
    caption = f"Nomogram of the {main_model(results)} model."
    return [
        Paragraph(text),
        FigureBlock("nomogram", caption, (Panel(partial(draw_nomogram, plain), f"Nomogram with axes {names}"),)),
    ]


def build_example(results: Results) -> list[Block]:
    """The nomogram worked for one patient, and the shares in the patient's risk."""
    models = results.models
    if models is None or models.nomogram is None or not models.nomogram.get("example"):
        return []
    spec, example = models.nomogram, models.example
    steps = "; ".join(
        f"{name} {v['label']}: {float(v['points']):.1f} points" for name, v in spec["example"]["values"].items()
    )
    panels = [Panel(partial(draw_nomogram, spec), f"{steps}; total {float(spec['example']['total']):.1f} points")]
    who = f"patient {example.patient}" if example is not None else "one patient"
    caption = f"The nomogram worked for {who}"
    if example is not None:
        caption += f": risk {percent(example.risk)}"
        if is_finite(example.low, example.high):
            caption += f" ({confidence(results)} {percent(example.low)} to {percent(example.high)})"
        if example.outcome is not None and results.outcome is not None:
            caption += f"; observed: {results.outcome.positive if example.outcome else results.outcome.negative}"
        if example.shares:
            bars = [ShareBar(s.label, s.value, s.contribution) for s in example.shares]
            alt = "; ".join(f"{s.label} {number(s.contribution, 2)}" for s in example.shares)
            panels.append(Panel(partial(draw_shares, bars, risk=example.risk), f"Shares in the log odds: {alt}"))
            caption += ". (a) Points and total; (b) what pushes this patient's risk up and down"
    return [FigureBlock("example", caption + ".", tuple(panels))]


def build_survival(results: Results) -> list[Block]:
    """Kaplan-Meier curves by risk group."""
    if results.evaluation is None or not results.evaluation.groups:
        raise Omit("the study has no follow-up")
    items, ci = results.evaluation.groups, confidence(results)
    texts = [f"{item.end_point}, {set_label(item.set).lower()}" for item in items]
    caption = "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))
    how = "; ".join(dict.fromkeys(f"{set_label(item.set).lower()}: {item.cutoff}" for item in items if item.cutoff))
    text = (
        f"Patients were divided into two groups of risk at a cut-off that was fixed in training ({how})." if how else ""
    )
    several = len(items) > 1
    panels = tuple(_km_panel(item, ci, narrow=several) for item in items)
    title = f"Survival by risk group (Kaplan-Meier) with bands ({ci}): {caption}."
    figure = FigureBlock("survival", title, panels, columns=2 if several else 1)
    return [*([Paragraph(text)] if text else []), figure, *(Paragraph(_km_text(item, ci)) for item in items)]


def _km_panel(item: RiskGroups, ci: str, *, narrow: bool) -> Panel:
    curves = [KmCurve(capital(g.name), g.time, g.survival, g.low, g.high, g.censored, g.at_risk) for g in item.groups]
    note = ""
    if item.hazard_ratio is not None:
        h = item.hazard_ratio
        note = f"Hazard ratio ({ci}) {with_interval(h.value, h.low, h.high, 2)}"
    draw = partial(
        draw_km,
        curves,
        at_risk_times=item.at_risk_times,
        p=item.p,
        test=item.test,
        note=note,
        x_label=f"Time ({item.unit})",
        y_label=f"Without event ({item.end_point})",
        size_mm=(85.0, 84.0) if narrow else (118.0, 88.0),
    )
    return Panel(draw, _km_text(item, ci))


def _km_text(item: RiskGroups, ci: str) -> str:
    groups = []
    for g in item.groups:
        text = f"{g.name} {g.n} patients, {g.events} events"
        known = g.median.known
        groups.append(text + (f", median {number(g.median.value, 1)} {item.unit}" if known else ", median not reached"))
    text = f"{capital(set_label(item.set))}, {item.end_point}: {'; '.join(groups)}; {item.test} {p_sentence(item.p)}"
    if item.hazard_ratio is not None:
        h = item.hazard_ratio
        text += f"; hazard ratio ({ci}) {with_interval(h.value, h.low, h.high, 2)}"
    return f"{text}; C ({ci}) {with_interval(item.concordance.value, *item.concordance.ci)}."
