"""One patient: what `hepacast predict` does."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hepacast.bundle import Bundle, Prediction, image_notes, measure_features, predict
from hepacast.bundle.labs import read_labs, values_of_table
from hepacast.bundle.networks import NetworkBundle, holds_networks, predict_networks
from hepacast.bundle.page import write_page
from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.sheets import is_table
from hepacast.core.files import atomic_folder, require_writable, write_json
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import BundleError, StudyFileError
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.imaging.overlay import overlay_png
from hepacast.imaging.structures import COMPOSITES
from hepacast.segmentation.plausibility import Modality, judge, require_possible
from hepacast.study.patient_images import (
    GivenMask,
    Images,
    Outlined,
    SeriesChoice,
    Wanted,
    outlined_images,
    pairs_of,
)


def predict_patient(
    bundle: str | Path,
    *,
    image: Images = None,
    series: SeriesChoice = None,
    mask: GivenMask | None = None,
    labels: str = "",
    labs: Sequence[str] = (),
    model: str | None = None,
    segmenter: str = "builtin",
    accept_doubtful: bool = False,
    out: str | Path | None = None,
    patient: str = "",
    date: str | None = None,
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
    series
        Of DICOM folders with several: number, UID, or words of the description; of several sequences by name, or
        texts ``NAME=SERIES``.
    labels
        Names of the mask's values; default those of the training masks.
    labs
        Clinical values as ``name=value``, or a table with one row (headers as those of the study, or other names of
        the same quantities).
    model
        Model of the bundle; default the main one.
    segmenter
        ``builtin``, ``nnunet:DIR`` or ``totalsegmentator``.
    accept_doubtful
        Predict although image and mask look impossible (HU, labels, volume).
    out
        Folder for ``prediction.json``, ``prediction.pdf`` and, with an image, ``mask.nii.gz`` and ``overlay.png``.
    patient, date
        Study code (no name) and day (ISO; default today) for the page.

    Raises
    ------
    HepacastError
        Anything about the bundle, the image or the values that does not fit.
    """
    say = reporter or SilentReporter()
    day = date if date is not None else datetime.date.today().isoformat()
    if holds_networks(bundle):
        networks = NetworkBundle.read(bundle)
        if model not in (None, networks.name):
            raise BundleError("The bundle has no such model.", expected=networks.name, found=str(model))
        named = (patient, day)
        return _by_networks(networks, image, series, mask, labels, segmenter, labs, accept_doubtful, out, named, say)
    opened = Bundle.read(bundle)
    name = model or opened.main
    values = _given(labs, opened.columns)
    # A mistyped value is told now, and not after a minute of segmentation.
    read_labs(values, opened.columns, opened.clinical_names(name))
    if out is not None:
        require_writable(out)
    outlined: Outlined | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    features: dict[str, float] | None = None
    if image is not None and opened.needs_features(name):
        recipe = opened.features
        rules = replace(recipe.load_settings().mask_rules, label=None)  # structures are chosen by name
        wanted = Wanted(recipe.sequences, recipe.labels, opened.preprocessing, rules)
        outlined = outlined_images(wanted, image, mask, labels, segmenter, say, series)
        doubts = _doubts(outlined, recipe.sequences, accept_doubtful)
        say.say("measuring features")
        features = measure_features(opened, outlined.volumes, outlined.masks, model=name)
        notes = (*image_notes(opened, outlined.volumes, outlined.masks, model=name), *outlined.notes)
    result = predict(opened, values, features, model=name, notes=notes, doubts=doubts, patient=patient, date=day)
    if out is not None:
        _write(opened, result, outlined, Path(out))
    return result


def _given(labs: Sequence[str], columns: Sequence[ColumnSpec]) -> dict[str, str]:
    """Clinical values by name, from tables and as they were typed.

    Raises
    ------
    StudyFileError, TableError
        Another form, a name that is given twice, or a table that is not one patient's.
    """
    tables = [item for item in labs if "=" not in item and is_table(item)]
    values = pairs_of([item for item in labs if item not in tables])
    for path in tables:
        for name, text in values_of_table(path, columns).items():
            if name in values:
                raise StudyFileError(f"The clinical value {name!r} is given twice.", found=f"{values[name]} and {text}")
            values[name] = text
    return values


