"""The tables, how an older file becomes one of today, and how a file is opened."""

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cometd_chat.store import StoreError

BUSY_TIMEOUT_MS = 5000
CACHE_KIB = 32 * 1024
"""Kibibytes of pages kept for reading: entries of a chat lie on many of them."""

WAL_LIMIT = 64 * 1024 * 1024


_AS_ONE = (
    # Of several users who brought the same device, the last one has it.
    """
    CREATE TEMP TABLE lost AS
    WITH held AS (
      SELECT s.number AS session, s.user, d.key AS place,
        {name} AS name, d.value ->> 'registered_at' AS at
      FROM session s JOIN json_each(iif(json_valid(s.devices), s.devices, '[]')) d
      WHERE d.value ->> 'type' IN {kinds}
    )
    SELECT mine.session, mine.place FROM held mine JOIN held theirs USING (name)
    WHERE theirs.session <> mine.session
      AND (theirs.user <> mine.user OR mine.user = '')
      AND (theirs.at, theirs.session) > (mine.at, mine.session)
    """,
    """
    UPDATE session SET devices = (
      SELECT json_group_array(json(d.value)) FROM json_each(devices) d
      WHERE d.key NOT IN (SELECT place FROM lost WHERE session = number)
    ) WHERE number IN (SELECT session FROM lost)
    """,
    "DROP TABLE lost",
    "DELETE FROM device WHERE type IN {kinds}",
    """
    INSERT OR REPLACE INTO device
    SELECT number, '{kind}', {name},
      coalesce(d.value ->> 'muted', 0)
    FROM session JOIN json_each(iif(json_valid(devices), devices, '[]')) d
    WHERE d.value ->> 'type' IN {kinds} ORDER BY number, d.key
    """,
    """
    UPDATE session SET reachable =
      EXISTS (SELECT 1 FROM device WHERE session = number AND NOT muted)
    WHERE reachable
    """,
    """
    UPDATE job SET type = '{kind}', device_id = {job_name}
    WHERE type IN {kinds}
    """,
    """
    DELETE FROM job WHERE type = '{kind}' AND NOT EXISTS (
      SELECT 1 FROM device d WHERE d.session = job.session AND d.type = job.type
      AND d.id = job.device_id AND (job.silent OR NOT d.muted))
    """,
)
"""The steps after which devices of `kinds` are of one `kind`, and those of one name are
one device; `name` and `job_name` are SQL for the name, where a session has a device and
where a job is for one."""


def _as_one(kind: str, kinds: str, name: Callable[[str], str]) -> tuple[str, ...]:
    """Return these steps; `name` makes SQL for the name of SQL for an id."""
    sql = {
        "kind": kind,
        "kinds": kinds,
        "name": name("(d.value ->> 'id')"),
        "job_name": name("device_id"),
    }
    return tuple(step.format_map(sql) for step in _AS_ONE)


def _endpoint(device_id: str) -> str:
    """Return `model.device_name` of browsers as SQL."""
    found = f"iif(json_valid({device_id}), {device_id} ->> '$.endpoint', NULL)"
    return f"coalesce(nullif({found}, ''), {device_id})"


