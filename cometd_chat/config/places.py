"""Kinds of values that name a place: hosts and URLs, channels, the store, files."""

import os
import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from cometd_chat.config.kinds import Kind, RejectedError, listing

Network: TypeAlias = IPv4Network | IPv6Network


def _matching(pattern: str) -> Callable[[str], str]:
    """Return what takes texts of this form, of ASCII, as they are."""
    fits = re.compile(pattern, re.ASCII).fullmatch

    def parse(text: str) -> str:
        if not fits(text):
            raise RejectedError
        return text

    return parse


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise RejectedError(f'"{text}" is no address and no network') from None
    if network.prefixlen == 0:
        raise RejectedError(f'"{text}" would trust everybody')
    if network.network_address != ip_address(text.partition("/")[0]):
        raise RejectedError(f'"{text}" has bits beyond its mask, expected {network}')
    return network


NETWORKS = listing("list of networks", _network, allowed="such as 10.0.0.0/8")


def _channel(text: str) -> str:
    segments = re.fullmatch(r"/([\w!~()$@-]+)(/[\w!~()$@-]+)*(/\*\*?)?", text, re.ASCII)
    if not segments:
        raise RejectedError(f'"{text}" is no channel such as /news or /news/**')
    if segments[1] in {"meta", "service", "_genesys"}:
        raise RejectedError(f'"{text}" is not open to broadcasts')
    return text


# Apps in a web view have schemes of their own, such as capacitor://localhost.
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-\[\]:]+").fullmatch


def _origin(text: str) -> str:
    if not _ORIGIN(text):
        raise RejectedError
    return text


ORIGINS = listing("list of origins", _origin, allowed="such as https://www.example.com")

CHANNELS = listing("list of channels", _channel, allowed="such as /news or /news/**")


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        labels = r"(?!.*\.[0-9]+$)(?![0-9]+$)[a-z0-9]([a-z0-9_.-]*[a-z0-9])?"
        if not re.fullmatch(labels, text, re.ASCII | re.IGNORECASE):
            raise RejectedError from None
        return text


def _guess_host(text: str) -> Iterable[str]:
    bare = re.sub(r"^\w+://", "", text).partition("/")[0]
    return (bare.strip("[]"), re.sub(r"\]?:[0-9]*$", "", bare).strip("["))


HOST = Kind(
    noun="address or host name",
    allowed="without port",
    parse=_host,
    guesses=_guess_host,
)


BASE_PATH = Kind(
    noun="path",
    allowed="such as /genesys",
    parse=_matching(r"(/[\w~-][\w.~-]*)+"),
    guesses=lambda text: ("/" + text.strip("/"),),
)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"[\s#]", text):
        raise RejectedError
    return text


URL = Kind(noun="address", allowed="such as https://example.com/path", parse=_url)


def _url_of(scheme: str, example: str) -> Kind[str]:
    def parse(text: str) -> str:
        if urlsplit(_url(text)).scheme != scheme:
            raise RejectedError(f"expected {scheme}://, as in {example}")
        return text

    return Kind(noun="address", allowed=f"such as {example}", parse=parse)


HTTPS_URL = _url_of("https", "https://api.push.apple.com")

HTTP_URL = _url_of("http", "http://proxy.example.com:3128")


def _contact(text: str) -> str:
    if not re.fullmatch(r"mailto:[^\s@]+@[^\s@]+|https://[^\s/]+\S*", text):
        raise RejectedError
    return text


CONTACT = Kind(
    noun="contact",
    allowed="such as mailto:push@example.com or https://example.com",
    parse=_contact,
    guesses=lambda text: (f"mailto:{text}",),
)


MOST_PORT = 65_535
_REDIS = r"rediss?://"
_REDIS_CLUSTER = r"rediss?\+cluster://"
_REDIS_HOST = r"(\[[^\s\[\]]+\]|[^\s@/,:\[\]]+)(:\d+)?"
_REDIS_HOSTS = rf"([^\s@/]*@)?{_REDIS_HOST}(,{_REDIS_HOST})*"


def _store_url(text: str) -> str:
    ports = re.findall(r":(\d+)(?=[,/]|$)", text)
    if text.startswith("redis") and not all(0 < int(p) <= MOST_PORT for p in ports):
        raise RejectedError(f"expected ports from 1 to {MOST_PORT}")
    if re.fullmatch(rf"{_REDIS}{_REDIS_HOSTS}(/\d*)?", text):
        return text
    if re.fullmatch(rf"{_REDIS_CLUSTER}{_REDIS_HOSTS}/?", text):
        return text
    if re.match(_REDIS, text):
        raise RejectedError("expected redis://host:6379, or redis://one,two for two")
    if re.match(_REDIS_CLUSTER, text):
        raise RejectedError("expected redis+cluster://one,two and no database")
    if not re.fullmatch(r"sqlite:///[^\n]*[^/\n]", text):
        raise RejectedError
    return text


# Braces would be taken for the hash tag of a cluster; the rules of users (ACL) have
# other meanings for * ? [ ] and blanks.
KEY_PREFIX = Kind(
    noun="prefix",
    allowed="of 1 to 64 letters, digits and . : _ -",
    parse=_matching(r"[\w.:-]{1,64}"),
)


def _guess_store_url(text: str) -> Iterable[str]:
    # no guess from another scheme: a file of that name would surprise everybody
    path = text.removeprefix("sqlite:").lstrip("/")
    return () if ":" in path else (f"sqlite:///{path}",)


STORE_URL = Kind(
    noun="store",
    allowed="such as sqlite:///./data/cometd-chat.db or redis://cache:6379",
    parse=_store_url,
    guesses=_guess_store_url,
)


def _file(text: str) -> Path:
    path = Path(text)
    if not text or "\n" in text:
        raise RejectedError
    if re.match(r"https?://", text):
        raise RejectedError("this build reads no addresses, expected a path")
    if path.is_dir():
        raise RejectedError("is a directory, expected a file")
    if not os.access(path, os.R_OK):
        there = path.exists()
        raise RejectedError("not readable by this user" if there else "no such file")
    return path


FILE = Kind(noun="path of a readable file", parse=_file)


def _folder(text: str) -> str:
    if not text or "\n" in text or "://" in text:
        raise RejectedError
    if Path(text).exists() and not Path(text).is_dir():
        raise RejectedError("is a file, expected a folder")
    return text


FOLDER = Kind(
    noun="path of a folder",
    allowed="such as /srv/chat/files",
    parse=_folder,
    guesses=lambda text: (re.sub(r"^file://(?=/)", "", text),),
)


BUCKET = Kind(
    noun="name of a bucket",
    allowed="such as chat-files, or chat-files/prefix",
    parse=_matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*"),
    guesses=lambda text: (text.removeprefix("s3://").rstrip("/").lower(),),
)


_EXTENSION = re.compile(r"[a-z0-9]{1,16}").fullmatch


def _extensions(text: str) -> tuple[str, ...]:
    # GMS separates them by colons.
    words = [w.strip().removeprefix(".").lower() for w in re.split(r"[,:\s]", text)]
    for word in filter(None, words):
        if word != "*" and not _EXTENSION(word):
            raise RejectedError(f'"{word}" is no extension such as pdf')
    return tuple(dict.fromkeys(filter(None, words)))


EXTENSIONS: Kind[tuple[str, ...]] = Kind(
    noun="list of extensions",
    allowed="such as jpg:png:pdf; * is any",
    parse=_extensions,
    show=":".join,
    many=True,
)
