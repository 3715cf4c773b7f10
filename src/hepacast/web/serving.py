"""Start the server: a socket on this machine, or on a network with TLS and users."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hepacast.core.optional import require
from hepacast.errors import HepacastError


@dataclass(frozen=True)
class ServeOptions:
    """As the options of `hepacast serve`; ``port`` 0: any that is free."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8321
    browser: bool = True
    allow: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    users: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_safe(options: ServeOptions) -> None:
    """Refuse what would let strangers in.

    Raises
    ------
    HepacastError
        A network without TLS or without users; a folder or a file that is not there.
    """
    for folder in (options.folder, *options.allow):
        if not folder.is_dir():
            raise HepacastError(
                "The folder to serve is not there.", where=str(folder), remedy="make it, or name another"
            )
    if (options.tls_cert is None) != (options.tls_key is None):
        raise HepacastError("TLS needs both, a certificate and its key.", expected="--tls-cert and --tls-key")
    if not is_loopback(options.host) and (options.tls_cert is None or options.users is None):
        raise HepacastError(
            "On a network the application is served by TLS and to named users only.",
            expected="--tls-cert, --tls-key and --users",
            found=f"--host {options.host}",
            remedy="give all three, or leave out --host: then only this machine can reach it",
        )


def serve(options: ServeOptions, say: Callable[[str], None]) -> None:
    """Serve a folder until Ctrl-C.

    Raises
    ------
    HepacastError
        See `require_safe`; or the port is taken.
    MissingPackageError
        The extra `serve` is not installed.
    """
    require_safe(options)
    purpose = "The application in the browser"
    require("fastapi", purpose=purpose, extra="serve")
    require("python_multipart", purpose=purpose, extra="serve")
    uvicorn = require("uvicorn", purpose=purpose, extra="serve")
    from hepacast.web.access import Access, read_users
    from hepacast.web.app import create_app
    from hepacast.web.places import Places
    from hepacast.web.site import Site

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    listening = _listen(options)
    port = listening.getsockname()[1]
    scheme = "https" if options.tls_cert else "http"
    shown = f"[{options.host}]" if ":" in options.host else options.host
    # Of an address that means "every one" no browser can ask.
    url = f"{scheme}://{options.names[0] if options.names else shown}:{port}/"
    names = {shown, *options.names} | ({"127.0.0.1", "localhost", "[::1]"} if is_loopback(options.host) else set())
    access = Access(
        read_users(options.users) if options.users else [],
        lambda token: say(f"For another browser on this machine: {url}#token={token}"),
    )
    site = Site(
        Places(options.folder, options.allow), access, frozenset(f"{name}:{port}" for name in names), scheme == "https"
    )
    address = url if access.users else f"{url}#token={access.new_token()}"
    say(f"hepacast serves {options.folder.resolve()}\n{address}\nCtrl-C ends it; studies that run go on.")
    if options.browser:
        threading.Timer(0.8, webbrowser.open, (address,)).start()
    config = uvicorn.Config(
        create_app(site), access_log=False, log_level="warning", server_header=False, timeout_graceful_shutdown=1,
        ssl_certfile=options.tls_cert, ssl_keyfile=options.tls_key,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


def _listen(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
        # Who asks between the address being told and the application being there waits, and is not turned away.
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise HepacastError(
            "The port cannot be used.", found=error.strerror, where=f"{options.host}:{options.port}",
            remedy="choose another with --port, or 0 for any that is free",
        ) from error  # fmt: skip
    return listening
