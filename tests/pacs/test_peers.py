"""What a PACS answers and what is true: fakes of both kinds of peer on loopback, and the node's receiver."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest

from hepacast.errors import ImageError
from hepacast.pacs.choose import SeriesFacts, SeriesRule, choose, propose
from hepacast.pacs.connect import make_peer
from hepacast.pacs.dimse import Receiver
from hepacast.pacs.node import Node
from hepacast.pacs.peer import FoundSeries, PacsError, fetch, send

sys.path.insert(0, str(Path(__file__).parent))
from clinic import ShelfPeer, config, quick, study_files
from orthanc import free_port

pynetdicom = pytest.importorskip("pynetdicom")
pytest.importorskip("dicomweb_client")


@pytest.fixture
def liar() -> Iterator[str]:
    """A DICOMweb server that says yes to everything and stores nothing."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path.startswith("/404"):
                self.send_error(404)
            else:
                self._answer([])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"00081190": {"vr": "UR", "Value": ["http://x/studies/1"]}})

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_an_answer_200_that_names_nothing_is_no_success(liar: str, tmp_path: Path) -> None:
    files = study_files(tmp_path, 1)
    found = send(make_peer(liar), files)
    assert not found.confirmed and len(found.failed) == len(files)
    assert set(found.failed.values()) == {"not stored (the answer names no stored instance)"}
    assert found.text().startswith("0 of 6 instances stored")


def test_not_found_is_an_empty_answer_of_a_search_and_of_nothing_else(liar: str, tmp_path: Path) -> None:
    """Some servers answer so where a study is not there; a wrong address answers so too."""
    peer = make_peer(f"{liar}/404")
    assert peer.find({}) == []
    with pytest.raises(PacsError, match="refuses"):
        peer.echo()
    with pytest.raises(PacsError, match="refuses"):
        list(peer.retrieve(FoundSeries("1.2", "1.3")))
    sent = send(peer, study_files(tmp_path, 1))
    assert not sent.confirmed and all("not stored" in reason for reason in sent.failed.values())


def test_what_a_peer_says_it_stored_is_asked_for(tmp_path: Path) -> None:
    class Forgetful(ShelfPeer):
        def store(self, instances):  # says that all is well
            return {}

    found = send(Forgetful(), study_files(tmp_path, 1))
    assert len(found.failed) == 6 and "does not have it" in next(iter(found.failed.values()))


def test_what_is_there_is_not_sent_again(tmp_path: Path) -> None:
    peer, files = ShelfPeer(), study_files(tmp_path, 1)
    send(peer, files[:2])
    assert len(send(peer, files).confirmed) == 6 and set(peer.times.values()) == {1}


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_files_without_identifiers_are_not_sent(tmp_path: Path, keyword: str) -> None:
    with pytest.raises(ImageError, match=f"no {keyword}"):
        send(ShelfPeer(), study_files(tmp_path, 1, **{keyword: ""}))


def test_a_series_that_came_in_part_is_no_series(tmp_path: Path) -> None:
    class Short(ShelfPeer):
        def retrieve(self, series):
            yield "1", b"x"

    with pytest.raises(PacsError, match="fewer images"):
        fetch(Short(), [FoundSeries("1", "2", instances=2)], tmp_path / "out")
    assert not (tmp_path / "out" / "series-001").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "PACS@127.0.0.1:9"])
def test_a_pacs_that_is_not_there_is_told(address: str) -> None:
    with pytest.raises(PacsError):
        make_peer(address).echo()


