"""The store in one SQLite file: nothing to install, and what was acknowledged is still there after a crash.

One thread writes (`writing`), a few read (`reading`), and `backend` joins them to the reactor. What SQLite is asked to
do stands in `schema`, `rows`, `writer` and `view`; `ledger` has the rules of keeping, without any SQL.
"""
