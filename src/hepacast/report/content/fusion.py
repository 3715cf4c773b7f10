"""Preprocessing of images, and the networks and classifiers that competed: tables, training curves, check pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hepacast.core.formatting import MISSING, listing, number
from hepacast.core.names import file_name
from hepacast.core.tables import Row, Table, make_table
from hepacast.figures.comparison import ScoreRow, draw_scores, draw_training
from hepacast.figures.images import draw_picture
from hepacast.imaging.preprocessing.summary import Preprocessing
from hepacast.modelling.competition import Competitor, FusionResult
from hepacast.report.content.common import Omit, confidence, estimate, measure, model_names, set_label
from hepacast.report.content.models import models_table
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 2
#: Losses that the training loop writes, and what the legend calls them.
_LOSSES = {"train_loss": "training", "loss": "training", "inner_loss": "inner split"}


def build_preprocessing(results: Results) -> list[Block]:
    """What was done to the images before they were measured."""
    if results.preprocessing is None:
        raise Omit("the images were used as they were")
    return [Paragraph(_preprocessing_text(results.preprocessing))]


def build_preprocessing_supplement(results: Results) -> list[Block]:
    """How well the phases lie on one another, and pictures to see it."""
    item = results.preprocessing
    if item is None:
        return []
    blocks: list[Block] = []
    if item.summary.registration:
        blocks.append(TableBlock("registration", registration_table(item)))
    if any(row.doubt for row in item.registered):
        blocks.append(TableBlock("doubtful-registration", doubtful_table(item)))
    folder = results.folder / "preprocessing"
    shown = [picture for picture in item.pictures if (folder / picture.file).is_file()][:_SHOWN]
    for picture in shown:
        caption = (
            f"Registration of the images of patient {picture.patient} to the {item.reference} one: contour of the "
            f"{'liver' if item.settings.get('registration_region') == 'liver' else 'tumor'}, as drawn on the "
            f"{item.reference} image, and a checkerboard of both images, before and after."
        )
        alt = f"Checkerboards of the phases of patient {picture.patient} before and after registration"
        panel = Panel(partial(_picture, str(folder / picture.file)), alt)
        blocks.append(FigureBlock(f"registration-{file_name(picture.patient)}", caption, (panel,)))
    return blocks


def _picture(path: str) -> Figure:
    from matplotlib.image import imread

    return draw_picture(imread(path))


def _preprocessing_text(item: Preprocessing) -> str:
    spread = item.summary.bias_spread
    texts = []
    if spread:
        shown = ", ".join(f"{name} {100 * value:.0f}%" for name, value in spread.items())
        texts.append(
            f"The bias field that N4 took out varied by (standard deviation, median of the patients): {shown}."
        )
    kept = sum(entry.n_kept for entry in item.summary.registration.values())
    done = sum(entry.n for entry in item.summary.registration.values())
    doubtful = sum(entry.n_doubtful for entry in item.summary.registration.values())
    if item.summary.registration:
        texts.append(
            f"The other images were registered to the {item.reference} one ({{registration}}). "
            + (
                "Registration raised the mutual information in every patient."
                if not kept
                else f"In {kept} of {done} registrations it did not, and the position by the headers was kept."
            )
            + (f" {doubtful} were taken and are doubtful ({{doubtful-registration}})." if doubtful else "")
        )
    return " ".join(texts) or "The intensities were brought to one scale."


def registration_table(item: Preprocessing) -> Table:
    """Mutual information before and after, and displacements."""
    rows = [
        (
            name,
            number(entry.mutual_information_before, 3),
            number(entry.mutual_information_after, 3),
            number(entry.displacement_mm, 1),
            number(entry.largest_displacement_mm, 1),
            f"{entry.n_kept} of {entry.n}",
            str(entry.n_doubtful),
            ", ".join(f"{step} {count}" for step, count in entry.used.items()) or MISSING,
        )
        for name, entry in item.summary.registration.items()
    ]
    columns = [
        "Image",
        "NMI before",
        "NMI after",
        "Moved by (mm)",
        "At most (mm)",
        "Not better",
        "Doubtful",
        "Steps taken",
    ]
    where = (
        f"the liver and {item.settings.get('registration_margin_mm', 0):g} mm around it"
        if item.settings.get("registration_region") == "liver"
        else "the body"
    )
    notes = [
        f"NMI, normalized mutual information in {where} (1: independent, 2: one image tells the other), and the "
        "distance that its farthest point was moved by: medians over the patients. Not better: the headers' position "
        "was kept. Doubtful: taken, and to be looked at. Steps taken: the last step that raised NMI, in how many "
        "patients. Every patient has a row in preprocessing/registration.csv."
    ]
    return make_table(f"Registration to the {item.reference} image", columns, rows, notes)


def doubtful_table(item: Preprocessing) -> Table:
    """Registrations that a person should look at, and why."""
    rows = [
        (row.patient, row.sequence, row.used, number(row.shift_mm, 1), number(row.displacement_mm, 1), row.doubt)
        for row in item.registered
        if row.doubt
    ]
    columns = ["Patient", "Image", "Step taken", "Moved by (mm)", "At most (mm)", "Doubt"]
    notes = ["Moved by: mean and largest distance of the region's points. Each has a check picture."]
    return make_table("Registrations to look at", columns, rows, notes)


def build_fusion(results: Results) -> list[Block]:
    """Who competed, who was chosen and how the choice was made."""
    item = results.fusion
    if item is None:
        raise Omit("no classifiers or networks competed")
    return [Paragraph(_text(results, item)), TableBlock("competitors", competitors_table(results, item))]


def build_supplement(results: Results) -> list[Block]:
    """The competitors drawn, training of the networks, what each model joins."""
    item = results.fusion
    if item is None:
        return []
    blocks: list[Block] = [_competitors_figure(results, item)]
    if item.networks:
        blocks.append(TableBlock("networks", networks_table(item)))
    joined = results.models.joined if results.models is not None else {}
    fitted = [(name, joined[name]) for name in model_names(results) if name in joined and joined[name].terms]
    if fitted:
        blocks.append(TableBlock("joined", models_table(results, dict(fitted), "What each model joins")))
    curves = _training_figure(item)
    return [*blocks, *([curves] if curves is not None else [])]


def _text(results: Results, item: FusionResult) -> str:
    winners = [
        f"{c.name} ({c.score}, in {c.times_chosen} of {item.folds} outer folds)" for c in item.competitors if c.chosen
    ]
    word = measure(results)
    if item.competition == "averaged":
        text = (
            f"{len(item.competitors)} classifiers and networks made the scores ({{competitors}}): the mean of the "
            "classifiers, each on the scale that its scores of patients left out deserve, and of the networks the "
            f"first within one standard error of the largest {word} in the inner folds. In the final models: "
            f"{listing([f'{c.name} ({c.score})' for c in item.competitors if c.chosen])}."
        )
        return text + "".join(f" {note}." for note in item.notes.values())
    text = (
        f"{len(item.competitors)} classifiers and networks competed ({{competitors}}). Within each outer fold the "
        f"{word} in the inner folds alone decided which one makes a score, so the outer fold's patients had no say. "
        f"The best of several looks better than it is; the {word} of the choice itself says by how much. "
        f"In the final models: {listing(winners)}."
    )
    return text + "".join(f" {note}." for note in item.notes.values())


def competitors_table(results: Results, item: FusionResult) -> Table:
    """Cross-validated and frozen AUC of every competitor, and of the choice among them."""
    sets = list(dict.fromkeys(name for c in item.competitors for name in c.sets))

    def other(found: dict[str, float]) -> list[str]:
        return [number(found[name], 3) if name in found else MISSING for name in sets]

    rows: list[Row] = []
    for score in dict.fromkeys(c.score for c in item.competitors):
        rows.append(Row((score,), "group"))
        for c in (c for c in item.competitors if c.score == score):
            name = f"{c.name}{' *' if c.chosen else ''}"
            rows.append(Row((name, f"{c.times_chosen}/{item.folds}", estimate(c.nested), *other(c.sets)), "indent"))
        for choice in (choice for choice in item.choices if choice.score == score):
            made = "As averaged in each fold" if item.competition == "averaged" else "As chosen in each fold"
            rows.append(Row((made, "", estimate(choice.nested), *other(choice.sets)), "indent"))
    columns = [
        "Competitor",
        "Chosen",
        f"Cross-validated {measure(results)} ({confidence(results)})",
        *(set_label(results, s) for s in sets),
    ]
    notes = [
        "* in the final models. Chosen: outer folds in which the inner result chose it. Cross-validated: mean of "
        "the outer folds (limits by Nadeau and Bengio's variance); of the best of several it flatters, that of the "
        f"choice does not. Other columns: {measure(results)} of the frozen score.",
    ]
    return make_table("Classifiers and networks", columns, rows, notes)


def _competitors_figure(results: Results, item: FusionResult) -> FigureBlock:
    def row(c: Competitor) -> ScoreRow:
        return ScoreRow(f"{c.name}, {c.score}", c.nested.value, c.nested.low, c.nested.high, c.chosen)

    groups = {"Cross-validation": [row(c) for c in item.competitors]}
    for name in dict.fromkeys(name for c in item.competitors for name in c.sets):
        groups[set_label(results, name)] = [
            ScoreRow(f"{c.name}, {c.score}", c.sets.get(name, float("nan")), marked=c.chosen) for c in item.competitors
        ]
    alt = "; ".join(f"{c.name} ({c.score}) {number(c.nested.value, 3)}" for c in item.competitors)
    word = measure(results)
    caption = f"{word} of all competitors; those in the final models in color, chosen without a look at these numbers."
    panel = Panel(partial(draw_scores, groups, x_label=f"{word} ({confidence(results)})"), alt)
    return FigureBlock("competitors-figure", caption, (panel,))


def networks_table(item: FusionResult) -> Table:
    """Size and training of every network."""
    rows = []
    for n in item.networks:
        epochs = f"{min(n.epochs)}\N{EN DASH}{max(n.epochs)}" if min(n.epochs) != max(n.epochs) else str(n.epochs[0])
        rows.append((n.name, f"{n.parameters:,}", str(n.trainings), epochs, number(n.seconds / n.trainings, 1)))
    columns = ["Network", "Weights", "Trainings", "Epochs", "Seconds a training"]
    return make_table("Networks", columns, rows, ["Epochs: until the inner loss no longer fell, at most as asked for."])


def _training_figure(item: FusionResult) -> FigureBlock | None:
    curves = {n.name: n.curves for n in item.networks if n.curves}
    if not curves:
        return None
    present = {key for trainings in curves.values() for training in trainings for key in training}
    names = {key: text for key, text in _LOSSES.items() if key in present} or {key: key for key in sorted(present)}
    alt = f"Loss by epoch of {listing(list(curves))}"
    panel = Panel(partial(draw_training, curves, names=names), alt)
    caption = "Training of the networks: one line a training (a pair of folds left out)."
    return FigureBlock("training-curves", caption, (panel,))
