"""Whose source runs: what each entry of the trusted means, and what happens without one."""

from __future__ import annotations

import hashlib
import io
import sys

import pytest

from galaxy_fl.exceptions import ConfigurationError, UntrustedModelError
from galaxy_fl.jobs.document import SourceModel, source_id
from galaxy_fl.rounds.coordinator import Origin
from galaxy_fl.trust import Trust, ask_on_terminal

SOURCE = b"class Net: ...\n"
MODEL = SourceModel(source=source_id(SOURCE), class_name="Net")
ADDRESS = "0x" + "Ab" * 20
SERVER = Origin(own=False, name="http://127.0.0.1:9763")
OWNER = Origin(own=False, name=ADDRESS)


def runs(trust, origin):
    try:
        trust.check(MODEL, SOURCE, origin)
    except UntrustedModelError:
        return False
    return True


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GALAXY_TRUST", raising=False)
    return tmp_path


def test_nothing_is_trusted_by_default():
    assert not runs(Trust(), SERVER)
    assert not runs(Trust(), OWNER)


def test_ones_own_origin_is():
    assert runs(Trust(), Origin(own=True, name="res/jobs"))


@pytest.mark.parametrize(
    "entry", [hashlib.sha256(SOURCE).hexdigest(), hashlib.sha256(SOURCE).hexdigest().upper(), source_id(SOURCE)]
)
def test_a_digest_is_trusted_wherever_it_comes_from(entry):
    assert runs(Trust([entry]), SERVER)
    assert runs(Trust([entry]), OWNER)
    assert not runs(Trust([hashlib.sha256(b"other").hexdigest()]), SERVER)


@pytest.mark.parametrize("entry", [ADDRESS, ADDRESS.lower()])
def test_an_address_is_compared_without_its_case(entry):
    assert runs(Trust([entry]), OWNER)
    assert not runs(Trust([entry]), SERVER)
    assert Trust([entry]).names(ADDRESS)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("http://127.0.0.1:9763", "http://127.0.0.1:9763"),
        ("HTTP://LocalHost:80/", "http://localhost"),
        ("https://host", "https://host:443"),
        ("https://host/hospital/", "https://host/hospital"),
    ],
)
def test_a_url_is_compared_in_one_spelling(entry, name):
    assert runs(Trust([entry]), Origin(own=False, name=name))


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("http://127.0.0.1:9763", "https://127.0.0.1:9763"),
        ("http://127.0.0.1:9763", "http://127.0.0.1:9764"),
        ("http://host", "http://host.evil.org"),
        ("http://host", "http://host@evil.org"),
        ("http://host/a", "http://host/b"),
    ],
)
def test_another_url_is_not_trusted(entry, name):
    assert not runs(Trust([entry]), Origin(own=False, name=name))


@pytest.mark.parametrize(
    "wrong", ["host", "0x12", "", "ftp://host", "http://", "http://host:port", "http://a@host", "ab" * 31, "*"]
)
def test_an_entry_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="not a digest|not a URL|server's URL"):
        Trust([wrong])


def test_the_same_file_in_the_own_folder_needs_no_trust(nowhere):
    (nowhere / "other.py").write_bytes(b"class Not: ...\n")
    assert not runs(Trust(), SERVER)
    (nowhere / "fl_model.py").write_bytes(SOURCE)
    assert runs(Trust(), SERVER)


def test_what_is_set_where(nowhere, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not runs(Trust.load(), SERVER)
    assert runs(Trust.load([SERVER.name]), SERVER)
    (nowhere / "galaxy.toml").write_text(f'trust = ["{ADDRESS}"]\n')
    assert runs(Trust.load(), OWNER)
    monkeypatch.setenv("GALAXY_TRUST", f"{source_id(b'x')} , {SERVER.name},")
    assert runs(Trust.load(), SERVER)
    assert runs(Trust.load(), OWNER)


@pytest.mark.parametrize("wrong", ["trust = 'http://host'", "trust = [1]", "trust = "])
def test_a_wrong_file(nowhere, wrong):
    (nowhere / "galaxy.toml").write_text(wrong)
    with pytest.raises(ConfigurationError, match=r"galaxy\.toml"):
        Trust.load()


def test_the_error_says_what_to_set():
    with pytest.raises(UntrustedModelError) as caught:
        Trust().check(MODEL, SOURCE, SERVER)
    assert f"GALAXY_TRUST={source_id(SOURCE)}" in str(caught.value)
    assert f"GALAXY_TRUST={SERVER.name}" in str(caught.value)
    assert caught.value.exit_code == 13


def test_source_that_is_not_the_jobs_never_runs():
    with pytest.raises(UntrustedModelError, match="but the job names"):
        Trust([SERVER.name]).check(MODEL, SOURCE + b"#", SERVER)


def test_somebody_is_asked_once():
    asked = []
    trust = Trust(ask=lambda question, source: asked.append((question, source)) or True)
    assert runs(trust, SERVER)
    assert runs(trust, OWNER)
    ((question, source),) = asked
    assert source == SOURCE
    assert "http://127.0.0.1:9763" in question
    assert not runs(Trust(ask=lambda question, source: False), SERVER)


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("Y\n", True), ("n\n", False), ("\n", False), ("", False), ("s\ny\n", True)]
)
def test_the_terminal_asks(monkeypatch, capsys, typed, answer):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert ask_on_terminal("Whose?", b"print('\x1b[2Jhi')\n") is answer
    said = capsys.readouterr().out
    assert said.startswith("Whose?")
    assert ("print(" in said) == ("s" in typed)
    assert "\x1b" not in said
