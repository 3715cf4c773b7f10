"""Features of one image or of a table of patients: what `hepacast extract` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

from hepacast.core.executor import resolve_workers
from hepacast.core.progress import Reporter, SilentReporter, format_bytes, format_seconds
from hepacast.errors import StudyFileError
from hepacast.imaging.io import IMAGE_ENDINGS, MaskPath, read_mask_set, read_volume, suffix_of, write_volume
from hepacast.imaging.volume import Volume
from hepacast.radiomics.cost import estimate
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.results import ExtractionResult
from hepacast.radiomics.settings import Settings
from hepacast.study.measured_features import MeasuredFeatures, judge_masks, require_written
from hepacast.study.segment import label_values, mask_path, parse_vois

# What only a table of patients, a comparison or maps need is imported there: one image is measured in seconds.
if TYPE_CHECKING:
    import pandas as pd

#: A mask file, a folder of one file a structure, or such files by name (also as texts ``NAME=PATH``).
MaskGiven = MaskPath | Sequence[str | Path]

#: Reasons for undefined features that are printed; a table has them all.
MAX_REASONS = 5


def extract(
    image: str | Path | Volume | pd.DataFrame,
    mask: MaskGiven | None = None,
    *,
    labels: Mapping[str, str | int] | None = None,
    vois: str | Mapping[str, str] = "",
    settings: Settings | str | Path | Mapping[str, Any] = "ptlf",
    backend: str = "hepacast",
    series: str | int | None = None,
    accept_doubtful: bool = False,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> MeasuredFeatures:
    """Measure one image, or every row of a table with columns patient, image, mask.

    Parameters
    ----------
    image, mask
        The image and its mask (a file, a folder of one file a structure, such files by name or as ``NAME=PATH``, a
        `Volume`, or an array on the image's voxels); or a table of patients (CSV, Excel, DataFrame) and no mask.
    labels, vois
        Names of label values; VOIs by algebra (``parenchyma: liver - tumor; tumor: tumor``, or expressions by name).
    settings
        A named setting (``ptlf``, ``early-recurrence``, ``ibsi``), a PyRadiomics parameter file, or its content.
    backend
        ``hepacast`` or ``pyradiomics``.
    series
        Of a DICOM folder with several: its number, UID, or words of its description. A column ``series`` of the table
        of patients goes before it.
    accept_doubtful
        Measure although image and mask look impossible (HU, labels, volume).
    workers
        Processes for a table, threads for an image; 0 = one a core. Values do not depend on it.
    reporter
        Where progress goes.

    Raises
    ------
    HepacastError
        Image, mask, table or settings cannot be used.
    """
    say, recipe = reporter or SilentReporter(), _recipe(labels, vois, settings, backend)
    if mask is None:
        from hepacast.study.extract_patients import jobs_of, measure_jobs

        jobs, remarks = jobs_of(image, recipe, series, accept_doubtful)
        return measure_jobs(jobs, remarks, recipe.loaded_settings, workers, say)
    if not isinstance(image, str | Path | Volume) and hasattr(image, "columns"):  # without loading pandas
        raise StudyFileError("A table of patients names its masks itself.", found="a table and a mask")
    return _of_image(cast("str | Path | Volume", image), mask, recipe, series, accept_doubtful, workers, say)


def _recipe(
    labels: Mapping[str, str | int] | None = None,
    vois: str | Mapping[str, str] = "",
    settings: Settings | str | Path | Mapping[str, Any] = "ptlf",
    backend: str = "hepacast",
) -> ImageRecipe:
    named = parse_vois(vois) if isinstance(vois, str) else dict(vois)
    values = label_values(labels or {}) or {}
    return ImageRecipe.of_settings(Settings.load(settings), vois=named, labels=values, backend=backend)


def extract_image(
    image: str | Path,
    mask: MaskGiven | None,
    output: str | Path | None,
    *,
    maps: Path | None = None,
    compare: Path | None = None,
    perturb: Path | None = None,
    reporter: Reporter | None = None,
    workers: int = 0,
    **options: Any,
) -> str:
    """`extract` (with its options), what is made of it written, and a summary.

    Parameters
    ----------
    output
        ``.csv``: one row a patient and VOI, as PyRadiomics writes it; ``.parquet``: the long table with status.
    maps
        Folder for voxel-wise feature maps of the first VOI.
    compare
        A table made elsewhere: how far it agrees, and what may explain the differences.
    perturb
        With a table of patients: file (CSV) for each feature's ICC under perturbed images and masks.

    Raises
    ------
    HepacastError
        As `extract`; an output of another format, or that cannot be written.
    """
    require_written(output)
    if mask is None and output is None and perturb is None:
        from hepacast.cohort.sheets import is_table

        if is_table(image):
            raise StudyFileError("Where should the features go?", expected="-o features.csv or features.parquet")
    lines: list[str] = []
    if mask is not None or output is not None or perturb is None:
        found = extract(image, mask, workers=workers, reporter=reporter, **options)
        lines += found.lines
        if found.result is not None and found.volume is not None:
            if maps is not None:
                lines += _write_maps(found.volume, dict(found.vois), found.settings, maps)
            if compare is not None:
                lines += _compared(found.result, compare, found.settings)
        if output is None:
            lines += [f"  {row.voi} {row.feature} = {row.value:.6g}" for row in found.long.itertuples()]
        else:
            lines.append(f"wrote {found.write(output)}")
    if perturb is not None and mask is None:
        from hepacast.study.extract_patients import jobs_of, perturbed

        series, accept = options.pop("series", None), options.pop("accept_doubtful", False)
        recipe = _recipe(**options)
        jobs, _ = jobs_of(image, recipe, series, accept)
        lines += perturbed(jobs, recipe.loaded_settings, perturb, workers, reporter or SilentReporter())
    return "\n".join(lines)


def _of_image(
    image: str | Path | Volume,
    mask: MaskGiven,
    recipe: ImageRecipe,
    series: str | int | None,
    accept: bool,
    workers: int,
    say: Reporter,
) -> MeasuredFeatures:
    settings = recipe.loaded_settings
    volume = _read_while_loading(image, series)
    values = dict(recipe.labels) or None
    found = read_mask_set(_mask_of(mask, values), values, reference=volume, rules=settings.mask_rules)
    named = recipe.vois_of(found.masks)
    where = str(mask) if isinstance(mask, str | Path) else "image and mask"
    doubts = judge_masks(volume, found.masks, named, settings, accept, where)
    threads = resolve_workers(workers)
    cost = estimate(volume, named, settings, threads)
    say.say(f"measuring: about {format_seconds(cost.seconds)}, {format_bytes(cost.peak_bytes)} of memory")
    result = recipe.measure(volume, named, threads=threads)
    lines = _measured_lines(result, settings)
    lines += [f"  note: {note}" for note in (*volume.notes, *found.notes)]
    lines += [f"  doubtful: {item}" for item in doubts]
    return MeasuredFeatures(tuple(lines), settings, result, volume, named)


def _read_while_loading(image: str | Path | Volume, series: str | int | None) -> Volume:
    """The image; while a file is unpacked, which leaves Python free, what measures it is loaded.

    The loading ends before anything else is imported here: two threads that import SciPy at once find parts of it.
    DICOM needs SciPy while it is read, so nothing is loaded beside it.
    """
    if not isinstance(image, str | Path) or suffix_of(image) not in IMAGE_ENDINGS:
        return read_volume(image, series=series)
    loading = Thread(target=_load_engine)
    loading.start()
    try:
        return read_volume(image, series=series)
    finally:
        loading.join()


def _load_engine() -> None:
    for name in ("hepacast.radiomics.extraction", "scipy.ndimage", "scipy.special", "pywt"):
        import_module(name)


def _mask_of(mask: MaskGiven, values: Mapping[str, int] | None) -> MaskPath:
    """The mask file, or the files of structures.

    Raises
    ------
    StudyFileError
        Label values beside files of single structures.
    """
    files = mask_path(mask)
    if values and isinstance(files, Mapping):
        raise StudyFileError(
            "Label values are those of one mask file, and here each structure has its own.",
            found=", ".join(f"{name}={value}" for name, value in values.items()),
            remedy="leave --labels out, or give one file",
        )
    return files


def _measured_lines(result: ExtractionResult, settings: Settings) -> list[str]:
    """What was measured, and why values are undefined."""
    n = len(settings.feature_names())
    lines = [f"{n} features of {len(result.vois)} VOIs by {result.engine}, settings {settings.hash[:12]}"]
    for name, item in result.vois.items():
        undefined = f", {len(item.reasons)} undefined" if item.reasons else ""
        lines.append(f"  {name}: {item.status}{undefined}" + (f" ({item.reason})" if item.reason else ""))
        if item.status == "partial":
            often = Counter(item.reasons.values()).most_common(MAX_REASONS)
            lines += [f"    {count} feature{'s' if count > 1 else ''}: {reason}" for reason, count in often]
    return lines


def _write_maps(volume: Volume, named: dict[str, Volume], settings: Settings, folder: Path) -> list[str]:
    from hepacast.radiomics.maps import feature_maps

    lines = []
    for voi, mask in named.items():
        for feature, item in feature_maps(volume, mask, settings).items():
            write_volume(item, folder / f"{voi}_{feature}.nii.gz")
        lines.append(f"  maps of {voi}: {folder}")
    return lines


def _compared(result: ExtractionResult, path: Path, settings: Settings) -> list[str]:
    from hepacast.radiomics.compare import compare_features, read_other_table

    frame = _frame(path)
    lines = []
    for voi, item in result.vois.items():
        other = read_other_table(frame, voi=voi if len(result.vois) > 1 else None)
        found = compare_features(item.features, other, settings)
        lines.append(f"  {voi}: {found.agreement:.2%} of {len(found.features)} common features agree within 1e-6")
        lines += [f"    {text}" for text in found.explanations]
    return lines


def _frame(path: Path) -> pd.DataFrame:
    """A table of features made elsewhere; numbers where a cell is one, texts elsewhere."""
    import pandas as pd

    from hepacast.cohort.numbers import read_numbers
    from hepacast.cohort.parsing import file_decimal_of
    from hepacast.cohort.sheets import read_sheets

    sheet = read_sheets(path, patients=False)[0]
    mark = file_decimal_of([sheet])
    columns = {}
    for position, header in enumerate(sheet.headers):
        cells = [row[position] for row in sheet.cells]
        parsed = read_numbers(cells, mark)
        columns[header] = [item.value if item.status == "ok" else cell for item, cell in zip(parsed, cells)]
    return pd.DataFrame(columns)


def explain_feature(name: str) -> str:
    """Formula, source and IBSI code of a feature, in words."""
    from hepacast.radiomics.explanation import explain

    return explain(name).to_text()
