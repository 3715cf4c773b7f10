"""Every biomarker on phantoms whose answer is known before it is measured."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from ball_phantom import CENTER, Patient, ball
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import norm

from hepacast.biomarkers import measure_biomarkers
from hepacast.biomarkers.definitions import Missing
from hepacast.biomarkers.enhancement import BIOMARKERS as IN_A_PHASE
from hepacast.biomarkers.scales import TRUNCATE, fine_and_coarse, smoothed
from hepacast.biomarkers.staging import PatientFacts
from hepacast.biomarkers.surface import nodularity
from hepacast.errors import GeometryError, HepacastError
from hepacast.imaging import Geometry, Volume, read_mask, read_volume
from hepacast.imaging.phases import phase_of


def near(value: float, expected: float, by: float) -> bool:
    return abs(value - expected) <= by


# -- enhancement -------------------------------------------------------------------------------------------------------


def test_tumor_rim_core_and_liver_around_it_against_the_liver():
    patient = Patient()
    around = ball(patient.geometry, CENTER, 23.0) & ~patient.tumor
    image = patient.image(liver=100, rim=150, core=80)
    image.array[around] = 110
    found = measure_biomarkers({"portal": image}, patient.masks).values
    liver = image.array[patient.liver & ~patient.tumor].mean()
    tumor = image.array[patient.tumor]
    values = {name.rpartition("/")[2]: value for name, value in found.items() if "/portal/" in name}
    assert values["liver_mean"] == pytest.approx(liver)
    assert values["tumor_minus_liver"] == pytest.approx(tumor.mean() - liver)
    assert values["tumor_p10_minus_liver"] == pytest.approx(80 - liver)
    assert values["tumor_p90_minus_liver"] == pytest.approx(150 - liver)
    # Voxels at the edge of the two belong to either: the means move by less than a tenth of the step of 70 HU.
    assert near(values["rim_minus_liver"], 150 - liver, 7)
    assert near(values["core_minus_liver"], 80 - liver, 7)
    assert near(values["rim_minus_core"], 70, 7)
    assert near(values["rim_ratio"], 150 / 80, 0.15)
    assert near(values["around_minus_liver"], 110 - liver, 1)
    assert near(values["capsule"], 150 - 110, 7)
    assert values["tumor_sd"] == pytest.approx(tumor.std())


def test_shares_of_the_tumor_by_halves():
    patient = Patient()
    image = patient.image(liver=100)
    left = np.arange(patient.geometry.size[0])[None, None, :] * patient.geometry.spacing[0] < CENTER[0]
    image.array[patient.tumor & left] = 150
    image.array[patient.tumor & ~left] = 10
    found = measure_biomarkers({"portal": image}, patient.masks).values
    for name, limit in (("bright_share", 110), ("dark_share", 90), ("necrotic_share", 30)):
        assert near(found[f"biomarker/portal/{name}"], half_of(limit, 10, 150, dark=limit < 100), 0.04), name


def half_of(limit: float, low: float, high: float, *, dark: bool) -> float:
    """Share of a ball of 15 mm beyond a limit, when its halves are low and high and smoothed by 2 mm."""
    shift = 2.0 * norm.ppf((limit - low) / (high - low))  # where the smoothed step passes the limit, mm
    moved = (3 * shift / 15 - (shift / 15) ** 3) / 4  # volume between that plane and the middle
    return 0.5 + moved if dark else 0.5 - moved


def test_noise_is_no_enhancement():
    patient = Patient()
    flat = patient.image(100, 100, 100, noise=60.0)
    found = measure_biomarkers({"arterial": flat, "portal": flat, "delayed": flat}, patient.masks)
    assert found.values["biomarker/arterial/bright_share"] < 0.06
    assert found.values["biomarker/li-rads/arterial_hyperenhancement"] < 0.1
    assert found.grades["biomarker/stage/li_rads"] == "LR-3"


def smooth_course(patient: Patient) -> tuple[np.ndarray, Volume]:
    """Depth in the tumor in mm, and an image that follows it from the margin to the middle."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in patient.geometry.size), indexing="ij", sparse=True)
    squares = [(at * step - c) ** 2 for at, step, c in zip((i, j, k), patient.geometry.spacing, CENTER)]
    depth = (15.0 - np.sqrt(sum(squares))).T
    image = patient.image(100, 100, 100)
    image.array[patient.tumor] += (3.0 * depth - 0.2 * depth**2)[patient.tumor].astype(np.float32)
    return depth, image


