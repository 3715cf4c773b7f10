"""Golden runs: nine small studies whose every number is kept before a change and compared after it.

In a minute::

    python benchmarks/golden_runs.py list                              # the studies and what each is for
    python benchmarks/golden_runs.py make /tmp/mine --study cox        # run it: 5 to 60 CPU seconds a study
    python benchmarks/golden_runs.py compare /tmp/mine /tmp/reference  # exits 1 where a number is gone or changed

``make`` runs each study to its bundle (with ``--report`` to its report too), predicts some patients from the bundle
and runs ``stats`` on tables of the study; every number, truth value, name and level of the results goes into one file a
study, ``OUT/STUDY.json.gz``. The reference is made in the same way from the older commit, on the same machine and with
the same packages; the environment variable ``HEPACAST_GOLDEN`` may name it instead of the second argument.

``compare`` goes by meaning, not by the order in a file:

* a list of objects that have a name (or a model, column, set, time, ...) is read as a mapping by that name;
* rows of a table are told apart by their words and by repeat, fold and horizon, whatever their order and whatever new
  columns there are;
* what stands elsewhere or under another name now is written into ``benchmarks/golden_names.yaml``, in your area's list:
  ``moved`` (old pattern -> new path, regular expressions, whole path), ``dropped`` (pattern and reason) and ``decided``
  (pattern and reason: the number may differ, and the changelog says so). Paths look like
  ``evaluation/evaluation.json/sets/training/models/clinical/auc/value`` and, of tables,
  ``modelling/predictions.parquet[P01|training|apparent|clinical|1]/risk`` (see them with ``show``);
* a number whose path is gone is looked for among the numbers that are new in the same stage (the first part of the
  path), a word among all words and keys there: *moved* if it is found, else *gone*. With ``--values`` what moved is no
  difference, which is enough where only the shape of a file changed.

New paths are counted, never a difference. Numbers differ when they are more than 1e-12 apart, relative and absolute
(``--tolerance``). ``show OUT STUDY PATTERN`` prints what a pattern finds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import shutil
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from golden_studies import STUDIES, GoldenStudy

NAMES = Path(__file__).with_name("golden_names.yaml")
TOLERANCE = 1e-12
#: Keys by which the items of a list are told apart, the first that all of them have and that is unique.
LABELS = (
    "name", "model", "cohort", "set", "column", "feature", "predictor", "term", "label", "title", "measure", "patient",
    "time", "horizon", "cutoff", "threshold", "code",
)  # fmt: skip
#: Columns of numbers that tell rows of a table apart.
ROW_NUMBERS = ("repeat", "fold", "horizon")
#: Files and keys that hold no result: seals, times, hashes, machine and version.
NO_RESULTS = re.compile(r"(^|/)(stage|run|made|\.progress)\.json$|^\.cache/|^report/(?!tables/.*\.csv$)")
NO_KEYS = {
    "sha256",
    "key",
    "seconds",
    "hepacast",
    "version",
    "python",
    "platform",
    "packages",
    "bundle",
    "date",
    "hash",
}
_HASH = re.compile(r"[0-9a-f]{16,}")

_NOT_PORTABLE = re.compile(r"^cohort/(columns|outcome)\.json$|/findings\.json$")
LONGEST_LIST = 15

Leaf = float | bool | str | None


# --- make -------------------------------------------------------------------------------------------------------


def make(out: Path, names: Sequence[str], *, report: bool = False, keep: bool = False) -> None:
    """Run the studies and write one file of numbers each."""
    for name in names:
        started = time.process_time()
        work = out / "work" / name
        shutil.rmtree(work, ignore_errors=True)
        content = run_golden(STUDIES[name], work, report=report)
        write_golden(out / f"{name}.json.gz", content)
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
        number = sum(1 for _ in leaves(content))
        print(f"{name}: {number} values, {time.process_time() - started:.0f} CPU seconds")


def run_golden(study: GoldenStudy, folder: Path, *, report: bool = False) -> dict[str, Any]:
    """Everything that a study gives: the files of its results, predictions from its bundle, negative controls."""
    from hepacast.study.run import run_study

    study.write(folder)
    results = folder / "results"
    run_study(folder, out=results, workers=1, until=None if report else "bundle")
    if study.noise:
        from hepacast.study.noise import run_noise

        run_noise(folder, out=results, workers=1, **study.noise)
    content = gather(results)
    content["predicted.json"] = predictions(folder, results, study.predicted)
    for name, arguments in study.statistics.items():
        content[f"stats/{name}.json"] = statistics(folder, name, arguments)
    return content


def gather(results: Path) -> dict[str, Any]:
    """The JSON files and tables of a results folder by their names, without long texts."""
    content: dict[str, Any] = {}
    for path in sorted(item for item in results.rglob("*") if item.is_file()):
        name = path.relative_to(results).as_posix()
        if NO_RESULTS.search(name):
            continue
        if path.suffix == ".json":
            content[name] = plain(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix in (".csv", ".parquet"):
            content[name] = _table(path, name)
    return content


def _table(path: Path, name: str) -> Any:
    if name.startswith("report/"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, header=None)
        return {"rows": [" | ".join(row) for row in frame.itertuples(index=False)]}
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return {"table": {str(column): plain(frame[column].tolist()) for column in frame.columns}}


def plain(value: Any) -> Any:
    """Without hashes, times of running and sentences: what is compared."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if str(key) not in NO_KEYS}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.number):
        number = float(value)
        return None if math.isnan(number) else number
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    text = str(value)
    return None if len(text) > 80 or text.count(" ") > 5 or _HASH.fullmatch(text) or text.startswith("/") else text


