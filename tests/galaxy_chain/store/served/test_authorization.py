"""Who asks: signatures that are wrong in any way, and signatures that come again."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_chain.store.authorization import Doorkeeper
from galaxy_chain.store.database import open_database
from galaxy_chain.store.signed_request import LONGEST_LIFE, Authorization, signed_text
from galaxy_fl.content import ContentId
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import ConfigurationError
from tests.galaxy_chain.store.served.serving import writer
from tests.galaxy_fl.content.problem import kind

URL = "https://store.example.org"
CONTENT = ContentId.of(b"content")
TARGET = f"/uploads/{CONTENT.cid}?size=7"


@pytest.fixture
def somebody(node):
    return writer(node, node.accounts[3], 5)


@pytest.fixture
def doorkeeper(tmp_path):
    database = open_database(tmp_path / "web.sqlite")
    yield Doorkeeper(database, ["http://127.0.0.1:8550", URL])
    database.close()


def refusal(doorkeeper, header, method="POST", target=TARGET):
    with pytest.raises(Refused) as caught:
        doorkeeper.use(doorkeeper.check(header, method, target))
    assert caught.value.status_code == 401
    return caught.value.detail


def test_a_signature_tells_account_and_job(doorkeeper, somebody):
    said = doorkeeper.check(somebody.authorization("POST", URL, TARGET), "POST", TARGET)
    assert (said.address, said.job) == (somebody.signer.address, 5)


def test_the_case_of_the_address_does_not_matter(doorkeeper, somebody):
    header = somebody.authorization("POST", URL, TARGET).replace(
        somebody.signer.address, somebody.signer.address.lower()
    )
    assert doorkeeper.check(header, "POST", TARGET).address == somebody.signer.address


@pytest.mark.parametrize("url", [URL + ":444", "http://store.example.org", "https://elsewhere.example.org", ""])
def test_a_signature_for_another_store_is_worth_nothing(doorkeeper, somebody, url):
    said = refusal(doorkeeper, somebody.authorization("POST", url, TARGET))
    assert URL in said
    assert "--url" in said


def test_a_signature_for_another_request_is_worth_nothing(doorkeeper, somebody):
    header = somebody.authorization("POST", URL, TARGET)
    other = ContentId.of(b"another")
    for method, target in [
        ("PUT", TARGET),
        ("DELETE", TARGET),
        ("POST", TARGET + "&offset=0"),
        ("POST", TARGET.replace("size=7", "size=8")),
        ("POST", TARGET.replace(CONTENT.cid, other.cid)),
        ("POST", TARGET.replace("uploads", "pins")),
    ]:
        assert "is not one of" in refusal(doorkeeper, header, method, target)


def test_nothing_that_is_said_can_be_changed(doorkeeper, somebody, node):
    said = Authorization.parse(somebody.authorization("POST", URL, TARGET))
    for changed in (
        replace(said, address=node.accounts[4]),
        replace(said, job=6),
        replace(said, until=said.until + 1),
        replace(said, once="0" * 32),
        replace(said, signature=bytes(65)),
        replace(said, signature=b"\xff" * 65),
        replace(said, signature=said.signature[:-1] + b"\x07"),
    ):
        assert "is not one of" in refusal(doorkeeper, changed.header)


@pytest.mark.parametrize("seconds", [-3600, -1, 0, LONGEST_LIFE + 60, 10**9])
def test_a_signature_lives_for_some_minutes(doorkeeper, somebody, seconds):
    until = int(time.time()) + seconds
    text = signed_text("POST", URL, TARGET, 5, until, "a" * 32)
    signature = somebody.signer.sign_message(somebody.rpc, text)
    header = Authorization(somebody.signer.address, 5, until, "a" * 32, signature).header
    assert "set your clock" in refusal(doorkeeper, header)


def test_a_signature_is_used_once_even_if_the_server_was_started_anew(tmp_path, somebody):
    header = somebody.authorization("POST", URL, TARGET)
    for number in range(2):
        database = open_database(tmp_path / "again.sqlite")
        doorkeeper = Doorkeeper(database, [URL])
        if number == 0:
            doorkeeper.use(doorkeeper.check(header, "POST", TARGET))
        assert "used before" in refusal(doorkeeper, header)
        database.close()


def test_used_signatures_are_forgotten_when_they_are_dead(tmp_path, somebody):
    database = open_database(tmp_path / "web.sqlite")
    now = [time.time()]
    doorkeeper = Doorkeeper(database, [URL], lambda: now[0])
    for _ in range(3):
        doorkeeper.use(doorkeeper.check(somebody.authorization("POST", URL, TARGET), "POST", TARGET))
    late = somebody.authorization("POST", URL, TARGET)
    said = doorkeeper.check(late, "POST", TARGET)
    now[0] += LONGEST_LIFE + 1
    doorkeeper.use(said)
    assert database.query("SELECT COUNT(*) FROM used") == [(1,)]
    database.close()


@pytest.mark.parametrize("header", [None, "", "Bearer secret", "Galaxy", "Galaxy address=0x12"])
def test_whoever_signs_nothing_is_told_how(doorkeeper, header):
    assert "sign" in refusal(doorkeeper, header)


@given(
    st.text()
    | st.from_regex(r"Galaxy address=0x[0-9a-f]{40}, job=\d{1,30}, until=\d+, once=[0-9a-f]+, signature=0x[0-9a-f]+")
)
def test_a_header_is_read_as_it_was_written_or_not_at_all(text):
    try:
        said = Authorization.parse(text)
    except ConfigurationError:
        return
    assert Authorization.parse(said.header) == said


def test_the_server_asks_for_signatures_and_changes_nothing_without(ask, served, owner):
    content = owner.put(b"there")
    nobody = ask()
    for response in (
        nobody.announce(CONTENT),
        nobody.send(CONTENT, b"content"),
        nobody.pin(content),
        nobody.unpin(content),
    ):
        assert response.status_code == 401
        assert kind(response) == "unauthorized"
        assert response.headers["www-authenticate"] == "Galaxy"
    assert dict(served.contents()) == {content.cid: 5}
    assert served.pins() == frozenset()


def test_a_recorded_request_does_not_undo_a_later_one(owner, served):
    content = owner.put(b"content")
    target = f"/pins/{content.cid}?size=7"
    pin = {"Authorization": owner.who.authorization("PUT", owner.url, target)}
    unpin = {"Authorization": owner.who.authorization("DELETE", owner.url, target)}
    assert owner.http.put(target, headers=pin).status_code == 204
    assert owner.http.delete(target, headers=unpin).status_code == 204
    assert owner.http.put(target, headers=pin).status_code == 401
    assert served.pins() == frozenset()
