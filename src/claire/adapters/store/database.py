"""Opens a ledger's database: creates or migrates it, and turns its errors into advice."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool, StaticPool

from claire.adapters.store.tables import HEAD_REVISION, metadata
from claire.model.errors import LedgerError

MIGRATIONS: Final = Path(__file__).with_name("migrations")
LEDGER: Final = "ledger.sqlite"
"""File name of a run's own ledger, in its run directory."""

BUSY_MS: Final = 5000
"""How long a statement waits for another process before it gives up."""

_REMEDY: Final = {
    "SQLITE_BUSY": "Another process is writing it: wait for it or stop it, then try again.",
    "SQLITE_LOCKED": "Another process is writing it: wait for it or stop it, then try again.",
    "SQLITE_READONLY": "It can only be read: check the permissions of the file, its folder and the disk.",
    "SQLITE_FULL": "The disk is full: free space, or choose another folder.",
    "SQLITE_IOERR": "The disk refused (full, over a limit, or failing): check it, free space, or choose another folder.",
    "SQLITE_CANTOPEN": "Check that its folder exists and may be written.",
    "SQLITE_NOTADB": "The file is something else, or damaged: restore it from a backup, or remove it to start anew.",
    "SQLITE_CORRUPT": "The file is damaged: restore it from a backup.",
}


def sqlite_url(path: Path) -> sa.URL:
    """Return the address of a ledger in a file."""
    return sa.URL.create("sqlite", database=str(path))


def open_ledger(url: sa.URL | Path, *, busy_ms: int = BUSY_MS) -> sa.Engine:
    """Return an engine on a ledger whose tables are up to date; made or migrated where needed.

    Raises:
        LedgerError: it cannot be opened or written, is damaged, or was written by a newer version.
    """
    url = sqlite_url(url) if isinstance(url, Path) else url
    with ledger_errors(url):
        engine = _engine(url, busy_ms=busy_ms)
        with engine.connect() as connection:
            found = revision(connection)
            connection.rollback()
            if found == HEAD_REVISION:
                return engine
            if found is None and not sa.inspect(connection).get_table_names():
                connection.rollback()
                _create(connection)
                return engine
            connection.rollback()
            migrate(connection)
        return engine


@contextmanager
def read_ledger(path: Path) -> Iterator[sa.Connection]:
    """Open the ledger in a file, which is never changed: one of an older version is copied into memory and migrated there.

    Raises:
        LedgerError: there is no such ledger, it cannot be read, or another version wrote it.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger. Give a run directory; `claire history` lists the runs.")
    uri = path.resolve().as_uri() + "?mode=ro"
    url = sa.URL.create("sqlite", database=uri.replace("file://", "file:"), query={"uri": "true"})
    with ledger_errors(url):
        engine = _engine(url, busy_ms=BUSY_MS, write=False)
        with engine.connect() as connection:
            found = revision(connection)
            if found == HEAD_REVISION:
                yield connection
                return
        if found is None or found > HEAD_REVISION:
            raise LedgerError(
                f"{path}: its tables are of revision {found or 'none'}, but this program reads {HEAD_REVISION}."
                f" Use the version of Claire that wrote it."
            )
        with closing(sqlite3.connect(uri, uri=True)) as file, closing(sqlite3.connect(":memory:")) as copy:
            file.backup(copy)
            engine = _engine(url, busy_ms=BUSY_MS, write=False, opened=copy)
            with engine.connect() as connection:
                migrate(connection)
                yield connection


def settle(connection: sa.Connection) -> None:
    """Leave an SQLite ledger as one self-contained file, unless another process is using it; nothing else to do elsewhere.

    Reading a ledger in WAL mode makes files beside it, which a folder that can only be read does not allow.
    """
    if connection.dialect.name != "sqlite":
        return
    raw = connection.connection
    try:
        raw.cursor().execute("PRAGMA busy_timeout = 0").execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise


def revision(connection: sa.Connection) -> str | None:
    """Return the migration that a database stands at; None if it never saw one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(connection: sa.Connection, to: str = "head") -> None:
    """Bring a database to a revision, forward or back, or to none with ``base``.

    Raises:
        LedgerError: the database stands at a revision that this version does not know.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    config = alembic_config(connection)
    try:
        if to == "base" or to < (revision(connection) or ""):
            connection.rollback()
            command.downgrade(config, to)
        else:
            command.upgrade(config, to)
    except CommandError as error:
        raise LedgerError(
            f"{connection.engine.url.render_as_string()}: cannot be brought to revision {to}: {error}."
            f" A newer version of Claire may have written it; use that one."
        ) from error
    connection.commit()


def alembic_config(connection: sa.Connection) -> Any:
    """Return Alembic's configuration for one open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def ledger_errors(url: sa.URL) -> Iterator[None]:
    """Turn the database's errors into LedgerError, with the place and what to do about it."""
    place = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    try:
        yield
    except IntegrityError as error:
        raise LedgerError(
            f"{place}: the ledger refuses a row that contradicts it: {error.orig}. Do not trade on; compare it with the"
            f" journal (`claire replay`)."
        ) from error
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        name = str(getattr(cause, "sqlite_errorname", ""))
        family = "_".join(name.split("_")[:2])
        remedy = _REMEDY.get(family, "Check that the database is there and may be written.")
        raise LedgerError(f"{place}: the ledger cannot be used: {cause}. {remedy}") from error


def _create(connection: sa.Connection) -> None:
    """Make all tables at once, without loading Alembic; a test proves that this equals the migrations."""
    with connection.begin():
        metadata.create_all(connection)
        connection.execute(
            sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))")
        )  # fmt: skip
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:it)"), {"it": HEAD_REVISION})


def _engine(url: sa.URL, *, busy_ms: int, write: bool = True, opened: sqlite3.Connection | None = None) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url)
    if opened is not None:
        engine = sa.create_engine(url, poolclass=StaticPool, creator=lambda: opened)
    else:
        engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": busy_ms / 1000})

    @event.listens_for(engine, "connect")
    def prepare(dbapi: Any, record: Any) -> None:
        dbapi.isolation_level = None  # transactions begin where we say, also around DDL
        cursor = dbapi.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if write:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
