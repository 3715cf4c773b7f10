"""One patient: what `hepacast predict` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hepacast.bundle import Bundle, Prediction, measure_features, predict
from hepacast.bundle.labs import read_labs
from hepacast.bundle.networks import NetworkBundle, holds_networks, predict_networks
from hepacast.bundle.page import write_page
from hepacast.compute.files import atomic_folder, require_writable, write_json
from hepacast.compute.progress import Reporter, SilentReporter
from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_mask, read_volume, write_labelmap, write_volume
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
        ``model.hepacast``, or ``networks.hepacast``: networks are applied to the image itself.
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
    if holds_networks(bundle):
        return _by_networks(NetworkBundle.read(bundle), image, mask, labels, segmenter, labs, out, say)
    opened = Bundle.read(bundle)
    name = model or opened.main
    values = _pairs(labs)
    # A mistyped value is told now, and not after a minute of segmentation.
    read_labs(values, opened.columns, opened.clinical_names(name))
    if out is not None:
        require_writable(out)
    outlined: _Outlined | None = None
    features: dict[str, float] | None = None
    if image is not None and opened.needs_features(name):
        volume = read_volume(image)
        outlined = _outline(opened.features.labels, volume, mask, labels, segmenter, say)
        say.say("measuring features")
        features = measure_features(opened, {"image": volume}, outlined.masks)
    result = predict(opened, values, features, model=name, notes=outlined.notes if outlined else ())
    if out is not None:
        _write(opened, result, outlined, Path(out))
    return result


def _by_networks(
    bundle: NetworkBundle,
    image: str | Path | None,
    mask: str | Path | None,
    labels: str,
    segmenter: str,
    labs: Sequence[str],
    out: str | Path | None,
    say: Reporter,
) -> Prediction:
    """Apply a bundle of networks; writes the risk, the networks' own tumor mask, and where they look."""
    if image is None:
        raise StudyFileError("Networks are applied to an image.", expected="--image and, if there is one, --mask")
    if labs:
        raise StudyFileError("These networks read no clinical values.", found=", ".join(labs), remedy="leave --lab out")
    if out is not None:
        require_writable(out)
    volume = read_volume(image)
    outlined = _outline(bundle.labels, volume, mask, labels, segmenter, say)
    say.say("applying the networks")
    result = predict_networks(bundle, {"image": volume}, outlined.masks, notes=outlined.notes)
    if out is not None:
        with atomic_folder(out) as folder:
            shown = {key: item for key, item in outlined.masks.items() if key not in COMPOSITES} or outlined.masks
            if result.tumor is not None:
                shown = {**shown, "tumor by the networks": result.tumor}
                write_volume(
                    result.tumor.with_array(result.tumor.array.astype("uint8")), folder / "mask-networks.nii.gz"
                )
            overlay_png(volume, shown, folder / "overlay.png", slices=3)
            write_volume(result.attention, folder / "grad-cam.nii.gz")
            write_json(folder / "prediction.json", result.prediction.to_json())
    return result.prediction


@dataclass(frozen=True)
class _Outlined:
    """The image with its masks; `labelmap` only where a segmenter made it."""

    volume: Volume
    masks: dict[str, Volume]
    notes: tuple[str, ...] = ()
    labelmap: LabelMapResult | None = None


def _write(bundle: Bundle, result: Prediction, outlined: _Outlined | None, out: Path) -> None:
    """All files of the prediction, or none."""
    with atomic_folder(out) as folder:
        overlay: Path | None = None
        if outlined is not None:
            shown = {key: item for key, item in outlined.masks.items() if key not in COMPOSITES} or outlined.masks
            overlay = overlay_png(outlined.volume, shown, folder / "overlay.png", slices=3)
            if outlined.labelmap is not None:
                write_labelmap(outlined.labelmap.labelmap, folder / "mask.nii.gz")
        write_json(folder / "prediction.json", result.to_json())
        write_page(bundle, result, folder / "prediction.pdf", overlay=overlay)


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


def _outline(
    known: Mapping[str, int],
    volume: Volume,
    mask: str | Path | None,
    labels: str,
    segmenter: str,
    say: Reporter,
) -> _Outlined:
    if mask is not None:
        given = label_values(_pairs([item for item in labels.split(",") if item])) or dict(known)
        return _Outlined(volume, with_unions(read_mask(mask, given or None, reference=volume)))
    result = run_segmenter(volume, segmenter, reporter=say)
    note = f"the masks were made by the {result.source} segmenter and not checked by a reader: look at them"
    if not any(result.mask(name).array.any() for name in result.structures):
        raise ImageError("The segmenter found nothing in this image.", remedy="give a mask with --mask")
    return _Outlined(volume, with_unions(result.masks()), (note, *result.notes), result)
