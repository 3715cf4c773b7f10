"""nnU-Net's work in a child process: its environment, its progress, and its last words when it dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from hepacast.core.files import write_json
from hepacast.errors import ModelError

#: A line of the child's stdout that starts with this is a message for the parent, in JSON.
MESSAGE = "@@hepacast "

_TAIL_LINES = 25


def run_child(
    task: str,
    job: Mapping[str, Any],
    work_dir: Path,
    *,
    threads: int | None,
    gpu: str | None = None,
    on_message: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Run one task of `hepacast.segmentation.nnunet.child` and wait for it.

    Parameters
    ----------
    task
        ``plan``, ``folds`` or ``choose``.
    job
        Its settings, JSON.
    work_dir
        Folder of the training; the log goes to ``logs`` in it.
    threads, gpu
        Threads of the numerical libraries; the only GPU that the child sees (None: all).
    on_message
        Receives the child's progress.

    Raises
    ------
    ModelError
        The child failed; the message holds the end of what it wrote to stderr.
    """
    job_file = work_dir / "logs" / f"{task}-{job.get('worker', 0)}.json"
    log_file = job_file.with_suffix(".log")
    job_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(job_file, dict(job))
    with log_file.open("w", encoding="utf-8") as log, tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "hepacast.segmentation.nnunet.child", task, str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=child_environment(work_dir, threads, gpu),
        )
        try:
            assert child.stdout is not None
            _pass_on(child.stdout, log, on_message)
            code = child.wait()
        finally:
            _stop(child)
        errors.seek(0)
        words = errors.read()
        log.write("\n--- stderr ---\n" + words)
    if code != 0:
        raise ModelError(
            f"nnU-Net stopped during {task!r} ({_how(code)}).",
            found=_tail(words) or "nothing was written to stderr",
            where=str(log_file),
            remedy="the log holds everything it wrote; finished folds are kept, so the same command goes on from there",
        )


def child_environment(work_dir: Path, threads: int | None, gpu: str | None = None) -> dict[str, str]:
    """nnU-Net's folders and limits, for the child alone; the user's own environment stays as it is."""
    environment = dict(os.environ)
    environment.update(
        nnUNet_raw=str(work_dir / "raw"),
        nnUNet_preprocessed=str(work_dir / "preprocessed"),
        nnUNet_results=str(work_dir / "results"),
        nnUNet_wandb_enabled="0",
        MPLBACKEND="agg",
        PYTHONUNBUFFERED="1",
    )
    environment.pop("nnUNet_extTrainer", None)
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
    return environment


def _pass_on(stream: IO[str], log: IO[str], on_message: Callable[[dict[str, Any]], None] | None) -> None:
    for line in stream:
        if line.startswith(MESSAGE):
            if on_message is not None:
                on_message(json.loads(line[len(MESSAGE) :]))
        else:
            log.write(line)


def _stop(child: subprocess.Popen[str]) -> None:
    """Close the child's stdin, which tells it that nobody waits any more, and see that it ends."""
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _how(code: int) -> str:
    if code == -9:
        return "killed, most often because memory ran out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])


def send(message: Mapping[str, Any]) -> None:
    """In the child: tell the parent something."""
    sys.stdout.write(MESSAGE + json.dumps(dict(message)) + "\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """In the child: end when the parent has gone, however it went.

    The parent holds the other end of stdin; when it dies, even by SIGKILL, the pipe closes. A child that lived on
    would write into the folder that the next run is using.
    """

    def wait() -> None:
        # The bare descriptor: a thread that waits inside sys.stdin holds its lock, and a forked worker, which
        # closes sys.stdin first of all, would wait for that lock for ever.
        while os.read(0, 1):
            pass
        os._exit(17)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