def test_a_wide_rim_is_no_heterogeneity_of_the_core():
    patient = Patient()
    depth, smooth = smooth_course(patient)
    noise = np.random.default_rng(3).normal(0.0, 12.0, depth.shape).astype(np.float32)
    rough = smooth.with_array(np.where(patient.tumor, smooth.array + noise, smooth.array))
    found = {
        name: measure_biomarkers({"portal": image}, patient.masks).values
        for name, image in (("0", smooth), ("12", rough))
    }
    inside = depth[patient.core]
    assert near(found["0"]["biomarker/portal/core_sd"], np.std(3.0 * inside - 0.2 * inside**2), 0.05)
    assert found["0"]["biomarker/portal/core_detrended_sd"] < 0.15 * found["0"]["biomarker/portal/core_sd"]
    assert found["12"]["biomarker/portal/core_detrended_sd"] == pytest.approx(12.0, rel=0.03)
    flat = measure_biomarkers({"portal": patient.image(103.7, 103.7, 103.7)}, patient.masks).values
    assert flat["biomarker/portal/core_detrended_sd"] == 0.0
    small = Patient(((CENTER, 6.0),))
    few = measure_biomarkers({"portal": small.image()}, small.masks).reasons
    assert few["biomarker/portal/core_detrended_sd"] == "the core has fewer than 20 voxels"


def test_where_the_scan_cuts_a_tumor_is_no_margin():
    patient = Patient()
    _, image = smooth_course(patient)
    half = slice(int(CENTER[2] / patient.geometry.spacing[2]), None)
    geometry = replace(patient.geometry, size=(*patient.geometry.size[:2], image.array[half].shape[0]))
    cut = {name: Volume(mask.array[half], geometry) for name, mask in patient.masks.items()}
    found = measure_biomarkers({"portal": Volume(image.array[half], geometry)}, cut).values
    assert found["biomarker/portal/core_detrended_sd"] < 0.15 * found["biomarker/portal/core_sd"]
    nothing_else = Volume(np.ones((9, 9, 9), np.uint8), replace(geometry, size=(9, 9, 9)))
    reasons = measure_biomarkers({"portal": nothing_else}, {"tumor": nothing_else}).reasons
    assert reasons["biomarker/portal/core_detrended_sd"] == "the image shows nothing but the tumor"


def test_spleen_and_aorta_lie_outside_the_liver():
    patient = Patient()
    patient.add("spleen", (8.0, 8.0, 60.0), 7.0)
    patient.add("aorta", (112.0, 112.0, 60.0), 5.0)
    image = patient.image(liver=100, rim=90, core=90, others={"spleen": 130, "aorta": 180})
    found = measure_biomarkers({"portal": image}, patient.masks).values
    assert found["biomarker/portal/spleen_minus_liver"] == pytest.approx(30)
    assert found["biomarker/portal/aorta_minus_liver"] == pytest.approx(80)
    assert found["biomarker/portal/tumor_to_aorta"] == pytest.approx(0.5)
    assert near(found["biomarker/shape/spleen_volume"], 4 / 3 * math.pi * 7**3 / 1000, 0.05)


def test_between_phases():
    patient = Patient()
    images = {
        "unenhanced": patient.image(50, 45, 45),
        "arterial": patient.image(70, 110, 110),
        "portal": patient.image(110, 105, 105),
        "delayed": patient.image(95, 80, 80),
    }
    found = measure_biomarkers(images, patient.masks).values
    against = {"unenhanced": -5, "arterial": 40, "portal": -5, "delayed": -15}
    assert found["biomarker/phases/wash_in"] == pytest.approx(against["arterial"] - against["unenhanced"])
    assert found["biomarker/phases/wash_out_portal"] == pytest.approx(45)
    assert found["biomarker/phases/wash_out_delayed"] == pytest.approx(55)
    assert found["biomarker/phases/late_wash_out"] == pytest.approx(10)
    assert found["biomarker/phases/core_wash_out"] == pytest.approx(55)


