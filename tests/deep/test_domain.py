from __future__ import annotations

import numpy as np
import pytest

from hepacast.deep import CropSpec
from hepacast.deep.domain import crop_facts, outside, ranges_of

SPEC = CropSpec(voi="tumor", size=(8, 8, 8), channels=["arterial", "T2"], window=(100.0, 400.0))
SEQUENCES = {"arterial": "CT", "T2": "MR"}


def _patient(hu: float) -> tuple[np.ndarray, np.ndarray]:
    voi = np.zeros((4, 4, 4), dtype=bool)
    voi[1:3, 1:3, 1:3] = True
    ct = np.where(voi, (hu - 100.0) / 200.0, -1.0)
    mr = np.arange(64, dtype=float).reshape(4, 4, 4) / 32.0 - 1.0
    return np.stack([ct, mr]).astype(np.float32), voi


def test_facts_are_in_the_units_of_the_image() -> None:
    crop, voi = _patient(60.0)
    facts = crop_facts(crop, voi, (5.0, 5.0, 10.0), SPEC, "tumor", SEQUENCES)
    assert facts["volume of tumor in the crop (ml)"] == pytest.approx(8 * 250 / 1000)
    assert facts["arterial, mean of tumor (HU)"] == pytest.approx(60.0, abs=1e-3)
    assert facts["arterial, SD within tumor (HU)"] == pytest.approx(0.0, abs=1e-3)
    assert facts["arterial, mean around tumor (HU)"] == pytest.approx(-100.0, abs=1e-3)
    assert facts["T2, mean of tumor (of the crop's scale)"] == pytest.approx(float(crop[1][voi].mean()))


def test_windowed_mr_is_not_in_hounsfield_units() -> None:
    crop, voi = _patient(60.0)
    spec = SPEC.model_copy(update={"normalize": {"T2": "window"}})
    facts = crop_facts(crop, voi, (5.0, 5.0, 10.0), spec, "tumor", SEQUENCES)
    mean = 100.0 + 200.0 * float(crop[1][voi].mean())
    assert facts["T2, mean of tumor (of its scale)"] == pytest.approx(mean, abs=1e-3)
    assert not [name for name in facts if name.startswith("T2") and "HU" in name]


def test_an_empty_mask_and_a_missing_sequence_give_no_facts() -> None:
    crop, voi = _patient(60.0)
    assert crop_facts(crop, voi & False, (1.0, 1.0, 1.0), SPEC, "tumor", SEQUENCES) == {}
    crop[1] = 0.0
    assert not [name for name in crop_facts(crop, voi, (1.0, 1.0, 1.0), SPEC, "tumor", SEQUENCES) if "T2" in name]


def test_a_patient_unlike_the_training_is_told() -> None:
    def facts(hu: float) -> dict[str, float]:
        return crop_facts(*_patient(hu), (5.0, 5.0, 10.0), SPEC, "tumor", SEQUENCES)

    seen = ranges_of([*([facts(40.0), facts(90.0)] * 5), {"score": float("nan")}])
    assert "score" not in seen
    assert outside(facts(60.0), seen) == []
    told = outside(facts(140.0) | {"unknown": 5.0}, seen)
    assert told == ["arterial, mean of tumor (HU) 140: outside the training range, 39.5 to 90"]
