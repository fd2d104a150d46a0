"""The backend in one SQLite file: nothing to install, and acknowledged messages survive a crash.

One thread writes (`writing`), a few read (`reading`), and `backend` joins them to the reactor. The SQL
is in `schema`, `rows`, `writer` and `view`; `ledger` has the retention rules, without any SQL.
"""
