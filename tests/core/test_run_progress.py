"""The file that tells how far a run is: kept while it lives, true when it was killed, obeyed when it says stop."""

import json
import math
import os
import subprocess
import sys
import time

import pytest

from hepacast.core.progress import SilentReporter
from hepacast.core.run_progress import (
    DEAD_AFTER,
    PROGRESS,
    ProgressRecorder,
    StageProgress,
    ask_to_stop,
    read_progress,
)
from hepacast.errors import HepacastError

STAGES = [StageProgress("a", "A", "kept", 0.0), StageProgress("b", "B", "waiting", 20.0)]
LONG = """
import sys, time
from pathlib import Path
from hepacast.core.progress import SilentReporter
from hepacast.core.run_progress import ProgressRecorder
with ProgressRecorder(SilentReporter()).writing(Path(sys.argv[1])):
    time.sleep(60)
"""


def test_stages_jobs_and_time_left_are_told_and_the_end_is(tmp_path):
    recorder = ProgressRecorder(SilentReporter())
    with recorder.writing(tmp_path):
        recorder.plan(STAGES)
        assert read_progress(tmp_path).left == pytest.approx(20.0)
        recorder.begin("b")
        with recorder.track("patients") as progress:
            progress(1, 4)
            recorder._write()
            seen = read_progress(tmp_path)
        assert (seen.state, seen.label, seen.done, seen.total) == ("running", "patients", 1, 4)
        assert [item.state for item in seen.stages] == ["kept", "running"]
        assert 15 < seen.left <= 20
        recorder.end("b")
    last = read_progress(tmp_path)
    assert last.state == "done" and [item.state for item in last.stages] == ["kept", "done"]
    assert math.isfinite(last.stages[1].seconds)


def test_a_failure_keeps_its_reason(tmp_path):
    with pytest.raises(HepacastError), ProgressRecorder(SilentReporter()).writing(tmp_path):
        raise HepacastError("No column INR.", remedy="name it")
    last = read_progress(tmp_path)
    assert last.state == "failed" and "No column INR." in last.message and "name it" in last.message


def start(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], stderr=subprocess.PIPE)
    for _ in range(200):
        seen = read_progress(tmp_path)
        if seen is not None and seen.process == process.pid:
            return process
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def test_a_request_to_stop_is_as_control_c(tmp_path):
    process = start(tmp_path)
    ask_to_stop(tmp_path)
    _, said = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in said
    assert read_progress(tmp_path).state == "stopped"
    assert [item.name for item in tmp_path.iterdir()] == [PROGRESS]


def test_a_killed_run_is_not_taken_for_a_running_one(tmp_path):
    process = start(tmp_path)
    process.kill()
    process.wait()
    assert json.loads((tmp_path / PROGRESS).read_text())["state"] == "running"
    assert read_progress(tmp_path).state == "stopped"


def test_an_old_file_is_that_of_a_dead_run_though_its_number_lives(tmp_path):
    recorder = ProgressRecorder(SilentReporter())
    with recorder.writing(tmp_path):
        told = json.loads((tmp_path / PROGRESS).read_text())
        assert told["process"] == os.getpid() and read_progress(tmp_path).state == "running"
    (tmp_path / PROGRESS).write_text(json.dumps(told | {"updated": time.time() - DEAD_AFTER - 1}))
    assert read_progress(tmp_path).state == "stopped"
    (tmp_path / PROGRESS).write_text("{")
    assert read_progress(tmp_path) is None
