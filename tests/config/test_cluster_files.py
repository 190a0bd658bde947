"""The example of a cluster: its files fit together, and the server."""

import re
from pathlib import Path

from cometd_chat.app import RELEASING
from cometd_chat.config import Config, load
from cometd_chat.web.listener import KEEPALIVE, LINGER

CLUSTER = Path(__file__).parents[2] / "config" / "cluster"
SECRET = {"COMETD_CHAT_AGENTS__SECRET": 32 * "x"}


def text(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


def loaded(env: dict[str, str]) -> Config:
    """Return the configuration of a node, about which there is nothing to say."""
    result = load(CLUSTER / "node.ini", env)
    assert result.problems == ()
    assert result.config is not None
    return result.config


def in_containers() -> dict[str, str]:
    """Return the environment of a node in a container."""
    found = re.findall(
        r'^    (COMETD_CHAT_\w+): "?([^"\n]*)"?$', text("compose.yaml"), re.M
    )
    return dict(found) | SECRET


def seconds(directive: str, name: str) -> int:
    found = re.search(rf"^ *{directive}:? +(\d+)s", text(name), re.M)
    assert found
    return int(found[1])


def test_a_node_is_configured_for_redis() -> None:
    assert loaded(SECRET).store.url == "redis://127.0.0.1:6379/0"
    assert "redis-server --port 6379 " in text("README.md")


def test_the_proxy_knows_the_nodes_of_this_machine() -> None:
    told = re.search(r"^for port in ([\d ]+); do", text("README.md"), re.M)
    assert told
    known = re.findall(r"server 127\.0\.0\.1:(\d+) ", text("nodes.conf"))
    assert known == told[1].split()


def test_the_proxy_knows_the_nodes_in_containers() -> None:
    compose = text("compose.yaml")
    known = re.findall(r"server ([\d.]+):(\d+) ", text("nodes-compose.conf"))
    addresses = re.findall(r"ipv4_address: ([\d.]+)", compose)
    assert [address for address, _ in known] == addresses
    assert len(set(addresses)) == 3
    config = loaded(in_containers())
    assert {int(port) for _, port in known} == {config.server.port}
    assert config.store.url == "redis://redis:6379/0"
    assert "\n  redis:\n" in compose
    (proxies,) = config.server.trusted_proxies
    assert f"subnet: {proxies}" in compose
    listens = re.search(r"listen (\d+);", text("nginx.conf"))
    assert listens
    assert f"{listens[1]}:{listens[1]}" in compose


def test_both_lists_of_nodes_have_the_same_options() -> None:
    here, there = (
        re.sub(r"server \S+", "server", text(name)).splitlines()[1:]
        for name in ("nodes.conf", "nodes-compose.conf")
    )
    assert here == there


def test_nobody_gives_up_before_the_other_one() -> None:
    config = loaded(SECRET)
    assert seconds("keepalive_timeout", "nodes.conf") < KEEPALIVE
    assert seconds("proxy_read_timeout", "nginx.conf") > config.bayeux.timeout
    stopping = config.server.shutdown_timeout * (1 + RELEASING) + LINGER
    assert seconds("stop_grace_period", "compose.yaml") > stopping


def test_the_proxy_tries_another_node_before_a_customer_counts_as_absent() -> None:
    absent = loaded(SECRET).bayeux.offline_after
    assert seconds("proxy_connect_timeout", "nginx.conf") < absent / 2
    assert "proxy_next_upstream error timeout;" in text("nginx.conf")


def test_the_proxy_tells_no_log_the_paths_of_chats() -> None:
    assert "access_log off;" in text("nginx.conf")
    assert "error_log stderr crit;" in text("nginx.conf")


def test_the_proxy_passes_all_headers_on() -> None:
    assert "underscores_in_headers on;" in text("nginx.conf")  # gms_user


def test_all_nodes_keep_files_in_the_same_place() -> None:
    assert loaded(SECRET).files.folder == "./data/files"
    assert "\nmkdir -p data\n" in text("README.md")  # its parent
    (volume,) = re.findall(r"^ +- files:(\S+)$", text("compose.yaml"), re.M)
    assert Path(loaded(in_containers()).files.folder).parent == Path(volume)
    assert f"install -d -o nobody {volume} " in text("Dockerfile")


def test_the_proxy_hands_uploads_on_as_they_come() -> None:
    assert "proxy_request_buffering off;" in text("nginx.conf")
    assert "client_max_body_size 0;" in text("nginx.conf")


def test_the_image_gets_what_the_package_is_built_from() -> None:
    wanted = {
        line[1:] for line in text("Dockerfile.dockerignore").split() if line[0] == "!"
    }
    assert wanted == {"bench", "cometd_chat", "LICENSE", "README.md", "pyproject.toml"}
    root = CLUSTER.parents[1]
    assert all((root / name).exists() for name in wanted)
    assert "/etc/cometd-chat.ini" in text("Dockerfile")
    assert "/etc/cometd-chat.ini" in text("compose.yaml")
