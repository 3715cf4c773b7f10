"""A prediction as FHIR R4: a RiskAssessment, the Observations that it rests on, and the Device that made it.

Codes are given where they are sure: LOINC for what laboratories report under one code in that unit, UCUM for units.
Everything else is said in words. The patient is the study code; no name, no number of the hospital.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepacast.bundle.labs import read_labs
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.prediction import HorizonRisk, Prediction, conformal_text
from hepacast.cohort import ColumnSpec
from hepacast.core.files import write_json
from hepacast.core.formatting import risk_text
from hepacast.core.hashing import hash_value
from hepacast.errors import ModelError
from hepacast.stats.intervals import level_text

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
#: Where a range stands beside the probability, for which R4 has one place only.
INTERVAL = "https://hepacast.readthedocs.io/fhir/risk-interval"
#: Units of the study as UCUM writes them; one that is not here is told in words.
_UNITS = {
    "years": "a", "cm": "cm", "mm": "mm", "m": "m", "kg": "kg", "kg/m^2": "kg/m2", "mL": "mL", "g/L": "g/L",
    "g/dL": "g/dL", "mg/dL": "mg/dL", "mg/L": "mg/L", "ug/L": "ug/L", "ng/mL": "ng/mL", "umol/L": "umol/L",
    "mmol/L": "mmol/L", "U/L": "U/L", "10^9/L": "10*9/L", "10^12/L": "10*12/L", "%": "%", "s": "s", "days": "d",
    "months": "mo", "weeks": "wk", "IU/mL": "[IU]/mL", "HU": "[hnsf'U]",
}  # fmt: skip
#: LOINC by quantity and kind of unit (serum or plasma, blood counts), and its name.
_CODES: dict[tuple[str, str], tuple[str, str]] = {
    ("age", "years"): ("30525-0", "Age"),
    ("height", "length"): ("8302-2", "Body height"),
    ("weight", "mass"): ("29463-7", "Body weight"),
    ("bilirubin", "mol"): ("14631-6", "Bilirubin.total [Moles/volume] in Serum or Plasma"),
    ("bilirubin", "g"): ("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"),
    ("albumin", "g"): ("1751-7", "Albumin [Mass/volume] in Serum or Plasma"),
    ("creatinine", "mol"): ("14682-9", "Creatinine [Moles/volume] in Serum or Plasma"),
    ("creatinine", "g"): ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma"),
    ("alt", "U"): ("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
    ("ast", "U"): ("1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma"),
    ("ggt", "U"): ("2324-2", "Gamma glutamyl transferase [Enzymatic activity/volume] in Serum or Plasma"),
    ("alp", "U"): ("6768-6", "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma"),
    ("afp", "g"): ("1834-1", "Alpha-1-Fetoprotein [Mass/volume] in Serum or Plasma"),
    ("inr", ""): ("6301-6", "INR in Platelet poor plasma by Coagulation assay"),
    ("sodium", "mol"): ("2951-2", "Sodium [Moles/volume] in Serum or Plasma"),
    ("hemoglobin", "g"): ("718-7", "Hemoglobin [Mass/volume] in Blood"),
    ("platelets", "count"): ("26515-7", "Platelets [#/volume] in Blood"),
    ("wbc", "count"): ("26464-8", "Leukocytes [#/volume] in Blood"),
}
_KINDS = (
    (r"[unpm]?mol/.*", "mol"), (r"[unpm]?g/d?[mL]+", "g"), (r"U/L", "U"), (r"10\^\d+/L", "count"),
    (r"[cm]?m", "length"), (r"kg", "mass"), (r"years", "years"), (r"", ""),
)  # fmt: skip


def write_fhir(
    bundle: Bundle | NetworkBundle, prediction: Prediction, labs: Mapping[str, str], path: str | Path
) -> None:
    """Write `fhir_bundle` as JSON."""
    write_json(path, fhir_bundle(bundle, prediction, labs))


def fhir_bundle(
    bundle: Bundle | NetworkBundle, prediction: Prediction, labs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The prediction as a FHIR Bundle (collection): RiskAssessment, Observations, Device.

    Parameters
    ----------
    labs
        Clinical values as they were told, by name.

    Raises
    ------
    ModelError
        A risk is not within 0 and 1.
    """
    seed = hash_value(prediction.to_json())
    device = _reference(seed, "device")
    observed = [*_clinical(bundle, prediction, labs or {}), *_scores(prediction)]
    common = {"status": "preliminary", "subject": _subject(prediction), **_when(prediction, "effectiveDateTime")}
    entries = [(_reference(seed, "risk"), _assessment(prediction, seed, len(observed), device))]
    entries += [
        (_reference(seed, f"observation {place}"), {"resourceType": "Observation", **common, **item})
        for place, item in enumerate(observed)
    ]
    entries.append((device, _device(bundle, prediction)))
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


