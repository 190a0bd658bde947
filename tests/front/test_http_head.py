"""Which heads are plain, which may become so, and what is read from them."""

import pytest

from cometd_chat.web.http_head import LONGEST, MOST_FIELDS, Head, HeadReader, Verdict

READER = HeadReader(["/cometd", "/genesys/cometd"], ["gms_user"])
LINE = b"POST /cometd HTTP/1.1\r\n"
REST = b"Host: x\r\nContent-Length: 7\r\n"


def head(*lines: bytes, line: bytes = LINE, rest: bytes = REST) -> bytes:
    """Return a head with these field lines between the first line and the usual."""
    return line + b"".join(each + b"\r\n" for each in lines) + rest + b"\r\n"


def test_a_plain_head_tells_its_size_the_length_of_the_body_and_the_fields() -> None:
    data = head(b"GMS_User: Cleo", b"Origin:  http://x \t", b"X-Other: 1")
    read = READER.read(data + b"message")
    assert isinstance(read, Head)
    assert (read.size, read.length) == (len(data), 7)
    assert read.fields == {
        "host": "x",
        "gms_user": "Cleo",
        "origin": "http://x",
        "content-length": "7",
    }


def test_what_lies_behind_the_head_does_not_matter() -> None:
    assert READER.read(head() + b"POST \n\0") == READER.read(head())


def test_it_may_be_read_from_a_buffer_that_grows() -> None:
    assert READER.read(bytearray(head())) == READER.read(head())


@pytest.mark.parametrize(
    "target",
    ["/cometd", "/cometd/", "/cometd/connect", "/genesys/cometd/a-b_c/D9"],
)
def test_the_addresses_may_have_a_path_behind_them(target: str) -> None:
    data = head(line=f"POST {target} HTTP/1.1\r\n".encode())
    assert isinstance(READER.read(data), Head)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /cometd HTTP/1.1\r\n",
        b"post /cometd HTTP/1.1\r\n",
        b"POST  /cometd HTTP/1.1\r\n",
        b"POST\t/cometd HTTP/1.1\r\n",
        b" POST /cometd HTTP/1.1\r\n",
        b"\r\nPOST /cometd HTTP/1.1\r\n",
        b"POST /cometd  HTTP/1.1\r\n",
        b"POST /cometd HTTP/1.1 \r\n",
        b"POST /cometd HTTP/1.0\r\n",
        b"POST /cometd HTTP/2.0\r\n",
        b"POST /cometd\r\n",
        b"POST /cometdx HTTP/1.1\r\n",
        b"POST /cometd? HTTP/1.1\r\n",
        b"POST /cometd/a%20b HTTP/1.1\r\n",
        b"POST /cometd/../x HTTP/1.1\r\n",
        b"POST //cometd HTTP/1.1\r\n",
        b"POST http://x/cometd HTTP/1.1\r\n",
        b"POST x:80 HTTP/1.1\r\n",
        b"POST * HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"POST /cometd HTTP/1.1\n",
    ],
)
def test_other_first_lines_are_foreign(line: bytes) -> None:
    assert READER.read(head(line=line)) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 7"],
        [b"content-length: 8"],
        [b"Host: y"],
        [b"Transfer-Encoding: chunked"],
        [b"transfer-encoding: identity"],
        [b"Expect: 100-continue"],
        [b"Upgrade: websocket"],
        [b"Connection: close"],
        [b"Connection: keep-alive, upgrade"],
        [b"Connection: keep-alive", b"Connection: keep-alive"],
        [b"Proxy-Connection: close"],
        [b"Content-Encoding: gzip"],
        [b"Trailer: x"],
        [b"Content-Type: a/b", b"content-type: a/b"],
        [b"User-Agent: a", b"User-Agent: a"],
        [b"Cookie: a=b", b"Cookie: c=d"],
        [b"Origin: http://x", b"Origin: http://y"],
        [b"gms_user: a", b"GMS_USER: b"],
        [b"ETag: a"],
        [b"X : y"],
        [b" X: y"],
        [b"X: y", b" folded"],
        [b"X: y", b"\tfolded"],
        [b"X"],
        [b": y"],
        [b"X(: y"],
        [b"X\0: y"],
        [b"X: y\0"],
        [b"X: \x01"],
        [b"X: \x7f"],
        [b"X: \xc3\xbc"],
        [b"X\xc3\xbc: y"],
        [b"X: y\rZ: z"],
        [b"X: y\nZ: z"],
        [b"X: y"] * (MOST_FIELDS - 1),
        [b"X: " + b"y" * LONGEST],
    ],
)
def test_fields_that_are_odd_or_come_twice_are_foreign(lines: list[bytes]) -> None:
    assert READER.read(head(*lines)) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "length",
    [
        b"",
        b"00",
        b"+7",
        b"-7",
        b"07",
        b"7 7",
        b"7,7",
        b"0x7",
        b"7.0",
        b"7" * 10,
        b"\t",
        b"7 ",
    ],
)
def test_other_lengths_are_foreign(length: bytes) -> None:
    data = head(rest=b"Host: x\r\nContent-Length: " + length + b"\r\n")
    assert READER.read(data) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "rest",
    [b"Host: x\r\n", b"Content-Length: 7\r\n", b"Host:\r\nContent-Length: 7\r\n"],
)
def test_without_a_length_or_a_host_it_is_foreign(rest: bytes) -> None:
    assert READER.read(head(rest=rest)) is Verdict.FOREIGN


@pytest.mark.parametrize("lines", [[b"Connection: Keep-Alive"], [b"X: "], [b"X:y"], []])
def test_usual_fields_are_plain(lines: list[bytes]) -> None:
    assert isinstance(READER.read(head(*lines)), Head)


def test_each_beginning_of_a_plain_head_is_incomplete() -> None:
    data = head(b"X: y")
    assert {READER.read(data[:n]) for n in range(len(data))} == {Verdict.INCOMPLETE}


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"POST x",
        b"POST /cometd HTTP/1.1\n",
        LINE + b"X: y\nHost",
        LINE + b"X: " + b"y" * LONGEST,
    ],
)
def test_what_cannot_become_plain_is_foreign_at_once(data: bytes) -> None:
    assert READER.read(data) is Verdict.FOREIGN


def test_names_that_are_part_of_an_address_are_no_patterns() -> None:
    reader = HeadReader(["/a.b/cometd"], [])
    assert isinstance(reader.read(head(line=b"POST /a.b/cometd HTTP/1.1\r\n")), Head)
    data = head(line=b"POST /axb/cometd HTTP/1.1\r\n")
    assert reader.read(data) is Verdict.FOREIGN


CALLS = HeadReader(["/cometd"], [], [r"/1/([a-z]++)/send", "/1/end"])


@pytest.mark.parametrize("target", ["/1/abc/send", "/1/end"])
def test_calls_are_told_from_messages(target: str) -> None:
    read = CALLS.read(head(line=f"POST {target} HTTP/1.1\r\n".encode()))
    assert isinstance(read, Head)
    assert read.call == target


def test_messages_are_no_calls() -> None:
    for reader in (READER, CALLS):
        read = reader.read(head(line=b"POST /cometd/1/end HTTP/1.1\r\n"))
        assert isinstance(read, Head)
        assert read.call is None


@pytest.mark.parametrize(
    "target", ["/1/abc/send/", "/1/ABC/send", "/x/1/end", "/1//send"]
)
def test_what_is_nearly_a_call_is_foreign(target: str) -> None:
    line = f"POST {target} HTTP/1.1\r\n".encode()
    assert CALLS.read(head(line=line)) is Verdict.FOREIGN
