"""One patient: what `hepacast predict` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hepacast.bundle import Bundle, Prediction, measure_features, predict
from hepacast.bundle.labs import read_labs
from hepacast.bundle.page import write_page
from hepacast.compute.files import write_json
from hepacast.compute.progress import Reporter, SilentReporter
from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_mask, read_volume, write_labelmap
from hepacast.imaging.overlay import overlay_png
from hepacast.segmentation.base import COMPOSITES, LabelMapResult
from hepacast.study.one_image import label_values, run_segmenter, with_unions


def predict_patient(
    bundle: str | Path,
    *,
    image: str | Path | None = None,
    mask: str | Path | None = None,
    labels: str = "",
    labs: Sequence[str] = (),
    model: str | None = None,
    segmenter: str = "builtin",
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Prediction:
    """Risk of one patient from a bundle.

    Parameters
    ----------
    bundle
        ``model.hepacast``.
    image, mask
        The image, and its mask where there is one; else the segmenter makes it.
    labels
        Names of the mask's values; default those of the training masks.
    labs
        Clinical values as ``name=value``.
    model
        Model of the bundle; default the main one.
    segmenter
        ``builtin``, ``nnunet:DIR`` or ``totalsegmentator``.
    out
        Folder for ``prediction.json``, ``prediction.pdf`` and, with an image, ``mask.nii.gz`` and ``overlay.png``.

    Raises
    ------
    HepacastError
        Anything about the bundle, the image or the values that does not fit.
    """
    say = reporter or SilentReporter()
    opened = Bundle.read(bundle)
    name = model or opened.main
    values = _pairs(labs)
    # A mistyped value is told now, and not after a minute of segmentation.
    read_labs(values, opened.columns, opened.clinical_names(name))
    features: dict[str, float] | None = None
    notes: tuple[str, ...] = ()
    overlay: Path | None = None
    if image is not None and opened.needs_features(name):
        volume = read_volume(image)
        masks, notes, labelmap = _masks(opened, volume, mask, labels, segmenter, say)
        if out is not None:
            overlay = Path(out) / "overlay.png"
            shown = {key: item for key, item in masks.items() if key not in COMPOSITES} or masks
            overlay_png(volume, shown, overlay, slices=3)
            if labelmap is not None:
                write_labelmap(labelmap.labelmap, Path(out) / "mask.nii.gz")
        say.say("measuring features")
        features = measure_features(opened, {"image": volume}, masks)
    result = predict(opened, values, features, model=name, notes=notes)
    if out is not None:
        write_json(Path(out) / "prediction.json", result.to_json())
        write_page(opened, result, Path(out) / "prediction.pdf", overlay=overlay)
    return result


def _pairs(items: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise StudyFileError("A clinical value is written as name=value.", found=item)
        if name.strip() in pairs:
            raise StudyFileError(f"The clinical value {name.strip()!r} is given twice.", found=item)
        pairs[name.strip()] = value.strip()
    return pairs


def _masks(
    bundle: Bundle, volume: Volume, mask: str | Path | None, labels: str, segmenter: str, say: Reporter
) -> tuple[dict[str, Volume], tuple[str, ...], LabelMapResult | None]:
    if mask is not None:
        given = label_values(_pairs([item for item in labels.split(",") if item])) or dict(bundle.features.labels)
        return with_unions(read_mask(mask, given or None, reference=volume)), (), None
    result = run_segmenter(volume, segmenter, reporter=say)
    note = f"the masks were made by the {result.source} segmenter and not checked by a reader: look at them"
    if not any(result.mask(name).array.any() for name in result.structures):
        raise ImageError("The segmenter found nothing in this image.", remedy="give a mask with --mask")
    return with_unions(result.masks()), (note, *result.notes), result
