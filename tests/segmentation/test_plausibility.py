"""What is plausible about an image and its masks, and what is not: anatomy in HU, places, borders, gray levels."""

from __future__ import annotations

import numpy as np
import pytest

from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume
from hepacast.imaging.structures import known_structures
from hepacast.segmentation.doubts import group_remarks, require_possible
from hepacast.segmentation.far_from_cohort import outlier_text, outliers
from hepacast.segmentation.plausibility import edge_ratio, judge, judge_image, judge_levels, judge_masks, measure_voi

#: A field of 36 cm with a body of fat, an organ of 1.5 liters in it, and a tumor of 65 mL in the organ.
GRID = Geometry((60, 60, 30), (6.0, 6.0, 8.0))
Z, Y, X = np.meshgrid(*(np.arange(n) * s for n, s in zip(GRID.shape, GRID.spacing[::-1], strict=True)), indexing="ij")
BODY = ((Y - 178) / 150) ** 2 + ((X - 178) / 165) ** 2 <= 1
LIVER = ((Z - 116) / 65) ** 2 + ((Y - 170) / 70) ** 2 + ((X - 130) / 80) ** 2 <= 1
TUMOR = (Z - 116) ** 2 + (Y - 170) ** 2 + (X - 140) ** 2 <= 25**2


def at(array: np.ndarray) -> Volume:
    return Volume(np.asarray(array), GRID)


def scan(liver: float = 105.0, tumor: float = 70.0, noise: float = 12.0) -> np.ndarray:
    image = np.where(BODY, -95.0, -1000.0)
    image = np.where(LIVER, liver, image)
    image = np.where(TUMOR, tumor, image)
    return image + np.random.default_rng(3).normal(0, noise, GRID.shape)


def masks(liver: np.ndarray = LIVER, tumor: np.ndarray = TUMOR) -> dict[str, Volume]:
    return {"parenchyma": at(liver & ~tumor), "tumor": at(tumor), "liver": at(liver | tumor)}


def codes(image: np.ndarray, found: dict[str, Volume], modality: str | None = "CT") -> dict[str, str]:
    remarks = judge({"portal": at(image)}, found, {"portal": modality})  # type: ignore[dict-item]
    # "impossible" comes after "doubtful": of several remarks of a kind the worst counts.
    return {item.code: item.severity for item in sorted(remarks, key=lambda item: item.severity)}


def test_a_sound_patient_gives_no_remark():
    for modality in ("CT", None):
        assert codes(scan(), masks(), modality) == {}
    assert codes(scan() + 1040, masks(), "MR") == {}
    # Steatosis, an unenhanced scan, a bright arterial tumor, a dense liver are all anatomy.
    for liver, tumor in ((22, 35), (55, 45), (95, 160), (150, 60)):
        assert codes(scan(liver, tumor), masks()) == {}


@pytest.mark.parametrize("liver", [1129.0, 1080.0, -70.0, -600.0, 800.0])
def test_a_liver_that_no_phase_gives_is_impossible(liver):
    found = codes(scan(liver, liver - 20), masks())
    assert found["intensity"] == "impossible"


def test_values_are_told_for_what_they_are():
    shifted = judge({"ct": at(scan() + 1024)}, masks(), {"ct": "CT"})
    assert any("HU + 1024" in str(item) and item.severity == "impossible" for item in shifted)
    unit = (scan() + 1000) / 2000
    assert codes(np.clip(unit, 0, 1), masks())["not-hu"] == "impossible"
    window = np.clip((scan() + 120) / 300, 0, 1) * 255
    (remark,) = judge_image(at(window.round()), "CT")
    assert "0 to 255" in str(remark)
    padded = scan()
    padded[:, :3] = -3024
    (remark,) = judge_image(at(padded), "CT")
    assert remark.code == "padding" and "-3024" in str(remark) and not remark.casts_doubt
    # Nobody promised HU of these.
    assert judge_image(at(unit), "MR") == judge_image(at(unit), None) == []


def test_a_file_without_modality_that_could_be_a_shifted_ct_is_doubted():
    found = judge({"x": at(np.maximum(scan() + 1024, 0))}, masks(), {"x": None})
    assert {item.severity for item in found} == {"doubtful"}
    assert all("if this is a CT" in str(item) for item in found)
    assert codes(np.maximum(scan() + 1024, 0), {"mask": at(LIVER)}, None) == {"intensity": "doubtful"}
    assert codes(scan(400, 300) + 1000, masks(), None) == {}  # an MR may have any intensity


