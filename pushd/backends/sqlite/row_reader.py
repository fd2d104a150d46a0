"""Reading rows in one transaction, with reports of how many were read."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

CHUNK_ROWS = 256
"""Rows between two reports: about half a millisecond of Python."""


class RowReader:
    """Runs queries on a connection in a read transaction.

    :param on_rows_read: called with the number of rows after each `CHUNK_ROWS`. It may raise an exception to abort.
    """

    def __init__(self, db: sqlite3.Connection, on_rows_read: Callable[[int], None]) -> None:
        self._db = db
        self.on_rows_read = on_rows_read

    def first(self, query: str, *values: float | str | bytes) -> tuple[Any, ...]:
        """Return the first row of a query; an empty one if there is none."""
        return self._db.execute(query, values).fetchone() or ()

    def function(self, name: str, function: Callable[[str], int]) -> str:
        """Define a function of a text for queries, until another snapshot defines it again; return its name."""
        self._db.create_function(name, 1, function, deterministic=True)
        return name

    def rows(self, query: str, *values: float | str) -> Iterator[Any]:
        """Return the rows of a query."""
        return self._db.execute(query, values)

    def counted_rows(self, query: str, *values: float | str) -> Iterator[Any]:
        """Return the rows of a query that may be long; they are reported as they are read."""
        return self.counted(self._db.execute(query, values))

    def counted(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Yield rows and report them."""
        for count, row in enumerate(rows, 1):
            if count % CHUNK_ROWS == 0:
                self.on_rows_read(CHUNK_ROWS)
            yield row
