"""What damaged and changed files do: refused in words, made again, or of no effect; never another number in silence.

    python benchmarks/robustness.py [--seed 0] [--results 300] [--bundles 300] [--damaged 350] [--changed 150]

Four parts, each from its own stream of the seed, all in this process:

- results: a bit is turned in a file of the results folder of a small finished study, then asked of `run` (is what
  holds the file made again, with the same bytes?), `report` (refused, or does it read the same?) and `predict`;
- bundles: a bit is turned in a bundle, then `predict`;
- damaged: tables, images, DICOM files and study files with turned bits, cuts, zeros and inserted bytes are read;
- changed: the same with changes that have a meaning (unit, order, label, header, date, identifier): the answer is the
  one that is known, or the change is refused or told.

The exit status is 1 if there was a traceback or a silent change.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hepacast.bundle import Bundle, predict
from hepacast.core.run_progress import PROGRESS
from hepacast.errors import HepacastError
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.run import plan_study, run_study

PARTS = ("results", "bundles", "damaged", "changed")


@dataclass
class Tally:
    """What became of the trials of one part."""

    part: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def trial(self, what: str) -> Iterator[None]:
        """A refusal is counted; anything else that is raised is a failure."""
        try:
            yield
        except HepacastError:
            self.counts["refused"] += 1
        except AssertionError as error:
            self.counts["SILENT"] += 1
            self.failures.append(f"{self.part}: {what}: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.counts["TRACEBACK"] += 1
            self.failures.append(
                f"{self.part}: {what}: {type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"
            )

    def __str__(self) -> str:
        total = sum(self.counts.values())
        return f"{self.part}: {total} trials: " + ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()))


# -- a small study ----------------------------------------------------------------------------------------------------


def write_study(folder: Path, n: int = 60, seed: int = 3) -> Path:
    """A study of a clinical table and a table of features, with a binary outcome."""
    folder.mkdir(parents=True, exist_ok=True)
    r = np.random.default_rng(seed)
    table = pd.DataFrame({"ID": [f"R{number:03d}" for number in range(n)]})
    table["date"] = pd.date_range("2021-01-05", periods=n, freq="9D").strftime("%Y-%m-%d")
    table["sex"] = r.choice(["male", "female"], n, p=[0.7, 0.3])
    table["ALB (g/L)"] = r.normal(38, 4, n).round(1)
    table["size"] = r.normal(40, 12, n).clip(8).round(1)
    table["relapse"] = r.binomial(1, 1 / (1 + np.exp(-(table["size"] - 40) / 8)))
    table.to_csv(folder / "table.csv", index=False)
    values = pd.DataFrame(r.normal(size=(n, 4)).round(3), columns=[f"tumor_x{j}" for j in range(4)])
    values["tumor_x0"] += table["relapse"]
    values.assign(ID=table["ID"]).to_csv(folder / "features.csv", index=False)
    columns: dict[str, Any] = {
        "date": {"column": "date", "kind": "date"},
        "sex": {"column": "sex", "kind": "binary"},
        "alb": {"column": "ALB", "unit": "g/L", "quantity": "albumin"},
        "size": {"column": "size", "unit": "mm", "quantity": "none"},
        "relapse": {"column": "relapse", "kind": "binary", "after_event": True},
    }
    study = {
        "name": "Robust",
        "seed": 3,
        "cohort": {"table": "table.csv", "id": "ID", "columns": columns,
                   "split": {"by": "random", "validation_fraction": 0.3}},
        "outcome": {"definition": "binary-column", "name": "Relapse", "column": "relapse"},
        "features": {"table": "features.csv", "id": "ID", "vois": {"tumor": "tumor_"}},
        "modelling": {"candidates": ["sex", "alb", "size"], "models": ["clinical", "radiomics", "combined"],
                      "validation": {"folds": 3, "repeats": 1, "bootstrap": 0, "importance": 1}},
        "evaluation": {"bootstrap": 5},
        "report": {"formats": ["html"]},
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return folder


def turn_bit(content: bytes, r: np.random.Generator) -> bytes:
    """One bit turned, anywhere."""
    turned = bytearray(content)
    turned[int(r.integers(len(turned)))] ^= 1 << int(r.integers(8))
    return bytes(turned)


# -- results ----------------------------------------------------------------------------------------------------------

#: Files that no result is read from: a lock, and the report itself, which `run` makes again.
_LABS = {"sex": "male", "alb": "38", "size": "45"}


def _predicted(bundle: Path) -> str:
    opened = Bundle.read(bundle)
    labs = {item.name: _LABS[item.name] for item in opened.columns}
    return predict(opened, labs, dict.fromkeys(opened.feature_names(), 0.3)).text()


def fuzz_results(seed: int, trials: int, scratch: Path, *, run_every: int = 25) -> Tally:
    """Turned bits in all files of a results folder; every `run_every`-th trial runs the study to its end again."""
    from hepacast.report.results import load_results
    from hepacast.study import run as running

    tally, r = Tally("results"), np.random.default_rng([seed, 1])
    study = write_study(scratch / "study")
    run_study(study, workers=1)
    out = study / "results"
    sound = scratch / "sound"
    shutil.copytree(out, sound)
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file() and p.stat().st_size)
    # The report has most files and is read by nobody; two of three bits are turned in what others are made from.
    used = [name for name in files if name.parts[0] != "report"]
    told, risk = repr(load_results(out)), _predicted(out / "model.hepacast")
    for trial in range(trials):
        drawn = used if r.random() < 2 / 3 else files
        name = drawn[int(r.integers(len(drawn)))]
        path = out / name
        path.write_bytes(turn_bit(path.read_bytes(), r))
        what = f"trial {trial}, {name}"
        stage = name.parts[0] if name.parts[0] in [item.name for item in running.STAGES] else ""
        with tally.trial(f"{what}, run"):
            todo = {item.name for item in plan_study(study, workers=1).stages if not item.cached}
            assert not stage or stage in todo, f"{stage} counts as kept"
            tally.counts["made again" if todo else "kept"] += 1
        with tally.trial(f"{what}, report"):
            running._require_sound(out)
            assert repr(load_results(out)) == told, "the report reads another result"
            tally.counts["report reads the same"] += 1
        if name.name == "model.hepacast":
            with tally.trial(f"{what}, predict"):
                assert _predicted(out / "model.hepacast") == risk, "another prediction"
                tally.counts["predicts the same"] += 1
        if trial % run_every == 0:
            with tally.trial(f"{what}, whole run"):
                run_study(study, workers=1)
                _require_same(sound, out, files)
                tally.counts["whole runs with equal results"] += 1
        shutil.rmtree(out)
        shutil.copytree(sound, out)
    return tally


def _require_same(sound: Path, out: Path, files: list[Path]) -> None:
    """All results are as before but for the times of their making."""
    times = ("stage.json", "run.json", "fingerprints.json", PROGRESS)
    for name in files:
        if name.name in times or name.parts[0] in ("report", ".cache"):
            continue
        assert (out / name).read_bytes() == (sound / name).read_bytes(), f"{name} differs after the run"


# -- bundles ----------------------------------------------------------------------------------------------------------


def fuzz_bundles(seed: int, trials: int, scratch: Path) -> Tally:
    """Turned bits in bundles of a formula and of a classifier's arrays."""
    tally, r = Tally("bundles"), np.random.default_rng([seed, 2])
    scratch.mkdir(parents=True, exist_ok=True)
    known = []
    for kind in ("formula", "arrays"):
        path = scratch / f"{kind}.hepacast"
        _bundle(kind).write(path)
        known.append((path.read_bytes(), _values(path)))
    path = scratch / "turned.hepacast"
    for trial in range(trials):
        content, right = known[trial % len(known)]
        path.write_bytes(turn_bit(content, r))
        with tally.trial(f"trial {trial}"):
            assert _values(path) == right, "another prediction"
            tally.counts["predicts the same"] += 1
    return tally


