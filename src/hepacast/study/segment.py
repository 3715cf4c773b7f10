"""One image: what `hepacast segment` does, and the VOIs of a mask file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.core import views
from hepacast.core.files import require_writable_file
from hepacast.core.progress import Reporter, SilentReporter, format_bytes, format_seconds
from hepacast.core.tables import Table, make_table
from hepacast.errors import StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskPath, OneMask, read_mask_set, read_volume, require_image_name, write_labelmap
from hepacast.imaging.lesions import VoiReport, describe_voi
from hepacast.imaging.overlay import overlay_figure, overlay_png
from hepacast.imaging.structures import with_unions
from hepacast.imaging.voi import VoiExpression
from hepacast.segmentation.base import LabelMapResult, Segmenter, segment_patient
from hepacast.segmentation.doubts import Remark, require_possible
from hepacast.segmentation.plausibility import Modality, judge, judge_image, modality_of

if TYPE_CHECKING:
    import pandas as pd


def prepared_segmenter(model: str, weights: Path | None = None) -> Segmenter:
    """A named segmenter with its networks loaded, where it can load them before it sees an image.

    Raises
    ------
    HepacastError
        The segmenter is not known or not installed.
    """
    from hepacast.segmentation import make_segmenter

    segmenter = make_segmenter(model, **({"weights": str(weights)} if weights is not None else {}))
    prepare = getattr(segmenter, "prepare", None)
    if prepare is not None:
        prepare()
    return segmenter


def run_segmenter(
    images: Mapping[str, Volume], segmenter: Segmenter, *, liver: Volume | None = None, reporter: Reporter
) -> LabelMapResult:
    """Segment one patient's images; time and memory are told first.

    Parameters
    ----------
    images
        By name, on one grid; most segmenters look at the first alone.

    Raises
    ------
    HepacastError
        The segmenter cannot use the images.
    """
    estimate = segmenter.estimate(next(iter(images.values())))
    reporter.say(f"segmenting: about {format_seconds(estimate.seconds)}, {format_bytes(estimate.bytes)} of memory")
    with reporter.track("segmenting") as bar:
        return segment_patient(segmenter, images, liver=liver, progress=lambda share, _: bar(round(1000 * share), 1000))


@dataclass(frozen=True, repr=False, eq=False)
class SegmentedImage(views.Shown):
    """Liver and tumors of one image.

    Attributes
    ----------
    volume
        The image.
    found
        The segmenter's result: label map, names of structures, time.
    notes
        What a person should know of image and masks.
    remarks
        What is not plausible about them.
    """

    volume: Volume
    found: LabelMapResult
    notes: tuple[str, ...]
    remarks: tuple[Remark, ...]

    @property
    def masks(self) -> dict[str, Volume]:
        """Every structure as a boolean volume, unions (liver) included."""
        return self.found.masks()

    @property
    def lines(self) -> list[str]:
        """Volumes, notes and remarks, one a line."""
        lines = []
        for name, report in self._reports().items():
            lines.append(f"  {name}: {report.volume_ml:.0f} ml" + (f" ({report.reason})" if report.reason else ""))
        lines += [f"  note: {note}" for note in self.notes]
        return [*lines, *(f"  {item.severity}: {item}" for item in self.remarks)]

    def _reports(self) -> dict[str, VoiReport]:
        return {name: describe_voi(self.found.mask(name), name) for name in self.found.structures}

    def to_frame(self) -> pd.DataFrame:
        """One row a structure: label value (NaN of a union), volume (ml), what is noted."""
        import pandas as pd

        rows = {
            name: {"label": self.found.names.get(name), "volume_ml": item.volume_ml, "status": item.status,
                   "reason": item.reason}
            for name, item in self._reports().items()
        }  # fmt: skip
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("structure")

    def write(self, path: str | Path, overlay: str | Path | None = None) -> None:
        """Write the label map (.nii.gz, .nrrd, .mha), and a picture of it (.png).

        Raises
        ------
        ImageError
            Another format.
        StorageError
            The file cannot be written.
        """
        write_labelmap(self.found.labelmap, path)
        if overlay is not None:
            overlay_png(self.volume, self._stored(), overlay)

    def _stored(self) -> dict[str, Volume]:
        return {name: self.found.mask(name) for name in self.found.names}


@views.page.register
def _(record: SegmentedImage) -> list[str | Table]:
    rows = [[name, f"{item.volume_ml:.0f}", item.reason or "\N{EN DASH}"] for name, item in record._reports().items()]
    told = [*record.notes, *(f"{item.severity}: {item}" for item in record.remarks)]
    return [make_table("Structures", ["", "Volume, ml", "Noted"], rows, told)]


@views.drawings.register
def _(record: SegmentedImage) -> views.Drawings:
    """`overlay`: axial slices with the outlines."""
    return {"overlay": lambda: overlay_figure(record.volume, record._stored())}


def segment(
    image: str | Path | Volume | Mapping[str, str | Path | Volume],
    *,
    segmenter: str = "builtin",
    liver: MaskPath | None = None,
    weights: str | Path | None = None,
    series: str | int | None = None,
    accept_doubtful: bool = False,
    reporter: Reporter | None = None,
) -> SegmentedImage:
    """Outline liver and tumors on one image, or on several registered ones together.

    Parameters
    ----------
    image
        NIfTI, NRRD or MHA file, a DICOM folder, or a `Volume`. For an nnU-Net of several channels each by its name, on
        one grid, the first being that of the mask.
    segmenter
        ``builtin``, ``builtin:openvino``, ``nnunet:DIR`` or ``totalsegmentator``. The built-in networks read CT in HU:
        an image that cannot be one is refused unless `accept_doubtful`.
    liver
        Liver mask, if there is one: only lesions are searched.
    weights
        File with the built-in networks' weights.
    series
        Of a DICOM folder with several: its number, UID, or words of its description; of a single image.
    accept_doubtful
        Go on although the image cannot be what the segmenter reads.
    reporter
        Where progress goes.

    Raises
    ------
    HepacastError
        The image or the segmenter cannot be used.
    """
    named = dict(image) if isinstance(image, Mapping) else {"image": image}
    if series is not None and len(named) > 1:
        raise StudyFileError("A series is chosen of a single image; name the file of each.", found=str(series))
    wanted: Modality | None = "CT" if segmenter.partition(":")[0] == "builtin" else None
    chosen = None if weights is None else Path(weights)
    # The networks are loaded while the images are read.
    with ThreadPoolExecutor(1) as other:
        loading = other.submit(prepared_segmenter, segmenter, chosen)
        volumes = {name: read_volume(item, series=series, modality=wanted) for name, item in named.items()}
    modalities = {name: wanted or modality_of(item) for name, item in volumes.items()}
    for name, item in named.items():
        where = str(item) if isinstance(item, str | Path) else name
        require_possible(judge_image(volumes[name], modalities[name]), accept=accept_doubtful, where=where)
    volume = next(iter(volumes.values()))
    given, told = None, volume.notes
    if liver is not None:
        found = read_mask_set(liver, reference=volume)
        given, told = _liver_of(found.masks, "liver mask"), (*told, *found.notes)
    result = run_segmenter(volumes, loading.result(), liver=given, reporter=reporter or SilentReporter())
    # The mask is what was asked for: what is impossible about it is said, and nothing is measured in it here.
    remarks = judge(volumes, result.masks(), modalities, made=liver is None)
    return SegmentedImage(volume, result, (*told, *result.notes), tuple(remarks))


def named_images(items: Sequence[str]) -> str | dict[str, str]:
    """One path, or paths by name from texts ``NAME=PATH``.

    Raises
    ------
    StudyFileError
        Several images without a name, or two of one.
    """
    if len(items) == 1 and ("=" not in items[0] or Path(items[0]).exists()):
        return items[0]
    found: dict[str, str] = {}
    for item in items:
        name, sign, path = item.partition("=")
        if not sign or not name.strip() or not path.strip() or name.strip() in found:
            raise StudyFileError(
                "Of several images each needs the name of its channel.",
                expected="NAME=PATH, for example arterial=a.nii.gz portal=p.nii.gz",
                found=item,
            )
        found[name.strip()] = path.strip()
    return found


def segment_image(
    image: str | Path | Mapping[str, str | Path],
    output: str | Path,
    *,
    overlay: str | Path | None = None,
    **options: Any,
) -> str:
    """`segment` (with its options), the label map written, and a summary.

    Raises
    ------
    HepacastError
        As `segment`; an output of another format, or that cannot be written.
    """
    # All that can be refused without the minutes of a segmentation is refused before them.
    require_image_name(output)
    if overlay is not None and Path(overlay).suffix.lower() != ".png":
        raise StudyFileError("A picture is written as .png.", found=Path(overlay).name)
    for path in (output, overlay):
        if path is not None:
            require_writable_file(path)
    result = segment(image, **options)
    result.write(output, overlay)
    labels = ", ".join(f"{name}={value}" for name, value in result.found.names.items())
    return "\n".join([f"wrote {output} ({labels}) in {format_seconds(result.found.seconds)}", *result.lines])


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


def mask_path(given: MaskPath | Sequence[str | Path]) -> MaskPath:
    """A mask, or the files of structures from texts ``NAME=PATH``.

    Raises
    ------
    StudyFileError
        Several files without a name, or two of one.
    """
    if isinstance(given, Mapping | Volume | np.ndarray):
        return given
    items = [given] if isinstance(given, str | Path) else list(given)
    if len(items) == 1 and ("=" not in str(items[0]) or Path(items[0]).exists()):
        return items[0]
    files: dict[str, OneMask] = {}
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


def label_values(labels: Mapping[str, str | int]) -> dict[str, int] | None:
    """Label values by name as numbers; None when none are named."""
    try:
        return {name: int(value) for name, value in labels.items()} or None
    except ValueError as error:
        raise StudyFileError("A label value must be a whole number.", found=str(dict(labels))) from error