def test_extracellular_volume_fat_and_what_takes_up_nothing():
    patient = Patient()
    patient.add("spleen", (8.0, 8.0, 60.0), 7.0)
    patient.add("aorta", (112.0, 112.0, 60.0), 5.0)
    before = patient.image(40, 42, 42, others={"spleen": 50, "aorta": 40})
    arterial = patient.image(60, 42, 42, others={"spleen": 120, "aorta": 300})
    left = np.arange(patient.geometry.size[0])[None, None, :] * patient.geometry.spacing[0] < CENTER[0]
    arterial.array[patient.tumor & left] = 142
    delayed = patient.image(90, 72, 72, others={"spleen": 95, "aorta": 140})
    images = {"unenhanced": before, "arterial": arterial, "delayed": delayed}
    found = measure_biomarkers(images, patient.masks, facts=PatientFacts(hematocrit=0.4))
    assert found.values["biomarker/phases/ecv_liver"] == pytest.approx(100 * 0.6 * 50 / 100)
    assert found.values["biomarker/phases/ecv_tumor"] == pytest.approx(100 * 0.6 * 30 / 100)
    assert found.values["biomarker/phases/liver_minus_spleen"] == pytest.approx(-10)
    assert found.values["biomarker/phases/liver_to_spleen"] == pytest.approx(0.8)
    assert near(found.values["biomarker/phases/unenhancing_share"], half_of(10, 0, 100, dark=True), 0.02)
    without = measure_biomarkers(images, patient.masks)
    assert without.reasons["biomarker/phases/ecv_liver"] == "the hematocrit is not known"


def test_lung_in_a_mask_that_is_drawn_too_wide_is_no_liver():
    patient = Patient()
    image = patient.image(liver=100, rim=60, core=60, noise=10.0)
    exact = measure_biomarkers({"portal": image}, patient.masks).values
    lung = image.with_array(np.where(patient.liver, image.array, -800.0).astype(np.float32))
    wide = {**patient.masks, "liver": Volume(ball(patient.geometry, CENTER, 57.0), patient.geometry)}
    found = measure_biomarkers({"portal": lung}, wide).values
    for name in ("liver_mean", "liver_sd", "liver_coarse_2", "tumor_minus_liver", "bright_share"):
        assert found[f"biomarker/portal/{name}"] == pytest.approx(exact[f"biomarker/portal/{name}"], abs=0.05), name


def test_mr_is_measured_on_the_scale_of_the_patients_own_liver():
    patient = Patient()
    image = patient.image(liver=300, rim=420, core=380, noise=20.0)
    found = measure_biomarkers({"arterial": image}, patient.masks, modality="MR").values
    # Another gain and offset of the scanner change nothing.
    other = image.with_array((image.array * 3.7 + 55).astype(np.float32))
    again = measure_biomarkers({"arterial": other}, patient.masks, modality="MR").values
    liver, tumor = image.array[patient.liver & ~patient.tumor], image.array[patient.tumor]
    sd = 1.4826 * np.median(np.abs(liver - np.median(liver)))
    assert found["biomarker/arterial/tumor_minus_liver"] == pytest.approx((tumor.mean() - liver.mean()) / sd, rel=1e-4)
    assert near(found["biomarker/arterial/liver_sd"], 1.0, 0.02)
    assert math.isnan(found["biomarker/arterial/liver_mean"])
    for name, value in found.items():
        assert again[name] == pytest.approx(value, rel=2e-3, abs=2e-3, nan_ok=True), name


