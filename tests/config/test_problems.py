"""Whatever is wrong with a file, its author learns where, what, and what instead."""

from pathlib import Path

import pytest

from cometd_chat.config import load

CASES = Path(__file__).with_name("problems.txt").read_text("utf-8").split("\n=== ")[1:]


def said(file: Path, directory: Path) -> list[str]:
    """What is said about a file, without the directory it is in."""
    loaded = load(file, {})
    lines = [str(problem) for problem in loaded.problems]
    wrong = any(problem.severity == "error" for problem in loaded.problems)
    assert (loaded.config is None) == wrong
    return [line.replace(f"{directory}/", "") for line in lines]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.partition("\n")[0])
def test_mistake_gets_exactly_these_lines(case: str, tmp_path: Path) -> None:
    text, _, answer = case.partition("\n")[2].partition("\n--->\n")
    file = tmp_path / "chat.ini"
    file.write_text(text, encoding="utf-8")
    assert said(file, tmp_path) == answer.strip().split("\n")


BYTES = {
    "latin-1": (
        b"[chat]\ndefault_chat_endpoint = caf\xe9\n",
        ["chat.ini:2: error: byte 0xE9 is not UTF-8: save it as UTF-8"],
    ),
    "UTF-16": (
        "[server]\n".encode("utf-16"),
        ["chat.ini:1: error: the file is UTF-16: save it as UTF-8"],
    ),
    "a zero byte": (
        b"[server]\nhost = a\x00b\n",
        ["chat.ini:2: error: invisible character U+0000: delete it"],
    ),
    "a mark of another file's beginning": (
        "[server]\n\ufeffport = 1\n".encode(),
        ["chat.ini:2: error: invisible character U+FEFF: delete it"],
    ),
    "a number without end": (
        b"[server]\nport = " + b"9" * 5000,
        [f'chat.ini:2: error: [server] port = "{"9" * 120}…": expected port 0..65535'],
    ),
    "lines of Windows": (
        b"\xef\xbb\xbf[server]\r\nport = x\r\nxyz = a\r\n",
        [
            'chat.ini:2: error: [server] port = "x": expected port 0..65535',
            "chat.ini:3: warning: [server] xyz: unknown option (ignored)",
        ],
    ),
    "lines of an old Mac": (
        b"[server]\rport = x\r",
        ['chat.ini:2: error: [server] port = "x": expected port 0..65535'],
    ),
    "everything too long": (
        b"[server]\n" + b"#" * (1 << 20),
        ["chat.ini: error: is longer than 1048576 bytes"],
    ),
}


@pytest.mark.parametrize(("data", "answer"), BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_configuration(
    data: bytes, answer: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "chat.ini"
    file.write_bytes(data)
    assert said(file, tmp_path) == answer


def test_file_that_is_not_there(tmp_path: Path) -> None:
    line = "chat.ini: error: cannot be read: No such file or directory"
    assert said(tmp_path / "chat.ini", tmp_path) == [line]


def test_directory_in_place_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chat.ini"
    file.mkdir()
    assert said(file, tmp_path) == ["chat.ini: error: cannot be read: Is a directory"]


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "chat.ini"
    file.symlink_to(file)
    line = "chat.ini: error: cannot be read: Too many levels of symbolic links"
    assert said(file, tmp_path) == [line]


def test_path_of_a_key_file_must_name_a_file_that_can_be_read(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "k"
    directory.mkdir()
    file = tmp_path / "chat.ini"
    file.write_text(f"[server]\ntls_cert = {directory}\ntls_key = {directory}/key\n")
    assert said(file, tmp_path) == [
        'chat.ini:2: error: [server] tls_cert = "k": is a directory, expected a file',
        'chat.ini:3: error: [server] tls_key = "k/key": no such file',
    ]


@pytest.mark.parametrize("half", ["tls_cert", "tls_key"])
def test_one_half_of_tls_needs_the_other(half: str, tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.touch()
    file = tmp_path / "chat.ini"
    file.write_text(f"[server]\n{half} = {pem}\n")
    other = {"tls_cert": "tls_key", "tls_key": "tls_cert"}[half]
    assert said(file, tmp_path) == [f"chat.ini:2: error: [server] {half} needs {other}"]


def test_what_cannot_be_read_is_not_held_against_what_can(tmp_path: Path) -> None:
    """The lost line may have been the trusted proxies that the others need."""
    file = tmp_path / "chat.ini"
    file.write_bytes(
        b"[server]\nhost = 0.0.0.0\ntrusted_proxies = \xff\n"
        b"[auth]\ngms_user = trusted\n"
    )
    line = "chat.ini:3: error: byte 0xFF is not UTF-8: save it as UTF-8"
    assert said(file, tmp_path) == [line]


def test_no_message_repeats_a_secret() -> None:
    answers = [case.partition("\n--->\n")[2] for case in CASES]
    assert sum("hidden" in case for case in CASES) > 10
    assert not any("hidden" in answer for answer in answers)
