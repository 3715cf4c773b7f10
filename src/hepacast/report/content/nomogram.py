"""The nomogram of the main model, and one patient worked on it."""

from __future__ import annotations

from functools import partial

from hepacast.core.formatting import number, percent
from hepacast.figures.nomogram import draw_nomogram
from hepacast.figures.patients import ShareBar, draw_shares
from hepacast.report.content.common import (
    Omit,
    at_horizon,
    confidence,
    event_word,
    has_time,
    is_finite,
    main_model,
    model_word,
)
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph
from hepacast.report.results import Results


def build(results: Results) -> list[Block]:
    """The nomogram; of a Cox model with an axis for each horizon."""
    spec = results.models.nomogram if results.models is not None else None
    if spec is None:
        raise Omit("the main model has no nomogram")
    plain = {**spec, "example": None}
    names = ", ".join(item["label"] for item in spec["predictors"])
    text = "Read the points of each predictor on the upper axis, add them, and read the risk below the total."
    if results.timed is not None and results.timed.models[main_model(results)].kind == "cox":
        text = (
            "Read the points of each predictor on the upper axis, add them, and read below the total the probability "
            f"of being without {event_word(results)} at each horizon."
        )
    text += " A patient is worked through in {example}." if spec.get("example") else ""
    below = f"; below the total: {', '.join(item['label'] for item in spec['outputs'])}" if has_time(results) else ""
    panel = Panel(partial(draw_nomogram, plain), f"Nomogram with axes {names}{below}")
    caption = f"Nomogram of the {model_word(results, main_model(results))} model."
    return [Paragraph(text), FigureBlock("nomogram", caption, (panel,))]


def build_supplement(results: Results) -> list[Block]:
    """The nomogram worked for one patient, and the shares in the patient's risk."""
    spec = results.models.nomogram if results.models is not None else None
    if results.models is None or spec is None or not spec.get("example"):
        return []
    labels = {item["name"]: item["label"] for item in spec["predictors"]}
    steps = "; ".join(
        f"{labels.get(name, name)} {v['label']}: {float(v['points']):.1f} points"
        for name, v in spec["example"]["values"].items()
    )
    panels = [Panel(partial(draw_nomogram, spec), f"{steps}; total {float(spec['example']['total']):.1f} points")]
    example = results.models.example
    caption = f"The nomogram worked for {f'patient {example.patient}' if example is not None else 'one patient'}"
    if example is not None:
        caption += _risks(results)
    if example is not None and example.shares:
        bars = [ShareBar(s.label, s.value, s.contribution) for s in example.shares]
        alt = "; ".join(f"{s.label} {number(s.contribution, 2)}" for s in example.shares)
        if has_time(results):
            of, label = "hazard", "Share in the log hazard, against the average patient"
            draw = partial(draw_shares, bars, risk=None, x_label=label)
        else:
            assert results.models.example is not None
            of, draw = "risk", partial(draw_shares, bars, risk=results.models.example.risk)
        panels.append(Panel(draw, f"Shares in the log {'hazard' if has_time(results) else 'odds'}: {alt}"))
        caption += f". (a) Points and total; (b) what pushes this patient's {of} up and down"
    return [FigureBlock("example", caption + ".", tuple(panels))]


def _risks(results: Results) -> str:
    """The patient's risk (at each horizon) with limits, and what was observed."""
    ci = confidence(results)

    def shown(risk: float, low: float, high: float) -> str:
        limits = f" ({ci} {percent(low)} to {percent(high)})" if is_finite(low, high) else ""
        return f"{percent(risk)}{limits}"

    example = results.models.example if results.models is not None else None
    assert example is not None
    if results.timed is not None:
        risks = [f"{at_horizon(results, r.time).strip()} {shown(r.risk, r.low, r.high)}" for r in example.horizons]
        return f": risk of {event_word(results)} {'; '.join(risks)}; observed: {example.observed}"
    text = f": risk {shown(example.risk, example.low, example.high)}"
    if example.outcome is not None and results.outcome is not None:
        text += f"; observed: {results.outcome.positive if example.outcome else results.outcome.negative}"
    return text
