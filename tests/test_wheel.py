"""The wheel holds what the source tree holds, with licenses; the text of what is not ours is whole."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
#: What is no text of ours: fonts, and tables of real patients.
FOREIGN = (".ttf", ".csv", ".csv.gz", ".js.map", ".woff", ".woff2", ".wasm")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    words = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "--disable-pip-version-check", "-w", str(folder)]
    # Built from a copy: setuptools leaves folders beside what it builds, and takes up what an earlier build has left.
    copy = folder / "tree"
    tree = ["src", "pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY.md"]
    command = ["git", "ls-files", "-co", "--exclude-standard", *tree]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if files.returncode:
        pytest.skip("no git here")
    for name in files.stdout.splitlines():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", *words, str(copy)], check=True)
    (path,) = folder.glob("*.whl")
    return path, {name.removeprefix("src/") for name in files.stdout.splitlines() if name.startswith("src/")}


def test_the_wheel_holds_every_file_of_the_package(wheel):
    path, wanted = wheel
    with zipfile.ZipFile(path) as archive:
        held = {name for name in archive.namelist() if name.startswith("hepacast/")}
    assert held == wanted


def test_the_wheel_holds_the_licenses(wheel):
    path, _ = wheel
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if ".dist-info/licenses/" in name]
        texts = {Path(name).name: archive.read(name).decode("utf-8") for name in names}
    assert set(texts) == {"LICENSE", "THIRD_PARTY.md", "OFL.txt"}
    assert "SIL OPEN FONT LICENSE" in texts["OFL.txt"].upper()


def test_what_is_not_ours_is_named_with_its_license():
    told = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    foreign = [path for path in SOURCE.rglob("*") if path.name.endswith(FOREIGN)]
    assert len(foreign) >= 6
    for path in foreign:
        name = path.relative_to(SOURCE).as_posix()
        assert name in told or f"{Path(name).parent.as_posix()}/*{path.suffix}" in told, name
    listed = json.loads((ROOT / ".ci" / "components.json").read_text(encoding="utf-8"))
    for item in listed:
        (row,) = [line for line in told.splitlines() if line.startswith("|") and item["bom-ref"] in line]
        assert item["licenses"][0]["license"]["id"] in row, item["name"]


def test_weights_in_the_list_of_components_are_those_that_are_fetched():
    from hepacast.segmentation.builtin.weights import VERSION, WHEEL_SHA256

    listed = json.loads((ROOT / ".ci" / "components.json").read_text(encoding="utf-8"))
    item = next(item for item in listed if item["name"] == "pyliverlesionseg")
    assert (item["version"], item["hashes"][0]["content"]) == (VERSION, WHEEL_SHA256)
