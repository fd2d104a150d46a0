"""`pushctl bench`: run a load test, and print its figures."""

import json
import sys
from argparse import Namespace

from pushd.ctl.api_client import api_of
from pushd.ctl.bench import BenchPlan, BenchRun, raise_file_limit
from pushd.ctl.errors import EXIT_FAILED
from pushd.ctl.latency import format_duration
from pushd.ctl.progress import Progress
from pushd.ctl.subscribe import tcp_address
from pushd.ctl.terminal import warn

_BUSY_SHARE = 0.9
"""Fraction of CPU time above which pushctl itself, not the daemon, limits the throughput."""


def bench(args: Namespace) -> int:
    """Run a load test; the exit status is 0 if every message was delivered once and in order."""
    plan = BenchPlan(args.transport, args.subscribers, args.channels, args.rate, args.seconds, args.size)
    raise_file_limit(plan.subscribers)
    progress = Progress(sys.stderr)
    try:
        result = BenchRun(api_of(args), tcp_address(args), plan, progress).run()
    finally:
        progress.end()
    quantiles = result.latencies.quantiles()
    if args.json:
        print(json.dumps({**result.as_dict(), "latency": quantiles}))
    else:
        shown = (f"{name:>9}  {format_duration(value)}" for name, value in quantiles.items())
        print("\n".join([*result.format_lines(plan), *shown, "", *result.latencies.histogram()]))
    if result.busy > _BUSY_SHARE:
        warn("pushctl itself used all its CPU time: the daemon may be faster than these figures show")
    return 0 if result.is_ok else EXIT_FAILED