def _values(path: Path) -> str:
    opened = Bundle.read(path)
    return predict(opened, {}, dict.fromkeys(opened.feature_names(), 0.4)).text()


def _bundle(kind: str) -> Bundle:
    from hepacast.modelling.frozen_chain import freeze_study_models
    from hepacast.modelling.grammar import build_radiomics_model
    from hepacast.modelling.study_models import StudyModels

    r = np.random.default_rng(4)
    table = pd.DataFrame(r.normal(size=(70, 8)), columns=[f"tumor:f{j}" for j in range(8)], index=map(str, range(70)))
    y = (table.iloc[:, 0].to_numpy() + 0.8 * r.normal(size=70) > 0).astype(int)
    chain: Any = "ptlf" if kind == "formula" else {"classifier": "random_forest", "n_features": 4}
    fitted = StudyModels(radiomics=build_radiomics_model(chain, seed=1), models=("radiomics",)).fit(table, y)
    frozen = fitted.frozen_ if kind == "formula" else freeze_study_models(fitted, table)
    card = {"name": "Robust", "outcome": {"name": "Relapse"}, "intended_use": "tests"}
    return Bundle(frozen, (), ImageRecipe("table"), None, card)


# -- damaged bytes ----------------------------------------------------------------------------------------------------


def _cut(content: bytes, r: np.random.Generator) -> bytes:
    return content[: int(r.integers(len(content)))]


