"""The page of results, docs/benchmarks.md, and its plot."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from bench import report
from bench.cases import CASES
from bench.cases.interface import Case, Scale
from bench.figures import Figures
from bench.goals import Goal
from bench.plot import picture

_WIDTH = 120
_OPENING = """\
# Benchmarks

pushd beside other servers that push, all measured in one run, on one machine, by one client. This page is written by
`{command}`; `python -m bench --help` says what can be chosen.
"""
_READING = """\
## How to read this

- **CPU** is the time that the operating system accounts to the server's processes while a measurement goes on, in user
  and kernel mode. It is the figure to compare: a server that takes half the CPU of another serves twice as many on the
  same machine. Publishing is part of it.
- **The C loop** accepts the same connections and calls `send` once for each subscriber and message; it does nothing
  else. So it is what the kernel itself takes, and no server that sends each message to each subscriber by itself can
  take less. Several messages in one `send` can, as bursts show. The Python loop is the same with Python's calls.
- **Deliveries per second** are what came out with one CPU for the server. Where the server needs little, the client or
  the pauses between messages are the limit, not the server.
- **Latency** runs from the moment at which a message was due to be published, also where the client was late, to the
  moment at which the client has read it. It contains the time that the client, with one CPU for all subscribers, needs
  to come round to each. At 100 messages a second to {many:,} subscribers a server that takes 10 µs for a delivery is
  busy all the time: above that, messages queue, and latency says how far behind it is.
- **Goals** compare a figure with another one of the same round; what counts is the median over the rounds. `met` is
  said of that median, so a quotient near its limit may fall on either side in another run.
- Times differ from machine to machine and from hour to hour; quotients differ much less.
"""
_MEASURING = """\
## How it was measured

Each server runs with one thread of work, on a CPU of its own where the machine has two, and listens on loopback. The
client is a program in C (`bench/load.c`) on another CPU, the same for all: it opens the subscribers, publishes, and
finds the messages in what comes by looking for a mark, whatever the protocol around it. Each message has in it its
channel, its number and the time. So the client counts, for each subscriber, what is lost, comes twice, in the wrong
order or to the wrong one, and it takes all times by one clock.

Rounds are interleaved: in each, all rows have their turn one after the other, beginning with another one each time, so
that what else goes on on the machine hits all alike. There were {rounds} rounds, and the tables show medians; memory of
idle subscribers was taken once. Before it is measured a server has to be at rest.

pushd is started as `twistd -n pushd` with its defaults, and hears publishers by TCP lines but where a table says
otherwise; nchan by POST, the others by their own protocols. nchan has one worker process and keeps 1,000 messages of a
channel, as pushd does; Redis saves nothing; NATS and Redis keep no messages at all.
"""


def write(
    path: Path,
    figures: Figures,
    goals: Sequence[Goal],
    machine: Sequence[tuple[str, str]],
    scale: Scale,
    command: str,
) -> None:
    """Write the page, and the plot next to it."""
    drawing = path.with_suffix(".svg")
    drawing.write_text(picture(figures), encoding="utf-8")
    path.write_text(_page(figures, goals, machine, scale, command, drawing.name), encoding="utf-8")


def _page(
    figures: Figures,
    goals: Sequence[Goal],
    machine: Sequence[tuple[str, str]],
    scale: Scale,
    command: str,
    drawing: str,
) -> str:
    met = sum(goal.is_met for goal in goals)
    parts = [
        _OPENING.format(command=command),
        report.markdown([["machine", ""], *map(list, machine)]) + "\n",
        f"![Bars of the figures below]({drawing})\n",
        f"{report.faults(figures)}\n",
        f"Of {len(goals)} goals {met} are met.\n",
        *(f"{note}\n" for note in figures.notes),
        *(_case(figures, goals, CASES[name]) for name in figures.rounds),
        _READING.format(many=scale.many),
        _MEASURING.format(rounds=scale.rounds),
    ]
    return "\n".join(parts)


def _case(figures: Figures, goals: Sequence[Goal], case: Case) -> str:
    parts = [f"## {case.title}", fill(case.about, _WIDTH), report.markdown(report.measured(figures, case))]
    if own := [goal for goal in goals if goal.case == case.name]:
        parts.append(report.markdown(report.judged(own)))
    return "\n\n".join(parts) + "\n"