def _reference(seed: str, what: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{seed} {what}')}"


def _subject(item: Prediction) -> dict[str, Any]:
    return {"identifier": {"value": item.patient}} if item.patient else {"display": "patient code not given"}


def _when(item: Prediction, name: str) -> dict[str, str]:
    return {name: item.date} if re.fullmatch(r"\d{4}-\d{2}-\d{2}", item.date) else {}


def _assessment(item: Prediction, seed: str, observations: int, device: str) -> dict[str, Any]:
    risks = item.horizons or (HorizonRisk(math.nan, "", item.risk, item.low, item.high),)
    notes = [f"Caution: {text}" for text in item.cautions] + [f"Warning: {text}" for text in item.warnings]
    notes += [f"Validated: {text}" for text in item.validated]
    if item.conformal is not None:
        notes.append(conformal_text(item.conformal, item.coverage))
    return {
        "resourceType": "RiskAssessment",
        "status": "preliminary",
        "subject": _subject(item),
        **_when(item, "occurrenceDateTime"),
        "method": {"text": f"{item.study}; model {item.model}; bundle {item.bundle}"},
        "performer": {"reference": device},
        "basis": [{"reference": _reference(seed, f"observation {place}")} for place in range(observations)],
        "prediction": [_predicted(item, risk, main=risk is risks[-1]) for risk in risks],
        "note": [{"text": text} for text in (*notes, item.notice)],
    }


def _predicted(item: Prediction, risk: HorizonRisk, *, main: bool) -> dict[str, Any]:
    """Outcome and probability; the interval in words and as a range. The cut-off is that of the main horizon."""
    if not 0.0 <= risk.risk <= 1.0:
        raise ModelError("A risk is not within 0 and 1.", found=str(risk.risk), where=item.model)
    found: dict[str, Any] = {"outcome": {"text": item.outcome}, "probabilityDecimal": risk.risk}
    if math.isfinite(risk.low) and math.isfinite(risk.high):
        limits = {"low": {"value": risk.low}, "high": {"value": risk.high}}
        found["extension"] = [{"url": INTERVAL, "valueRange": limits}]
        level = level_text(item.level)
        found["rationale"] = f"{level} interval {risk_text(risk.low)} to {risk_text(risk.high)}: {item.interval_of}"
    else:
        found["rationale"] = f"no interval: {item.interval_of}"
    if math.isfinite(item.cutoff) and main:
        found["qualitativeRisk"] = {"text": f"{item.group} (cut-off {risk_text(item.cutoff)}, from training)"}
    if math.isfinite(risk.time):
        found["whenRange"] = {"low": _quantity(0.0, risk.unit), "high": _quantity(risk.time, risk.unit)}
    return found


def _quantity(value: float, unit: str) -> dict[str, Any]:
    found: dict[str, Any] = {"value": value}
    if unit:
        found["unit"] = unit
    code = "1" if not unit else _UNITS.get(unit)
    return found if code is None else {**found, "system": UCUM, "code": code}


def _clinical(bundle: Bundle | NetworkBundle, item: Prediction, labs: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the model read of the patient; numbers as they were told, what was measured in the image as shown."""
    specs = {spec.name: spec for spec in bundle.columns}
    told = read_labs(labs, bundle.columns, [])
    found = []
    for name in bundle.clinical_names(item.model):
        spec, value = specs[name], told[name].value if name in told else None
        entry: dict[str, Any] = {"code": _concept(spec)}
        if isinstance(value, float | int) and math.isfinite(value) and spec.kind == "numeric":
            entry["valueQuantity"] = _quantity(float(value), spec.unit or "")
        elif item.values.get(spec.label, "not known") == "not known":
            entry["dataAbsentReason"] = {"text": "not known"}
        else:
            entry["valueString"] = item.values[spec.label]
        found.append(entry)
    return found


def _scores(item: Prediction) -> list[dict[str, Any]]:
    return [
        {"code": {"text": f"{name}, measured in the image"}, "valueQuantity": _quantity(value, "")}
        for name, value in item.scores.items()
        if math.isfinite(value)
    ]


def _concept(spec: ColumnSpec) -> dict[str, Any]:
    kind = next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, spec.unit or "")), "other")
    known = _CODES.get((spec.quantity or "", kind))
    coding = {"coding": [{"system": LOINC, "code": known[0], "display": known[1]}]} if known else {}
    return {**coding, "text": spec.label}


def _device(bundle: Bundle | NetworkBundle, item: Prediction) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "identifier": [{"value": bundle.identity}],
        "manufacturer": "hepacast",
        "deviceName": [{"name": f"{item.study}: {item.model}", "type": "model-name"}],
        "version": [{"value": f"hepacast {item.hepacast}"}],
    }
