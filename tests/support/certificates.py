"""An authority of the tests, and certificates that are good, too old, for somebody else, or signed by themselves."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Signs certificates; whoever trusts it trusts them."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """What a client that trusts it loads."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def trusting(self) -> ssl.SSLContext:
        """The context of a client that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.pem)

    def server(self, directory: Path, *, host: str = "127.0.0.1", days: int = 10, self_signed: bool = False) -> Path:
        """A file with the key and certificate of a server; ``days`` below zero: it is that much too old."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(
            "a server of the tests",
            key,
            None if self_signed else self,
            host=host,
            days=days,
        )
        path = directory / f"{host}-{days}-{self_signed}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path


@cache
def authority() -> Authority:
    """One for all tests of a process."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, _certificate("the authority of the tests", key, None))


def serving(path: Path) -> ssl.SSLContext:
    """The context of a server with what is in this file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: Authority | None, *, host: str | None = None, days: int = 10
) -> x509.Certificate:
    now = datetime.now(UTC)
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own_name)
        .issuer_name(own_name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if host is not None:
        alternative: x509.GeneralName
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
