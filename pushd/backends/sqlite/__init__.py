"""The backend in one SQLite file: nothing to install, and acknowledged messages survive a crash.

One thread writes (`writer_thread`), a few read (`reader_threads`), and `backend` connects them with the reactor. The
SQL is in `schema`, `rows`, `writer` and `view`; `ledger` has the retention rules, without any SQL.
"""
