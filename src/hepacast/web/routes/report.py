"""The report of a study: its documents in a frame that may do nothing, and everything to download."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from hepacast.web.jobs import results_of
from hepacast.web.places import PlaceError
from hepacast.web.site import AccountOf, SiteOf, StudyFolder

router = APIRouter(prefix="/studies/{code}")
DOCUMENTS = ("report", "supplement", "audit")
#: What a document may do: show itself. No script, no request.
_FRAMED = (
    "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_TYPES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".html": "text/html",
    ".hepacast": "application/octet-stream",
}


@router.get("/report")
def documents(study: StudyFolder) -> dict[str, Any]:
    """Documents that are there, with their formats; whether there are tables, figures and a model."""
    out = results_of(study)
    report, held = out / "report", out / "bundle" / "held.txt"
    formats = ("html", "pdf", "docx")
    found = {name: [kind for kind in formats if (report / f"{name}.{kind}").is_file()] for name in DOCUMENTS}
    return {
        "documents": {name: kinds for name, kinds in found.items() if kinds},
        "folders": [name for name in ("tables", "figures") if (report / name).is_dir()],
        "model": (out / "model.hepacast").is_file(),
        "model_note": held.read_text(encoding="utf-8").strip() if held.is_file() else "",
    }


@router.get("/report/{name}.html")
def framed(name: str, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> Response:
    """A document to be read in a frame."""
    path = _document(study, name, "html")
    site.audit.add(account.name, account.role, f"read-{name}", code)
    return Response(
        path.read_bytes(), media_type="text/html; charset=utf-8", headers={"content-security-policy": _FRAMED}
    )


@router.get("/download/{what}")
def download(what: str, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> Response:
    """A document (``report.pdf``), all tables or figures as a zip archive, or the model."""
    site.audit.add(account.name, account.role, "download", code)
    if what in ("tables.zip", "figures.zip"):
        return _zipped(results_of(study) / "report" / what.removesuffix(".zip"))
    if what == "model.hepacast":
        path = results_of(study) / what
        if not path.is_file():
            raise _missing()
    else:
        stem, _, kind = what.rpartition(".")
        path = _document(study, stem, kind)
    return FileResponse(path, filename=what, media_type=_TYPES[path.suffix])


def _document(study: Path, name: str, kind: str) -> Path:
    path = results_of(study) / "report" / f"{name}.{kind}"
    if name not in DOCUMENTS or kind not in ("html", "pdf", "docx") or not path.is_file():
        raise _missing()
    return path


def _missing() -> PlaceError:
    return PlaceError("There is no such document yet.", remedy="run the study")


def _zipped(folder: Path) -> Response:
    if not folder.is_dir():
        raise _missing()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    headers = {"content-disposition": f'attachment; filename="{folder.name}.zip"'}
    return Response(packed.getvalue(), media_type="application/zip", headers=headers)
