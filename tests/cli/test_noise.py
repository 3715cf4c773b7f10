"""`hepacast noise`: 0.50 where there is nothing to find, resumable, with and without images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hepacast.core.files import read_json, write_json
from hepacast.core.kept import seal
from hepacast.errors import HepacastError
from hepacast.study.noise import run_noise


def test_permuted_outcome_resumes_and_adds_rounds(hepacast, small):
    small.values["modelling"]["models"] = ["clinical"]
    small.write()
    answer = hepacast("noise", small.folder, "--permutations", "6", "--workers", "1", "--control", "outcome")
    assert answer.code in (0, 1), answer.err
    assert "Permutation P" in answer.out
    found = read_json(small.out / "noise" / "noise.json")
    (control,) = found["controls"]
    clinical = control["models"]["clinical"]
    assert control["rounds"] == 6 and len(clinical["null"]) == 6
    assert clinical["p"] == (1 + sum(v >= clinical["observed"] - 1e-12 for v in clinical["null"])) / 7
    assert clinical["mean"] == pytest.approx(np.mean(clinical["null"]))
    assert (small.out / "noise" / "permuted-outcome.png").stat().st_size > 5000

    kept = sorted((small.out / ".cache" / "noise").rglob("*.json"))
    assert len(kept) == 7
    before = {path: path.stat().st_mtime_ns for path in kept}
    kept[0].unlink()
    again = hepacast(
        "noise", small.folder, "--permutations", "8", "--workers", "1", "--control", "outcome", "--json"
    )  # fmt: skip
    values = json.loads(again.out)["controls"][0]["models"]["clinical"]
    assert values["null"][:6] == clinical["null"]
    assert len(values["null"]) == 8
    assert all(path.stat().st_mtime_ns == before[path] for path in kept[1:])


def test_unknown_control_and_missing_images(hepacast, small):
    answer = hepacast("noise", small.folder, "--control", "wishes")
    assert answer.code == 2
    assert "Unknown control" in answer.err and "outcome" in answer.err
    assert not small.out.exists()


@pytest.mark.slow
def test_images_are_altered_and_kept(small):
    small.values["modelling"]["validation"]["folds"] = 2
    small.write()
    said: list[str] = []

    class Reporter:
        def say(self, text: str) -> None:
            said.append(text)

        def track(self, label: str, *, counted: bool = True):
            from hepacast.core.progress import SilentReporter

            said.append(label)
            return SilentReporter().track(label, counted=counted)

    words = ("voxels", "noise-voxels", "region")
    result = run_noise(small.folder, controls=words, repeats=2, workers=2, reporter=Reporter())
    assert [item.control for item in result.images] == ["shuffled voxels", "noise voxels", "random region"]
    for item in result.images:
        assert item.failed_vois == 0
        assert item.altered.n + item.altered.missing == 4
        assert item.status in ("holds", "carries", "below", "unknown")
    # First-order features do not know where a voxel lies: shuffled voxels give the real result.
    assert result.images[0].altered.estimate == pytest.approx(result.images[0].real.estimate)
    frame = result.to_frame()
    assert list(frame["control"]) == [item.control for item in result.images]
    said.clear()
    again = run_noise(small.folder, controls=words, repeats=2, workers=1, reporter=Reporter())
    assert again.to_json() == result.to_json()
    assert sum("kept from an earlier run" in text for text in said) >= 6
    with pytest.raises(HepacastError, match="Unknown control"):
        run_noise(small.folder, controls=["nothing"])


@pytest.mark.slow
def test_the_report_shows_controls_of_the_same_models_only(hepacast, small):
    small.values["modelling"]["models"] = ["clinical"]
    small.values["report"] = {"formats": ["html"]}
    small.write()
    assert hepacast("run", small.folder, "--workers", "1", "--quiet").code == 0
    words = ("--permutations", "4", "--workers", "1", "--control", "outcome", "--quiet")
    assert hepacast("noise", small.folder, *words).code in (0, 1)
    page = small.out / "report" / "supplement.html"
    assert hepacast("report", small.out, "--formats", "html").code == 0
    assert "Negative control" in page.read_text(encoding="utf-8")
    path = small.out / "noise" / "noise.json"
    found = read_json(path)
    write_json(path, found | {"made_from": found["made_from"] | {"models": "of another study file"}})
    seal(path)
    assert hepacast("report", small.out, "--formats", "html").code == 0
    assert "Negative control" not in page.read_text(encoding="utf-8")
