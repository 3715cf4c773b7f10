"""The node's queue: states, repetition, refusals, a full disk, deletion, and that nothing is lost or sent twice."""

from __future__ import annotations

import errno
import json
import re
import sys
import time
from pathlib import Path

import pytest

from hepacast.core import files
from hepacast.errors import BundleError, ImageError, StudyFileError
from hepacast.pacs.config import NodeConfig, read_config
from hepacast.pacs.node import Node

sys.path.insert(0, str(Path(__file__).parent))
from clinic import IDENTITY, ShelfPeer, config, quick, receive, study_files


class Clock:
    def __init__(self) -> None:
        self.now = time.time() + 5.0

    def __call__(self) -> float:
        return self.now


def node_of(folder: Path, peer: ShelfPeer, make=quick, clock=None, **changes) -> Node:
    return Node(config(folder, **changes), make=make, peers=[peer], clock=clock or Clock())


def states(node: Node) -> list[str]:
    return [item.state for item in node.queue.studies()]


def test_a_study_goes_from_received_to_confirmed(tmp_path: Path) -> None:
    peer = ShelfPeer()
    node = node_of(tmp_path, peer)
    assert set(receive(node, study_files(tmp_path, 1))) == {0x0000}
    seen = []
    while node.step():
        seen += states(node)
    assert seen == ["complete", "made", "sent", "confirmed"]
    assert len(peer.shelf) == 1 and node.queue.studies()[0].model.startswith(IDENTITY)


def test_a_study_waits_until_nothing_has_come_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.time()
    node = node_of(tmp_path, ShelfPeer(), clock=clock, quiet_s=30.0)
    receive(node, study_files(tmp_path, 1))
    assert not node.step()
    clock.now += 31
    assert node.step() and states(node) == ["complete"]


def test_a_series_that_announces_more_images_is_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.time()
    node = node_of(tmp_path, ShelfPeer(), clock=clock, quiet_s=30.0)
    slices = study_files(tmp_path, 1, ImagesInAcquisition=6)
    receive(node, slices[:5])
    clock.now += 31
    assert not node.step()
    receive(node, slices[5:])
    clock.now = time.time() + 31
    assert node.step() and states(node) == ["complete"]


def test_images_that_come_during_the_work_are_not_left_out(tmp_path: Path) -> None:
    peer, late = ShelfPeer(), study_files(tmp_path, 1)

    def make(images: Path, results: Path) -> None:
        quick(images, results)
        receive(node, late[5:])

    node = node_of(tmp_path, peer, make)
    receive(node, late[:5])
    node.step()
    node.step()
    assert states(node) == ["received"] and not peer.shelf
    while node.step():
        pass
    assert states(node) == ["confirmed"] and len(node.queue.studies()[0].instances) == 6


def test_a_study_that_failed_while_images_came_is_tried_again_with_them(tmp_path: Path) -> None:
    """Half a scan may fail in ways in which the whole does not."""
    peer, late = ShelfPeer(), study_files(tmp_path, 1)

    def make(images: Path, results: Path) -> None:
        if len(list(images.glob("*/*.dcm"))) < len(late):
            receive(node, late[5:])
            raise ImageError("The grid of the mask is not the image's.")
        quick(images, results)

    node = node_of(tmp_path, peer, make)
    receive(node, late[:5])
    seen = []
    while node.step():
        seen += states(node)
    assert "dead" in seen and states(node) == ["confirmed"] and len(peer.shelf) == 1


@pytest.mark.parametrize("cut", ["complete", "running", "made", "sent", "confirmed"])
def test_a_node_that_ends_anywhere_goes_on_and_sends_once(tmp_path: Path, cut: str) -> None:
    """The state that a killed node leaves is that before the step; what the step did besides may be there or not."""
    peer = ShelfPeer()
    node = node_of(tmp_path, peer)
    receive(node, study_files(tmp_path, 1))
    while node.step():
        pass
    item = node.queue.studies()[0]
    node.queue.put(item, state=cut, attempts=1 if cut == "running" else 0, due=0.0)
    again = node_of(tmp_path, peer)
    while again.step():
        pass
    assert states(again) == ["confirmed"] and set(peer.times.values()) == {1}


def test_a_pacs_that_is_down_is_tried_again_with_growing_pauses(tmp_path: Path) -> None:
    peer, clock = ShelfPeer(), Clock()
    peer.up = False
    node = node_of(tmp_path, peer, clock=clock, wait_s=10.0, send_tries=5)
    receive(node, study_files(tmp_path, 1))
    pauses = []
    for _ in range(200):
        if not node.step():
            item = node.queue.studies()[0]
            if item.state == "dead":
                break
            pauses.append(round(item.due - clock.now))
            clock.now = item.due + 0.1
    assert pauses == [10, 20, 40, 80]
    dead = node.queue.studies()[0]
    assert dead.state == "dead" and "does not answer" in dead.reason
    peer.up = True
    assert [item.key for item in node.queue.retry(["all"])] == [dead.key]
    while node.step():
        pass
    assert states(node) == ["confirmed"] and set(peer.times.values()) == {1}


