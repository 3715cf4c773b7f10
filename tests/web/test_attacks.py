"""Every attack that the page must refuse, one test each."""

import io
import logging
import os
import re
import socket
import stat
import zipfile

import pytest
from starlette.testclient import TestClient

from hepacast.errors import HepacastError
from hepacast.web import guard
from hepacast.web.access import TRIES, Access, AccessError, add_user, read_users
from hepacast.web.places import PlaceError, Places
from hepacast.web.serving import ServeOptions, _listen, is_loopback, require_safe
from hepacast.web.uploads import Limits, UploadError, safe_place, unpack

from .conftest import ORIGIN, TOKENS
from .test_cohort import TABLE


def test_nothing_is_told_without_a_session(stranger, app):
    open_to_all = {"/api/enter", "/api/me", "/api/messages", "/api/messages/{language}"}
    tried = 0
    for route in app.router.routes:
        for inner in getattr(getattr(route, "original_router", None), "routes", [route]):
            prefix = "/api" if inner is not route else ""
            path = prefix + getattr(inner, "path", "")
            if not path.startswith("/api") or path in open_to_all:
                continue
            for method in inner.methods - {"HEAD"}:
                tried += 1
                assert stranger.request(method, path.replace("{code}", "abc")).status_code == 401, path
    assert tried > 10
    assert stranger.get("/api/me").json() == {}


def test_a_one_time_token_lets_in_once():
    told = []
    access = Access(tell=told.append)
    token = access.new_token()
    session, account = access.enter(token)
    assert account.role == "owner" and access.account(session) == account
    with pytest.raises(AccessError):
        access.enter(token)
    assert len(told) == 1 and access.enter(told[0])[1].role == "owner"
    access.leave(session)
    assert access.account(session) is None


def test_guessing_tokens_is_stopped():
    access = Access()
    token = access.new_token()
    for _ in range(TRIES):
        with pytest.raises(AccessError, match="not known"):
            access.enter("guess")
    with pytest.raises(AccessError, match="Too many"):
        access.enter(token)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger):
    cookie = stranger.post("/api/enter", json={"token": TOKENS["owner"]}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and cookie.startswith("hepacast_8321=")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:9999", "localhost.evil.example:8321", ""])
def test_another_name_of_this_machine_is_refused(client, host):
    """DNS rebinding."""
    for path in ("/", "/api/studies", "/static/app.js"):
        assert client.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    ],
)
def test_changes_from_another_page_are_refused(client, headers):
    """CSRF, also of another port of this machine."""
    assert client.post("/api/demo", json={"recipe": "ptlf"}, headers=headers).status_code == 403


def test_changes_that_do_not_say_whence_they_come_are_refused(app):
    bare = TestClient(app, base_url=ORIGIN)
    assert bare.post("/api/enter", json={"token": TOKENS["owner"]}).status_code == 403


def test_another_page_cannot_read_either(client):
    assert client.get("/api/studies", headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/studies", "/static/app.js", "/api/nothing"])
def test_every_answer_has_its_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == ("no-store" if path.startswith("/api") else "no-cache")


@pytest.mark.parametrize("role", ["reader", "reviewer"])
def test_roles_may_do_what_is_theirs(enter, role, site):
    client = enter(role)
    assert client.get("/api/studies").status_code == 200
    refused = [
        client.post("/api/demo", json={"recipe": "ptlf"}),
        client.post("/api/browse", json={"path": ""}),
        client.post("/api/studies", json={"name": "x", "table": "t.csv"}),
        client.post("/api/uploads", files={"file": ("t.csv", b"a")}),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    assert not (site.places.folder / "uploads").exists()


# -- paths -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/etc", "..", "../..", "inside/../..", "/etc/passwd\0.csv", "link", "link/deeper"])
def test_paths_that_lead_out_are_refused(client, site, tmp_path, path):
    (tmp_path / "secret" / "deeper").mkdir(parents=True)
    (site.places.folder / "inside").mkdir()
    (site.places.folder / "link").symlink_to(tmp_path / "secret")
    assert client.post("/api/browse", json={"path": path}).status_code == 404
    assert client.post("/api/studies", json={"name": "x", "table": path}).status_code == 404
    assert not (site.places.folder / "X" / "study.yaml").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"cohort.table": "/etc/passwd"},
        {"cohort.table": "../../secret.csv"},
        {"cohort.table": "~/secret.csv"},
        {"cohort.table": "link/secret.csv"},
        {"images": {"sequences": {"CT": {"path": "/etc/{patient}"}}, "segmentation": {"source": "builtin"}}},
        {"images.segmentation.source": "nnunet:/etc"},
        {"images.segmentation.masks": "{patient}/../../../../etc/{patient}"},
    ],
)
def test_a_study_file_written_here_names_nothing_outside(client, site, tmp_path, changes):
    (site.places.folder / "t.csv").write_text(TABLE)
    code = client.post("/api/studies", json={"name": "s", "table": "t.csv"}).json()["code"]
    (site.places.folder / "S" / "link").symlink_to(tmp_path)
    version = client.get(f"/api/studies/{code}/cohort").json()["version"]
    body = {"version": version, "changes": changes}
    for method, path in (("POST", "judge"), ("PUT", "cohort")):
        answer = client.request(method, f"/api/studies/{code}/{path}", json=body)
        assert answer.status_code == 404 and re.search("out(side)? of", answer.json()["message"])
    assert client.get(f"/api/studies/{code}/cohort").json()["version"] == version


