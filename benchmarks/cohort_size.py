"""How time and memory of a study grow with the number of patients, beside the same steps as papers do them.

    python benchmarks/cohort_size.py growth.json                          # 150 to 2,000 patients, 3,748 features
    python benchmarks/cohort_size.py growth.json --patients 5000 10000    # goes on in the same file
    python benchmarks/cohort_size.py growth.json --patients 2000 --of-time
    python benchmarks/cohort_size.py growth.json --patients 10000 --parts # few refits: seconds of one, and memory
    python benchmarks/cohort_size.py growth.json --patients 150 1000 --equal --peer   # the exact chain, and the peer

A study is made for each number of patients: features in correlated groups (as filtered copies of one texture are),
two laboratory values, and an outcome that depends on two of the groups and one of the values (0 and 1, or time and
event). ``hepacast run`` does it with the defaults of the study file: chain ptlf, 10 x 5-fold nested cross-validation,
bootstrap of the whole chain, learning curve, importance. For every stage, and every part of the modelling stage, the
file gets the wall-clock seconds, the CPU seconds of all processes, their memory at the peak (proportional set size:
what processes share counts once) and what ``--dry-run`` had promised.

``--equal`` refits the chain to folds and bootstrap samples with and without the shortcuts (every refit sorts for
itself): whatever is not equal to the last bit is counted. ``--peer`` times one refit with pandas and scikit-learn.
A number of patients that is in the file is not measured again. A whole study that was stopped goes on where it stopped
when ``--scratch`` is given: its stages and its refits are kept there, and so are the seconds that its parts have taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from chain import as_papers_do

from hepacast.core.executor import Progress, keep_workers, single_threaded
from hepacast.core.mapped import side_by_side
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.folds import bootstrap_rows, stratified_folds
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.refit import Refitter, Split
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.table_order import TableOrder, known_order
from hepacast.modelling.targets import event_classes
from hepacast.modelling.validation import nested_validation
from hepacast.study.context import make_context
from hepacast.study.run import run_study
from hepacast.study.stages.modelling import STAGE

GROUP = 10
STUDY = """hepacast: 1
name: cohort of {n}
seed: 3
cohort:
  table: clinical.csv
  id: patient
  columns:
    afp: {{column: afp, unit: "1"}}
    age: {{column: age, unit: years}}
{columns}
outcome: {outcome}
features: {{table: features.parquet, id: patient}}
modelling: {{candidates: [afp, age]}}
"""


def made(n: int, p: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of n patients, and their clinical table with outcome, time and event."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, -(-p // GROUP)))
    # One in ten groups is heavy-tailed, one in ten has few distinct values, as features of radiomics do.
    values = np.repeat(base, GROUP, axis=1)[:, :p] + 0.4 * rng.normal(size=(n, p))
    values[:, ::GROUP] = np.exp(values[:, ::GROUP])
    values[:, 1::GROUP] = np.round(values[:, 1::GROUP], 1)
    values[rng.uniform(size=values.shape) < 0.001] = np.nan
    afp, age = rng.normal(size=n), rng.normal(60, 9, size=n)
    strength = 0.5 * base[:, 0] + 0.5 * base[:, 1] + 0.5 * afp - 0.7
    index = pd.Index([f"P{i:06d}" for i in range(n)], name="patient")
    time_to, follow = rng.exponential(24 * np.exp(-strength)), rng.uniform(12, 60, size=n)
    clinical = pd.DataFrame(
        {
            "afp": afp.round(3),
            "age": age.round(1),
            "event": (rng.uniform(size=n) < 1 / (1 + np.exp(-strength))).astype(int),
            "months": np.minimum(time_to, follow).round(2) + 0.01,
            "dead": (time_to <= follow).astype(int),
        },
        index=index,
    )
    return pd.DataFrame(values, index=index, columns=[f"voi:f{j}" for j in range(p)]), clinical


def write_study(folder: Path, n: int, p: int, of_time: bool) -> None:
    """The study's files."""
    features, clinical = made(n, p)
    clinical.to_csv(folder / "clinical.csv")
    features.reset_index().to_parquet(folder / "features.parquet")
    columns = "    event: {column: event, kind: binary, after_event: true}"
    outcome = "{definition: binary-column, column: event}"
    if of_time:
        columns = "    months: {column: months, unit: months, after_event: true}\n"
        columns += "    dead: {column: dead, kind: binary, after_event: true}"
        outcome = "{definition: survival, columns: {time: months, event: dead}, unit: months, horizons: [12, 24]}"
    study = STUDY.format(n=n, columns=columns, outcome=outcome)
    (folder / "study.yaml").write_text(study, encoding="utf-8")