def predictions(folder: Path, results: Path, number: int) -> dict[str, Any]:
    """What the bundle says of the first patients of every set, by patient and model."""
    from hepacast.bundle import Bundle, predict
    from hepacast.study.predict import predict_patient

    path = results / "model.hepacast"
    bundle = Bundle.read(path)
    cohort = pd.read_parquet(results / "cohort" / "clinical.parquet")
    wide = results / "radiomics" / "wide.parquet"
    features = pd.read_parquet(wide) if wide.is_file() else None
    told = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    images = told.get("images")
    found: dict[str, Any] = {}
    for patient in _some_patients(folder, results, number):
        for model in bundle.models.names:
            labs = {name: _lab(bundle, name, cohort.loc[patient, name]) for name in bundle.clinical_names(model)}
            if images and bundle.needs_features(model):
                pairs = [f"{name}={value}" for name, value in labs.items()]
                where = {name: folder / item["path"].format(patient=patient)
                         for name, item in images["sequences"].items()}  # fmt: skip
                mask = folder / images["segmentation"]["masks"].format(patient=patient)
                given = next(iter(where.values())) if len(where) == 1 else where
                answer = predict_patient(path, image=given, mask=mask, labs=pairs, model=model)
            else:
                row = None if features is None else {key: float(x) for key, x in features.loc[patient].items()}
                answer = predict(bundle, labs, row, model=model)
            found.setdefault(patient, {})[model] = plain(answer.to_json())
    return found


def _lab(bundle: Any, name: str, value: Any) -> str:
    spec = bundle.column(name)
    if pd.isna(value):
        return "NA"
    if spec.kind == "binary":
        return str(spec.level_names[int(value)])
    return str(value) if isinstance(value, str) else repr(float(value))


def _some_patients(folder: Path, results: Path, number: int) -> list[str]:
    """The first patients of each set."""
    sets = pd.read_csv(results / "cohort" / "sets.csv", dtype=str)
    patient, group = sets.columns[0], sets.columns[1]
    return [str(item) for _, part in sets.groupby(group, sort=True) for item in sorted(part[patient])[:number]]


