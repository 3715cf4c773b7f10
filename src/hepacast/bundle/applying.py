"""Any bundle applied to one patient: values, images and masks in, a prediction out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hepacast.bundle.measure import image_notes, measure_features, measured_labs
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle, holds_networks, predict_networks
from hepacast.bundle.prediction import Prediction, predict
from hepacast.errors import BundleError
from hepacast.imaging import Volume


@dataclass(frozen=True, eq=False)
class AppliedBundle:
    """One patient's risk, and what was measured in the image by column name; of networks also where they see the tumor
    and what raises the risk, on the image's grid."""

    prediction: Prediction
    tumor: Volume | None = None
    attention: Volume | None = None
    features: Mapping[str, float] = field(default_factory=dict)


def open_bundle(
    path: str | Path | Bundle | NetworkBundle,
    *,
    without_rows: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Bundle | NetworkBundle:
    """Open a bundle of either kind; every byte is checked. One that is open is given back.

    Parameters
    ----------
    without_rows
        Refuse a bundle that holds values of single training patients.
    say
        Takes the line that says that it holds them.

    Raises
    ------
    BundleError
        The file is damaged, no bundle, of another format version, or holds a value that it cannot have.
    """
    opened: Bundle | NetworkBundle
    if isinstance(path, Bundle | NetworkBundle):
        opened = path
    else:
        opened = NetworkBundle.read(path) if holds_networks(path) else Bundle.read(path)
    if without_rows and isinstance(opened, Bundle):
        opened.require_without_rows()
    if opened.held_text():
        say(opened.held_text())
    return opened


def apply_bundle(
    bundle: Bundle | NetworkBundle,
    labs: Mapping[str, str],
    images: Mapping[str, Volume] | None = None,
    masks: Mapping[str, Volume] | None = None,
    *,
    model: str | None = None,
    level: float = 0.95,
    notes: tuple[str, ...] = (),
    doubts: tuple[str, ...] = (),
    patient: str = "",
    date: str = "",
) -> AppliedBundle:
    """Predict one patient.

    Parameters
    ----------
    labs
        Clinical values as text by name.
    images, masks
        By sequence and by structure, on one grid, preprocessed where the bundle says so; none where there is no image.
    model
        Name of the model; default the main one.
    level
        Of the interval.
    notes, doubts
        What speaks against relying on the number: of image and segmentation, and what is not plausible about them.
    patient, date
        Study code and day, for the page.

    Raises
    ------
    HepacastError
        An image or a clinical value is missing, unknown or impossible.
    """
    if isinstance(bundle, NetworkBundle):
        if not images:
            raise BundleError("Networks are applied to an image.", expected="--image and, if there is one, --mask")
        told = (*notes, *doubts)
        found = predict_networks(bundle, images, masks or {}, labs, level=level, notes=told, patient=patient, date=date)
        return AppliedBundle(found.prediction, found.tumor, found.attention)
    features = None
    if images:
        features = measure_features(bundle, images, masks or {}, model=model)
        notes = (*image_notes(bundle, images, masks or {}, model=model), *notes)
        # What somebody has read off the image and told goes before what is measured.
        own = measured_labs(bundle, images, masks or {}, model=model)
        told_by = {name.casefold() for name in labs}
        labs = {n: text for n, text in own.items() if not {n, bundle.column(n).label.casefold()} & told_by} | dict(labs)
    return AppliedBundle(
        predict(
            bundle, labs, features, model=model, level=level, notes=notes, doubts=doubts, patient=patient, date=date
        ),
        features=features or {},
    )
