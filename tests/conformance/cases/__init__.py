"""All cases, in the order of the specification."""

from tests.conformance.case import Case
from tests.conformance.cases import (
    connect,
    deliver,
    disconnect,
    envelope,
    handshake,
    http,
    publish,
)
from tests.conformance.cases import subscribe as subscriptions

CASES: tuple[Case, ...] = (
    *envelope.CASES,
    *handshake.CASES,
    *connect.CASES,
    *disconnect.CASES,
    *subscriptions.CASES,
    *publish.CASES,
    *deliver.CASES,
    *http.CASES,
)
