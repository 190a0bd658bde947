"""Who we are to APNs: a signing key (.p8), or a certificate (.p12 or PEM)."""

import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from weakref import WeakValueDictionary

import jwt
from aioapns.connection import AuthorizationHeaderProvider
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from cometd_chat.clock import Clock
from cometd_chat.config.push_options import ProviderOptions
from cometd_chat.push import OptionsError

YOUNGEST_RENEWAL = 20 * 60
"""Apple refuses teams that sign tokens more often (TooManyProviderTokenUpdates)."""

OLDEST_USE = 50 * 60
"""Apple refuses tokens older than an hour; the rest is for clocks that differ."""

TlsContext: TypeAlias = Callable[[], ssl.SSLContext]


class CredentialsError(OptionsError):
    """Credentials that cannot work."""


class Signer(AuthorizationHeaderProvider):
    """Makes the provider token and keeps it as long as Apple wants it kept."""

    def __init__(
        self, key: EllipticCurvePrivateKey, key_id: str, team_id: str, clock: Clock
    ) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._clock = clock
        self._mint()

    def get_header(self) -> str:
        """Return the value of the header `authorization`."""
        if self._age() >= OLDEST_USE:
            self._mint()
        return self._header

    def renew(self) -> None:
        """Take a new token, as Apple calls this one expired; not if it is young."""
        if self._age() >= YOUNGEST_RENEWAL:
            self._mint()

    def _mint(self) -> None:
        self._signed_at = self._clock.time()
        self._signed_mark = self._clock.monotonic()
        token = jwt.encode(
            {"iss": self._team_id, "iat": int(self._signed_at)},
            self._key,
            algorithm="ES256",
            headers={"kid": self._key_id},
        )
        self._header = f"bearer {token}"

    def _age(self) -> float:
        # One clock stands still while the machine sleeps, the other may be set back.
        wall = self._clock.time() - self._signed_at
        return max(wall, self._clock.monotonic() - self._signed_mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a connection needs to be let in; `signer` None: the certificate does it."""

    topic: str
    tls: ssl.SSLContext = field(repr=False)
    signer: Signer | None = field(default=None, repr=False)


def file_of(options: ProviderOptions) -> Path:
    """Return the file the credentials are in. Raises: CredentialsError."""
    file = options.apns_key_file or options.apple_keystore
    if not file:
        raise CredentialsError("apns.key_file or apple.keystore is needed")
    return file


def load(options: ProviderOptions, clock: Clock, tls: TlsContext) -> Credentials:
    """Read the credentials of a provider.

    Raises: CredentialsError; OSError if the file cannot be read.
    """
    context = tls()
    # Without ALPN some servers do not speak HTTP/2 (RFC 9113 §3.2).
    context.set_alpn_protocols(["h2"])
    content = file_of(options).read_bytes()
    if not options.apns_key_file:
        topic = _use_certificate(context, content, options.apple_keystore_password)
        return Credentials(topic=_topic(options.apns_topic or topic), tls=context)
    if not (options.apns_key_id and options.apns_team_id):
        raise CredentialsError("apns.key_id and apns.team_id belong to apns.key_file")
    signer = _signer(content, options.apns_key_id, options.apns_team_id, clock)
    return Credentials(topic=_topic(options.apns_topic), tls=context, signer=signer)


def _signer(pem: bytes, key_id: str, team_id: str, clock: Clock) -> Signer:
    """Return the one signer of this key: Apple counts tokens by key, not provider."""
    name = (pem, key_id, team_id)
    signer = _SIGNERS.get(name)
    if signer is None:
        signer = _SIGNERS[name] = Signer(_key(pem), key_id, team_id, clock)
    return signer


_SIGNERS: WeakValueDictionary[tuple[bytes, str, str], Signer] = WeakValueDictionary()


def _key(pem: bytes) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CredentialsError("apns.key_file holds no private key in PEM") from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise CredentialsError("apns.key_file holds no key for ES256 (curve P-256)")


def _topic(topic: str) -> str:
    if not topic:
        raise CredentialsError("apns.topic is needed: the bundle id of the app")
    if not (topic.isascii() and topic.isprintable() and " " not in topic):
        raise CredentialsError("apns.topic is no bundle id")
    return topic


def _use_certificate(context: ssl.SSLContext, content: bytes, password: str) -> str:
    """Make the context show the certificate; return the topic it is made for."""
    try:
        secret, pem = _as_pem(content, password)
        with tempfile.NamedTemporaryFile() as file:  # ssl reads files only
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name, password=secret)
        subject = x509.load_pem_x509_certificate(pem).subject
    except (ValueError, ssl.SSLError):
        text = "apple.keystore or its password is wrong"
        raise CredentialsError(text) from None
    users = subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(users[0].value) if users else ""


def _as_pem(content: bytes, password: str) -> tuple[str, bytes]:
    """Return the keystore as PEM whose key is encrypted, and the password of that."""
    if b"-----BEGIN" in content:
        return password, content
    found = pkcs12.load_pkcs12(content, password.encode() or None)
    if found.key is None or found.cert is None:
        raise ValueError("no key or no certificate")
    secret = os.urandom(32).hex()
    locked = BestAvailableEncryption(secret.encode())
    key = found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    chain = [found.cert, *found.additional_certs]
    certificates = (each.certificate.public_bytes(Encoding.PEM) for each in chain)
    return secret, b"".join((key, *certificates))
