from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from hepacast.study import mask_files


def _context(fraction: float, seed: int = 3) -> SimpleNamespace:
    nnunet = SimpleNamespace(test_fraction=fraction)
    images = SimpleNamespace(segmentation=SimpleNamespace(nnunet=nnunet))
    return SimpleNamespace(images=images, study=SimpleNamespace(seed=seed))


@pytest.fixture
def cohort() -> SimpleNamespace:
    names = [f"P{number:02d}" for number in range(30)]
    sets = ["training"] * 20 + ["validation"] * 6 + ["external"] * 4
    return SimpleNamespace(patients=tuple(names), sets=pd.Series(sets, index=names))


def test_the_network_never_trains_on_patients_whom_the_study_validates_on(cohort: SimpleNamespace) -> None:
    labelled = list(cohort.patients)
    held_out = mask_files.test_patients(_context(0.2), cohort, labelled)
    assert set(labelled[20:]) <= set(held_out)
    assert len(held_out) == 10 + 4
    assert mask_files.test_patients(_context(0.0), cohort, labelled) == labelled[20:]


def test_the_order_of_the_patients_does_not_matter_and_the_seed_does(cohort: SimpleNamespace) -> None:
    labelled = list(cohort.patients)[:18]
    drawn = mask_files.test_patients(_context(0.3), cohort, labelled)
    assert drawn == mask_files.test_patients(_context(0.3), cohort, labelled[::-1])
    assert drawn != mask_files.test_patients(_context(0.3, seed=4), cohort, labelled)
