"""The lines of keys: the scanner finds each key that tomllib finds, at its line."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pushd.config.key_lines import key_lines, line_of
from pushd.config.mistakes import KeyPath

ROOT = Path(__file__).parent.parent.parent

SAMPLE = Path(__file__).with_name("lines.toml").read_text(encoding="utf-8")
EXPECTED = {
    ("top",): 2,
    ("quoted key",): 3,
    ("literal.key",): 4,
    ("a", "b", "c"): 5,
    ("http",): 7,
    ("http", "listen"): 8,
    ("http", "listen", 1): 9,
    ("http", "listen", 2): 10,
    ("http", "listen", 3): 11,
    ("http", "listen", 3, 3): 12,
    ("http", "text"): 14,
    ("http", "raw"): 18,
    ("http", "other"): 19,
    ("http", "inline", "second", "third"): 21,
    ("http", "inline", "list", 2): 22,
    ("http", "date"): 23,
    ("auth", "issuer", "a b"): 25,
    ("auth", "issuer", "a b", "issuer"): 26,
    ("channel",): 28,
    ("channel", 1, "match"): 29,
    ("channel", 2): 30,
    ("channel", 2, "match"): 31,
    ("channel", 2, "sub", "deep"): 33,
    ("channel", 2, "list", 1, "y"): 35,
    ("channel", 2, "list", 2, "y"): 37,
    ("last",): 38,
}


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the paths of all keys and entries."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from paths(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from paths(part, (*path, number))


def test_lines_of_a_sample():
    lines = key_lines(SAMPLE)
    assert set(paths(tomllib.loads(SAMPLE))) == set(lines)
    assert {path: lines[path] for path in EXPECTED} == EXPECTED


def test_missing_key_is_at_the_line_of_its_table():
    lines = key_lines(SAMPLE)
    assert line_of(lines, ("channel", 2, "age")) == 30
    assert line_of(lines, ("nowhere", "age")) is None


def test_lines_of_the_sample_file():
    text = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    assert set(paths(tomllib.loads(text))) == set(key_lines(text))


SCALARS = st.sampled_from(
    ["1", "-1.5e3", "true", "07:32:00", "'#'", '"]"', '"\\""', '"\\\\"', "''", '""', "'''a\n'b'''", '"""\n"\\"""\\n"""']
)
SPACES = st.sampled_from(["", " ", "\t", "  "])
BREAKS = st.sampled_from(["", " ", "\n", " # ]}\n", "\n\n  "])


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    """Return a value as it is written."""
    kind = draw(st.integers(0, 3 if depth else 1))
    if kind < 2:
        return draw(SCALARS)
    parts = draw(st.lists(values(depth - 1), max_size=3))
    if kind == 2:
        return f"[{','.join(draw(BREAKS) + part + draw(BREAKS) for part in parts)}]"
    return f"{{{','.join(f'{draw(SPACES)}k{at} = {part}{draw(SPACES)}' for at, part in enumerate(parts))}}}"


@given(st.lists(st.tuples(st.sampled_from(["[[t]]", "[s{}]", "[s{}.'x y']", "k{} =", '"k{}".b=']), BREAKS, values())))
def test_each_key_has_its_line(statements):
    text, starts = "", []
    for number, (form, space, value) in enumerate(statements):
        text += "\n" if "\n" not in space else space
        starts.append((form.format(number).strip("[]= ").split(".")[0].strip('"'), text.count("\n") + 1))
        text += form.format(number) + ("" if form.startswith("[") else f" {value}") + "\n"
    lines = key_lines(text)
    assert set(paths(tomllib.loads(text))) == set(lines)
    for name, start in starts:
        assert start in {line for path, line in lines.items() if name in path}
