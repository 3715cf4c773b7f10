"""The report of a model over calendar time: what the chart says, calibration and case-mix by window, methods."""

from __future__ import annotations

from functools import partial

from hepacast._version import __version__
from hepacast.core.formatting import MISSING, number, percent, plural
from hepacast.core.sentences import Sentence
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.monitoring import HIGHER, Monitoring, MonitoringWindow
from hepacast.figures.monitoring import WindowPoint, draw_charts, draw_difference, draw_windows
from hepacast.report.content.common import STATEMENT, estimate
from hepacast.report.content.external import quartiles_text
from hepacast.report.methods import write_methods
from hepacast.report.model import (
    Block,
    Bullets,
    Callout,
    Document,
    FigureBlock,
    Panel,
    Paragraph,
    Report,
    Section,
    TableBlock,
)
from hepacast.stats.intervals import ci_label


def compose_monitoring(found: Monitoring, level: float) -> Report:
    """The whole report."""
    sections = (
        Section("Summary", tuple(_summary(found))),
        Section("Observed against expected events", tuple(_charts(found))),
        Section("Calibration and discrimination by window", tuple(_by_window(found, level))),
        Section("Case-mix by window", tuple(_case_mix(found))),
        Section("Methods", tuple(_methods(found))),
    )
    facts = (
        ("Model", f"{found.model} model of “{found.study}” (model file {found.identity[:12]})"),
        ("Patients", f"{found.n} with {found.events} events, {found.start} to {found.end}"),
        ("Made with", f"hepacast {__version__}"),
    )
    document = Document("report", "", "", tuple(section for section in sections if section.blocks))
    return Report(
        f"Monitoring: {found.study}", "Calibration of a prediction model over time", facts, STATEMENT, (document,)
    )


def _summary(found: Monitoring) -> list[Block]:
    first, *others = found.verdict
    blocks: list[Block] = [Paragraph(first)]
    if found.alarms:
        blocks.append(Callout("warning", "The model needs recalibration", others[0]))
        others = others[1:]
    blocks.append(Bullets(tuple(others)))
    if found.left_out:
        each = "; ".join(f"{reason}: {count}" for reason, count in found.left_out.items())
        blocks.append(Paragraph(f"Predictions of the log that tell nothing: {each}."))
    return blocks


def _charts(found: Monitoring) -> list[Block]:
    alarms = [alarm.place - 1 for alarm in found.alarms]
    since = found.alarms[0].since - 1 if found.alarms else None
    draw = partial(draw_charts, found.dates, found.higher, found.lower, limit=found.limit, alarms=alarms, since=since)
    called = "; ".join(f"passed on {alarm.date} ({_words(alarm.way)})" for alarm in found.alarms) or "never passed"
    alt = f"Both charts over {plural(found.n, 'patient')}; the limit {number(found.limit, 2)} was {called}"
    caption = (
        f"CUSUM charts: upwards for more events than the model expects, downwards for fewer; dashed, the limit "
        f"{number(found.limit, 2)}, {called}."
    )
    if found.alarms:
        caption += " Shaded: the patients since the change probably began."
    return [FigureBlock("charts", caption, (Panel(draw, alt),))]


def _words(way: str) -> str:
    return "more events than expected" if way == HIGHER else "fewer events than expected"


def _by_window(found: Monitoring, level: float) -> list[Block]:
    ratios = [_point(w, "observed_expected") for w in found.windows]
    areas = [_point(w, "discrimination") for w in found.windows]
    measure = found.windows[0].performance.measure
    ci = ci_label(level)
    panels: tuple[Panel, ...] = (
        Panel(partial(draw_difference, found.dates, found.difference), "Observed minus expected events so far"),
        Panel(
            partial(draw_windows, ratios, y_label=f"Observed / expected ({ci})", ideal=1.0, log=True),
            "Observed over expected events by window",
        ),
    )
    caption = "(a) Observed minus expected events so far; (b) observed over expected events by window"
    if any(point.value == point.value for point in areas):
        panels += (Panel(partial(draw_windows, areas, y_label=f"{measure} ({ci})", ideal=0.5), f"{measure} by window"),)
        caption += f"; (c) {measure} by window"
    return [
        TableBlock("windows", _window_table(found, ci)),
        FigureBlock("calibration-over-time", f"{caption}.", panels, columns=2),
    ]


