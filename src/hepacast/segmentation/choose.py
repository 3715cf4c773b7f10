"""A segmenter by its name, as it stands in a study file or on the command line."""

from __future__ import annotations

import difflib
from typing import Any

from hepacast.errors import StudyFileError
from hepacast.segmentation.base import Segmenter

#: Names that `make_segmenter` understands, and what they are.
SEGMENTERS = {
    "builtin": "pretrained liver and lesion networks, no training",
    "builtin:openvino": "the same by OpenVINO, in half the time on a CPU (openvino-bf16: a quarter, where the CPU can; "
    "torch-bf16: PyTorch in bfloat16)",
    "nnunet:DIR": "any trained nnU-Net v2 folder",
    "totalsegmentator": "TotalSegmentator (liver, liver_lesions), if installed",
    "given:FILE": "a mask file",
}


def make_segmenter(spec: str, **options: Any) -> Segmenter:
    """Make a segmenter from its name.

    Parameters
    ----------
    spec
        ``builtin`` (``builtin:ENGINE`` with openvino, openvino-bf16, torch-bf16), ``nnunet:DIR``,
        ``totalsegmentator`` or ``given:FILE``.
    **options
        Passed to the segmenter, e.g. ``weights`` for ``builtin``, ``folds`` for ``nnunet``.

    Raises
    ------
    StudyFileError
        No segmenter has this name, or it does not know an option.
    """
    kind, _, argument = spec.partition(":")
    kind = kind.strip().lower()
    makers = {
        "builtin": _builtin,
        "nnunet": _nnunet,
        "totalsegmentator": _totalsegmentator,
        "given": _given,
    }
    if kind not in makers:
        near = difflib.get_close_matches(kind, makers, n=1)
        raise StudyFileError(
            f"There is no segmenter {spec!r}.",
            expected=", ".join(SEGMENTERS),
            remedy=f"did you mean {near[0]!r}?" if near else None,
        )
    needs_argument = kind in ("nnunet", "given")
    if needs_argument != bool(argument) and kind != "builtin":
        wanted = next(name for name in SEGMENTERS if name.startswith(kind))
        raise StudyFileError("The segmenter is not written as expected.", expected=wanted, found=spec)
    try:
        return makers[kind](argument, options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise StudyFileError(
            f"The segmenter {kind!r} does not know one of the options.", found=", ".join(options)
        ) from error


def _builtin(argument: str, options: dict[str, Any]) -> Segmenter:
    from hepacast.segmentation.builtin import BuiltinSegmenter

    return BuiltinSegmenter(engine=argument or "torch", **options)


def _nnunet(argument: str, options: dict[str, Any]) -> Segmenter:
    from hepacast.core.optional import require
    from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

    for package in ("torch", "nnunetv2"):
        require(package, purpose="An nnU-Net model", extra="seg")
    return NnunetSegmenter(argument, **options)


def _totalsegmentator(argument: str, options: dict[str, Any]) -> Segmenter:
    from hepacast.segmentation.totalsegmentator import TotalSegmentatorSegmenter

    return TotalSegmentatorSegmenter(**options)


def _given(argument: str, options: dict[str, Any]) -> Segmenter:
    from hepacast.segmentation.given import GivenSegmenter

    return GivenSegmenter(argument, **options)
