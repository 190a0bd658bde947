"""`check-config`, `config`, `init`, `version`."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cometd_chat import __version__
from cometd_chat.cli import main
from cometd_chat.config import load, render_doc

WRONG = """\
[server]
port = many
hots = localhost
[bayeux]
timeout = soon
"""


def call(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], env=env)


def test_check_config_tells_all_problems_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "chat.ini"
    path.write_text(WRONG)
    result = call("check-config", path)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.removeprefix(f"{path}:")[:8] for line in lines] == [
        "2: error",
        "3: warni",
        "5: error",
    ]
    assert result.stdout == f"{path}: 2 errors, 1 warning\n"


def test_check_config_accepts_warnings(tmp_path: Path) -> None:
    path = tmp_path / "chat.ini"
    path.write_text("[server]\nhots = localhost\n")
    result = call("check-config", path)
    assert result.exit_code == 0
    assert "Did you mean host?" in result.stderr


@pytest.mark.parametrize("name", ["none.ini", "."])
def test_check_config_names_a_file_that_cannot_be_read(
    tmp_path: Path, name: str
) -> None:
    result = call("check-config", tmp_path / name)
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_check_config_without_a_file_checks_the_environment() -> None:
    assert call("check-config").exit_code == 0
    result = call("check-config", env={"COMETD_CHAT_SERVER__PORT": "many"})
    assert result.exit_code == 2
    assert "COMETD_CHAT_SERVER__PORT: error" in result.stderr


def test_config_show_has_values_with_their_origin_and_no_secret(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chat.ini"
    secret = 40 * "s"
    path.write_text(f"[server]\nport = 1234\n[agents]\nsecret = {secret}\n")
    result = call("config", "show", "--config", path)
    assert result.exit_code == 0
    (port,) = [line for line in result.stdout.splitlines() if "port = " in line]
    assert port.startswith("port = 1234")
    assert f"{path}:2" in port
    assert secret not in result.output


def test_config_show_of_a_wrong_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.ini"
    path.write_text(WRONG)
    result = call("config", "show", "--config", path)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_config_doc_prints_the_reference() -> None:
    result = call("config", "doc")
    assert result.exit_code == 0
    assert result.stdout == render_doc()


def test_init_writes_a_configuration_that_can_be_used_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    result = call("init", folder)
    assert result.exit_code == 0
    path = folder / "cometd-chat.ini"
    assert f"serve --config {path}" in result.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load(path, {})
    assert loaded.problems == ()
    assert loaded.config is not None
    assert len(loaded.config.agents.secret) >= 32
    assert loaded.config.agents.secret not in result.output


def test_init_makes_another_secret_each_time(tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert call("init", tmp_path / name).exit_code == 0
    one, other = (tmp_path / n / "cometd-chat.ini" for n in ("one", "other"))
    assert one.read_text() != other.read_text()


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "cometd-chat.ini"
    path.write_text("mine")
    result = call("init", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {path} is there already: it stays\n"
    assert path.read_text() == "mine"


def test_init_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("init", tmp_path / "file" / "folder")
    assert result.exit_code == 1
    assert "cannot be written: Not a directory" in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert call("version").stdout.startswith(f"cometd-chat {__version__} ")
    assert __version__ in call("--version").stdout


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["demo"],
        ["check-config"],
        ["config", "show"],
        ["config", "doc"],
        ["init"],
        ["agent", "token"],
        ["push", "test"],
        ["push", "sent"],
        ["send"],
        ["tail"],
        ["version"],
    ],
)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: cometd-chat {' '.join(command)}" in result.stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    result = call("server")
    assert result.exit_code == 2
    assert "No such command 'server'" in result.stderr
