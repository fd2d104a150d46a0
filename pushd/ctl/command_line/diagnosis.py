"""The commands that test a daemon and what is in front of it."""

from argparse import ArgumentTypeError

from pushd.ctl.command_line.command import Commands, add_command, whole_number
from pushd.ctl.doctor.checks import CHECKS
from pushd.ctl.durations import seconds_between

BENCH_TRANSPORTS = ("sse", "stream", "mixed", "websocket", "tcp")
MARKER_BYTES = 40
"""The shortest message of a load test, as in `pushd.ctl.bench_client`."""
_DAY = 86400.0


def add_diagnosis_commands(commands: Commands) -> None:
    """Add `bench` and `doctor`."""
    _add_bench(commands)
    _add_doctor(commands)


def _add_bench(commands: Commands) -> None:
    bench = add_command(
        commands,
        "bench",
        "load_test:bench",
        "run a load test: check every delivery and plot the latencies",
        "pushctl bench",
        "pushctl bench --subscribers 1000 --rate 50 --transport websocket",
        "pushctl --url https://push.example.org bench --seconds 60 --json",
    )
    bench.add_argument(
        "--transport", default="sse", choices=BENCH_TRANSPORTS, help="transport of the subscribers (default: sse)"
    )
    bench.add_argument(
        "--subscribers",
        type=whole_number(60_000),
        default=100,
        metavar="N",
        help="number of subscribers (default: 100)",
    )
    bench.add_argument(
        "--channels", type=whole_number(10_000), default=1, metavar="N", help="number of channels (default: 1)"
    )
    bench.add_argument(
        "--rate", type=whole_number(100_000), default=100, metavar="N", help="messages per second (default: 100)"
    )
    bench.add_argument(
        "--seconds",
        type=seconds_between(1, 3600),
        default=10.0,
        metavar="DURATION",
        help="duration, such as 10, 30s or 5m (default: 10s)",
    )
    bench.add_argument(
        "--size",
        type=whole_number(1 << 20, MARKER_BYTES),
        default=100,
        metavar="BYTES",
        help="message size (default: 100)",
    )
    bench.add_argument("--json", action="store_true", help="print one line of JSON; times are in seconds")


def _add_doctor(commands: Commands) -> None:
    doctor = add_command(
        commands,
        "doctor",
        "doctor.command:doctor",
        "check what proxies in front of pushd break for each transport, and how to fix it",
        "pushctl doctor https://push.example.org",
        "pushctl doctor https://push.example.org --only sse,websocket --json",
        "pushctl --url http://10.0.0.5:8080 doctor https://push.example.org  # the proxy refuses publishing",
    )
    doctor.add_argument("target", metavar="URL", nargs="?", help="address that clients use (default: that of --url)")
    doctor.add_argument(
        "--idle",
        type=seconds_between(0, _DAY),
        default=70.0,
        metavar="DURATION",
        help="time without messages, such as 70, 90s or 5m (default: 70s)",
    )
    doctor.add_argument("--only", type=_check_names, default=CHECKS, help=f"of {','.join(CHECKS)}; default: all")
    doctor.add_argument("--json", action="store_true", help="print one line of JSON per check")


def _check_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names).difference(CHECKS):
        raise ArgumentTypeError(f"must be a list of {','.join(CHECKS)} (got {sorted(unknown)[0]!r})")
    return names
