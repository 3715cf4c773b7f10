"""`hepacast fetch` against servers that stand in for the public ones."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from email.message import Message
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from standin import BUCKET, StandIn
from typer.testing import CliRunner
from virtual_collection import VirtualCollection

from hepacast.cli.main import app, main
from hepacast.errors import HepacastError, StorageError
from hepacast.public import COLLECTIONS, fetch, fetching, index, plan_fetch, transfer
from hepacast.public.transfer import DownloadError, Patience, RemoteFile, UnreachableError, check_file, fetch_file

KILLED = """
import sys
from pathlib import Path
from hepacast.public import fetch, index, plan_fetch
index.EXTRACT = Path(sys.argv[1])
fetch(plan_fetch("HCC-TACE-Seg", sys.argv[2], patients=1))
"""
QUICK = Patience(tries=4, first_s=0.01, timeout_s=20)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(folder).items() if name.startswith("images/")}


def test_what_arrives_is_the_original_segmentation_and_its_examination(
    idc: StandIn, collection: VirtualCollection, tmp_path: Path
) -> None:
    out = tmp_path / "hcc"
    table = fetch(plan_fetch("HCC-TACE-Seg", out))
    found = images_of(out)
    assert len(found) == len(table) and all(name.endswith(".dcm") for name in found)
    headers = [pydicom.dcmread(out / name, stop_before_pixels=True) for name in found]
    assert {header.PatientID for header in headers} == {"HCC_001", "HCC_002", "HCC_003"}
    assert all(header.StudyInstanceUID.endswith(".1") for header in headers)
    masks = [header for header in headers if header.Modality == "SEG"]
    assert len(masks) == 3 and all(len(mask.SegmentSequence) == 4 for mask in masks)
    assert len([name for name in found if name.startswith("images/HCC_002/SEG/")]) == 1
    # Bytes as they lie there, checked by their MD5.
    wanted = {content for files in collection.files.values() for content in files.values()}
    assert set(found.values()) <= wanted and set(table.checked) == {"md5"} and set(table.status) == {"fetched"}
    row = table.iloc[0]
    assert hashlib.md5(found[row.file]).hexdigest() == row.checksum.removeprefix("md5:")
    assert row.url.startswith("https://idc-open-data.s3.amazonaws.com/")
    assert "CC BY 4.0" in (out / "LICENSE.txt").read_text() and "5FNA-0924" in (out / "CITATION.txt").read_text()
    assert len(pd.read_csv(out / "HCC-TACE-Seg_clinical_data.csv")) == 105
    assert json.loads((out / "fetch.json").read_text())["collection"] == "HCC-TACE-Seg"


def test_again_nothing_is_fetched_and_what_was_damaged_is(idc: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "hcc"
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    before = files_of(out)
    idc.asked.clear()
    plan = plan_fetch("HCC-TACE-Seg", out, patients=1)
    assert plan.missing == 0
    fetch(plan)
    assert files_of(out) == before and not [path for path, _ in idc.asked if path.endswith(".dcm")]
    damaged = next(path for path in out.rglob("*.dcm"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    fetch(plan)
    assert files_of(out) == before and len([path for path, _ in idc.asked if path.endswith(".dcm")]) == 1
    # More patients later: the manifest names the earlier ones too.
    more = fetch(plan_fetch("HCC-TACE-Seg", out, patients=2))
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    assert set(pd.read_csv(out / "manifest.csv").patient) == {"HCC_001", "HCC_002"} == set(more.patient)


def test_a_busy_server_and_a_broken_transfer_are_gone_on_with(idc: StandIn, tmp_path: Path) -> None:
    idc.faults["list-type"] = ["503", "503"]
    idc.faults[".dcm"] = ["503", "cut", "503", "cut", "cut"]
    out = tmp_path / "hcc"
    table = fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    assert set(table.checked) == {"md5"} and not list(out.rglob("*.part"))
    ranges = [asked for path, asked in idc.asked if path.endswith(".dcm") and asked]
    assert len(ranges) == 3 and all(asked.startswith("bytes=") for asked in ranges)


def test_a_stopped_fetch_goes_on_where_it_was(idc: StandIn, collection: VirtualCollection, tmp_path: Path) -> None:
    folder = collection.folder("HCC_001", "Segmentation")
    name, content = next(iter(collection.files[folder].items()))
    remote = RemoteFile(f"https://{BUCKET}/{folder}/{name}", len(content), f"md5:{hashlib.md5(content).hexdigest()}")
    stop = threading.Event()
    idc.faults[name] = ["cut"]
    with pytest.raises(DownloadError, match="stopped"):
        fetch_file(remote, tmp_path / name, patience=QUICK, stop=stop, tell=lambda size: size and stop.set())
    (part,) = tmp_path.glob(".*.part")
    assert 0 < part.stat().st_size < len(content) and not (tmp_path / name).exists()
    # The server knows ranges, or it does not: the same file.
    for number, fault in enumerate([[], ["whole"]]):
        idc.faults[name] = fault
        target = tmp_path / str(number) / name
        target.parent.mkdir()
        (target.parent / part.name).write_bytes(part.read_bytes())
        assert fetch_file(remote, target, patience=QUICK, stop=threading.Event()) == "md5"
        assert target.read_bytes() == content and idc.asked[-1][1] == f"bytes={part.stat().st_size}-"


def test_a_killed_fetch_goes_on(idc: StandIn, collection: VirtualCollection, tmp_path: Path) -> None:
    out, folder = tmp_path / "hcc", collection.folder("HCC_001", "Segmentation")
    name, content = next(iter(collection.files[folder].items()))
    idc.faults[name] = ["hang"]
    words = [sys.executable, "-c", KILLED, str(index.EXTRACT), str(out)]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(Path(index.__file__).parents[2])}) as process:
        until = time.monotonic() + 60
        while not (parts := list(out.rglob(f".{name}.*.part"))) or not parts[0].stat().st_size:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        process.kill()
    have = parts[0].stat().st_size
    assert 0 < have < len(content) and not list(out.rglob(name)) and (out / "LICENSE.txt").is_file()
    idc.asked.clear()
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    assert [asked for path, asked in idc.asked if path.endswith(name)] == [f"bytes={have}-"]
    assert next(out.rglob(name)).read_bytes() == content and not list(out.rglob("*.part"))


def test_another_checksum_is_never_under_its_name(idc: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "hcc"
    idc.faults[".dcm"] = ["flip"]  # once: the second try is good
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    good = files_of(out)
    victim = next(path for path in out.rglob("*.dcm"))
    victim.unlink()
    idc.faults[victim.name] = ["flip"] * 9
    with pytest.raises(DownloadError, match="1 of 3 series"):
        fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    assert not victim.exists() and not list(out.rglob("*.part"))
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    lost = table[table.status != "fetched"]
    assert (
        len(lost) == 1 and "not the one that was announced" in lost.status.item() and lost.patient.item() == "HCC_001"
    )
    idc.faults.clear()
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    assert images_of(out) == {name: content for name, content in good.items() if name.startswith("images/")}


def test_a_missing_series_and_a_truncated_object_are_named_and_the_rest_comes(
    idc: StandIn, collection: VirtualCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, short = collection.folder("HCC_002", "PRE LIVER"), collection.folder("HCC_003", "Segmentation")
    name, content = next(iter(collection.files[short].items()))
    for file in collection.files[missing]:
        idc.s3.delete_object(Bucket=BUCKET, Key=f"{missing}/{file}")
    idc.put(BUCKET, f"{short}/{name}", content[: len(content) // 2])
    try:
        with pytest.raises(DownloadError, match="2 of 10 series") as caught:
            fetch(plan_fetch("HCC-TACE-Seg", tmp_path / "hcc"))
    finally:
        idc.put(BUCKET, f"{short}/{name}", content)
        for file, body in collection.files[missing].items():
            idc.put(BUCKET, f"{missing}/{file}", body)
    assert "not in the bucket" in str(caught.value) and "HCC_002 CT PRE LIVER" in str(caught.value)
    table = pd.read_csv(tmp_path / "hcc" / "manifest.csv", keep_default_na=False)
    assert table[table.status != "fetched"].patient.tolist() == ["HCC_002", "HCC_003"]
    assert not list((tmp_path / "hcc" / "images" / "HCC_003").rglob("SEG/*/*"))
    assert len(images_of(tmp_path / "hcc")) == (table.status == "fetched").sum() > 0


@pytest.mark.parametrize("number", [1, 5, 113])  # of TLS: permission, input and output of a disk; no way there
def test_a_connection_that_breaks_below_http_is_no_fault_of_the_disk(
    idc: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real, broken = transfer._open, [2]

    class Breaks(io.BytesIO):
        status = 200

        def read1(self, size: int | None = -1) -> bytes:
            raise OSError(number, "record layer failure")

    def opened(url: str, headers: dict[str, str], patience: Patience) -> object:
        if url.endswith(".dcm") and broken[0]:
            broken[0] -= 1
            return Breaks()
        return real(url, headers, patience)

    monkeypatch.setattr(transfer, "_open", opened)
    table = fetch(plan_fetch("HCC-TACE-Seg", tmp_path / "hcc", patients=1))
    assert set(table.status) == {"fetched"} and broken == [0]


def test_what_was_not_come_to_has_a_row(idc: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "hcc"
    plan = plan_fetch("HCC-TACE-Seg", out)
    real = fetching.fetch_file

    def full(remote: RemoteFile, target: Path, **more: object) -> str:
        if "HCC_002" in str(target):
            raise StorageError("The disk is full.", where=str(target))
        return real(remote, target, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "fetch_file", full)
        with pytest.raises(StorageError, match="full"):
            fetch(plan)
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    assert set(table.series) == {item.about["series"] for item in plan.items}
    assert set(table[table.patient == "HCC_002"].status) == {"missing: The fetch was ended before."}
    # Part of the collection afterwards: what is missing of the others is still said.
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    again = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    assert set(again[again.file == ""].patient) >= {"HCC_002"} and set(again.series) == set(table.series)
    assert set(fetch(plan_fetch("HCC-TACE-Seg", out)).status) == {"fetched"}


def test_a_manifest_stays_as_it_was_and_a_damaged_one_is_named(idc: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "hcc"
    fetch(plan_fetch("HCC-TACE-Seg", out, patients=2, derived=True))
    manifest = out / "manifest.csv"
    rows = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    rows.loc[rows.patient == "HCC_002", "description"] = "'+C venous"
    rows.to_csv(manifest, index=False)
    for _ in range(2):
        fetch(plan_fetch("HCC-TACE-Seg", out, patients=1))
    after = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    assert set(after[after.patient == "HCC_002"].description) == {"'+C venous"}
    # The derived masks are still there, and so is whom to cite for them.
    assert "Murugesan" in (out / "CITATION.txt").read_text() and "derived" in (out / "LICENSE.txt").read_text()
    for content in (b"", b"\xff\xfe\x00", b'a\n"'):
        manifest.write_bytes(content)
        with pytest.raises(StorageError, match="manifest"):
            plan_fetch("HCC-TACE-Seg", out, patients=1)
    (out / "fetch.json").write_text("[half")
    with pytest.raises(StorageError, match="something else"):
        plan_fetch("HCC-TACE-Seg", out, patients=1)


def test_nobody_answers(idc: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idc.faults["/"] = ["503"] * 999
    monkeypatch.setattr(fetching, "_NO_NETWORK", 2)
    with pytest.raises(UnreachableError, match="4 tries"):
        fetch(plan_fetch("HCC-TACE-Seg", tmp_path / "hcc"))
    assert len(idc.asked) < 12 * 4, "it does not ask for every series in turn"
    assert not images_of(tmp_path / "hcc")


def test_the_proxy_of_the_environment_is_used(idc: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEPACAST_FETCH_MIRROR", "http://mirror.invalid")
    monkeypatch.setenv("http_proxy", idc.address)
    monkeypatch.delenv("no_proxy", raising=False)
    fetch(plan_fetch("HCC-TACE-Seg", tmp_path / "hcc", patients=1))
    assert next(path for kind, path in idc.asked if kind == "proxy").startswith("http://mirror.invalid/idc-open-data")


def test_names_that_leave_the_folder_are_refused(idc: StandIn, collection: VirtualCollection, tmp_path: Path) -> None:
    folder = collection.folder("HCC_001", "PRE LIVER")
    for name in ("sub/../../../../../evil.dcm", ".hidden", "CON.dcm", "a\\b.dcm"):
        idc.put(BUCKET, f"{folder}/{name}", b"x")
        try:
            with pytest.raises(DownloadError, match="not taken over"):
                fetch(plan_fetch("HCC-TACE-Seg", tmp_path / "hcc", patients=1))
        finally:
            idc.s3.delete_object(Bucket=BUCKET, Key=f"{folder}/{name}")
    assert not list(tmp_path.rglob("evil*")) and not list((tmp_path / "hcc").rglob("CON*"))


def test_no_room_and_folders_of_other_things(idc: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "hcc"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match="no room"):
        fetch(plan_fetch("HCC-TACE-Seg", out))
    assert not out.exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "LICENSE.txt").write_text("mine")
    with pytest.raises(StorageError, match="something else"):
        plan_fetch("HCC-TACE-Seg", tmp_path / "mine")
    assert files_of(tmp_path / "mine") == {"LICENSE.txt": b"mine"}


def record(files: dict[str, bytes], license_id: str = "cc-by-4.0") -> bytes:
    named = [
        {"key": name, "size": len(body), "checksum": f"md5:{hashlib.md5(body).hexdigest()}"}
        for name, body in files.items()
    ]
    return json.dumps({"metadata": {"license": {"id": license_id}}, "files": named}).encode()


def test_collections_by_address(idc: StandIn, tmp_path: Path) -> None:
    files = {"clinical_data.xlsx": b"table", "CT scans.zip": b"images" * 99}
    place = f"api/records/{COLLECTIONS['WAW-TACE'].zenodo}"
    idc.put("zenodo.org", place, record(files))
    for name, body in files.items():
        idc.put("zenodo.org", f"{place}/files/{name}/content", body)
    fetch(plan_fetch("waw-tace", tmp_path / "waw"))
    assert {name: (tmp_path / "waw" / name).read_bytes() for name in files} == files
    assert "10.1148/ryai.240296" in (tmp_path / "waw" / "CITATION.txt").read_text()
    # The license is asked again each time.
    idc.put("zenodo.org", place, record(files, "cc-by-nc-4.0"))
    with pytest.raises(DownloadError, match="another license"):
        plan_fetch("WAW-TACE", tmp_path / "again")
    idc.put("zenodo.org", place, b"<html>")
    with pytest.raises(DownloadError, match="no list of files"):
        plan_fetch("WAW-TACE", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_tables_of_a_repository(idc: StandIn, tmp_path: Path) -> None:
    body = b"ID,Target\n"
    blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    repository = "aydindemircioglu/radMLBench"
    listed = [
        {"type": "file", "name": "HCC-TACE-Seg.gz", "size": len(body), "sha": blob},
        {"type": "file", "name": "README.md", "size": 1, "sha": "0"},
    ]
    idc.put("api.github.com", f"repos/{repository}/contents/datasets", json.dumps(listed).encode())
    idc.put("raw.githubusercontent.com", f"{repository}/HEAD/datasets/HCC-TACE-Seg.gz", body)
    table = fetch(plan_fetch("radMLBench", tmp_path / "tables"))
    assert table.file.tolist() == ["HCC-TACE-Seg.gz"] and table.checked.tolist() == ["git"]


def test_objects_uploaded_in_parts_are_checked_by_their_etag(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096 * 9  # 9 MiB: two parts of 8 MiB
    (tmp_path / "x").write_bytes(content)
    parts = [hashlib.md5(content[start : start + (8 << 20)]).digest() for start in (0, 8 << 20)]
    etag = hashlib.md5(b"".join(parts)).hexdigest()
    assert check_file(tmp_path / "x", RemoteFile("", len(content), f"etag:{etag}-2")) == "etag"
    assert check_file(tmp_path / "x", RemoteFile("", len(content), f"etag:{'0' * 32}-2")) == "size"
    assert check_file(tmp_path / "x", RemoteFile("", len(content) + 1, f"etag:{etag}-2")) is None


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nonsense"], "no public collection"),
        ([], "Which collection"),
        (["LiTS"], "terms"),
        (["HCC-TACE-Seg", "--series", "{thickness: [1, 2]}"], "index does not say"),
        (["MSD-Liver", "--patients", "3"], "fetched whole"),
        (["HCC-TACE-Seg", "--out", "file"], "is a file"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    monkeypatch.setattr("sys.argv", ["hepacast", "fetch", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_says_license_and_sizes_first(idc: StandIn, tmp_path: Path) -> None:
    arguments = ["fetch", "hcc-tace-seg", "--out", str(tmp_path / "hcc"), "--patients", "1"]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    for word in ("CC BY 4.0", "Moawad", "1 patient:", "1 original SEG", "free"):
        assert word in dry.stdout
    assert not idc.asked and not (tmp_path / "hcc").exists()
    done = CliRunner().invoke(app, [*arguments, "--derived"])
    assert done.exit_code == 0 and done.stdout.index("CC BY 4.0") < done.stdout.index("fetched")
    assert "1 derived SEG" in done.stdout and "Murugesan" in (tmp_path / "hcc" / "CITATION.txt").read_text()
    assert list((tmp_path / "hcc" / "images" / "HCC_001" / "SEG-derived").rglob("*.dcm"))


@pytest.mark.parametrize("url", ["http://elsewhere.example/x", "file:///etc/passwd", "ftp://elsewhere.example/x"])
def test_no_way_leads_out_of_encryption(url: str) -> None:
    asked = urllib.request.Request("https://zenodo.org/x")
    with pytest.raises(DownloadError, match="not encrypted"):
        transfer._NoDowngrade().redirect_request(asked, io.BytesIO(), 302, "", Message(), url)
    followed = transfer._NoDowngrade().redirect_request(
        asked, io.BytesIO(), 302, "", Message(), "https://cdn.example/x"
    )
    assert followed is not None and followed.full_url == "https://cdn.example/x"


def test_the_list_needs_no_network() -> None:
    listed = CliRunner().invoke(app, ["fetch", "--list"]).stdout
    assert all(f"{name}\n  {item.title}\n  {item.license}" in listed for name, item in COLLECTIONS.items())
    assert "105 patients, 289 series, 105 SEG, 15.1 GB" in listed
    guide = Path(__file__).parents[2] / "docs" / "guide" / "public-data.md"
    assert listed.strip() in guide.read_text(encoding="utf-8")


def test_only_encrypted_addresses(tmp_path: Path) -> None:
    with pytest.raises(HepacastError, match="HTTPS only"):
        fetch_file(RemoteFile("file:///etc/passwd", 1), tmp_path / "x", patience=QUICK, stop=threading.Event())