class Meter:
    """Wall, CPU and memory of this process and its workers, by part; the `Reporter` of a run."""

    def __init__(self, file: Path | None = None) -> None:
        self.parts: dict[str, dict[str, float]] = {}
        self.peak = self.peak_of_all = 0.0
        self._file = file
        self._before: dict[str, dict[str, float]] = {}
        if file is not None and file.is_file():
            self._before = json.loads(file.read_text(encoding="utf-8"))
        self._running: dict[str, tuple[float, float]] = {}
        self._stage: str | None = None
        self._gone: dict[int, float] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self.cpu()
            self.peak = max(self.peak, _memory())
            self.peak_of_all = max(self.peak_of_all, self.peak)
            self._write()

    def cpu(self) -> float:
        """CPU seconds so far; those of workers that have ended as they were last seen."""
        for process in _processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self._gone[process.pid] = times.user + times.system
        return sum(self._gone.values())

    def _spent(self, name: str, start: float, cpu: float) -> dict[str, float]:
        """What a part has taken, with what it took in runs that were stopped."""
        before = self._before.get(name, {"wall_s": 0.0, "cpu_s": 0.0, "peak_gb": 0.0})
        found = {"wall_s": time.perf_counter() - start, "cpu_s": self.cpu() - cpu}
        told = {key: round(value + before[key], 2) for key, value in found.items()}
        return told | {"peak_gb": round(max(self.peak / 1e9, before["peak_gb"]), 2)}

    def _write(self) -> None:
        if self._file is not None:
            running = {name: self._spent(name, *since) for name, since in list(self._running.items())}
            told = json.dumps(self._before | self.parts | running)
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(told, encoding="utf-8")
            temporary.replace(self._file)

    def say(self, text: str) -> None:
        """A stage begins."""
        self.end_stage()
        print(f"    {text}", flush=True)
        self._stage = "stage " + text.split(":")[0]
        self._running[self._stage] = time.perf_counter(), self.cpu()

    def end_stage(self) -> None:
        """The stage that began last is over."""
        if self._stage is not None:
            self._keep(self._stage)
            self._stage = None

    def _keep(self, name: str) -> None:
        self.parts[name] = self._spent(name, *self._running.pop(name))
        print(f"        {name}: {self.parts[name]}", flush=True)

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Progress]:
        """One part of a stage."""
        self.peak = _memory()
        self._running[label] = time.perf_counter(), self.cpu()
        done_of: list[int] = [0]

        def told(done: int, total: int) -> None:
            done_of[0] = done

        yield told
        self._keep(label)
        self.parts[label]["fits"] = done_of[0]

    def close(self) -> None:
        """Stop watching."""
        self.end_stage()
        self._ended.set()


def _processes() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _memory() -> float:
    """Bytes of all processes; what they share counts once."""
    total = 0.0
    for process in _processes():
        try:
            found = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(found, "pss", found.rss)
    return total