# What an append costs is mostly the number of pages that it dirties: each is copied
# and summed into the log. Therefore:
#
# * Entries lie in the order of their arrival, so that those of one commit share a
#   page. In the order of sessions (`WITHOUT ROWID`) each would dirty its own: twice
#   the time per append, to save a third in reading a long transcript again.
# * Rows refer to a session by its number, which makes indexes small and dense.
# * No index holds a column that every append sets: the indexes here and the hot
#   statements of `sqlite_append.py` belong together.
# * No foreign keys: their check would cost every entry another look-up.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE session (
          number INTEGER PRIMARY KEY,
          id TEXT NOT NULL UNIQUE,
          key TEXT NOT NULL UNIQUE,
          service TEXT NOT NULL,
          user TEXT NOT NULL,
          state TEXT NOT NULL,
          created_at REAL NOT NULL,
          started_at REAL NOT NULL,
          ended_at REAL NOT NULL,
          comet INTEGER NOT NULL,
          profile TEXT NOT NULL,         -- JSON, empty for an empty profile
          device TEXT,                   -- JSON
          participants TEXT NOT NULL,    -- JSON, empty for nobody
          last INTEGER NOT NULL,
          last_at REAL NOT NULL,
          last_text TEXT NOT NULL,
          unread INTEGER NOT NULL,
          acked INTEGER NOT NULL,
          announced INTEGER NOT NULL,
          notable INTEGER NOT NULL,
          absent_since REAL,
          seats INTEGER NOT NULL,        -- newest participant number ever given
          present_until REAL,            -- the longest lease of the session's readers
          unheard_since REAL,            -- see sqlite_presence.py
          pushes INTEGER NOT NULL DEFAULT 0,
          lease REAL NOT NULL DEFAULT 0
        ) STRICT
        """,
        """
        CREATE TABLE entry (
          session INTEGER NOT NULL,
          position INTEGER NOT NULL,
          kind TEXT NOT NULL,
          role TEXT NOT NULL,
          participant INTEGER NOT NULL,
          nickname TEXT NOT NULL,
          at REAL NOT NULL,
          text TEXT NOT NULL,
          message_type TEXT NOT NULL,
          user_data TEXT NOT NULL,       -- JSON, empty for none
          notable INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX entry_position ON entry (session, position)",
        """
        CREATE TABLE once (
          session INTEGER NOT NULL,
          key TEXT NOT NULL,
          first INTEGER NOT NULL,
          last INTEGER NOT NULL,         -- first - 1 when nothing was stored
          at REAL NOT NULL,
          PRIMARY KEY (session, key)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE reader (
          session INTEGER NOT NULL,
          client_id TEXT NOT NULL,
          until REAL NOT NULL,
          PRIMARY KEY (session, client_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX reader_client ON reader (client_id)",
        "CREATE INDEX session_state ON session (state, started_at)",
        "CREATE INDEX session_user ON session (user) WHERE user <> ''",
        "CREATE INDEX session_new ON session (created_at) WHERE state = 'new'",
        "CREATE INDEX session_over ON session (ended_at) WHERE state = 'ended'",
        """
        CREATE INDEX session_present ON session (present_until)
        WHERE absent_since IS NULL AND state IN ('waiting', 'active')
        """,
        """
        CREATE INDEX session_unheard ON session (service, unheard_since)
        WHERE unheard_since IS NOT NULL AND device IS NOT NULL
        """,
    ),
    # Several devices per session, and jobs that are pushes to them.
    (
        "ALTER TABLE session ADD COLUMN devices TEXT NOT NULL DEFAULT ''",  # JSON
        # Whether one of the devices is not muted: without it, no push is due.
        "ALTER TABLE session ADD COLUMN reachable INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE session ADD COLUMN badge_base INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE session ADD COLUMN badge_at REAL NOT NULL DEFAULT 0",
        """
        CREATE TABLE device (            -- who has which, from session.devices
          session INTEGER NOT NULL,
          type TEXT NOT NULL,
          id TEXT NOT NULL,
          muted INTEGER NOT NULL,
          PRIMARY KEY (session, type, id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX device_name ON device (type, id)",
        """
        CREATE TABLE job (
          number INTEGER PRIMARY KEY,
          id TEXT NOT NULL UNIQUE,
          session INTEGER NOT NULL,
          device TEXT NOT NULL,          -- JSON
          type TEXT NOT NULL,            -- of the device
          device_id TEXT NOT NULL,
          provider TEXT NOT NULL,
          position INTEGER NOT NULL,
          content BLOB NOT NULL,
          not_before REAL NOT NULL,
          expires_at REAL NOT NULL,
          silent INTEGER NOT NULL,
          attempts INTEGER NOT NULL DEFAULT 0,
          lease REAL NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE INDEX job_session ON job (session)",
        "CREATE INDEX job_expiry ON job (expires_at)",
        """
        CREATE INDEX job_ready ON job (provider, max(not_before, lease), expires_at)
        """,
        """
        INSERT INTO device
        SELECT number, json_extract(device, '$.type'), json_extract(device, '$.id'), 0
        FROM session WHERE device IS NOT NULL
        """,
        # Of several users who brought the same device, the last one has it.
        """
        DELETE FROM device WHERE EXISTS (
          SELECT 1 FROM session mine
          JOIN device d ON d.type = device.type AND d.id = device.id
          JOIN session theirs ON theirs.number = d.session
          WHERE mine.number = device.session
            AND (theirs.user <> mine.user OR mine.user = '')
            AND (theirs.started_at, theirs.number) > (mine.started_at, mine.number)
        )
        """,
        """
        UPDATE session SET reachable = 1, devices =
          json_array(json_set(device, '$.registered_at', started_at))
        WHERE number IN (SELECT session FROM device)
        """,
        "DROP INDEX session_unheard",
        "ALTER TABLE session DROP COLUMN device",
        """
        CREATE INDEX session_unheard
        ON session (service, unheard_since, lease, pushes)
        WHERE unheard_since IS NOT NULL AND reachable
        """,
    ),
    # What a push shall be like, what became of it, and badges that went down.
    (
        "ALTER TABLE entry ADD COLUMN push TEXT NOT NULL DEFAULT ''",  # JSON
        # Whether devices may show a number that was true when a push was sent.
        "ALTER TABLE session ADD COLUMN badged INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE session ADD COLUMN badge_lease REAL NOT NULL DEFAULT 0",
        """
        CREATE INDEX session_badged ON session (badge_lease)
        WHERE badged AND acked >= notable
        """,
        """
        CREATE TABLE sent (
          session INTEGER NOT NULL,
          id TEXT NOT NULL,
          device_type TEXT NOT NULL,
          provider TEXT NOT NULL,
          position INTEGER NOT NULL,
          sent_at REAL NOT NULL,
          shown_at REAL,
          opened_at REAL,
          PRIMARY KEY (session, id)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    # Customers who fell silent before a chat ended, and have not read its end.
    (
        # Of chats that have ended already, nobody is told now.
        "UPDATE session SET present_until = NULL WHERE state = 'ended'",
        """
        CREATE INDEX session_parted ON session (present_until)
        WHERE absent_since IS NULL AND state = 'ended' AND acked < notable
        """,
    ),
    # One type for what FCM serves: a phone was as many devices as its type has names.
    _as_one("fcm", "('fcm', 'gcm', 'android')", lambda device_id: device_id),
    # One name for a browser: it was as many devices as its subscription has spellings.
    _as_one("webpush", "('webpush')", _endpoint),
)

# An entry and what it changes, as one statement of `sqlite_append.py`: each statement
# makes way for other threads several times, and waits for its turn again.
GROWING = (
    """
    CREATE TEMP VIEW grown AS SELECT *, '' AS once, 0 AS first, 0 AS said_at,
      0 AS keep, 0 AS more FROM main.entry
    """,
    """
    CREATE TEMP TRIGGER grow INSTEAD OF INSERT ON grown BEGIN
      INSERT INTO entry VALUES (
        NEW.session, NEW.position, NEW.kind, NEW.role, NEW.participant, NEW.nickname,
        NEW.at, NEW.text, NEW.message_type, NEW.user_data, NEW.notable, NEW.push
      );
      UPDATE session SET last = NEW.position, last_at = NEW.at,
        last_text = iif(NEW.kind = 'Message', NEW.text, last_text),
        unread = unread * NEW.keep + NEW.more,
        notable = iif(NEW.notable, NEW.position, notable)
      WHERE number = NEW.session;
      INSERT OR REPLACE INTO once
      SELECT NEW.session, NEW.once, NEW.first, NEW.position, NEW.said_at
      WHERE NEW.once <> '';
    END
    """,
    """
    CREATE TEMP TRIGGER unheard INSTEAD OF INSERT ON grown WHEN NEW.notable BEGIN
      UPDATE session SET unheard_since = max(absent_since, NEW.at)
      WHERE number = NEW.session AND unheard_since IS NULL;
    END
    """,
)


class NewerSchemaError(StoreError):
    """The file was written by a newer version of this program."""


def prepare(path: Path) -> sqlite3.Connection:
    """Open the file for writing; create it, or bring it up to date, if need be.

    A new file can be read and written by its owner only; SQLite gives its side
    files the same mode.

    Raises: NewerSchemaError; OSError; sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = _connect(str(path))
    # A text that is no UTF-8 would cost all that is done in its transaction.
    db.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        _migrate(db)
        for statement in GROWING:
            db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file, that `prepare` has seen, for reading only."""
    db = _connect(path.absolute().as_uri() + "?mode=ro")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(
        name,
        uri=name.startswith("file:"),
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


def _migrate(db: sqlite3.Connection) -> None:
    """All or nothing, and under the write lock: another process may try it too."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise NewerSchemaError(
                f"the database has schema {version}, this program knows up to"
                f" {len(MIGRATIONS)}: use the newer program"
            )
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
