"""What requests about files say (tus 1.0.0), read and checked before anybody is asked.

Pure: header fields come in, values or refusals go out.
"""

import re
from base64 import b64decode
from collections.abc import Mapping

from cometd_chat.chat import Announcement
from cometd_chat.gms.values import LONGEST_ID, fault

from .rest_v1 import IDEMPOTENCY_KEY

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
OFFSET_STREAM = "application/offset+octet-stream"

_OVERRIDING = ("PATCH", "DELETE", "HEAD")
_NUMBER = re.compile(r"[0-9]{1,18}").fullmatch


class RefusedError(Exception):
    """What is answered before anybody is asked: a status, words, header fields."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {n.replace("_", "-"): value for n, value in headers.items()}


def refuse_version(headers: Mapping[str, str]) -> None:
    """Raises: RefusedError for a request of another version of tus, or of none."""
    if headers.get("Tus-Resumable") != VERSION:
        raise RefusedError(
            412, f"Tus-Resumable: {VERSION} is needed", Tus_Version=VERSION
        )


def proof_of(headers: Mapping[str, str]) -> str:
    """Return the secret by which the sender proves who he is. Raises: RefusedError."""
    scheme, _, proof = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not proof.strip():
        raise RefusedError(
            401,
            "Authorization: Bearer, with the key of the chat or an agent's token",
            WWW_Authenticate="Bearer",
        )
    return proof.strip()


def method_of(headers: Mapping[str, str]) -> str:
    """Return the method that is meant by a POST to a file. Raises: RefusedError."""
    method = headers.get("X-HTTP-Method-Override", "")
    if method not in _OVERRIDING:
        raise RefusedError(405, f"X-HTTP-Method-Override: {' or '.join(_OVERRIDING)}")
    return method


def brings_bytes(headers: Mapping[str, str]) -> bool:
    """Tell whether the body is bytes of a file. Raises: RefusedError."""
    media, _, _ = headers.get("Content-Type", "").partition(";")
    if media.strip().lower() != OFFSET_STREAM:
        return False
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(415, "Send the file without compression")
    return True


def offset_of(headers: Mapping[str, str]) -> int:
    """Return where the bytes of a PATCH belong. Raises: RefusedError."""
    if not brings_bytes(headers):
        raise RefusedError(415, f"Content-Type: {OFFSET_STREAM} is needed")
    return _number(headers, "Upload-Offset")


def announcement_of(headers: Mapping[str, str]) -> Announcement:
    """Return the file that will be sent. Raises: RefusedError."""
    size = _number(headers, "Upload-Length")
    told = headers.get("Upload-Metadata", "")
    key = headers.get(IDEMPOTENCY_KEY, "")
    if wrong := fault(key, LONGEST_ID):
        raise RefusedError(400, f"{IDEMPOTENCY_KEY}: {wrong}")
    try:
        values = _metadata(told)
        return Announcement(
            name=values.get("filename", b"").decode(),
            type=values.get("filetype", b"").decode(),
            size=size,
            told=told,
            key=key,
        )
    except ValueError:
        raise RefusedError(400, "Upload-Metadata: base64 is needed") from None


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not _NUMBER(text):
        raise RefusedError(400, f"{name}: a number of bytes is needed")
    return int(text)


def _metadata(header: str) -> dict[str, bytes]:
    """Return what tus clients tell about a file: key, space, base64; with commas.

    Raises: ValueError.
    """
    told: dict[str, bytes] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        if not key.isascii():  # it could not be sent back
            raise ValueError
        told[key] = b64decode(value.strip(), validate=True)
    return told
