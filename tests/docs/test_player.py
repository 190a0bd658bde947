"""The player of pages finds what is not true."""

from pathlib import Path

import pytest

from .player import DifferentError, Names, Player

RECEIVES = """\
```json publishes
{"operation": "listChats"}
```

```json receives
{"chats": "none"}
```
"""

ENTRY = ["Message.Text", "Ann", "hi", "3", "AGENT"]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], [1, 2]),
        ("5b7c…", "short"),
        ("x.5b7c…", "y.0123456789abcdef"),
        (["5b7c…", "5b7c…"], ["0123456789abcdef", "fedcba9876543210"]),
        ("2026-11-21T10:00:00Z", "now"),
        (1795255200000, 5),
        (ENTRY, [*ENTRY[:3], "three", "AGENT"]),
        (ENTRY, [*ENTRY[:4], "CLIENT"]),
    ],
)
def test_differences_are_found(expected: object, actual: object) -> None:
    with pytest.raises(DifferentError):
        Names({}).compare(expected, actual)


def test_ids_and_times_are_not_compared_by_letter() -> None:
    names = Names({})
    names.compare(
        {"id": "x.5b7c…", "at": 1795255200000, "entry": ENTRY},
        {"id": "x.0123456789abcdef", "at": 1800000000000, "entry": ENTRY},
    )
    names.compare(ENTRY, [*ENTRY[:3], "77", "AGENT"])
    assert names.fill("/5b7c…/") == "/0123456789abcdef/"
    with pytest.raises(DifferentError, match="f4a5"):
        names.fill("f4a5…")


@pytest.mark.parametrize(
    "text",
    [
        "```json\n{}\n```\n",
        "<!-- the customer sings -->\n",
        "```http\nPOST /nowhere\n\n{}\n```\n\n```json\n{}\n```\n",
        "```http\nPOST /cometd\n\n[]\n```\n\n```json\n[1]\n```\n",
        "```http\nPOST /cometd\n\n[]\n```\n",
        RECEIVES,
    ],
)
async def test_a_page_that_is_not_true_is_found(
    player: Player, tmp_path: Path, text: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    player.patience = 0.3
    with pytest.raises(DifferentError, match=r"page\.md:\d+: "):
        await player.play(page)