def _zeros(content: bytes, r: np.random.Generator) -> bytes:
    start, length = int(r.integers(len(content))), int(r.integers(1, 200))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _noise(content: bytes, r: np.random.Generator) -> bytes:
    start, more = int(r.integers(len(content))), r.integers(256, size=int(r.integers(1, 40))).astype(np.uint8).tobytes()
    return content[:start] + more + content[start + int(r.integers(0, 2)) * len(more) :]


def _bits(content: bytes, r: np.random.Generator) -> bytes:
    for _ in range(int(r.integers(1, 6))):
        content = turn_bit(content, r)
    return content


def _head(content: bytes, r: np.random.Generator) -> bytes:
    """A turned bit among the first bytes, where headers are."""
    size = min(len(content), 400)
    return turn_bit(content[:size], r) + content[size:]


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (_cut, _zeros, _noise, _bits, _head, turn_bit)


def fuzz_damaged(seed: int, trials: int, scratch: Path) -> Tally:
    """Damaged tables, images, DICOM files and study files are read or refused."""
    tally, r = Tally("damaged"), np.random.default_rng([seed, 3])
    sources = _readable(scratch)
    for trial in range(trials):
        path, read = sources[trial % len(sources)]
        content = path.read_bytes()
        damage = DAMAGES[int(r.integers(len(DAMAGES)))]
        path.write_bytes(damage(content, r))
        with tally.trial(f"trial {trial}, {path.name}, {damage.__name__.strip('_')}"):
            read()
            tally.counts["read"] += 1
        path.write_bytes(content)
    return tally


def _readable(scratch: Path) -> list[tuple[Path, Callable[[], Any]]]:
    """Files of every kind, each with what reads it."""
    from hepacast.cohort.tables import read_table
    from hepacast.imaging.io import read_mask, read_volume
    from hepacast.radiomics.settings import Settings
    from hepacast.study.load import load_study

    study = write_study(scratch / "files", n=30)
    found: list[tuple[Path, Callable[[], Any]]] = [(study / "study.yaml", lambda: load_study(study))]
    table = pd.read_csv(study / "table.csv")
    for name, write in (("a.csv", table.to_csv), ("a.xlsx", table.to_excel), ("a.parquet", table.to_parquet)):
        path = study / name
        write(path, index=False)
        found.append((path, lambda path=path: read_table(path, id_column="ID")))  # type: ignore[misc]
    settings = study / "few.yaml"
    settings.write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean]}\nsetting: {binWidth: 25}\n")
    found.append((settings, lambda: Settings.load(settings)))
    image, labels = _image()
    for name in ("i.nii", "i.nii.gz", "i.nrrd", "i.mha"):
        path = study / name
        _write_image(image, path)
        found.append((path, lambda path=path: read_volume(path)))  # type: ignore[misc]
    path = study / "m.nii.gz"
    _write_image(labels, path)
    found.append((path, lambda: read_mask(path, {"liver": 1, "tumor": 2})))
    series = _write_dicom(image, study / "series")
    found += [(file, lambda: read_volume(study / "series")) for file in series[:3]]
    return found


