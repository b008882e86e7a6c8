"""What `at` means: a folder, a cluster's server by its URL, or an object that is a mode itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.modes.mode import meeting


class Elsewhere:
    """A mode of somebody else's."""

    def submit(self, request, **settings):
        return "1"

    def client_places(self, client_id, **settings):
        return []

    def server_place(self, **settings):
        raise NotImplementedError


def test_a_folder_or_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for at in (None, tmp_path, str(tmp_path)):
        (place,) = meeting(at).client_places("1")
        assert Path(place.name) == tmp_path
        place.close()
        server = meeting(at).server_place()
        assert Path(server.name) == tmp_path
        server.close()


def test_a_server_by_its_url(tmp_path):
    (place,) = meeting("https://host.example:9763").client_places("1", folder=tmp_path)
    assert place.name == "https://host.example:9763"
    place.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = meeting(f"http://127.0.0.1:{port}").server_place(folder=tmp_path)
    try:
        assert str(port) in server.name
    finally:
        server.close()


def test_an_object_that_is_a_mode():
    mode = Elsewhere()
    assert meeting(mode) is mode


@pytest.mark.parametrize("at", ["", 3, object(), Elsewhere, "ftp://host", "https://", "https://user@host", "http:// x"])
def test_anything_else_is_refused_by_its_value(at):
    with pytest.raises(ConfigurationError, match="^at is .*expected"):
        meeting(at)


@pytest.mark.parametrize(
    ("at", "settings", "said"),
    [
        ("https://127.0.0.1:9763", {}, "needs a certificate"),
        ("http://127.0.0.1:9763", {"certificate": "c.pem", "key": "k.pem"}, "http takes none"),
        ("http://127.0.0.1:97630", {}, "97630|range"),
        ("http://127.0.0.1:9763/galaxy", {}, "where the server listens"),
    ],
)
def test_where_no_server_can_listen(at, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        meeting(at).server_place(**settings)


def test_settings_that_a_place_does_not_have(tmp_path):
    with pytest.raises(ConfigurationError, match="acount"):
        meeting(tmp_path).client_places("1", acount="alice")
