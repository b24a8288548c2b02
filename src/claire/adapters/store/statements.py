"""The ledger's inserts, compiled once: SQLAlchemy's own handling of many rows costs more than the database does."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from claire.adapters.store import tables
from claire.adapters.store.rows import Row

REPLACED: Final = (tables.orders, tables.positions, tables.portfolio_snapshots)
"""Tables that show the last state: a newer row replaces an older one."""

IDS: Final = ("client_order_id", "order_id")
"""What an order keeps once it is known, though a later event may not repeat it."""


class Insert:
    """Puts rows into one table, where their keys are free; into those of `REPLACED` also where they are not."""

    def __init__(self, table: sa.Table, dialect: sa.Dialect) -> None:
        """Compile the statement for a database."""
        self._names = [column.name for column in table.columns]
        statement = _upsert(table, dialect.name) if table in REPLACED else _insert(table, dialect.name)
        compiled = statement.compile(dialect=dialect, column_keys=self._names)
        self._sql = str(compiled)
        self._order: Sequence[str] | None = compiled.positiontup
        self._converters: dict[str, Callable[[Any], Any] | None] = {
            column.name: column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.columns
        }
        self._steps = [(name, self._converters[name]) for name in self._order or self._names]

    def run(self, connection: sa.Connection, rows: Sequence[Row]) -> int:
        """Insert rows; return how many were new or replaced an older one."""
        if self._order is None:
            values: Any = [{n: row[n] if f is None else f(row[n]) for n, f in self._steps} for row in rows]
        else:
            values = [tuple([row[n] if f is None else f(row[n]) for n, f in self._steps]) for row in rows]
        return connection.exec_driver_sql(self._sql, values).rowcount


def latest(table: sa.Table, rows: Sequence[Row]) -> list[Row]:
    """Return the last row of each key; ids that an earlier one brought stay."""
    names = [column.name for column in table.primary_key.columns]
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        if table is tables.orders and key in found:
            row |= {name: row[name] or found[key][name] for name in IDS}
        found[key] = row
    return list(found.values())


def _insert(table: sa.Table, backend: str) -> Any:
    return _dialect_insert(table, backend).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def _upsert(table: sa.Table, backend: str) -> Any:
    insert = _dialect_insert(table, backend)
    new = insert.excluded
    values = {column.name: new[column.name] for column in table.columns if not column.primary_key}
    where = None
    if table is tables.orders:
        for name in IDS:
            values[name] = sa.func.coalesce(sa.func.nullif(new[name], sa.literal_column("''")), table.c[name])
        where = new.decision_no >= table.c.decision_no
    elif table is tables.positions:
        where = new.ts_event_ns >= table.c.ts_event_ns
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values, where=where)


def _dialect_insert(table: sa.Table, backend: str) -> Any:
    return postgresql.insert(table) if backend == "postgresql" else sqlite.insert(table)