def test_a_mask_elsewhere_in_the_body_or_outside():
    aside = {name: at(np.roll(mask.array, 22, axis=1)) for name, mask in masks().items()}
    assert "impossible" in codes(scan(), aside).values()
    half = {name: at(np.roll(mask.array, 8, axis=2)) for name, mask in masks().items()}
    assert codes(scan(), half)["mixture"] == "doubtful"
    # Soft tissue, but nothing ends where the mask does.
    other = np.where(BODY, np.random.default_rng(0).normal(60, 12, GRID.shape), -1000)
    assert codes(other, masks()) == {"edges": "doubtful"}
    lung = scan()
    lung[20:] = -850
    assert codes(lung, masks())["air"] == "doubtful"
    # A single mask without a name is only looked at for air.
    assert codes(scan(), {"mask": at(~BODY)})["air"] == "doubtful"
    assert codes(scan(), {"mask": at(BODY & ~LIVER & (X > 100))}) == {}


def test_voxels_without_a_number_in_a_mask_are_told():
    image = scan()
    image[tuple(np.argwhere(TUMOR)[0])] = np.nan
    (remark,) = judge({"ct": at(image)}, masks(), {"ct": "CT"})
    assert (remark.code, remark.structure, remark.severity) == ("no-number", "tumor", "doubtful")
    image[LIVER] = np.nan
    assert codes(image, masks())["no-number"] == "impossible"


def test_a_tumor_that_reaches_out_of_a_liver_drawn_as_a_whole_is_told():
    out = np.roll(TUMOR, -14, axis=2)
    share = float((out & ~LIVER).sum() / out.sum())
    assert 0.1 < share < 0.6
    (remark,) = [
        r
        for r in judge({"ct": at(scan())}, {"Leber": at(LIVER), "HCC": at(out)}, {"ct": "CT"})
        if r.code == "outside-liver"
    ]
    assert remark.detail == f"{share:.0%} of its voxels"
    # Of a label map the liver has no voxel of the tumor, and of contours a few at its border.
    for liver in (LIVER & ~out, LIVER & ~TUMOR, LIVER):
        tumor = out if liver is not LIVER and (liver & out).sum() == 0 else TUMOR
        assert "outside-liver" not in codes(scan(), {"liver": at(liver), "tumor": at(tumor)})


def phases_of(**livers: float) -> list[str]:
    volumes = {name: at(scan(liver)) for name, liver in livers.items()}
    return [
        str(item)
        for item in judge(volumes, masks(), dict.fromkeys(volumes, "CT"))
        if item.code in ("phases", "same-image")
    ]


def test_images_that_are_not_the_phases_of_their_names_are_told():
    assert phases_of(unenhanced=55.0, arterial=70.0, portal=110.0, delayed=95.0) == []
    assert phases_of(arterial=85.0, portal=75.0) == []  # timing and noise
    (turned,) = (text.partition(" (")[0] for text in phases_of(动脉期=110.0, portal=70.0))
    assert turned == "动脉期, portal: the liver is brighter in 动脉期 than in portal: are the two images exchanged?"
    assert len(phases_of(unenhanced=110.0, arterial=75.0, portal=50.0)) == 3
    assert phases_of(a=110.0, b=110.0) == ["a, b: two sequences hold one and the same image"]


@pytest.mark.parametrize("name", ["mask", "spleen", "tumor"])
@pytest.mark.parametrize("mask", [np.ones(GRID.shape, bool), BODY, BODY & ~TUMOR, ~TUMOR])
def test_a_mask_of_all_that_the_image_shows_is_doubted(name: str, mask: np.ndarray) -> None:
    assert codes(scan(), {name: at(mask)}, None)["covers"] == "doubtful"
    if mask.all():
        assert codes(scan() + 1040, {name: at(mask)}, "MR")["covers"] == "doubtful"
    # An image that was cut to the liver shows hardly more than it.
    z, y, x = (slice(places.min(), places.max() + 1) for places in np.nonzero(LIVER))
    cut = Volume(scan()[z, y, x], Geometry(LIVER[z, y, x].shape[::-1], GRID.spacing))
    assert "covers" not in {
        item.code for item in judge({"ct": cut}, {name: cut.with_array(LIVER[z, y, x])}, {"ct": "CT"})
    }


