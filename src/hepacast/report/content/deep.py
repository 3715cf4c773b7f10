"""Deep networks: what was trained, how it went, masks, controls, maps; survival adjusted for clinical factors."""

from __future__ import annotations

from functools import partial
from statistics import fmean, stdev

import numpy as np

from hepacast.core.formatting import MISSING, capital, number, p_value, plural, with_interval
from hepacast.core.tables import Row, Table, make_table
from hepacast.deep.results import DeepResults, ExplainedPatient
from hepacast.figures.deep import MapRow, draw_maps, draw_training
from hepacast.report.content.common import (
    Omit,
    confidence,
    estimate,
    event_names,
    has_time,
    is_finite,
    measure,
    set_label,
)
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

_SETS = ("training", "validation", "external")


def build(results: Results) -> list[Block]:
    """What the networks are, how well they outline, what they read."""
    item = results.deep
    if item is None:
        raise Omit("the study has no networks")
    blocks: list[Block] = [Paragraph(_text(item))]
    if item.dice:
        blocks.append(TableBlock("deep-dice", _dice_table(results, item)))
    if item.controls:
        blocks.append(Paragraph(_control_text(results, item)))
    if item.explained:
        blocks.append(_maps_figure(item, results))
    if item.permutation is not None:
        blocks.append(_permutation(results, item))
    if item.adjusted:
        blocks.append(TableBlock("deep-adjusted", _adjusted_table(results, item)))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """The networks as trained, their training, the altered images."""
    item = results.deep
    if item is None:
        return []
    blocks: list[Block] = [TableBlock("networks", _network_table(item))]
    if _was_trained(item):
        blocks.append(_training_figure(item))
    if item.controls:
        blocks.append(TableBlock("deep-controls", _control_table(results, item)))
    return blocks


def _text(item: DeepResults) -> str:
    size = " x ".join(str(side) for side in reversed(item.crop.get("size", [])))
    where = item.crop.get("voi", "the VOI")
    return (
        f"{capital(plural(len(item.networks), 'network'))} ({', '.join(item.networks)}) saw crops of {size} voxels "
        f"around {where}. Each of the {item.n_training} training patients is judged by the network of the fold that "
        f"the patient was left out of ({item.folds} folds, the same for all models); patients of other sets by the "
        f"mean of the {item.folds} networks. {{networks}} says what was trained"
        + (", {training-curves} how." if _was_trained(item) else ".")
    )


def _was_trained(item: DeepResults) -> bool:
    """Whether there are curves of a training; a frozen encoder's regression has none."""
    return any(len(run) > 1 for runs in item.histories.values() for run in runs)


def _network_table(item: DeepResults) -> Table:
    rows = []
    for name, facts in item.networks.items():
        pathways = {"multi-task": "prediction, segmentation", "classifier": "prediction", "segmenter": "segmentation"}
        learned = f"{_range(facts.n_labelled)} / {_range(facts.n_masked)}"
        rows.append(
            (
                capital(name),
                pathways.get(facts.kind, facts.kind),
                f"{facts.encoder}, {facts.dimensions}, width {facts.width}, {facts.stages} stages",
                f"{facts.parameters:,}",
                _range(facts.epochs),
                learned if facts.kind == "multi-task" else learned.split(" / ")[0 if facts.kind == "classifier" else 1],
                number(sum(facts.seconds) / 60, 1),
            )
        )
    columns = ["Network", "Pathways", "Encoder", "Parameters", "Epochs", "Patients with label / mask", "Minutes"]
    notes = ["Patients: those of one fold's training; minutes: of all folds together, processor time as it was."]
    return make_table("The networks as trained", columns, rows, notes)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _training_figure(item: DeepResults) -> FigureBlock:
    ends = [
        f"{name} from {fmean(run[0]['loss'] for run in runs):.2f} to {fmean(run[-1]['loss'] for run in runs):.2f}"
        for name, runs in item.histories.items()
    ]
    caption = "Training: mean loss of the training patients by epoch, one line a fold (dashed: patients to stop by)."
    panel = Panel(partial(draw_training, item.histories), f"Loss: {'; '.join(ends)}")
    return FigureBlock("training-curves", caption, (panel,))


def _dice_table(results: Results, item: DeepResults) -> Table:
    rows: list[Row] = []
    for part in _SETS:
        own = [row for row in item.dice if row.set == part]
        if not own:
            continue
        rows.append(Row((f"{set_label(results, part)}",), "group"))
        for model, on_expert in dict.fromkeys((row.model, row.on_expert) for row in own):
            these = [row for row in own if row.model == model and row.on_expert == on_expert]
            values = [row.dice for row in these if is_finite(row.dice)]
            edges = [row.hd95_mm for row in these if is_finite(row.hd95_mm)]
            spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
            shown = f"{100 * fmean(values):.2f}{spread}" if values else MISSING
            name = capital(model) + (", centered on the expert's mask" if on_expert else "")
            rows.append(
                Row((name, str(len(values)), shown, number(fmean(edges), 1) if edges else MISSING, ""), "indent")
            )
        rows += [
            Row(
                (
                    f"{capital(test.first)} minus {test.second}",
                    str(test.n),
                    number(100 * test.difference, 2),
                    "",
                    p_value(test.p),
                ),
                "indent",
            )
            for test in item.dice_tests
            if test.set == part
        ]
    notes = [
        f"Dice of the {item.structure} on the crop's grid, mean ± SD over patients; differences by Wilcoxon's "
        "signed-rank test of the same patients. Training patients are segmented by the network that did not see them.",
        *([_centered(item)] if item.centered else []),
        "HD95, 95th percentile of the Hausdorff distance.",
    ]
    return make_table(
        f"{capital(item.structure)} masks of the networks",
        ["Network", "Patients", "Dice (%)", "HD95 (mm)", "P"],
        rows,
        notes,
    )


