"""The small commands, and the program's manners: help, version, wrong words, nothing heavy before it is needed."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.study.load import load_study


def test_help_and_version_are_quick_to_load(program):
    code = "import sys, hepacast.cli.main; print(sorted({'numpy', 'pandas', 'torch', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    answer = program("--help")
    assert answer.code == 0
    for command in (
        "init",
        "check",
        "run",
        "segment",
        "extract",
        "model",
        "report",
        "predict",
        "demo",
        "recipes",
        "noise",
    ):
        assert f"  {command} " in answer.out
    assert re.fullmatch(r"hepacast \d+\.\d+\.\d+\S*\n", program("--version").out)


def test_one_image_is_measured_without_tables_and_clusters(tmp_path):
    """Loading them takes a tenth of the time that the features of a liver take."""
    array = np.random.default_rng(0).normal(60, 20, (8, 20, 20)).astype(np.float32)
    mask = np.zeros(array.shape, dtype=np.uint8)
    mask[2:6, 5:15, 5:15] = 1
    write_volume(Volume(array, Geometry((20, 20, 8), (1.0, 1.0, 2.0))), tmp_path / "ct.nii.gz")
    write_volume(Volume(mask, Geometry((20, 20, 8), (1.0, 1.0, 2.0))), tmp_path / "mask.nii.gz")
    code = (
        "import sys; sys.argv = ['hepacast', 'extract', 'ct.nii.gz', 'mask.nii.gz', '-o', 'f.csv', '-q',"
        "'--accept-doubtful']\n"
        "from hepacast.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'pandas', 'asyncio', 'matplotlib', 'sklearn', 'numba'} & set(sys.modules)))"
    )
    for _ in range(2):  # the first time something may be compiled
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stderr
    assert (tmp_path / "f.csv").read_text(encoding="utf-8").startswith("patient,voi,original_shape_")


def test_linear_algebra_has_one_thread_whatever_the_computer():
    """Sums of two threads end in other digits than those of four."""
    code = (
        "import sys; sys.argv = ['hepacast', '--version']\n"
        "from hepacast.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import numpy, scipy.linalg, threadpoolctl\n"
        "print({entry['num_threads'] for entry in threadpoolctl.threadpool_info()})"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "{1}"


@pytest.mark.parametrize(
    "command", ["init", "check", "run", "segment", "extract", "model", "report", "predict", "demo", "recipes", "noise"]
)
def test_every_command_has_help(hepacast, command):
    answer = hepacast(command, "--help")
    assert answer.code == 0
    assert "Usage: hepacast " in answer.out
    assert answer.err == ""


def test_wrong_words_on_the_command_line(hepacast):
    for words in (("rum",), ("run",), ("run", "x", "--worker", "2"), ("run", "x", "--workers", "-1")):
        answer = hepacast(*words)
        assert answer.code == 2
        assert "Traceback" not in answer.err


def test_recipes(hepacast):
    listed = hepacast("recipes").out
    for name in ("ptlf", "tace-response", "proliferative", "early-recurrence"):
        assert name in listed
    assert json.loads(hepacast("recipes", "--schema").out)["title"] == "Study"
    assert "| `table` |" in hepacast("recipes", "--reference").out


def test_init_writes_a_study_that_only_lacks_its_data(hepacast, tmp_path):
    answer = hepacast("init", tmp_path / "new")
    assert answer.code == 0
    study = tmp_path / "new" / "study.yaml"
    assert load_study(study).recipe == "ptlf"
    assert (tmp_path / "new" / "clinical-template.xlsx").is_file()
    again = hepacast("init", tmp_path / "new")
    assert again.code == 2
    assert "--force" in again.err
    study.write_text("name: mine\n")
    assert hepacast("init", tmp_path / "new", "--force").code == 0
    assert "mine" not in yaml.safe_load(study.read_text())["name"]
    checked = hepacast("check", tmp_path / "new")
    assert checked.code == 2
    assert "clinical.xlsx" in checked.out


def test_explain_a_feature(hepacast):
    answer = hepacast("extract", "--explain", "original_glcm_Idn")
    assert answer.code == 0
    assert "IBSI" in answer.out


def test_a_demo_without_its_packages_says_so_before_it_makes_patients(tmp_path, monkeypatch):
    import sys

    from hepacast.errors import MissingPackageError
    from hepacast.study.demos import run_demo_of

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match="torch"):
        run_demo_of("ptlf", tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
