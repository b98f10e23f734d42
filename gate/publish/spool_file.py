"""The file of the spool: a SQLite database whose rows are the events that Redis has not confirmed.

WAL mode with `synchronous=NORMAL`: a commit has left the process, so SIGKILL loses nothing of it, and costs no fsync.
`sync` makes what was committed survive a power cut too. The file is locked
for one process, which also spares the shared-memory file, whose pages a full disk would turn into SIGBUS.
"""

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gate.errors import ConfigError, EventError, SpoolError
from gate.publish.event import Event, decode, encode
from gate.publish.sealing import Seal, UnsealError
from gate.publish.waiting import DropReason

NAME = "events.sqlite"
DAMAGED_NAME = "events.sqlite.damaged"

_VERSION = 1
_CHECK = b"facegate spool"
_MOST_OVERHEAD = 2.0
"""Most bytes of the file for a byte of events: names and rows take 5 % of a face of 10 kB and half of a visit's end."""

_LEAST_PAGES = 1024
_WAL_BYTES = 16_000_000

_SCHEMA = """
CREATE TABLE events (
    ticket INTEGER PRIMARY KEY,
    improvable INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    since_ms INTEGER,
    size INTEGER NOT NULL,
    sealed INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX by_worth ON events (improvable, ticket, stored_ms, size);
CREATE TABLE positions (stream TEXT PRIMARY KEY, entry_id BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class SpoolCause(str, Enum):
    """Why the disk keeps no events; the value is safe as a metric label."""

    FULL = "full"
    READ_ONLY = "read_only"
    DAMAGED = "damaged"
    IN_USE = "in_use"
    OTHER_KEY = "other_key"
    SLOW = "slow"
    FAILING = "failing"


_REMEDIES = {
    SpoolCause.FULL: "the disk is full; make room",
    SpoolCause.READ_ONLY: "nothing can be written there; correct spool.dir, its owner or the mount",
    SpoolCause.DAMAGED: "the file is damaged",
    SpoolCause.IN_USE: "another gate uses it; give each its own spool.dir",
    SpoolCause.OTHER_KEY: "what lies there was encrypted with another key",
    SpoolCause.FAILING: "the disk fails; see the system's log",
    SpoolCause.SLOW: "the disk does not answer in time",
}

_CAUSES = (
    ("disk is full", SpoolCause.FULL),
    ("readonly", SpoolCause.READ_ONLY),
    ("unable to open", SpoolCause.READ_ONLY),
    ("malformed", SpoolCause.DAMAGED),
    ("not a database", SpoolCause.DAMAGED),
    ("no such table", SpoolCause.DAMAGED),
    ("no such column", SpoolCause.DAMAGED),
    ("locked", SpoolCause.IN_USE),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One event on the disk."""

    ticket: int
    event: Event
    improvable: bool
    stored_ms: int
    """Unix milliseconds at which it was accepted."""

    since_ms: int | None
    """Unix milliseconds from which its latency counts; None where it has none."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One event that may have to go."""

    ticket: int
    size_bytes: int
    reason: DropReason


def spool_error(cause: SpoolCause, folder: Path) -> SpoolError:
    """What is wrong with the spool in `folder`, and what to do."""
    return SpoolError(f"spool {folder}: {_REMEDIES[cause]}", cause=cause.value)