@pytest.mark.parametrize("address", ["127.0.0.1:104", "PACS@host", "ftp://x", "A@h:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(PacsError, match="no address"):
        make_peer(address)


def test_a_password_does_not_go_over_the_network_in_clear(monkeypatch) -> None:
    monkeypatch.setenv("HEPACAST_PACS_PASSWORD", "user:secret")
    with pytest.raises(PacsError, match="in clear") as refused:
        make_peer("http://10.1.2.3/dicom-web")
    assert "secret" not in str(refused.value)
    make_peer("http://127.0.0.1/dicom-web"), make_peer("https://10.1.2.3/dicom-web")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[Node, int]]:
    node, port = Node(config(tmp_path), make=quick, peers=[ShelfPeer()]), free_port()
    with Receiver("HEPACAST", "127.0.0.1", port, node.keep, {"SENDER": "127.0.0.1", "FAR": "127.0.0.9"}).started():
        yield node, port


def test_who_is_not_on_the_list_is_refused(listening, tmp_path: Path) -> None:
    _, port = listening
    make_peer(f"HEPACAST@127.0.0.1:{port}", calling="SENDER").echo()
    for calling, called in [("STRANGER", "HEPACAST"), ("SENDER", "OTHER")]:
        with pytest.raises(PacsError, match="association"):
            make_peer(f"{called}@127.0.0.1:{port}", calling=calling).echo()
    peer = make_peer(f"HEPACAST@127.0.0.1:{port}", calling="FAR")
    from hepacast.pacs.peer import instances_of

    assert set(peer.store(instances_of(study_files(tmp_path, 1))).values()) == {"refused (0x0124)"}


def test_an_address_that_is_not_on_the_list_gets_no_answer(tmp_path: Path) -> None:
    port = free_port()
    with (
        Receiver("HEPACAST", "127.0.0.1", port, lambda *_: 0, {"SENDER": "127.0.0.9"}).started(),
        pytest.raises(PacsError, match="association"),
    ):
        make_peer(f"HEPACAST@127.0.0.1:{port}", calling="SENDER").echo()


def test_every_transfer_syntax_is_received_as_it_is(listening, tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

    from hepacast.pacs.peer import instances_of

    node, port = listening
    peer = make_peer(f"HEPACAST@127.0.0.1:{port}", calling="SENDER")
    for number, syntax in enumerate((JPEG2000Lossless, JPEGLSLossless), start=1):
        files = study_files(tmp_path, number)
        for file in files:
            header = pydicom.dcmread(file)
            header.file_meta.TransferSyntaxUID = syntax
            header.PixelData = encapsulate([b"\xff\x4f\xff\x51 not really"])
            header["PixelData"].is_undefined_length = True
            header.save_as(file)
        assert peer.store(instances_of(files)) == {}
    kept = [pydicom.dcmread(path) for path in node.queue.jobs.rglob("*.dcm")]
    assert {item.file_meta.TransferSyntaxUID for item in kept} == {JPEG2000Lossless, JPEGLSLossless}
    assert len(kept) == 12


def candidate(number: int, description: str, images: int = 40, thickness: float = 3.0) -> SeriesFacts:
    return SeriesFacts(f"1.{number}", "CT", description, number, thickness, images)


STUDY = [
    candidate(2, "Arterial 3.0"),
    candidate(3, "Portal Venous 5.0", 24, 5.0),
    candidate(4, "portal venous 1.0", 120, 1.0),
    candidate(5, "门脉期 MIP", 20, 10.0),
    candidate(6, "portal scout", 1),
]


def test_rules_choose_the_series() -> None:
    def chosen(**rule: object) -> int | None:
        return choose({"portal": SeriesRule.model_validate(rule)}, STUDY)["portal"].number

    assert chosen(words=["arterial"]) == 2
    assert chosen(words=["portal"], thickness=[2, 6]) == 3
    assert chosen(words=["portal"], prefer="thinnest") == chosen(words=["portal"], prefer="most images") == 4
    assert chosen(words=["portal", "门脉"], without=["venous"]) == 5
    assert chosen(number=2) == 2
    with pytest.raises(ImageError, match="More than one series"):
        chosen(words=["portal"])
    with pytest.raises(ImageError, match="No series fits"):
        chosen(words=["portal"], modality="MR")


def test_series_are_proposed_by_phase_of_the_newest_study_or_by_rules() -> None:
    def series(study: str, number: int, description: str, **more: int) -> FoundSeries:
        date = {"old": "20250102", "new": "20260301", "newest": "20260401"}[study]
        return FoundSeries(study, f"{study}.{number}", "CT", number, description, date, **more)

    found = [
        series("old", 1, "Arterial"), series("old", 2, "Portal venous"), series("new", 1, "动脉期 1.0"),
        series("new", 2, "门静脉期 1.0", instances=120), series("new", 3, "portal scout", instances=1),
        series("newest", 1, "Thorax"),
    ]  # fmt: skip
    wanted = {"arterial": "CT", "portal": "CT"}
    assert propose(wanted, found, {}) == {"arterial": "new.1", "portal": "new.2"}
    assert propose({"portal": "MR"}, found, {}) == {}
    twice = [*found, series("new", 4, "portal 5.0", instances=30)]
    assert propose(wanted, twice, {}) == {"arterial": "new.1"}
    rule = SeriesRule.model_validate({"words": ["portal", "门静脉"], "prefer": "most images"})
    assert propose({"portal": "CT"}, twice, {"portal": rule}) == {"portal": "new.2"}


def test_the_commands_say_what_is_true(liar: str, tmp_path: Path, hepacast) -> None:
    study_files(tmp_path, 1)
    assert hepacast("pacs", "echo", liar).out == f"{liar} answers\n"
    sent = hepacast("pacs", "send", liar, tmp_path / "study-1")
    assert sent.code == 2 and sent.out.startswith("0 of 6 instances stored and confirmed")
    assert hepacast("pacs", "find", liar, "StudyDate=20260101").out == "nothing found\n"
    assert hepacast("pacs", "find", liar, "--thickness", "thin").code == 2
    assert hepacast("pacs", "find", liar, "--modality", "US").code == 2


def test_copies_for_research_name_nobody_and_stay_together(tmp_path: Path) -> None:
    pytest.importorskip("dicomanonymizer")
    from hepacast.imaging.dicom import read_series
    from hepacast.pacs.deidentify import deidentify

    images = study_files(tmp_path, 1, InstitutionName="Secret Hospital", ReferringPhysicianName="Secret^Doctor")
    for again in ("a", "b"):
        deidentify(images[0].parent, tmp_path / again, b"k" * 32)
    deidentify(images[0].parent, tmp_path / "other", b"x" * 32)
    first, second, other = (
        [pydicom.dcmread(path) for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b", "other")
    )
    assert len({item.StudyInstanceUID for item in first}) == len({item.SeriesInstanceUID for item in first}) == 1
    assert [item.SOPInstanceUID for item in first] == [item.SOPInstanceUID for item in second]
    assert first[0].StudyInstanceUID not in ("1.2.3.1", other[0].StudyInstanceUID)
    assert first[0].PatientID == second[0].PatientID != other[0].PatientID
    for path in (tmp_path / "a").iterdir():
        content = path.read_bytes()
        assert all(word not in content for word in (b"SECRET", b"Secret", b"19010203", b"20200101", b"1.2.3.1"))
    assert read_series(tmp_path / "a").array.shape == (6, 6, 8)
