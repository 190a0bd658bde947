"""Parameters of a GMS request: from the query, a form, a multipart body or JSON.

GMS documents forms; its clients send all four, also mixed and also nothing at all.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from msgspec import DecodeError, json

from cometd_chat.gms.v1 import V1Error

from .limits import read_body, within

MAX_FIELDS = 256
"""Most fields of one form; user data has its own, smaller limit."""


async def read_parameters(request: web.Request, seconds: float) -> dict[str, str]:
    """Return all parameters; what the body says wins over the query.

    Raises: V1Error for what cannot be read (415 for an unknown content type);
    HTTPException for what breaks the limits of size, time and encoding.
    """
    parameters = dict(_form(request.rel_url.raw_query_string))
    if request.content_type == "multipart/form-data":
        return parameters | await _multipart(request, seconds)
    body = await read_body(request, seconds)
    media = request.content_type if "Content-Type" in request.headers else FORM
    return parameters | parameters_in(body, media)


def parameters_in(body: bytes, media: str) -> dict[str, str]:
    """Return the parameters that the body brings.

    Raises: V1Error as above.
    """
    if not body.strip():
        return {}
    if media in MEDIA:
        return MEDIA[media](body)
    raise V1Error(
        "Content-Type: a form, multipart/form-data or application/json is needed",
        status=415,
        exception="UnsupportedMediaTypeException",
    )


def _form(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise V1Error("The form is malformed or has too many fields") from None
    return dict(pairs)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise V1Error("The body is not UTF-8") from None


def _json(body: bytes) -> dict[str, str]:
    try:
        fields = json.decode(body, type=dict[str, Any])
    except (DecodeError, RecursionError):
        raise V1Error("The body is not a JSON object") from None
    return {k: _scalar(k, v) for k, v in fields.items() if v is not None}


FORM = "application/x-www-form-urlencoded"
MEDIA: Mapping[str, Callable[[bytes], dict[str, str]]] = {
    FORM: lambda body: _form(_text(body)),
    "application/json": _json,
}
"""How bodies are read that are there as a whole."""


def _scalar(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case _:
            raise V1Error(f"{name[:64]}: a text, a number or a boolean is needed")


async def _multipart(request: web.Request, seconds: float) -> dict[str, str]:
    try:
        fields: Mapping[str, Any] = await within(seconds, request.post())
    except (ValueError, LookupError):
        raise V1Error("The multipart body is malformed") from None
    return {name: _part(name, value) for name, value in fields.items()}


def _part(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bytes() | bytearray():
            return _text(bytes(value))
        case _:
            raise V1Error(f"{name[:64]}: a file is not expected here")