# -- structure ---------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    spacing=st.tuples(*[st.sampled_from([0.7, 1.0, 2.5, 5.0])] * 3),
    mm=st.sampled_from([1.0, 1.5, 2.0, 4.0]),
    seed=st.integers(0, 5),
)
def test_smoothing_within_a_region_is_scipys_divided_by_that_of_the_mask(spacing, mm, seed):
    generator = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(generator.normal(size=(9, 14, 11)), 1.5) > -0.02
    mask[0, 0, 0] = True
    image = generator.normal(100, 20, mask.shape)
    sigma = [mm / step for step in spacing]
    reach = [int(TRUNCATE * s + 0.5) for s in sigma]
    above = ndimage.gaussian_filter(np.where(mask, image, 0.0), sigma, mode="constant", radius=reach)
    below = ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant", radius=reach)
    assert smoothed(image, mask, spacing, mm) == pytest.approx(above[mask] / below[mask], abs=1e-3)


def test_structure_is_measured_in_mm_not_in_voxels():
    # White noise of 1-mm voxels, and the same tissue on voxels of half the size: one answer.
    generator = np.random.default_rng(3)
    coarse = ndimage.gaussian_filter(generator.normal(0, 1, (60, 60, 60)), 2.0) * 100
    fine = ndimage.zoom(coarse, 2, order=3, grid_mode=True, mode="nearest")
    one = fine_and_coarse(coarse, np.ones(coarse.shape, dtype=bool), (1.0, 1.0, 1.0), 2.0)
    two = fine_and_coarse(fine, np.ones(fine.shape, dtype=bool), (0.5, 0.5, 0.5), 2.0)
    assert two == pytest.approx(one, rel=0.03)


def test_a_wave_is_split_by_its_length():
    # A Gaussian of s mm leaves exp(-2 pi^2 s^2 / L^2) of a wave of length L.
    x = np.arange(2000) * 0.8
    length, amplitude, mm = 10.0, 12.0, 2.0
    wave = np.broadcast_to(amplitude * np.sin(2 * np.pi * x / length), (2, 3, 2000)).copy()
    fine, coarse = fine_and_coarse(wave, np.ones(wave.shape, dtype=bool), (5.0, 5.0, 0.8), mm)
    left = math.exp(-2 * math.pi**2 * mm**2 / length**2)
    assert near(coarse, amplitude / math.sqrt(2) * left, 0.12)
    assert near(fine, amplitude / math.sqrt(2) * (1 - left), 0.12)


def test_nothing_beside_the_region_leaks_in():
    patient = Patient()
    one = measure_biomarkers({"portal": patient.image(100, 60, 60)}, patient.masks).values
    for name in ("liver_fine_2", "liver_coarse_4", "core_fine_1_5", "tumor_coarse_4", "liver_sd"):
        assert near(one[f"biomarker/portal/{name}"], 0.0, 1e-4), name


# -- geometry ----------------------------------------------------------------------------------------------------------


def test_number_diameters_volumes_and_burden():
    tumors = (((45.0, 60.0, 60.0), 15.0), ((85.0, 60.0, 60.0), 6.0), ((60.0, 95.0, 60.0), 4.0))
    patient = Patient(tumors)
    found = measure_biomarkers({"portal": patient.image()}, patient.masks).values
    shape = {name.rpartition("/")[2]: value for name, value in found.items() if "/shape/" in name}
    assert shape["tumor_number"] == 3
    assert near(shape["longest_diameter"], 30, 1.3)
    assert near(shape["sum_of_diameters"], 50, 3.5)
    assert near(shape["target_sum"], 42, 2.5)
    volume = sum(4 / 3 * math.pi * r**3 for r in (15, 6, 4)) / 1000
    assert near(shape["tumor_volume"], volume, 0.02 * volume)
    liver = 4 / 3 * math.pi * 55**3 / 1000
    assert near(shape["liver_volume"], liver, 0.01 * liver)
    assert near(shape["spared_volume"], liver - volume, 0.01 * liver)
    assert near(shape["burden"], 100 * volume / liver, 0.05)
    assert shape["ln_tumor_volume"] == pytest.approx(math.log(shape["tumor_volume"]))
    # 40 mm between the centers of the first two, 15 + 6 mm of tumor: 19 mm apart; the third is 38.1 - 19 = 19.1 away.
    assert shape["satellites"] == 2


