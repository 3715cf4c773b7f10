"""Biomarkers: numbers of named structures and phases, as candidates of the clinical model."""

from __future__ import annotations

from typing import Literal

from hepacast.study.schema.base import Part, option

#: Those of `hepacast.biomarkers.phases`, which stages must not depend on.
Phase = Literal["unenhanced", "arterial", "portal", "delayed", "hepatobiliary"]


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
