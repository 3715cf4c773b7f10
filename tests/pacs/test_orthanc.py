"""The clinic with a real Orthanc: `make test-pacs`. Everything on loopback; Orthanc refuses other machines."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from hepacast.bundle.dicom_results import FILES
from hepacast.pacs.connect import make_peer
from hepacast.pacs.dimse import Receiver
from hepacast.pacs.jobs import NodeQueue
from hepacast.pacs.node import Node
from hepacast.pacs.peer import PacsError, fetch, instances_of, send

sys.path.insert(0, str(Path(__file__).parent))
from clinic import BUNDLE, IDENTITY, config, quick, real, study_files, virtual_patient
from orthanc import Orthanc, free_port
from sender import push

pytestmark = pytest.mark.pacs
HERE = Path(__file__).parent


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def orthanc(tmp_path: Path, port: int) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path / "orthanc", {"HEPACAST": ("127.0.0.1", port)}).start()
    yield server
    server.stop()


class NodeProcess:
    """A node that can be killed and started again."""

    def __init__(self, folder: Path, orthanc: Orthanc, port: int, maker: str, send_to: list[str], **more: Any) -> None:
        self.folder, self.maker, self.port, self.process = folder, maker, port, None
        content = {
            "folder": "queue", "send_to": send_to, "quiet_s": 0.5, "wait_s": 0.2, "longest_wait_s": 2.0, "tries": 200,
            "listen": {"port": port, "callers": {"SENDER": "127.0.0.1", "ORTHANC": "127.0.0.1"}},
            "model": {"bundle": str(BUNDLE), "identity": IDENTITY}, "series": {"portal": {"words": ["portal"]}}, **more,
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "node.yaml").write_text(json.dumps(content))

    @property
    def address(self) -> str:
        return f"HEPACAST@127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [sys.executable, str(HERE / "node_process.py"), str(self.folder / "node.yaml"), self.maker]
        with (self.folder / "out.txt").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)

    def wait_until_it_listens(self) -> None:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "out.txt").read_text()[-3000:])

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def wait(self, count: int, seconds: float) -> list[str]:
        """Until so many studies are confirmed."""
        queue, end = NodeQueue(self.folder / "queue"), time.time() + seconds
        states: list[str] = []
        while time.time() < end:
            states = [item.state for item in queue.studies()]
            if states.count("confirmed") == count:
                return states
            time.sleep(0.2)
        raise AssertionError(queue.listing().text() + (self.folder / "out.txt").read_text()[-3000:])


def test_echo_find_fetch_send_by_every_road(orthanc: Orthanc, port: int, tmp_path: Path) -> None:
    files = study_files(tmp_path, 1)
    web, dimse = make_peer(orthanc.web), make_peer(orthanc.aet)
    move = make_peer(orthanc.aet, listen=port)
    for peer in (web, dimse):
        peer.echo()
    assert len(send(web, files[:3]).confirmed) == 3 and len(send(dimse, files).confirmed) == 6
    with pytest.raises(PacsError, match="association"):
        make_peer(orthanc.aet, calling="STRANGER").echo()
    for number, peer in enumerate((web, dimse, move)):
        assert not peer.find({"PatientID": "nobody"})
        (series,) = peer.find({"StudyDate": "20200101"})
        assert (series.instances, series.number, series.modality) == (6, 3, "CT")
        (folder,) = fetch(peer, [series], tmp_path / f"road-{number}")
        got = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path).PixelData for path in folder.iterdir()}
        assert got == {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path).PixelData for path in files}


def test_images_that_the_pacs_cannot_decode_are_fetched_as_they_are(
    orthanc: Orthanc, port: int, tmp_path: Path
) -> None:
    """JPEG 2000: with a default syntax Orthanc answers 500 (WADO), and a receiver without it 0xC000 (C-MOVE)."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    files = study_files(tmp_path, 1)
    for file in files:
        header = pydicom.dcmread(file)
        header.file_meta.TransferSyntaxUID = JPEG2000Lossless
        header.PixelData = encapsulate([b"\xff\x4f\xff\x51 not really"])
        header["PixelData"].is_undefined_length = True
        header.save_as(file)
    send(make_peer(orthanc.web), files)
    for number, (address, listen) in enumerate([(orthanc.web, None), (orthanc.aet, None), (orthanc.aet, port)]):
        peer = make_peer(address, listen=listen)
        (folder,) = fetch(peer, peer.find({}), tmp_path / f"road-{number}")
        got = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert len(got) == 6 and {item.file_meta.TransferSyntaxUID for item in got} == {JPEG2000Lossless}