def test_form_of_a_ball_and_of_two_balls_that_touch():
    one = Patient()
    two = Patient((((50.0, 60.0, 60.0), 12.0), ((72.0, 60.0, 60.0), 12.0)))
    found, other = (measure_biomarkers({"portal": p.image()}, p.masks).values for p in (one, two))
    # The surface of voxels is larger than the ball's: its sphericity is below 1, by about a tenth on any grid.
    assert 0.88 <= found["biomarker/shape/sphericity"] <= 1.0
    assert found["biomarker/shape/margin_irregularity"] <= 0.08  # steps of 2 mm
    assert other["biomarker/shape/tumor_number"] == 1
    # Two balls and their convex hull: a capsule of the two centers.
    apart, radius = 22.0, 12.0
    overlap = math.pi * (2 * radius - apart) ** 2 * (apart**2 + 4 * apart * radius) / (12 * apart)
    balls = 8 / 3 * math.pi * radius**3 - overlap
    hull = 4 / 3 * math.pi * radius**3 + math.pi * radius**2 * apart
    assert near(other["biomarker/shape/margin_irregularity"], 1 - balls / hull, 0.08)
    assert near(other["biomarker/shape/longest_diameter"], 46, 1.5)


def test_longest_diameter_is_that_of_axial_slices_however_the_array_lies():
    geometry = Geometry((40, 40, 60), (1.0, 1.0, 1.0))
    array = np.zeros(geometry.shape, dtype=bool)
    array[5:55, 10:30, 18:22] = True  # 50 along z, 20 along y, 4 along x
    axial = {"tumor": Volume(array, geometry), "liver": Volume(np.ones_like(array), geometry)}
    found = measure_biomarkers({"portal": axial["tumor"].with_array(array * 1.0)}, axial).values
    assert found["biomarker/shape/longest_diameter"] == pytest.approx(math.hypot(20, 3), abs=0.6)
    # The same body as a coronal acquisition: slices along y.
    turned = Geometry((40, 60, 40), (1.0, 1.0, 1.0), (0, 0, 0), ((1, 0, 0), (0, 0, 1), (0, 1, 0)))
    masks = {name: Volume(np.ascontiguousarray(item.array.transpose(1, 0, 2)), turned) for name, item in axial.items()}
    again = measure_biomarkers({"portal": masks["tumor"].with_array(masks["tumor"].array * 1.0)}, masks).values
    assert again["biomarker/shape/longest_diameter"] == pytest.approx(found["biomarker/shape/longest_diameter"])


@pytest.mark.parametrize(("x", "expected"), [(60.0, 40.0), (80.0, 20.0), (100.0, 0.0)])
def test_distance_to_the_capsule(x, expected):
    patient = Patient((((x, 60.0, 60.0), 15.0),))
    patient.masks["tumor"] = Volume(patient.tumor & patient.liver, patient.geometry)
    found = measure_biomarkers({"portal": patient.image()}, patient.masks).values
    assert near(found["biomarker/shape/distance_to_capsule"], expected, 2.0)  # a voxel


def test_the_images_edge_is_no_capsule():
    geometry = Geometry((40, 40, 40), (1.0, 1.0, 1.0))
    liver = np.ones(geometry.shape, dtype=bool)
    masks = {"liver": Volume(liver, geometry), "tumor": Volume(ball(geometry, (20, 20, 20), 5), geometry)}
    found = measure_biomarkers({"portal": masks["liver"].with_array(liver * 1.0)}, masks)
    assert found.reasons["biomarker/shape/distance_to_capsule"] == "the image ends before the liver does"


def test_distance_to_vessels_and_hilum():
    patient = Patient((((45.0, 60.0, 60.0), 10.0),))
    patient.add("portal vein", (75.0, 60.0, 60.0), 5.0)
    patient.add("hilum", (60.0, 60.0, 100.0), 6.0)
    found = measure_biomarkers({"portal": patient.image()}, patient.masks).values
    assert near(found["biomarker/shape/distance_to_vessels"], 15.0, 1.5)
    assert near(found["biomarker/shape/distance_to_hilum"], math.hypot(15, 40) - 16, 1.5)
    patient.add("portal vein", (55.0, 60.0, 60.0), 5.0)
    found = measure_biomarkers({"portal": patient.image()}, patient.masks).values
    assert found["biomarker/shape/distance_to_vessels"] == 0.0


