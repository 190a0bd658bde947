"""What a terminal shows of chats: one line each, whatever the texts contain."""

from datetime import UTC, datetime

from cometd_chat.client import Json

_JOINERS = "\u200c\u200d"
"""Invisible, but part of words and pictures; they move nothing on the screen."""


def line_of(told: Json) -> str:
    """Return the line for what `follow_chat` or `follow_chats` yielded."""
    match told:
        case {"chatEnded": _}:
            return "--- the chat has ended"
        case {"customer": customer, "chatId": _}:
            return _summary(told, customer)
        case {"customer": customer}:
            return f"--- {_name(customer)} is {_presence(customer)}"
        case _:
            return _entry(told)


def _summary(chat: Json, customer: Json) -> str:
    agents = ", ".join(agent["nickname"] for agent in chat["agents"])
    parts = (
        f"{_time(chat['lastAt'])} {chat['chatId']} {chat['state']:<7}",
        f"{chat['service']}: {_name(customer)} ({_presence(customer)})",
        f"with {agents}" if agents else "with nobody",
        f"{chat['unread']} unread: {chat['lastText']}",
    )
    return printable("  ".join(parts))


def _entry(entry: Json) -> str:
    sender = f"{entry['from']['nickname']} ({entry['from']['type']})"
    said = entry.get("text", "")
    if entry["type"] != "Message":
        said = f"[{entry['type']}] {said}".rstrip()
    return printable(f"{entry['index']:>4} {_time(entry['utcTime'])} {sender}: {said}")


def _name(customer: Json) -> str:
    return printable(customer["nickname"]) or "the customer"


def _presence(customer: Json) -> str:
    return "online" if customer["online"] else "not online"


def _time(milliseconds: int) -> str:
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.astimezone().strftime("%H:%M:%S")


def printable(text: str) -> str:
    """Return the text on one line, without what could command a terminal.

    Customers write it: escape sequences could forge lines or type for the agent.
    """
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode()
        for c in text
    )
