"""A SQLite file has one server; who cannot have it is told why."""

from pathlib import Path

import pytest

from cometd_chat.app.owner import sole_owner
from cometd_chat.config import StoreOptions
from cometd_chat.store import StoreError


def file_in(folder: Path) -> StoreOptions:
    return StoreOptions(url=f"sqlite:///{folder}/chat.db")


def test_a_file_is_for_one_at_a_time(tmp_path: Path) -> None:
    options = file_in(tmp_path)
    with (
        sole_owner(options),
        pytest.raises(StoreError, match=r"chat\.db is served by another"),
        sole_owner(options),
    ):
        pass
    with sole_owner(options):
        pass


def test_a_lock_that_cannot_be_had_is_named_and_not_taken_for_served(
    tmp_path: Path,
) -> None:
    (tmp_path / "chat.db.lock").mkdir()
    with (
        pytest.raises(StoreError, match=r"chat\.db\.lock cannot be opened: Is a dir"),
        sole_owner(file_in(tmp_path)),
    ):
        pass
