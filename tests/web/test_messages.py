"""The catalogue of words: every language complete, every word that a page asks for there, none left over."""

import ast
import re
from pathlib import Path

import pytest
from pydantic_core._pydantic_core import list_all_errors

import hepacast
from hepacast.web.app import STATIC
from hepacast.web.messages import FOLDER, languages, messages

from .said import HOME, ROOMS, handed_on, sentences, source_trees

ENGLISH = "en"
#: What Python says, by its English words: a section of the other languages alone.
SAID = "said"


def flat(words, before=""):
    found = {}
    for key, value in words.items():
        if key == SAID:
            continue
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found


def used() -> tuple[set[str], set[str]]:
    """Keys that the pages ask for, and beginnings of those that they put together (`t(`roles.${role}`)`)."""
    files = [*Path(STATIC).rglob("*.js"), *Path(STATIC).parent.rglob("*.j2")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    whole = set(re.findall(r"""["'`]([a-z_]+(?:\.[a-z_0-9]+)+)["'`]""", text))
    begun = set(re.findall(r"""`([a-z_]+\.(?:[a-z_0-9]+[._])*)\$\{""", text))
    begun |= {f"{section}." for section in re.findall(r'said\("([a-z]+)"', text)}
    return whole, begun


@pytest.mark.parametrize("language", [path.stem for path in FOLDER.glob("*.json")])
def test_every_language_has_every_word_with_its_places(language):
    english, other = flat(messages(ENGLISH)), flat(messages(language))
    assert other.keys() == english.keys()
    for key, text in english.items():
        assert text.strip() and other[key].strip(), key
        assert sorted(re.findall(r"\{\w+\}", other[key])) == sorted(re.findall(r"\{\w+\}", text)), key


def test_chinese_is_chinese():
    latin = {key for key, text in flat(messages("zh")).items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert all(re.search(r"[0-9{}]|^[A-Z]|^\W+$", flat(messages("zh"))[key]) for key in latin), latin


def test_what_the_pages_ask_for_is_in_the_catalogue():
    whole, _ = used()
    english = flat(messages(ENGLISH))
    sections = tuple(f"{name}." for name, value in messages(ENGLISH).items() if isinstance(value, dict))
    assert {key for key in whole if key.startswith(sections)} <= english.keys()


def test_nothing_is_left_over_in_the_catalogue():
    whole, begun = used()
    kept = ("nav", "title")  # of every screen, put together by the shell
    unused = {
        key
        for key in flat(messages(ENGLISH))
        if key not in whole
        and key != "language"
        and not key.startswith(tuple(begun))
        and key.split(".")[-1] not in kept
    }
    assert not unused


def test_languages_are_known_by_their_own_names(stranger):
    assert stranger.get("/api/messages").json() == languages() == {"en": "English", "zh": "中文"}
    assert stranger.get("/api/messages/..%2f..%2fapp").status_code == 404


def codes(rooms: tuple[str, ...], makers: tuple[str, ...]) -> set[str]:
    """Kinds of findings, as the second argument of what makes one says them."""
    found = set()
    home = Path(hepacast.__file__).parent
    for path in [path for room in rooms for path in (home / room).rglob("*.py")]:
        for node in ast.walk(source_trees()[path]):
            name = getattr(getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", ""))
            if name in makers and len(node.args) >= 3:
                code = getattr(node.args[1], "value", None)
                if isinstance(code, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", code):
                    found.add(code.replace("-", "_"))
    return found


def test_every_kind_of_finding_has_its_words():
    findings = codes(("cohort", "study"), ("Finding", "add", "finding"))
    assert len(findings) > 80 and findings == set(messages(ENGLISH)["finding"])
    doubts = codes(("segmentation",), ("Remark",))
    assert len(doubts) > 15 and doubts | {"outlier"} == set(messages(ENGLISH)["doubt"])


def values() -> set[str]:
    """What pydantic says of a value in a study file, as `hepacast.study.load` passes it on."""
    kinds = re.compile(
        r"(greater|less)_than|finite_number|(int|float|bool)_(type|parsing)$|int_from|(list|dict|tuple|string|model)_type"
        r"|(string_)?too_(short|long)|literal_error|union_tag"
    )
    texts = [item["message_template_python"] for item in list_all_errors() if kinds.match(item["type"])]
    return {re.sub(r"'?{\w+}'?", "{}", text[0].lower() + text[1:]) for text in texts}


OTHERS = [code for code in languages() if code != ENGLISH]


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_of_findings_and_errors_is_in_the_catalogue(language):
    known = messages(language)[SAID]
    found = sentences(("cohort", "study", "segmentation"), errors=False)
    found |= sentences(ROOMS, errors=True) | handed_on(ROOMS) | values()
    assert len(found) > 1500
    # A piece that never stands alone is in the catalogue with what follows.
    lacking = {text for text in found if text not in known and not any(key.startswith(text) for key in known)}
    assert not lacking


@pytest.mark.parametrize("language", OTHERS)
def test_what_python_says_no_longer_is_not_kept_and_places_are_those_of_the_english(language):
    pieces = [
        node.value
        for tree in source_trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    said = "\0".join([*pieces, *values(), *(path.read_text(encoding="utf-8") for path in HOME.rglob("*.yaml"))])
    for english, own in messages(language)[SAID].items():
        places = len(re.findall(r"{#?}", english))
        assert all(int(number) < places for number in re.findall(r"{(\d+)}", own)), english
        for piece in re.split(r"{#?}", english):
            words = max(re.split(r"[;:.,()\n]", piece), key=len).split()
            # The source may put a sentence together.
            ends = " ".join(words[:3]), " ".join(words[-3:])
            assert len(words) < 3 or ends[0] in said or ends[1] in said, english
