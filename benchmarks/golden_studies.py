"""The studies of the golden runs: tables, images and study files, written into a folder.

Nothing here depends on the recipes of the program: a study file stands as it is, so that a number can only move with
the code that computes it. The images are those of `hepacast.phantom`, at their smallest size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

#: Few refits, but of every kind.
VALIDATION: dict[str, Any] = {
    "folds": 3, "repeats": 2, "bootstrap": 6, "permutations": 4, "importance": 2, "learning_curve": 1,
    "usual_way": True,
}  # fmt: skip
EVALUATION: dict[str, Any] = {"bootstrap": 40, "thresholds": [0.3, 0.5], "coverage": 0.8}
FEW_FEATURES = {
    "imageType": {"Original": {}, "LoG": {"sigma": [3.0]}},
    "featureClass": {"shape": [], "firstorder": [], "glcm": []},
    "setting": {"binWidth": 25, "minimumROISize": 2},
}
SMALL_NETWORK: dict[str, Any] = {
    "crop": {"voi": "tumor", "size": [8, 12, 12], "size_mm": [72.0, 96.0, 96.0]},
    "network": {"tasks": "classifier", "width": 4, "stages": 2, "features": 8, "stem_stride": 1},
    "training": {"epochs": 2, "batch": 16, "warmup_epochs": 0.5, "patience": 2, "device": "cpu"},
}


@dataclass(frozen=True)
class GoldenStudy:
    """One study: how its folder is written, and what is done beside `run`."""

    write: Callable[[Path], None]
    what: str
    #: Patients a set whose prediction from the bundle is kept, every model of it.
    predicted: int = 2
    #: Options of `run_noise`, where it is run.
    noise: Mapping[str, Any] | None = None
    #: Arguments of ``hepacast stats``, by a name for the result; ``{folder}`` is the study's.
    statistics: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _save(folder: Path, study: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(copy.deepcopy(dict(study)), sort_keys=False, allow_unicode=True)
    (folder / "study.yaml").write_text(text, encoding="utf-8")


def _patients(n: int, seed: int) -> pd.DataFrame:
    """A clinical table: three hospitals, numbers, words, levels, gaps and a value below detection."""
    r = np.random.default_rng(seed)
    size, albumin = r.normal(5, 2, n).clip(0.6, 14).round(1), r.normal(39, 5, n).clip(24, 52).round(1)
    age = r.integers(35, 84, n)
    inr = r.normal(1.12, 0.12, n).clip(0.8, 1.8).round(2)
    afp = np.exp(r.normal(3.5, 1.8, n)).clip(1, 60000).round(1)
    table = pd.DataFrame(
        {
            "ID": [f"G{i:03d}" for i in range(n)],
            "Hospital": np.array(["North", "South", "East"])[np.arange(n) % 3],
            "Age": age,
            "Sex": r.choice(["m", "f"], n, p=[0.75, 0.25]),
            "Size (cm)": size,
            "Albumin (g/L)": albumin,
            "INR": inr,
            "AFP (ng/mL)": [f"{value:g}" for value in afp],
            "BCLC": r.choice(["A", "B", "C"], n, p=[0.4, 0.35, 0.25]),
            "Note": "",
        }
    )
    signal = r.normal(size=n)
    table["signal"] = signal
    table["risk"] = 0.9 * (size - 5) / 2 - 0.7 * (albumin - 39) / 5 + 0.5 * (table["BCLC"] == "C") + signal
    return table


def _with_gaps(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Values left out, one below detection, two patients to exclude."""
    r = np.random.default_rng([seed, 1])
    table = table.astype({"Albumin (g/L)": object, "INR": object})
    for name in ("Albumin (g/L)", "INR", "AFP (ng/mL)"):
        table.loc[r.choice(len(table), 4, replace=False), name] = ""
    table.loc[5, "AFP (ng/mL)"] = "<2"
    table.loc[[3, 10], "Note"] = "transplanted"
    return table.drop(columns=["signal", "risk"])