def test_links_to_models_outside_are_no_models(client, site, tmp_path):
    (tmp_path / "model.hepacast").write_bytes(b"x")
    (site.places.folder / "model.hepacast").symlink_to(tmp_path / "model.hepacast")
    assert client.get("/api/models").json() == []


def test_folders_that_were_allowed_may_be_read(tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    places = Places(tmp_path / "served", (more,))
    assert places.within(str(more / "t.csv")) == more.resolve() / "t.csv"
    with pytest.raises(PlaceError):
        places.within(str(tmp_path / "more-of-it"))


def test_links_to_studies_outside_are_no_studies(site, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "study.yaml").write_text("hepacast: 1\n")
    (site.places.folder / "linked").symlink_to(other)
    assert site.places.studies() == []


@pytest.mark.parametrize("path", ["..%2fapp.py", "%2e%2e/app.py", "../app.py", "..\\app.py", "%2fetc%2fpasswd"])
def test_only_the_pages_own_files_are_served(client, path):
    assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize("what", ["..%2fstudy.yaml", "study.yaml", "report.json", "..%2f..%2fkey", "audit.jsonl"])
def test_only_documents_are_downloaded(client, site, what):
    study = site.places.folder / "s"
    study.mkdir()
    (study / "study.yaml").write_text("hepacast: 1\n")
    code = site.places.code(study)
    assert client.get(f"/api/studies/{code}/download/{what}").status_code == 404


# -- uploads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../out.csv", "/etc/out.csv", "C:\\out.csv", "a/../../out.csv", "..\\out.csv", "", "a/" * 30 + "b"]
)
def test_names_that_lead_out_are_refused(client, site, name):
    with pytest.raises(UploadError):
        safe_place(name)
    if name:
        answer = client.post("/api/uploads", data={"path": name}, files={"file": ("f", b"x")})
        assert answer.status_code == 422
        assert not [item for item in site.places.folder.rglob("*") if item.is_file() and "out" in item.name]


def test_names_that_systems_reserve_are_changed():
    assert str(safe_place("CON.txt")) == "_CON.txt" and str(safe_place(".ssh/a:b")) == "_.ssh/a_b"


def archive(tmp_path, members, **info):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            item = zipfile.ZipInfo(name)
            item.compress_type = zipfile.ZIP_DEFLATED
            for key, value in info.items():
                setattr(item, key, value)
            opened.writestr(item, content)
    return path


def test_an_archive_is_unpacked_where_it_should_be(tmp_path):
    places = unpack(archive(tmp_path, {"a/1.dcm": b"1", "2.dcm": b"2"}), tmp_path / "in")
    assert [place.relative_to(tmp_path / "in").as_posix() for place in places] == ["a/1.dcm", "2.dcm"]


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt"])
def test_an_archive_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(UploadError, match="leads out"):
        unpack(archive(tmp_path, {"good.txt": b"x", name: b"x"}), tmp_path / "in")
    assert sorted(item.name for item in tmp_path.rglob("*.txt")) == []


def test_archives_that_grow_without_end_are_refused(tmp_path):
    bomb = archive(tmp_path, {"zeros": b"\0" * (200 * 2**20)})
    assert bomb.stat().st_size < 2**20
    with pytest.raises(UploadError, match="too much"):
        unpack(bomb, tmp_path / "in")
    with pytest.raises(UploadError, match="too much"):
        unpack(archive(tmp_path, {str(i): b"x" for i in range(20)}), tmp_path / "in", Limits(files=10))
    assert not (tmp_path / "in").exists()


