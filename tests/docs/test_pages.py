"""What every page must keep: its links, commands, options and values exist."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cometd_chat.cli import main
from cometd_chat.config import loads
from cometd_chat.config.sections import FIXED, section_of

from .pages import PAGES, ROOT, anchors, blocks, commands, links, prose

BY_NAME = {str(page.relative_to(ROOT)): page for page in PAGES}


def test_there_are_pages() -> None:
    assert {"README.md", "docs/customers.md", "docs/reliability.md"} <= BY_NAME.keys()


@pytest.mark.parametrize("name", BY_NAME)
def test_links_lead_to_files_and_headings_that_exist(name: str) -> None:
    page = BY_NAME[name]
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("name", BY_NAME)
def test_tables_begin_with_their_header(name: str) -> None:
    lines = ["", *prose(BY_NAME[name]).splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert re.fullmatch(r"\|[ |:-]+\|", after), line


@pytest.mark.parametrize("name", BY_NAME)
def test_json_can_be_read(name: str) -> None:
    for block in blocks(BY_NAME[name], "json"):
        json.loads(block)


@pytest.mark.parametrize("name", BY_NAME)
def test_configurations_have_no_problems(name: str) -> None:
    for block in blocks(BY_NAME[name], "ini"):
        assert not loads(block).problems


@pytest.mark.parametrize("name", BY_NAME)
def test_options_that_are_named_exist(name: str) -> None:
    for section, option in re.findall(r"`\[(\w+)\] (\w+)`", prose(BY_NAME[name])):
        assert section in FIXED, section
        kind = section_of(section)
        assert kind is not None
        assert option in {o.name for o in kind.options}, f"[{section}] {option}"


@pytest.mark.parametrize("name", BY_NAME)
def test_project_files_that_are_named_exist(name: str) -> None:
    named = re.findall(
        r"\b((?:tests|scripts|docs|config)/[\w./-]*\w)", prose(BY_NAME[name])
    )
    for path in named:
        assert (ROOT / path).exists(), path


def help_of(command: list[str]) -> str:
    result = CliRunner().invoke(main, [*command, "--help"], prog_name="cometd-chat")
    assert result.exit_code == 0, f"{command}: {result.output}"
    return result.output


def subcommands(text: str) -> set[str]:
    _, _, listed = text.partition("\nCommands:\n")
    return set(re.findall(r"^  ([\w-]+)", listed, re.MULTILINE))


def check_command(words: list[str]) -> None:
    """Walk down to the command, then look for its options and count its arguments."""
    command: list[str] = []
    text = help_of(command)
    while words and words[0] in subcommands(text):
        command.append(words.pop(0))
        text = help_of(command)
    assert command, f"no such command: {words[:1]}"
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"^  (?:-\w, )?{word}\b", text, re.MULTILINE), word
    assert not subcommands(text) or not words, f"{command} has no {words[:1]}"


@pytest.mark.parametrize("name", BY_NAME)
def test_commands_that_are_named_exist_with_these_options(name: str) -> None:
    for words in commands(BY_NAME[name]):
        check_command(words)


@pytest.mark.parametrize("words", [["sing"], ["config", "sing"], ["serve", "--sing"]])
def test_a_command_that_does_not_exist_is_found(words: list[str]) -> None:
    with pytest.raises(AssertionError, match="sing"):
        check_command(words)


def test_the_commands_of_a_page_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `cometd-chat config doc`, or:\n\n```console\n"
        "$ export T=$(.venv/bin/cometd-chat agent token --name Ann | tail -n 1)\n"
        "$ cometd-chat tail\n```\n"
    )
    assert commands(page) == [
        ["agent", "token", "--name", "Ann"],
        ["tail"],
        ["config", "doc"],
    ]
