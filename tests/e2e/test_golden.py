"""Two stories that no other test tells: a restart under a crowd, and CometD for Java.

The crowd: all clients of a server come back at once after a restart, and each of them
must be spread, served, and find what it missed. The Java client was not run; these are
its requests as its source shows them.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from tests import ways
from tests.clients.raw import V1App
from tests.clients.ws import SocketClient

from .conftest import agent_token, free_port, new_server, write_config

CROWD = 1000
RATE = 200
"""Handshakes per second that the server answers at once; two nodes share them."""

JAVA = {"Content-Type": "application/json;charset=UTF-8"}


class Phone:
    """Handshakes and polls once, and says when the handshake was answered."""

    def __init__(self, http: ClientSession, url: str, key: str) -> None:
        self.http, self.url, self.key = http, url, key
        self.events: list[Any] = []

    async def come(self) -> float:
        handshake = {
            "channel": "/meta/handshake",
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
            "ext": {"serviceId": self.key},
        }
        (reply,) = await self._post([handshake])
        answered = time.monotonic()
        assert reply["successful"], reply
        me = {"clientId": reply["clientId"]}
        subscribe = {"channel": "/meta/subscribe", "subscription": "/_genesys", **me}
        connect = {
            "channel": "/meta/connect",
            "connectionType": "long-polling",
            "advice": {"timeout": 0},
            **me,
        }
        replies = await self._post([subscribe, connect])
        assert all(r.get("successful", True) for r in replies), replies
        self.events += [r for r in replies if "data" in r]
        return answered

    async def _post(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with self.http.post(self.url, json=messages) as response:
            assert response.status == 200
            replies: list[dict[str, Any]] = await response.json()
            return replies


@pytest.mark.slow
async def test_a_crowd_that_comes_back_after_a_restart_is_spread_and_misses_nothing(
    tmp_path: Path,
) -> None:
    path = write_config(tmp_path, port=free_port())
    text = path.read_text().replace(
        "[bayeux]\n", f"[bayeux]\nhandshakes_per_second = {RATE // ways.nodes()}\n"
    )
    path.write_text(text, encoding="utf-8")
    async with new_server(path) as server:
        base = f"{server.url}/genesys"
        apps = [V1App(base) for _ in range(20)]
        for app in apps:
            await app.create_service()
            await app.create_chat(userDisplayName="Cleo", message="before")
        await server.kill()
        await server.start()
        connector = TCPConnector(limit=0)
        async with ClientSession(connector=connector) as http:
            phones = [
                Phone(http, f"{base}/cometd", apps[n % len(apps)].service_id)
                for n in range(CROWD)
            ]
            begun = time.monotonic()
            answered = sorted(await asyncio.gather(*(p.come() for p in phones)))
        for app in apps:
            await app.vanish()
    assert spread(answered, begun) <= 3 * RATE
    assert all("before" in json.dumps(phone.events) for phone in phones)


def spread(moments: list[float], begun: float) -> int:
    """Return the most handshakes that were answered within one second.

    Twice the rate is allowed: as many may come in one moment, and then one by one. If
    the machine stands still meanwhile, those who waited come together: once more.
    Those that would wait longer than the server lets anybody wait come together.
    """
    early = [moment for moment in moments if moment - begun < 4.5]
    return max(
        sum(first <= moment < first + 1.0 for moment in early) for first in early
    )


async def test_the_java_client_gets_what_it_needs(base: str) -> None:
    async with ClientSession(headers={**JAVA, "gms_user": "java"}) as http:

        async def post(suffix: str, message: dict[str, Any]) -> dict[str, Any]:
            async with http.post(f"{base}/cometd{suffix}", json=[message]) as response:
                assert response.status == 200
                (reply,) = await response.json()
                return dict(reply)

        handshake = await post(
            "/handshake",
            {
                "channel": "/meta/handshake",
                "version": "1.0",
                "supportedConnectionTypes": ["long-polling"],
                "id": "1",
            },
        )
        # It fails without the types, and takes times that are missing for 0.
        assert "long-polling" in handshake["supportedConnectionTypes"]
        assert handshake["advice"].keys() >= {"reconnect", "interval", "timeout"}
        me = {"clientId": handshake["clientId"]}
        subscribe = {"channel": "/meta/subscribe", "subscription": "/_genesys"}
        reply = await post("/subscribe", {**subscribe, **me, "id": "2"})
        assert (reply["successful"], reply["subscription"]) == (True, "/_genesys")
        connect = {"channel": "/meta/connect", "connectionType": "long-polling"}
        first = await post(
            "/connect", {**connect, **me, "id": "3", "advice": {"timeout": 0}}
        )
        assert first["successful"]
        assert first["id"] == "3"
        unknown = await post("/connect", {**connect, "clientId": "gone", "id": "4"})
        assert unknown["advice"].keys() >= {"reconnect", "interval", "timeout"}
        assert unknown["advice"]["reconnect"] == "handshake"


async def test_a_held_connect_keeps_a_websocket_from_being_silent(base: str) -> None:
    """The Java client closes sockets that say nothing for 60 s: a poll ends before."""
    async with SocketClient(f"{base}/cometd") as client:
        ext = {"auth": {"token": agent_token()}}
        reply = await client.handshake(ext=ext)
        assert reply["advice"]["timeout"] < 60_000
        await client.connect()
        begun = time.monotonic()
        assert (await client.connect())["successful"]
        assert time.monotonic() - begun < 60