def test_a_mask_whose_header_is_rounded_is_judged_all_the_same():
    rounded = Geometry(GRID.size, GRID.spacing, (1e-5, 0.0, -2e-5))
    given = {name: Volume(mask.array, rounded) for name, mask in masks().items()}
    assert codes(scan(-600, -600), given)["intensity"] == "impossible"


def test_swapped_labels_have_their_name():
    swapped = {"parenchyma": at(TUMOR), "tumor": at(LIVER & ~TUMOR), "liver": at(LIVER)}
    (remark,) = [item for item in judge_masks(swapped) if item.code == "swapped-labels"]
    assert remark.severity == "impossible" and "ITK-SNAP" in str(remark)
    as_liver = {"liver": at(LIVER), "tumor": at(LIVER & ~TUMOR)}
    assert "swapped-labels" in {item.code for item in judge_masks(as_liver)}
    # A tumor that takes most of the liver is a doubt: it leaves the liver's border, it does not enclose the rest.
    large = LIVER & (X > 95)
    (remark,) = judge_masks(masks(tumor=large))
    assert (remark.code, remark.severity) == ("large-tumor", "doubtful")


def test_places_and_volumes():
    def found(**parts):
        return {item.code: item.severity for item in judge_masks({name: at(mask) for name, mask in parts.items()})}

    outside = np.roll(TUMOR, 25, axis=2)
    assert found(liver=LIVER, tumor=outside) == {"outside-liver": "doubtful"}
    assert found(parenchyma=LIVER, tumor=outside) == {"apart": "doubtful"}
    assert found(liver=TUMOR) == {"liver-volume": "doubtful"}
    assert found(liver=BODY)["liver-volume"] == "impossible"
    assert found(liver=LIVER | outside) == {}
    assert found(liver=LIVER | np.roll(TUMOR, 25, axis=2) | np.roll(TUMOR, 30, axis=2)) == {"liver-pieces": "doubtful"}
    ends = np.roll(LIVER, -7, axis=0)
    assert found(liver=ends) == {"cut-off": "doubtful"}
    assert found(liver=LIVER, tumor=TUMOR & False) == {}


def test_gray_levels_at_the_width_of_the_settings():
    values = measure_voi("tumor", at(TUMOR), at(scan()))
    assert values.volume_ml == pytest.approx(65.4, rel=0.1) and values.median == pytest.approx(70, abs=1)
    assert judge_levels(values, 5.0) == [] == judge_levels(values, None)
    (few,), (many,) = judge_levels(values, 60.0), judge_levels(values, 0.1)
    assert "fewer than 8" in str(few) and "more than 256" in str(many)
    assert values.gray_levels(25.0) == int(np.floor(values.maximum / 25) - np.floor(values.minimum / 25)) + 1


def test_impossible_stops_and_can_be_accepted():
    remarks = judge({"ct": at(scan() + 1024)}, masks(), {"ct": "CT"})
    with pytest.raises(ImageError, match="accept-doubtful") as refusal:
        require_possible(remarks, where="patient P1")
    assert refusal.value.where == "patient P1"
    kept = require_possible(remarks, accept=True)
    assert {item.severity for item in kept} == {"doubtful"} and any("accepted" in str(item) for item in kept)


def test_a_problem_of_many_is_told_once():
    remarks = judge_masks({"liver": at(TUMOR)})
    grouped = group_remarks({f"P{n}": remarks for n in range(9)})
    assert [patients for _, patients in grouped] == [[f"P{n}" for n in range(9)]]
    assert [patients for _, patients in group_remarks({"A": remarks, "B": remarks})] == [["A"], ["B"]]


def test_patients_far_from_the_cohort():
    generator = np.random.default_rng(0)
    rows = [
        {"patient": f"P{n}", "sequence": "portal", "modality": "CT", "voi": "tumor"}
        | {"volume_ml": float(np.exp(generator.normal(4, 0.4))), "median": float(generator.normal(70, 6))}
        for n in range(30)
    ]
    assert outliers(rows) == []
    rows[3]["volume_ml"], rows[8]["median"] = 0.05, 170.0
    assert [(item["patient"], item["quantity"]) for item in outliers(rows)] == [("P3", "volume_ml"), ("P8", "median")]
    assert "170 HU" in outlier_text(outliers(rows)[1])
    assert outliers(rows[:9]) == []
    # Intensities of MR have no unit in which patients could be compared.
    assert [item["quantity"] for item in outliers([row | {"modality": "MR"} for row in rows])] == ["volume_ml"]