def test_links_in_archives_are_refused(tmp_path):
    linked = archive(tmp_path, {"link": b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(UploadError, match="link"):
        unpack(linked, tmp_path / "in")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(UploadError):
        unpack(tmp_path / "a.zip", tmp_path / "in")


def test_bodies_over_the_limit_are_refused(client, monkeypatch):
    monkeypatch.setattr(guard, "LARGEST_JSON", 100)
    monkeypatch.setattr(guard, "LARGEST_BODY", 1000)
    assert client.post("/api/browse", json={"path": "x" * 200}).status_code == 413
    assert client.post("/api/uploads", files={"file": ("f", b"x" * 2000)}).status_code == 413

    def endless():
        for _ in range(100):
            yield b"x" * 100

    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    # The reader of the body stops at the limit, whichever of both tells it.
    assert client.post("/api/browse", content=endless(), headers=headers).status_code in (400, 413)


def test_a_table_in_an_archive_is_taken(client, site):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("scan/1.dcm", b"x")
    got = client.post("/api/uploads", data={"path": "scan.zip"}, files={"file": ("f", packed.getvalue())}).json()
    (place,) = got["files"]
    assert (site.places.roots[0] / place / "scan" / "1.dcm").read_bytes() == b"x"


# -- what is told ------------------------------------------------------------------------------------------------------


def test_no_trace_and_no_text_of_an_error_reach_browser_or_log(client, app, caplog):
    @app.get("/api/broken/{what}")
    def broken(what: str):
        raise ValueError(f"patient Zhang San {what}")

    with caplog.at_level(logging.INFO, "hepacast.web"):
        answer = client.get("/api/broken/HCC_001")
    assert answer.status_code == 500 and "Zhang" not in answer.text and "Traceback" not in answer.text
    assert "ValueError at test_attacks.py" in caplog.text
    assert "Zhang" not in caplog.text and "HCC_001" not in caplog.text
    assert "GET /api/broken/{what} 500" in caplog.text or "GET /broken/{what} 500" in caplog.text


def test_the_trail_knows_who_did_what_and_shows_when_it_was_changed(client, enter, site):
    client.post("/api/leave")
    enter("reader")
    entries = site.audit.read()
    assert [(item.user, item.action) for item in entries] == [
        ("the-owner", "enter"),
        ("the-owner", "leave"),
        ("the-reader", "enter"),
    ]
    text = site.audit.path.read_text()
    for changed in (text.replace("the-owner", "the-reader", 1), "".join(text.splitlines(True)[1:])):
        site.audit.path.write_text(changed)
        with pytest.raises(HepacastError, match="changed"):
            site.audit.read()


def test_a_line_that_a_power_cut_has_torn_is_taken_away_and_two_servers_write_one_trail(client, site):
    other = type(site.audit)(site.audit.folder)
    for number in range(20):
        (site.audit, other)[number % 2].add("x", "owner", "run", str(number))
    with site.audit.path.open("a") as file:
        file.write('{"time": "2026')
    other.add("x", "owner", "stop")
    assert len(site.audit.read()) == 22 and site.audit.read()[-1].action == "stop"


def test_patients_are_codes_in_the_trail_and_other_folders_have_other_codes(site, tmp_path):
    code = site.audit.code("study", "Zhang San")
    assert code == site.audit.code("study", "Zhang San") and "Zhang" not in code and len(code) == 16
    assert code != type(site.audit)(tmp_path / "other").code("study", "Zhang San")
    if os.name == "posix":
        assert stat.S_IMODE((site.audit.folder / "key").stat().st_mode) == 0o600


# -- a network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [(), ("tls",), ("users",)])
def test_a_network_needs_tls_and_users(tmp_path, given):
    options = {"host": "0.0.0.0"}
    if "tls" in given:
        options |= {"tls_cert": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    if "users" in given:
        options |= {"users": tmp_path / "users.json"}
    with pytest.raises(HepacastError, match="TLS"):
        require_safe(ServeOptions(tmp_path, **options))
    require_safe(ServeOptions(tmp_path))


def test_what_is_this_machine_alone():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.3", "h")] == [
        *(True, True, True),
        *(False, False, False, False),
    ]


def test_tokens_of_users_are_kept_as_hashes(tmp_path):
    path = tmp_path / "users.json"
    tokens = [add_user(path, "lee", "reader"), add_user(path, "kim", "owner"), add_user(path, "lee", "reviewer")]
    text = path.read_text()
    assert not any(token in text for token in tokens)
    access = Access(read_users(path))
    assert access.enter(tokens[2])[1].role == "reviewer" and access.enter(tokens[1])[1].name == "kim"
    with pytest.raises(AccessError):
        access.enter(tokens[0])
    with pytest.raises(AccessError):
        add_user(path, "x", "boss")


def test_settings_and_trail_are_the_owners(client, enter, site):
    assert client.get("/api/settings").json()["folders"] == [str(site.places.roots[0])]
    seen = client.get("/api/settings/audit").json()
    assert [item["action"] for item in seen["entries"]] == ["see-trail", "enter"] and seen["total"] == 2
    assert enter("reviewer").get("/api/settings/audit").status_code == 403
    site.audit.path.write_text(site.audit.path.read_text().replace("enter", "leave", 1))
    assert client.get("/api/settings/audit").status_code == 422


def test_who_asks_before_the_application_is_there_waits(tmp_path):
    with _listen(ServeOptions(tmp_path, port=0)) as listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()
