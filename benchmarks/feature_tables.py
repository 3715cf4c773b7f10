"""What a growing cohort costs the tables of features: size on the disk, seconds, and memory, by the number of patients.

    python benchmarks/feature_tables.py 1000 10000

For each number: pieces of so many patients are written as the radiomics stage writes them (1,874 features of each of
two VOIs, every hundredth patient with values that are undefined, every fiftieth with a VOI that could not be measured),
put together by ``hepacast.radiomics.pieces.put_together``, opened as the modelling stage opens them, and one column and
a tenth of the patients are read. Each step runs in a process of its own; its memory is the largest that the process
held, files that it mapped counted in. With ``--old`` all is one long table in pandas, as it was before.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hepacast.core.mapped import MappedTable
from hepacast.radiomics.pieces import put_together
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import concat_long, read_long, to_wide, write_long

VOIS = ("parenchyma", "tumor")


def measured(number: int, names: list[str]) -> ExtractionResult:
    """Values of one patient as they are spread in a cohort: log-normal, with shared parts."""
    random = np.random.default_rng(number)
    found = {}
    for voi in VOIS:
        if number % 50 == 49 and voi == "tumor":
            found[voi] = VoiResult.failed(voi, names, "The VOI is empty.")
            continue
        values = dict(zip(names, np.exp(random.normal(random.normal(), 1.0, len(names))), strict=True))
        if number % 100 == 0:
            values |= dict.fromkeys(names[5:25], np.nan)
        found[voi] = VoiResult.of(voi, names, values, {})
    return ExtractionResult(found, "0" * 64, "hepacast")


def pieces_of(folder: Path, count: int) -> list[Path]:
    return [folder / "pieces" / f"{number:06d}.parquet" for number in range(count)]


def write_pieces(folder: Path, count: int) -> None:
    names = list(Settings.load("ptlf").feature_names())
    for number, path in enumerate(pieces_of(folder, count)):
        write_long(measured(number, names).to_long(f"P{number:06d}"), path)


def join_pieces(folder: Path, count: int) -> None:
    put_together(pieces_of(folder, count), folder / "features.feather", folder / "features.parquet")


def open_table(folder: Path, count: int) -> None:
    assert MappedTable.open(folder / "features.feather").frame().shape == (count, 2 * 1874)


def read_column(folder: Path, count: int) -> None:
    column = MappedTable.open(folder / "features.feather").frame().iloc[:, 1000]
    assert column.notna().any()


def read_training(folder: Path, count: int) -> None:
    table = MappedTable.open(folder / "features.feather").frame()
    assert np.nanstd(table.iloc[np.arange(0, count, 10) * 7 % count].to_numpy()) > 0


def old_road(folder: Path, count: int) -> None:
    tables = [read_long(path) for path in pieces_of(folder, count)]
    write_long(concat_long(tables, settings_hash="", engine=""), folder / "old.parquet")
    del tables
    assert to_wide(read_long(folder / "old.parquet")).shape == (count, 2 * 1874)


STEPS = {
    "pieces": write_pieces,
    "put together": join_pieces,
    "open": open_table,
    "one column": read_column,
    "a tenth of the patients": read_training,
    "old": old_road,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patients", nargs="*", type=int, default=[1000])
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--step", nargs=3, metavar=("NAME", "FOLDER", "PATIENTS"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.step:
        name, folder, count = told.step
        start, wall = time.process_time(), time.perf_counter()
        STEPS[name](Path(folder), int(count))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{time.process_time() - start:9.2f} {time.perf_counter() - wall:9.2f} {peak:9.2f}")
        return
    print(f"{'patients':>9} {'step':24} {'CPU s':>9} {'wall s':>9} {'peak GB':>9}")
    for count in told.patients:
        folder = Path(tempfile.mkdtemp(prefix="feature-tables-"))
        try:
            for name in STEPS:
                if name == "old" and not told.old:
                    continue
                words = [sys.executable, __file__, "--step", name, str(folder), str(count)]
                line = subprocess.run(words, check=True, capture_output=True, text=True).stdout.rstrip()
                print(f"{count:9d} {name:24} {line}", flush=True)
            sizes = {"pieces": sum(path.stat().st_size for path in pieces_of(folder, count))}
            sizes |= {path.name: path.stat().st_size for path in sorted(folder.glob("*.*"))}
            print(f"{count:9d} " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
