"""`docs/reliability.md`: what it says of the tests is what the tests do."""

from tests.e2e import test_cuts, test_kill

from .pages import ROOT, rows

PAGE = ROOT / "docs" / "reliability.md"


def told(test: str) -> str:
    """Return what the page says that a test does."""
    table = rows(PAGE, "Test", "What it does", "Result")
    return next(row[1] for row in table if row[0] == f"tests/e2e/{test}")


def test_the_numbers_of_kill_9_are_those_of_its_test() -> None:
    text = told("test_kill.py")
    assert f"{test_kill.SENDERS} senders" in text
    assert f"{test_kill.SESSIONS} chats" in text
    assert f"each {test_kill.SENDS_PER_ROUND:,} acknowledged" in text
    assert f"{test_kill.ROUNDS} times" in text


def test_the_numbers_of_broken_connections_are_those_of_their_test() -> None:
    text = told("test_cuts.py")
    assert f"{test_cuts.APPS} apps" in text
    assert f"{test_cuts.AGENTS} agents" in text
    assert f"for {test_cuts.SECONDS} s" in text
    assert f"{test_cuts.MISFORTUNES_PER_SECOND} times a second" in text
