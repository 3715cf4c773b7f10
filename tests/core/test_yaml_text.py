"""Files in YAML are read with limits; what would mean something else than it says is refused with the line."""

import time

import pytest

from hepacast.core.yaml_text import read_yaml
from hepacast.errors import StudyFileError


def read(text: str):
    return read_yaml(text, what="study file", where="s.yaml")[0]


def test_plain_content_and_small_aliases_are_read():
    text = "a: &one [1, 2.5, x, '010', 1e-3]\nb: *one\nc: {d: 2020-01-31, e: 0, f: -12, g: 0.5, 1: yes}\n"
    assert read(text) == {**read("a: [1, 2.5, x, '010', 1e-3]\n"), "b": read("a: [1, 2.5, x, '010', 1e-3]\n")["a"]} | {
        "c": read("c: {d: 2020-01-31, e: 0, f: -12, g: 0.5, 1: yes}\n")["c"]
    }
    assert read("") is None
    assert read("a: !!str 010\nb: !!int 5\n") == {"a": "010", "b": 5}


GROWING = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GROWING, "aliases written out .line [1-9]"),
        ("a: &x [1, *x]\n", "refers to itself"),
        ("a: 1\nb: " + "[" * 60 + "]" * 60, "too deep .line 2"),
        ("[" * 20000, "too deep"),
        ("a: 1\n? [x, y]\n: 1\n", "key that is a list or a map .line 2"),
        ("{a: 1}: 2\n", "key that is a list or a map .line 1"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "merges keys.*line 3"),
        ("a: 010\n", "two meanings .line 1"),
        ("a: 1:30\n", "two meanings"),
        ("a: " + "9" * 5000, "too long"),
        ("a: .nan\n", "is none"),
        ("a: -.inf\n", "is none"),
        ("a: 2020-13-45\n", "cannot be read|not valid"),
        ("a: !!python/object/apply:os.system ['x']\n", "kind of its own"),
        ("a: !!int x\n", "kind of its own .line 1"),
        ("a: 1\nb: !!timestamp soon\n", "kind of its own .line 2"),
        ("a: !!bool maybe\n", "kind of its own"),
        ("a: !!null 7.5\n", "kind of its own"),
        ("a: !!float ''\n", "kind of its own"),
        ("a: !!set {x, y}\n", "kind of its own"),
        ("a: [1\n", "not valid YAML"),
        ("a: \x1b\n", "not valid YAML"),
    ],
)
def test_refused_with_the_line_and_soon(text, words):
    start = time.monotonic()
    with pytest.raises(StudyFileError, match=words) as caught:
        read(text)
    assert "s.yaml" in str(caught.value) and time.monotonic() - start < 5
