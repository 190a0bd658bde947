"""`docs/conformance.md` is about the cases that there are."""

from collections.abc import Mapping

from tests.conformance.case import Case, Json
from tests.conformance.cases import CASES
from tests.conformance.compare import NOT_RUN, PAGE, PASSED, theirs
from tests.conformance.run import applies
from tests.conformance.servers import CHAT_WORDS, LIBRARY_WORDS
from tests.docs.pages import rows

OTHERS = [contender.name for contender in theirs()]
SERVERS = rows(PAGE, "Server", "Cases", "Passed", "Differ")
DIFFERENCES = rows(PAGE, "Clause", "Case", *OTHERS)


def count(over: str, words: Mapping[str, Json]) -> str:
    return str(sum(applies(case, over, words) for case in CASES))


def test_all_cases_were_run() -> None:
    assert [(name, cases) for name, cases, *_ in SERVERS] == [
        ("cometd-chat", count("http", CHAT_WORDS)),
        ("as a library", count("http", LIBRARY_WORDS)),
        ("as a library, over WebSocket", count("websocket", LIBRARY_WORDS)),
        (OTHERS[0], count("http", CHAT_WORDS)),
        (OTHERS[1], count("http", LIBRARY_WORDS)),
    ]


def test_ours_passed_them() -> None:
    for _, cases, passed, differ in SERVERS[:3]:
        assert (passed, differ) == (cases, "0")


def test_the_differences_are_as_many_as_are_counted() -> None:
    for column, name in enumerate(OTHERS, 2):
        differing = [r for r in DIFFERENCES if r[column] not in {PASSED, NOT_RUN}]
        (counted,) = (differ for server, *_, differ in SERVERS if server == name)
        assert counted == str(len(differing))


def test_the_cases_that_differ_are_there_under_these_clauses() -> None:
    def plain(case: Case) -> tuple[str, str]:
        return case.clause.replace("*", "\\*"), case.name.replace("*", "\\*")

    known = set(map(plain, CASES))
    for clause, name, *_ in DIFFERENCES:
        assert (clause, name) in known