def statistics(folder: Path, name: str, arguments: Sequence[str]) -> Any:
    """The JSON of ``hepacast stats``."""
    from typer.testing import CliRunner

    from hepacast.cli.main import app

    target = folder / f"{name}.json"
    words = [word.format(folder=folder) for word in arguments]
    done = CliRunner().invoke(app, ["stats", *words, "--json", str(target)])
    if done.exit_code != 0:
        raise SystemExit(f"stats {' '.join(words)}: {done.output}\n{done.exception!r}")
    return plain(json.loads(target.read_text(encoding="utf-8")))


# --- the numbers by path ----------------------------------------------------------------------------------------


def leaves(content: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> Iterator[tuple[str, Leaf]]:
    """Every value with its path; rows of a table are named by the columns that `other` has as well."""
    for name, value in content.items():
        if isinstance(value, Mapping) and set(value) == {"table"}:
            own = (other or {}).get(name)
            keys = set(_row_keys(own["table"])) if isinstance(own, Mapping) and set(own) == {"table"} else None
            yield from _cells(name, value["table"], keys)
        elif isinstance(value, Mapping) and set(value) == {"rows"}:
            yield from _rows(name, value["rows"])
        else:
            yield from _walk(name, value)


def _walk(path: str, value: Any) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(f"{path}/{key}", item)
    elif isinstance(value, list):
        key = _label(value)
        for place, item in enumerate(value):
            yield from _walk(f"{path}/{_word(item[key]) if key else place}", item)
    else:
        yield path, value


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(items: list[Any]) -> str | None:
    """The key by which these objects are told apart."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in LABELS:
        words = [_word(item[key]) for item in items if isinstance(item.get(key), str | float)]
        if len(words) == len(items) == len(set(words)):
            return key
    return None


def _row_keys(table: Mapping[str, list[Any]]) -> list[str]:
    """Columns that tell rows apart: words, and repeat, fold and horizon."""
    words = (c for c, values in table.items() if c in ROW_NUMBERS or any(isinstance(v, str) for v in values))
    return sorted(words)


def _cells(name: str, table: Mapping[str, list[Any]], shared: set[str] | None) -> Iterator[tuple[str, Leaf]]:
    """Cells of a table, by row and column."""
    keys = [c for c in _row_keys(table) if shared is None or c in shared]
    numbers = [c for c in table if c not in keys]
    seen: Counter[str] = Counter()
    for place in range(len(next(iter(table.values()), []))):
        row = "|".join(_word(table[c][place]) for c in keys)
        seen[row] += 1
        row = row if seen[row] == 1 else f"{row}#{seen[row]}"
        for column in numbers:
            yield f"{name}[{row}]/{column}", table[column][place]


def _rows(name: str, rows: Sequence[str]) -> Iterator[tuple[str, Leaf]]:
    """Rows of the report's tables, whichever number a table has."""
    for row in rows:
        yield f"report/tables[{row}]", True


def portable(content: Mapping[str, Any]) -> dict[str, Any]:
    """What another machine gives too: to nine digits, without the table itself and without long curves."""
    whole = {name: value for name, value in content.items() if not _NOT_PORTABLE.search(name)}
    return {
        name: _short(value)
        for name, value in whole.items()
        if not (isinstance(value, Mapping) and set(value) & {"table", "rows"})
    }


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value] if len(value) <= LONGEST_LIST else []
    return float(f"{value:.9g}") if isinstance(value, float) else value


# --- compare ----------------------------------------------------------------------------------------------------


class Names:
    """What stands elsewhere now, is dropped, or is decided to differ: `golden_names.yaml`."""

    def __init__(self, path: Path = NAMES) -> None:
        areas = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
        rules = [(kind, rule) for area in areas.values() for kind in (area or {}) for rule in area[kind] or ()]
        self.moved = [(re.compile(rule["from"]), rule["to"]) for kind, rule in rules if kind == "moved"]
        self.dropped = [re.compile(rule["pattern"]) for kind, rule in rules if kind == "dropped" and rule["reason"]]
        self.decided = [re.compile(rule["pattern"]) for kind, rule in rules if kind == "decided" and rule["reason"]]

    def new(self, path: str) -> str:
        """Where a value stands now; several rules may apply one after the other."""
        for pattern, to in self.moved:
            if (found := pattern.fullmatch(path)) is not None:
                path = found.expand(to)
        return path

    def is_dropped(self, path: str) -> bool:
        """Whether it is there no more, by decision."""
        return any(pattern.fullmatch(path) for pattern in self.dropped)

    def is_decided(self, path: str) -> bool:
        """Whether it may differ, by decision."""
        return any(pattern.fullmatch(path) for pattern in self.decided)


