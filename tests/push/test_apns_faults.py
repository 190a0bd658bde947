"""What goes wrong between us and APNs, and that nobody else suffers from it."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cometd_chat.push import (
    DeadDevice,
    Delivered,
    Line,
    Misconfigured,
    Outcome,
    Retry,
)
from cometd_chat.push.apns import ApnsProvider
from cometd_chat.push.apns_connection import Connection
from cometd_chat.push.apns_route import Patience, Server
from tests.push.apns_keys import Identity
from tests.push.apns_world import World, key_options, world
from tests.push.facts import SetClock
from tests.push.fake_apns import OK, Answer, Mode, Push

HASTY = Patience(connect=0.3, reply=0.3, send=1)
BAD = DeadDevice("BadDeviceToken", doubtful=True)


async def warm(w: World) -> None:
    """Have one push accepted, after which APNs allows more at once."""
    assert await w.send() == Delivered()


def connections() -> list[Connection]:
    """Return all our ends of connections that are still in memory."""
    gc.collect()
    return [it for it in gc.get_objects() if type(it) is Connection]


@pytest.mark.parametrize("mode", [Mode.SPLIT, Mode.EMPTY_TAIL, Mode.NO_ID])
async def test_an_error_is_understood_in_whatever_frames_it_comes(
    tmp_path: Path, mode: Mode
) -> None:
    async with world(tmp_path) as w:
        w.apns.respond = lambda _: Answer(
            status=400, reason="BadDeviceToken", mode=mode
        )
        assert await w.burst(5) == [BAD] * 5
        assert len(w.apns.connections) == 1


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_needs_neither_id_nor_body(tmp_path: Path, status: int) -> None:
    async with world(tmp_path) as w:
        w.apns.respond = lambda _: Answer(status=status, mode=Mode.NO_ID)
        expected = Delivered() if status == 200 else Retry("status 503", 10)
        assert await w.send() == expected


async def test_cancelling_one_push_concerns_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.hold()
        first, *others = w.start(3)
        await w.apns.arrived(4)
        first.cancel()
        await w.apns.until(lambda: w.apns.cancelled == 1)
        w.apns.let_go()
        assert await asyncio.gather(*others) == [Delivered()] * 2
        assert first.cancelled()
        await warm(w)
        assert len(w.apns.connections) == 1
        assert len(w.apns.pushes) == 5


async def test_cancelling_before_the_connection_stands_concerns_no_other(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        first, *others = w.start(3)
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [Delivered()] * 2
        assert len(w.apns.connections) == 1


async def test_a_reply_and_its_cancellation_may_cross(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        for rounds in range(20):
            first, second = w.start(2)
            await w.apns.arrived(1 + 2 * rounds + 2)
            first.cancel()
            assert await second == Delivered()
            with suppress(asyncio.CancelledError):
                await first
        assert len(w.apns.connections) == 1


async def test_a_connection_lost_with_pushes_under_way_leaves_none_of_them_waiting(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.hold()
        first, *others = w.start(4)
        await w.apns.arrived(5)
        first.cancel()
        w.apns.alive[0].abort()
        outcomes = await asyncio.gather(*others)
        assert {type(outcome) for outcome in outcomes} == {Retry}
        w.apns.let_go()
        await warm(w)
        assert len(w.apns.connections) == 2


async def test_what_may_have_arrived_is_not_sent_again_by_itself(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        answers = [Answer(mode=m) for m in (Mode.DROP, Mode.RESET, Mode.GOAWAY_AFTER)]
        w.apns.respond = lambda push: answers[len(w.apns.pushes) - 2]
        for count in (2, 3, 4):
            assert isinstance(await w.send(), Retry)
            assert len(w.apns.pushes) == count


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (Mode.NOISE, "no answer in time"),
        (Mode.BAD_FRAME, "connection closed"),
    ],
)
async def test_a_server_that_talks_nonsense_is_left(
    tmp_path: Path, mode: Mode, told: str
) -> None:
    async with world(tmp_path, patience=HASTY) as w:
        w.apns.respond = lambda _: Answer(mode=mode)
        assert await w.send() == Retry(told)
        w.apns.respond = lambda _: OK
        await warm(w)
        assert len(w.apns.connections) == 2


async def test_a_server_without_room_for_a_push_is_tried_later(tmp_path: Path) -> None:
    async with world(tmp_path, window=50) as w:
        assert await w.send() == Retry("FlowControlError")
        assert not w.apns.pushes
        await w.apns.until(lambda: not w.apns.alive)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.GOAWAY])
async def test_what_surely_did_not_arrive_is_sent_again_at_once(
    tmp_path: Path, mode: Mode
) -> None:
    async with world(tmp_path) as w:
        answers = iter([Answer(mode=mode), OK])
        w.apns.respond = lambda _: next(answers)
        assert await w.send() == Delivered()
        first, second = w.apns.pushes
        assert first.headers == second.headers


async def test_what_a_server_answers_while_it_goes_away_counts(tmp_path: Path) -> None:
    """Else each push under way would be sent again, and shown twice."""
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.respond = lambda push: (
            Answer(mode=Mode.FAREWELL) if push.stream == 3 else OK
        )
        w.apns.hold()
        pushes = w.start(4)
        await w.apns.arrived(5)
        w.apns.let_go()
        assert await asyncio.gather(*pushes) == [Delivered()] * 4
        await w.apns.until(lambda: not w.apns.alive)
        await warm(w)
        assert len(w.apns.connections) == 2


async def test_a_server_that_always_goes_away_is_not_stormed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.apns.respond = lambda _: Answer(mode=Mode.GOAWAY)
        assert isinstance(await w.send(), Retry)
        assert len(w.apns.connections) == 2


async def test_no_answer_ends_in_time_and_others_get_theirs(tmp_path: Path) -> None:
    def respond(push: Push) -> Answer:
        return Answer(mode=Mode.SILENCE) if push.message["n"] == "lost" else OK

    async with world(tmp_path, patience=HASTY) as w:
        w.apns.respond = respond
        await w.send(apns={"n": "first"})
        (lost,) = w.start(apns={"n": "lost"})
        await w.apns.arrived(2)
        assert await w.send(apns={"n": "other"}) == Delivered()
        assert await lost == Retry("no answer in time")
        await w.apns.until(lambda: w.apns.cancelled == 1)
        assert await w.send(apns={"n": "next"}) == Delivered()
        assert len(w.apns.connections) == 1


async def test_a_connection_without_any_sign_of_life_is_given_up(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, patience=HASTY) as w:
        await warm(w)
        w.apns.respond = lambda _: Answer(mode=Mode.SILENCE)
        assert await w.send() == Retry("no answer in time")
        w.apns.respond = lambda _: OK
        await warm(w)
        assert len(w.apns.connections) == 2


async def test_a_server_that_says_nothing_at_all_is_given_up(tmp_path: Path) -> None:
    async with world(tmp_path, patience=HASTY, settings=False) as w:
        assert await w.burst(20) == [Retry("no answer in time")] * 20
        assert len(w.apns.connections) == 1
        await w.apns.until(lambda: not w.apns.alive)


async def test_closing_does_not_wait_for_a_connection_that_is_being_opened(
    tmp_path: Path,
) -> None:
    async with (
        running(Proxy(b"")) as address,
        world(tmp_path, proxy=address, patience=Patience()) as w,
    ):
        waiting = w.start(3)
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await w.provider.close()
            assert await asyncio.gather(*waiting) == [Retry("closed")] * 3


async def test_a_failure_nobody_waits_for_any_more_makes_no_noise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def lose_interest() -> None:
        async with world(tmp_path, patience=HASTY, settings=False) as w:
            (waiting,) = w.start()
            await w.apns.until(lambda: bool(w.apns.connections))
            waiting.cancel()
            await w.apns.until(lambda: not w.apns.alive)

    await lose_interest()
    gc.collect()
    assert not [r for r in caplog.records if r.name == "asyncio"]


async def test_five_thousand_errors_do_not_use_up_the_window(tmp_path: Path) -> None:
    async with world(tmp_path, patience=Patience()) as w:
        w.apns.respond = lambda _: Answer(status=400, reason="BadDeviceToken")
        for _ in range(10):
            assert await w.burst(500) == [BAD] * 500
        assert w.apns.blocked == 0
        assert len(w.apns.connections) == 1


async def test_a_cold_burst_respects_one_stream_until_apns_knows_us(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, streams=1, grows_to=1000) as w:
        assert Counter(await w.burst(500)) == {Delivered(): 500}
        assert w.apns.refused == 0
        assert len(w.apns.connections) == 1
        assert len({push.headers["authorization"] for push in w.apns.pushes}) == 1


async def test_one_stream_is_enough_for_an_unknown_client_whatever_it_is_told(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, streams=1, told=1000, grows_to=1000) as w:
        assert await w.burst(50) == [Delivered()] * 50
        assert w.apns.refused == 0


async def test_more_streams_become_available_while_only_one_waits(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, streams=1, grows_to=1000) as w:
        await warm(w)
        w.apns.hold()
        under_way = w.start(50)
        await w.apns.arrived(51)
        w.apns.let_go()
        assert await asyncio.gather(*under_way) == [Delivered()] * 50


async def test_never_more_streams_than_allowed(tmp_path: Path) -> None:
    async with world(tmp_path, streams=5) as w:
        await warm(w)
        w.apns.hold()
        under_way = w.start(60)
        await w.apns.arrived(1 + 5)
        w.apns.let_go()
        assert await asyncio.gather(*under_way) == [Delivered()] * 60
        assert w.apns.refused == 0
        assert len(w.apns.connections) == 1


async def test_pushes_wait_for_the_window_of_the_server(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.hold()
        large = (Line(event="Message.Text", text="y" * 3500),)
        under_way = w.start(40, lines=large)
        await w.apns.arrived(1 + 15)
        w.apns.let_go()
        assert await asyncio.gather(*under_way) == [Delivered()] * 40
        assert len(w.apns.connections) == 1


async def test_a_server_that_gives_no_window_back_loses_the_connection(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, patience=HASTY, stingy=True) as w:
        large = (Line(event="Message.Text", text="y" * 3500),)
        sent = await asyncio.gather(*w.start(20, lines=large))
        assert sent == [Delivered()] * 20
        assert len(w.apns.connections) == 2


async def test_quiet_times_cost_neither_connections_nor_tokens(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for _ in range(5):
            await warm(w)
            w.clock.pass_by(300)
        assert len(w.apns.connections) == 1
        assert len({push.headers["authorization"] for push in w.apns.pushes}) == 1


async def test_an_idle_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    async with world(tmp_path, patience=Patience(idle=1)) as w:
        await warm(w)
        await w.apns.until(lambda: not w.apns.alive)
        await warm(w)
        assert len(w.apns.connections) == 2


async def test_a_goodbye_in_a_quiet_moment_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.alive[0].go_away()
        await w.apns.until(lambda: not w.apns.alive)
        await warm(w)
        assert len(w.apns.connections) == 2
        assert len(connections()) == 1


async def test_the_same_id_may_be_under_way_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await warm(w)
        w.apns.hold()
        both = w.start(2)
        await w.apns.arrived(3)
        w.apns.let_go()
        assert await asyncio.gather(*both) == [Delivered()] * 2


async def test_nothing_is_kept_of_what_is_done(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.burst(200)
        (connection,) = connections()
        assert not connection._calls
        assert not connection.requests
        assert not connection.request_streams


async def test_a_server_nobody_vouches_for_is_our_problem(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        stranger = Identity(tmp_path, "stranger")
        options = w.provider._options
        provider = ApnsProvider(options, SetClock(), tls=stranger.trust)
        other = World(w.apns, provider, w.clock)
        assert isinstance(await other.send(), Misconfigured)
        assert not w.apns.pushes
        await provider.close()


class Proxy:
    """An HTTP proxy that knows nothing but CONNECT."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Fine\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self.answer)
        if not self.answer:
            await reader.read()  # says nothing as long as anybody listens
        if b" 200 " in self.answer:
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[str]:
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://ann:s%40cret@127.0.0.1:{port}"
    finally:
        server.close()


