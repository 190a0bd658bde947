"""What is said to take effect at once does so while the server runs."""

import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from cometd_chat.agent_secret import with_agent_secret
from cometd_chat.app import Node
from cometd_chat.app.process import Reloader
from cometd_chat.config import Config, LiveConfig, Reload, changes, load, loads
from tests.clients.raw import BayeuxClient, V1Chat
from tests.clients.ws import SocketClient, upgrade


def config(folder: Path, more: str = "") -> Config:
    store = f"[store]\nurl = sqlite:///{folder}/chat.db\n"
    loaded = loads(f"[server]\nport = 0\n{store}{more}")
    assert loaded.config is not None, loaded.problems
    return loaded.config


async def test_fewer_handshakes_a_second_have_to_wait(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        url = f"{node.url}/cometd"
        async with BayeuxClient(url) as before:
            assert (await before.handshake())["successful"]
        node.replace(config(tmp_path, "[bayeux]\nhandshakes_per_second = 1\n"))
        begun = time.monotonic()
        async with BayeuxClient(url) as one, BayeuxClient(url) as other:
            await one.handshake()
            await other.handshake()
        assert time.monotonic() - begun > 0.5


async def test_more_sockets_are_let_in(tmp_path: Path) -> None:
    async with Node(config(tmp_path, "[limits]\nclients = 1\n")) as node:
        url = f"{node.url}/cometd"
        async with SocketClient(url) as client:
            await client.handshake()
            assert await upgrade(url) == 503
            node.replace(config(tmp_path, "[limits]\nclients = 2\n"))
            assert await upgrade(url) == 101


def test_pushes_and_proxies_are_looked_up_each_time(tmp_path: Path) -> None:
    now = "[server]\nport = 0\ntrusted_proxies = 10.0.0.1\n[push]\npushEnabled = ios\n"
    later = loads(f"{now}[store]\nurl = sqlite:///{tmp_path}/chat.db\n").config
    assert later is not None
    assert {
        change.option: change.reload for change in changes(config(tmp_path), later)
    } == {
        "trusted_proxies": Reload.LIVE,
        "pushEnabled": Reload.LIVE,
    }


class Running:
    """What a reloader needs of a node."""

    def __init__(self, path: Path) -> None:
        config = load(path, {}).config
        assert config is not None
        self.live = LiveConfig(with_agent_secret(config))
        self.replace = self.live.replace


async def test_half_a_file_is_not_put_in_force(tmp_path: Path) -> None:
    path = tmp_path / "chat.ini"
    service = "[service.sales]\n_client_timeout_notification = 7\n"
    whole = f"[agents]\nsecret = {'s' * 40}\n{service}"
    path.write_text(whole)
    node: Any = Running(path)
    reloader = Reloader(path, {}, node)

    def delay() -> Any:
        return node.live.current.service("sales").client_timeout_notification

    path.write_text(whole.removesuffix(service))  # whoever writes it is not done
    await reloader.check()
    assert delay() == 7
    path.write_text(whole.replace("= 7", "= 12"))
    await reloader.check()
    assert delay() == 7
    await reloader.check()
    assert delay() == 12
    path.write_text(whole)
    reloader.reload()  # whoever sends a signal is done
    assert delay() == 7


def test_agents_keep_their_tokens_until_another_database_is_in_use(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chat.ini"
    path.write_text(f"[store]\nurl = sqlite:///{tmp_path}/one/chat.db\n")
    node: Any = Running(path)
    reloader = Reloader(path, {}, node)
    secret = node.live.current.agents.secret
    path.write_text(f"[store]\nurl = sqlite:///{tmp_path}/two/chat.db\n")
    reloader.reload()
    reloader.reload()
    assert node.live.current.store.url.endswith("two/chat.db")
    assert node.live.current.agents.secret == secret


def test_agents_keep_their_tokens_until_a_file_is_in_use_instead_of_redis(
    tmp_path: Path,
) -> None:
    path, secret = tmp_path / "chat.ini", "s" * 40
    path.write_text(f"[store]\nurl = redis://h/0\n[agents]\nsecret = {secret}\n")
    node: Any = Running(path)
    reloader = Reloader(path, {}, node)
    path.write_text(f"[store]\nurl = sqlite:///{tmp_path}/chat.db\n")
    with chdir(tmp_path):
        reloader.reload()
    assert node.live.current.store.url.startswith("sqlite:")
    assert node.live.current.agents.secret == secret
    assert list(tmp_path.iterdir()) == [path]


def test_the_cookie_stays_until_the_next_start(tmp_path: Path) -> None:
    other = "browser_cookie = off\nbrowser_cookie_partitioned = yes\n"
    changed = changes(config(tmp_path), config(tmp_path, f"[bayeux]\n{other}"))
    assert {change.option: change.reload for change in changed} == {
        "browser_cookie": Reload.RESTART,
        "browser_cookie_partitioned": Reload.RESTART,
    }


async def test_replies_are_cut_at_the_new_size(tmp_path: Path) -> None:
    async with (
        Node(config(tmp_path)) as node,
        V1Chat(f"{node.url}/genesys") as chat,
    ):
        await chat.start(notify_by="comet")
        for number in range(4):
            await chat.send(f"{number} {'x' * 600}")
        whole = await fetched_at_once(node, chat)
        node.replace(config(tmp_path, "[limits]\nreply = 1KiB\n"))
        assert 0 < await fetched_at_once(node, chat) < whole


async def fetched_at_once(node: Node, chat: V1Chat) -> int:
    """Return how many entries the answer to the first poll of an app brings."""
    async with BayeuxClient(f"{node.url}/cometd") as app:
        await app.handshake(ext={"serviceId": chat.service_id})
        await app.subscribe("/_genesys")
        await app.connect()
        return sum(len(e["data"]["message"]["transcriptToShow"]) for e in app.events)
