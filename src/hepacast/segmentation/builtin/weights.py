"""The weights of the built-in networks: fetched once with a pinned hash, or taken from a file.

They are part of the wheel ``pyliverlesionseg`` 0.3 (KU Leuven, Apache-2.0) on the Python Package Index. The wheel is
fetched by pip, so that whatever mirror the user has set up is used, and only the two HDF5 files are taken out of
it; nothing of it is installed or run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from hepacast.core.files import write_bytes
from hepacast.core.hashing import hash_file
from hepacast.core.names import user_folder
from hepacast.errors import ModelError

PACKAGE, VERSION = "pyliverlesionseg", "0.3"
WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "ffe1576aefff5922ea8d1cfa2c50864cda97798798559542b9517689fd290cb8"

_FOLDER = "pyliverlesionseg/trained_models/"
#: Member of the wheel and SHA-256 of each network's weights.
MEMBERS = {
    "liver": (
        _FOLDER + "model_unet_ct_mr_liv_seg_resize_1.5mm_med_3_resize_3mm_20201011_dice_loss_val_binary_dice_mean.hdf5",
        "591ea17ca58630bc5c972d58e8600068c46a4d56a5ca45af52c1c1277a41c662",
    ),
    "lesion": (
        _FOLDER + "model_unet_ct_mr_lesion_seg_resize_1mm_1mm_3mm_20220207_dice_loss_val_binary_dice_mean.hdf5",
        "0dc9bc877a99c8afde00a078f122ae386136ed6eae1f157220317106e4f10e04",
    ),
}

_FETCH = f"pip download --no-deps --python-version 3.6 --only-binary=:all: {PACKAGE}=={VERSION}"
_OFFLINE = (
    f"on a computer with internet run '{_FETCH}', carry the file {WHEEL} here, and give it with --weights (once: it "
    "is then kept)"
)


def cache_folder() -> Path:
    """Where fetched weights are kept: ``HEPACAST_CACHE``, else the user's cache folder."""
    given = os.environ.get("HEPACAST_CACHE")
    if given:
        return Path(given)
    return user_folder("cache")


def weight_files(weights: str | Path | None = None, cache: str | Path | None = None) -> dict[str, Path]:
    """The two HDF5 files, fetched or unpacked if they are not there yet.

    Parameters
    ----------
    weights
        The wheel, or a folder with it, for a computer without internet.
    cache
        Where to keep the files; by default `cache_folder`.

    Returns
    -------
    dict
        ``{"liver": path, "lesion": path}``, hashes checked.

    Raises
    ------
    ModelError
        The wheel cannot be fetched, or its content is not the expected one.
    StorageError
        The cache cannot be written.
    """
    # Looked for even where the files are kept already: a file that is named must be there.
    given = None if weights is None else _given_wheel(Path(weights))
    folder = Path(cache) if cache is not None else cache_folder()
    folder = folder / f"{PACKAGE}-{VERSION}"
    files = {name: folder / f"{name}.hdf5" for name in MEMBERS}
    if all(path.is_file() and hash_file(path) == MEMBERS[name][1] for name, path in files.items()):
        return files
    if given is not None:
        _unpack(given, files)
        return files
    with tempfile.TemporaryDirectory() as temporary:
        _unpack(fetch_wheel(Path(temporary)), files)
    return files


def weights_present(cache: str | Path | None = None) -> bool:
    """Whether the files are in the cache already (so that nothing needs the network)."""
    folder = (Path(cache) if cache is not None else cache_folder()) / f"{PACKAGE}-{VERSION}"
    return all((folder / f"{name}.hdf5").is_file() for name in MEMBERS)


def _given_wheel(path: Path) -> Path:
    if path.is_dir():
        path = path / WHEEL
    if not path.is_file():
        raise ModelError(
            "The weights of the built-in segmenter are not there.",
            expected=WHEEL,
            where=str(path),
            remedy=_OFFLINE,
        )
    return path


def fetch_wheel(folder: Path) -> Path:
    """Let pip download the wheel into a folder.

    Raises
    ------
    ModelError
        It cannot be fetched.
    """
    command = [sys.executable, "-m", *_FETCH.split(), "--dest", str(folder), "--disable-pip-version-check"]
    try:
        run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise _not_fetched("no answer within 10 minutes") from error
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.strip()]
        raise _not_fetched("\n".join(lines[-3:]) or f"pip ended with {run.returncode}")
    return folder / WHEEL


def _not_fetched(found: str) -> ModelError:
    return ModelError(
        "The weights of the built-in segmenter cannot be fetched.",
        expected=f"{PACKAGE} {VERSION} from the Python package index that pip is set up for",
        found=found,
        remedy=_OFFLINE,
    )


def _unpack(wheel: Path, files: dict[str, Path]) -> None:
    """Take the HDF5 files out of the wheel, after its hash has been checked."""
    found = hash_file(wheel) if wheel.is_file() else "no file"
    if found != WHEEL_SHA256:
        raise ModelError(
            "The file is not the wheel whose weights hepacast knows.",
            expected=f"{WHEEL} with SHA-256 {WHEEL_SHA256}",
            found=found,
            where=str(wheel),
            remedy=_OFFLINE,
        )
    with zipfile.ZipFile(wheel) as archive:
        for name, path in files.items():
            member, digest = MEMBERS[name]
            content = archive.read(member)
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelError(f"The {name} weights in the wheel are damaged.", where=str(wheel), remedy=_OFFLINE)
            write_bytes(path, content)