def test_a_real_liver_follows_the_edges_and_a_mirrored_one_does_not(data_dir):
    folder = data_dir("ct/ircadb17")
    image = read_volume(folder / "ircadb17_ct.nii.gz")
    labels = read_volume(folder / "ircadb17_seg_1liver_2tumour.nii.gz")
    structures = {
        "parenchyma": labels.with_array(labels.array == 1),
        "tumor": labels.with_array(labels.array == 2),
        "liver": labels.with_array(labels.array > 0),
    }
    assert judge({"ct": image}, structures, {"ct": "CT"}) == []
    for axis in range(3):
        mirrored = labels.with_array(np.flip(labels.array > 0, axis))
        assert edge_ratio(image, mirrored) < 1.08 < 1.3 < edge_ratio(image, structures["liver"])


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (0.1, True), (0.02, True), (2.5, True)])
@pytest.mark.parametrize("modality", ["CT", "MR", None])
def test_a_voxel_size_in_another_unit_is_told(factor: float, told: bool, modality: str | None) -> None:
    spacing = (0.8 * factor, 0.8 * factor, 5.0 * factor)
    image = Volume(scan(), Geometry(GRID.size, spacing))
    found = [item.code for item in judge_image(image, modality)]  # type: ignore[arg-type]
    assert ("voxel-size" in found) == told


@pytest.mark.parametrize(
    ("liver", "tumor"), [("Liver", "TUMOR"), ("Leber", "HCC 1"), ("Foie", "Tumeur"), ("肝脏", "肿瘤")]
)
def test_structures_have_their_rules_however_they_are_spelt(liver: str, tumor: str) -> None:
    assert codes(scan(), {liver: at(LIVER & ~TUMOR), tumor: at(TUMOR)}) == {}
    swapped = {tumor: at(LIVER & ~TUMOR), liver: at(TUMOR)}
    assert codes(scan(), swapped)["swapped-labels"] == "impossible"
    assert codes(scan() + 1024, {liver: at(LIVER)})["intensity"] == "impossible"


def test_several_lesions_are_one_tumor_and_of_several_livers_none_is_known() -> None:
    halves = {"hcc 1": at(LIVER & (X < 130)), "hcc 2": at(LIVER & (X >= 130))}
    assert codes(scan(), {"liver": at(LIVER), **halves})["all-tumor"] == "doubtful"
    assert set(known_structures({"Leber": at(LIVER), "liver": at(LIVER)})) == {"Leber", "liver"}
    assert set(known_structures({"Leber": at(LIVER), "Foie": at(LIVER)})) == {"Leber", "Foie"}
    assert set(known_structures({"liver veins": at(LIVER), "kidney mass": at(TUMOR)})) == {"liver veins", "kidney mass"}


def test_labels_of_tumors_at_the_surface_are_known_as_swapped() -> None:
    # A third of the tumor's surface is the liver's own, which the parenchyma does not enclose.
    lateral = LIVER & ((Z - 116) ** 2 + (Y - 170) ** 2 + (X - 56) ** 2 <= 30**2)
    swapped = {"liver": at(lateral), "tumor": at(LIVER & ~lateral)}
    assert codes(scan(), swapped)["swapped-labels"] == "impossible"
    # What a large tumor leaves of the liver is no swap: a cap, or a thin shell around it.
    shell = ((Z - 116) / 59) ** 2 + ((Y - 170) / 64) ** 2 + ((X - 130) / 74) ** 2 <= 1
    for large in (LIVER & (X > 70), shell):
        assert codes(scan(tumor=100), masks(tumor=large)).get("large-tumor") == "doubtful"


def test_a_liver_that_is_all_tumor_is_told() -> None:
    found = codes(scan(), {"liver": at(LIVER), "tumor": at(LIVER)})
    assert found["all-tumor"] == "doubtful"