def same(old: Leaf, new: Leaf, tolerance: float) -> bool:
    """Equal words, or numbers that are as close as asked for."""
    if isinstance(old, float) and isinstance(new, float):
        return old == new or abs(old - new) <= tolerance * max(1.0, abs(old), abs(new))
    if isinstance(old, bool | float) and isinstance(new, bool | float):
        return float(old) == float(new)
    return old == new


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Names, tolerance: float = TOLERANCE, *, report: bool = True
) -> dict[str, list[str]]:
    """The differences by kind: ``changed``, ``gone``, ``moved`` (elsewhere in the stage), ``new``, ``decided``."""
    before = {p: v for p, v in leaves(old, new) if v is not None and (report or not p.startswith("report/"))}
    after = {p: v for p, v in leaves(new, old) if v is not None}
    found: dict[str, list[str]] = {kind: [] for kind in ("changed", "gone", "moved", "new", "decided")}
    absent: list[tuple[str, Leaf]] = []
    used: set[str] = set()
    for path, value in before.items():
        if names.is_dropped(path):
            continue
        target = names.new(path)
        if target not in after:
            absent.append((path, value))
            continue
        used.add(target)
        if not same(value, after[target], tolerance):
            kind = "decided" if names.is_decided(path) or names.is_decided(target) else "changed"
            found[kind].append(f"{path}: {_shown(value)} -> {_shown(after[target])}")
    left = {path: value for path, value in after.items() if path not in used}
    found["new"] = list(left)
    stock = _Stock(left, after, tolerance)
    for path, value in absent:
        text = f"{path} = {_shown(value)}"
        if stock.take(_stage(path), value):
            found["moved"].append(text)
        else:
            found["decided" if names.is_decided(path) else "gone"].append(text)
    return found


class _Stock:
    """What stands elsewhere in a stage: each new number stands for one that is gone, a word or key for any."""

    def __init__(self, left: Mapping[str, Leaf], after: Mapping[str, Leaf], tolerance: float) -> None:
        self.tolerance = tolerance
        self.numbers: dict[str, list[float]] = {}
        self.words: dict[str, set[str]] = {}
        for path, value in left.items():
            if isinstance(value, bool | float):
                self.numbers.setdefault(_stage(path), []).append(float(value))
        for path, value in after.items():
            own = self.words.setdefault(_stage(path), set())
            own.update(path.split("/"))
            if isinstance(value, str):
                own.add(value)
        for numbers in self.numbers.values():
            numbers.sort()

    def take(self, stage: str, value: Leaf) -> bool:
        """Use up a value that is the same; False where there is none."""
        if not isinstance(value, bool | float):
            return str(value) in self.words.get(stage, ())
        numbers = self.numbers.get(stage, [])
        place = bisect_left(numbers, float(value))
        for near in (place, place - 1):
            if 0 <= near < len(numbers) and same(float(value), numbers[near], self.tolerance):
                del numbers[near]
                return True
        return False


def _stage(path: str) -> str:
    return re.split(r"[/\[]", path, maxsplit=1)[0]


def _shown(value: Leaf) -> str:
    return repr(value) if not isinstance(value, float) else f"{value:.15g}"


