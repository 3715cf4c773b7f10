"""The program without what only POSIX has, on consoles without UTF-8, and on a disk with the rules of Windows.

Windows itself is not here: a process whose Python has no POSIX modules and calls, and file systems that reserve and
fold names, stand for it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

SOURCE = Path(__file__).parents[2] / "src"
#: Runs before everything else in every process of the program: what Windows' Python does not have is taken away.
WITHOUT_POSIX = """
import os, signal, subprocess, sys, time  # those that must have seen the system as it is

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "readline", "spwd", "crypt"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty"):
    sys.modules.pop(name, None)
for name in ("fork", "forkpty", "geteuid", "getuid", "getgid", "getegid", "getgroups", "sched_getaffinity", "nice",
             "getloadavg", "mkfifo", "chown", "lchown", "fchown", "setsid", "setpgid", "killpg",
             "sysconf", "getpgid", "confstr", "posix_fadvise", "posix_fallocate", "sync", "fdatasync", "fchmod"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("pthread_kill", "pthread_sigmask", "sigwait", "SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGPIPE",
             "alarm", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
"""
STUDY = """
hepacast: 1
name: 术后复发
cohort:
  table: 表 1.csv
  id: 患者
  columns:
    afp: {column: AFP, quantity: none}
    size: {column: 大小 (cm), quantity: none}
    event: {column: event, quantity: none, after_event: true}
outcome: {definition: binary-column, column: event}
modelling:
  candidates: [afp, size]
  models: [clinical]
  validation: {folds: 3, repeats: 1, bootstrap: 0, permutations: 0, learning_curve: 0}
evaluation: {bootstrap: 5}
report: {formats: [html]}
"""
#: Names of patients that Windows reserves or folds, or that are no file names.
PATIENTS = ["CON", "con", "NUL", "p1", "P1", "a:b", "x.", "x ", "COM1", "é", "张三"]


@pytest.fixture(scope="module")
def other_system(tmp_path_factory):
    """Environment of a process without POSIX, on a console of Western Europe's Windows."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(WITHOUT_POSIX, encoding="utf-8")
    before = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(folder), str(SOURCE), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "LC_ALL": "C.UTF-8"}


def make_study(folder: Path) -> Path:
    study = folder / "研究 ρ"
    study.mkdir(parents=True)
    count = 60
    names = PATIENTS + [f"H{i:03d}" for i in range(count - len(PATIENTS))]
    table = {
        "患者": names,
        "AFP": [round(5 + 3.7 * (i * 7 % 23), 2) for i in range(count)],
        "大小 (cm)": [round(2 + (i * 5 % 17) / 3, 1) for i in range(count)],
        "event": [int((i * 7 % 23) + (i * 5 % 17) + i % 5 > 22) for i in range(count)],
    }
    pd.DataFrame(table).to_csv(study / "表 1.csv", index=False, encoding="utf-8")
    (study / "study.yaml").write_text(STUDY, encoding="utf-8")
    return study


def call(environment, *words, code=0):
    command = [sys.executable, "-m", "hepacast", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=600)
    assert done.returncode == code, done.stderr.decode("cp1252", "replace")[-3000:]
    return (done.stderr if code else done.stdout).decode("cp1252")


@pytest.mark.slow
def test_a_study_from_table_to_prediction_without_posix(tmp_path, other_system):
    study = make_study(tmp_path)
    call(other_system, "check", study)
    call(other_system, "run", study, "--workers", 2, "--quiet")
    model = study / "results" / "model.hepacast"
    told = call(other_system, "predict", model, "afp=20", "size=4.5", "--out", tmp_path / "one", "--json")
    assert 0 < json.loads(told)["risk"] < 1
    assert (tmp_path / "one" / "prediction.pdf").read_bytes().startswith(b"%PDF")
    # An error whose words the console cannot show is told all the same.
    assert "\\u" in call(other_system, "predict", model, "大小=4", code=2)


def test_the_server_answers_without_posix(tmp_path, other_system):
    pytest.importorskip("fastapi")
    command = [sys.executable, "-m", "hepacast", "serve", str(tmp_path), "--no-browser", "--port", "0"]
    with (tmp_path / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, env=other_system, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        address = ""
        while not address and time.monotonic() < end and server.poll() is None:
            words = (tmp_path / "log.txt").read_text(encoding="cp1252").split()
            address = next((word for word in words if word.startswith("http://127.0.0.1")), "")
            time.sleep(0.1)
        assert address, (tmp_path / "log.txt").read_text(encoding="cp1252")
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200 and b"hepacast" in answer.read().lower()
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("lowntfs-3g") or not Path("/dev/fuse").exists(), reason="needs ntfs-3g and FUSE")
def test_a_study_on_a_disk_with_the_names_of_windows(tmp_path, other_system):
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * 2**20)
    subprocess.run(["mkntfs", "-F", "-Q", "-q", str(image)], check=True, capture_output=True)
    options = "ignore_case,windows_names"
    if subprocess.run(["lowntfs-3g", str(image), str(disk), "-o", options], check=False).returncode:
        pytest.skip("this system mounts no disk for its user")
    try:
        with pytest.raises(OSError):
            (disk / "CON").write_text("", encoding="utf-8")
        study = make_study(disk)
        call(other_system, "run", study, "--quiet")
        model = study / "results" / "model.hepacast"
        call(other_system, "predict", model, "afp=20", "size=4.5", "--out", disk / "one")
        table = study / "表 1.csv"
        call(other_system, "predict", model, "--table", table, "--out", disk / "many", "--pages")
        risks = pd.read_csv(disk / "many" / "risks.csv")
        pages = list((disk / "many" / "patients").glob("*/prediction.pdf"))
        assert len(risks) == 60 and len(pages) == 60
    finally:
        subprocess.run(["fusermount", "-u", str(disk)], check=False)