_SPACING, _ORIGIN = (3.0, 3.0, 5.0), (-36.0, -33.0, -25.0)


def _image() -> tuple[np.ndarray, np.ndarray]:
    """A liver of 60 HU with a tumor of 35 HU in fat, and its labels."""
    k, j, i = np.ogrid[:12, :40, :44]

    def far(x: float, y: float, z: float) -> Any:
        return np.sqrt((i * 3 - x) ** 2 + (j * 3 - y) ** 2 + (k * 5 - z) ** 2)

    labels = np.where(far(55, 60, 28) <= 12, 2, np.where(far(66, 60, 28) <= 45, 1, 0)).astype(np.uint8)
    noise = np.random.default_rng(1).normal(0, 10, labels.shape)
    return (-90 + 150 * (labels > 0) - 25 * (labels == 2) + noise).round().astype(np.int16), labels


def _write_image(array: np.ndarray, path: Path, spacing: Any = _SPACING, direction: Any = None) -> None:
    import SimpleITK as sitk

    made = sitk.GetImageFromArray(array)
    made.SetSpacing(spacing)
    made.SetOrigin(_ORIGIN)
    if direction is not None:
        made.SetDirection(direction)
    sitk.WriteImage(made, str(path))


def _write_dicom(array: np.ndarray, folder: Path, order: Any = None, **tags: Any) -> list[Path]:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(len(array)) if order is None else order:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.StudyInstanceUID, item.FrameOfReferenceUID = "1.2.3.4", "1.2.3", "1.2.9"
        item.PatientID, item.Modality, item.SeriesNumber, item.InstanceNumber = "anon", "CT", 3, number + 1
        item.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [*_ORIGIN[:2], _ORIGIN[2] + number * _SPACING[2]]
        item.PixelSpacing, item.SliceThickness = [_SPACING[1], _SPACING[0]], _SPACING[2]
        item.Rows, item.Columns = array.shape[1:]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.RescaleSlope, item.RescaleIntercept = 1, 0
        for key, value in tags.items():
            setattr(item, key, value(number) if callable(value) else value)
        item.PixelData = array[number].astype("<i2").tobytes()
        paths.append(folder / f"{len(paths):03d}.dcm")
        item.save_as(paths[-1], enforce_file_format=True)
    return paths


# -- changes with a meaning -------------------------------------------------------------------------------------------


def fuzz_changed(seed: int, trials: int, scratch: Path) -> Tally:
    """Changes whose answer is known, in turn: of tables, of study files, of images and of DICOM series."""
    tally, r = Tally("changed"), np.random.default_rng([seed, 4])
    changes = [*_table_changes(), *_study_changes(), *_image_changes(), *_dicom_changes()]
    for trial in range(trials):
        name, change = changes[trial % len(changes)]
        folder = scratch / f"c{trial}"
        with tally.trial(f"trial {trial}, {name}"):
            tally.counts[change(folder, r)] += 1
        shutil.rmtree(folder, ignore_errors=True)
    return tally


_Change = Callable[[Path, np.random.Generator], str]