def test_stow_without_identifiers_is_a_success_that_stores_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    """The trap itself, past our own refusal: an answer 200 in which nothing is named."""
    from hepacast.pacs.peer import Instance

    (file, *_) = study_files(tmp_path, 1, StudyInstanceUID="", SeriesInstanceUID="")
    failed = make_peer(orthanc.web).store([Instance(file, "", "", "1.2", "1.2.840.10008.5.1.4.1.1.2")])
    assert list(failed) == ["1.2"] and not orthanc.get("/instances")


def test_what_is_written_is_valid(tmp_path: Path) -> None:
    files = virtual_patient(tmp_path, 1)
    real(files[0].parent, tmp_path / "results")
    for name in FILES:
        path = str(tmp_path / "results" / name)
        judged = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert not [line for line in judged.stderr.splitlines() if line.startswith("Error")], judged.stderr
        dumped = subprocess.run(["dcmdump", path], capture_output=True, text=True, check=False)
        assert dumped.returncode == 0 and "E:" not in dumped.stderr
    report = str(tmp_path / "results" / "report.dcm")
    shown = subprocess.run(["dsrdump", report], capture_output=True, text=True, check=False)
    assert shown.returncode == 0 and "PRELIMINARY" in shown.stdout and "Referenced Segment" in shown.stdout


def test_twenty_patients_come_back_as_they_were_made(orthanc: Orthanc, port: int, tmp_path: Path) -> None:
    """Half of them straight to the node, half by STOW to the PACS, which sends them on."""
    node = NodeProcess(tmp_path / "node", orthanc, port, "real", [orthanc.web])
    node.start()
    try:
        sources = {number: virtual_patient(tmp_path, number) for number in range(1, 21)}
        for number, files in sources.items():
            if number % 2:
                push(node.address, files)
            else:
                assert not send(make_peer(orthanc.web), files).failed
        for study in orthanc.get("/studies"):
            if orthanc.get(f"/studies/{study}")["PatientMainDicomTags"]["PatientID"].startswith("V"):
                series = orthanc.get(f"/studies/{study}")["Series"]
                if orthanc.get(f"/series/{series[0]}")["MainDicomTags"]["Modality"] == "CT":
                    orthanc.post("/modalities/HEPACAST/store", {"Resources": [study], "Synchronous": True})
        node.wait(20, 400)
    finally:
        node.kill()
    stored, queue = orthanc.instances(), NodeQueue(tmp_path / "node" / "queue")
    for item in queue.studies():
        assert sorted(path.name for path in queue.results(item.key).iterdir()) == sorted(FILES)
        for path in queue.results(item.key).iterdir():
            made = pydicom.dcmread(path)
            back = pydicom.dcmread(io.BytesIO(orthanc.file(stored[made.SOPInstanceUID])))
            assert back == made, path.name
            assert str(back.PatientName).endswith("=张^小东")
    results = [name for uid, name in stored.items() if uid.startswith("2.25.")]
    assert len(results) == 20 * len(FILES)


def test_killed_twenty_times_nothing_is_lost_and_nothing_comes_twice(
    orthanc: Orthanc, port: int, tmp_path: Path
) -> None:
    seed = int(os.environ.get("HEPACAST_KILL_SEED", "7"))
    node, dice, studies = NodeProcess(tmp_path / "node", orthanc, port, "slow", [orthanc.aet]), random.Random(seed), 10
    sources = {number: study_files(tmp_path, number) for number in range(1, studies + 1)}
    cut: Counter[str] = Counter()
    folders = [str(files[0].parent) for files in sources.values()]
    sender = subprocess.Popen([sys.executable, str(HERE / "sender.py"), node.address, *folders])
    try:
        for _ in range(20):
            node.start()
            node.wait_until_it_listens()
            time.sleep(dice.uniform(0.0, 3.0))
            node.kill()
            cut.update(item.state for item in NodeQueue(tmp_path / "node" / "queue").studies())
        node.start()
        assert sender.wait(timeout=120) == 0
        node.wait(studies, 120)
    finally:
        sender.kill()
        node.kill()
    assert len(cut) >= 3, "the node was never killed at its work"
    stored = orthanc.instances()
    assert len(stored) == studies
    for number, files in sources.items():
        quick(files[0].parent, tmp_path / f"expected-{number}")
        (path,) = (tmp_path / f"expected-{number}").iterdir()
        made = pydicom.dcmread(path)
        assert pydicom.dcmread(io.BytesIO(orthanc.file(stored[made.SOPInstanceUID]))) == made
    queue = NodeQueue(tmp_path / "node" / "queue")
    assert sum(len(item.instances) for item in queue.studies()) == sum(map(len, sources.values()))