def _centered(item: DeepResults) -> str:
    """What a Dice within a crop is worth."""
    text = f"Crops are centered on {item.centered}: a Dice within a crop is not that of finding it in a whole image"
    if any(row.on_expert for row in item.dice):
        return (
            f"Crops are centered on {item.centered}; in the rows that say so on the expert's mask, where a Dice leaves "
            "out the misses by where the crop is put and is not that of finding it in a whole image."
        )
    if "segmenter" in item.centered and "expert" not in item.centered:
        return f"{text}, but includes the segmenter's misses by where it puts the crop."
    return f"{text}, and one centered on a predicted mask is lower."


def _control_table(results: Results, item: DeepResults) -> Table:
    word = measure(results)
    test = "" if has_time(results) else " (DeLong)"
    rows = [
        (
            capital(_of(item, row.control)),
            capital(_of(item, row.words)),
            estimate(row.auc),
            p_value(row.p) if is_finite(row.p) else MISSING,
        )
        for row in item.controls
    ]
    notes = [
        f"Out-of-fold scores of the {item.controls[0].n} training patients; P against the images as they are{test}. "
        f"A network that reads the {item.seen}'s pattern loses its {word} where the {item.seen} is shuffled or "
        "removed, and keeps it where only the surroundings are."
    ]
    columns = ["Images", "What is done", f"{word} ({confidence(results)})", "P"]
    return make_table(f"Does the network read the {item.seen}? Altered images", columns, rows, notes)


def _of(item: DeepResults, words: str) -> str:
    """The controls are named for the tumor; here for what the crops are centered on."""
    return words.replace("tumor", item.seen)


def _control_text(results: Results, item: DeepResults) -> str:
    word = measure(results)
    aucs = {row.control: row.auc.value for row in item.controls}
    whole, without = aucs.get("as it is", float("nan")), aucs.get("tumor removed", float("nan"))
    if not is_finite(whole, without):
        return "The controls could not be computed."
    lost = whole - without
    if whole < 0.6:
        return "The network does not tell the groups apart, so the controls say nothing."
    if lost > 0.5 * (whole - 0.5):
        return (
            f"Without the {item.seen} the {word} falls from {whole:.3f} to {without:.3f}: the network reads the "
            f"{item.seen} and not its surroundings."
        )
    return (
        f"Without the {item.seen} the {word} is still {without:.3f} (of {whole:.3f}): much of what the network reads "
        f"is not in the {item.seen}. Look at {{maps}} before using it."
    )


def _maps_figure(item: DeepResults, results: Results) -> FigureBlock:
    positive, negative = event_names(results)
    rows = [_map_row(patient, positive if patient.outcome else negative) for patient in item.explained]
    who = "; ".join(f"({chr(97 + i)}) {row.title}" for i, row in enumerate(rows))
    many = max(patient.n_networks for patient in item.explained)
    whose = (
        f"means of the maps of all {many} networks, as the score is" if many > 1 else "maps of the one network that "
    )
    caption = (
        f"Where the main network looks: the slice with the {item.seen}'s contour (bar: 20 mm), Grad-CAM (what raises "
        "the score, 0 to 1), and occlusion (red: hiding the place lowers the score; blue: raises it), clear where "
        f"they are near 0; {whose}"
        + ("" if many > 1 else "gave the score")
        + ". "
        + (
            "Chosen by a rule: of those with the outcome the highest and of those without the lowest score (surest "
            "right), and the other way round (surest wrong); they do not stand for all patients. "
            if any(patient.why for patient in item.explained)
            else ""
        )
        + f"{who}."
    )
    return FigureBlock("maps", caption, (Panel(partial(draw_maps, rows), f"Maps of {len(rows)} patients: {who}"),))


def _map_row(patient: ExplainedPatient, label: str) -> MapRow:
    x, y = patient.spacing_mm[:2]
    return MapRow(
        title=f"{patient.patient}, {label}, score {patient.score:.2f}" + (f" ({patient.why})" if patient.why else ""),
        image=np.array(patient.image),
        mask=np.array(patient.mask),
        grad_cam=np.array(patient.grad_cam),
        occlusion=np.array(patient.occlusion),
        aspect=y / x,
        pixel_mm=x,
    )


def _permutation(results: Results, item: DeepResults) -> Block:
    found = item.permutation
    assert found is not None
    error = found.standard_error / np.sqrt(len(found.aucs))
    inside = abs(found.mean - 0.5) <= 2 * error
    article = "a C" if has_time(results) else "an AUC"
    verdict = "as it must be" if inside else "which it must not be: look for leakage"
    text = (
        f"Trained on permuted outcomes the {found.model} reaches {article} of {found.mean:.3f} in patients left out "
        f"(mean of {plural(len(found.aucs), 'round')}; 0.500 is expected, standard error {error:.3f}), {verdict}."
    )
    return Callout("note" if inside else "warning", "Permuted outcomes", text)


def _adjusted_table(results: Results, item: DeepResults) -> Table:
    rows: list[Row] = []
    for part in dict.fromkeys(row.set for row in item.adjusted):
        own = [row for row in item.adjusted if row.set == part]
        rows.append(Row((f"{set_label(results, part)} ({own[0].n} patients, {own[0].events} events)",), "group"))
        rows += [
            Row((row.label, with_interval(row.hazard_ratio, row.low, row.high, 2), p_value(row.p)), "indent")
            for row in own
        ]
    notes = ["Cox model (Efron's ties) of the risk group and the clinical factors together."]
    title = "Survival by the main network's risk group, adjusted for clinical factors"
    return make_table(title, ["Variable", f"Hazard ratio ({confidence(results)})", "P"], rows, notes)
