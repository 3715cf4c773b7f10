"""The clinical table of virtual patients before a curative treatment: laboratory values, tumors, findings.

Medians and spreads are those of resectable hepatocellular carcinoma in Child-Pugh A to B7. What bears on an outcome is
decided elsewhere; here values are only drawn, with the correlations that a laboratory would show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hepacast.phantom.spec import TumorSpec

Row = dict[str, Any]

#: Mean and SD of ln AST (U/L), of the diameter (cm) and of ln AFP (ng/mL) in the population.
LN_AST_MEAN, LN_AST_SD = float(np.log(38.0)), 0.45
DIAMETER_MEAN, DIAMETER_SD = 4.6, 1.6
LN_AFP_MEAN, LN_AFP_SD = float(np.log(60.0)), 2.2

#: Column name -> header in the table, and digits after the point (None: a word or a whole number).
HEADERS: dict[str, tuple[str, int | None]] = {
    "sex": ("Sex", None),
    "age": ("Age (years)", 0),
    "ast": ("AST (IU/L)", 0),
    "alt": ("ALT (IU/L)", 0),
    "ggt": ("GGT (IU/L)", 0),
    "alb": ("ALB (g/L)", 1),
    "tb": ("TB (umol/L)", 1),
    "inr": ("INR", 2),
    "creatinine": ("Creatinine (umol/L)", 0),
    "sodium": ("Sodium (mmol/L)", 0),
    "plt": ("PLT (10^9/L)", 0),
    "neutrophils": ("Neutrophils (10^9/L)", 2),
    "lymphocytes": ("Lymphocytes (10^9/L)", 2),
    "monocytes": ("Monocytes (10^9/L)", 2),
    "afp": ("AFP (ng/mL)", 1),
    "tumor_diameter": ("Largest tumor diameter (cm)", 1),
    "tumor_number": ("Number of tumors", None),
    "ascites": ("Ascites", None),
    "encephalopathy": ("Encephalopathy", None),
    "morphology": ("Tumor morphology", None),
    "more_than_half": ("Tumor in more than half of the liver", None),
    "vascular_invasion": ("Macrovascular invasion", None),
    "nodes": ("Lymph-node metastases", None),
    "metastasis": ("Distant metastases", None),
    "ecog": ("ECOG", None),
    "ctp": ("Child-Pugh class", None),
}


def draw_causes(generator: np.random.Generator, number: int) -> dict[str, np.ndarray]:
    """What may bear on an outcome, as it is printed: AST (U/L), diameter (cm), AFP (ng/mL), and a hidden score.

    All are independent; the hidden score is standard normal, cut at 2.5.
    """
    z = generator.standard_normal((number, 4))
    return {
        "ast": np.round(np.clip(np.exp(LN_AST_MEAN + LN_AST_SD * z[:, 0]), 12, 300)),
        "tumor_diameter": np.round(np.clip(DIAMETER_MEAN + DIAMETER_SD * z[:, 1], 2.0, 8.8), 1),
        "afp": np.round(np.clip(np.exp(LN_AFP_MEAN + LN_AFP_SD * z[:, 2]), 1.5, 60000), 1),
        "hidden": np.clip(z[:, 3], -2.5, 2.5),
    }


def draw_row(causes: dict[str, float], generator: np.random.Generator) -> Row:
    """One patient's table, given AST, diameter and AFP."""
    damage = (np.log(causes["ast"]) - LN_AST_MEAN) / LN_AST_SD
    reserve = generator.standard_normal()
    row: Row = {
        "sex": "M" if generator.random() < 0.83 else "F",
        "age": float(np.clip(generator.normal(57, 10), 26, 84)),
        "ast": causes["ast"],
        "alt": float(
            np.clip(np.exp(np.log(36.0) + 0.45 * (0.7 * damage + 0.71 * generator.standard_normal())), 8, 400)
        ),
        "ggt": float(np.clip(np.exp(np.log(62.0) + 0.7 * (0.4 * damage + 0.9 * generator.standard_normal())), 9, 900)),
        "alb": float(np.clip(41.0 + 4.0 * reserve, 27, 52)),
        "tb": float(np.clip(np.exp(np.log(13.5) + 0.38 * (0.9 * generator.standard_normal() - 0.3 * reserve)), 4, 60)),
        "inr": float(np.clip(1.05 - 0.03 * reserve + 0.06 * generator.standard_normal(), 0.85, 1.5)),
        "creatinine": float(np.clip(np.exp(np.log(74.0) + 0.2 * generator.standard_normal()), 38, 180)),
        "sodium": float(np.clip(generator.normal(140.5, 2.4), 129, 148)),
        "plt": float(
            np.clip(np.exp(np.log(158.0) + 0.4 * (0.9 * generator.standard_normal() + 0.2 * reserve)), 40, 450)
        ),
    }
    white = float(np.exp(np.log(5.6) + 0.28 * generator.standard_normal()))
    neutrophil = float(np.clip(generator.normal(0.61, 0.08), 0.35, 0.85))
    monocyte = float(np.clip(generator.normal(0.075, 0.018), 0.03, 0.13))
    row |= {
        "neutrophils": white * neutrophil,
        "lymphocytes": white * max(1.0 - neutrophil - monocyte - 0.03, 0.08),
        "monocytes": white * monocyte,
        "afp": causes["afp"],
        "tumor_diameter": causes["tumor_diameter"],
        "tumor_number": 1 + int(np.searchsorted(np.cumsum([0.78, 0.15]), generator.random())),
        "ascites": "mild" if generator.random() < 0.05 else "none",
        "encephalopathy": "none",
        "vascular_invasion": "yes" if generator.random() < 0.06 else "no",
        "more_than_half": "no",
        "nodes": "no",
        "metastasis": "no",
        "ecog": int(generator.random() < 0.12),
    }
    row["morphology"] = "uninodular" if row["tumor_number"] == 1 else "multinodular"
    row["ctp"] = child_pugh(row)
    return row


