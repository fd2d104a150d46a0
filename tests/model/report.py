"""What is printed: a summary, and for a failure the shortest part of the journal that shows it."""

import re
from pathlib import Path

from tests.model.run import Round, Run

_FAULTS = 10
_LINES = 60
_ID_OR_TEXT = re.compile(r"\b(?:\w+-[0-9]+|p[0-9]+\.[0-9]+)\b")
_SUBSCRIBER = re.compile(r"(?:s[0-9]+|audit)\.[0-9]+: ")


def print_summary(run: Run) -> None:
    """Print what was done."""
    print(f"model: {run.rounds} rounds")
    for name, count in sorted(run.counts.items()):
        print(f"model:   {count:8} {name}")


def write_journal(round: Round, path: str) -> None:
    """Write everything that happened in a round to a file."""
    Path(path).write_text("\n".join(map(str, round.record.journal)) + "\n", encoding="utf-8")


def print_failure(round: Round) -> None:
    """Print the faults of a round, what happened to the channel of the first, and how to repeat it."""
    record = round.record
    print(f"model: {len(record.faults)} faults over {round.backend}")
    for sentence, channel in record.faults[:_FAULTS]:
        print(f"model: FAULT {sentence}{f' [{channel}]' if channel else ''}")
    sentence, channel = record.faults[0]
    print(f"model: around the first fault{f', channel {channel}' if channel else ''}:")
    for line in excerpt(round, sentence, channel):
        print(f"  {line}")
    print(f"model: repeat with: python -m tests.model --backend {round.backend} --seed {round.seed} --minutes 0")


def excerpt(round: Round, sentence: str, channel: str | None) -> list[str]:
    """Return the lines of the journal about a channel, the subscriber and the backend, near the message of a fault."""
    subscriber = sentence.partition(" ")[0]
    words = [word for word in _ID_OR_TEXT.findall(sentence) if word != subscriber]
    entries = [
        entry
        for entry in round.record.journal
        if entry.sentence.startswith(f"{subscriber}: ")
        or (not _SUBSCRIBER.match(entry.sentence) and entry.channel in (None, channel))
    ]
    wanted = re.compile("|".join(rf"\b{word}\b" for word in words) or "FAULT")
    first = next((place for place, entry in enumerate(entries) if wanted.search(entry.sentence)), len(entries))
    begin = max(0, first - _LINES // 3)
    return [str(entry) for entry in entries[begin : begin + _LINES]]