def _by_networks(
    bundle: NetworkBundle,
    image: Images,
    series: SeriesChoice,
    mask: GivenMask | None,
    labels: str,
    segmenter: str,
    labs: Sequence[str],
    accept_doubtful: bool,
    out: str | Path | None,
    named: tuple[str, str],
    say: Reporter,
) -> Prediction:
    """Apply a bundle of networks; writes the risk, the networks' own tumor mask, and where they look."""
    if image is None:
        raise StudyFileError("Networks are applied to an image.", expected="--image and, if there is one, --mask")
    values = _given(labs, bundle.columns)
    if values and not bundle.columns:
        raise StudyFileError(
            "These networks read no clinical values.", found=", ".join(labs), remedy="leave --labs out"
        )
    # A mistyped value is told now, and not after a minute of segmentation.
    read_labs(values, bundle.columns, [item.name for item in bundle.columns])
    if out is not None:
        require_writable(out)
    wanted = Wanted(bundle.sequences, bundle.labels, bundle.preprocessing)
    outlined = outlined_images(wanted, image, mask, labels, segmenter, say, series)
    doubts = _doubts(outlined, bundle.sequences, accept_doubtful)
    say.say("applying the networks")
    notes = (*outlined.notes, *doubts)
    result = predict_networks(bundle, outlined.volumes, outlined.masks, values, notes=notes)
    result = replace(result, prediction=replace(result.prediction, patient=named[0], date=named[1]))
    if out is not None:
        with atomic_folder(out) as folder:
            shown = {key: item for key, item in outlined.masks.items() if key not in COMPOSITES} or outlined.masks
            if result.tumor is not None:
                shown = {**shown, "tumor by the networks": result.tumor}
                write_volume(
                    result.tumor.with_array(result.tumor.array.astype("uint8")), folder / "mask-networks.nii.gz"
                )
            overlay = overlay_png(outlined.volume, shown, folder / "overlay.png", slices=4, columns=2)
            if outlined.labelmap is not None:
                write_labelmap(outlined.labelmap.labelmap, folder / "mask.nii.gz")
            write_volume(result.attention, folder / "grad-cam.nii.gz")
            write_json(folder / "prediction.json", result.prediction.to_json())
            write_page(bundle, result.prediction, folder / "prediction.pdf", overlay=overlay)
    return result.prediction


def _doubts(outlined: Outlined, sequences: Mapping[str, str], accept: bool) -> tuple[str, ...]:
    """What is doubtful about image and masks.

    Raises
    ------
    ImageError
        Something is impossible, and nobody has accepted it.
    """
    kinds: dict[str, Modality | None] = {name: "MR" if kind == "MR" else "CT" for name, kind in sequences.items()}
    only = next(iter(kinds.values())) if len(kinds) == 1 else None
    modalities = {name: kinds.get(name, only) for name in outlined.volumes}
    remarks = require_possible(judge(outlined.volumes, outlined.masks, modalities), accept=accept)
    return tuple(str(item) for item in remarks if item.casts_doubt)


def _write(bundle: Bundle, result: Prediction, outlined: Outlined | None, out: Path) -> None:
    """All files of the prediction, or none."""
    with atomic_folder(out) as folder:
        overlay: Path | None = None
        if outlined is not None:
            shown = {key: item for key, item in outlined.masks.items() if key not in COMPOSITES} or outlined.masks
            overlay = overlay_png(outlined.volume, shown, folder / "overlay.png", slices=4, columns=2)
            if outlined.labelmap is not None:
                write_labelmap(outlined.labelmap.labelmap, folder / "mask.nii.gz")
        write_json(folder / "prediction.json", result.to_json())
        write_page(bundle, result, folder / "prediction.pdf", overlay=overlay)
