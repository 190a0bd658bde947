"""Who is there, by signs of life and a clock that is moved by hand."""

from cometd_chat.nodes.pulse import DEAF, FORGOTTEN, IN_TOUCH, SILENCE, Pulse
from tests.chat.world import FakeClock


def beating() -> tuple[Pulse, FakeClock]:
    """Return what node "a" knows, which hears itself and "b"."""
    clock = FakeClock()
    pulse = Pulse("a", clock)
    pulse.listening()
    pulse.note("a")
    pulse.note("b")
    return pulse, clock


def test_who_is_not_heard_counts_as_gone() -> None:
    pulse, clock = beating()
    clock.now += SILENCE
    pulse.note("a")
    assert pulse.alive("b")  # it was away itself, and must wait to know better
    clock.now += SILENCE / 2
    pulse.note("a")
    clock.now += SILENCE / 2
    pulse.note("a")
    assert not pulse.alive("b")
    pulse.note("b")
    assert pulse.alive("b")
    pulse.gone("b")
    assert not pulse.alive("b")


def test_who_does_not_hear_himself_takes_nobody_for_gone() -> None:
    pulse, clock = beating()
    assert pulse.in_touch
    clock.now += IN_TOUCH
    assert not pulse.in_touch
    clock.now += 10 * SILENCE
    assert pulse.alive("b")
    assert pulse.alive("never heard of")


def test_a_new_line_begins_anew() -> None:
    pulse, clock = beating()
    began = pulse.since
    clock.now += IN_TOUCH / 2
    pulse.listening()
    assert not pulse.in_touch
    pulse.note("a")
    assert pulse.in_touch
    assert pulse.since == clock.now > began


def test_a_break_begins_anew_and_a_beat_does_not() -> None:
    pulse, clock = beating()
    began = clock.now
    clock.now += IN_TOUCH / 2
    pulse.note("a")
    assert pulse.since == began
    clock.now += IN_TOUCH
    pulse.note("a")
    assert pulse.since == clock.now


def test_deaf_is_who_tells_in_vain_while_others_hear() -> None:
    pulse, clock = beating()
    pulse.told()
    clock.now += DEAF / 2
    pulse.told()  # the first one counts
    clock.now += DEAF / 2 + 0.1
    assert pulse.in_vain
    assert not pulse.deaf
    pulse.others_hear = True
    assert pulse.deaf
    pulse.note("a")
    assert not pulse.deaf
    assert not pulse.others_hear


def test_a_line_that_brings_nothing_is_silent() -> None:
    pulse, clock = beating()
    clock.now += SILENCE + 0.1
    pulse.note("b")
    assert pulse.line_is_silent
    pulse.connected()
    assert not pulse.line_is_silent
    clock.now += SILENCE + 0.1
    assert pulse.line_is_silent


def test_names_of_nodes_that_are_gone_are_forgotten() -> None:
    pulse, clock = beating()
    clock.now += FORGOTTEN + 1
    pulse.note("a")
    pulse.forget_others()
    assert list(pulse._heard) == ["a"]
