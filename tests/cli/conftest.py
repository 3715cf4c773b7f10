"""A small study as a user would make it, and the command line as a user would call it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core.files import read_json, write_json
from hepacast.core.stages import MARK
from hepacast.imaging.io import write_volume
from hepacast.imaging.volume import Geometry, Volume
from hepacast.phantom.cohort import make_cohort
from hepacast.study.demos.ptlf import DEMO
from hepacast.study.demos.running import with_changes
from hepacast.study.template import render_study


@dataclass(frozen=True)
class Answer:
    """What the program said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def program() -> Callable[..., Answer]:
    """`program("run", study)`: the program as a process of its own."""

    def call(*words: Any, cwd: Path | None = None, env: dict[str, str] | None = None) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "hepacast.cli.main", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


def sphere(geometry: Geometry, center: tuple[float, float, float], radius: float) -> np.ndarray:
    """Voxels within `radius` mm of a point given in mm from the first voxel."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.size[::-1]), indexing="ij")
    x, y, z = (axis * step for axis, step in zip((i, j, k), geometry.spacing, strict=True))
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2 <= radius**2


GRID = Geometry((24, 22, 10), (3.0, 3.0, 5.0), (-36.0, -33.0, -25.0))


@dataclass
class SmallStudy:
    """A study of 40 patients in two centers with images of a few thousand voxels, ready to be spoilt."""

    folder: Path
    table: pd.DataFrame
    values: dict[str, Any]
    text: str | None = field(default=None)

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "results"

    def image(self, patient: str) -> Path:
        """A patient's image."""
        return self.folder / "images" / f"{patient}.nii.gz"

    def mask(self, patient: str) -> Path:
        """A patient's mask."""
        return self.folder / "masks" / f"{patient}.nii.gz"

    def labels(self, patient: str) -> np.ndarray:
        """The label map as it was made: liver parenchyma 1, tumor 2; a little different in every patient."""
        number = int(patient[1:])
        liver = sphere(GRID, (36.0, 33.0, 22.0), 18.0 + number % 5)
        tumor = sphere(GRID, (33.0 + number % 4, 30.0, 22.0), 7.0)
        labels = np.where(tumor, 2, np.where(liver, 1, 0)).astype(np.uint8)
        # No two patients have the same mask.
        labels.flat[np.flatnonzero(labels == 1)[number]] = 0
        return labels

    def write(self) -> Path:
        """Write table and study file; returns the folder."""
        self.table.to_csv(self.folder / "clinical.csv", index=False)
        text = self.text if self.text is not None else yaml.safe_dump(self.values, sort_keys=False)
        (self.folder / "study.yaml").write_text(text, encoding="utf-8")
        return self.folder

    def write_images(self) -> None:
        """Write images and masks of everybody."""
        for patient in self.table["patient"]:
            noise = np.random.default_rng(int(patient[1:])).normal(0, 12, GRID.size[::-1])
            labels = self.labels(patient)
            content = (-80 + 150 * (labels > 0) - 30 * (labels == 2) + noise).round().astype(np.int16)
            write_volume(Volume(content, GRID), self.image(patient))
            write_volume(Volume(labels, GRID), self.mask(patient))

    def left_clean(self) -> None:
        """Nothing half-written: no scratch, every stage whole, no model and no report."""
        if not self.out.exists():
            return
        names = [item.relative_to(self.out).as_posix() for item in self.out.rglob("*")]
        assert not [name for name in names if ".tmp-" in name or ".partial" in name or ".old" in name], names
        for item in self.out.rglob("*.json"):
            read_json(item)
        for stage in self.out.iterdir():
            if stage.is_dir() and not stage.name.startswith("."):
                assert (stage / MARK).is_file(), f"{stage.name} is not whole"
        assert not (self.out / "model.hepacast").exists()
        assert not (self.out / "report").exists()


@pytest.fixture
def small(tmp_path) -> SmallStudy:
    """A study that is right in every respect."""
    generator = np.random.default_rng(11)
    n = 40
    inr = generator.normal(1.15, 0.12, n).round(2)
    event = generator.random(n) < 1 / (1 + np.exp(-(inr - 1.15) / 0.08))
    table = pd.DataFrame(
        {
            "patient": [f"S{number:02d}" for number in range(1, n + 1)],
            "center": [1] * 28 + [2] * 12,
            "ALB (g/L)": generator.normal(38, 4, n).round(1),
            "INR": inr,
            "PTLF": np.where(event, "yes", "no"),
        }
    )
    values = {
        "name": "Small",
        "seed": 5,
        "cohort": {
            "table": "clinical.csv",
            "id": "patient",
            "center": "center",
            "columns": {
                "alb": {"column": "ALB (g/L)", "unit": "g/L", "quantity": "albumin", "label": "Albumin"},
                "inr": {"column": "INR", "quantity": "inr"},
            },
            "split": {"by": "column", "column": "center", "training": [1], "validation": [2]},
        },
        "outcome": {"column": "PTLF", "positive": ["yes"], "negative": ["no"], "name": "PTLF"},
        "images": {
            "sequences": {"portal": {"path": "images/{patient}.nii.gz"}},
            "segmentation": {"source": "given", "masks": "masks/{patient}.nii.gz"},
        },
        "features": {"settings": "features.yaml"},
        "modelling": {"candidates": ["alb", "inr"], "validation": {"folds": 3, "repeats": 1, "bootstrap": 0}},
    }
    (tmp_path / "study").mkdir()
    study = SmallStudy(tmp_path / "study", table, values)
    (study.folder / "features.yaml").write_text(
        yaml.safe_dump({"imageType": {"Original": {}}, "featureClass": {"firstorder": []}, "setting": {"binWidth": 25}})
    )
    study.write()
    study.write_images()
    return study


