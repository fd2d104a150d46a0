"""A worker: jobs in other processes report their progress to the page of the user who has started them.

Celery, RQ and Dramatiq use the client in the same way: one for each process, which is made when the module is imported.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pushd_client import Pushd

PUSHD = Pushd("http://127.0.0.1:8080", Path("app.token").read_text().strip())


def export(job: str, user: str) -> str:
    """Export something; Celery calls it as a task."""
    for percent in (0, 50, 100):
        data = {"job": job, "percent": percent}
        PUSHD.publish(f"users/{user}/inbox", data, event="progress", key=f"{job}-{percent}")
    return job


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        for done in pool.map(export, sys.argv[2:], [sys.argv[1]] * len(sys.argv[2:])):
            print(done, "is done")
