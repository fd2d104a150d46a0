"""The backend that keeps its history in one SQLite file: acknowledged messages survive a crash.

One thread writes (`writer_thread`), a few read (`reader_threads`), and `backend` connects them to the reactor. The SQL
is in `schema`, `rows`, `writer` and `log_snapshot`; `ledger` has the retention rules, without any SQL.
"""
