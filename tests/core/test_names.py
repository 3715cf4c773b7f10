"""File names of patients: inside their folder, on every system, and never another patient's."""

import pytest

from hepacast.core.names import file_name, fit_beside, user_folder

STRANGE = [
    *("../../X01", "..", ".", "", "a/b", "a-b", "a b", "a\\b", "C:x", "CON", "con", "Nul", "LPT1", "x.", "X ", " X"),
    *("病人1", "病人2", "=1+1", "X01\n", "X01", "x01", "X-01", "X_01", "x_01", "é", "e\u0301", "-X", "\ud800"),
    *("P" * 300, "P" * 301),
]


@pytest.mark.parametrize("identifier", ["P001", "HCC_001", "TCGA-DD-A1EB", "0017", "17"])
def test_plain_identifiers_stay(identifier):
    assert file_name(identifier) == identifier


@pytest.mark.parametrize("identifier", STRANGE)
def test_every_name_is_safe(identifier):
    name = file_name(identifier)
    assert name.isascii() and 0 < len(name) < 100
    assert not set(name) & set('/\\:*?"<>|. ') and not name.startswith("-")
    assert name.upper() not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT1"}


def test_no_two_identifiers_have_one_name_also_where_case_does_not_count():
    many = [*STRANGE, *(f"{a}{b}" for a in "aA" for b in "bB-_ ."), *(file_name(item) for item in STRANGE)]
    many += [file_name(item).upper() for item in STRANGE]
    names = {item: file_name(item) for item in dict.fromkeys(many)}
    assert len({name.casefold() for name in names.values()}) == len(names)


@pytest.mark.parametrize("names", [["con"], ["Aux"], ["nul.1"], ["t1", "T1"], ["ap."], ["COM1"]])
def test_names_that_a_person_chose_must_be_files_on_windows(names):
    assert "Windows" in fit_beside(names)


def test_usual_names_of_sequences_are_files_everywhere():
    assert fit_beside(["arterial", "portal venous", "T1", "T2", "console", "dwi.b800"]) is None


@pytest.mark.parametrize(
    ("system", "settings", "cache"),
    [
        ("linux", ".config", ".cache"),
        ("darwin", "Library/Application Support", "Library/Caches"),
        ("win32", "AppData/Roaming", "AppData/Local"),
    ],
)
def test_folders_of_the_user_are_where_the_system_has_them(monkeypatch, tmp_path, system, settings, cache):
    monkeypatch.setattr("sys.platform", system)
    for name in ("APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    assert user_folder("settings") == tmp_path / settings / "hepacast"
    assert user_folder("cache") == tmp_path / cache / "hepacast"
    for name in ("APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    own = {"linux": ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"), "win32": ("APPDATA", "LOCALAPPDATA")}
    if system in own:
        assert [user_folder("settings"), user_folder("cache")] == [tmp_path / n / "hepacast" for n in own[system]]