def test_an_mr_mask_in_air_is_told_and_dark_tissue_is_not() -> None:
    noise = np.abs(np.random.default_rng(1).normal(0, 4, GRID.shape))
    image = np.where(BODY, 400.0, 0.0) + np.where(LIVER, -330.0, 0.0) + noise
    assert codes(image, masks(), "MR") == {}
    outside = {name: at(np.roll(mask.array, 30, axis=2) & ~BODY) for name, mask in masks().items()}
    assert codes(image, outside, "MR")["air"] == "doubtful"
    assert "air" not in codes((image - image.mean()) / image.std(), outside, "MR")  # standardized: 0 is no air


def test_what_livers_look_like_is_never_impossible() -> None:
    for liver, tumor, noise in ((5, 40, 12), (-15, 30, 12), (60, 450, 12), (130, 60, 12), (75, 180, 12), (100, 70, 60)):
        found = codes(scan(liver, tumor, noise), masks())
        assert "impossible" not in found.values(), (liver, tumor, noise, found)


def test_a_ct_without_air_and_an_mr_with_the_air_of_a_ct() -> None:
    for low in (-200, -150, -100, -1):
        (remark,) = judge_image(at(np.maximum(scan(), low)), "CT")
        assert remark.code == "not-hu" and remark.severity == "doubtful"
    magnitudes = np.where(BODY, 300.0, 0.0) + np.random.default_rng(2).normal(0, 8, GRID.shape)  # resampled: below 0
    assert codes(magnitudes, {}, "CT") == {"not-hu": "doubtful"}
    assert codes(magnitudes, {}, "MR") == {}
    assert codes(scan(), masks(), "MR") == {"not-mr": "doubtful"}
    phase = np.random.default_rng(3).uniform(-4096, 4095, GRID.shape)
    assert codes(phase, {}, "MR") == {}


def made_codes(liver: np.ndarray, image: np.ndarray | None = None) -> dict[str, str]:
    """What is said of a network's mask of a liver alone."""
    remarks = judge({"ct": at(scan() if image is None else image)}, {"liver": at(liver)}, {"ct": "CT"}, made=True)
    return {item.code: item.severity for item in remarks if item.code in ("liver-volume", "liver-place")}


def test_a_networks_mask_that_is_hardly_a_liver_is_impossible():
    assert made_codes(LIVER) == {}
    # The bladder, and a liver on the left of a mirrored image.
    middle = np.roll(LIVER, 8, axis=2)
    assert made_codes(middle) == {"liver-place": "impossible"}
    assert made_codes(LIVER[:, :, ::-1], scan()[:, :, ::-1]) == {"liver-place": "impossible"}
    small = ((Z - 116) / 40) ** 2 + ((Y - 170) / 40) ** 2 + ((X - 110) / 40) ** 2 <= 1
    assert made_codes(small) == {"liver-volume": "impossible"}
    # Of a liver that the scan cuts, too little is there, which is no wonder.
    assert made_codes(np.roll(small, -14, axis=0)) == {"liver-volume": "doubtful"}
    # An image cropped to the liver, or an MR, has no middle of the body.
    part = (slice(None), slice(18, 40), slice(10, 34))
    cut = Geometry((24, 22, 30), GRID.spacing)
    own = {"ct": Volume(np.ascontiguousarray(scan()[part]), cut)}
    found = judge(own, {"liver": Volume(np.ascontiguousarray(LIVER[part]), cut)}, {"ct": "CT"}, made=True)
    assert "liver-place" not in {item.code for item in found}
    # A person has drawn it: he is asked.
    said = judge({"ct": at(scan())}, {"liver": at(small)}, {"ct": "CT"})
    assert [item.severity for item in said if item.code == "liver-volume"] == ["doubtful"]
    turned = Geometry(GRID.size, GRID.spacing, direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    own = {"ct": Volume(scan()[:, ::-1, ::-1].copy(), turned)}
    assert judge(own, {"liver": Volume(LIVER[:, ::-1, ::-1].copy(), turned)}, {"ct": "CT"}, made=True) == []


@pytest.mark.parametrize(("voxels", "told"), [(2, False), (40, True)])
def test_an_image_is_called_none_only_by_more_than_a_few_equal_voxels(voxels: int, told: bool) -> None:
    image, tumor = scan(), np.zeros_like(TUMOR, dtype=bool)
    tumor.ravel()[np.flatnonzero(TUMOR)[:voxels]] = True
    image[tumor] = 64
    assert ("constant" in codes(image, masks(tumor=tumor))) == told
