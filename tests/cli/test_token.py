"""`agent token`: what it says, and who makes tokens when it cannot."""

import time
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from cometd_chat.cli import main
from tests.cli.conftest import TokenOf
from tests.cli.program import Server
from tests.clients.agent import AgentClient
from tests.clients.raw import V1Chat

SECRET = "a secret of the tests, long enough for HS256"


def make(tmp_path: Path, *arguments: str, agents: str = f"secret = {SECRET}") -> Result:
    config = tmp_path / "chat.ini"
    url = f"sqlite:///{tmp_path}/chat.db"
    config.write_text(f"[store]\nurl = {url}\n[agents]\n{agents}\n")
    command = ["agent", "token", "--config", str(config), *arguments]
    return CliRunner().invoke(main, command)


def claims(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    token = result.stdout.splitlines()[-1]
    found: dict[str, object] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return found


async def test_a_token_made_beside_a_running_server_lets_the_agent_work(
    server: Server, token_of: TokenOf
) -> None:
    async with (
        V1Chat(f"{server.url}/genesys") as chat,
        AgentClient(f"{server.url}/cometd", token_of("Ann")) as agent,
    ):
        await chat.start(message="Hello?")
        await agent.start()
        await agent.publish(
            "/service/agent", {"operation": "acceptChat", "chatId": chat.session_id}
        )
        await agent.wait_for_text(chat.session_id, "Hello?")


def test_the_name_is_the_id_and_twelve_hours_are_the_time_by_default(
    tmp_path: Path,
) -> None:
    before = int(time.time())
    found = claims(make(tmp_path, "--name", "Ann"))
    assert found["iat"] in {before, before + 1, before + 2}
    assert found.pop("exp") == found.pop("iat") + 12 * 3600
    assert found == {"sub": "Ann", "name": "Ann", "role": "agent", "services": []}


def test_everything_can_be_said(tmp_path: Path) -> None:
    options = "--name Ann --id a-1 --role supervisor --service x --service y --ttl 90s"
    found = claims(make(tmp_path, *options.split()))
    assert found["exp"] - found["iat"] == 90
    assert found["sub"] == "a-1"
    assert found["role"] == "supervisor"
    assert found["services"] == ["x", "y"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("--name Ann --ttl 0s", "expected duration 1s..3650d"),
        ("--name Ann --ttl soon", "expected duration 1s..3650d"),
        ("--name Ann --role admin", "'admin' is not one of"),
        ("", "Missing option '--name'"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, options: str, what: str) -> None:
    result = make(tmp_path, *options.split())
    assert result.exit_code == 2
    assert what in result.stderr
    assert result.stdout == ""


def test_a_blank_name_is_none(tmp_path: Path) -> None:
    result = make(tmp_path, "--name", " ")
    assert result.exit_code == 2
    assert "--name is empty" in result.stderr


def test_with_a_key_set_others_make_the_tokens(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    result = make(tmp_path, "--name", "Ann", agents=f"jwks = {keys}")
    assert result.exit_code == 1
    assert "[agents] jwks" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "agents.secret").exists()


def test_errors_of_the_configuration_come_first(tmp_path: Path) -> None:
    result = make(tmp_path, "--name", "Ann", agents="secret = short")
    assert result.exit_code == 2
    assert "[agents] secret" in result.stderr
    assert "short" not in result.output
