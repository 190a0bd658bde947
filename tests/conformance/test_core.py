"""The conformance cases, run on the core alone, without any transport."""

import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.core import CoreTarget
from tests.conformance.run import applies, run

MINE = [case for case in CASES if applies(case, "core", CoreTarget.words)]


@pytest.mark.parametrize("case", MINE, ids=lambda case: case.name)
async def test_the_core_conforms(case: Case) -> None:
    await run(case, CoreTarget())


def test_there_are_cases_for_everything_and_no_two_of_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 100