def _cohort(folder: Path) -> tuple[pd.DataFrame, set[str]]:
    """The clinical values as the study reads them, and the codes of what is told about them."""
    from hepacast.study.check import check_study
    from hepacast.study.context import make_context
    from hepacast.study.stages.clinical import load_table

    seen = check_study(folder)
    told = {item.code for _, item in seen.findings if item.severity in ("error", "warning")}
    told |= {fact for fact in seen.facts if fact.startswith("left out")}
    return load_table(make_context(folder)).frame, told


def _same_or_told(before: tuple[pd.DataFrame, set[str]], after: tuple[pd.DataFrame, set[str]]) -> str:
    (right, known), (found, told) = before, after
    if told - known:
        return "told"
    assert list(right.index) == list(found.index), "other patients"
    for name in right.columns:
        a, b = right[name], found[name]
        if pd.api.types.is_numeric_dtype(a):
            assert np.allclose(a.astype(float), b.astype(float), rtol=1e-6, equal_nan=True), f"{name} differs"
        else:
            assert list(a.astype(str)) == list(b.astype(str)), f"{name} differs"
    return "known answer"


def _table_changes() -> list[tuple[str, _Change]]:
    def of(edit: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame], write: Any = None) -> _Change:
        def change(folder: Path, r: np.random.Generator) -> str:
            study = write_study(folder, n=40, seed=int(r.integers(1000)))
            before = _cohort(study)
            table = edit(pd.read_csv(study / "table.csv", dtype=str), r)
            (write or _plain_csv)(table, study / "table.csv")
            return _same_or_told(before, _cohort(study))

        return change

    alb = "ALB (g/L)"

    def unit(table: pd.DataFrame, r: np.random.Generator) -> pd.DataFrame:
        table[alb] = [f"{float(value) / 10:.2f}" for value in table[alb]]
        return table.rename(columns={alb: "ALB (g/dL)"})

    def unit_not_said(table: pd.DataFrame, r: np.random.Generator) -> pd.DataFrame:
        return table.assign(**{alb: [f"{float(value) / 10:.2f}" for value in table[alb]]})

    def one(column: str, value: Callable[[pd.DataFrame, int], str]) -> Any:
        def edit(table: pd.DataFrame, r: np.random.Generator) -> pd.DataFrame:
            row = int(r.integers(1, len(table)))
            table.loc[row, column] = value(table, row)
            return table

        return edit

    def spelled(table: pd.DataFrame, r: np.random.Generator) -> pd.DataFrame:
        words = {"male": ["Male", "MALE", "m", "男", " male "], "female": ["Female", "F", "女"]}
        return table.assign(sex=[str(r.choice(words[value])) for value in table["sex"]])

    def commas(table: pd.DataFrame, path: Path) -> None:
        for name in (alb, "size"):
            table[name] = table[name].str.replace(".", ",")
        table.to_csv(path, index=False, sep=";")

    def encoded(name: str) -> Any:
        return lambda table, path: table.to_csv(path, index=False, encoding=name)

    return [
        ("rows in another order", of(lambda t, r: t.sample(frac=1, random_state=int(r.integers(99))))),
        ("columns in another order", of(lambda t, r: t[[str(c) for c in r.permutation(t.columns)]])),
        ("unit in the header, values to match", of(unit)),
        ("unit changed and not said", of(unit_not_said)),
        ("header of another quantity", of(lambda t, r: t.rename(columns={alb: "AST (U/L)"}))),
        ("header twice", of(lambda t, r: pd.concat([t, t[[alb]]], axis=1))),
        ("identifier twice", of(one("ID", lambda t, row: str(t.loc[row - 1, "ID"])))),
        ("identifier without its zeros", of(one("ID", lambda t, row: f"R{row}"))),
        ("identifier with spaces", of(one("ID", lambda t, row: f"  {t.loc[row, 'ID']} "))),
        ("identifier missing", of(one("ID", lambda t, row: ""))),
        ("level spelled otherwise", of(spelled)),
        ("level that nobody knows", of(one("sex", lambda t, row: "diverse"))),
        ("label of the outcome", of(one("relapse", lambda t, row: "perhaps"))),
        ("days before months", of(lambda t, r: t.assign(date=[f"{d[8:]}.{d[5:7]}.{d[:4]}" for d in t["date"]]))),
        ("a date that is none", of(one("date", lambda t, row: "2021-13-40"))),
        ("a date in the future", of(one("date", lambda t, row: "2921-01-05"))),
        ("a value with a digit too many", of(one(alb, lambda t, row: f"{t.loc[row, alb]}0".replace(".", "")))),
        ("a word for a number", of(one(alb, lambda t, row: "n.a. (hemolytic)"))),
        ("decimal commas", of(lambda t, r: t, commas)),
        (
            "GB 18030",
            of(lambda t, r: t.assign(note="备注：无"), lambda t, p: t.to_csv(p, index=False, encoding="gb18030")),
        ),
        ("UTF-16", of(lambda t, r: t, encoded("utf-16"))),
        ("a row of totals", of(lambda t, r: pd.concat([t, pd.DataFrame([{"ID": "Total", "size": "1600"}])]))),
    ]


