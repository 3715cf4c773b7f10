"""One patient: what `hepacast predict` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hepacast.bundle import Bundle, Prediction, image_notes, measure_features, predict
from hepacast.bundle.labs import read_labs
from hepacast.bundle.networks import NetworkBundle, holds_networks, predict_networks
from hepacast.bundle.page import write_page
from hepacast.compute.files import atomic_folder, require_writable, write_json
from hepacast.compute.progress import Reporter, SilentReporter
from hepacast.errors import BundleError, ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_mask, read_volume, write_labelmap, write_volume
from hepacast.imaging.overlay import overlay_png
from hepacast.segmentation.base import COMPOSITES, LabelMapResult
from hepacast.study.one_image import label_values, run_segmenter, with_unions

#: One image, or several: paths by sequence, or texts ``NAME=PATH``.
Images = str | Path | Mapping[str, str | Path] | Sequence[str | Path] | None


def predict_patient(
    bundle: str | Path,
    *,
    image: Images = None,
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
        The image, and its mask where there is one; else the segmenter makes it. Of several sequences: paths by name,
        or texts ``NAME=PATH``; the mask is that of the first, or of the reference that MR images are brought to.
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
    notes: tuple[str, ...] = ()
    features: dict[str, float] | None = None
    if image is not None and opened.needs_features(name):
        volumes = _read_images(image, opened.features.sequences)
        if opened.preprocessing is None:
            outlined = _outline(opened.features.labels, volumes, mask, labels, segmenter, say)
        else:
            outlined = _preprocessed(opened, volumes, mask, labels, segmenter, say)
        say.say("measuring features")
        features = measure_features(opened, outlined.volumes, outlined.masks, model=name)
        notes = (*image_notes(opened, outlined.masks, model=name), *outlined.notes)
    result = predict(opened, values, features, model=name, notes=notes)
    if out is not None:
        _write(opened, result, outlined, Path(out))
    return result


def _by_networks(
    bundle: NetworkBundle,
    image: Images,
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
    outlined = _outline(bundle.labels, _read_images(image, bundle.sequences), mask, labels, segmenter, say)
    volume = outlined.volume
    say.say("applying the networks")
    result = predict_networks(bundle, outlined.volumes, outlined.masks, notes=outlined.notes)
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
    """The images with their masks, which lie on the first one's grid; `labelmap` only where a segmenter made it."""

    volumes: dict[str, Volume]
    masks: dict[str, Volume]
    notes: tuple[str, ...] = ()
    labelmap: LabelMapResult | None = None

    @property
    def volume(self) -> Volume:
        """The image on which the masks are shown."""
        return next(iter(self.volumes.values()))


def _read_images(given: Images, sequences: Mapping[str, str]) -> dict[str, Volume]:
    """Images by sequence, in the bundle's order.

    Raises
    ------
    StudyFileError
        It cannot be told which sequence an image is, or one is given twice.
    """
    known = list(sequences)
    if isinstance(given, str | Path):
        given = [given]
    pairs: list[tuple[str, str | Path]] = []
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        for item in given or ():
            name, sign, rest = str(item).partition("=")
            named = bool(sign) and name.strip() in sequences
            # An image without a name is the only one.
            only = known[0] if len(known) == 1 else "image" if not known else ""
            pairs.append((name.strip(), rest.strip()) if named else (only, item))
    found: dict[str, Volume] = {}
    for name, path in pairs:
        if known and name not in sequences:
            raise StudyFileError(
                "It is not told which sequence an image is.",
                expected="; ".join(f"--image {item}=PATH" for item in known),
                found=str(path),
            )
        if name in found:
            raise StudyFileError(f"Two images of the sequence {name!r} are given.", found=str(path))
        found[name] = read_volume(path)
    return {name: found[name] for name in (known or found) if name in found}


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


def _preprocessed(
    bundle: Bundle,
    volumes: dict[str, Volume],
    mask: str | Path | None,
    labels: str,
    segmenter: str,
    say: Reporter,
) -> _Outlined:
    """MR images preprocessed as the training's were. A given mask lies on the reference as the scanner gave it."""
    from hepacast.study.mr_images import finish_patient
    from hepacast.study.schema.preprocessing import Preprocessing

    assert bundle.preprocessing is not None
    entry = bundle.preprocessing
    reference, rules = str(entry["reference"]), Preprocessing.model_validate(entry["rules"])
    missing = [name for name in bundle.features.sequences if name not in volumes]
    if missing:
        raise BundleError(
            "An image is missing.",
            expected="; ".join(f"--image {name}=PATH" for name in bundle.features.sequences),
            found=", ".join(volumes) or "none",
        )
    drawn = {} if mask is None else _given_masks(mask, labels, bundle.features.labels, volumes[reference])
    say.say("preprocessing: bias field, registration, intensity scale")
    finished, masks = finish_patient(volumes, drawn, reference, rules, entry["landmarks"])
    finished = {reference: finished[reference]} | finished
    if mask is not None:
        return _Outlined(finished, with_unions(masks))
    return _outline(bundle.features.labels, finished, None, labels, segmenter, say)


def _given_masks(mask: str | Path, labels: str, known: Mapping[str, int], volume: Volume) -> dict[str, Volume]:
    """Structures of a mask file, named by the user or as in the study."""
    given = label_values(_pairs([item for item in labels.split(",") if item])) or dict(known)
    return read_mask(mask, given or None, reference=volume)


def _outline(
    known: Mapping[str, int],
    volumes: dict[str, Volume],
    mask: str | Path | None,
    labels: str,
    segmenter: str,
    say: Reporter,
) -> _Outlined:
    """The masks: given, or made by the segmenter from the first image."""
    volume = next(iter(volumes.values()))
    if mask is not None:
        return _Outlined(volumes, with_unions(_given_masks(mask, labels, known, volume)))
    result = run_segmenter(volume, segmenter, reporter=say)
    note = f"the masks were made by the {result.source} segmenter and not checked by a reader: look at them"
    if not any(result.mask(name).array.any() for name in result.structures):
        raise ImageError("The segmenter found nothing in this image.", remedy="give a mask with --mask")
    return _Outlined(volumes, with_unions(result.masks()), (note, *result.notes), result)