def grouped(lines: Sequence[str], first: int) -> Iterator[str]:
    """The lines by file and last key that is a word, the first of each."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        path = re.split(r": | = ", line, maxsplit=1)[0]
        file = re.match(r"[^\[]*?\.(json|csv|parquet)|[^/\[]*", path)
        words = [word for word in path.split("/") if not word.isdigit()]
        groups.setdefault(f"{file.group() if file else ''} ... {words[-1][:60]}", []).append(line)
    for key, own in sorted(groups.items(), key=lambda item: -len(item[1]))[:first]:
        yield f"    {len(own):6d}  {key}"
        for line in own[:2]:
            yield f"              {line[:240]}"
    if len(groups) > first:
        yield f"    ... and {len(groups) - first} groups more (--first)"


def compare_folders(
    out: Path, reference: Path, studies: Sequence[str], *, tolerance: float, values: bool, first: int
) -> int:
    """Print the differences of every study; 1 where there are any."""
    wrong = 0
    names = Names()
    for study in studies:
        if not (out / f"{study}.json.gz").is_file():
            continue
        old, new = read_golden(reference / f"{study}.json.gz"), read_golden(out / f"{study}.json.gz")
        report = any(name.startswith("report/") for name in new)
        found = compare(old, new, names, tolerance, report=report)
        bad = ("changed", "gone") if values else ("changed", "gone", "moved")
        counts = ", ".join(f"{len(lines)} {kind}" for kind, lines in found.items() if lines)
        failed = any(found[kind] for kind in bad)
        wrong += failed
        print(f"{study}: {'DIFFERS' if failed else 'same'}{f' ({counts})' if counts else ''}")
        for kind in ("changed", "gone", "moved", "decided"):
            if found[kind] and (kind in bad or kind == "decided"):
                print(f"  {kind}:")
                print("\n".join(grouped(found[kind], first)))
    return int(wrong > 0)


# --- files ------------------------------------------------------------------------------------------------------


def write_golden(path: Path, content: Mapping[str, Any]) -> None:
    """Gzipped JSON; the same content gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    path.write_bytes(gzip.compress(data, mtime=0))


def read_golden(path: Path) -> dict[str, Any]:
    """What `write_golden` wrote, with all numbers as floats."""
    if not path.is_file():
        raise SystemExit(f"no golden run at {path}: make it first")
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()), parse_int=float)
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="run studies and keep their numbers")
    maker.add_argument("out", type=Path)
    maker.add_argument("--report", action="store_true", help="to the report, whose tables are kept too")
    maker.add_argument("--keep", action="store_true", help="keep the results folders in OUT/work")
    other = commands.add_parser("compare", help="compare with a reference; exits 1 where they differ")
    other.add_argument("out", type=Path)
    other.add_argument("reference", type=Path, nargs="?", default=os.environ.get("HEPACAST_GOLDEN"))
    other.add_argument("--values", action="store_true", help="a number that stands elsewhere in its stage is the same")
    other.add_argument("--tolerance", type=float, default=TOLERANCE)
    other.add_argument("--first", type=int, default=10, help="groups shown")
    for item in (maker, other):
        item.add_argument("--study", nargs="+", choices=[*STUDIES], default=[*STUDIES], metavar="NAME")
    shown = commands.add_parser("show", help="print values by a pattern of their path")
    shown.add_argument("out", type=Path)
    shown.add_argument("study", choices=[*STUDIES], metavar="STUDY")
    shown.add_argument("pattern")
    commands.add_parser("list", help="the studies")
    told = parser.parse_args(arguments)
    if told.command == "list":
        print("\n".join(f"{name:10s} {study.what}" for name, study in STUDIES.items()))
    elif told.command == "make":
        make(told.out, told.study, report=told.report, keep=told.keep)
    elif told.command == "show":
        for path, value in leaves(read_golden(told.out / f"{told.study}.json.gz")):
            if re.search(told.pattern, path):
                print(f"{path} = {_shown(value)}")
    else:
        if told.reference is None:
            parser.error("name the reference, or set HEPACAST_GOLDEN")
        settings = {"tolerance": told.tolerance, "values": told.values, "first": told.first}
        return compare_folders(told.out, Path(told.reference), told.study, **settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
