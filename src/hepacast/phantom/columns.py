"""The virtual clinical table's columns: the characteristics of the leading study's Table 2, and the follow-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PhantomColumn:
    """One column.

    Parameters
    ----------
    name
        Canonical name, as in a study file.
    header
        Header in the table, with the unit.
    label
        Name in tables and figures.
    kind
        ``numeric``, ``binary`` or ``categorical``.
    unit
        As written.
    quantity
        The known quantity (unit conversion, plausible range), or empty.
    levels
        Words of a binary or categorical column, the first is the reference.
    decimals
        Digits after the point of a numeric column.
    role
        ``candidate`` (before TACE), ``follow-up`` (defines the outcome) or ``flow`` (who is in the study).
    part
        For the follow-up: its part in the outcome definition ``apasl2019-ptlf``.
    """

    name: str
    header: str
    label: str
    kind: Literal["numeric", "binary", "categorical"] = "numeric"
    unit: str = ""
    quantity: str = ""
    levels: dict[str, tuple[Any, ...]] | None = None
    decimals: int = 1
    role: Literal["candidate", "follow-up", "flow"] = "candidate"
    part: str = ""


_NO_YES: dict[str, tuple[Any, ...]] = {"no": (0, "no"), "yes": (1, "yes")}

CHARACTERISTICS: tuple[PhantomColumn, ...] = (
    PhantomColumn("sex", "Sex", "Sex", "binary", levels={"female": ("F", "female"), "male": ("M", "male")}),
    PhantomColumn("age", "Age (years)", "Age", unit="years", quantity="age", decimals=0),
    PhantomColumn(
        "tumor_location",
        "Tumor location",
        "Tumor location",
        "categorical",
        levels={"right lobe": ("right",), "left lobe": ("left",), "both lobes": ("both",)},
    ),
    PhantomColumn(
        "tumor_number", "Number of tumors", "Number of tumors", "binary", levels={"1": ("1",), ">=2": (">=2", "≥2")}
    ),
    PhantomColumn(
        "tumor_diameter",
        "Sum of tumor diameters (cm)",
        "Sum of tumor diameters",
        unit="cm",
        quantity="sum_of_diameters",
    ),
    PhantomColumn("cirrhosis", "Liver cirrhosis", "Liver cirrhosis", "binary", levels=_NO_YES),
    PhantomColumn("hydroperitoneum", "Hydroperitoneum", "Hydroperitoneum", "binary", levels=_NO_YES),
    PhantomColumn("wbc", "WBC (10^9/L)", "WBC", unit="10^9/L", quantity="wbc", decimals=2),
    PhantomColumn("neutrophil", "Neutrophil (%)", "Neutrophils", unit="%", quantity="neutrophil_percent"),
    PhantomColumn("rbc", "RBC (10^12/L)", "RBC", unit="10^12/L", quantity="rbc", decimals=2),
    PhantomColumn("hb", "Hb (g/L)", "Hemoglobin", unit="g/L", quantity="hemoglobin", decimals=0),
    PhantomColumn("alb", "ALB (g/L)", "Albumin", unit="g/L", quantity="albumin"),
    PhantomColumn("plt", "PLT (10^9/L)", "Platelets", unit="10^9/L", quantity="platelets", decimals=0),
    PhantomColumn("pt", "PT (s)", "Prothrombin time", unit="s", quantity="pt"),
    PhantomColumn("tt", "TT (s)", "Thrombin time", unit="s", quantity="tt"),
    PhantomColumn("inr", "INR", "INR", quantity="inr", decimals=2),
    PhantomColumn("aptt", "APTT (s)", "APTT", unit="s", quantity="aptt"),
    PhantomColumn("ast", "AST (IU/L)", "AST", unit="U/L", quantity="ast", decimals=0),
    PhantomColumn("alt", "ALT (IU/L)", "ALT", unit="U/L", quantity="alt", decimals=0),
    PhantomColumn("tb", "TB (umol/L)", "Total bilirubin", unit="umol/L", quantity="bilirubin"),
    PhantomColumn("glu", "GLU (mmol/L)", "Glucose", unit="mmol/L", quantity="glucose", decimals=2),
    PhantomColumn("ggt", "GGT (IU/L)", "GGT", unit="U/L", quantity="ggt", decimals=0),
    PhantomColumn("afp", "AFP (ng/mL)", "AFP", unit="ng/mL", quantity="afp", decimals=2),
    PhantomColumn("embolus", "Embolus", "Portal vein embolus", "binary", levels=_NO_YES),
    PhantomColumn("ctp", "CTP", "Child-Pugh class", "categorical", levels={"A": ("A",), "B": ("B",), "C": ("C",)}),
)

FOLLOW_UP: tuple[PhantomColumn, ...] = (
    PhantomColumn(
        "tb_after", "Highest TB within 4 weeks (umol/L)", "Highest bilirubin after TACE", unit="umol/L",
        quantity="bilirubin", role="follow-up", part="bilirubin",
    ),
    PhantomColumn(
        "inr_after", "Highest INR within 4 weeks", "Highest INR after TACE", quantity="inr", decimals=2,
        role="follow-up", part="inr",
    ),
    PhantomColumn(
        "pta_after", "Lowest PTA within 4 weeks (%)", "Lowest PTA after TACE", unit="%", quantity="pta", decimals=0,
        role="follow-up", part="pta",
    ),
    PhantomColumn(
        "ascites_after", "New or growing ascites within 4 weeks", "Ascites after TACE", "binary", levels=_NO_YES,
        role="follow-up", part="ascites",
    ),
    PhantomColumn(
        "encephalopathy_after", "Hepatic encephalopathy within 4 weeks", "Encephalopathy after TACE", "binary",
        levels=_NO_YES, role="follow-up", part="encephalopathy",
    ),
    PhantomColumn(
        "onset_days", "Days from TACE to onset", "Days to onset", unit="days", decimals=0, role="follow-up",
        part="onset_days",
    ),
)  # fmt: skip

PATIENT_HEADER, CENTER_HEADER, EXCLUSION_HEADER = "patient", "center", "Reason for exclusion"

#: Why reviewed patients were left out, with shares of all who were.
EXCLUSION_REASONS: dict[str, float] = {
    "No portal-venous CT within 4 weeks before TACE": 0.33,
    "Treatment of the tumor before TACE": 0.29,
    "Laboratory values or follow-up incomplete": 0.21,
    "Other malignant tumor": 0.08,
    "Poor image quality": 0.09,
}


def study_columns() -> dict[str, dict[str, Any]]:
    """All columns as the section ``cohort: columns:`` of a study file."""
    return {column.name: _study_entry(column) for column in (*CHARACTERISTICS, *FOLLOW_UP)}


def outcome_columns() -> dict[str, str]:
    """Part -> column for the outcome definition ``apasl2019-ptlf``."""
    return {column.part: column.name for column in FOLLOW_UP}


def candidates() -> list[str]:
    """Names of the characteristics known before TACE."""
    return [column.name for column in CHARACTERISTICS]


def exclusions() -> list[dict[str, str]]:
    """The section ``cohort: exclude:`` of a study file."""
    return [{"reason": reason, "column": EXCLUSION_HEADER, "equals": reason} for reason in EXCLUSION_REASONS]


def _study_entry(column: PhantomColumn) -> dict[str, Any]:
    entry: dict[str, Any] = {"column": column.header, "label": column.label}
    if column.kind != "numeric":
        entry["kind"] = column.kind
    if column.unit:
        entry["unit"] = column.unit
    if column.quantity:
        entry["quantity"] = column.quantity
    if column.levels:
        entry["levels"] = {name: list(words) for name, words in column.levels.items()}
    if column.role == "follow-up":
        entry["after_event"] = True
    return entry
