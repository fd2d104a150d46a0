"""The tables of a history file, and the migration of older files.

SQLite's `application_id` marks a file as a history of pushd, and `user_version` is the version of its schema. Each
version has one migration step from the version before. A new file runs all steps, so new and migrated files are equal.
"""

import sqlite3
from contextlib import closing

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.errors import Damaged

APPLICATION_ID = 0x70757368
"""``push`` in ASCII."""

_TABLES = """
CREATE TABLE log (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    now REAL NOT NULL,
    wall REAL NOT NULL,
    turned_back INTEGER NOT NULL,
    peak REAL NOT NULL
) STRICT;

CREATE TABLE channel (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    last INTEGER NOT NULL,
    last_time REAL NOT NULL,
    used INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    lost_time REAL NOT NULL,
    lost_reason TEXT NOT NULL,
    place INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;

CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    time REAL NOT NULL,
    born REAL NOT NULL,
    deadline REAL,
    content_type TEXT NOT NULL,
    form TEXT NOT NULL,
    event TEXT,
    end INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX message_of_channel ON message (channel, seq);
"""

_LOSSES_AND_DEADLINES = """
CREATE INDEX channel_by_loss ON channel (lost);
CREATE INDEX message_by_deadline ON message (deadline) WHERE deadline IS NOT NULL;
"""

_RUNS = """
ALTER TABLE log ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE log ADD COLUMN at_risk INTEGER NOT NULL DEFAULT 0;
"""

_SENDERS = """
ALTER TABLE message ADD COLUMN sender TEXT;
"""

_URLS = """
CREATE TABLE url (
    digest BLOB PRIMARY KEY,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX url_by_until ON url (until);
"""

_REVOCATIONS = """
CREATE TABLE revocation (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    issued_before INTEGER NOT NULL,
    until INTEGER NOT NULL,
    created INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
"""

_MEMBERS = """
CREATE TABLE member (
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    since REAL NOT NULL,
    meta BLOB,
    lease REAL,
    last REAL,
    lag INTEGER,
    gone REAL,
    PRIMARY KEY (channel, id)
) STRICT, WITHOUT ROWID;
"""

_HOOKS = """
CREATE TABLE hook (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL,
    dead INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hook_event (
    number INTEGER PRIMARY KEY,
    hook TEXT NOT NULL,
    channel TEXT NOT NULL,
    time REAL NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX hook_event_of_hook ON hook_event (hook, number);
"""

_KEYS = """
CREATE TABLE idempotency_key (
    number INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    digest BLOB NOT NULL,
    until REAL NOT NULL,
    sequences TEXT NOT NULL
) STRICT;
"""

_STEPS = (_TABLES, _LOSSES_AND_DEADLINES, _RUNS, _SENDERS, _URLS, _REVOCATIONS, _MEMBERS, _HOOKS, _KEYS)
VERSION = len(_STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """Return the schema version of a file; 0 for an empty one.

    :raises BackendUnusable: when it belongs to another program, or was written by a newer pushd.
    """
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if application != APPLICATION_ID and (version or db.execute("SELECT 1 FROM sqlite_schema").fetchone()):
        raise BackendUnusable("belongs to another program (its application_id is not that of pushd)")
    if version > VERSION:
        raise BackendUnusable(f"was written by a newer pushd (file version {version}, supported up to {VERSION})")
    return version


def check_tables(db: sqlite3.Connection, version: int) -> None:
    """Check that a file has the tables of its version.

    :raises Damaged: when its tables differ.
    """
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, "", 0.0, version)
        if model.execute(query).fetchall() != db.execute(query).fetchall():
            raise Damaged(f"its tables do not match the schema of version {version}")


def migrate(db: sqlite3.Connection, epoch: str, wall: float, target: int = VERSION) -> None:
    """Migrate an empty or older file to the current version in one transaction.

    :param epoch: the epoch of the log, if the file is empty.
    :param wall: unix seconds.
    :param target: the version at which to stop; for `check_tables` and tests.
    """
    version = version_of(db)
    if version >= target:
        return
    steps = "".join(_STEPS[version:target])
    if not version:
        columns = "id, epoch, seq, unknown, now, wall, turned_back, peak"
        steps += f"INSERT INTO log ({columns}) VALUES (1, '{epoch}', 0, 0, 0, {wall!r}, 0, 0);"
    db.executescript(
        f"BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {target}; COMMIT"
    )
