"""Whoever sent a request is known by all of its header fields, also repeated ones."""

import time
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from cometd_chat.web.peers import peer_of
from tests.clients.raw import BayeuxClient
from tests.e2e.conftest import new_node

from .conftest import configured


def test_fields_of_one_name_are_one_list() -> None:
    fields = CIMultiDict([("X-A", "1"), ("Host", "h"), ("x-a", "2")])
    headers = peer_of(make_mocked_request("POST", "/", headers=fields)).headers
    assert headers["X-a"] == headers.get("x-A") == "1, 2"
    assert headers.get("Host") == "h"
    assert headers.get("X-B", "none") == "none"
    assert len(headers) == len(list(headers)) == 2


@pytest.mark.parametrize("proxies", ["", "127.0.0.1"])
async def test_callers_behind_a_trusted_proxy_do_not_wait_for_each_other(
    tmp_path: Path, proxies: str
) -> None:
    options = {
        "bayeux__handshakes_per_second": "1",
        "server__trusted_proxies": proxies,
    }
    async with new_node(configured(tmp_path, **options)) as node:
        begun = time.monotonic()
        for caller in range(3):
            named = {"X-Forwarded-For": f"192.0.2.{caller}"}
            async with BayeuxClient(f"{node.url}/cometd", named) as client:
                assert (await client.handshake())["successful"]
        took = time.monotonic() - begun
    assert took < 1.5 if proxies else took > 1.5
