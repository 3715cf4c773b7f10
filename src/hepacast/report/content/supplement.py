"""Supplementary tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hepacast.figures import Picture, draw_segmentation_examples
from hepacast.report.content import further, fusion, honest, models, performance, segmentation
from hepacast.report.content.bedside import build_example
from hepacast.report.content.common import Omit
from hepacast.report.content.patients import build_lost
from hepacast.report.formatting import listing
from hepacast.report.inputs import Overlay, Results
from hepacast.report.model import Block, FigureBlock, Panel, TableBlock
from hepacast.stats.table_one import TableOne, characteristics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 4


def build(results: Results) -> list[Block]:
    """Everything that papers print as supplementary material."""
    blocks: list[Block] = []
    tables = results.comparisons
    if tables is not None and tables.segmentation is not None:
        table = characteristics(tables.segmentation, "Patients who trained and tested the segmentation network")
        blocks.append(TableBlock("segmentation-cohort", table, supplementary=True))
    if tables is not None and tables.by_set is not None:
        table = characteristics(tables.by_set, _sets_title(tables.by_set), smd=True)
        blocks.append(TableBlock("sets", table, supplementary=True))
    blocks += build_lost(results)
    overlays = _overlays(results)
    if overlays is not None:
        blocks.append(overlays)
    blocks += build_example(results)
    blocks += segmentation.build_supplement(results)
    blocks += models.build_supplement(results)
    blocks += fusion.build_supplement(results)
    if results.evaluation is not None and results.evaluation.sets:
        blocks += performance.build_supplement(results)
    blocks += honest.build_supplement(results)
    blocks += further.build_supplement(results)
    if not blocks:
        raise Omit("there is no supplementary material")
    return blocks


def _sets_title(comparison: TableOne) -> str:
    others = [f"{name} set" for name in comparison.groups if name != "training"]
    return f"Training set against {listing(others)}"


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
    return FigureBlock("overlays", caption, (panel,), supplementary=True)


def _draw_overlays(folder: Path, overlays: list[Overlay]) -> Figure:
    from matplotlib.image import imread

    pictures = [Picture(imread(str(folder / overlay.file)), overlay.patient) for overlay in overlays]
    # Pictures that are themselves a row of views need the whole width.
    wide = any(item.pixels.shape[1] > 1.7 * item.pixels.shape[0] for item in pictures)
    return draw_segmentation_examples(pictures, columns=1 if wide or len(pictures) < 2 else 2)
