"""The kernels and PyRadiomics' formulas reach the IBSI 1 consensus where the definitions agree.

The digital phantom and configuration A need no interpolation: every consensus value with a counterpart is compared,
slice by slice (2D), by direction over all slices (2.5D) and in 3D; how many is frozen, so that none can drop out.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from hepacast.radiomics.core import FeatureSettings, image_features, shape_features
from hepacast.radiomics.discretise import Levels, discretise
from hepacast.radiomics.features.registry import FEATURES, OPTIONAL
from hepacast.radiomics.kernels.voi import Voi, gather

FOLDER = "radiomics/ibsi"
Find = Callable[[str], Path]

MORPHOLOGY = {
    "morph_volume": "MeshVolume",
    "morph_vol_approx": "VoxelVolume",
    "morph_area_mesh": "SurfaceArea",
    "morph_av": "SurfaceVolumeRatio",
    "morph_comp_1": "Compactness1",
    "morph_comp_2": "Compactness2",
    "morph_sph_dispr": "SphericalDisproportion",
    "morph_sphericity": "Sphericity",
    "morph_diam": "Maximum3DDiameter",
    "morph_pca_maj_axis": "MajorAxisLength",
    "morph_pca_min_axis": "MinorAxisLength",
    "morph_pca_least_axis": "LeastAxisLength",
    "morph_pca_elongation": "Elongation",
    "morph_pca_flatness": "Flatness",
}
STATISTICS = {
    "stat_mean": "Mean",
    "stat_var": "Variance",
    "stat_skew": "Skewness",
    "stat_kurt": "Kurtosis",
    "stat_median": "Median",
    "stat_min": "Minimum",
    "stat_p10": "10Percentile",
    "stat_p90": "90Percentile",
    "stat_max": "Maximum",
    "stat_iqr": "InterquartileRange",
    "stat_range": "Range",
    "stat_mad": "MeanAbsoluteDeviation",
    "stat_rmad": "RobustMeanAbsoluteDeviation",
    "stat_energy": "Energy",
    "stat_rms": "RootMeanSquared",
    "ih_entropy": "Entropy",
    "ih_uniformity": "Uniformity",
}
PAIRS = {
    "joint_max": "MaximumProbability",
    "joint_avg": "JointAverage",
    "joint_var": "SumSquares",
    "joint_entr": "JointEntropy",
    "diff_avg": "DifferenceAverage",
    "diff_var": "DifferenceVariance",
    "diff_entr": "DifferenceEntropy",
    "sum_avg": "SumAverage",
    "sum_var": "ClusterTendency",
    "sum_entr": "SumEntropy",
    "energy": "JointEnergy",
    "contrast": "Contrast",
    "dissimilarity": "DifferenceAverage",
    "inv_diff": "Id",
    "inv_diff_norm": "Idn",
    "inv_diff_mom": "Idm",
    "inv_diff_mom_norm": "Idmn",
    "inv_var": "InverseVariance",
    "corr": "Correlation",
    "auto_corr": "Autocorrelation",
    "clust_tend": "ClusterTendency",
    "clust_shade": "ClusterShade",
    "clust_prom": "ClusterProminence",
    "info_corr1": "Imc1",
    "info_corr2": "Imc2",
}
RUNS = {
    "sre": "ShortRunEmphasis",
    "lre": "LongRunEmphasis",
    "lgre": "LowGrayLevelRunEmphasis",
    "hgre": "HighGrayLevelRunEmphasis",
    "srlge": "ShortRunLowGrayLevelEmphasis",
    "srhge": "ShortRunHighGrayLevelEmphasis",
    "lrlge": "LongRunLowGrayLevelEmphasis",
    "lrhge": "LongRunHighGrayLevelEmphasis",
    "glnu": "GrayLevelNonUniformity",
    "glnu_norm": "GrayLevelNonUniformityNormalized",
    "rlnu": "RunLengthNonUniformity",
    "rlnu_norm": "RunLengthNonUniformityNormalized",
    "r_perc": "RunPercentage",
    "gl_var": "GrayLevelVariance",
    "rl_var": "RunVariance",
    "rl_entr": "RunEntropy",
}
ZONES = {
    "sze": "SmallAreaEmphasis",
    "lze": "LargeAreaEmphasis",
    "lgze": "LowGrayLevelZoneEmphasis",
    "hgze": "HighGrayLevelZoneEmphasis",
    "szlge": "SmallAreaLowGrayLevelEmphasis",
    "szhge": "SmallAreaHighGrayLevelEmphasis",
    "lzlge": "LargeAreaLowGrayLevelEmphasis",
    "lzhge": "LargeAreaHighGrayLevelEmphasis",
    "glnu": "GrayLevelNonUniformity",
    "glnu_norm": "GrayLevelNonUniformityNormalized",
    "zsnu": "SizeZoneNonUniformity",
    "zsnu_norm": "SizeZoneNonUniformityNormalized",
    "z_perc": "ZonePercentage",
    "gl_var": "GrayLevelVariance",
    "zs_var": "ZoneVariance",
    "zs_entr": "ZoneEntropy",
}
DEPENDENCES = {
    "lde": "SmallDependenceEmphasis",
    "hde": "LargeDependenceEmphasis",
    "lgce": "LowGrayLevelEmphasis",
    "hgce": "HighGrayLevelEmphasis",
    "ldlge": "SmallDependenceLowGrayLevelEmphasis",
    "ldhge": "SmallDependenceHighGrayLevelEmphasis",
    "hdlge": "LargeDependenceLowGrayLevelEmphasis",
    "hdhge": "LargeDependenceHighGrayLevelEmphasis",
    "glnu": "GrayLevelNonUniformity",
    "dcnu": "DependenceNonUniformity",
    "dcnu_norm": "DependenceNonUniformityNormalized",
    "gl_var": "GrayLevelVariance",
    "dc_var": "DependenceVariance",
    "dc_entr": "DependenceEntropy",
}
TONES = {name.lower(): name for name in FEATURES["ngtdm"]}

#: Family in the tags -> class, names, whether directions can be averaged or merged.
FAMILIES = {
    "cm": ("glcm", PAIRS, True),
    "rlm": ("glrlm", RUNS, True),
    "szm": ("glszm", ZONES, False),
    "ngt": ("ngtdm", TONES, False),
    "ngl": ("gldm", DEPENDENCES, False),
}


#: Reference table, folder of the phantom, aggregations, intensity range, bin width, number of values compared.
CONFIGURATIONS = {
    "digital": ("dig_phantom", "ibsi_1_digital_phantom", ("2D", "2_5D", "3D"), None, 1.0, 382),
    "A": ("chest_config_a", "ibsi_1_ct_radiomics_phantom", ("2D", "2_5D"), (-500, 400), 25.0, 265),
}


@dataclass(frozen=True)
class Prepared:
    image: npt.NDArray[Any]
    morphological: npt.NDArray[np.bool_]
    intensity: npt.NDArray[np.bool_]
    spacing: tuple[float, float, float]
    settings: dict[str, Any]


def prepare(folder: Path, name: str) -> Prepared:
    _, phantom, _, limits, width, _ = CONFIGURATIONS[name]
    picture = sitk.ReadImage(str(folder / phantom / "nifti/image/phantom.nii.gz"))
    image = sitk.GetArrayFromImage(picture).astype(float)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / phantom / "nifti/mask/mask.nii.gz"))) > 0
    inside = mask if limits is None else mask & (image >= limits[0]) & (image <= limits[1])
    return Prepared(image, mask, inside, picture.GetSpacing()[::-1], {"bin_width": width})


def compute(prepared: Prepared, feature_class: str, dimension: str, merged: bool) -> dict[str, float]:
    own = dict(prepared.settings, weighting_norm="no_weighting" if merged else None, force2d=dimension != "3D")
    mask, spacing, classes = prepared.intensity, prepared.spacing, {feature_class: None}
    if dimension != "2D":
        return image_features(prepared.image, mask, spacing, FeatureSettings(**own), classes)
    # Slice by slice, with the levels (and their number) of the whole VOI
    whole = discretise(gather(prepared.image, Voi.from_mask(mask)), FeatureSettings(**prepared.settings))
    level = np.zeros(mask.shape, dtype=np.int32)
    level[mask] = whole.level
    found = []
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        inside = level[k : k + 1][mask[k : k + 1]]
        levels = Levels(inside, np.bincount(inside, minlength=len(whole.counts)))
        image, part = prepared.image[k : k + 1], mask[k : k + 1]
        found.append(image_features(image, part, spacing, FeatureSettings(**own), classes, levels=levels))
    return {name: float(np.nanmean([values[name] for values in found])) for name in found[0]}


def collect(folder: Path, name: str) -> dict[str, float]:
    """All counterparts by IBSI tag."""
    prepared = prepare(folder, name)
    names = [*FEATURES["shape"], *OPTIONAL["shape"]]
    shape = shape_features(prepared.morphological, prepared.spacing, {"shape": names})
    found = {tag: shape[f"shape_{feature}"] for tag, feature in MORPHOLOGY.items()}
    # IBSI's covariance of the voxels' places divides by n - 1, PyRadiomics' by n; its kurtosis is in excess of 3
    n = prepared.morphological.sum()
    for axis in ("maj", "min", "least"):
        found[f"morph_pca_{axis}_axis"] *= np.sqrt(n / (n - 1))
    own = FeatureSettings(**prepared.settings)
    first = image_features(prepared.image, prepared.intensity, prepared.spacing, own, {"firstorder": None})
    found |= {tag: first[f"firstorder_{feature}"] for tag, feature in STATISTICS.items()}
    found["stat_kurt"] -= 3
    for family, (feature_class, tags, directions) in FAMILIES.items():
        for dimension in CONFIGURATIONS[name][2]:
            for ending in ("_avg", "_comb") if directions else ("",):
                values = compute(prepared, feature_class, dimension, ending == "_comb")
                for tag, feature in tags.items():
                    found[f"{family}_{tag}_{dimension}{ending}"] = values[f"{feature_class}_{feature}"]
    return found


@pytest.mark.data
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_consensus_values(data_dir: Find, name: str) -> None:
    folder = data_dir(FOLDER)
    path = folder / "ibsi_1_reference_values" / f"ibsi_1_{CONFIGURATIONS[name][0]}.csv"
    with path.open(encoding="utf-8-sig") as stream:
        reference = {
            row["tag"].strip(): (float(row["reference value"]), float(row["tolerance"]))
            for row in csv.DictReader(stream, delimiter=";")
            if row["reference value"] and row["tolerance"]
        }
    found = collect(folder, name)
    compared, wrong = 0, []
    for tag, value in found.items():
        if tag not in reference:
            continue
        compared += 1
        want, tolerance = reference[tag]
        # Reference values are rounded to three digits
        if not abs(value - want) <= tolerance + 0.006 * 10 ** np.floor(np.log10(max(abs(want), 1e-12))):
            wrong.append((tag, value, want, tolerance))
    assert not wrong
    assert compared == CONFIGURATIONS[name][-1]