async def test_a_proxy_is_asked_for_a_tunnel(tmp_path: Path) -> None:
    proxy = Proxy()
    async with running(proxy) as address, world(tmp_path, proxy=address) as w:
        assert await w.burst(20) == [Delivered()] * 20
        (head,) = proxy.heads
        assert (
            head
            == (
                f"CONNECT localhost:{w.apns.port} HTTP/1.1\r\n"
                f"Host: localhost:{w.apns.port}\r\n"
                "Proxy-Authorization: Basic YW5uOnNAY3JldA==\r\n\r\n"
            ).encode()
        )
        assert "s@cret" not in repr(w.provider._link._route)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Who?\r\n\r\n", "cannot connect: proxy answered 407"),
        (b"HTTP/1.1 ", "cannot connect: proxy gave no proper answer"),
        (b"x" * 9000, "cannot connect: proxy gave no proper answer"),
    ],
)
async def test_a_proxy_that_refuses_is_tried_later(
    tmp_path: Path, answer: bytes, told: str
) -> None:
    async with running(Proxy(answer)) as address, world(tmp_path, proxy=address) as w:
        assert await w.send() == Retry(told)


async def test_many_failures_at_once_leave_no_connection_behind(tmp_path: Path) -> None:
    def respond(push: Push) -> Answer:
        return Answer(mode=modes[push.stream // 2 % len(modes)])

    modes = [Mode.ANSWER, Mode.SILENCE, Mode.RESET, Mode.REFUSE, Mode.SPLIT]
    patience = Patience(connect=1.0, reply=1.0, send=3.0)  # enough for a busy machine
    async with world(tmp_path, patience=patience) as w:
        w.apns.respond = respond
        outcomes: list[Outcome] = await w.burst(100)
        assert {type(outcome) for outcome in outcomes} == {Delivered, Retry}
        w.apns.respond = lambda _: OK
        assert await w.burst(100) == [Delivered()] * 100
        assert len(w.apns.alive) == 1


async def test_options_are_looked_at_before_anything_is_sent(tmp_path: Path) -> None:
    options = key_options(tmp_path)
    provider = ApnsProvider(options, SetClock())
    await provider.close()
    assert provider._link._route.server.authority == "api.push.apple.com:443"
    assert Server("::1", 443).authority == "[::1]:443"
