"""A small world of images of `benchmarks/strength.py`: virtual patients to regret, by the study that is proposed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from hepacast.core.files import read_json
from hepacast.imaging.io import read_volume
from hepacast.phantom.tace_ct import TaceImage, make_tace_ct

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def strength():
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("strength", BENCHMARKS / "strength.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


def test_knobs_are_independent_and_belong_to_the_patient(strength):
    people = [strength.virtual_patient(f"T{i:03d}", 4) for i in range(400)]
    causes = np.array([[person.causes[name] for name in (*strength.KNOBS, "ast", "diameter")] for person in people])
    apart = np.corrcoef(causes.T) - np.eye(causes.shape[1])
    assert np.abs(apart).max() < 0.2 and np.abs(causes.mean(axis=0)).max() < 0.2
    assert strength.virtual_patient("T007", 4) == people[7] != strength.virtual_patient("T007", 5)
    assert people[0].spec.tumors[0].lobulation == pytest.approx(0.09 * np.exp(0.55 * people[0].causes["lobulation"]))


@pytest.mark.slow
def test_what_is_planted_is_found_on_another_scanner_and_kept(strength, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(strength._CHANGES, "modelling.chain", "ptlf")  # a tenth of the time of the proposed one
    monkeypatch.setitem(strength.IMAGE_WORLDS, "another scanner", ({"rim": 5.0}, "CT", True))  # told by few patients
    asked = ["images", str(tmp_path), "--worlds", "another scanner", "--seeds", "3", "--n", "30", "--new", "15"]
    options = strength.parser().parse_args(asked)
    strength.run_images(options)
    (cell,) = [read_json(path) for path in (tmp_path / "cells").glob("*.json")]
    assert cell["truth"] > 0.8 and set(cell["regret"]) == {"clinical", "biomarkers", "radiomics", "joint", "told"}
    assert cell["regret"]["biomarkers"] < 0.2 < cell["regret"]["clinical"]
    assert cell["reached"]["biomarkers"] == pytest.approx(cell["truth"] - cell["regret"]["biomarkers"])
    seen, liver = (read_volume(tmp_path / "CT-3" / part / "X001.nii.gz").array for part in ("images", "masks"))
    person = strength.virtual_patient("V001", 3)
    usual = make_tace_ct(TaceImage(person.spec, person.causes["rim"], person.causes["unevenness"])).image.array
    added = np.median((seen - usual.astype(float))[liver == 1])
    assert added == pytest.approx(strength.OTHER_SCANNER.enhancement, abs=2)
    capsys.readouterr()
    strength.run_images(options)
    assert not capsys.readouterr().out  # what is there is not made again
    told = strength.tables(tmp_path / "cells")
    assert "| another scanner |" in told and "joint, AUC below its best part" in told
