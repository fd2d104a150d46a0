"""Settings of dialects."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pushd.config.dialects import BayeuxSettings
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.reload import compare
from pushd.config.table import Config


def read(tmp_path, text, options=None):
    file = tmp_path / "pushd.toml"
    file.write_text(text)
    return load(file, {}, options or {}).dialects


def test_dialects_are_enabled_by_the_file_and_by_options(tmp_path):
    assert read(tmp_path, "").enable == ()
    assert read(tmp_path, '[dialects]\nenable = ["bayeux"]').enable == ("bayeux",)
    assert read(tmp_path, "", {"dialects.enable": ["bayeux"]}).enable == ("bayeux",)


def test_the_settings_of_a_dialect_have_a_section_of_their_own(tmp_path):
    dialects = read(tmp_path, '[dialects.bayeux]\npath = "/push"\ntimeout = "5s"')
    assert (dialects.enable, dialects.bayeux.path, dialects.bayeux.timeout) == ((), ("/push",), 5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[dialects]\nenable = ["bayeaux"]', "dialects.enable.*did you mean bayeux"),
        ("[dialects]\nbayeux = 1", "dialects.bayeux: must be a section"),
        (
            "[dialects.bayeux]\ntimeouts = 1",
            "unknown key dialects.bayeux.timeouts, did you mean dialects.bayeux.timeout",
        ),
        ('[dialects.bayeux]\npath = "/a/b"', "dialects.bayeux.path: '/a/b' is not a path of one segment"),
        ("[dialects.bayeux]\ntimeout = 0", "dialects.bayeux.timeout"),
        ("dialects = 1", "dialects: must be a section"),
    ],
)
def test_mistakes_are_reported_with_their_key(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        read(tmp_path, text)


def test_a_reload_changes_times_and_no_paths():
    now = Config()
    bayeux = replace(now.dialects.bayeux, timeout=7, path=("/x",))
    change = compare(now, replace(now, dialects=replace(now.dialects, bayeux=bayeux)))
    assert change.applied == ("dialects.bayeux.timeout",)
    assert change.at_restart == ("dialects.bayeux.path",)
    assert change.config.dialects.bayeux.timeout == 7
    assert change.config.dialects.bayeux.path == now.dialects.bayeux.path


def test_domains_and_ports_of_a_policy_file_cannot_leave_their_attribute(tmp_path):
    text = '[dialects.flash-policy]\ndomains = ["{}"]\nports = ["{}"]'
    flash = read(tmp_path, text.format("*.games.example", "9001-9003")).flash_policy
    assert (flash.domains, flash.ports) == (("*.games.example",), ("9001-9003",))
    for domain, ports in (('a\\"/>', "1"), ("<", "1"), ("a b", "1"), ("a", "*"), ("a", "0"), ("a", "1-99999")):
        with pytest.raises(ConfigError, match=r"dialects\.flash-policy"):
            read(tmp_path, text.format(domain, ports))


def test_sample_file_has_a_commented_section_of_bayeux_with_its_defaults(tmp_path):
    sample = (Path(__file__).parents[2] / "etc/pushd.toml").read_text(encoding="utf-8")
    section = sample[sample.index("#[dialects.bayeux]") :].partition("\n[backend]")[0]
    for row in fields(BayeuxSettings):
        assert f"\n# {row.metadata['description']}\n#{row.name} = " in section
    assert read(tmp_path, "\n".join(re.findall(r"(?m)^#(\S.*)$", section))).bayeux == BayeuxSettings()
