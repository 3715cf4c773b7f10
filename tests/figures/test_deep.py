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


def test_maps_have_a_row_a_patient() -> None:
    generator = np.random.default_rng(1)
    image, mask = generator.random((8, 9)), np.zeros((8, 9), dtype=int)
    mask[2:5, 3:6] = 1
    empty = np.zeros_like(mask)
    rows = [
        MapRow("P1", image, mask, image, image - 0.5, aspect=1.4),
        MapRow("P2", image, empty, np.zeros_like(image), np.zeros_like(image)),
    ]
    figure = draw_maps(rows)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 6
    assert [axes.get_title(loc="left") for axes in pictures[:3]] == ["(a) P1", "Grad-CAM", "Occlusion"]