def whole(n: int, p: int, of_time: bool, workers: int, scratch: Path | None) -> dict[str, Any]:
    """One whole study."""
    kept = None if scratch is None else scratch / f"cohort-{n}-{p}-{'time' if of_time else 'binary'}"
    folder = kept or Path(tempfile.mkdtemp(prefix=f"cohort-{n}-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not (folder / "study.yaml").is_file():
            write_study(folder, n, p, of_time)
        promised = STAGE.cost(make_context(folder, workers=workers))
        meter = Meter(folder / "meter.json")
        run_study(folder, workers=workers, until="bundle", reporter=meter)
        meter.close()
        validation = json.loads((folder / "results" / "modelling" / "validation.json").read_text(encoding="utf-8"))
        last = list(validation["models"].values())[-1]
        told = ("optimism", "corrected", "resamples", "monte_carlo_se")
        found = {
            "promised_s": round(promised.seconds, 1),
            "promised_gb": round(promised.memory / 1e9, 2),
            "parts": meter.parts,
            "peak_gb": round(meter.peak_of_all / 1e9, 2),
            "cpu_s": round(meter.cpu(), 1),
            "nested": last["nested"]["estimate"],
            "bootstrap": {key: last["bootstrap"][key] for key in told},
        }
    except BaseException:
        if kept is None:
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return found


def parts(n: int, p: int, of_time: bool, workers: int) -> dict[str, Any]:
    """Five refits of the cross-validation and four of the bootstrap: seconds of one, and memory."""
    features, clinical = made(n, p)
    y = clinical[["months", "dead"] if of_time else "event"].to_numpy()
    table = side_by_side([clinical[["afp", "age"]], features])
    predictors = (Predictor("afp", "numeric"), Predictor("age", "numeric"))
    models = StudyModels(predictors, Radscore(), horizons=(12.0, 24.0) if of_time else ())
    meter = Meter()
    with single_threaded(), keep_workers():
        with meter.track("order"):
            order = TableOrder.of(table)
        with known_order(order):
            with meter.track("nested cross-validation") as progress:
                nested_validation(models, table, y, repeats=1, workers=workers, progress=progress)
            with meter.track("bootstrap of the whole chain") as progress:
                bootstrap_optimism(models, table, y, 3, workers=workers, progress=progress)
    meter.close()
    return {"parts": meter.parts, "peak_gb": round(meter.peak_of_all / 1e9, 2)}


def equal(n: int, p: int) -> dict[str, Any]:
    """Refits with and without the shortcuts, in numbers that differ."""
    features, clinical = made(n, p)
    found: dict[str, Any] = {}
    for kind, outcome in (("binary", clinical["event"]), ("time", clinical[["months", "dead"]])):
        y = outcome.to_numpy()
        of_time = y.ndim == 2
        models = StudyModels(radiomics=Radscore(), models=("radiomics",), horizons=(24.0,) if of_time else ())
        order, classes, everyone = TableOrder.of(features), event_classes(y), np.arange(n)
        fold = stratified_folds(features.index, classes, 5, 0, "equal")
        splits = [Split((0, 0), np.flatnonzero(fold != 0), np.flatnonzero(fold == 0))]
        splits.append(Split((1, 0), bootstrap_rows(classes, 0, "equal"), everyone))
        differ, fastest, exact = 0, 0.0, 0.0
        for split in splits:
            start = time.process_time()
            quick = Refitter(models, features, y, order)(split)
            middle = time.process_time()
            plain = Refitter(models, features, y)(split)
            exact += time.process_time() - middle
            fastest += middle - start
            differ += int((quick.risk != plain.risk).sum()) + int(quick.selections != plain.selections)
        found[kind] = {"differing": differ, "refits": len(splits), "cpu_s": fastest, "sorting_cpu_s": exact}
    return found


def peer(n: int, p: int) -> dict[str, float]:
    """One fit of the chain, and with pandas and scikit-learn."""
    features, clinical = made(n, p)
    features, y = features.fillna(features.median()), clinical["event"].to_numpy()
    start = time.process_time()
    Radscore(score="apparent").fit(features, y)
    middle = time.process_time()
    as_papers_do(features, y)
    return {"hepacast_cpu_s": middle - start, "peer_cpu_s": time.process_time() - middle}


def main() -> None:
    """Measure what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--patients", type=int, nargs="+", default=[150, 500, 1000, 2000])
    parser.add_argument("--features", type=int, default=3748)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--of-time", action="store_true", help="time to an event instead of 0 and 1")
    parser.add_argument("--parts", action="store_true", help="only some refits: seconds of one, and memory")
    parser.add_argument("--equal", action="store_true", help="only compare with the exact chain")
    parser.add_argument("--peer", action="store_true", help="only time one refit, ours and that of pandas and sklearn")
    parser.add_argument("--scratch", type=Path, help="where the studies are made; one that was stopped goes on")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.file.read_text()) if options.file.is_file() else {}
    result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    kinds = [
        name for name, asked in (("equal", options.equal), ("peer", options.peer), ("parts", options.parts)) if asked
    ]
    study = "of_time" if options.of_time else "binary"
    for kind in kinds or [study]:
        for n in options.patients:
            key = f"{kind} {n} x {options.features}" if kind != "parts" else f"parts {study} {n} x {options.features}"
            if key in result:
                continue
            print(key, flush=True)
            if kind == "equal":
                with single_threaded():
                    result[key] = equal(n, options.features)
            elif kind == "peer":
                with single_threaded():
                    result[key] = peer(n, options.features)
            elif kind == "parts":
                result[key] = parts(n, options.features, options.of_time, options.workers)
            else:
                result[key] = whole(n, options.features, options.of_time, options.workers, options.scratch)
            result[key]["load"] = round(os.getloadavg()[0], 1)
            options.file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            print(json.dumps(result[key], indent=1), flush=True)


if __name__ == "__main__":
    main()
