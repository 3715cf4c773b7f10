from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.biomarkers.measure import measure_biomarkers
from hepacast.cohort.mrecist import mrecist_category
from hepacast.core.files import read_json
from hepacast.errors import ModelError, StudyFileError
from hepacast.phantom.ct import Scanner
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.phantom.tace import draw_tace_patient, make_tace_cohort
from hepacast.phantom.tace_ct import TaceImage, make_tace_ct, rim_hu, uneven_hu
from hepacast.phantom.tace_truth import NOTHING, PLANTED, tace_bayes, tace_coefficients


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tace")
    make_tace_cohort(folder, 12, 3, 4, seed=7, unmasked=2, size="tiny")
    return folder


def test_the_image_is_better_than_the_clinic_and_both_are_best() -> None:
    bayes = tace_bayes(PLANTED, 20_000)
    assert bayes.clinical < 0.65 < bayes.image < bayes.combined < 1.0
    assert 0.4 < bayes.event_rate < 0.6
    nothing = tace_bayes(NOTHING, 20_000)
    assert nothing.combined == pytest.approx(0.5, abs=1e-9)


def test_files_and_table_are_complete(cohort: Path) -> None:
    table = pd.read_csv(cohort / "clinical.csv", dtype=str)
    assert len(table) == 19
    assert table["center"].value_counts().to_dict() == {"1": 12, "2": 4, "1, later": 3}
    for patient in table["patient"]:
        assert (cohort / "images" / f"{patient}.nii.gz").is_file()
        assert (cohort / "masks" / f"{patient}.nii.gz").is_file()
    assert len(list((cohort / "expert").iterdir())) == 17


def test_mrecist_gives_the_drawn_response(cohort: Path) -> None:
    table = pd.read_csv(cohort / "clinical.csv")
    truth = {item["patient"]: item for item in read_json(cohort / "truth.json")["patients"]}
    for row in table.to_dict("records"):
        category = mrecist_category(
            row["Viable diameters before (mm)"],
            row["Viable diameters after (mm)"],
            new_lesion=bool(row["New lesion"]),
        )
        assert (category in ("CR", "PR")) == bool(truth[row["patient"]]["responded"])


def test_a_patient_depends_on_seed_and_identifier_alone() -> None:
    first, second = (draw_tace_patient("T001", "training", 3, PLANTED) for _ in range(2))
    assert first.row == second.row
    assert draw_tace_patient("T002", "training", 3, PLANTED).row != first.row


def test_rim_and_unevenness_are_in_the_image() -> None:
    from scipy import ndimage

    base = PatientSpec("T", 1, tumors=(TumorSpec("right", 60.0),))
    found = {}
    for name, rim, texture in (("plain", -1.5, -1.5), ("rim", 1.5, -1.5), ("uneven", -1.5, 1.5)):
        scan = make_tace_ct(TaceImage(base, rim, texture))
        mask = scan.labels.mask("tumor").array
        depth = ndimage.distance_transform_edt(mask, sampling=scan.image.spacing[::-1])
        values = scan.image.array.astype(float)
        core = values[mask & (depth > 10)]
        found[name] = (values[mask & (depth < 7)].mean() - core.mean(), core.std())
    assert found["rim"][0] - found["plain"][0] > 0.6 * (rim_hu(1.5) - rim_hu(-1.5))
    assert found["uneven"][1] / found["plain"][1] > 0.4 * uneven_hu(1.5) / uneven_hu(-1.5)
    assert found["rim"][1] == pytest.approx(found["plain"][1], rel=0.35)


def test_nothing_planted_is_nothing(tmp_path: Path) -> None:
    people = [draw_tace_patient(f"T{n}", "training", 1, tace_coefficients("none")) for n in range(50)]
    assert len({person.probability for person in people}) == 1
    assert 10 < sum(person.responded for person in people) < 40
    with pytest.raises(ModelError):
        tace_coefficients("some")
    with pytest.raises(StudyFileError):
        make_tace_cohort(tmp_path, 5)


def test_responders_live_longer() -> None:
    people = [draw_tace_patient(f"T{n}", "training", 2, PLANTED) for n in range(600)]
    rate = {}
    for value in (0, 1):
        rows = [person.row for person in people if person.responded == value]
        rate[value] = sum(row["Death"] for row in rows) / sum(row["Survival (days)"] for row in rows)
    assert 0.3 < rate[1] / rate[0] < 0.7


def test_another_scanner_changes_noise_sharpness_and_enhancement_by_what_is_said() -> None:
    from scipy import ndimage

    spec = TaceImage(PatientSpec("T", 1), 0.5, 0.5)
    usual = make_tace_ct(spec)
    outside = usual.image.array < -990  # air: the noise alone
    liver = usual.labels.mask("parenchyma").array
    other = make_tace_ct(spec, scanner=Scanner(noise=2.0))
    assert (other.labels.volume.array == usual.labels.volume.array).all()
    values = {name: scan.image.array.astype(float) for name, scan in (("usual", usual), ("other", other))}
    signal = make_tace_ct(spec, scanner=Scanner(noise=0.0)).image.array.astype(float)
    noise = {name: (value - signal)[liver].std() for name, value in values.items()}
    assert noise["other"] / noise["usual"] == pytest.approx(2.0, rel=0.02)
    late = make_tace_ct(spec, scanner=Scanner(enhancement=15.0)).image.array.astype(float)
    assert np.median((late - values["usual"])[liver]) == 15.0
    assert np.abs(late - values["usual"])[outside].max() <= 1.0
    blurred = make_tace_ct(spec, scanner=Scanner(noise=0.0, blur=1.5)).image.array.astype(float)
    deep = ndimage.binary_erosion(liver, iterations=3)  # away from the lung, which a blur lets in
    assert blurred[deep].std() < 0.95 * signal[deep].std()


def test_a_lobulated_tumor_is_less_of_a_ball() -> None:
    found = {}
    for share in (0.0, 0.09, 0.25):
        volumes, balls = [], []
        for patient in ("A", "B", "C"):
            spec = PatientSpec(patient, 3, tumors=(TumorSpec("right", 60.0, share),), cirrhosis=False)
            scan = make_tace_ct(TaceImage(spec, 0.0, 0.0))
            numbers = measure_biomarkers({"portal": scan.image}, scan.labels.masks()).values
            volumes.append(numbers["biomarker/shape/ln_tumor_volume"])
            balls.append(numbers["biomarker/shape/sphericity"])
        found[share] = (np.mean(balls), np.mean(volumes))
    assert found[0.0][0] > found[0.09][0] > found[0.25][0] + 0.04
    assert 0 < found[0.25][1] - found[0.0][1] < 0.3  # ln ml: bumps reach further out than in
