"""Features of one image or of a table of patients: how they are written and shown, and what is doubtful about them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hepacast.core import views
from hepacast.core.files import require_writable_file, write_text
from hepacast.core.remote_files import is_address, require_writable_address, result_file
from hepacast.core.tables import Table, table_of
from hepacast.core.texts import cell, cells
from hepacast.errors import ImageError, ModelError, StudyFileError
from hepacast.imaging.volume import Volume
from hepacast.radiomics.results import ExtractionResult
from hepacast.radiomics.settings import Settings
from hepacast.segmentation.doubts import Remark, require_possible
from hepacast.segmentation.plausibility import judge, judge_levels, measure_voi, modality_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Rows of a notebook's table.
_SHOWN = 20
WRITTEN = (".csv", ".parquet", ".pq")
#: What the patient of a single image is called.
ONLY = "1"


@dataclass(frozen=True, repr=False, eq=False)
class MeasuredFeatures(views.Shown):
    """Features of one image or of a table of patients.

    Attributes
    ----------
    lines
        What was measured, and what a person should know: notes of the files, what is doubtful about image and mask.
    settings
        What was asked for.
    result, volume, vois
        Of one image: its features, the image, and its VOIs; None and empty of a table of patients.
    patients
        The long table of a table of patients; of one image `long` is made from `result`.
    """

    lines: tuple[str, ...]
    settings: Settings
    result: ExtractionResult | None = None
    volume: Volume | None = None
    vois: Mapping[str, Volume] = field(default_factory=dict)
    patients: pd.DataFrame | None = None

    @cached_property
    def long(self) -> pd.DataFrame:
        """One row a feature: patient (1 where there is one image), sequence, voi, feature, value, status, reason.

        The status is ``ok``, ``undefined`` or ``failed``.
        """
        if self.result is not None:
            return self.result.to_long(ONLY)
        if self.patients is None:
            raise ModelError("Features need a result or a table.")
        return self.patients

    def to_frame(self) -> pd.DataFrame:
        """One row a patient and VOI, one column a feature (NaN where it has no value; `long` says why)."""
        wide = self.long.pivot(index=["patient", "voi"], columns="feature", values="value")
        return wide[list(dict.fromkeys(self.long["feature"]))].rename_axis(columns=None)

    def write(self, path: str | Path) -> str | Path:
        """Write the table to a file or an address: ``.csv``, one row a patient and VOI, as PyRadiomics does;
        ``.parquet`` with the reasons.

        Raises
        ------
        StudyFileError
            Another format.
        ImageError
            There is not one number to write.
        StorageError
            The file cannot be written.
        """
        require_written(path)
        if self._all_failed():
            vois = [] if self.result is None else list(self.result.vois.values())
            raise ImageError(
                "Nothing could be measured: there is no number to write.",
                expected="one VOI or more that can be measured",
                found=f"{vois[0].voi}: {vois[0].reason}" if vois else "\n".join(self.lines),
                remedy="correct the images and masks",
            )
        with result_file(path) as file:
            if file.suffix.lower() == ".csv":
                write_text(file, self._csv())
            else:
                from hepacast.radiomics.table import write_long

                write_long(self.long, file)
        return path

    def _all_failed(self) -> bool:
        if self.result is None:
            return bool((self.long["status"] == "failed").all())
        return all(item.status == "failed" for item in self.result.vois.values())

    def _csv(self) -> str:
        if self.result is None:
            return cells(self.to_frame().reset_index()).to_csv(index=False, lineterminator="\n")
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        found = sorted(self.result.vois.items())
        writer.writerow(["patient", "voi", *found[0][1].features])
        for name, item in found:
            values = ("" if math.isnan(value) else value for value in item.features.values())
            writer.writerow([ONLY, cell(name), *values])
        return stream.getvalue()


@views.page.register
def _(record: MeasuredFeatures) -> list[str | Table]:
    """What was measured, and the first rows: features by VOI of one image, VOIs by status of a table."""
    import pandas as pd

    from hepacast.radiomics.table import status_counts

    if record.result is None:
        shown, what = status_counts(record.long), "rows"
    else:
        shown = pd.DataFrame({name: item.features for name, item in record.result.vois.items()})
        shown, what = shown.rename_axis("feature").reset_index(), "features"
    title = f"The first {_SHOWN} of {len(shown)} {what} (to_frame() has all)" if len(shown) > _SHOWN else ""
    return ["\n".join(record.lines), table_of(shown.head(_SHOWN), title)]


@views.drawings.register
def _(record: MeasuredFeatures) -> views.Drawings:
    """`overlay` of one image; of a table every feature by its name, patients by VOI."""
    if record.volume is not None:
        from hepacast.imaging.overlay import overlay_figure

        return {"overlay": partial(overlay_figure, record.volume, record.vois)}
    return {name: partial(_draw_feature, record.long, name) for name in dict.fromkeys(record.long["feature"])}


def _draw_feature(long: pd.DataFrame, name: str) -> Figure:
    from hepacast.figures.labels import feature_label
    from hepacast.figures.patients import draw_values

    values = long[long["feature"] == name]
    return draw_values(
        {str(voi): part["value"].to_numpy() for voi, part in values.groupby("voi")}, label=feature_label(name)
    )


def require_written(output: str | Path | None, what: str = "Features") -> None:
    """Before any work: whether the table's format is known and the file can be written."""
    if output is None:
        return
    if Path(output).suffix.lower() not in WRITTEN:
        raise StudyFileError(f"{what} are written as .csv or .parquet.", found=Path(output).name)
    if is_address(output):
        require_writable_address(str(output).rpartition("/")[0])
    else:
        require_writable_file(output)


def judge_masks(
    volume: Volume, structures: dict[str, Volume], vois: dict[str, Volume], settings: Settings, accept: bool, where: str
) -> list[Remark]:
    """What is doubtful about an image and its masks.

    Raises
    ------
    ImageError
        Something is impossible, and nobody has accepted it.
    """
    width = settings.bin_width
    remarks = judge({"image": volume}, structures, {"image": modality_of(volume)})
    levels = [item for name, mask in vois.items() for item in judge_levels(measure_voi(name, mask, volume), width)]
    return require_possible([*remarks, *levels], accept=accept, where=where)
