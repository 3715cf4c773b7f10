"""LI-RADS features as numbers, and what follows from masks: category, T, six-and-twelve, up-to-seven.

Tables and sums are those of `cohort.scores`; here is what they are given. A grade that needs what is not known is
missing, with what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hepacast.biomarkers.definitions import INTENSITY, LI_RADS, SEEN, Biomarker, Missing, Number, Numbers
from hepacast.biomarkers.enhancement import GAPS, SHARE_MM, PhaseImage
from hepacast.biomarkers.geometry import TARGET_MM, TARGETS, longest_axial, longest_connected
from hepacast.biomarkers.regions import Regions
from hepacast.cohort.scores import compute_score
from hepacast.cohort.scores.staging import t_category
from hepacast.errors import HepacastError
from hepacast.imaging.phases import ARTERIAL, DELAYED, HEPATOBILIARY, PORTAL

#: Nonrim arterial hyperenhancement: from this share of the core on that is seen brighter than the liver.
ENHANCING_SHARE = 0.25
T_STAGES = ("T1a", "T1b", "T2", "T3", "T4")

FEATURES = (
    Biomarker("size", "LI-RADS: size", "mm", "longest axial diameter of the largest tumor", LI_RADS),
    Biomarker(
        "arterial_hyperenhancement",
        "LI-RADS: nonrim arterial hyperenhancement",
        "",
        f"share of the largest tumor's core, smoothed by 2 mm within it, {SEEN} above the liver's median in the "
        "arterial phase; present from 0.25 on",
        LI_RADS,
    ),
    Biomarker(
        "rim_hyperenhancement",
        "LI-RADS: rim hyperenhancement",
        INTENSITY,
        "rim minus the brighter of core and liver in the arterial phase, largest tumor; targetoid from 10 HU (1 SD) on "
        "where the core does not enhance",
        LI_RADS,
    ),
    Biomarker(
        "washout",
        "LI-RADS: washout",
        INTENSITY,
        "liver minus core of the largest tumor, the larger of portal and delayed phase (portal alone where there is a "
        "hepatobiliary phase); present from 10 HU (1 SD) on where the core was brighter against the liver before",
        LI_RADS,
    ),
    Biomarker(
        "peripheral_washout",
        "LI-RADS: washout of the rim beyond the core",
        INTENSITY,
        "core minus rim of the largest tumor in the phase of the washout; targetoid from 10 HU (1 SD) on",
        LI_RADS,
    ),
    Biomarker(
        "capsule",
        "LI-RADS: enhancing capsule",
        INTENSITY,
        "rim minus the brighter of core and liver around the largest tumor, the larger of portal and delayed phase; "
        "present from 10 HU (1 SD) on",
        LI_RADS,
    ),
)
STAGES = (
    Biomarker(
        "li_rads", "LI-RADS category", "", "3, 4 or 5 by the table of CT/MRI v2018 from the numbers above", LI_RADS
    ),
    Biomarker(
        "t_stage",
        "T (AJCC 8th edition)",
        "",
        "0 to 4 for T1a, T1b, T2, T3, T4 by number, size and vascular invasion as far as it is known",
        "Amin MB et al. (eds), AJCC Cancer Staging Manual, 8th edition, 2017",
    ),
    Biomarker(
        "six_and_twelve",
        "Six-and-twelve",
        "",
        "longest diameter in cm plus number of tumors",
        "Wang Q et al., J Hepatol 2019;70:893-903",
    ),
    Biomarker(
        "up_to_seven",
        "Beyond up-to-seven",
        "",
        "1 where diameter in cm plus number exceed 7, or vessels are invaded; else 0",
        "Mazzaferro V et al., Lancet Oncol 2009;10:35-43",
    ),
)


@dataclass(frozen=True)
class PatientFacts:
    """What images do not tell.

    Parameters
    ----------
    hematocrit
        Share of the blood, above 0 and below 1.
    vascular_invasion
        Whether a vessel is invaded; None: not known.
    threshold_growth
        Whether the largest tumor has grown by half or more within six months.

    Raises
    ------
    HepacastError
        A hematocrit that is no share.
    """

    hematocrit: float | None = None
    vascular_invasion: bool | None = None
    threshold_growth: bool = False

    @classmethod
    def of(cls, hematocrit: float | None, vascular_invasion: bool | None) -> PatientFacts:
        """Of a row of a table: a hematocrit of 10 to 70 is one in percent, NaN is not known.

        Raises
        ------
        HepacastError
            A hematocrit that is none.
        """
        share = None if hematocrit is None or math.isnan(hematocrit) else float(hematocrit)
        if share is not None and 10.0 <= share <= 70.0:
            share /= 100.0
        return cls(share, vascular_invasion)

    def __post_init__(self) -> None:
        if self.hematocrit is not None and not 0.1 <= self.hematocrit <= 0.7:
            raise HepacastError(
                "The hematocrit is a share of the blood.", expected="0.1 to 0.7", found=f"{self.hematocrit:g}"
            )


def measure_viable(arterial: PhaseImage | Missing, regions: Regions) -> dict[str, Number]:
    """Diameters of the part that enhances in the arterial phase (mRECIST), or the reason why they are missing."""
    names = ("viable_diameter", "viable_sum", "viable_volume")
    seen = arterial if isinstance(arterial, Missing) else arterial.seen
    for item in (arterial, regions.main, seen):
        if isinstance(item, Missing):
            return dict.fromkeys(names, item)
    assert isinstance(arterial, PhaseImage) and not isinstance(seen, Missing)
    if not all(arterial.whole(region) for region in regions.lesions):
        return dict.fromkeys(names, GAPS)
    diameters, sizes, voxels = [], [], 0
    for part in regions.lesions:
        viable = np.zeros(part.mask.array.shape, dtype=bool)
        viable.reshape(-1)[part.index[arterial.smoothed(part, SHARE_MM) >= seen[1]]] = True
        diameters.append(longest_connected(part.mask.with_array(viable)))
        sizes.append(longest_axial(part.mask))
        voxels += int(viable.sum())
    order = sorted(range(len(sizes)), key=lambda n: -sizes[n])
    targets = [diameters[n] for n in order if sizes[n] >= TARGET_MM][:TARGETS]
    step = regions.lesions[0].mask.geometry.voxel_volume_mm3
    return {
        "viable_diameter": max(diameters),
        "viable_sum": float(sum(targets)),
        "viable_volume": voxels * step / 1000.0,
    }


def measure_features(
    images: Mapping[str, PhaseImage | Missing], numbers: Mapping[str, Numbers], regions: Regions
) -> dict[str, Number]:
    """The numbers of `FEATURES`, of the largest tumor.

    Parameters
    ----------
    images, numbers
        Images by phase, and the numbers of `enhancement.measure_phase` of the largest tumor by phase.
    """
    no_arterial = Missing("there is no arterial phase")
    main = regions.main
    if isinstance(main, Missing):
        return {item.name: main for item in FEATURES}
    arterial = numbers.get(ARTERIAL)
    found: dict[str, Number] = {"size": longest_axial(main.tumor.mask)}
    found["arterial_hyperenhancement"] = _hyperenhancement(images.get(ARTERIAL, no_arterial), regions)
    found["rim_hyperenhancement"] = no_arterial
    if arterial is not None:
        rim, core = arterial["rim_minus_liver"], arterial["core_minus_liver"]
        if isinstance(rim, Missing) or isinstance(core, Missing):
            found["rim_hyperenhancement"] = rim if isinstance(rim, Missing) else core
        else:
            found["rim_hyperenhancement"] = rim - max(core, 0.0)
    late = [phase for phase in (PORTAL, DELAYED) if phase in numbers]
    extracellular = [phase for phase in late if phase == PORTAL or HEPATOBILIARY not in numbers]
    washed = _largest({phase: _negative(numbers[phase]["core_minus_liver"]) for phase in extracellular})
    found["washout"] = washed[1]
    found["peripheral_washout"] = washed[1] if washed[0] is None else _negative(numbers[washed[0]]["rim_minus_core"])
    found["capsule"] = _largest({phase: numbers[phase]["capsule"] for phase in late})[1]
    return {item.name: found[item.name] for item in FEATURES}


def _hyperenhancement(image: PhaseImage | Missing, regions: Regions) -> Number:
    main = regions.main
    if isinstance(image, Missing) or isinstance(main, Missing):
        return image if isinstance(image, Missing) else Missing(str(main))
    if isinstance(main.core, Missing):
        return main.core
    if not image.whole(main.core):
        return GAPS
    seen = image.seen
    return seen if isinstance(seen, Missing) else float((image.smoothed(main.core, SHARE_MM) >= seen[1]).mean())


def _negative(value: Number) -> Number:
    return value if isinstance(value, Missing) else -value


def _largest(values: Mapping[str, Number]) -> tuple[str | None, Number]:
    """The phase with the largest number, and the number; of phases without one the first reason."""
    known = {phase: value for phase, value in values.items() if not isinstance(value, Missing)}
    if known:
        phase = max(known, key=lambda name: known[name])
        return phase, known[phase]
    return None, next(iter(values.values()), Missing("there is neither a portal nor a delayed phase"))


def grade_patient(
    features: Numbers, arterial: Numbers | None, geometry: Numbers, facts: PatientFacts, visible: float
) -> tuple[dict[str, Number], dict[str, str]]:
    """The numbers of `STAGES`, and their grades in words.

    Parameters
    ----------
    features
        Numbers of `measure_features`.
    arterial
        Numbers of the largest tumor in the arterial phase.
    geometry
        Numbers of `geometry.measure_geometry`.
    visible
        Smallest difference that counts as seen.
    """
    numbers: dict[str, Number] = {}
    grades: dict[str, str] = {}
    numbers["li_rads"], grades["li_rads"] = _li_rads(features, arterial, facts, visible)
    diameter, count = geometry["longest_diameter"], geometry["tumor_number"]
    if isinstance(diameter, Missing) or isinstance(count, Missing) or count == 0:
        why = diameter if isinstance(diameter, Missing) else Missing("no tumor is outlined")
        return {**numbers, **dict.fromkeys(("t_stage", "six_and_twelve", "up_to_seven"), why)}, grades
    size = {"tumor_diameter": f"{diameter:.6f} mm", "tumor_number": count}
    numbers["t_stage"], grades["t_stage"] = _t_stage(diameter, count, facts)
    try:
        sums = compute_score("six-and-twelve", size)
        seven = compute_score("up-to-seven", {**size, "vascular_invasion": bool(facts.vascular_invasion)})
    except HepacastError as error:
        return {**numbers, **dict.fromkeys(("six_and_twelve", "up_to_seven"), Missing(error.message))}, grades
    numbers |= {"six_and_twelve": sums.value, "up_to_seven": float(seven.grade == "beyond")}
    grades |= {"six_and_twelve": sums.grade, "up_to_seven": seven.grade}
    return numbers, grades


def _li_rads(features: Numbers, arterial: Numbers | None, facts: PatientFacts, visible: float) -> tuple[Number, str]:
    """The category, where every major feature is known."""
    lacking = {str(value) for value in features.values() if isinstance(value, Missing)}
    if lacking or arterial is None:
        return Missing("cannot be judged: " + "; ".join(sorted(lacking))), "cannot be judged"
    known = {name: float(value) for name, value in features.items()}
    bright = known["arterial_hyperenhancement"] >= ENHANCING_SHARE
    peripheral = known["peripheral_washout"] >= visible
    before = arterial["core_minus_liver"]
    assert not isinstance(before, Missing)  # else the rim's number is missing too
    washed = known["washout"] >= visible and -known["washout"] < before
    result = compute_score(
        "LI-RADS",
        {
            "tumor_diameter": f"{known['size']:.6f} mm",
            "arterial_hyperenhancement": bright,
            "washout": washed and not peripheral,
            "capsule": known["capsule"] >= visible,
            "threshold_growth": facts.threshold_growth,
            "targetoid": (known["rim_hyperenhancement"] >= visible and not bright) or (washed and peripheral),
        },
    )
    if result.grade == "LR-M":
        return Missing("LR-M: a targetoid tumor is not graded 3 to 5"), "LR-M"
    return 3.0 + result.value, result.grade


def _t_stage(diameter: float, count: float, facts: PatientFacts) -> tuple[Number, str]:
    """T as far as masks and the facts say."""
    base = {
        "tumor_diameter": diameter / 10.0,
        "tumor_number": count,
        "major_branch": False,
        "adjacent_organ": False,
    }
    answers = (False, True) if facts.vascular_invasion is None else (facts.vascular_invasion,)
    found = sorted({t_category({**base, "vascular_invasion": answer}) for answer in answers})
    if len(found) == 1:
        return float(T_STAGES.index(found[0])), found[0]
    return Missing(f"{' or '.join(found)}: it is not known whether vessels are invaded"), " or ".join(found)
