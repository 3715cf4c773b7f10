"""Virtual cohorts of studies C and D: what is planted is there, and nothing else is."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from hepacast.cohort.scores.table import usable
from hepacast.core.files import read_json
from hepacast.core.seeds import rng
from hepacast.errors import StudyFileError
from hepacast.imaging.io import read_labelmap, read_volume
from hepacast.phantom import early_recurrence, proliferative
from hepacast.phantom.mr import LABELS, PHASES, make_mr, wash_out
from hepacast.phantom.resection import HEADERS, draw_causes, draw_row, printed, study_columns
from hepacast.phantom.spec import PatientSpec, TumorSpec


def test_bayes_aucs_are_what_the_truth_gives():
    for module in (early_recurrence, proliferative):
        aucs = module.bayes_aucs(module.PLANTED)
        assert 0.85 < aucs["combined"] < 0.92
        assert aucs["clinical"] < aucs["image"] < aucs["combined"]
    assert early_recurrence.bayes_aucs(early_recurrence.PLANTED)["event_rate"] == pytest.approx(0.58, abs=0.02)
    assert proliferative.bayes_aucs(proliferative.PLANTED)["event_rate"] == pytest.approx(0.42, abs=0.02)
    assert early_recurrence.bayes_aucs(early_recurrence.NOTHING)["combined"] == pytest.approx(0.5)


def test_wash_out_shows_in_the_later_phases_only():
    contrast = {phase: [] for phase in PHASES}
    amounts = []
    for number, score in enumerate(np.linspace(-2, 2, 6)):
        mr = make_mr(PatientSpec(f"W{number}", 5, texture=float(score)))
        tumor, liver = mr.labels.mask("tumor").array, mr.labels.mask("parenchyma").array
        amounts.append(wash_out(score))
        for phase in PHASES:
            image = mr.images[phase].array / mr.fields[phase]
            # The phases are shifted against the mask by little beside the tumor's size.
            contrast[phase].append(image[tumor].mean() / image[liver].mean())
    assert np.corrcoef(amounts, contrast["delayed"])[0, 1] < -0.7
    assert abs(np.corrcoef(amounts, contrast["arterial"])[0, 1]) < 0.7


def test_the_wash_out_of_a_tumor_is_what_its_score_says():
    # In tumors of every size, and told by the image: else no reader could come near the Bayes AUC that is printed.
    amounts, spread = [], []
    for number, score in enumerate(np.linspace(-2, 2, 10)):
        size = TumorSpec("right", 35.0 + 10.0 * (number % 3))
        mr = make_mr(PatientSpec(f"S{number}", 11, tumors=(size,), texture=float(score)))
        moved = _moved_back(mr, "delayed")
        amounts.append(wash_out(score))
        spread.append(np.std(moved[mr.labels.mask("tumor").array]))
    assert np.corrcoef(amounts, spread)[0, 1] > 0.75


def _moved_back(mr, phase):
    """A phase without its bias field and gain, brought back to the arterial one by the true shift."""
    volume = mr.images[phase]
    plain = volume.with_array((volume.array / mr.fields[phase]).astype(np.float32))
    liver = mr.labels.mask("parenchyma").array
    affine = volume.geometry.affine_lps
    index = (np.linalg.inv(affine) @ mr.shifts[phase] @ affine)[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    back = ndimage.affine_transform(plain.array, index[:3, :3], index[:3, 3], order=1, mode="nearest")
    return back / np.median(back[liver])


def test_the_spleen_is_labeled_where_it_is():
    for number in range(3):
        mr = make_mr(PatientSpec(f"P{number}", 4))
        spleen = mr.labels.mask("spleen").array
        flat = mr.images["portal"].array / mr.fields["portal"]
        liver = mr.labels.mask("parenchyma").array
        levels = np.flatnonzero(spleen.any(axis=(1, 2)))
        assert spleen.sum() > 300
        # Below the dome of the diaphragm, of one signal, and beside the liver's own slices: not a part of the heart.
        assert np.std(flat[spleen]) / np.mean(flat[spleen]) < 0.25
        assert levels.max() <= np.flatnonzero(liver.any(axis=(1, 2))).max() + 1


def test_an_examination_is_the_same_every_time_and_keeps_its_labels():
    spec = PatientSpec("A1", 3, texture=0.5)
    first, second = make_mr(spec), make_mr(spec)
    for phase in PHASES:
        np.testing.assert_array_equal(first.images[phase].array, second.images[phase].array)
        assert first.images[phase].array.min() >= 0
        assert first.fields[phase].mean() == pytest.approx(1.0, abs=1e-3)
    assert all((first.labels.volume.array == value).any() for value in LABELS.values())
    assert np.array_equal(first.shifts["arterial"], np.eye(4))
    assert not np.array_equal(first.shifts["portal"], np.eye(4))


@pytest.fixture(scope="module")
def recurrence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("d")
    truth = early_recurrence.make_recurrence_cohort(folder, 4, 2, size="tiny", seed=7)
    return folder, read_json(truth)


def test_recurrence_cohort_on_disk(recurrence):
    folder, truth = recurrence
    table = pd.read_csv(folder / "clinical.csv")
    assert table["set"].tolist() == ["training"] * 4 + ["validation"] * 2
    early = (table["Recurrence-free time (months)"] < 24) & (table["Recurrence"] == "yes")
    assert early.astype(int).tolist() == [row["early"] for row in truth["patients"]]
    # nobody is censored before 24 months: the outcome of everybody is known
    assert not ((table["Recurrence-free time (months)"] < 24) & (table["Recurrence"] == "no")).any()
    image = read_volume(folder / "images" / "M001" / "delayed.nii.gz")
    mask = read_labelmap(folder / "masks" / "M001.nii.gz", LABELS)
    image.geometry.require_same(mask.volume.geometry)


def test_a_patient_depends_on_the_seed_and_the_identifier_alone(tmp_path, recurrence):
    folder, _ = recurrence
    early_recurrence.make_recurrence_cohort(tmp_path, 2, 0, size="tiny", seed=7)
    a = read_volume(folder / "images" / "M002" / "portal.nii.gz").array
    b = read_volume(tmp_path / "images" / "M002" / "portal.nii.gz").array
    np.testing.assert_array_equal(a, b)


def test_further_cohorts_follow_the_hidden_score_or_do_not():
    def correlation(hazard):
        people = [
            proliferative.draw_patient(f"R{i}", "RFA", 1, proliferative.PLANTED, None, hazard=hazard)
            for i in range(500)
        ]
        hidden = np.array([p.causes["hidden"] for p in people])
        rate = np.array([p.event / p.months for p in people])
        return np.corrcoef(hidden, rate > np.median(rate))[0, 1], np.mean([p.event for p in people])

    planted, events = correlation(True)
    nothing, _ = correlation(False)
    assert planted > 0.25
    # 500 patients: standard error of a correlation of nothing 0.045
    assert abs(nothing) < 0.14
    assert 0.4 < events < 0.9


def test_proliferative_cohorts_on_disk(tmp_path):
    sizes = {"training": 2, "validation": 1, "external": 1, "RFA": 2, "TACE": 1}
    truth = read_json(proliferative.make_proliferative_cohorts(tmp_path, sizes, size="tiny", hazard="none"))
    assert truth["log_hazard"] == {"RFA": 0.0, "TACE": 0.0}
    labelled = pd.read_csv(tmp_path / "clinical.csv")
    assert labelled["Proliferative"].isin(["yes", "no"]).all()
    rfa = pd.read_csv(tmp_path / "rfa.csv")
    assert "Proliferative" not in rfa.columns and (rfa["Time (months)"] > 0).all()
    assert {p.name for p in (tmp_path / "images").iterdir()} == {
        f"{name}.nii.gz" for name in ("A001", "A002", "B001", "E001", "R001", "R002", "T001")
    }


def test_unknown_effects_are_refused(tmp_path):
    with pytest.raises(StudyFileError):
        early_recurrence.make_recurrence_cohort(tmp_path, 1, 0, effect="some")
    with pytest.raises(StudyFileError):
        proliferative.make_proliferative_cohorts(tmp_path, {}, hazard="some")
    with pytest.raises(StudyFileError):
        early_recurrence.make_recurrence_cohort(tmp_path, 0, 0)


def test_the_table_has_the_inputs_of_most_staging_systems(recurrence):
    from hepacast.cohort import ColumnSpec, read_table
    from hepacast.study.template import recipe_values

    folder, _ = recurrence
    specs = []
    for name, entry in study_columns().items():
        levels = {level: tuple(words) for level, words in entry.get("levels", {}).items()}
        specs.append(
            ColumnSpec(
                name,
                (entry["column"],),
                kind=entry.get("kind", "numeric"),
                quantity=entry.get("quantity", ""),
                unit=entry.get("unit", ""),
                source_unit=entry.get("unit", ""),
                levels=levels,
            )
        )
    table = read_table(folder / "clinical.csv", id_column="patient", columns=specs)
    found = set(usable(table, recipe_values("early-recurrence")["indexes"]["columns"]))
    wanted = {
        "BCLC", "CNLC", "AJCC TNM 8", "CLIP", "Okuda", "JIS", "HKLC", "Child-Pugh", "ALBI", "mALBI", "PALBI", "MELD",
        "MELD-Na", "MELD 3.0", "FIB-4", "APRI", "NLR", "PLR", "LMR", "PNI", "SII", "GPR", "HAP", "mHAP-II",
        "six-and-twelve", "up-to-seven", "ERASL-pre",
    }  # fmt: skip
    assert wanted <= found


def test_printed_values_are_plausible():
    generator = rng(0, "test")
    for _ in range(300):
        causes = {name: float(values[0]) for name, values in draw_causes(generator, 1).items()}
        row = printed(draw_row(causes, generator))
        assert set(row) == {header for header, _ in HEADERS.values()}
        assert 0.08 * 1 < row["Lymphocytes (10^9/L)"] < 8
