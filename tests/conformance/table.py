"""Runs all cases against a server, and tells which ones differ."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import ClientError

from tests.conformance.case import Case, Json
from tests.conformance.cases import CASES
from tests.conformance.judge import DifferenceError
from tests.conformance.run import Target, applies, run
from tests.conformance.targets import PATIENCE

NewTarget: TypeAlias = Callable[[], AbstractAsyncContextManager[Target]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a case; `differs` is empty where the server passed."""

    case: Case
    differs: str


async def results(
    new_target: NewTarget, over: str, words: Mapping[str, Json]
) -> AsyncIterator[Result]:
    """Run the cases that apply, one after the other, each with clients of its own."""
    for case in CASES:
        if applies(case, over, words):
            yield Result(case=case, differs=await differs(case, new_target))


async def differs(case: Case, new_target: NewTarget) -> str:
    """Run one case; return in what the server differs."""
    try:
        async with new_target() as target:
            await run(case, target)
    except DifferenceError as exc:
        return str(exc)
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except ClientError as exc:
        return f"the connection fails: {type(exc).__name__}"
    return ""
