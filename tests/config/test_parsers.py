"""Values of settings are accepted in every documented form, and refused with a helpful phrase."""

import re

import pytest

from pushd.config.parsers import (
    choice,
    count,
    duration,
    flag,
    namespace_level,
    network,
    origins,
    share,
    size,
    string_list,
)


@pytest.mark.parametrize(
    ("parse", "written", "value"),
    [
        (size(), 65536, 65536),
        (size(), "65536", 65536),
        (size(), "1000B", 1000),
        (size(), "64KiB", 65536),
        (size(), "4MiB", 4 << 20),
        (size(), "1GiB", 1 << 30),
        (size(minimum=0), 0, 0),
        (count(), 1, 1),
        (count(), "1000", 1000),
        (duration(), 10, 10.0),
        (duration(), 2.5, 2.5),
        (duration(), "2.5", 2.5),
        (duration(), "10s", 10.0),
        (duration(), "1500ms", 1.5),
        (duration(), "15m", 900.0),
        (duration(), "24h", 86400.0),
        (duration(), "7d", 604800.0),
        (share, 0, 0.0),
        (share, "0.01", 0.01),
        (share, 1.0, 1.0),
        (
            string_list(namespace_level),
            "pushd.hub=debug log_legacy=warn",
            ("pushd.hub=debug", "log_legacy=warn"),
        ),
        (choice("text", "json"), "JSON", "json"),
        (flag, True, True),
        (flag, False, False),
        (flag, "Yes", True),
        (flag, "off", False),
        (string_list(), ["a b", "c,d"], ("a b", "c,d")),
        (string_list(), "a b,c , d", ("a", "b", "c", "d")),
        (string_list(), "", ()),
        (string_list(), [], ()),
        (string_list(), "none", ()),
        (string_list(), ["None"], ()),
        (origins, "https://Example.org", ("https://example.org",)),
        (origins, "https://example.org:443,http://example.org:80", ("https://example.org", "http://example.org")),
        (origins, ["http://localhost:3000"], ("http://localhost:3000",)),
        (origins, ["http://[::1]:3000"], ("http://[::1]:3000",)),
        (origins, ["app://pushd"], ("app://pushd",)),
        (origins, "*", ("*",)),
        (string_list(network), "10.0.0.7 10.0.0.0/8 fd00::/8 ::1", ("10.0.0.7", "10.0.0.0/8", "fd00::/8", "::1")),
    ],
)
def test_valid_value_is_parsed(parse, written, value):
    parsed = parse(written)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("parse", "written", "phrase"),
    [
        (size(), "lots", '\'lots\' is not a size (examples: 65536, "64KiB", "4MiB")'),
        (size(), "4MB", "'4MB' is not a size"),
        (size(), "1.5MiB", "'1.5MiB' is not a size"),
        (size(), "-1", "'-1' is not a size"),
        (size(), -1, "-1 is not a size"),
        (size(), "", "'' is not a size"),
        (size(), "١٢", "is not a size"),
        (size(), "9" * 5000, "is not a size"),
        (size(), True, "true is not a size"),
        (size(), 1.5, "1.5 is not a size"),
        (size(), 0, "0 is too small (must be at least 1)"),
        (size(minimum=1024), "1000B", "'1000B' is too small (must be at least 1024)"),
        (count(), "4KiB", "'4KiB' is not a whole number"),
        (count(), 0, "0 is too small (must be at least 1)"),
        (duration(), "soon", "'soon' is not a duration"),
        (duration(), "10 parsecs", "'10 parsecs' is not a duration"),
        (duration(), float("nan"), "nan is not a duration"),
        (duration(), float("inf"), "inf is not a duration"),
        (duration(), True, "true is not a duration"),
        (duration(), -1.5, "-1.5 is too small (must be at least 1 seconds)"),
        (duration(), "500ms", "'500ms' is too small (must be at least 1 seconds)"),
        (duration(), "4000d", "'4000d' is too long (must be at most 315360000 seconds)"),
        (duration(maximum=60), "1h", "'1h' is too long (must be at most 60 seconds)"),
        (share, 1.01, "1.01 is not a number from 0 to 1 (examples: 0, 0.01, 1)"),
        (share, -0.5, "-0.5 is not a number from 0 to 1"),
        (share, "nan", "'nan' is not a number from 0 to 1"),
        (share, "some", "'some' is not a number from 0 to 1"),
        (share, True, "true is not a number from 0 to 1"),
        (
            string_list(namespace_level),
            "debug",
            "'debug' is not NAME=LEVEL (example: pushd.transports=debug; the levels are",
        ),
        (string_list(namespace_level), "pushd.hub=loud", "'pushd.hub=loud' is not NAME=LEVEL"),
        (string_list(namespace_level), "=debug", "'=debug' is not NAME=LEVEL"),
        (choice("text", "json"), "xml", "'xml' is not one of text, json"),
        (choice("text", "json"), 1, "1 is not one of text, json"),
        (flag, "maybe", "'maybe' is neither true nor false"),
        (flag, 1, "1 is neither true nor false"),
        (string_list(), 5, "5 is not a list of strings"),
        (string_list(), ["a", 5], "is not a list of strings"),
        (origins, "example.org", "'example.org' is not an origin"),
        (origins, "https://example.org/", "'https://example.org/' is not an origin"),
        (origins, "https://me@example.org", "is not an origin"),
        (origins, "https://*.example.org", "is not an origin"),
        (origins, "null", "'null' is not an origin"),
        (origins, "* https://example.org", "* means every origin and must be the only entry"),
        (string_list(network), "10.0.0.300", "'10.0.0.300' is not an IP address or network"),
        (string_list(network), "10.0.0.1/8", "'10.0.0.1/8' is not an IP address or network"),
    ],
)
def test_invalid_value_is_refused(parse, written, phrase):
    with pytest.raises(ValueError, match=re.escape(phrase)):
        parse(written)
