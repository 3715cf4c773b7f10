"""What stands before every route: host, origin, session, size; and what stands on every answer.

Requests that come from another page of the same browser (CSRF), by another name of this machine (DNS rebinding), or
without a session are refused before any route is asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from hepacast.web.site import Site

log = logging.getLogger("hepacast.web")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The largest body of one request, in bytes: uploads come in parts below it.
LARGEST_BODY = 512 * 2**20
#: Of a request that is no upload.
LARGEST_JSON = 8 * 2**20

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'"
)
#: Headers that a route has set stay as they are (the report's own policy).
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
#: What is answered without a session: the page itself holds nothing of anybody.
_OPEN, _WORDS = ("/api/enter", "/api/me"), "/api/messages"


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: App, site: Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        sealed = self._sealing(scope, send)
        refused = self._refused(scope, headers)
        if refused is not None:
            await _answer(sealed, *refused)
            return
        limit = LARGEST_BODY if headers.get("content-type", "").startswith("multipart/") else LARGEST_JSON
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            await _answer(sealed, 413, "The request is too large.")
            return
        await self._answered(scope, _limited(receive, limit), sealed)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the route. No trace reaches the browser, and no text of a request or of a library the log.

        What is logged is method, route as it is written in the code, status and milliseconds.
        """
        start, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except TooLarge:
            await _answer(watched, 413, "The request is too large.")
        except Exception as error:
            log.error("%s at %s", type(error).__name__, place_of(error))
            if status:
                return
            await _answer(watched, 500, f"Something went wrong on the server ({type(error).__name__}).")
        route = getattr(scope.get("route"), "path", "-")
        log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * (time.monotonic() - start))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if headers.get("host", "") not in self.site.hosts:
            return 421, "This server is not known by that name."
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        if not reads and not self._same_origin(headers):
            return 403, "The request came from another page."
        if path.startswith("/api/"):
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "The request came from another page."
            account = self.site.access.account(session_of(self.site, headers.get("cookie", "")))
            if account is None and path not in _OPEN and not path.startswith(_WORDS):
                return 401, "Sign in first."
            scope.setdefault("state", {})["account"] = account
        return None

    def _same_origin(self, headers: dict[str, str]) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = headers.get("origin")
        return site is not None if origin is None else origin in self.site.origins

    def _sealing(self, scope: Scope, send: Send) -> Send:
        """`send` with the headers that every answer has."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                added = dict(_HEADERS)
                added["cache-control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
                if self.site.secure:
                    added["strict-transport-security"] = "max-age=31536000"
                more = [
                    (name.encode(), value.encode()) for name, value in added.items() if name.encode() not in present
                ]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        return sealed


class TooLarge(Exception):
    """A body without a length, or with a wrong one, went over the limit."""


def place_of(error: Exception) -> str:
    """File and line where an error arose."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last is not None else "?"


def _limited(receive: Receive, limit: int) -> Receive:
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            raise TooLarge
        return message

    return limited


def session_of(site: Site, cookie: str) -> str | None:
    """The session in a header ``Cookie``."""
    try:
        found = SimpleCookie(cookie).get(site.cookie)
    except CookieError:
        return None
    return found.value if found else None


async def _answer(send: Send, status: int, text: str) -> None:
    body = json.dumps({"message": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
