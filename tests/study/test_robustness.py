"""A short slice of `benchmarks/robustness.py`: damaged files are refused in words, changed ones told or known."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def robustness():
    path = Path(__file__).parents[2] / "benchmarks" / "robustness.py"
    spec = importlib.util.spec_from_file_location("robustness", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_bits_turned_in_bundles(robustness, tmp_path):
    tally = robustness.fuzz_bundles(7, 60, tmp_path)
    assert not tally.failures
    assert tally.counts["refused"] > 40


def test_damaged_files_of_every_kind(robustness, tmp_path):
    tally = robustness.fuzz_damaged(7, 70, tmp_path)
    assert not tally.failures
    assert tally.counts["refused"] > 20


@pytest.mark.slow
def test_changes_that_have_a_meaning(robustness, tmp_path):
    tally = robustness.fuzz_changed(7, 44, tmp_path)
    assert not tally.failures
    assert tally.counts["known answer"] > 5


@pytest.mark.slow
def test_bits_turned_in_results(robustness, tmp_path):
    tally = robustness.fuzz_results(7, 40, tmp_path, run_every=20)
    assert not tally.failures
    assert tally.counts["made again"] > 20


@pytest.mark.slow
def test_the_full_program(robustness):
    assert robustness.main([]) == 0
