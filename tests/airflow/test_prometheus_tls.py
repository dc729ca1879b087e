"""TLS from both sides: a client certificate that the server asks for, and authorities that we do not know."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.prometheus import PrometheusHook
from tests.services.faulty_prometheus import FaultyPrometheus

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server's certificate for 127.0.0.1 and a client's, each valid for an hour."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    directory = tmp_path_factory.mktemp("pki")
    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    issuer_key = ec.generate_private_key(ec.SECP256R1())
    for who in ("ca", "server", "client"):
        key = issuer_key if who == "ca" else ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name(who))
            .issuer_name(name("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        (directory / f"{who}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{who}.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
    return directory


def test_hook_uses_mutual_tls(prometheus_connection: Any, pki: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    mine = {"client_cert": str(pki / "client.pem"), "client_key": str(pki / "client.key")}

    async def ask(hook: PrometheusHook) -> Any:
        async with await hook.aclient() as client:
            return await client.instant("up", AT)

    with FaultyPrometheus("ok", tls=context) as server:
        for extra in ({"auth": "mtls", "ca_file": str(pki / "ca.pem"), **mine}, {"verify": False, **mine}):
            hook = prometheus_connection(server.url, extra=extra)
            assert hook.query("up", AT)[0].value == 1000
            assert asyncio.run(ask(hook))[0].value == 1000
        # Without a certificate of ours, and without an authority that vouches for the server's.
        for extra, reasons in (
            ({"ca_file": str(pki / "ca.pem"), "retries": 0}, {"tls", "connection_reset", "truncated"}),
            (mine, {"tls"}),
        ):
            hook = prometheus_connection(server.url, extra=extra)
            for question in (lambda hook=hook: hook.query("up", AT), lambda hook=hook: asyncio.run(ask(hook))):
                with pytest.raises(QueryError) as caught:
                    question()
                assert caught.value.reason in reasons
        assert len(server.requests) == 4


def test_missing_certificate_files_are_refused(prometheus_connection: Any, tmp_path: Path) -> None:
    for extra in ({"ca_file": str(tmp_path / "none.pem")}, {"client_cert": str(tmp_path / "none.pem")}):
        hook = prometheus_connection("https://127.0.0.1:1", extra=extra)
        with pytest.raises(QueryError) as caught:
            hook.query("up", AT)
        assert (caught.value.reason, caught.value.transient) == ("tls", False)

        async def ask(hook: PrometheusHook = hook) -> Any:
            async with await hook.aclient() as client:
                return await client.instant("up", AT)

        with pytest.raises(QueryError) as caught:
            asyncio.run(ask())
        assert (caught.value.reason, caught.value.transient) == ("tls", False)
