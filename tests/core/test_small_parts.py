"""Seeds, progress, optional packages."""

import hashlib
import io

import numpy as np
import pytest

from hepacast.core import progress
from hepacast.core.optional import require
from hepacast.core.progress import LineReporter, RichReporter, SilentReporter, format_bytes, format_seconds
from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import MissingPackageError


def test_a_stream_is_named_by_its_purpose_not_by_its_turn():
    expected = int(hashlib.sha256(b"2024\x1fnested\x1f3").hexdigest()[:8], 16)
    assert derive_seed(2024, "nested", 3) == expected
    first = rng(2024, "nested", 3).normal(size=4)
    rng(2024, "other").normal(size=100)
    np.testing.assert_array_equal(rng(2024, "nested", 3).normal(size=4), first)
    purposes = [("a", "bc"), ("ab", "c"), ("a", "b", "c"), ("abc",), ()]
    assert len({derive_seed(1, *words) for words in purposes} | {derive_seed(2, *purposes[0])}) == 6


def test_plain_lines_are_few_and_tell_the_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    reporter = LineReporter(stream, every_seconds=10)
    reporter.say("radiomics")
    with reporter.track("features") as update:
        for done in range(1, 41):
            now[0] += 1.0
            update(done, 100)
    assert stream.getvalue().splitlines() == [
        "radiomics",
        "  features: 10 of 100, about 90 s left".replace("90 s", "2 min"),
        "  features: 20 of 100, about 80 s left",
        "  features: 30 of 100, about 70 s left",
        "  features: 40 of 100, about 60 s left",
    ]


def test_what_cannot_be_counted_is_told_in_percent(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with LineReporter(stream, every_seconds=10).track("training", counted=False) as update:
        now[0] = 20.0
        update(250, 1000)
    assert stream.getvalue() == "  training: 25%, about 60 s left\n"


@pytest.mark.parametrize(("counted", "shown"), [(True, "3/8"), (False, "38%")])
def test_live_bars_and_silence(counted, shown):
    from rich.console import Console

    stream = io.StringIO()
    reporter = RichReporter(Console(file=stream, force_terminal=True, width=100))
    reporter.say("cohort [not markup]")
    with reporter.track("features", counted=counted) as update:
        update(3, 8)
    assert "features" in stream.getvalue() and shown in stream.getvalue()
    silent = SilentReporter()
    silent.say("nothing")
    with silent.track("x") as update:
        update(1, 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "1.5 h")]
)
def test_times(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(512e6, "512 MB"), (1.44e9, "1.4 GB")])
def test_sizes(size, text):
    assert format_bytes(size) == text


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingPackageError, match=r"(?s)Segmentation needs .*'no_such_package'.*hepacast\[seg\]"):
        require("no_such_package", purpose="Segmentation", extra="seg")
    assert require("json", purpose="x", extra="y").dumps([1]) == "[1]"
