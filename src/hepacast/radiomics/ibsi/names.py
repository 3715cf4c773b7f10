"""IBSI's tags: which features there are, and in which order."""

from __future__ import annotations

from collections.abc import Iterable

from hepacast.radiomics.ibsi.parameters import IbsiParameters

MORPHOLOGY = [
    "volume",
    "vol_approx",
    "area_mesh",
    "av",
    "comp_1",
    "comp_2",
    "sph_dispr",
    "sphericity",
    "asphericity",
    "com",
    "diam",
    "pca_maj_axis",
    "pca_min_axis",
    "pca_least_axis",
    "pca_elongation",
    "pca_flatness",
    "vol_dens_aabb",
    "area_dens_aabb",
    "vol_dens_aee",
    "area_dens_aee",
    "vol_dens_conv_hull",
    "area_dens_conv_hull",
    "integ_int",
    "moran_i",
    "geary_c",
]
STATISTICS = [
    "mean",
    "var",
    "skew",
    "kurt",
    "median",
    "min",
    "p10",
    "p90",
    "max",
    "iqr",
    "range",
    "mad",
    "rmad",
    "medad",
    "cov",
    "qcod",
    "energy",
    "rms",
]
HISTOGRAM = [
    "mean",
    "var",
    "skew",
    "kurt",
    "median",
    "min",
    "p10",
    "p90",
    "max",
    "mode",
    "iqr",
    "range",
    "mad",
    "rmad",
    "medad",
    "cov",
    "qcod",
    "entropy",
    "uniformity",
    "max_grad",
    "max_grad_g",
    "min_grad",
    "min_grad_g",
]
VOLUME_HISTOGRAM = ["v10", "v90", "i10", "i90", "diff_v10_v90", "diff_i10_i90"]
COOCCURRENCE = [
    "joint_max",
    "joint_avg",
    "joint_var",
    "joint_entr",
    "diff_avg",
    "diff_var",
    "diff_entr",
    "sum_avg",
    "sum_var",
    "sum_entr",
    "energy",
    "contrast",
    "dissimilarity",
    "inv_diff",
    "inv_diff_norm",
    "inv_diff_mom",
    "inv_diff_mom_norm",
    "inv_var",
    "corr",
    "auto_corr",
    "clust_tend",
    "clust_shade",
    "clust_prom",
    "info_corr1",
    "info_corr2",
]

#: Names of the families that share their formulas: small and large j with low and high gray level i.
SHARED: dict[str, str] = {
    "rlm": "sre lre lgre hgre srlge srhge lrlge lrhge glnu glnu_norm rlnu rlnu_norm r_perc gl_var rl_var rl_entr",
    "szm": "sze lze lgze hgze szlge szhge lzlge lzhge glnu glnu_norm zsnu zsnu_norm z_perc gl_var zs_var zs_entr",
    "dzm": "sde lde lgze hgze sdlge sdhge ldlge ldhge glnu glnu_norm zdnu zdnu_norm z_perc gl_var zd_var zd_entr",
    "ngl": (
        "lde hde lgce hgce ldlge ldhge hdlge hdhge glnu glnu_norm dcnu dcnu_norm dc_perc gl_var dc_var dc_entr "
        "dc_energy"
    ),
}
TONE_DIFFERENCE = ["coarseness", "contrast", "busyness", "complexity", "strength"]

_DIMENSIONS = ("2D", "2_5D", "3D")


def ibsi_feature_names(ibsi: IbsiParameters) -> list[str]:
    """The tags of all features, in the order of IBSI's tables; statistics only where a filter is set."""
    if ibsi.filter is not None:
        return [f"stat_{name}" for name in STATISTICS]
    return [
        *(f"morph_{name}" for name in MORPHOLOGY),
        "loc_peak_loc",
        "loc_peak_glob",
        *(f"stat_{name}" for name in STATISTICS),
        *(f"ih_{name}" for name in HISTOGRAM),
        *(f"ivh_{name}" for name in VOLUME_HISTOGRAM),
        *feature_tags(ibsi.aggregation),
    ]


def feature_tags(aggregations: Iterable[str]) -> list[str]:
    """Names of all texture features, in the order of IBSI's tables."""
    chosen = list(aggregations)
    tags = [f"cm_{name}_{how}" for how in chosen for name in COOCCURRENCE]
    tags += [f"rlm_{name}_{how}" for how in chosen for name in SHARED["rlm"].split()]
    dimensions = [dimension for dimension in _DIMENSIONS if any(dimension_of(how) == dimension for how in chosen)]
    for family in ("szm", "dzm"):
        tags += [f"{family}_{name}_{dim}" for dim in dimensions for name in SHARED[family].split()]
    tags += [f"ngt_{name}_{dim}" for dim in dimensions for name in TONE_DIFFERENCE]
    return tags + [f"ngl_{name}_{dim}" for dim in dimensions for name in SHARED["ngl"].split()]


def dimension_of(aggregation: str) -> str:
    return aggregation.rsplit("_", 1)[0]
