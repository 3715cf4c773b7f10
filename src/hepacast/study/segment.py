"""One image: what `hepacast segment` does, and the VOIs of a mask file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hepacast.core.files import require_writable_file
from hepacast.core.progress import Reporter, SilentReporter, format_bytes, format_seconds
from hepacast.errors import StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskPath, read_mask_set, read_volume, require_image_name, write_labelmap
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.overlay import overlay_png
from hepacast.imaging.structures import with_unions
from hepacast.imaging.voi import VoiExpression
from hepacast.segmentation.base import LabelMapResult
from hepacast.segmentation.plausibility import Modality, judge, judge_image, modality_of, require_possible


def run_segmenter(
    volume: Volume,
    model: str,
    *,
    liver: Volume | None = None,
    weights: Path | None = None,
    reporter: Reporter,
) -> LabelMapResult:
    """Segment a volume with a named segmenter; time and memory are told first.

    Raises
    ------
    HepacastError
        The segmenter is not known, not installed, or cannot use the image.
    """
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
    series: str | int | None = None,
    accept_doubtful: bool = False,
    reporter: Reporter | None = None,
) -> str:
    """Segment one image and write the label map; returns a summary.

    The built-in networks read CT in HU: an image that cannot be one is refused unless `accept_doubtful`. `series` is
    that of a DICOM folder with several: its number, UID, or words of its description.

    Raises
    ------
    HepacastError
        The image or the segmenter cannot be used.
    """
    say = reporter or SilentReporter()
    # All that can be refused without the minutes of a segmentation is refused before them.
    require_image_name(output)
    if overlay is not None and Path(overlay).suffix.lower() != ".png":
        raise StudyFileError("A picture is written as .png.", found=Path(overlay).name)
    for path in (output, overlay):
        if path is not None:
            require_writable_file(path)
    modality: Modality | None = "CT" if model.partition(":")[0] == "builtin" else None
    volume = read_volume(image, series=series, modality=modality)
    modality = modality or modality_of(volume)
    require_possible(judge_image(volume, modality), accept=accept_doubtful, where=str(image))
    given, told = None, volume.notes
    if liver is not None:
        found = read_mask_set(liver, reference=volume)
        given, told = _liver_of(found.masks, str(liver)), (*told, *found.notes)
    result = run_segmenter(volume, model, liver=given, weights=weights, reporter=say)
    write_labelmap(result.labelmap, output)
    if overlay is not None:
        stored = {name: result.mask(name) for name in result.names}
        overlay_png(volume, stored, overlay)
    labels = ", ".join(f"{name}={value}" for name, value in result.names.items())
    lines = [f"wrote {output} ({labels}) in {format_seconds(result.seconds)}"]
    for name in result.structures:
        report = describe_voi(result.mask(name), name)
        lines.append(f"  {name}: {report.volume_ml:.0f} ml" + (f" ({report.reason})" if report.reason else ""))
    lines += [f"  note: {note}" for note in (*told, *result.notes)]
    # The mask is what was asked for: what is impossible about it is said, and nothing is measured in it here.
    remarks = judge({"image": volume}, result.masks(), {"image": modality})
    lines += [f"  {item.severity}: {item}" for item in remarks]
    return "\n".join(lines)


def _liver_of(masks: Mapping[str, Volume], where: str) -> Volume:
    """The whole liver of a mask file, which may hold other structures by name."""
    named = {name.casefold(): mask for name, mask in with_unions(masks).items()}
    if "liver" not in named and len(masks) > 1:
        raise StudyFileError(
            "None of the structures of the mask is the liver.",
            expected="liver, or parenchyma and tumor",
            found=", ".join(masks),
            where=where,
            remedy="give a mask of the liver alone, or name it liver in the file",
        )
    return named.get("liver", next(iter(masks.values())))


def parse_vois(text: str) -> dict[str, str]:
    """Expressions by name from ``"parenchyma: liver - tumor; tumor: tumor"``; names with spaces stand in quotes.

    Raises
    ------
    StudyFileError
        Another form, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for part in _between(";", text):
        name, *rest = _between(":", part)
        if len(rest) != 1:
            raise StudyFileError(
                "A VOI is written as NAME: EXPRESSION.",
                expected="for example ring: dilate(tumor, 10 mm) - tumor; several are separated by semicolons",
                found=part,
            )
        name = name[1:-1] if name[:1] in ('"', "'") else name
        if name in found:
            raise StudyFileError(f"The VOI {name!r} is given twice.", found=part)
        VoiExpression.parse(rest[0])
        found[name] = rest[0]
    return found


def _between(sign: str, text: str) -> list[str]:
    """The parts of a text between signs that do not stand in quotes."""
    parts = re.findall(rf"""(?:"[^"]*"|'[^']*'|[^{sign}])+""", text)
    return [part.strip() for part in parts if part.strip()]


def mask_path(given: str | Path | Mapping[str, str | Path] | Sequence[str | Path]) -> MaskPath:
    """A mask file, or the files of structures from texts ``NAME=PATH``.

    Raises
    ------
    StudyFileError
        Several files without a name, or two of one.
    """
    if isinstance(given, Mapping):
        return given
    items = [given] if isinstance(given, str | Path) else list(given)
    if len(items) == 1 and ("=" not in str(items[0]) or Path(items[0]).exists()):
        return items[0]
    files: dict[str, str | Path] = {}
    for item in items:
        name, sign, path = str(item).partition("=")
        if not sign or not name.strip() or name.strip() in files:
            raise StudyFileError(
                "Of several mask files each needs the name of its structure.",
                expected="NAME=PATH, for example liver=liver.nii.gz tumor=tumor.nii.gz",
                found=str(item),
            )
        files[name.strip()] = path.strip()
    return files


def label_values(labels: Mapping[str, str]) -> dict[str, int] | None:
    """Label values by name as numbers; None when none are named."""
    try:
        return {name: int(value) for name, value in labels.items()} or None
    except ValueError as error:
        raise StudyFileError("A label value must be a whole number.", found=str(dict(labels))) from error
