"""One image, one patient: what `hepacast segment`, `extract` and `predict` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.bundle import Bundle, Prediction, measure_features, predict
from hepacast.bundle.page import write_page
from hepacast.compute.executor import map_items
from hepacast.compute.files import write_json
from hepacast.compute.progress import Reporter, SilentReporter, format_bytes, format_seconds
from hepacast.errors import HepacastError, ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_mask, read_volume, write_labelmap
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.overlay import overlay_png
from hepacast.imaging.voi import VoiExpression
from hepacast.radiomics.extraction import extract
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import VoiResult, concat_long, write_long
from hepacast.segmentation.base import COMPOSITES, LabelMapResult


def _segment(
    volume: Volume,
    model: str,
    *,
    liver: Volume | None = None,
    weights: Path | None = None,
    reporter: Reporter,
) -> LabelMapResult:
    from hepacast.segmentation import make_segmenter

    options = {"weights": str(weights)} if weights is not None else {}
    segmenter = make_segmenter(model, **options)
    estimate = segmenter.estimate(volume)
    reporter.say(f"segmenting: about {format_seconds(estimate.seconds)}, {format_bytes(estimate.bytes)} of memory")
    with reporter.track("segmenting") as bar:
        return segmenter.segment(volume, liver=liver, progress=lambda share, _: bar(round(1000 * share), 1000))


def segment_image(
    image: str | Path,
    output: str | Path,
    *,
    model: str = "builtin",
    liver: str | Path | None = None,
    weights: Path | None = None,
    overlay: str | Path | None = None,
    reporter: Reporter | None = None,
) -> str:
    """Segment one image and write the label map; returns a summary.

    Raises
    ------
    HepacastError
        The image or the segmenter cannot be used.
    """
    say = reporter or SilentReporter()
    volume = read_volume(image)
    given = None
    if liver is not None:
        masks = read_mask(liver, reference=volume)
        merged = next(iter(masks.values())).array.copy()
        for mask in masks.values():
            merged |= mask.array
        given = volume.with_array(merged)
    result = _segment(volume, model, liver=given, weights=weights, reporter=say)
    write_labelmap(result.labelmap, output)
    if overlay is not None:
        stored = {name: result.mask(name) for name in result.names}
        overlay_png(volume, stored, overlay)
    labels = ", ".join(f"{name}={value}" for name, value in result.names.items())
    lines = [f"wrote {output} ({labels}) in {format_seconds(result.seconds)}"]
    for name in result.structures:
        report = describe_voi(result.mask(name), name)
        lines.append(f"  {name}: {report.volume_ml:.0f} ml" + (f" ({report.reason})" if report.reason else ""))
    lines += [f"  note: {note}" for note in result.notes]
    return "\n".join(lines)


def with_unions(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The masks, and the unions that they allow; `parenchyma` too, where liver and tumor are given.

    A label file cannot hold overlapping structures, so `liver` beside `tumor` is the rest of the liver there: the
    liver then becomes their union.
    """
    named = dict(masks)
    if {"liver", "tumor"} <= set(named) and "parenchyma" not in named:
        whole = named["liver"].array | named["tumor"].array
        named["parenchyma"] = named["liver"].with_array(whole & ~named["tumor"].array)
        named["liver"] = named["liver"].with_array(whole)
    for union, parts in COMPOSITES.items():
        if union not in named and set(parts) <= set(named):
            merged = named[parts[0]].array.copy()
            for part in parts[1:]:
                merged |= named[part].array
            named[union] = named[parts[0]].with_array(merged)
    return named


def _vois(text: str, masks: dict[str, Volume]) -> dict[str, Volume]:
    """``"parenchyma: liver - tumor; tumor: tumor"``; all masks of the file when empty."""
    if not text.strip():
        return masks
    named, vois = with_unions(masks), {}
    for part in text.split(";"):
        name, sign, expression = part.partition(":")
        if not sign:
            raise StudyFileError("A VOI is written as NAME: EXPRESSION.", found=part.strip())
        vois[name.strip()] = VoiExpression.parse(expression.strip()).evaluate(named)
    return vois


