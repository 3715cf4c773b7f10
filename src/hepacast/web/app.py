"""The application: guard, routes, pages, and errors as what a page can show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from hepacast.core.files import STORAGE_ERRNOS
from hepacast.errors import HepacastError
from hepacast.web.access import AccessError
from hepacast.web.expiry import expiring
from hepacast.web.guard import Guard
from hepacast.web.places import PlaceError
from hepacast.web.routes import ROUTERS
from hepacast.web.site import Site

STATIC = Path(__file__).with_name("static")

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


def create_app(site: Site) -> FastAPI:
    """The application of a served folder."""
    app = FastAPI(title="hepacast", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lambda _: expiring(site))
    app.state.site = site
    app.add_middleware(Guard, site=site)
    for router in ROUTERS:
        app.include_router(router, prefix="/api")
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", _Pages(directory=STATIC))
    return app


class _Pages(StaticFiles):
    """Files of the page, with the type of their ending wherever the system would guess another (Windows)."""

    def file_response(self, full_path: str, *args: object, **kwargs: object) -> Response:  # type: ignore[override]
        response: Response = super().file_response(full_path, *args, **kwargs)  # type: ignore[arg-type]
        kind = _TYPES.get(Path(full_path).suffix)
        if kind is not None:
            response.headers["content-type"] = f"{kind}; charset=utf-8"
        return response


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HepacastError)
    status = 403 if isinstance(error, AccessError) else 404 if isinstance(error, PlaceError) else 422
    parts = ("message", "expected", "found", "where", "remedy")
    return JSONResponse({part: getattr(error, part) for part in parts if getattr(error, part)}, status)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = [".".join(map(str, item["loc"])) + ": " + item["msg"] for item in error.errors()]
    return JSONResponse({"message": "The request is not as the page writes it.", "found": "; ".join(places)}, 400)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in STORAGE_ERRNOS and not isinstance(error, FileNotFoundError):
        raise error
    return JSONResponse({"message": "A file cannot be read or written.", "found": error.strerror or ""}, 422)


_ANSWERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    HepacastError: _told,
    RequestValidationError: _invalid,
    OSError: _unreadable,
}
