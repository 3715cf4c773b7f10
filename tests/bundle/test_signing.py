"""Signed bundles: right ones say by whom, changed ones are refused, unsigned ones say so."""

import base64
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("cryptography")

from hepacast.bundle.applying import open_bundle
from hepacast.bundle.calculator import calculator_of
from hepacast.bundle.container import MANIFEST, read_container, sign_bundle
from hepacast.bundle.prediction import predict
from hepacast.bundle.signing import SignedBy, SigningError, fingerprint, make_key, read_key, read_trusted, trust
from hepacast.cli.main import app
from hepacast.errors import BundleError, StorageError

OLD = Path(__file__).with_name("old") / "2313617"
LABS = {"size": "5.5", "albumin": "38", "inr": "1.2"}


@pytest.fixture(autouse=True)
def trusted(tmp_path, monkeypatch):
    path = tmp_path / "trusted-keys.txt"
    path.write_text("# keys of our partners\n\n", encoding="utf-8")
    monkeypatch.setenv("HEPACAST_TRUSTED_KEYS", str(path))
    return path


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copy(OLD / "cox.hepacast", tmp_path / "model.hepacast"))


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "own.key")
    return tmp_path / "own.key"


def edited(path, change):
    """The bundle with another manifest; every part and hash as they were."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files[MANIFEST])
    change(manifest)
    files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_signing_changes_no_part_and_is_the_same_twice(model, key, tmp_path):
    before = read_container(model)
    sign_bundle(model, read_key(key), tmp_path / "signed.hepacast")
    after = read_container(tmp_path / "signed.hepacast")
    assert after.identity == before.identity and after.documents == before.documents
    sign_bundle(tmp_path / "signed.hepacast", read_key(key), tmp_path / "again.hepacast")
    assert (tmp_path / "again.hepacast").read_bytes() == (tmp_path / "signed.hepacast").read_bytes()
    assert read_container(model).signed == SignedBy()


def test_who_has_signed_is_said_wherever_the_model_speaks(model, key):
    assert "not signed" in predict(open_bundle(model), LABS).text()
    sign_bundle(model, read_key(key))
    found = predict(open_bundle(model), LABS)
    assert "not trusted here" in found.text() and "not trusted here" in found.to_json()["signature"]
    short = trust(str(key) + ".pub", "Ward 7")
    opened = open_bundle(model)
    assert opened.signed == SignedBy("trusted", "Ward 7", short)
    assert f"signed by Ward 7 (key {short})" in predict(opened, LABS).text()
    assert calculator_of(opened)["about"]["signed"]["name"] == "Ward 7"
    assert "signed by Ward 7" in str(opened)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(hepacast="0.0.1"),
        lambda m: m.update(more="x"),
        lambda m: m["signatures"][0].update(signature=base64.b64encode(bytes(64)).decode()),
    ],
    ids=["version", "addition", "signature"],
)
def test_a_bundle_that_is_not_what_was_signed_is_refused(model, key, change):
    trust(str(key) + ".pub", "Ward 7")
    sign_bundle(model, read_key(key))
    edited(model, change)
    with pytest.raises(BundleError, match="signature is wrong"):
        open_bundle(model)


def test_a_signature_of_another_model_is_refused(model, key, tmp_path):
    other = Path(shutil.copy(OLD / "ptlf.hepacast", tmp_path / "other.hepacast"))
    sign_bundle(other, read_key(key))
    taken = read_container(other).manifest["signatures"]
    edited(model, lambda m: m.update(signatures=taken))
    with pytest.raises(BundleError, match="signature is wrong"):
        open_bundle(model)


def test_a_wrong_signature_beside_a_right_one_is_refused(model, key, tmp_path):
    make_key(tmp_path / "second.key")
    sign_bundle(model, read_key(key))
    sign_bundle(model, read_key(tmp_path / "second.key"))
    trust(str(tmp_path / "second.key.pub"), "Second")
    assert open_bundle(model).signed.name == "Second"
    edited(model, lambda m: m["signatures"][0].update(key=m["signatures"][1]["key"]))
    with pytest.raises(BundleError, match="signature is wrong"):
        open_bundle(model)


@pytest.mark.parametrize(
    "signatures",
    ["x", [1], [{}], [{"algorithm": "none"}], [{"algorithm": "ed25519", "key": "AA==", "signature": ""}], [{}] * 99],
)
def test_what_is_no_signature_is_refused(model, signatures):
    edited(model, lambda m: m.update(signatures=signatures))
    with pytest.raises(BundleError, match="signatures of the bundle cannot be read"):
        open_bundle(model)


def test_only_trusted_signers_where_the_file_says_so(model, key, trusted):
    trust(str(key) + ".pub", "Ward 7")
    trusted.write_text(trusted.read_text(encoding="utf-8") + "only-trusted\n", encoding="utf-8")
    with pytest.raises(BundleError, match="only of signers that it trusts"):
        open_bundle(model)
    sign_bundle(model, read_key(key))
    assert open_bundle(model).signed.state == "trusted"


def test_without_the_package_a_signed_bundle_is_not_called_checked(model, key, monkeypatch, trusted):
    sign_bundle(model, read_key(key))
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert open_bundle(model).signed.state == "unchecked"
    trusted.write_text("only-trusted\n", encoding="utf-8")
    with pytest.raises(BundleError, match="not checked"):
        open_bundle(model)


def test_keys_are_files_of_their_owner_and_are_never_overwritten(key):
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(SigningError, match="there already"):
        make_key(key)


def test_a_key_with_a_password_needs_it(tmp_path):
    make_key(tmp_path / "locked.key", "geheim")
    assert read_key(tmp_path / "locked.key", lambda: "geheim")
    with pytest.raises(SigningError, match="password"):
        read_key(tmp_path / "locked.key", lambda: "other")


@pytest.mark.parametrize("line", ["ed25519 AAAA Ward", "rsa AAAA Ward", "nonsense"])
def test_a_line_that_is_no_key_is_named(trusted, line):
    trusted.write_text(f"# ours\n{line}\n", encoding="utf-8")
    with pytest.raises(SigningError, match="line 2"):
        read_trusted()


def test_the_commands(model, tmp_path):
    def call(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.output

    made = call("keys", "new", tmp_path / "a.key")
    assert "no key is trusted" in call("keys", "list")
    call("keys", "trust", tmp_path / "a.key.pub", "--name", "Ward 7")
    short = fingerprint((tmp_path / "a.key.pub").read_text(encoding="utf-8").split()[1])
    assert short in made and call("keys", "list").strip() == f"{short} Ward 7"
    assert f"signed by Ward 7 (key {short})" in call("sign", model, "--key", tmp_path / "a.key")
    told = call("predict", model, *(f"{name}={value}" for name, value in LABS.items()))
    assert f"signed by Ward 7 (key {short})" in told


def test_half_a_key_is_never_left(tmp_path, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hepacast.bundle.signing.write_text", full)
        with pytest.raises(StorageError, match="full"):
            make_key(tmp_path / "mine.key")
    assert not list(tmp_path.glob("mine.key*"))
    (tmp_path / "mine.key.pub").write_text("of a key that somebody has")
    with pytest.raises(SigningError, match="public key is there"):
        make_key(tmp_path / "mine.key")
    assert not (tmp_path / "mine.key").exists()


def test_a_key_keeps_its_name_and_a_file_that_is_none_is_named(key, tmp_path):
    trust(f"{key}.pub", "Ward 7")
    trust(f"{key}.pub", " Ward  7")
    with pytest.raises(SigningError, match="under another name"):
        trust(f"{key}.pub", "Ward 8")
    assert list(read_trusted().names.values()) == ["Ward 7"]
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    for other in (tmp_path / "picture.png", key):
        with pytest.raises(SigningError):
            trust(str(other), "Ward 9")
