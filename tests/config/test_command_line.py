"""Words of the command line: all mistakes are found, with what was probably meant."""

import pytest

from pushd.config.command_line import examine

LONG = ["http=", "http-listen=", "tcp=", "open", "check", "config=", "help"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--http=:8080", "--open", "--tcp="],
        ["--config=a=b"],
        ["-cpushd.toml", "--check"],
    ],
)
def test_valid_words_are_kept(words: list[str]) -> None:
    assert examine(words, "c:", LONG) == (words, [])


def test_values_are_joined_and_beginnings_completed() -> None:
    assert examine(["--http", "", "-c", "x", "--che"], "c:", LONG) == (["--http=", "-cx", "--check"], [])


@pytest.mark.parametrize(
    ("words", "accepted", "mistakes"),
    [
        (["--htp", ":1", "--open"], ["--open"], ["unknown option --htp: did you mean --http?"]),
        (
            ["--htp=:1", "--opne"],
            [],
            ["unknown option --htp: did you mean --http?", "unknown option --opne: did you mean --open?"],
        ),
        (["--zzzzzz", "--check"], ["--check"], ["unknown option --zzzzzz"]),
        (["--ht", "x"], [], ["option --ht: could be --http, --http-listen"]),
        (["--open=yes"], [], ["option --open: must not have a value"]),
        (["--open", "--tcp"], ["--open"], ["option --tcp: a value is missing"]),
        (["-h"], [], ["unknown option -h: did you mean --help?"]),
        (["-x", "-y", "1"], [], ["unknown option -x", "unknown option -y"]),
        (
            ["start", "--open", "now"],
            ["--open"],
            [
                "unexpected argument 'start': only options are accepted",
                "unexpected argument 'now': only options are accepted",
            ],
        ),
    ],
)
def test_every_mistake_is_found(words: list[str], accepted: list[str], mistakes: list[str]) -> None:
    assert examine(words, "c:", LONG) == (accepted, mistakes)