# -- a virtual cohort, run once ------------------------------------------------------------------------------------

#: What the small virtual study changes in the demo, so that it takes seconds: the published models alone.
FAST = {
    "biomarkers": None,
    "modelling.models": ["clinical", "radiomics", "combined"],
    "modelling.combination": "regression",
    "features.settings": "fast.yaml",
    "features.min_icc": 0.5,
    "modelling.candidates": ["sex", "inr", "alb"],
    "modelling.alpha": 0.3,
    "modelling.validation": {"folds": 3, "repeats": 1, "bootstrap": 3},
    "evaluation": {"bootstrap": 20},
    "report.formats": ["html"],
}


def write_virtual(
    folder: Path, cohort: Path, *, effect: str = "planted", changes: dict[str, Any] | None = None, order: Any = None
) -> Path:
    """Write a study of a virtual cohort that lies elsewhere; `order` shuffles the rows of the table."""
    folder.mkdir(parents=True)
    table = pd.read_csv(cohort / "clinical.csv", dtype=str, keep_default_na=False)
    (table if order is None else table.iloc[order]).to_csv(folder / "clinical.csv", index=False)
    write_json(folder / "planted.json", DEMO.planted_truth(read_json(cohort / "truth.json")))
    settings = {
        "imageType": {"Original": {}},
        "featureClass": {"firstorder": [], "glcm": ["Idn", "Contrast", "JointEntropy", "Correlation"]},
        "setting": {"binWidth": 25},
    }
    (folder / "fast.yaml").write_text(yaml.safe_dump(settings))
    paths = {
        "images.sequences": {"portal": {"path": f"{cohort}/images/{{patient}}.nii.gz"}},
        "images.segmentation.masks": f"{cohort}/truth_masks/{{patient}}.nii.gz",
        "images.segmentation.second_reader": f"{cohort}/second_reader/{{patient}}.nii.gz",
    }
    study = DEMO.study(DEMO.choose({}, effect, 7, "given"))
    with_changes(study, {**FAST, **paths, **(changes or {})})
    (folder / "study.yaml").write_text(render_study(study), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def virtual_cohort(tmp_path_factory) -> Path:
    """44 + 24 virtual patients with coarse images and true masks."""
    folder = tmp_path_factory.mktemp("virtual") / "cohort"
    make_cohort(folder, 44, 24, seed=21, n_masks=6, n_second_reader=6, truth_masks=True, size="tiny", workers=2)
    return folder


@dataclass(frozen=True)
class Finished:
    """A study that was run once."""

    folder: Path
    out: Path
    cohort: Path
    answer: Answer

    @property
    def bundle(self) -> Path:
        """The model."""
        return self.out / "model.hepacast"

    def labs(self, patient: str) -> list[str]:
        """The patient's clinical values as the table has them, for `hepacast predict`."""
        row = pd.read_csv(self.cohort / "clinical.csv", dtype=str).set_index("patient").loc[patient]
        return [f"inr={row['INR']}", f"alb={row['ALB (g/L)']}"]

    def image(self, patient: str) -> list[str]:
        """Image and mask of a patient, for `hepacast predict`."""
        return [
            "--image",
            str(self.cohort / "images" / f"{patient}.nii.gz"),
            "--mask",
            str(self.cohort / "truth_masks" / f"{patient}.nii.gz"),
        ]


@pytest.fixture(scope="session")
def finished(virtual_cohort, tmp_path_factory, program) -> Finished:
    """The small virtual study, run once by the program itself with two processes."""
    folder = write_virtual(tmp_path_factory.mktemp("finished") / "study", virtual_cohort)
    answer = program("run", folder, "--workers", "2")
    assert answer.code == 0, answer.err
    return Finished(folder, folder / "results", virtual_cohort, answer)


@pytest.fixture
def write_study(tmp_path, virtual_cohort) -> Callable[..., Path]:
    """`write_study(order=...)`: another study file of the same virtual cohort."""

    def write(**named: Any) -> Path:
        return write_virtual(tmp_path / "another", virtual_cohort, **named)

    return write