@pytest.mark.parametrize("amplitude", [0.0, 0.5, 1.0])
def test_surface_nodularity_of_a_rippled_disc(amplitude):
    geometry = Geometry((300, 300, 12), (0.7, 0.7, 3.0))
    y, x = np.meshgrid(np.arange(300) * 0.7 - 105, np.arange(300) * 0.7 - 105, indexing="ij")
    angle, radius = np.arctan2(y, x), 85.0
    waves = round(2 * np.pi * radius / 8.0)  # nodules of 8 mm
    disc = np.hypot(x, y) <= radius + amplitude * np.sin(waves * angle)
    found = nodularity(Volume(np.broadcast_to(disc, geometry.shape).copy(), geometry))
    assert not isinstance(found, Missing)
    # Voxels of 0.7 mm leave about 0.1 mm; of the ripple's mean height, 2 a / pi, nearly all is left.
    expected = 2 * amplitude / np.pi
    assert near(found, max(expected, 0.05), 0.08 + 0.2 * expected)


# -- LI-RADS, mRECIST, stages ------------------------------------------------------------------------------------------


def _hcc(patient: Patient) -> dict[str, Volume]:
    return {
        "arterial": patient.image(liver=70, rim=110, core=110),
        "portal": patient.image(liver=110, rim=140, core=90),
        "delayed": patient.image(liver=95, rim=125, core=70),
    }


def test_li_rads_of_a_textbook_tumor():
    patient = Patient()
    found = measure_biomarkers(_hcc(patient), patient.masks)
    features = {name.rpartition("/")[2]: value for name, value in found.values.items() if "/li-rads/" in name}
    assert features["arterial_hyperenhancement"] == 1.0
    assert near(features["washout"], 25, 5)
    assert near(features["capsule"], 30, 4)
    assert near(features["size"], 30, 1.3)
    assert found.values["biomarker/stage/li_rads"] == 5
    assert found.grades["biomarker/stage/li_rads"] == "LR-5"


@pytest.mark.parametrize(
    ("change", "grade"),
    [
        ({"arterial": (70, 70, 70)}, "LR-4"),  # no APHE, 30 mm, washout and capsule
        ({"arterial": (70, 70, 70), "portal": (110, 110, 110), "delayed": (95, 95, 95)}, "LR-3"),
        ({"portal": (110, 110, 110), "delayed": (95, 95, 95)}, "LR-4"),  # APHE alone, 30 mm
        ({"portal": (110, 90, 90), "delayed": (95, 70, 70)}, "LR-5"),  # APHE and washout, no capsule
        ({"arterial": (70, 120, 60)}, "LR-M"),  # a rim that enhances alone
    ],
)
def test_li_rads_follows_the_table(change, grade):
    patient = Patient()
    images = _hcc(patient) | {phase: patient.image(*values) for phase, values in change.items()}
    found = measure_biomarkers(images, patient.masks)
    assert found.grades["biomarker/stage/li_rads"] == grade


def test_li_rads_cannot_be_judged_without_a_phase_and_says_which():
    patient = Patient()
    images = _hcc(patient)
    del images["arterial"]
    found = measure_biomarkers(images, patient.masks)
    assert found.grades["biomarker/stage/li_rads"] == "cannot be judged"
    assert "no arterial phase" in found.reasons["biomarker/stage/li_rads"]


def test_viable_diameter_does_not_cross_necrosis():
    # A shell that enhances around a necrotic middle, and a plate through it: in any slice the longest way within the
    # shell is across it, as the shell is one part; two halves apart are measured one by one.
    patient = Patient()
    image = patient.image(liver=70, rim=70, core=70)
    x = np.arange(patient.geometry.size[0])[None, None, :] * patient.geometry.spacing[0]
    image.array[patient.tumor & (x < 55)] = 130  # 45 to 55
    image.array[patient.tumor & (x > 68)] = 130  # 68 to 75
    found = measure_biomarkers({"arterial": image}, patient.masks).values
    width = 2 * math.sqrt(15**2 - 5**2)  # the chord at x = 55
    assert near(found["biomarker/shape/viable_diameter"], width, 2.0)
    assert near(found["biomarker/shape/viable_sum"], width, 2.0)
    cold = measure_biomarkers({"arterial": patient.image(liver=70, rim=60, core=60)}, patient.masks).values
    assert cold["biomarker/shape/viable_diameter"] == 0.0