COLUMNS: dict[str, Any] = {
    "age": {"column": "Age", "unit": "years", "label": "Age"},
    "sex": {"column": "Sex", "kind": "binary", "levels": {"female": ["f"], "male": ["m"]}},
    "size": {"column": "Size (cm)", "unit": "cm", "label": "Tumor size", "quantity": "none"},
    "albumin": {"column": "Albumin (g/L)", "unit": "g/L", "quantity": "albumin"},
    "inr": {"column": "INR", "quantity": "inr"},
    "afp": {"column": "AFP (ng/mL)", "unit": "ng/mL", "quantity": "afp"},
    "bclc": {"column": "BCLC", "kind": "categorical", "levels": {"A": ["A"], "B": ["B"], "C": ["C"]}},
}
CANDIDATES = ["age", "sex", "size", "albumin", "inr", "afp", "bclc"]
SETS = {"by": "column", "column": "Hospital", "training": ["North", "South"], "validation": ["East"]}


def _frame(name: str, columns: Mapping[str, Any], outcome: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A study file of a table by `_patients`."""
    study: dict[str, Any] = {
        "hepacast": 1,
        "name": f"Golden: {name}",
        "seed": 11,
        "cohort": {
            "table": "table.csv",
            "id": "ID",
            "center": "Hospital",
            "columns": {**COLUMNS, **columns},
            "exclude": [{"reason": "transplanted", "column": "Note", "equals": ["transplanted"]}],
            "split": dict(SETS),
        },
        "outcome": dict(outcome),
        "modelling": {"candidates": list(CANDIDATES), "models": ["clinical"], "validation": dict(VALIDATION)},
        "evaluation": dict(EVALUATION),
        "report": {"formats": ["html"]},
    }
    for part, values in more.items():
        study[part] = {**study.get(part, {}), **values}
    return study


RELAPSE = {"relapse": {"column": "Relapse", "kind": "binary", "after_event": True}}
BINARY = {"definition": "binary-column", "column": "relapse", "name": "Relapse"}
FOLLOWED = {
    "months": {"column": "Months", "quantity": "none", "after_event": True},
    "died": {"column": "Died", "quantity": "none", "after_event": True},
}


def _relapse(table: pd.DataFrame, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 2]).random(len(table)) < 1 / (1 + np.exp(-table["risk"].to_numpy()))


def _follow_up(table: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Months and event: nearly proportional hazards, a fifth censored, tied times."""
    r = np.random.default_rng([seed, 3])
    event = r.exponential(22 * np.exp(-0.6 * table["risk"].to_numpy()))
    censored = r.uniform(6, 80, len(table))
    return np.minimum(event, censored).clip(0.1).round(1), (event <= censored).astype(int)


def _features(table: pd.DataFrame, seed: int, number: int) -> pd.DataFrame:
    """A feature table of two VOIs: correlated blocks, one of them informative, a constant and a few gaps."""
    r = np.random.default_rng([seed, 4])
    n = len(table)
    base = r.normal(size=(n, number // 3))
    values = np.hstack([base, base + 0.3 * r.normal(size=base.shape), np.exp(r.normal(size=base.shape))])
    values[:, 0] = table["signal"] + 0.4 * r.normal(size=n)
    values[:, 1] = 0.6 * table["signal"] + r.normal(size=n)
    names = [
        f"{('tumor', 'ring')[j % 2]}:{('original', 'log-sigma-3-0-mm')[j % 4 // 2]}_glcm_F{j:02d}"
        for j in range(values.shape[1])
    ]
    features = pd.DataFrame(values.round(6), columns=names)
    features[names[-1]] = 1.0
    features.insert(0, "ID", table["ID"])
    return features


def _write_table(folder: Path, seed: int, n: int, kind: str, features: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = _patients(n, seed)
    if features:
        _features(table, seed, features).to_csv(folder / "features.csv", index=False)
    told = _with_gaps(table, seed)
    if kind != "survival":
        told["Relapse"] = np.where(_relapse(table, seed), "yes", "no")
    if kind != "relapse":
        told["Months"], died = _follow_up(table, seed)
        if kind == "competing":
            other = np.random.default_rng([seed, 5]).random(n) < 0.3
            died = np.where((died == 1) & other, 2, died)
        told["Died"] = died
    r = np.random.default_rng([seed, 6])
    for name, noise in (("Score A", 0.6), ("Score B", 1.2)):
        told[name] = (1 / (1 + np.exp(-table["risk"] - noise * r.normal(size=n)))).round(6)
    told.to_csv(folder / "table.csv", index=False)


def write_clinical(folder: Path) -> None:
    """Clinical table only, with follow-up for curves by risk group."""
    _write_table(folder, 21, 180, "both")
    follow = {"time": "months", "event": "died", "unit": "months", "name": "overall survival"}
    study = _frame("clinical table", {**RELAPSE, **FOLLOWED}, BINARY, survival=follow)
    study["evaluation"]["bootstrap"] = 100
    study["modelling"]["validation"] |= {"bootstrap": 20, "permutations": 10, "repeats": 4}
    _save(folder, study)


def write_auto(folder: Path) -> None:
    """The chain `auto` on a feature table."""
    _write_table(folder, 22, 110, "relapse", features=45)
    modelling = {"models": ["clinical", "radiomics", "combined"], "chain": "auto"}
    validation = {
        "folds": 3, "repeats": 1, "bootstrap": 2, "permutations": 1, "importance": 1, "learning_curve": 0,
        "usual_way": True,
    }  # fmt: skip
    more = {"features": {"table": "features.csv"}, "modelling": {**modelling, "validation": validation}}
    _save(folder, _frame("auto", RELAPSE, BINARY, **more))


def write_cox(folder: Path) -> None:
    """Time to an event: Cox models with a Radscore, two horizons."""
    _write_table(folder, 23, 150, "survival", features=24)
    outcome = {
        "definition": "survival", "columns": {"time": "months", "event": "died"}, "horizons": [12, 24],
        "unit": "months", "name": "Overall survival",
    }  # fmt: skip
    modelling = {"models": ["clinical", "radiomics", "combined"]}
    study = _frame("Cox", FOLLOWED, outcome, features={"table": "features.csv"}, modelling=modelling)
    study["modelling"]["validation"] |= {"repeats": 1, "bootstrap": 4, "permutations": 2}
    study["evaluation"] |= {"risk_groups": "maxstat"}
    _save(folder, study)


def write_competing(folder: Path) -> None:
    """A competing event: Fine and Gray, and cause-specific."""
    _write_table(folder, 24, 150, "competing", features=18)
    outcome = {
        "definition": "survival", "columns": {"time": "months", "event": "died"}, "horizons": [12, 24],
        "unit": "months", "event_values": [1], "competing_values": [2],
    }  # fmt: skip
    modelling = {"models": ["clinical", "radiomics", "combined"]}
    study = _frame("competing risks", FOLLOWED, outcome, features={"table": "features.csv"}, modelling=modelling)
    study["modelling"]["validation"] |= {"repeats": 1, "bootstrap": 4, "permutations": 2}
    _save(folder, study)


def write_horizon(folder: Path) -> None:
    """The event by a horizon as a binary outcome whose censored patients are weighted for, beside Cox."""
    _write_table(folder, 25, 150, "survival")
    outcome = {
        "definition": "survival", "columns": {"time": "months", "event": "died"}, "horizons": [12, 24],
        "unit": "months", "before_horizon": True,
    }  # fmt: skip
    study = _frame("binary at a horizon", FOLLOWED, outcome, modelling={"models": ["binary", "clinical"]})
    study["modelling"]["validation"] |= {"repeats": 1, "bootstrap": 4, "permutations": 2}
    study["evaluation"] |= {"risk_groups": "youden"}
    _save(folder, study)


RESECTION: dict[str, Any] = {
    "sex": {"column": "Sex", "kind": "binary", "levels": {"female": ["F"], "male": ["M"]}},
    "age": {"column": "Age (years)", "unit": "years", "quantity": "age"},
    "ast": {"column": "AST (IU/L)", "unit": "U/L", "quantity": "ast"},
    "alt": {"column": "ALT (IU/L)", "unit": "U/L", "quantity": "alt"},
    "ggt": {"column": "GGT (IU/L)", "unit": "U/L", "quantity": "ggt"},
    "alb": {"column": "ALB (g/L)", "unit": "g/L", "quantity": "albumin"},
    "tb": {"column": "TB (umol/L)", "unit": "umol/L", "quantity": "bilirubin"},
    "inr": {"column": "INR", "quantity": "inr"},
    "creatinine": {"column": "Creatinine (umol/L)", "unit": "umol/L", "quantity": "creatinine"},
    "sodium": {"column": "Sodium (mmol/L)", "unit": "mmol/L", "quantity": "sodium"},
    "plt": {"column": "PLT (10^9/L)", "unit": "10^9/L", "quantity": "platelets"},
    "neutrophils": {"column": "Neutrophils (10^9/L)", "unit": "10^9/L", "quantity": "neutrophils"},
    "lymphocytes": {"column": "Lymphocytes (10^9/L)", "unit": "10^9/L", "quantity": "lymphocytes"},
    "afp": {"column": "AFP (ng/mL)", "unit": "ng/mL", "quantity": "afp"},
    "tumor_diameter": {
        "column": "Largest tumor diameter (cm)", "unit": "cm", "label": "Tumor diameter", "quantity": "tumor_diameter",
    },
    "tumor_number": {"column": "Number of tumors", "quantity": "tumor_number"},
    "ascites": {"column": "Ascites", "kind": "categorical", "levels": {"none": ["none"], "mild": ["mild"],
                                                                       "moderate": ["moderate"]}},
    "encephalopathy": {"column": "Encephalopathy", "kind": "categorical",
                       "levels": {"none": ["none"], "mild": ["mild"], "severe": ["severe"]}},
    "vascular_invasion": {"column": "Macrovascular invasion", "kind": "binary",
                          "levels": {"no": ["no"], "yes": ["yes"]}},
    "metastasis": {"column": "Distant metastases", "kind": "binary", "levels": {"no": ["no"], "yes": ["yes"]}},
    "ecog": {"column": "ECOG", "quantity": "ecog"},
    "ctp": {"column": "Child-Pugh class", "kind": "categorical", "levels": {"A": ["A"], "B": ["B"], "C": ["C"]}},
}  # fmt: skip
RESECTION_CANDIDATES = ["sex", "age", "ast", "alb", "plt", "afp", "tumor_diameter", "tumor_number"]


def _proliferative(name: str, fusion: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Arterial CT of three sets, and how classifiers or networks on them are joined."""
    label = {
        "column": "Proliferative", "kind": "binary", "label": "Proliferative subtype", "after_event": True,
    }  # fmt: skip
    return {
        "hepacast": 1,
        "name": f"Golden: {name}",
        "recipe": "proliferative",
        "seed": 12,
        "cohort": {
            "table": "clinical.csv",
            "id": "patient",
            "columns": {**RESECTION, "proliferative": label},
            "split": {
                "by": "column", "column": "set", "training": ["training"], "validation": ["validation"],
                "external": ["external"],
            },
        },
        "outcome": {
            "definition": "binary-column", "name": "Proliferative HCC", "column": "proliferative",
            "positive": ["yes", 1], "negative": ["no", 0], "positive_label": "proliferative",
            "negative_label": "non-proliferative",
        },
        "images": {
            "sequences": {"arterial": {"path": "images/{patient}.nii.gz", "modality": "CT"}},
            "segmentation": {
                "source": "given", "masks": "masks/{patient}.nii.gz", "labels": {"parenchyma": 1, "tumor": 2},
            },
            "vois": {"tumor": "tumor"},
        },
        "features": {"settings": "few.yaml"},
        "modelling": {"candidates": list(RESECTION_CANDIDATES)},
        "fusion": dict(fusion),
        "evaluation": dict(EVALUATION),
        "report": {"formats": ["html"]},
        **more,
    }  # fmt: skip


def _put_few(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "few.yaml").write_text(yaml.safe_dump(FEW_FEATURES), encoding="utf-8")


def write_fusion(folder: Path) -> None:
    """Networks and classifiers compared, and models that join them."""
    from hepacast.phantom.proliferative import make_proliferative_cohorts

    make_proliferative_cohorts(folder, {"training": 36, "validation": 14, "external": 14}, size="tiny", seed=5)
    _put_few(folder)
    fusion = {
        "folds": 3,
        "classifiers": ["logistic", "random_forest"],
        "networks": [{"encoder": "resnet10", "dimensions": "3d"}, {"encoder": "resnet10", "dimensions": "2.5d"}],
        "deep": SMALL_NETWORK,
        "models": {"Clinical": ["clinical"], "R": ["radiomics"], "DL": ["network"], "All": ["network", "clinical"],
                   "DLR": ["dlr"]},
    }  # fmt: skip
    _save(folder, _proliferative("fusion with networks", fusion))


def write_further(folder: Path) -> None:
    """Classifiers on the features, two further cohorts with follow-up, staging systems and indexes."""
    from hepacast.phantom.proliferative import make_proliferative_cohorts

    sizes = {"training": 40, "validation": 16, "external": 14, "RFA": 20, "TACE": 20}
    make_proliferative_cohorts(folder, sizes, size="tiny", seed=6)
    _put_few(folder)
    fusion = {
        "folds": 3,
        "classifiers": ["logistic", "knn", "svm"],
        "models": {"CR": ["clinical"], "R": ["radiomics"], "RCR": ["radiomics", "clinical"]},
    }
    end = {"time": "Time (months)", "event": "Event", "event_values": ["yes", 1], "unit": "months"}
    further = {
        "RFA": {"table": "rfa.csv", **end, "name": "recurrence-free survival"},
        "TACE": {"table": "tace.csv", **end, "name": "time to progression", "horizons": [6, 12]},
    }
    columns = {
        "child_pugh": "ctp", "extrahepatic_spread": "metastasis", "major_branch": "vascular_invasion",
        "portal_vein_thrombosis": "vascular_invasion",
    }  # fmt: skip
    _save(folder, _proliferative("further cohorts and indexes", fusion, further=further, indexes={"columns": columns}))


def write_mr(folder: Path) -> None:
    """Three MR phases: bias field, registration, Nyul's scale, features, clinical, radiomics and combined model."""
    from hepacast.phantom.early_recurrence import make_recurrence_cohort

    make_recurrence_cohort(folder, 40, 16, size="tiny", seed=11)
    _put_few(folder)
    follow = {
        "rfs": {"column": "Recurrence-free time (months)", "quantity": "none", "after_event": True},
        "recurrence": {"column": "Recurrence", "kind": "binary", "after_event": True},
    }
    study = {
        "hepacast": 1,
        "name": "Golden: MR",
        "recipe": "early-recurrence",
        "seed": 13,
        "cohort": {
            "table": "clinical.csv", "id": "patient", "columns": {**RESECTION, **follow},
            "split": {"by": "column", "column": "set", "training": ["training"], "validation": ["validation"]},
        },
        "outcome": {"definition": "early-recurrence", "columns": {"time": "rfs", "event": "recurrence"}},
        "survival": {"time": "rfs", "event": "recurrence", "unit": "months", "name": "recurrence-free survival"},
        "images": {
            "sequences": {
                name: {"path": f"images/{{patient}}/{name}.nii.gz", "modality": "MR"} for name in ("arterial", "portal")
            },
            "segmentation": {
                "source": "given", "masks": "masks/{patient}.nii.gz",
                "labels": {"parenchyma": 1, "tumor": 2, "spleen": 3},
            },
            "vois": {"tumor": "tumor"},
            "preprocessing": {
                "bias_correction": "n4", "bias_voxel_mm": 30.0, "registration": "rigid", "reference": "arterial",
                "normalization": "nyul", "region": "body", "pictures": 0,
            },
        },
        "features": {"settings": "few.yaml"},
        "modelling": {
            "candidates": list(RESECTION_CANDIDATES), "models": ["clinical", "radiomics", "combined"],
            "validation": {**VALIDATION, "repeats": 1, "bootstrap": 3, "permutations": 2, "learning_curve": 0},
        },
        "evaluation": dict(EVALUATION),
        "report": {"formats": ["html"]},
    }  # fmt: skip
    _save(folder, study)


def write_ptlf(folder: Path) -> None:
    """The chain `ptlf` from images: two VOIs, a second reader, features below an ICC left out."""
    from hepacast.phantom.cohort import make_cohort

    make_cohort(
        folder, 50, 20, seed=7, n_masks=20, n_second_reader=8, n_reviewed=0, truth_masks=True, size="tiny", workers=1
    )
    _put_few(folder)
    numbers = {
        "age": ("Age (years)", "age", "years"), "diameter": ("Sum of tumor diameters (cm)", "sum_of_diameters", "cm"),
        "alb": ("ALB (g/L)", "albumin", "g/L"), "plt": ("PLT (10^9/L)", "platelets", "10^9/L"),
        "pt": ("PT (s)", "pt", "s"), "inr": ("INR", "inr", None), "ast": ("AST (IU/L)", "ast", "U/L"),
        "tb": ("TB (umol/L)", "bilirubin", "umol/L"), "afp": ("AFP (ng/mL)", "afp", "ng/mL"),
    }  # fmt: skip
    after = {
        "tb_after": ("Highest TB within 4 weeks (umol/L)", "bilirubin", "umol/L"),
        "inr_after": ("Highest INR within 4 weeks", "inr", None),
        "pta_after": ("Lowest PTA within 4 weeks (%)", "pta", "%"),
    }
    told = {
        "ascites_after": "New or growing ascites within 4 weeks",
        "encephalopathy_after": "Hepatic encephalopathy within 4 weeks",
    }
    yes = {"no": [0, "no"], "yes": [1, "yes"]}
    columns = {
        **{name: _number(*item) for name, item in numbers.items()},
        "cirrhosis": {"column": "Liver cirrhosis", "kind": "binary", "levels": yes},
        "ctp": {"column": "CTP", "kind": "categorical", "levels": {"A": ["A"], "B": ["B"], "C": ["C"]}},
        **{name: {**_number(*item), "after_event": True} for name, item in after.items()},
        **{name: {"column": item, "kind": "binary", "levels": yes, "after_event": True} for name, item in told.items()},
        "onset_days": {"column": "Days from TACE to onset", "unit": "days", "after_event": True},
    }
    study = {
        "hepacast": 1,
        "name": "Golden: ptlf",
        "recipe": "ptlf",
        "seed": 14,
        "cohort": {
            "table": "clinical.csv", "id": "patient", "center": "center", "columns": columns,
            "split": {"by": "column", "column": "center", "training": [1], "validation": [2]},
        },
        "outcome": {
            "definition": "apasl2019-ptlf", "name": "PTLF", "within_days": 28,
            "columns": {"bilirubin": "tb_after", "inr": "inr_after", "pta": "pta_after", "ascites": "ascites_after",
                        "encephalopathy": "encephalopathy_after", "onset_days": "onset_days"},
        },
        "images": {
            "sequences": {"portal": {"path": "images/{patient}.nii.gz", "modality": "CT"}},
            "segmentation": {
                "source": "given", "masks": "truth_masks/{patient}.nii.gz", "labels": {"parenchyma": 1, "tumor": 2},
                "second_reader": "second_reader/{patient}.nii.gz",
            },
            "vois": {"parenchyma": "parenchyma", "tumor": "tumor"},
        },
        "features": {"settings": "few.yaml", "min_icc": 0.75},
        "modelling": {
            "candidates": [*numbers, "cirrhosis", "ctp"], "chain": "ptlf",
            "validation": {**VALIDATION, "repeats": 1, "bootstrap": 3, "permutations": 2},
        },
        "evaluation": dict(EVALUATION),
        "report": {"formats": ["html"]},
    }  # fmt: skip
    _save(folder, study)


def _number(header: str, quantity: str, unit: str | None) -> dict[str, Any]:
    return {"column": header, "quantity": quantity, **({"unit": unit} if unit else {})}


STUDIES: dict[str, GoldenStudy] = {
    "clinical": GoldenStudy(
        write_clinical,
        "a clinical table, logistic regression; stats evaluate, logistic, describe",
        statistics={
            "evaluate": ("evaluate", "{folder}/table.csv", "--outcome", "Relapse", "--models", "Score A,Score B",
                         "--cutoff", "Score A=0.4", "--nri-cuts", "0.3,0.6", "--bootstrap", "50"),
            "logistic": ("logistic", "{folder}/table.csv", "--outcome", "Relapse", "--predictors",
                         "Age,Sex,Size (cm),BCLC"),
            "describe": ("describe", "{folder}/table.csv", "--by", "Relapse"),
        },
    ),
    "cox": GoldenStudy(
        write_cox,
        "time to an event, Cox models with a Radscore; stats survival",
        statistics={
            "survival": ("survival", "{folder}/table.csv", "--time", "Months", "--event", "Died", "--group", "BCLC",
                         "--predictors", "Age,Sex,Size (cm)", "--at", "12,24"),
            "score": ("survival", "{folder}/table.csv", "--time", "Months", "--event", "Died", "--score", "Score A",
                      "--at", "12,24"),
            "maxstat": ("survival", "{folder}/table.csv", "--time", "Months", "--event", "Died", "--score", "Score B",
                        "--cut", "maxstat", "--at", "18"),
        },
    ),
    "competing": GoldenStudy(write_competing, "a competing event"),
    "horizon": GoldenStudy(write_horizon, "the event by a horizon, censored patients weighted for"),
    "ptlf": GoldenStudy(
        write_ptlf, "the chain ptlf from CT, two VOIs, two readers", noise={"permutations": 3, "repeats": 1}
    ),
    "auto": GoldenStudy(write_auto, "the chain auto on a feature table"),
    "fusion": GoldenStudy(write_fusion, "fusion with networks"),
    "mr": GoldenStudy(write_mr, "MR preprocessing and radiomics", noise={"permutations": 2, "repeats": 1}),
    "further": GoldenStudy(write_further, "further cohorts, staging systems and indexes"),
}  # fmt: skip