def test_a_study_that_is_refused_is_dead_with_its_reason_and_holds_nobody_up(tmp_path: Path) -> None:
    peer = ShelfPeer()

    def make(images: Path, results: Path) -> None:
        if len(list(images.glob("*/*.dcm"))) < 6:
            raise ImageError("No series fits the rule of 'portal'.", found="SECRET words of a description")
        quick(images, results)

    node = node_of(tmp_path, peer, make)
    receive(node, study_files(tmp_path, 1)[:4])
    receive(node, study_files(tmp_path, 2))
    while node.step():
        pass
    assert sorted(states(node)) == ["confirmed", "dead"]
    (dead,) = [item for item in node.queue.studies() if item.state == "dead"]
    assert "No series fits" in dead.reason and dead.attempts < 2
    assert "SECRET" not in (node.queue.folder / "node.log").read_text()


def test_a_study_that_kills_the_node_is_given_up(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def make(images: Path, results: Path) -> None:
        raise Killed

    for _ in range(3):
        node = node_of(tmp_path, ShelfPeer(), make, tries=3)
        if not node.queue.studies():
            receive(node, study_files(tmp_path, 1))
            node.step()
        with pytest.raises(Killed):
            node.step()
    node = node_of(tmp_path, ShelfPeer(), make, tries=3)
    node.step()
    assert states(node) == ["dead"] and "the node ended" in node.queue.studies()[0].reason


@pytest.mark.parametrize(("keyword", "shown"), [("StudyInstanceUID", "Study"), ("SeriesInstanceUID", "Series")])
def test_what_belongs_to_no_study_is_set_aside_with_its_reason(tmp_path: Path, keyword: str, shown: str) -> None:
    node = node_of(tmp_path, ShelfPeer())
    slices = study_files(tmp_path, 1, **{keyword: ""})
    assert set(receive(node, slices)) == {0xA900}
    receive(node, slices)
    listed = node.queue.listing()
    assert len(listed.quarantined) == len(slices) and not listed.studies
    assert {reason for _, reason in listed.quarantined} == {f"no {shown} Instance UID"}
    assert len(list(node.queue.quarantine.glob("*.dcm"))) == len(slices)
    node.clock.now += 3600 * node.config.keep_failed_hours
    node.step()
    assert not list(node.queue.quarantine.iterdir())


def test_a_full_disk_is_answered_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    node = node_of(tmp_path, ShelfPeer())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    slices = study_files(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        assert receive(node, slices[:1]) == [0xA700]
        assert not [path for path in node.queue.jobs.rglob("*") if path.is_file()]
    assert receive(node, slices) == [0x0000] * 6


def test_images_are_deleted_after_the_stated_time_and_a_resend_is_no_new_work(tmp_path: Path) -> None:
    peer, clock = ShelfPeer(), Clock()
    node = node_of(tmp_path, peer, clock=clock, keep_hours=2.0)
    slices = study_files(tmp_path, 1)
    receive(node, slices)
    while node.step():
        pass
    item = node.queue.studies()[0]
    clock.now += 3600
    node.step()
    assert node.queue.images(item.key).exists()
    clock.now += 3700
    node.step()
    assert not node.queue.images(item.key).exists() and not node.queue.results(item.key).exists()
    state = (node.queue.jobs / item.key / "state.json").read_text()
    assert json.loads(state)["deleted"] and "SECRET" not in state and "1.2.3" not in state
    receive(node, slices)
    while node.step():
        pass
    assert states(node) == ["confirmed"] and set(peer.times.values()) == {1}


def test_new_images_of_a_study_that_was_done_are_new_work(tmp_path: Path) -> None:
    peer = ShelfPeer()
    node = node_of(tmp_path, peer)
    slices = study_files(tmp_path, 1)
    receive(node, slices[:5])
    while node.step():
        pass
    receive(node, slices[5:])
    while node.step():
        pass
    assert states(node) == ["confirmed"] and len(peer.shelf) == 2


def test_no_identity_is_logged_or_named(tmp_path: Path) -> None:
    node = node_of(tmp_path, ShelfPeer())
    receive(node, study_files(tmp_path, 1))
    while node.step():
        pass
    names = " ".join(str(path.relative_to(tmp_path)) for path in node.queue.folder.rglob("*"))
    told = (node.queue.folder / "node.log").read_text() + names + node.queue.listing().text()
    for secret in ("SECRET", "Secret", "1.2.3.1", "19010203"):
        assert secret not in told


def test_the_model_is_pinned_and_can_be_rolled_back(tmp_path: Path) -> None:
    former = Path(__file__).parents[1] / "bundle" / "old" / "59f69d3" / "ptlf.hepacast"
    content = {"bundle": str(former), "identity": IDENTITY}
    with pytest.raises(BundleError, match="not the one that is pinned"):
        node_of(tmp_path, ShelfPeer(), model=content)
    from hepacast.bundle import Bundle

    identity = Bundle.read(former).identity
    node = node_of(tmp_path, ShelfPeer(), model={**content, "identity": identity[:16]})
    receive(node, study_files(tmp_path, 1))
    while node.step():
        pass
    assert node.queue.studies()[0].model == identity


def test_the_prediction_gets_the_series_and_values_of_the_rules(tmp_path: Path, monkeypatch) -> None:
    """Of a patient without values, and of a study without such a series, the reason stands in the queue."""
    from hepacast.study import predict

    asked = []

    def predicted(bundle, **given):
        asked.append(given)
        quick(given["image"]["portal"], given["dicom_out"])

    monkeypatch.setattr(predict, "predict_patient", predicted)
    # As a Chinese hospital's Excel writes CSV, with a unit of its own.
    (tmp_path / "labs.csv").write_bytes("PatientID;白蛋白 (g/dL)\nSECRET-1;3,8\nSECRET-3;4,0\n".encode("gb18030"))
    peer = ShelfPeer()
    labs = {"table": str(tmp_path / "labs.csv")}
    node = Node(config(tmp_path, labs=labs), peers=[peer], clock=Clock())
    receive(node, study_files(tmp_path, 1))
    receive(node, study_files(tmp_path, 2))
    receive(node, study_files(tmp_path, 3, SeriesDescription="arterial"))
    while node.step():
        pass
    (given,) = asked
    assert given["series"] == {"portal": "1.2.3.1.1"} and given["labs"] == {"alb": "3.8 g/dL"}
    reasons = sorted(item.reason.partition("\n")[0] for item in node.queue.studies())
    assert reasons == [
        "",
        "No series fits the rule of 'portal'.",
        "The table of clinical values has not one row of this patient.",
    ]


def test_copies_for_research_are_made_on_the_way(tmp_path: Path) -> None:
    pytest.importorskip("dicomanonymizer")
    node = node_of(tmp_path, ShelfPeer(), research={"folder": str(tmp_path / "research")})
    receive(node, study_files(tmp_path, 1))
    while node.step():
        pass
    assert states(node) == ["confirmed"] and len(list((tmp_path / "research").glob("*/*.dcm"))) == 6


def test_a_bundle_that_is_replaced_under_way_is_not_used(tmp_path: Path) -> None:
    path, old = tmp_path / "model.hepacast", Path(__file__).parents[1] / "bundle" / "old"
    path.write_bytes((old / "2313617" / "ptlf.hepacast").read_bytes())
    node = Node(config(tmp_path, model={"bundle": str(path), "identity": IDENTITY}), peers=[ShelfPeer()], clock=Clock())
    path.write_bytes((old / "59f69d3" / "ptlf.hepacast").read_bytes())
    receive(node, study_files(tmp_path, 1))
    while node.step():
        pass
    (item,) = node.queue.studies()
    assert item.state == "dead" and "not the one that is pinned" in item.reason


def test_a_node_that_lets_everybody_in_is_refused(tmp_path: Path) -> None:
    text = 'folder: q\nmodel: {bundle: m, identity: "123456789012"}\nseries: {portal: {}}\nsend_to: [P@h:1]\n'
    path = tmp_path / "node.yaml"
    path.write_text(text + "listen: {host: 0.0.0.0}\n")
    with pytest.raises(StudyFileError, match="who may send"):
        read_config(path)
    path.write_text(text + "listen: {callers: {A: 127.0.0.1}, prot: 4}\n")
    with pytest.raises(StudyFileError, match=r"listen\.prot"):
        read_config(path)
    path.write_text(text + "listen: {callers: {A: 127.0.0.1}}\n")
    found = read_config(path)
    assert found.listen.host == "127.0.0.1" and found.folder == str(tmp_path / "q")


def test_the_example_of_the_guide_is_a_node(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "pacs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "node.yaml").write_text(example, encoding="utf-8")
    read = read_config(tmp_path / "node.yaml")
    plain = NodeConfig.model_validate({name: getattr(read, name) for name in ("folder", "model", "series", "send_to")})
    for name in ("quiet_s", "keep_hours", "keep_failed_hours", "tries", "send_tries"):
        assert getattr(read, name) == getattr(plain, name), "the guide shows another default"