def child_pugh(row: Row) -> str:
    """Child-Pugh class of the drawn values (bilirubin 34/51 umol/L, albumin 35/28 g/L, INR 1.7/2.3, ascites)."""
    points = 2 + (row["tb"] > 34) + (row["tb"] > 51) + (row["alb"] <= 35) + (row["alb"] < 28) + (row["inr"] >= 1.7)
    points += 1 + 1 + (1 if row["ascites"] == "none" else 2)
    return "A" if points <= 6 else "B" if points <= 9 else "C"


def printed(row: Row) -> Row:
    """Header -> value as a laboratory prints it."""
    shown: Row = {}
    for name, (header, digits) in HEADERS.items():
        value = row[name]
        shown[header] = value if digits is None else round(value, digits) if digits else round(value)
    return shown


def tumors_of(row: Row, generator: np.random.Generator) -> tuple[TumorSpec, ...]:
    """The tumors to draw: the largest has the table's diameter."""
    largest = float(row["tumor_diameter"]) * 10.0
    rest = [largest * float(generator.uniform(0.3, 0.6)) for _ in range(int(row["tumor_number"]) - 1)]
    left = generator.random() < 0.12 and largest < 55
    return (
        TumorSpec("left" if left else "right", largest),
        *(TumorSpec("right", max(size, 12.0)) for size in sorted(rest, reverse=True)),
    )


def study_columns() -> dict[str, dict[str, Any]]:
    """The table's columns as the section ``cohort: columns:`` of a study file."""
    no_yes = {"no": ["no"], "yes": ["yes"]}
    columns: dict[str, dict[str, Any]] = {
        "sex": {"kind": "binary", "label": "Sex", "levels": {"female": ["F"], "male": ["M"]}},
        "age": {"label": "Age", "unit": "years", "quantity": "age"},
        "ast": {"label": "AST", "unit": "U/L", "quantity": "ast"},
        "alt": {"label": "ALT", "unit": "U/L", "quantity": "alt"},
        "ggt": {"label": "GGT", "unit": "U/L", "quantity": "ggt"},
        "alb": {"label": "Albumin", "unit": "g/L", "quantity": "albumin"},
        "tb": {"label": "Total bilirubin", "unit": "umol/L", "quantity": "bilirubin"},
        "inr": {"label": "INR", "quantity": "inr"},
        "creatinine": {"label": "Creatinine", "unit": "umol/L", "quantity": "creatinine"},
        "sodium": {"label": "Sodium", "unit": "mmol/L", "quantity": "sodium"},
        "plt": {"label": "Platelets", "unit": "10^9/L", "quantity": "platelets"},
        "neutrophils": {"label": "Neutrophils", "unit": "10^9/L", "quantity": "neutrophils"},
        "lymphocytes": {"label": "Lymphocytes", "unit": "10^9/L", "quantity": "lymphocytes"},
        "monocytes": {"label": "Monocytes", "unit": "10^9/L", "quantity": "monocytes"},
        "afp": {"label": "AFP", "unit": "ng/mL", "quantity": "afp"},
        "tumor_diameter": {"label": "Largest tumor diameter", "unit": "cm", "quantity": "tumor_diameter"},
        "tumor_number": {"label": "Number of tumors", "quantity": "tumor_number"},
        "ascites": {
            "kind": "categorical",
            "label": "Ascites",
            "levels": {"none": ["none"], "mild": ["mild"], "moderate": ["moderate"]},
        },
        "encephalopathy": {
            "kind": "categorical",
            "label": "Encephalopathy",
            "levels": {"none": ["none"], "mild": ["mild"], "severe": ["severe"]},
        },
        "morphology": {
            "kind": "categorical",
            "label": "Tumor morphology",
            "levels": {"uninodular": ["uninodular"], "multinodular": ["multinodular"], "massive": ["massive"]},
        },
        "more_than_half": {"kind": "binary", "label": "Tumor in more than half of the liver", "levels": no_yes},
        "vascular_invasion": {"kind": "binary", "label": "Macrovascular invasion", "levels": no_yes},
        "nodes": {"kind": "binary", "label": "Lymph-node metastases", "levels": no_yes},
        "metastasis": {"kind": "binary", "label": "Distant metastases", "levels": no_yes},
        "ecog": {"label": "ECOG performance status", "quantity": "ecog"},
        "ctp": {"kind": "categorical", "label": "Child-Pugh class", "levels": {"A": ["A"], "B": ["B"], "C": ["C"]}},
    }
    return {name: {"column": HEADERS[name][0], **entry} for name, entry in columns.items()}