@pytest.mark.parametrize(
    ("radii", "invasion", "stage", "sums"),
    [
        ((8.0,), False, "T1a", "within"),
        ((15.0,), False, "T1b", "within"),
        ((15.0,), True, "T2", "beyond"),
        ((15.0,), None, "T1b or T2", "within"),
        ((15.0, 8.0), None, "T2", "within"),
        ((27.0, 8.0), None, "T3", "beyond"),
    ],
)
def test_t_and_up_to_seven(radii, invasion, stage, sums):
    centers = ((50.0, 60.0, 60.0), (95.0, 60.0, 60.0))
    patient = Patient(tuple(zip(centers, radii)))
    found = measure_biomarkers(
        {"portal": patient.image()}, patient.masks, facts=PatientFacts(vascular_invasion=invasion)
    )
    assert found.grades["biomarker/stage/t_stage"] == stage
    assert math.isnan(found.values["biomarker/stage/t_stage"]) == (" or " in stage)
    assert found.grades["biomarker/stage/up_to_seven"] == sums
    assert near(found.values["biomarker/stage/six_and_twelve"], max(radii) / 5 + len(radii), 0.15)


# -- what cannot be measured -------------------------------------------------------------------------------------------


def test_missing_structures_are_missing_with_the_reason():
    patient = Patient()
    image = patient.image()
    only_tumor = measure_biomarkers({"portal": image}, {"tumor": patient.masks["tumor"]})
    assert only_tumor.reasons["biomarker/portal/tumor_minus_liver"] == "there is no mask of the liver"
    assert only_tumor.values["biomarker/shape/tumor_number"] == 1
    only_liver = measure_biomarkers({"portal": image}, {"liver": patient.masks["liver"]})
    assert only_liver.values["biomarker/portal/liver_mean"] == pytest.approx(100)
    assert only_liver.reasons["biomarker/shape/tumor_number"] == "there is no mask of the tumor"
    none = {**patient.masks, "tumor": Volume(np.zeros_like(patient.tumor), patient.geometry)}
    empty = measure_biomarkers({"portal": image}, none)
    assert empty.values["biomarker/shape/tumor_number"] == 0
    assert empty.values["biomarker/shape/burden"] == 0
    assert empty.reasons["biomarker/portal/tumor_sd"] == "no tumor is outlined"
    for found in (only_tumor, only_liver, empty):
        assert set(found.reasons) == {name for name, value in found.values.items() if math.isnan(value)}


def test_a_small_tumor_has_no_core_and_voxels_without_value_are_no_number():
    patient = Patient(((CENTER, 3.5),))
    found = measure_biomarkers({"portal": patient.image()}, patient.masks)
    assert found.reasons["biomarker/portal/core_sd"] == "the tumor is nowhere deeper than 4 mm"
    hole = Patient()
    image = hole.image()
    image.array[30, 48, 60] = np.nan  # the tumor's middle
    found = measure_biomarkers({"portal": image}, hole.masks)
    assert found.reasons["biomarker/portal/tumor_minus_liver"] == "the image has voxels without a value there"
    assert found.values["biomarker/portal/liver_mean"] == pytest.approx(100)


def test_voxels_larger_than_the_rim_have_no_rim():
    patient = Patient(((CENTER, 24.0),), spacing=(9.0, 9.0, 10.0))
    found = measure_biomarkers({"portal": patient.image(100, 80, 80)}, patient.masks)
    name = "biomarker/portal/rim_minus_core"
    assert np.isnan(found.values[name]) and "voxels are too large" in found.reasons[name]
    assert np.isfinite(found.values["biomarker/portal/tumor_minus_liver"])


