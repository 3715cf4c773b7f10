"""Training and validation sets: by a column, by lists of patients, or at random, stratified and fixed by the seed.

A random split depends on the seed and on each patient's identifier only: the order of the rows does not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from hepacast.cohort.columns import key_among, nearest, word_key
from hepacast.cohort.findings import name_patients
from hepacast.cohort.joining import clean_id, near_ids, tell_near_ids
from hepacast.cohort.outcome import Outcome
from hepacast.cohort.sheets import decode
from hepacast.errors import OutcomeError, StudyFileError, TableError

TRAINING, VALIDATION = "training", "validation"
#: Name of the one set of an undivided cohort.
ALL = "training"
#: Of a cohort of another hospital, to which a frozen model is applied.
EXTERNAL = "external"


def split_none(patients: Iterable[str], name: str = ALL) -> pd.Series:
    """One cohort: everybody is in the training set, which is judged by resampling (or in the set of another name)."""
    return _series(dict.fromkeys(patients, name))


def split_by_column(values: pd.Series, sets: Mapping[str, Sequence[object]]) -> pd.Series:
    """Sets by the words in a column (a center, or a column that names the set).

    Parameters
    ----------
    values
        The column by patient (as `ClinicalTable.values` gives it).
    sets
        Set -> the words that mark it, for example ``{"training": [1], "validation": [2, 3]}``.

    Returns
    -------
    Series
        Set by patient; patients whose word marks no set are left out (say why in the patient flow).

    Raises
    ------
    StudyFileError
        One word marks two sets, or a word stands nowhere in the column.
    """
    words: dict[str, str] = {}
    for name, listed in sets.items():
        for word in listed:
            key = word_key(word)
            if words.setdefault(key, name) != name:
                raise StudyFileError(f"The word {word!r} marks both sets, {words[key]!r} and {name!r}.")
    present = {key_among(value, words) for value in values.dropna()}
    absent = [key for key in words if key not in present]
    if absent:
        raise StudyFileError(
            f"No patient has {' or '.join(map(repr, absent))} in the column that divides the sets.",
            expected=f"a value of the column {values.name!r}: {', '.join(sorted(present)[:20])}",
            found=", ".join(absent),
            where="cohort.split",
            remedy=nearest(absent[0], sorted(present)) or None,
        )
    placed = {
        str(patient): words[key_among(value, words)]
        for patient, value in values.items()
        if not pd.isna(value) and key_among(value, words) in words
    }
    return _series(placed)


def split_by_list(patients: Iterable[str], sets: Mapping[str, Iterable[str]]) -> pd.Series:
    """Sets by lists of patients.

    Raises
    ------
    TableError
        A listed patient is not in the table, or stands in two lists.
    """
    known = list(patients)
    cleaned = {name: [clean_id(patient) for patient in listed] for name, listed in sets.items()}
    strangers = {name: [p for p in listed if p not in set(known)] for name, listed in cleaned.items()}
    if any(strangers.values()):
        first = next(listed[0] for listed in strangers.values() if listed)
        raise TableError(
            "The list of the "
            + " and of the ".join(f"{name} set" for name, listed in strangers.items() if listed)
            + " names patients who are not in the table.",
            found="; ".join(f"{name}: {name_patients(listed)}" for name, listed in strangers.items() if listed),
            where="cohort.split",
            remedy=tell_near_ids(near_ids(known, [p for listed in strangers.values() for p in listed]), "lists")
            or nearest(first, known)
            or "check the identifiers, leading zeros included",
        )
    placed: dict[str, str] = {}
    for name, listed in cleaned.items():
        for patient in listed:
            if placed.setdefault(patient, name) != name:
                raise TableError(
                    f"Patient {patient} stands in the lists of two sets, {placed[patient]} and {name}.",
                    where="cohort.split",
                )
    return _series({patient: placed[patient] for patient in known if patient in placed})


def read_patient_list(path: str | Path) -> list[str]:
    """Patients from a text file, one a line; empty lines and lines that begin with ``#`` are skipped.

    Raises
    ------
    TableError
        The file is missing or is no text.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError("The list of patients was not found.", found=str(path))
    lines = (line.split("#")[0].strip() for line in decode(path.read_bytes(), path.name)[0].splitlines())
    return [clean_id(line) for line in lines if line]


def split_at_random(outcome: Outcome, *, seed: int, validation_fraction: float = 0.3) -> pd.Series:
    """A split stratified by outcome, independent of the order of patients.

    Within each class patients are ordered by a hash of seed and identifier; the first share is the validation set,
    rounded to the nearest patient (half up).
    """
    events = outcome.events
    placed: dict[str, str] = {}
    for label in (0, 1):
        members = sorted(
            (str(patient) for patient in events.index[events == label]), key=lambda name: _rank(seed, name)
        )
        size = int(len(members) * validation_fraction + 0.5)
        placed |= {patient: VALIDATION if place < size else TRAINING for place, patient in enumerate(members)}
    return _series({str(patient): placed[str(patient)] for patient in events.index})


def check_sets(sets: pd.Series, outcome: Outcome) -> None:
    """Every set needs patients of both classes (binary), or an event (survival).

    Raises
    ------
    OutcomeError
        A set has one class only, or no event.
    """
    short = []
    for name in dict.fromkeys(sets):
        members = outcome.events.reindex(sets.index[sets == name]).dropna()
        positive = int(members.sum())
        if not outcome.suffices(members.index):
            short.append(f"The {name} set cannot be used: its {len(members)} patients have {positive} events.")
    if short:
        raise OutcomeError(
            " ".join(short),
            expected="patients with and without the event in each set",
            where="cohort.split",
            remedy="choose another split, or take one set and judge the model by resampling",
        )


def _rank(seed: int, patient: str) -> str:
    return hashlib.sha256(f"split\x1f{int(seed)}\x1f{patient}".encode()).hexdigest()


def _series(placed: Mapping[str, str]) -> pd.Series:
    index = pd.Index([str(patient) for patient in placed], name="patient", dtype=object)
    return pd.Series(list(placed.values()), index=index, name="set", dtype=object)
