"""Compiled code is cached where that is possible, and compiling never fails where it is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from hepacast.core import jit as module


def double(x: float) -> float:
    return 2 * x


class TestWithoutAPlaceForTheCache:
    """Numba's answer on a read-only installation with no home: "cannot cache function: no locator available"."""

    @pytest.fixture(autouse=True)
    def refuse(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        real = numba.njit

        def refusing(*arguments: Any, cache: bool = False, **options: Any) -> Any:
            config: Any = numba.config
            if cache and not config.CACHE_DIR:
                raise RuntimeError("cannot cache function 'double': no locator available")
            return real(*arguments, cache=cache, **options)

        monkeypatch.setattr(numba, "njit", refusing)
        monkeypatch.setattr(numba.config, "CACHE_DIR", "")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def test_a_private_folder_is_used(self, tmp_path: Path) -> None:
        assert module.jit(double)(4.0) == 8.0
        (folder,) = tmp_path.iterdir()
        assert os.name == "nt" or stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.rglob("*.nbi"))
        config: Any = numba.config
        assert not config.CACHE_DIR  # other users of numba see no change

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners are POSIX")
    def test_a_folder_that_others_can_write_is_not_trusted(self, tmp_path: Path) -> None:
        folder = tmp_path / f"hepacast-numba-{os.getuid()}"
        folder.mkdir()
        folder.chmod(0o777)
        assert module.jit(double)(4.0) == 8.0
        assert not list(folder.rglob("*"))

    def test_without_any_folder_it_still_compiles(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
        assert module.jit(double)(4.0) == 8.0


def test_importing_changes_no_environment() -> None:
    code = (
        "import os; before = dict(os.environ); import numba; folder = numba.config.CACHE_DIR;"
        "import hepacast.radiomics.core; assert dict(os.environ) == before; assert numba.config.CACHE_DIR == folder"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reassociated_sums_keep_infinities() -> None:
    import numpy as np

    from hepacast.radiomics.kernels.statistics import sums

    assert sums(np.array([1.0, np.inf]), 0.0)[0] == np.inf
    assert np.isnan(sums(np.array([1.0, np.nan]), 0.0)[0])
