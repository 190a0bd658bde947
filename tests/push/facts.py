"""What is pushed to whom, and when."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cometd_chat.model import Device
from cometd_chat.push import Line, Notification

TEXT = "your parcel is in Tromsø"
NOW = 1_700_000_000.0


@dataclass
class SetClock:
    """Wall and monotonic time that stand still until told."""

    wall: float = NOW
    running: float = 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.running

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds


def notification(**more: object) -> Notification:
    """A push that tells one line; `more` overrides its fields."""
    facts: dict[str, object] = {
        "id": "0b5f9f0e-7f0b-4b1e-9a56-2f4e9ed4a001",
        "chat": "180-chat",
        "position": 4,
        "body": TEXT,
        "lines": (Line(event="Message.Text", text=TEXT),),
        "expires_at": NOW + 600,
    }
    return Notification(**(facts | more))  # type: ignore[arg-type]  # test data


def device(address: str, kind: str = "customhttp") -> Device:
    return Device(id=address, type=kind)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    """Return the wall time in seconds at which a clock in this zone shows that."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return moment.timestamp()


def said(status: int) -> str:
    """Return the reason of an outcome that this HTTP status decided."""
    return f"answered with status {status}"
