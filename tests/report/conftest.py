"""Results folders to report on."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hepacast.core.files import write_json


def _load(name: str) -> ModuleType:
    """A module beside this file (tests are no package)."""
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def simulated() -> ModuleType:
    """Simulated studies."""
    _load("simulated_evaluation")
    return _load("simulated")


@pytest.fixture(scope="session")
def study(simulated: ModuleType) -> Any:
    """A small study that is really fitted."""
    return simulated.Study()


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory, simulated: ModuleType, study: Any) -> Path:
    """A complete results folder; tests must not write into it."""
    return simulated.write_results(tmp_path_factory.mktemp("complete") / "results", study)


@pytest.fixture
def changed(complete: Path, tmp_path: Path) -> Callable[..., Path]:
    """`changed("modelling/validation.json", edit)`: a copy of the complete folder with one file edited or removed."""

    def make(file: str, edit: Callable[[Any], Any] | None = None) -> Path:
        folder = tmp_path / "changed"
        if not folder.exists():
            shutil.copytree(complete, folder)
        path = folder / file
        if edit is None:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            return folder
        content = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, edit(content))
        return folder

    return make
