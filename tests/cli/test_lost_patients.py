"""Patients who were included and cannot be measured: every number is of those who stay, and the lost are named."""

from __future__ import annotations

import csv
import html
import re

import numpy as np
import pytest

from hepacast.core.files import read_json
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.volume import Volume


def text_of(small) -> str:
    page = "".join(file.read_text(encoding="utf-8") for file in sorted((small.out / "report").glob("*.html")))
    page = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.usefixtures("figures_as_words")
def test_numbers_are_of_the_patients_who_were_analyzed(hepacast, small):
    """The masks of two patients with and one without the event in training, and of one in validation, are a line."""
    table = small.table
    training = table[table["center"] == 1]
    lost = [
        *training[training["PTLF"] == "yes"]["patient"][:2],
        *training[training["PTLF"] == "no"]["patient"][:1],
        *table[(table["center"] == 2) & (table["PTLF"] == "yes")]["patient"][:1],
    ]
    for patient in lost:
        mask = read_volume(small.mask(patient))
        labels = np.where(np.asarray(mask.array) == 2, 1, np.asarray(mask.array)).astype(np.uint8)
        at = int(np.flatnonzero(np.asarray(mask.array) == 2)[0])
        labels.flat[at : at + 3] = 2
        write_volume(Volume(labels, mask.geometry), small.mask(patient))
    small.values["report"] = {"formats": ["html"]}
    small.values["evaluation"] = {"bootstrap": 5}
    small.values["modelling"]["alpha"] = 0.4
    small.write()
    answer = hepacast("run", small.folder, "--workers", "1", "--quiet")
    assert answer.code == 0, answer.err

    kept = table[~table["patient"].isin(lost)]
    events = int((kept["PTLF"] == "yes").sum())
    outcome = read_json(small.out / "modelling" / "outcome.json")
    assert (outcome["n"], outcome["n_events"]) == (36, events)
    text = text_of(small)
    assert f"PTLF: {events} of 36 patients" in text  # the first page
    assert f"It occurred in {events} of 36 patients" in text
    assert "40 of 40 reviewed were included; 4 of them could not be analyzed, 36 were" in text  # Summary
    assert "4 of 40 included patients (10.0%) could not be analyzed" in text
    assert "tumor too small to measure (a single row of voxels) in 4" in text
    assert f"3 of 4 had the event against {events} of 36 of the others" in text
    assert "not lost at random" in text  # Limits
    assert "models and results are of the other 36" in text  # Methods

    by_outcome = read_json(small.out / "modelling" / "comparisons.json")["by_outcome"]
    now = kept[kept["center"] == 1]
    sizes = [int((now["PTLF"] == word).sum()) for word in ("yes", "no")]
    assert [by_outcome["sizes"][group] for group in by_outcome["groups"]] == sizes
    tested = {item["name"]: item["p"] for item in read_json(small.out / "modelling/models.json")["clinical"]["tests"]}
    assert {name: item["p"] for name, item in by_outcome["variables"].items() if name in tested} == pytest.approx(
        tested
    )

    figure = (small.out / "report" / "figures" / "figure-1b.svg").read_text(encoding="utf-8")
    said = " ".join(re.findall(r"<!-- (.*?) -->", figure))
    for words in ("Patients included n = 40", "Not analyzed (n = 4)", "Patients analyzed n = 36"):
        assert words in said
    tables = [path.read_text(encoding="utf-8-sig") for path in (small.out / "report" / "tables").glob("*.csv")]
    rows = [row for content in tables for row in csv.reader(content.splitlines())]
    assert any("Volume of tumor (mL)" in row[0] for row in rows)
