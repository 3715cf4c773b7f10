from __future__ import annotations

import numpy as np

from hepacast.figures.deep import MapRow, draw_maps, draw_training


def _run(keys: tuple[str, ...]) -> list[dict[str, float]]:
    return [{"epoch": epoch, "loss": 1.0 / epoch, **dict.fromkeys(keys, 1.0 / epoch)} for epoch in range(1, 6)]


def test_training_has_a_panel_a_task_and_a_line_a_fold() -> None:
    histories = {
        "single-task network": [_run(("outcome_loss",))] * 2,
        "multi-task network": [_run(("outcome_loss", "mask_loss", "inner_outcome_loss", "inner_mask_loss"))] * 2,
    }
    figure = draw_training(histories)
    outcome, mask = figure.axes
    assert len(outcome.lines) == 2 + 4
    assert len(mask.lines) == 4
    assert len(draw_training({"classifier": [_run(("outcome_loss",))]}).axes) == 1


def test_maps_have_three_pictures_a_patient() -> None:
    generator = np.random.default_rng(1)
    image, mask = generator.random((8, 9)), np.zeros((8, 9), dtype=int)
    mask[2:5, 3:6] = 1
    empty = np.zeros_like(mask)
    rows = [
        MapRow("P1", image, mask, image, image - 0.5, aspect=1.4, pixel_mm=5.0),
        MapRow("P2", image, empty, np.zeros_like(image), np.zeros_like(image)),
        MapRow("P3", image, mask, image, -image, pixel_mm=1.0),
    ]
    figure = draw_maps(rows)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 9
    assert [axes.get_title() for axes in pictures[:3]] == ["Slice", "Grad-CAM", "Occlusion"]
    said = [block.get_suptitle() for part in figure.subfigs for block in part.subfigs]
    assert [text for text in said if text] == ["(a) P1", "(b) P2", "(c) P3"]
    # A bar of 20 mm where the pixel is known and the bar fits: four pixels in the first, more than the third is wide.
    assert [len(pictures[place].lines) for place in (0, 3, 6)] == [2, 0, 0]
    assert np.ptp(pictures[0].lines[0].get_xdata()) == 4.0
    # A map is seen where it says something.
    shown = pictures[1].images[1]
    assert shown.get_alpha().min() < 0.1 and shown.get_alpha().max() == 0.8
