"""De-identified copies for research: the basic profile of DICOM PS3.15 by `dicom-anonymizer`, with keyed UIDs.

The library draws random UIDs and forgets them when it ends, which would split a study; here a UID follows from the old
one and the node's secret: the same study is the same study again, and nobody without the secret can tell which it was.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import uuid
import warnings
from pathlib import Path

from hepacast.core.files import atomic_folder
from hepacast.core.optional import require

_ONE_AT_A_TIME = threading.Lock()
#: UIDs of the standard itself (classes, transfer syntaxes) say nothing of a patient.
_OF_THE_STANDARD = "1.2.840.10008."


class KeyedUids(dict[str, str]):
    """New UIDs by old ones, made when they are asked for."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self._secret = secret

    def __contains__(self, old: object) -> bool:
        return True

    def get(self, old: str, default: object = None) -> str:  # type: ignore[override]
        """The new UID."""
        if not old or old.startswith(_OF_THE_STANDARD):
            return old
        digest = hmac.new(self._secret, b"uid\0" + old.encode(), hashlib.sha256).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def deidentify(images: Path, folder: Path, secret: bytes) -> list[Path]:
    """Write de-identified copies of all files under `images` into `folder`.

    The patient's ID becomes a code that follows from the old one, so that studies of one patient stay together.

    Raises
    ------
    MissingPackageError
        `dicom-anonymizer` is not installed.
    """
    library = require("dicomanonymizer.simpledicomanonymizer", purpose="De-identification", extra="pacs")
    import pydicom

    from hepacast.imaging.dicom_source import in_utf8

    made = []
    with atomic_folder(folder) as scratch, _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        vars(library)["dictionary"] = KeyedUids(secret)
        for number, path in enumerate(sorted(images.rglob("*.dcm")), start=1):
            dataset = in_utf8(pydicom.dcmread(path))
            patient = str(dataset.get("PatientID") or "")
            library.anonymize_dataset(dataset)
            code = hmac.new(secret, b"patient\0" + patient.encode(), hashlib.sha256).hexdigest()[:12]
            dataset.PatientID = dataset.PatientName = code
            dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "PS3.15 basic profile"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            name = f"{number:05d}.dcm"
            dataset.save_as(scratch / name, enforce_file_format=True)
            made.append(folder / name)
    return made
