"""The application on a network: TLS for real, named users, and each role in its bounds."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import subprocess
import sys

import pytest

from hepacast.web.access import add_user

x509 = pytest.importorskip("cryptography.x509")
httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")


def certificate(folder):
    """A self-signed certificate of this machine with its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def network(tmp_path):
    """A server that every address of this machine reaches: its port, its certificate, tokens by role."""
    cert, key = certificate(tmp_path)
    tokens = {role: add_user(tmp_path / "users.json", f"the-{role}", role) for role in ("reader", "reviewer", "owner")}
    (tmp_path / "served").mkdir()
    words = [
        *("serve", str(tmp_path / "served"), "--no-browser", "--port", "0", "--host", "0.0.0.0"),
        *("--name", "localhost", "--tls-cert", str(cert), "--tls-key", str(key)),
        *("--users", str(tmp_path / "users.json")),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "hepacast.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = next((line.strip() for line in process.stdout if line.startswith("https://")), None)
    assert line is not None, process.stderr.read()
    assert "token" not in line and line.startswith("https://localhost:"), "a name that browsers can open"
    yield int(line.rstrip("/").rpartition(":")[2]), cert, tokens
    process.terminate()
    process.communicate(timeout=20)


def client_of(port, cert, host="localhost"):
    origin = f"https://{host}:{port}"
    return httpx.Client(
        base_url=origin, headers={"origin": origin, "sec-fetch-site": "same-origin"}, trust_env=False,
        verify=ssl.create_default_context(cafile=str(cert)),
    )  # fmt: skip


def test_users_are_served_by_tls_within_their_roles(network):
    port, cert, tokens = network
    seen = {}
    for role, token in tokens.items():
        with client_of(port, cert) as client:
            assert client.get("/api/studies").status_code == 401
            answer = client.post("/api/enter", json={"token": token})
            cookie = answer.headers["set-cookie"]
            assert answer.json() == {"name": f"the-{role}", "role": role}
            assert "Secure" in cookie and "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            seen[role] = [
                client.get("/api/studies").status_code,
                client.get("/api/pacs").status_code,
                client.get("/api/settings").status_code,
            ]
    assert seen == {"reader": [200, 403, 403], "reviewer": [200, 200, 403], "owner": [200, 200, 200]}


def test_without_tls_by_another_name_or_with_an_unknown_certificate_there_is_no_answer(network):
    port, cert, _ = network
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{port}/", trust_env=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"https://localhost:{port}/", trust_env=False, verify=True)
    with client_of(port, cert, "127.0.0.1") as client:
        assert client.get("/").status_code == 421, "only the name that it was given"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(str(cert))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://localhost:{port}/", trust_env=False, verify=old)