def _plain_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _study_changes() -> list[tuple[str, _Change]]:
    def of(edit: Callable[[dict[str, Any]], None]) -> _Change:
        def change(folder: Path, r: np.random.Generator) -> str:
            study = write_study(folder, n=40, seed=int(r.integers(1000)))
            before = _cohort(study)
            content = yaml.safe_load((study / "study.yaml").read_text())
            edit(content)
            (study / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
            return _same_or_told(before, _cohort(study))

        return change

    def column(name: str, **new: Any) -> Callable[[dict[str, Any]], None]:
        return lambda content: content["cohort"]["columns"][name].update(new)

    return [
        ("study: unknown unit", of(column("alb", unit="kPa"))),
        ("study: a column that is not there", of(column("size", column="diameter of the second lesion"))),
        ("study: identifier that is not there", of(lambda content: content["cohort"].update(id="Number"))),
        ("study: misspelled key", of(lambda content: content.update(modeling={}))),
        ("study: outcome that is not there", of(lambda content: content["outcome"].update(column="death"))),
        ("study: another table", of(lambda content: content["cohort"].update(table="features.csv"))),
    ]


def _measured(image: Path, mask: Path, **options: Any) -> tuple[float, float]:
    """Volume (mm3) and mean of the tumor as `extract` measures them; what is doubtful is refused there."""
    from hepacast.study.extract import extract_image

    with tempfile.TemporaryDirectory() as folder:
        settings, target = Path(folder) / "few.yaml", Path(folder) / "x.csv"
        settings.write_text(
            "imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean], shape: [VoxelVolume]}\n"
            "setting: {binWidth: 25}\n"
        )
        text = extract_image(image, mask, target, labels={"parenchyma": "1", "tumor": "2"}, settings=str(settings),
                             workers=1, **options)  # fmt: skip
        table = pd.read_csv(target).set_index("voi")
    if "doubtful" in text or "tumor: failed" in text:
        raise HepacastError("told", found=text)
    row = table.loc["tumor"]
    return float(row["original_shape_VoxelVolume"]), float(row["original_firstorder_Mean"])


def _image_changes() -> list[tuple[str, _Change]]:
    def of(edit: Callable[[np.ndarray, np.ndarray, Path, np.random.Generator], None]) -> _Change:
        def change(folder: Path, r: np.random.Generator) -> str:
            folder.mkdir(parents=True)
            image, labels = _image()
            edit(image, labels, folder, r)
            found = _measured(folder / "i.nii.gz", folder / "m.nii.gz")
            right = (float((labels == 2).sum()) * 45.0, float(image[labels == 2].mean()))
            assert np.allclose(found, right, rtol=1e-4), f"{found}, not {right}"
            return "known answer"

        return change

    def both(image: Any, labels: Any, folder: Path, **options: Any) -> None:
        _write_image(image, folder / "i.nii.gz", **options)
        _write_image(labels, folder / "m.nii.gz", **options)

    def turned(image: np.ndarray, labels: np.ndarray, folder: Path, r: np.random.Generator) -> None:
        signs = r.choice([-1.0, 1.0], 3)
        both(image, labels, folder, direction=np.diag(signs).ravel().tolist())

    def swapped(image: np.ndarray, labels: np.ndarray, folder: Path, r: np.random.Generator) -> None:
        both(image, np.choose(labels, [0, 2, 1]).astype(np.uint8), folder)

    def shifted(image: np.ndarray, labels: np.ndarray, folder: Path, r: np.random.Generator) -> None:
        both(image + np.int16(r.choice([1024, -1024])), labels, folder)

    def moved(image: np.ndarray, labels: np.ndarray, folder: Path, r: np.random.Generator) -> None:
        _write_image(image, folder / "i.nii.gz")
        _write_image(labels[:, :, ::-1].copy(), folder / "m.nii.gz", spacing=(3.0, 3.0, 4.0))

    def metres(image: np.ndarray, labels: np.ndarray, folder: Path, r: np.random.Generator) -> None:
        both(image, labels, folder, spacing=(0.003, 0.003, 0.005))

    return [
        ("image: as it is", of(lambda i, m, f, r: both(i, m, f))),
        ("image: axes turned with their header", of(turned)),
        ("mask: floating-point labels", of(lambda i, m, f, r: both(i, m.astype(np.float32), f))),
        ("mask: labels swapped", of(swapped)),
        ("mask: a label more", of(lambda i, m, f, r: both(i, np.where(m == 1, 3, m).astype(np.uint8), f))),
        ("image: HU plus or minus 1024", of(shifted)),
        ("mask: another grid", of(moved)),
        ("image: voxels in metres", of(metres)),
        ("mask: empty", of(lambda i, m, f, r: both(i, np.zeros_like(m), f))),
    ]


def _dicom_changes() -> list[tuple[str, _Change]]:
    def of(order: Callable[[int, np.random.Generator], Any] | None = None, **tags: Any) -> _Change:
        def change(folder: Path, r: np.random.Generator) -> str:
            from hepacast.imaging.io import read_volume

            image, _ = _image()
            _write_dicom(image, folder / "series", None if order is None else order(len(image), r), **tags)
            volume = read_volume(folder / "series", modality="CT")
            if volume.notes:
                return "told"
            assert volume.array.shape == image.shape, "other slices"
            assert np.array_equal(volume.array, image), "other intensities"
            assert np.allclose(volume.geometry.spacing, _SPACING), "another grid"
            return "known answer"

        return change

    def gap(n: int, r: np.random.Generator) -> list[int]:
        lost = int(r.integers(1, n - 1))
        return [number for number in range(n) if number != lost]

    return [
        ("DICOM: files in another order", of(lambda n, r: r.permutation(n).tolist())),
        ("DICOM: instance numbers reversed", of(InstanceNumber=lambda number: 99 - number)),
        ("DICOM: a slice is missing", of(gap)),
        ("DICOM: a slice of another series' slope", of(RescaleSlope=lambda number: 2 if number == 5 else 1)),
        ("DICOM: MR", of(Modality="MR")),
        ("DICOM: a slice of another patient", of(PatientID=lambda number: "other" if number == 4 else "anon")),
        ("DICOM: a slice with other pixels", of(PixelSpacing=lambda number: [2.0, 2.0] if number == 3 else [3.0, 3.0])),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and tell what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    for name, default in zip(PARTS, (300, 300, 350, 150)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args(arguments)
    works = (fuzz_results, fuzz_bundles, fuzz_damaged, fuzz_changed)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, work in zip(PARTS, works):
            trials = getattr(chosen, name)
            if trials:
                tally = work(chosen.seed, trials, Path(folder) / name)
                print(tally, flush=True)
                failures += tally.failures
    print("\n".join(failures) or "no traceback, no silent change")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
