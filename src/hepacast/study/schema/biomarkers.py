"""Biomarkers: numbers of named structures and phases, as candidates of the clinical model."""

from __future__ import annotations

from typing import Literal

from hepacast.study.schema.base import Part, option

#: Those of `hepacast.imaging.phases`, which stages must not depend on.
Phase = Literal["unenhanced", "arterial", "portal", "delayed", "hepatobiliary"]
Recorded = Literal["tumor_number", "tumor_diameter", "t_stage", "li_rads"]


class BiomarkerOptions(Part):
    """Numbers of liver and tumor that a clinician can read off the image; they become candidates."""

    use: list[str] = option(
        lambda: ["recommended"],
        "which become candidates: tumor or liver (the few of a question about either), recommended (both), all, or "
        "names without `biomarker/` in which * stands for anything",
        example=["*/tumor_minus_liver", "phases/wash_out_delayed", "shape/longest_diameter"],
    )
    phases: dict[str, Phase] = option(
        dict,
        "phase of a sequence whose name does not tell it: unenhanced, arterial, portal, delayed, hepatobiliary",
        example={"T1_2": "arterial"},
    )
    hematocrit: str | None = option(
        None,
        "column with the hematocrit (a share of the blood, or percent): for the extracellular volume",
        example="hct",
    )
    vascular_invasion: str | None = option(
        None, "binary column that says whether vessels are invaded: for T stage and up-to-seven"
    )
    recorded: dict[Recorded, str] = option(
        dict,
        "columns with what readers recorded (tumor_number, tumor_diameter, t_stage, li_rads): the report has their "
        "agreement with what was measured",
        example={"tumor_diameter": "largest_diameter"},
    )

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the table that are read, by the key that names them."""
        facts = {"hematocrit": self.hematocrit, "vascular_invasion": self.vascular_invasion}
        known = {key: name for key, name in facts.items() if name is not None}
        return known | {f"recorded.{key}": name for key, name in self.recorded.items()}
