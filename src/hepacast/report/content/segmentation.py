"""Segmentation: where masks come from, Table 1, the network as configured."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hepacast.cohort.findings import name_patients
from hepacast.core.formatting import capital, listing, number, plural
from hepacast.core.tables import Row, Table, make_table
from hepacast.figures.images import Picture, draw_segmentation_examples
from hepacast.figures.network import draw_network
from hepacast.report.content import plausibility
from hepacast.report.content.common import Omit
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results
from hepacast.segmentation.results import CaseMetrics, Network, Overlay, Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pictures of masks that are shown.
_SHOWN = 4
_METRICS = (
    ("Dice (%)", "dice", 100.0),
    ("Jaccard (%)", "jaccard", 100.0),
    ("Precision (%)", "precision", 100.0),
    ("Recall (%)", "recall", 100.0),
    ("HD95 (mm)", "hd95_mm", 1.0),
    ("ASSD (mm)", "assd_mm", 1.0),
    ("Volume difference (%)", "volume_difference_pct", 1.0),
)


def build(results: Results) -> list[Block]:
    """Text, Table 1 and Figure 2."""
    item = results.segmentation
    if item is None:
        raise Omit("the features came as a table, so no image was segmented")
    blocks: list[Block] = [Paragraph(_text(item))]
    blocks += plausibility.doubts(results)
    own = [row for row in item.metrics if row.set != "readers"]
    if own:
        blocks.append(TableBlock("segmentation", metrics_table(own)))
    elif item.source != "given":
        blocks.append(Paragraph("No patient has a reference mask to compare with, so there is no table of metrics."))
    if item.network is not None:
        blocks.append(_network_figure(item.network))
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """Masks to look at, masks on images, volumes; agreement of two readers, where a second one drew masks."""
    item = results.segmentation
    blocks: list[Block] = []
    if item is not None and any(case.reason for case in item.status):
        blocks.append(Paragraph(_status(item)))
    blocks += plausibility.doubts_by_patient(results)
    overlays = _overlays(results)
    blocks += [overlays] if overlays is not None else []
    blocks += plausibility.build_supplement(results)
    readers = [row for row in item.metrics if row.set == "readers"] if item is not None else []
    if readers:
        table = metrics_table(readers, title="Agreement of two readers' masks")
        blocks.append(TableBlock("readers", table))
    return blocks


def _text(item: Segmentation) -> str:
    text = item.description.strip() or f"Masks: {item.source}."
    if item.masks:
        sources: dict[str, int] = defaultdict(int)
        for source in item.masks.values():
            sources[source] += 1
        used = listing(
            [f"{source} ({n})" for source, n in sorted(sources.items(), key=lambda pair: (-pair[1], pair[0]))]
        )
        text += f" Masks that features were computed from: {used}."
    return text


def _status(item: Segmentation) -> str:
    """What is wrong or remarkable about masks, with the patients; who cannot be measured comes first."""
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for case in item.status:
        if case.reason:
            found[case.status != "failed", case.reason].append(case.patient)
    sentences = []
    for fine, heads in ((False, "Masks that cannot be measured"), (True, "Masks to look at")):
        reasons = {reason: patients for (kind, reason), patients in found.items() if kind == fine}
        if reasons:
            told = "; ".join(f"{reason} ({name_patients(patients)})" for reason, patients in reasons.items())
            sentences.append(f"{heads} ({sum(map(len, reasons.values()))}): {told}.")
    return " ".join(sentences)


def metrics_table(rows: list[CaseMetrics], title: str = "Automatic segmentation, mean over patients") -> Table:
    """Metrics by structure, one column a fold or set, then the mean of the columns (as papers print it)."""
    from hepacast.segmentation.evaluation import summary_table

    means = summary_table([asdict(row) for row in rows], [attribute for _, attribute, _ in _METRICS])
    names = [str(name) for name in means.columns if name != "mean"]
    structures = list(dict.fromkeys(row.structure for row in rows))
    body: list[Row] = []
    for label, attribute, scale in _METRICS:
        block = means.loc[attribute]
        if bool(block.isna().to_numpy().all()):
            continue
        for place, structure in enumerate(structures):
            shown = [*names, *(["mean"] if len(names) > 1 else [])]
            cells = [number(float(block[name].loc[structure]) * scale, 2) for name in shown]
            body.append(Row((label if place == 0 else "", capital(structure), *cells)))
    patients = {name: len({row.patient for row in rows if row.set == name}) for name in names}
    heads = [f"{capital(name)} (n\u00a0=\u00a0{patients[name]})" for name in names]
    notes = [
        "HD95, 95th percentile of the Hausdorff distance; ASSD, average symmetric surface distance.",
        "Mean: of the columns, as published tables give it. A fold's patients were not in the training of its network."
        if len(names) > 1
        else "",
    ]
    undefined = sum(row.status != "ok" for row in rows)
    if undefined:
        notes.append(
            f"{plural(undefined, 'comparison')} with an empty mask on one or both sides; undefined values are not in "
            "the means."
        )
    columns = ["Metric", "Structure", *heads, *(["Mean"] if len(names) > 1 else [])]
    return make_table(title, columns, body, notes)


def _network_figure(network: Network) -> FigureBlock:
    channels = "-".join(str(value) for value in network.features_per_stage)
    return FigureBlock(
        "network",
        f"The network as configured ({network.name}): numbers in the boxes are channels, those below are the size of "
        "the feature maps in voxels.",
        (
            Panel(
                lambda: draw_network(
                    network.features_per_stage,
                    network.strides,
                    network.kernels,
                    network.patch_size,
                    network.classes,
                    blocks_per_stage=network.blocks_per_stage,
                    spacing_mm=network.spacing_mm,
                    input_channels=network.input_channels,
                ),
                f"U-shaped network with {len(network.features_per_stage)} stages of {channels} channels and skip "
                f"connections, classes {', '.join(network.classes)}",
            ),
        ),
    )


def _overlays(results: Results) -> FigureBlock | None:
    item = results.segmentation
    if item is None:
        return None
    folder = results.folder / "segmentation"
    shown = [overlay for overlay in item.overlays if (folder / overlay.file).is_file()][:_SHOWN]
    if not shown:
        return None
    texts = [(overlay.caption or overlay.patient).rstrip(". ") for overlay in shown]
    captions = "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))
    caption = f"Examples of segmentation: {captions}."
    panel = Panel(lambda: _draw_overlays(folder, shown), f"Masks drawn on images: {captions}")
    return FigureBlock("overlays", caption, (panel,))


def _draw_overlays(folder: Path, overlays: list[Overlay]) -> Figure:
    from matplotlib.image import imread

    pictures = [Picture(imread(str(folder / overlay.file)), overlay.patient) for overlay in overlays]
    # Pictures that are themselves a row of views need the whole width.
    wide = any(item.pixels.shape[1] > 1.7 * item.pixels.shape[0] for item in pictures)
    return draw_segmentation_examples(pictures, columns=1 if wide or len(pictures) < 2 else 2)
