"""What stands in for the public servers: buckets and files of moto, behind a door that fails as networks do."""

from __future__ import annotations

import http.client
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

BUCKET = "idc-open-data.s3.amazonaws.com"


class StandIn:
    """Public servers by name: ``https://HOST/PATH`` is the object PATH of the bucket HOST.

    `faults` hold, by a part of the address, what happens to the next requests for it: ``503``, ``cut`` (half of it,
    then the end), ``hang`` (half of it, then silence), ``flip`` (one bit), ``whole`` (ranges are not known). `asked`
    are the requests as they came.
    """

    def __init__(self, moto_port: int) -> None:
        import boto3

        self._moto = moto_port
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: list[tuple[str, str]] = []
        secrets = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}", **secrets)
        self._buckets: set[str] = set()
        self.address = ""

    def put(self, host: str, path: str, content: bytes) -> None:
        """Lay a public object."""
        if host not in self._buckets:
            self.s3.create_bucket(Bucket=host)
            self._buckets.add(host)
        self.s3.put_object(Bucket=host, Key=path, Body=content, ACL="public-read")

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes, str]:
        """Status, headers, body, and what else happens."""
        host, _, rest = path.lstrip("/").partition("/")
        bytes_asked = headers.get("Range", "")
        self.asked.append((path, bytes_asked))
        fault = next((kinds.pop(0) for part, kinds in self.faults.items() if part in path and kinds), "")
        if fault == "503":
            return 503, {"Retry-After": "0"}, b"slow down", ""
        ranges = {"Range": bytes_asked} if bytes_asked and fault != "whole" else {}
        # The stand-in's own address names no bucket; the path does.
        connection = http.client.HTTPConnection("127.0.0.1", self._moto)
        connection.request("GET", f"/{host}/{rest}", headers=ranges)
        reply = connection.getresponse()
        body = reply.read()
        kept = {key: value for key, value in reply.getheaders() if key.lower() == "content-range"}
        if fault == "flip":
            body = bytes([body[0] ^ 1, *body[1:]])
        return reply.status, kept, body, fault


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Servers on loopback, gone when the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    place = StandIn(server.get_host_and_port()[1])

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            # What a proxy is asked for begins with the other server's name.
            path = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path
            if "://" in self.path:
                place.asked.append(("proxy", self.path))
            status, headers, body, fault = place.answer(f"/{path.lstrip('/')}", self.headers)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if fault in ("cut", "hang") else body)
            if fault == "hang":
                self.wfile.flush()
                self.rfile.read(1)  # until the other side is gone
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    place.address = f"http://127.0.0.1:{door.server_address[1]}"
    thread = threading.Thread(target=door.serve_forever, daemon=True)
    thread.start()
    try:
        yield place
    finally:
        door.shutdown()
        door.server_close()
        server.stop()
