"""Chat API version 1: form parameters in, the chat object out, `/_genesys` events."""

from cometd_chat.gms.v1.replies import (
    Verbose,
    chat_object,
    entry_row,
    entry_words,
    error_body,
    event_name,
    notification,
    service_object,
)
from cometd_chat.gms.v1.requests import (
    DEVICE_TYPES,
    NewService,
    OpenChat,
    Operation,
    Receipt,
    V1Error,
    parse_device,
    parse_open,
    parse_operation,
    parse_receipt,
    parse_service,
)

__all__ = [
    "DEVICE_TYPES",
    "NewService",
    "OpenChat",
    "Operation",
    "Receipt",
    "V1Error",
    "Verbose",
    "chat_object",
    "entry_row",
    "entry_words",
    "error_body",
    "event_name",
    "notification",
    "parse_device",
    "parse_open",
    "parse_operation",
    "parse_receipt",
    "parse_service",
    "service_object",
]