def extract_image(
    image: str | Path,
    mask: str | Path | None,
    output: str | Path | None,
    *,
    labels: Mapping[str, str] | None = None,
    vois: str = "",
    settings: str = "ptlf",
    backend: str = "hepacast",
    maps: Path | None = None,
    compare: Path | None = None,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> str:
    """Measure one image, or every row of a table with columns patient, image, mask; returns a summary.

    Raises
    ------
    HepacastError
        Image, mask or settings cannot be used.
    """
    chosen = Settings.load(settings)
    values = _label_values(labels or {})
    image = Path(image)
    if mask is None:
        if image.suffix.lower() not in (".csv", ".xlsx", ".parquet"):
            raise StudyFileError(
                "A mask is needed.", expected="IMAGE MASK, or a table with columns patient, image, mask"
            )
        return _extract_table(image, output, values, vois, chosen, backend, workers, reporter or SilentReporter())
    volume = read_volume(image)
    named = _vois(vois, dict(read_mask(mask, values, reference=volume)))
    result = extract(volume, named, chosen, backend=backend)  # type: ignore[arg-type]
    table = result.to_long("1")
    lines = [
        f"{len(chosen.feature_names())} features of {len(named)} VOIs by {result.engine}, settings {chosen.hash[:12]}"
    ]
    for name, item in result.vois.items():
        undefined = f", {len(item.reasons)} undefined" if item.reasons else ""
        lines.append(f"  {name}: {item.status}{undefined}" + (f" ({item.reason})" if item.reason else ""))
    if maps is not None:
        from hepacast.radiomics.maps import write_maps

        lines += [f"  map: {path}" for path in write_maps(volume, named, chosen, maps)]
    if compare is not None:
        from hepacast.radiomics.compare import compare_tables

        lines.append(compare_tables(table, compare).text())
    lines += _save(table, output)
    return "\n".join(lines)


def _label_values(labels: Mapping[str, str]) -> dict[str, int] | None:
    try:
        return {name: int(value) for name, value in labels.items()} or None
    except ValueError as error:
        raise StudyFileError("A label value must be a whole number.", found=str(dict(labels))) from error


def _save(table: pd.DataFrame, output: str | Path | None) -> list[str]:
    """CSV: one row a patient and VOI, as PyRadiomics writes it; Parquet: the long table with status and hash."""
    if output is None:
        return [f"  {row.voi} {row.feature} = {row.value:.6g}" for row in table.itertuples()]
    path = Path(output)
    if path.suffix.lower() == ".csv":
        from hepacast.compute.files import write_text

        wide = table.pivot(index=["patient", "voi"], columns="feature", values="value")
        order = list(dict.fromkeys(table["feature"]))
        write_text(path, wide[order].to_csv(lineterminator="\n"))
    else:
        write_long(table, path)
    return [f"wrote {path}"]


def _extract_table(
    path: Path,
    output: str | Path | None,
    labels: dict[str, int] | None,
    vois: str,
    settings: Settings,
    backend: str,
    workers: int,
    reporter: Reporter,
) -> str:
    from hepacast.radiomics.extraction import engine_name

    frame = pd.read_excel(path, dtype=str) if path.suffix.lower() == ".xlsx" else pd.read_csv(path, dtype=str)
    missing = {"patient", "image", "mask"} - set(frame.columns)
    if missing:
        raise StudyFileError(
            "The table of patients lacks columns.", expected="patient, image, mask", found=", ".join(frame.columns)
        )
    if output is None:
        raise StudyFileError("Where should the features go?", expected="-o features.csv or features.parquet")
    if frame["patient"].duplicated().any():
        raise StudyFileError(
            "A patient stands twice in the table.", found=", ".join(frame.loc[frame["patient"].duplicated(), "patient"])
        )
    jobs = [
        (str(row.patient), path.parent / str(row.image), path.parent / str(row.mask), labels, vois, settings, backend)
        for row in frame.itertuples()
    ]
    with reporter.track("features") as progress:
        parts = map_items(_extract_row, jobs, workers=workers, progress=progress)
    table = concat_long(parts, settings_hash=settings.hash, engine=engine_name())
    failed = table.loc[table["status"] == "failed", "patient"].unique()
    lines = [f"{len(frame)} patients, {len(failed)} of them with a VOI that could not be measured"]
    return "\n".join([*lines, *_save(table, output)])


def _extract_row(job: tuple[Any, ...]) -> pd.DataFrame:
    """In a worker: one row of the table; what cannot be measured becomes rows with a reason."""
    from hepacast.radiomics.table import ExtractionResult

    patient, image, mask, labels, vois, settings, backend = job
    try:
        volume = read_volume(image)
        named = _vois(vois, dict(read_mask(mask, labels, reference=volume)))
        result = extract(volume, named, settings, backend=backend)
    except HepacastError as error:
        names = [part.partition(":")[0].strip() for part in vois.split(";") if part.strip()] or list(labels or ["voi"])
        failed = {name: VoiResult.failed(name, settings.feature_names(), error.message) for name in names}
        result = ExtractionResult(failed, settings.hash, "")
    return result.to_long(patient)


def explain_feature(name: str) -> str:
    """Formula, source and IBSI code of a feature, in words."""
    from hepacast.radiomics.explain import explain

    return str(explain(name))


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
        given = _label_values(_pairs([item for item in labels.split(",") if item])) or dict(bundle.features.labels)
        return with_unions(read_mask(mask, given or None, reference=volume)), (), None
    result = _segment(volume, segmenter, reporter=say)
    note = f"the masks were made by the {result.source} segmenter and not checked by a reader: look at them"
    if not any(result.mask(name).array.any() for name in result.structures):
        raise ImageError("The segmenter found nothing in this image.", remedy="give a mask with --mask")
    return with_unions(result.masks()), (note, *result.notes), result
