"""Keys and certificates for the tests, made when they are needed."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from tests.keys import private_pem


class Identity:
    """A key and a certificate of its own for localhost.

    `pem` has both, `certificate` only what others may see; `user` becomes the user id
    of the subject, where Apple puts the bundle id.
    """

    def __init__(self, directory: Path, name: str, user: str = "") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(self._key, name, user)
        public = self._certificate.public_bytes(Encoding.PEM)
        self.certificate = directory / f"{name}.crt"
        self.certificate.write_bytes(public)
        self.pem = directory / f"{name}.pem"
        self.pem.write_bytes(private_pem(self._key) + public)

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts this identity and nobody else."""
        return ssl.create_default_context(cafile=self.certificate)

    def keystore(self, file: Path, password: str) -> Path:
        """Write both into a .p12 file."""
        lock = BestAvailableEncryption(password.encode())
        content = pkcs12.serialize_key_and_certificates(
            b"apns", self._key, self._certificate, None, lock
        )
        file.write_bytes(content)
        return file


def _certificate(
    key: ec.EllipticCurvePrivateKey, name: str, user: str
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if user:
        attributes.append(x509.NameAttribute(NameOID.USER_ID, user))
    subject = x509.Name(attributes)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), address])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
