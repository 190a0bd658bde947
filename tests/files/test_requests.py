"""What requests about files say, whoever wrote their header fields."""

import contextlib
from base64 import b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cometd_chat.chat import Announcement
from cometd_chat.web.file_requests import (
    OFFSET_STREAM,
    RefusedError,
    announcement_of,
    brings_bytes,
    method_of,
    offset_of,
    proof_of,
    refuse_version,
)

STREAM = {"Content-Type": OFFSET_STREAM}


def test_an_announcement_has_size_name_type_and_key() -> None:
    told = "filename TcOkcnoucGRm,filetype YXBwbGljYXRpb24vcGRm, private"
    headers = CIMultiDict(
        {"upload-length": "7", "upload-metadata": told, "idempotency-key": "k" * 128}
    )
    assert announcement_of(headers) == Announcement(
        name="März.pdf", type="application/pdf", size=7, told=told, key="k" * 128
    )


def test_a_key_is_taken_as_a_whole_or_not_at_all() -> None:
    """Two that begin alike name two files."""
    headers = {"Upload-Length": "7", "Idempotency-Key": "k" * 129}
    assert _refused(announcement_of, headers) == 400


def test_an_announcement_may_tell_nothing_but_its_size() -> None:
    known = announcement_of({"Upload-Length": "0"})
    assert known == Announcement(name="", type="", size=0)


@given(st.dictionaries(st.sampled_from(["filename", "x"]), st.text(), max_size=2))
def test_what_was_told_in_base64_is_read(told: dict[str, str]) -> None:
    pairs = [f"{k} {b64encode(v.encode()).decode()}" for k, v in told.items()]
    headers = {"Upload-Length": "1", "Upload-Metadata": ",".join(pairs)}
    assert announcement_of(headers).name == told.get("filename", "")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_words_are_read_or_refused(size: str, told: str) -> None:
    headers = {"Upload-Length": size, "Upload-Metadata": told}
    with contextlib.suppress(RefusedError):
        assert announcement_of(headers).size >= 0


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1 ", "1_0", "٣", "1" * 19])
def test_a_number_has_digits_only(text: str) -> None:
    for read, name in (
        (announcement_of, "Upload-Length"),
        (offset_of, "Upload-Offset"),
    ):
        assert _refused(read, {**STREAM, name: text}) == 400


def test_bytes_are_announced_by_their_type() -> None:
    assert brings_bytes({"Content-Type": "Application/Offset+Octet-Stream ; x=y"})
    assert not brings_bytes({"Content-Type": "application/octet-stream"})
    assert not brings_bytes({})
    assert brings_bytes({**STREAM, "Content-Encoding": "Identity"})
    assert _refused(brings_bytes, {**STREAM, "Content-Encoding": "gzip"}) == 415


def test_an_offset_belongs_to_bytes() -> None:
    assert offset_of({**STREAM, "Upload-Offset": "12"}) == 12
    assert _refused(offset_of, {"Upload-Offset": "12"}) == 415


def test_one_version_is_understood() -> None:
    refuse_version({"Tus-Resumable": "1.0.0"})
    for headers in ({}, {"Tus-Resumable": "1.0"}):
        with pytest.raises(RefusedError) as refused:
            refuse_version(headers)
        assert refused.value.status == 412
        assert refused.value.headers == {"Tus-Version": "1.0.0"}


def test_a_proof_is_what_follows_bearer() -> None:
    assert proof_of({"Authorization": "bearer  abc "}) == "abc"
    for value in ("", "Bearer", "Bearer  ", "Basic abc"):
        assert _refused(proof_of, {"Authorization": value}) == 401


def test_a_post_may_mean_another_method() -> None:
    for method in ("PATCH", "DELETE", "HEAD"):
        assert method_of({"X-HTTP-Method-Override": method}) == method
    for method in ("", "GET", "patch"):
        assert _refused(method_of, {"X-HTTP-Method-Override": method}) == 405


def _refused(read: Callable[[dict[str, str]], object], headers: dict[str, str]) -> int:
    with pytest.raises(RefusedError) as refused:
        read(headers)
    return refused.value.status
