"""Extraction for many patients: one long table, whatever fails, however many workers.

One task is one image of one patient with all its VOIs. A task that fails gives a row with NaN and the reason for
every feature that was expected, so that nobody vanishes from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hepacast.core.closure import code_hash
from hepacast.core.executor import Progress, map_items
from hepacast.core.hashing import hash_path, hash_value
from hepacast.core.kept import input_changed, is_kept, seal
from hepacast.errors import HepacastError, ImageError, StudyFileError
from hepacast.imaging import Volume, read_labelmap, read_mask, read_volume
from hepacast.imaging.io import MaskRules, dicom_mask
from hepacast.imaging.placing import place_mask
from hepacast.radiomics.parameters import Parameters
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import concat_long, read_long, write_long

#: Where an image or a mask comes from: in memory, a file or DICOM folder, or a function that makes it in the worker.
VolumeSource = Volume | str | Path | Callable[[], Volume]

#: A mask, or a file with the label (value or name) that is meant.
MaskSource = VolumeSource | tuple[str | Path, int | str]

Backend = Literal["hepacast", "pyradiomics"]


@dataclass(frozen=True)
class Case:
    """One patient.

    Parameters
    ----------
    patient
        Study identifier.
    images
        Image of each sequence by the sequence's name ("" where there is only one).
    vois
        Mask of each VOI by name. Where sequences have grids of their own: for each sequence a mapping of VOIs.
    """

    patient: str
    images: Mapping[str, VolumeSource]
    vois: Mapping[str, MaskSource] | Mapping[str, Mapping[str, MaskSource]]

    def vois_of(self, sequence: str) -> dict[str, MaskSource]:
        """The VOIs that are measured in one sequence."""
        if any(isinstance(item, Mapping) for item in self.vois.values()):
            own = self.vois.get(sequence, {})
            return dict(own) if isinstance(own, Mapping) else {}
        return dict(self.vois)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _SequenceTask:
    patient: str
    sequence: str
    image: VolumeSource
    vois: dict[str, MaskSource]
    settings: Settings
    backend: Backend
    cache: Path | None


def extract_patients(
    cases: Iterable[Case],
    settings: Settings | str | Path | Mapping[str, Any] | Mapping[str, Settings],
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
    cache_dir: str | Path | None = None,
    backend: Backend = "hepacast",
) -> pd.DataFrame:
    """The long feature table of many patients.

    Parameters
    ----------
    cases
        The patients, in the order of the table.
    settings
        For all sequences; or a mapping from the sequence's name to its `Settings`.
    workers
        Processes; None takes one a core. The table does not depend on their number.
    progress
        Called with (done, total) after each image.
    cache_dir
        Folder where each image's result is kept under the hash of its input, settings and code, so that a killed run
        goes on where it stopped.
    backend
        "hepacast" or "pyradiomics".

    Returns
    -------
    DataFrame
        Columns patient, sequence, voi, feature, value, status ("ok", "undefined", "failed"), reason;
        ``attrs["settings_hash"]``.

    Raises
    ------
    StudyFileError
        The settings are wrong, or a patient is named twice.
    """
    per_sequence = _settings_by_sequence(settings)
    cache = Path(cache_dir) if cache_dir is not None else None
    tasks: list[_SequenceTask] = []
    seen: set[str] = set()
    for case in cases:
        if case.patient in seen:
            raise StudyFileError("A patient is given twice.", where=f"patient {case.patient}")
        seen.add(case.patient)
        for sequence, image in case.images.items():
            own = per_sequence(sequence)
            tasks.append(_SequenceTask(case.patient, sequence, image, case.vois_of(sequence), own, backend, cache))
    if not tasks:
        return concat_long([], settings_hash="", engine="")
    parts = map_items(_run, tasks, workers=workers, progress=progress)
    hashes = dict.fromkeys(str(part.attrs["settings_hash"]) for part in parts)
    engines = dict.fromkeys(str(part.attrs["engine"]) for part in parts if part.attrs["engine"])
    together = next(iter(hashes)) if len(hashes) == 1 else hash_value(list(hashes))
    return concat_long(parts, settings_hash=together, engine=", ".join(engines))


def _settings_by_sequence(
    settings: Settings | str | Path | Mapping[str, Any] | Mapping[str, Settings],
) -> Callable[[str], Settings]:
    if isinstance(settings, Mapping) and settings and all(isinstance(item, Settings) for item in settings.values()):
        chosen = dict(settings)

        def find(sequence: str) -> Settings:
            if sequence not in chosen:
                raise StudyFileError(
                    "A sequence has no feature settings.", expected=", ".join(chosen), found=repr(sequence)
                )
            return chosen[sequence]

        return find
    loaded = Settings.load(settings)
    return lambda sequence: loaded


def _run(task: _SequenceTask) -> pd.DataFrame:
    key = _key(task)
    file = task.cache / f"{key}.parquet" if task.cache is not None and key is not None else None
    if file is not None and is_kept(file):
        kept = read_long(file)
        kept["patient"] = task.patient
        kept["sequence"] = task.sequence
        return kept
    try:
        result = _extract(task)
    except (HepacastError, OSError, MemoryError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = error.message if isinstance(error, HepacastError) else f"{type(error).__name__}: {error}"
        expected = task.settings.feature_names()
        failed = {name: VoiResult.failed(name, expected, reason) for name in task.vois}
        # Not kept: what is wrong may be put right in a file that this task has not even read.
        return ExtractionResult(failed, task.settings.hash, "").to_long(task.patient, task.sequence)
    table = result.to_long(task.patient, task.sequence)
    if file is not None:
        if _key(task) != key:
            raise input_changed(f"patient {task.patient}")
        write_long(table, file)
        seal(file)
    return table


def _extract(task: _SequenceTask) -> ExtractionResult:
    from hepacast.radiomics.extraction import extract

    volume = _load(task.image)
    failures: dict[str, str] = {}
    masks: dict[str, Volume] = {}
    for name, source in task.vois.items():
        try:
            mask = _placed(volume, source, task.settings.parameters, name)
        except (HepacastError, OSError) as error:
            failures[name] = error.message if isinstance(error, HepacastError) else str(error)
            continue
        masks[name] = mask
    expected = task.settings.feature_names()
    results = {name: VoiResult.failed(name, expected, reason) for name, reason in failures.items()}
    engine = ""
    if masks:
        found = extract(volume, masks, task.settings, backend=task.backend, diagnostics=False)
        results.update(found.vois)
        engine = found.engine
    return ExtractionResult({name: results[name] for name in task.vois}, task.settings.hash, engine)


def load_case(
    image: VolumeSource, vois: Mapping[str, MaskSource], parameters: Parameters | None = None
) -> tuple[Volume, dict[str, Volume]]:
    """Read one image and its VOIs, which must lie on its grid.

    Raises
    ------
    HepacastError
        A file cannot be read, or a VOI lies on another grid.
    """
    volume, chosen = _load(image), parameters or Parameters.model_validate({})
    return volume, {name: _placed(volume, source, chosen, name) for name, source in vois.items()}


def _placed(volume: Volume, source: MaskSource, parameters: Parameters, name: str) -> Volume:
    mask = _load_mask(source, volume, parameters.label_channel)
    return place_mask(volume, mask, correct=parameters.correctMask, what=f"the VOI {name}")


def _load(source: VolumeSource) -> Volume:
    if isinstance(source, Volume):
        return source
    if isinstance(source, str | Path):
        return read_volume(source)
    return source()


def _load_mask(source: MaskSource, image: Volume, channel: int = 0) -> Volume:
    if isinstance(source, tuple):
        path, label = source
        # Other masks have a grid of their own, and `place_mask` judges it by the settings.
        contours = image if dicom_mask(path) is not None else None
        if isinstance(label, int):
            return read_mask(path, {"voi": label}, reference=contours)["voi"]
        named = read_mask(path, reference=contours)
        if label not in named:
            raise ImageError(
                "The mask file has no structure of this name.",
                expected=label,
                found=", ".join(named),
                where=str(path),
                remedy="use one of the names that were found, or the structure's value",
            )
        return named[label]
    if isinstance(source, str | Path):
        drawn = dicom_mask(source)
        return read_labelmap(source, reference=image if drawn else None, rules=MaskRules(channel=channel)).volume
    return _load(source)


def _key(task: _SequenceTask) -> str | None:
    """Hash of everything that the result depends on; None where an input is made by a function or cannot be read."""
    if task.cache is None:
        return None
    try:
        inputs = [_source_key(task.image), [(name, _source_key(item)) for name, item in task.vois.items()]]
    except OSError:
        return None
    if None in (inputs[0], *(key for _, key in inputs[1])):  # type: ignore[union-attr]
        return None
    code = code_hash(__name__)
    own = task.settings.parameters
    return hash_value([task.settings.hash, [own.label, own.label_channel, own.correctMask], task.backend, code, inputs])


def _source_key(source: MaskSource) -> Any:
    if isinstance(source, tuple):
        return [hash_path(source[0]), source[1]]
    if isinstance(source, str | Path):
        return hash_path(source)
    if isinstance(source, Volume):
        import hashlib

        content = hashlib.sha256(np.ascontiguousarray(source.array).tobytes()).hexdigest()
        grid = source.geometry
        return [content, str(source.array.dtype), grid.size, grid.spacing, grid.origin, grid.direction]
    return None
