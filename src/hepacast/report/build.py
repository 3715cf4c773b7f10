"""Results folder in, report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hepacast.errors import HepacastError
from hepacast.report.assets import Assets, write_assets
from hepacast.report.content import compose
from hepacast.report.formats import FORMATS, Format
from hepacast.report.model import Document, Report
from hepacast.report.results import load_results


def composed(results_dir: str | Path) -> Report:
    """What the report of a results folder says, before it is pages: its tables and figures.

    Raises
    ------
    ResultsError
        The folder holds no results, or a file in it is damaged.
    """
    return compose(load_results(results_dir))


def build_report(results_dir: str | Path, *, formats: Sequence[str] = FORMATS, out: str | Path | None = None) -> Path:
    """Write the report of a finished run: the main report, its supplement and the audit file.

    Parameters
    ----------
    results_dir
        The results folder, as `hepacast run` writes it.
    formats
        Any of `hepacast.report.formats.FORMATS`. Figures and tables are always written as files too.
    out
        Where to write; by default ``report/`` in the results folder.

    Returns
    -------
    Path
        The main report as HTML, or in the first of the formats asked for.

    Raises
    ------
    ResultsError
        The folder holds no results, or a file in it is damaged.
    HepacastError
        A format is unknown.
    StorageError
        The folder cannot be written.
    """
    require_formats(formats)
    folder = Path(out) if out is not None else Path(results_dir) / "report"
    return write_report(composed(results_dir), folder, formats)


def require_formats(formats: Sequence[str]) -> None:
    """Raises `HepacastError` where one of the formats does not exist, or none is named."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise HepacastError("This report format does not exist.", expected=", ".join(FORMATS), found=", ".join(unknown))


def write_report(report: Report, folder: Path, formats: Sequence[str]) -> Path:
    """Write a composed report with the files of its figures and tables; its first document is given back."""
    chosen: list[Format] = [name for name in FORMATS if name in formats]
    assets = write_assets(report, folder)
    for document in report.documents:
        for name in chosen:
            _writer(name)(report, document, assets, folder / f"{document.name}.{name}")
    return folder / f"{report.documents[0].name}.{'html' if 'html' in formats else formats[0]}"


def _writer(name: Format) -> Callable[[Report, Document, Assets, Path], object]:
    """What writes a document in a format."""
    if name == "html":
        from hepacast.report.html import write_html

        return write_html
    if name == "pdf":
        from hepacast.report.pdf import write_pdf

        return write_pdf
    from hepacast.report.docx import write_docx

    return write_docx