class SpoolFile:
    """The open file. One thread at a time uses it.

    Attributes:
        rows: how many events it holds.
        size_bytes: their bytes, as metrics count them.
        positions: stream -> id of the last entry that the server confirmed.
    """

    def __init__(self, folder: Path, *, seal: Seal | None = None, max_bytes: int) -> None:
        """Open or make the file.

        Args:
            folder: where it lies; made where it is missing.
            seal: encrypts what is written from now on; None writes in the clear.
            max_bytes: what the owner keeps the events below. A file of twice that takes no more, as a full disk would.

        Raises:
            SpoolError: the disk does not let us.
            ConfigError: what lies there was sealed with another key.
        """
        self._folder = folder
        self._seal = seal
        self.rows = 0
        self.size_bytes = 0
        self.positions: dict[str, bytes] = {}
        self._db = self._connect()
        try:
            with self._translated():
                self._prepare(max_bytes)
            self._check_key()
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._folder / NAME

    def tickets(self) -> set[int]:
        """The ticket of every event."""
        with self._translated():
            return {ticket for (ticket,) in self._db.execute("SELECT ticket FROM events INDEXED BY by_worth")}

    def fact(self, name: str, value: str) -> str:
        """A text that is kept beside the events: what was kept under `name`, else `value`, which then is."""
        with self._translated():
            self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value.encode()))
            (kept,) = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return bytes(kept).decode()

    def write(
        self, added: Sequence[Stored], removed: Collection[int] = (), positions: Mapping[str, bytes] | None = None
    ) -> None:
        """Add and remove events and remember positions, all or nothing. Raises `SpoolError`, `EventError`."""
        rows = [self._row(stored) for stored in added]
        with self._transaction():
            self._remove(removed)
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if positions:
                self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
            self._count(len(rows), sum(stored.size_bytes for stored in added))
        self.positions.update(positions or {})

    def read(self, after: int, most: int, enough_bytes: float) -> tuple[list[Stored], list[int]]:
        """The next `most` events behind a ticket, in order; and the tickets of those that cannot be read.

        No further one is read when `enough_bytes` are together.
        """
        found: list[Stored] = []
        unreadable: list[int] = []
        with self._translated():
            rows = self._db.execute("SELECT * FROM events WHERE ticket > ? ORDER BY ticket LIMIT ?", (after, most))
            for ticket, improvable, stored_ms, since_ms, size, sealed, body in rows:
                try:
                    event = decode(_unpack(self._opened(ticket, body) if sealed else body))
                except (EventError, UnsealError, ValueError, KeyError, TypeError):
                    unreadable.append(ticket)
                    continue
                found.append(Stored(ticket, event, bool(improvable), stored_ms, since_ms, size))
                enough_bytes -= size
                if enough_bytes <= 0:
                    break
        return found, unreadable

    def least_wanted(self, size_bytes: int, kept: Collection[int]) -> list[Candidate]:
        """What to give up to free so many bytes, but none of `kept`.

        Faces that a later one may replace go first, then best shots and visit ends, the oldest first.
        """
        chosen: list[Candidate] = []
        with self._translated():
            rows = self._db.execute("SELECT improvable, ticket, size FROM events ORDER BY improvable DESC, ticket")
            for improvable, ticket, size in rows:
                if size_bytes <= 0:
                    break
                if ticket not in kept:
                    reason = DropReason.IMPROVABLE_OVERFLOW if improvable else DropReason.FINAL_OVERFLOW
                    chosen.append(Candidate(ticket, size, reason))
                    size_bytes -= size
        return chosen

    def older_than(self, before_ms: float) -> list[Candidate]:
        """What was accepted before a Unix time in milliseconds."""
        with self._translated():
            query = "SELECT ticket, size FROM events INDEXED BY by_worth WHERE stored_ms < ?"
            rows = self._db.execute(query, (before_ms,)).fetchall()
        return [Candidate(ticket, size, DropReason.EXPIRED) for ticket, size in rows]

    def sync(self) -> None:
        """Make everything that was written so far survive a power cut. Raises `SpoolError`."""
        with self._translated():
            self._db.execute("PRAGMA synchronous=FULL")
            try:
                self._db.execute("INSERT OR REPLACE INTO facts VALUES ('synced', '')")
            finally:
                self._db.execute("PRAGMA synchronous=NORMAL")

    def tidy(self) -> None:
        """Give back the room of events that are gone, so that no picture of them stays in the file."""
        with self._translated():
            # `execute` would stop after one page: each is a step that returns no row.
            self._db.executescript("PRAGMA incremental_vacuum")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def is_there(self) -> bool:
        """Whether the open file still is the one in the folder; somebody may have removed it."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would make it readable for everybody; these are faces.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._inode = self.path.stat().st_ino
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise spool_error(SpoolCause.FULL if full else SpoolCause.READ_ONLY, self._folder) from None
        with self._translated():
            return sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)

    def _prepare(self, max_bytes: int) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise ConfigError(f"spool {self._folder}: written by another version of facegate; empty it with that one")
        db.execute("COMMIT")
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        pages = max(int(max_bytes * _MOST_OVERHEAD) // page_bytes, _LEAST_PAGES)
        db.execute(f"PRAGMA max_page_count={pages}").fetchall()
        self.rows, self.size_bytes = db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM events INDEXED BY by_worth"
        ).fetchone()
        self.positions = {stream: bytes(entry_id) for stream, entry_id in db.execute("SELECT * FROM positions")}

    def _check_key(self) -> None:
        """Refuse another key than the one that sealed what lies here; once nothing sealed is left, take the new one."""
        with self._translated():
            known = self._db.execute("SELECT value FROM facts WHERE name = 'key'").fetchone()
            sealed = known and self._db.execute("SELECT 1 FROM events WHERE sealed LIMIT 1").fetchone()
        if sealed and not self._opens(bytes(known[0])):
            problem = "no key is given" if self._seal is None else "the key is another one"
            raise ConfigError(
                f"spool {self._folder}: events were encrypted and {problem}. Give their key as spool.key_file, "
                "or move the folder away; nothing was changed."
            )
        if self._seal is not None:
            with self._translated():
                self._db.execute("INSERT OR REPLACE INTO facts VALUES ('key', ?)", (self._seal.close(_CHECK, b""),))

    def _opens(self, check: bytes) -> bool:
        try:
            return self._seal is not None and self._seal.open(check, b"") == _CHECK
        except UnsealError:
            return False

    def _row(self, stored: Stored) -> tuple[int, int, int, int | None, int, int, bytes]:
        body = _pack(encode(stored.event))
        if self._seal is not None:
            body = self._seal.close(body, _about(stored.ticket))
        head = (stored.ticket, int(stored.improvable), stored.stored_ms, stored.since_ms, stored.size_bytes)
        return (*head, int(self._seal is not None), body)

    def _opened(self, ticket: int, body: bytes) -> bytes:
        if self._seal is None:
            raise UnsealError
        return self._seal.open(body, _about(ticket))

    def _remove(self, tickets: Collection[int]) -> None:
        for ticket in tickets:
            row = self._db.execute("SELECT size FROM events WHERE ticket = ?", (ticket,)).fetchone()
            if row is not None:
                self._db.execute("DELETE FROM events WHERE ticket = ?", (ticket,))
                self._count(-1, -row[0])

    def _count(self, rows: int, size_bytes: int) -> None:
        self.rows += rows
        self.size_bytes += size_bytes

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.rows, self.size_bytes
        try:
            with self._translated():
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
        except BaseException:
            self.rows, self.size_bytes = before
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            cause = next((cause for words, cause in _CAUSES if words in text), SpoolCause.FAILING)
            raise spool_error(cause, self._folder) from None


def set_aside(folder: Path, into: str = DAMAGED_NAME) -> None:
    """Rename a damaged file and its log, so that a new one can be made; one such file is kept, the newest."""
    for end in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            (folder / (NAME + end)).replace(folder / (into + end))


def _about(ticket: int) -> bytes:
    return ticket.to_bytes(8, "big")


def _pack(entry: Mapping[str, bytes]) -> bytes:
    head = json.dumps([[name, len(value)] for name, value in entry.items()]).encode("ascii")
    return b"".join([len(head).to_bytes(4, "big"), head, *entry.values()])


def _unpack(body: bytes) -> dict[str, bytes]:
    start = 4 + int.from_bytes(body[:4], "big")
    entry = {}
    for name, length in json.loads(body[4:start]):
        entry[name] = body[start : start + length]
        start += length
    return entry
