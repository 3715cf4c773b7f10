"""A real Orthanc (Debian's) for tests: answers this machine alone, and knows the callers of the tests."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

PLUGINS = Path("/usr/share/orthanc/plugins")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """`start` and `stop` keep what is stored."""

    def __init__(self, folder: Path, modalities: dict[str, tuple[str, int]] | None = None) -> None:
        self.folder, self.http, self.dicom = folder, free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        known = {name: [name, host, port] for name, (host, port) in (modalities or {}).items()}
        content: dict[str, Any] = {
            "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
            "HttpPort": self.http, "DicomPort": self.dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
            "DicomCheckModalityHost": True, "DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False,
            "DicomModalities": known, "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "OverwriteInstances": False,
            "UnknownSopClassAccepted": True, "StableAge": 1, "DefaultEncoding": "Utf8",
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(content))

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def aet(self) -> str:
        return f"ORTHANC@127.0.0.1:{self.dicom}"

    def start(self) -> Orthanc:
        program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen([program, str(self.folder / "orthanc.json")], stdout=log, stderr=log)
        for _ in range(300):
            try:
                if requests.get(f"http://127.0.0.1:{self.http}/system", timeout=1).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.1)
        raise AssertionError((self.folder / "log.txt").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def get(self, path: str) -> Any:
        answer = requests.get(f"http://127.0.0.1:{self.http}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.content

    def post(self, path: str, content: Any) -> Any:
        answer = requests.post(f"http://127.0.0.1:{self.http}{path}", json=content, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def instances(self) -> dict[str, str]:
        """Orthanc's own name by SOP Instance UID."""
        return {self.get(f"/instances/{one}")["MainDicomTags"]["SOPInstanceUID"]: one for one in self.get("/instances")}

    def file(self, name: str) -> bytes:
        return bytes(self.get(f"/instances/{name}/file"))