def _point(window: MonitoringWindow, name: str) -> WindowPoint:
    value = getattr(window.performance, name)
    return WindowPoint(window.label, value.value, value.low, value.high)


def _window_table(found: Monitoring, ci: str) -> Table:
    rows = []
    for window in found.windows:
        own = window.performance
        shown = [
            estimate(value, digits) if value.known else MISSING
            for value, digits in ((own.observed_expected, 2), (own.slope, 2), (own.discrimination, 3))
        ]
        rows.append(Row((window.label, f"{own.n} ({own.events})", percent(window.mean_risk), *shown)))
    measure = found.windows[0].performance.measure
    heads = ["Window", "Patients (events)", "Mean risk", f"O/E ({ci})", f"Slope ({ci})", f"{measure} ({ci})"]
    reasons = {window.performance.reason for window in found.windows if window.performance.reason}
    notes = ["O/E, observed over expected events: 1 is perfect. Slope: 1 is perfect, below 1 risks are too extreme."]
    notes += [f"{MISSING}: {'; '.join(sorted(reasons))}."] if reasons else []
    return make_table("Calibration and discrimination by window", heads, rows, notes)


def _case_mix(found: Monitoring) -> list[Block]:
    names = list(dict.fromkeys(row.name for window in found.windows for row in window.rows))
    if not names:
        return []
    rows: list[Row] = []
    for name in names:
        each = [(window, row) for window in found.windows for row in window.rows if row.name == name]
        rows.append(Row((each[0][1].label,), "group"))
        rows += [
            Row((window.label, quartiles_text(row.here), number(row.difference, 2), f"{row.n_missing}"), "indent")
            for window, row in each
        ]
        if each[0][1].trained:
            rows.append(Row(("Training", quartiles_text(each[0][1].trained), "", ""), "indent"))
    notes = [
        "Median (quartiles). Difference of medians from training, by the training's interquartile range / 1.35.",
        *([] if found.windows[0].rows[0].trained else [f"{MISSING}: the model file does not say what training was."]),
    ]
    first = [row for window in found.windows for row in window.rows if row.name == names[0]]
    points = [
        WindowPoint(window.label, row.here[1], row.here[0], row.here[2])
        for window, row in zip(found.windows, first, strict=True)
        if row.here
    ]
    band = (first[0].trained[0], first[0].trained[2]) if first[0].trained else None
    what = "; gray, the middle half of the training patients" if band else ""
    figure = FigureBlock(
        "case-mix-over-time",
        f"{first[0].label} by window: median and quartiles{what}.",
        (Panel(partial(draw_windows, points, y_label=first[0].label, band=band), f"{first[0].label} by window"),),
    )
    table = make_table("Case-mix by window", ["", "Median (quartiles)", "Difference", "Missing"], rows, notes)
    return [TableBlock("case-mix", table), figure]


def _methods(found: Monitoring) -> list[Block]:
    settings, timed = found.settings, bool(found.unit)
    what = "hazard" if timed else "odds"
    key = "biswas-cusum" if timed else "steiner-cusum"
    texts = [
        f"Patients were taken in the order of their predictions. Two charts [@{key}] cumulate the log likelihood ratio "
        f"of each patient's outcome, of the {what} of the event being {number(settings.ratio, 1)} times those of the "
        f"model (or 1/{number(settings.ratio, 1)}) against being right, never below 0.",
        f"The limit {number(found.limit, 2)} was set by simulation: of series of {settings.within} patients drawn from "
        f"the log, with outcomes as the model says, {percent(settings.false_alarm)} pass it (either way).",
        "Calibration in windows of the calendar is the ratio of observed to expected events and the slope; windows are "
        "compared by a chi-square test of their estimates. A change of the mean is what the charts find; that "
        "predictors mean less shows in slope and discrimination of the windows.",
    ]
    if timed:
        texts.append(
            f"Events count by {found.horizon:g} {found.unit}; expected is the model's cumulative hazard over the time "
            "that each patient was followed."
        )
    text = write_methods([Sentence("evaluation", item) for item in texts])
    blocks: list[Block] = [Paragraph(body) for _, body in text.paragraphs]
    return [*blocks, *(Paragraph(f"{place}. {item}") for place, item in enumerate(text.references, start=1))]
