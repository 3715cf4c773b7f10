"""Compiled code is kept where that is possible, never stale, and loaded without numba."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hepacast.core import jit as module
from hepacast.core.jit import jit

SOURCE = """
import sys
import numpy as np
from hepacast.core.jit import jit

FACTOR = {factor}


@jit
def scaled(x):
    return x * FACTOR


@jit
def total(parts, shift, out):
    sum = 0.0
    for i in range(parts[0].size):
        sum += scaled(parts[0][i]) + parts[1][i]
        out[i] = sum
    return sum + shift, parts[0].size, sum > shift


@jit
def doubled(x):
    found = np.empty(x.size)
    for i in range(x.size):
        found[i] = 2 * x[i]
    return found


fixed = np.arange(4.0)
fixed.flags.writeable = False
out = np.zeros(4)
print(total((fixed, np.arange(8)[::2]), 1, out), out[-1], "numba" in sys.modules)
if len(sys.argv) > 1:
    print(doubled(fixed))
"""


class TestWhatIsKept:
    """Each run is a process of its own."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path

    def start(self, factor: float = 2.0, *arguments: str) -> subprocess.Popen[str]:
        script = self.tmp_path / "script.py"
        script.write_text(SOURCE.format(factor=factor), encoding="utf-8")
        own = {**os.environ, "NUMBA_CACHE_DIR": str(self.tmp_path / "kept")}
        return subprocess.Popen([sys.executable, str(script), *arguments], env=own, stdout=subprocess.PIPE, text=True)

    def run(self, factor: float = 2.0, *arguments: str) -> str:
        process = self.start(factor, *arguments)
        said = process.communicate()[0]
        assert process.returncode == 0
        return said

    def test_of_processes_that_want_it_at_once_one_compiles(self) -> None:
        both = [self.start(), self.start()]
        said = sorted(process.communicate()[0] for process in both)
        assert said == ["(25.0, 4, True) 24.0 False\n", "(25.0, 4, True) 24.0 True\n"]
        assert not list((self.tmp_path / "kept").glob(".*"))

    def test_is_loaded_without_numba_and_never_stale(self) -> None:
        assert self.run() == "(25.0, 4, True) 24.0 True\n"
        assert self.run() == "(25.0, 4, True) 24.0 False\n"
        assert self.run(3.0) == "(31.0, 4, True) 30.0 True\n"  # the constant of a function that it calls
        kept = [path for path in (self.tmp_path / "kept").iterdir() if path.name.startswith("__main__.total")]
        assert len(kept) == 1  # what was made from the older source is gone
        kept[0].write_bytes(kept[0].read_bytes()[:-9] + bytes(9))
        assert self.run(3.0) == "(31.0, 4, True) 30.0 True\n"  # damaged: made again
        assert self.run(3.0) == "(31.0, 4, True) 30.0 False\n"

    def test_what_makes_arrays_is_run_by_numba(self) -> None:
        for _ in range(2):
            assert self.run(2.0, "more").splitlines()[1] == "[0. 2. 4. 6.]"


def test_arrays_are_found_where_numpy_says_they_are(tmp_path: Path) -> None:
    whole = np.arange(24.0).reshape(4, 6)
    np.save(tmp_path / "mapped.npy", whole)
    mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
    for array in (whole, whole.T, whole[1:, ::2], whole[:0], mapped, np.float32([1]), np.array(1)):
        assert module._place(array) == array.__array_interface__["data"][0]
    assert module._place is module._read_place

    @jit
    def first(x):  # type: ignore[no-untyped-def]
        return x[1, 1]

    # Kinds of arrays that differ in their numbers, layout or class alone.
    assert [first(item) for item in (whole, whole.T, mapped, whole.astype("i4"))] == [7.0, 7.0, 7.0, 7]


def test_a_private_folder_is_trusted_only_if_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    *_, folder = module._folders("/proc/none/source.py")
    assert folder.parent == tmp_path
    assert os.name == "nt" or stat.S_IMODE(folder.stat().st_mode) == 0o700
    if hasattr(os, "getuid"):
        folder.chmod(0o777)
        assert folder not in module._folders("/proc/none/source.py")


def test_without_any_folder_it_still_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_folders", lambda source: iter(()))
    factor = 2

    @jit
    def double(x):  # type: ignore[no-untyped-def]
        return factor * x

    assert double(4.0) == 8.0
    assert double(True) == 2  # a kind of argument that is left to numba


def test_importing_changes_no_environment_and_loads_no_numba() -> None:
    code = (
        "import os, sys; before = dict(os.environ); import hepacast.radiomics.core;"
        "assert dict(os.environ) == before; assert 'numba' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reassociated_sums_keep_infinities() -> None:
    from hepacast.radiomics.kernels.statistics import sums

    assert sums(np.array([1.0, np.inf]), 0.0)[0] == np.inf
    assert np.isnan(sums(np.array([1.0, np.nan]), 0.0)[0])