def test_other_grids_two_images_of_a_phase_and_empty_masks_are_refused():
    patient = Patient()
    image = patient.image()
    with pytest.raises(GeometryError):
        elsewhere = Geometry(image.geometry.size, image.geometry.spacing, (0.0, 0.0, 0.0))
        measure_biomarkers({"portal": Volume(image.array, elsewhere)}, patient.masks)
    with pytest.raises(HepacastError, match="portal phase"):
        measure_biomarkers({"portal": image, "pvp": image}, patient.masks)
    empty = {name: mask.with_array(np.zeros_like(mask.array)) for name, mask in patient.masks.items()}
    with pytest.raises(HepacastError, match="Neither liver nor tumor"):
        measure_biomarkers({"portal": image}, empty)


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("arterial", "arterial"), ("T1w_AP", "arterial"), ("PVP", "portal"), ("portal-venous", "portal"),
        ("T1Delayed", "delayed"), ("equilibrium", "delayed"), ("T1 native", "unenhanced"), ("HBP", "hepatobiliary"),
        ("门静脉期1.0mm", "portal"), ("腹部平扫", "unenhanced"), ("动脉期+门脉期", None),
        ("ct", None), ("T2", None), ("DWI", None),
    ],
)  # fmt: skip
def test_phases_by_the_names_of_sequences(name, phase):
    assert phase_of(name) == phase


def test_the_numbers_that_were_written_down_once_are_there():
    """The 13 of tumor and liver in a phase, the 11 of the liver, and what changes between three phases."""
    patient = Patient()
    found = measure_biomarkers(_hcc(patient), patient.masks)
    names = """liver_mean liver_p10 liver_p90 liver_sd liver_fine_1 liver_fine_2 liver_fine_4 liver_coarse_1
        liver_coarse_2 liver_coarse_4 tumor_minus_liver tumor_sd tumor_p10_minus_liver tumor_p90_minus_liver
        rim_minus_liver core_minus_liver rim_minus_core core_sd around_minus_liver core_fine_1_5 core_coarse_1_5"""
    for phase in ("arterial", "portal", "delayed"):
        for name in names.split():
            assert math.isfinite(found.values[f"biomarker/{phase}/{name}"]), name
    for name in ("shape/ln_tumor_volume", "shape/ln_liver_volume", "phases/wash_out_portal", "phases/wash_out_delayed"):
        assert math.isfinite(found.values[f"biomarker/{name}"]), name
    assert len(IN_A_PHASE) == len({item.name for item in IN_A_PHASE})
    for item in found.definitions.values():
        assert item.label and item.definition and item.source
    labels = [item.label for item in found.definitions.values()]
    assert len(labels) == len(set(labels))  # what a model reads is told by its label


# -- the real CT -------------------------------------------------------------------------------------------------------


def test_the_real_ct(data_dir):
    """3D-IRCADb-01 patient 17: volumes of its documentation, attenuation of its masks, under a second or two."""
    folder = data_dir("ct/ircadb17")
    image = read_volume(folder / "ircadb17_ct.nii.gz")
    masks = read_mask(folder / "ircadb17_seg_1liver_2tumour.nii.gz", {"liver": 1, "tumor": 2})
    measure_biomarkers({"portal": image}, masks)
    start = time.process_time()
    found = measure_biomarkers({"portal": image}, masks).values
    seconds = time.process_time() - start
    assert found["biomarker/shape/tumor_number"] == 2
    assert near(found["biomarker/shape/liver_volume"], 1860.6, 0.1)
    assert near(found["biomarker/shape/tumor_volume"], 85.6 + 78.6, 0.1)
    liver, tumor = masks["liver"].array & ~masks["tumor"].array, masks["tumor"].array
    tissue = image.array[liver & (image.array >= -100) & (image.array <= 400)]
    assert found["biomarker/portal/liver_mean"] == pytest.approx(tissue.mean(), abs=1e-3)
    assert found["biomarker/portal/liver_sd"] == pytest.approx(tissue.std(), abs=1e-3)
    difference = image.array[tumor].mean() - tissue.mean()
    assert found["biomarker/portal/tumor_minus_liver"] == pytest.approx(difference, abs=1e-3)
    assert seconds < 4  # about 1.3 on two busy cores
