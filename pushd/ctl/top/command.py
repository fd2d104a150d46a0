"""The command `pushctl top`: a live table on a terminal, or plain lines."""

import sys
import time
from argparse import Namespace

from pushd.client import PushdError
from pushd.ctl.api_client import api_of
from pushd.ctl.terminal import warn
from pushd.ctl.top.sample import Sampler
from pushd.ctl.top.table import format_table


def top(args: Namespace) -> int:
    """Show the channels with their rates, subscribers, connections and queues."""
    sampler = Sampler(api_of(args), args.prefix)
    if not args.once and sys.stdin.isatty() and sys.stdout.isatty():
        from pushd.ctl.top.screen import show_live

        return show_live(sampler, args.interval)
    return print_tables(sampler, args.interval, args.once)


def print_tables(sampler: Sampler, interval: float, is_once: bool) -> int:
    """Print a table after each interval, separated by empty lines.

    :param interval: in seconds.
    """
    before = sampler.read()
    while True:
        time.sleep(interval)
        try:
            after = sampler.read()
        except PushdError as error:
            if is_once:
                raise
            warn(str(error))
            continue
        print("\n".join(format_table(before, after)), flush=True)
        if is_once:
            return 0
        print()
        before = after