def test_a_pacs_that_is_away_for_a_minute(orthanc: Orthanc, port: int, tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", orthanc, port, "quick", [orthanc.web, orthanc.aet])
    orthanc.stop()
    node.start()
    try:
        for number in (1, 2, 3):
            push(node.address, study_files(tmp_path, number))
        time.sleep(60)
        queue = NodeQueue(tmp_path / "node" / "queue")
        assert {item.state for item in queue.studies()} == {"made"}
        assert all("does not answer" in item.reason for item in queue.studies())
        orthanc.start()
        node.wait(3, 60)
    finally:
        node.kill()
    assert len(orthanc.instances()) == 3


def test_a_full_disk_is_answered_with_a700_and_later_all_is_there(tmp_path: Path, port: int, orthanc: Orthanc) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        node = Node(config(disk), make=quick, peers=[make_peer(orthanc.web)])
        files = study_files(tmp_path, 1)
        (disk / "ballast").write_bytes(b"\0" * (48 << 10))
        with Receiver("HEPACAST", "127.0.0.1", port, node.keep, {"SENDER": "127.0.0.1"}).started():
            peer = make_peer(f"HEPACAST@127.0.0.1:{port}", calling="SENDER")
            first = peer.store(instances_of(files))
            assert first and set(first.values()) == {"refused (0xA700)"}
            (disk / "ballast").unlink()
            assert not peer.store(instances_of(files))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        while node.step():
            pass
        assert [item.state for item in node.queue.studies()] == ["confirmed"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_images_without_identifiers_are_quarantined(orthanc: Orthanc, port: int, tmp_path: Path) -> None:
    from hepacast.pacs.peer import Instance

    node = Node(config(tmp_path), make=quick, peers=[make_peer(orthanc.web)])
    files = study_files(tmp_path, 1, StudyInstanceUID="")
    with Receiver("HEPACAST", "127.0.0.1", port, node.keep, {"SENDER": "127.0.0.1"}).started():
        sent = [Instance(file, "", "1", file.stem, "1.2.840.10008.5.1.4.1.1.2") for file in files]
        failed = make_peer(f"HEPACAST@127.0.0.1:{port}", calling="SENDER").store(sent)
    assert set(failed.values()) == {"refused (0xA900)"} and len(failed) == 6
    assert {reason for _, reason in node.queue.listing().quarantined} == {"no Study Instance UID"}


def test_debian_packages_are_there() -> None:
    """Before a failure of the others is looked for elsewhere."""
    lacking = [name for name in ("Orthanc", "dciodvfy", "dcmdump", "dsrdump") if not shutil.which(name)]
    assert not lacking


def test_results_are_sent_from_the_page_once_and_are_the_nodes_files(orthanc: Orthanc, tmp_path: Path) -> None:
    """The Patient screen's way of sending, to a real PACS: four instances, equal when read, none twice."""
    pytest.importorskip("fastapi")
    from hepacast.web.connections import PacsConnection, send_results

    real_files = virtual_patient(tmp_path, 1)
    results = tmp_path / "results"
    real(real_files[0].parent, results)
    for to in (PacsConnection("web", orthanc.web), PacsConnection("dimse", orthanc.aet)):
        to.peer().echo()
        sent = send_results(to, results)
        assert (sent.to, sent.confirmed, sent.failed) == (to.name, 4, ())
    held = orthanc.instances()
    for name in FILES:
        made = pydicom.dcmread(results / name)
        stored = pydicom.dcmread(io.BytesIO(orthanc.file(held[made.SOPInstanceUID])))
        assert stored == made, name
    assert len(held) == 4


def test_one_patient_is_looked_up_and_fetched_whole(orthanc: Orthanc, tmp_path: Path) -> None:
    """The Patient screen's way of fetching, from a real PACS by both its languages; other patients stay there."""
    pytest.importorskip("fastapi")
    from hepacast.pacs.choose import propose
    from hepacast.web.connections import PacsConnection, fetch_series, series_of_patient

    for number, words in ((1, "portal 1.0"), (2, "portal 1.0")):
        more = {"PatientID": f"H-{number}", "SeriesDescription": words}
        make_peer(orthanc.web).store(instances_of(study_files(tmp_path, number, **more)))
    for to in (PacsConnection("web", orthanc.web), PacsConnection("dimse", orthanc.aet)):
        (found,) = series_of_patient(to, "H-1")
        assert found.series == "1.2.3.1.1" and series_of_patient(to, "H-") == []
        # Six images are too few to be a scan: nothing is proposed, and a person may still choose.
        assert propose({"portal": "CT"}, [found], {}) == ({} if found.instances else {"portal": found.series})
        fetched = fetch_series(to, {"portal": found}, tmp_path / to.name)
        files = [pydicom.dcmread(path) for path in Path(fetched["portal"]).iterdir()]
        assert len(files) == 6 and {str(item.PatientID) for item in files} == {"H-1"}
