"""The API of a cluster's server, to clients that do as they like."""

from __future__ import annotations

import secrets
import threading

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from galaxy_fl.content import ContentId
from galaxy_fl.modes.cluster.app import Service, create_app
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.rounds.coordinator import Phase
from tests.galaxy_fl.content.problem import kind
from tests.galaxy_fl.modes.meeting import PARAMETERS, Meeting, document, eventually, request, vector

UPDATE = vector(1).astype("<i4").tobytes()
CONTENT = ContentId.of(UPDATE)
OTHER = ContentId.of(bytes(len(UPDATE)))


@pytest.fixture
def meeting(tmp_path):
    meeting = Meeting("cluster", tmp_path)
    yield meeting
    meeting.close()


class Guest:
    """A registered client of a running server that speaks HTTP by itself."""

    def __init__(self, url, name):
        self.name = name
        self.secret = secrets.token_urlsafe(32)
        self.http = httpx.Client(base_url=f"{url}/api/version/", verify=False, timeout=300)
        assert self.http.post("clients", json={"client_id": name, "secret": self.secret}).status_code == 204
        self.http.headers["Authorization"] = f"Bearer {name}.{self.secret}"

    def enter(self, samples=10):
        return self.http.post("jobs/1/clients", json={"samples": samples})

    def _upload(self, method, attempt, content, cid=CONTENT.cid, size=CONTENT.size, **params):
        url = f"jobs/1/attempts/{attempt}/uploads/{cid}"
        return self.http.request(method, url, params={"size": size, **params}, content=content)

    def announce(self, attempt=1, **which):
        return self._upload("POST", attempt, None, **which)

    def send(self, content=UPDATE, offset=0, attempt=1, **which):
        return self._upload("PUT", attempt, content, offset=offset, **which)

    def submit(self, weight=10, cid=CONTENT.cid, attempt=1):
        return self.http.post(f"jobs/1/attempts/{attempt}", json={"weight": weight, "cid": cid})

    def read(self, cid=CONTENT.cid, **headers):
        return self.http.get(f"jobs/1/content/{cid}", headers=headers)


@pytest.fixture
def guests(meeting):
    """Two clients of a job."""
    meeting.submit(min_clients=2)
    url = meeting.server().name
    found = [Guest(url, name) for name in ("a", "b")]
    for guest in found:
        assert guest.enter().status_code == 204
    yield found
    for guest in found:
        guest.http.close()


def problem(response, status, expected):
    """Its detail."""
    assert (response.status_code, kind(response)) == (status, expected)
    return response.json()["detail"]


def uploads(meeting):
    """What clients have sent and not submitted."""
    return [path for path in (meeting.job().path / "uploads").rglob("*") if path.is_file()]


def test_an_update_may_come_in_pieces(guests, meeting):
    guest = guests[0]
    for start in range(0, len(UPDATE), 150):
        assert guest.announce().json() == {"bytes": start, "complete": False}
        end = min(start + 150, len(UPDATE))
        assert guest.send(UPDATE[start:end], start).json() == {"bytes": end, "complete": end == len(UPDATE)}
    assert guest.announce().json() == {"bytes": len(UPDATE), "complete": True}
    assert not guest.http.get("jobs/1/state").json()["submitted"]
    assert guest.submit().status_code == 204
    assert guest.announce().json() == {"bytes": len(UPDATE), "complete": True}
    assert [update.name for update in meeting.job().updates(1, 1)] == [f"a-10-{CONTENT.cid}"]
    assert guest.http.get("jobs/1/state").json()["submitted"]
    assert not guests[1].http.get("jobs/1/state").json()["submitted"]
    assert uploads(meeting) == []


def test_submitting_twice_is_once(guests, meeting):
    guest = guests[0]
    guest.send()
    assert guest.submit().status_code == guest.submit().status_code == 204
    assert len(meeting.job().updates(1, 1)) == 1
    assert "another update in attempt 1" in problem(guest.submit(weight=9), 409, "already_submitted")
    problem(guest.submit(cid=OTHER.cid), 409, "already_submitted")
    problem(guest.send(bytes(len(UPDATE)), cid=OTHER.cid), 409, "already_submitted")
    assert uploads(meeting) == []


def test_the_retry_of_what_was_in_is_fine_after_the_round(guests, meeting):
    for guest in guests:
        guest.send()
        guest.submit()
    serving = meeting._server.open("1")
    closed = serving.round()
    assert guests[0].submit().status_code == 204
    serving.commit(closed, serving.model(closed), {})
    assert guests[0].submit().status_code == 204
    message = problem(guests[0].submit(weight=9), 409, "round_moved_on")
    assert "job 1 is at attempt 2 (collecting)" in message
    problem(guests[0].send(), 409, "round_moved_on")
    problem(guests[0].announce(), 409, "round_moved_on")
    problem(guests[0].send(attempt=3), 409, "round_moved_on")


def test_what_is_sent_when_the_round_ends_is_removed(guests, meeting):
    slow, other = guests
    slow.send(UPDATE[:100])
    other.send()
    assert len(uploads(meeting)) == 2
    other.submit()
    slow.http.post("heartbeat", json={"jobs": []})
    third = Guest(meeting._server.name, "c")
    third.enter()
    third.send()
    third.submit()
    third.http.close()
    serving = meeting._server.open("1")
    closed = eventually(lambda: serving.round().phase is Phase.CLOSED and serving.round())
    serving.commit(closed, serving.model(closed), {})
    assert uploads(meeting) == []
    problem(slow.send(UPDATE[100:], 100), 409, "round_moved_on")
    assert uploads(meeting) == []
    assert not list((meeting.job().path / "updates").rglob("*"))


def test_a_client_keeps_one_update_on_the_servers_disk(guests, meeting):
    guest = guests[0]
    for number in range(5):
        data = vector(number).astype("<i4").tobytes()
        content = ContentId.of(data)
        assert guest.send(data, cid=content.cid).json()["complete"]
        problem(guest.send(b"x", offset=0, cid=OTHER.cid, size=1), 413, "size")
    assert [path.name for path in uploads(meeting)] == [f"1-{content.cid}.whole"]
    guest.send(UPDATE[:100])
    assert [path.name for path in uploads(meeting)] == [f"1-{CONTENT.cid}"]
    problem(guest.submit(cid=content.cid), 404, "not_found")


def test_what_does_not_continue_where_it_was_is_refused(guests):
    guest = guests[0]
    assert "0 bytes have arrived: continue there" in problem(guest.send(UPDATE[4:], 4), 409, "offset")
    guest.send(UPDATE[:100])
    problem(guest.send(), 409, "offset")
    assert "upload it first" in problem(guest.submit(), 404, "not_found")


def test_what_arrived_altered_is_sent_again(guests):
    guest = guests[0]
    assert CONTENT.cid in problem(guest.send(bytes(len(UPDATE))), 422, "altered")
    assert guest.announce().json() == {"bytes": 0, "complete": False}
    guest.send()
    assert guest.submit().status_code == 204


def test_an_update_is_not_longer_than_a_vector(guests, meeting):
    guest = guests[0]
    problem(guest.send(UPDATE + b"x"), 413, "too_large")
    problem(guest.send(b"x", offset=len(UPDATE)), 413, "too_large")
    assert uploads(meeting) == []
    problem(guest.send(iter([UPDATE, b"x"])), 413, "too_large")  # it does not say beforehand how long it is
    assert sum(path.stat().st_size for path in uploads(meeting)) <= len(UPDATE)
    for size in (len(UPDATE) - 1, len(UPDATE) + 1):
        problem(guest.send(bytes(size), size=size), 413, "size")
    problem(guest.announce(size=2**50), 422, "invalid")


def test_an_update_weighs_what_was_declared_at_most(guests):
    guest = guests[0]
    guest.send()
    assert "weighs 11, expected 1 to 10" in problem(guest.submit(weight=11), 422, "weight")
    for weight in (0, -1, 2**24, 1.5, "1", True, None):
        problem(guest.submit(weight=weight), 422, "invalid")
    for cid in ("", "0" * 64, "../" + CONTENT.cid, CONTENT.cid.upper(), CONTENT.cid[:-1], 5):
        problem(guest.submit(cid=cid), 422, "invalid")


def test_who_does_not_take_part_uploads_nothing(guests, meeting):
    stranger = Guest(meeting._server.name, "stranger")
    problem(stranger.send(), 409, "not_taking_part")
    problem(stranger.announce(), 409, "not_taking_part")
    problem(stranger.submit(), 422, "weight")
    assert not (meeting.job().path / "uploads").exists()
    stranger.http.close()


def test_a_later_request_takes_over_from_one_that_hangs(guests, meeting):
    guest = guests[0]
    begun, go_on = threading.Event(), threading.Event()

    def hanging():
        yield UPDATE[:100]
        begun.set()
        assert go_on.wait(300)
        yield UPDATE[100:]

    def send():
        answers.append(guest.send(hanging()))

    answers: list[httpx.Response] = []
    thread = threading.Thread(target=send)
    thread.start()
    assert begun.wait(300)
    # Nothing of it is written before a batch is full.
    eventually(lambda: meeting._server.service.content.uploads._turns)
    assert guest.send().json() == {"bytes": len(UPDATE), "complete": True}
    go_on.set()
    thread.join()
    problem(answers[0], 409, "offset")
    assert guest.submit().status_code == 204


def test_nobody_sees_anothers_update_where_nothing_is_distilled(guests, meeting):
    for guest in guests:
        guest.send()
        guest.submit()
    problem(guests[1].read(), 404, "not_found")
    serving = meeting._server.open("1")
    serving.commit(serving.round(), serving.model(serving.round()), {})
    for guest in guests:
        assert guest.http.get("jobs/1/previous", params={"attempt": 2}).json() == {"own": None, "peers": []}
        problem(guest.read(), 404, "not_found")


def test_where_it_is_distilled_only_the_round_befores_are_seen(meeting):
    meeting.submit(document=document("relay"), rounds=3)
    a, b = (Guest(meeting.server().name if name == "a" else meeting._server.name, name) for name in "ab")
    a.enter()
    a.send()
    problem(b.read(), 404, "not_found")
    a.submit()
    problem(b.read(), 404, "not_found")  # it is of the round that collects
    serving = meeting._server.open("1")
    serving.commit(
        eventually(lambda: serving.round().phase is Phase.CLOSED and serving.round()),
        meeting.job().path / "models/1",
        {},
    )
    cid = CONTENT.cid
    assert b.http.get("jobs/1/previous", params={"attempt": 2}).json() == {"own": None, "peers": [cid]}
    assert a.http.get("jobs/1/previous", params={"attempt": 2}).json() == {"own": cid, "peers": []}
    assert b.read().content == UPDATE
    problem(b.http.get("jobs/1/previous", params={"attempt": 1}), 409, "round_moved_on")
    for guest in (a, b):
        guest.http.close()


def test_without_a_token_nothing_is_told(guests, meeting):
    stranger = httpx.Client(base_url=meeting._server.name, verify=False, timeout=300)
    paths = stranger.get("/api/version/openapi.json").json()["paths"]
    tried = 0
    headers = [{}, {"Authorization": "Bearer a"}, {"Authorization": f"Bearer a.{guests[1].secret}"}]
    headers += [{"Authorization": f"Bearer ../a.{guests[0].secret}"}, {"Authorization": f"Basic a.{guests[0].secret}"}]
    filled = {"{job_id}": "1", "{attempt}": "1", "{cid}": CONTENT.cid}
    for path, methods in paths.items():
        for method in methods:
            if path in ("/", "/api/version/clients"):
                continue
            for name, value in filled.items():
                path = path.replace(name, value)
            for header in headers:
                answer = stranger.request(method, path, headers=header)
                assert answer.status_code == 401
                if method != "head":  # which has no body
                    problem(answer, 401, "unauthorized")
                tried += 1
    assert tried == 12 * len(headers)
    stranger.close()


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".a", "a\n", "a b", "ä", "x" * 65, 5, None, ["a"]])
def test_names_of_clients_are_checked(guests, meeting, name):
    before = sorted((meeting.folder / "res/clients").iterdir())
    answer = guests[0].http.post("clients", json={"client_id": name, "secret": secrets.token_urlsafe(32)})
    assert "client_id" in problem(answer, 422, "invalid")
    assert sorted((meeting.folder / "res/clients").iterdir()) == before


@pytest.mark.parametrize("job", ["..", "%2e%2e", "..%2f..%2fclients", ".new-1", "2", "1%00", "1/../../clients/a"])
def test_only_jobs_are_served(guests, job):
    for path in (f"jobs/{job}", f"jobs/{job}/state", f"jobs/{job}/content/{CONTENT.cid}"):
        request = guests[0].http.build_request("GET", path)
        request.url = request.url.copy_with(raw_path=f"/api/version/{path}".encode())
        assert guests[0].http.send(request).status_code in (404, 422)


def test_what_a_job_consists_of_is_read_by_content_id(guests):
    guest = guests[0]
    model = np.arange(PARAMETERS, dtype="<i4").tobytes()
    said, standing = guest.http.get("jobs/1").json(), guest.http.get("jobs/1/state").json()
    assert standing["model"] == ContentId.of(model).cid
    assert guest.read(standing["model"]).content == model
    part = guest.read(standing["model"], Range="bytes=100-")
    assert (part.status_code, part.headers["Content-Range"], part.content) == (206, "bytes 100-399/400", model[100:])
    assert guest.read(said["document"]).content == document().to_bytes()
    problem(guest.read(OTHER.cid), 404, "not_found")
    problem(guest.read("models"), 422, "invalid")


def test_messages_have_bounds(guests):
    http = guests[0].http
    problem(http.post("heartbeat", json={"jobs": ["1"] * 60_000}), 413, "too_long")
    problem(http.post("heartbeat", json={"jobs": ["1"] * 1001}), 422, "invalid")
    problem(http.post("heartbeat", content=b"{"), 422, "invalid")
    problem(http.post("heartbeat", json={"jobs": [], "more": 1}), 422, "invalid")
    problem(http.get("nothing"), 404, "not_found")
    problem(http.delete("jobs"), 405, "refused")


def test_a_heartbeat_of_unknown_jobs_fills_nothing(guests, meeting):
    presence = meeting._server.service.presence
    guests[0].http.post("heartbeat", json={"jobs": [f"x{number}" for number in range(500)]})
    assert not presence.anybody_in("x1")
    assert not presence.is_there("a", "1")
    guests[0].http.post("heartbeat", json={"jobs": ["1"]})
    assert presence.is_there("a", "1")


def test_a_question_for_the_next_round_is_answered_when_it_begins(guests, meeting):
    answers: list[dict] = []
    thread = threading.Thread(
        target=lambda: answers.append(guests[0].http.get("jobs/1/state?after=1/collecting", timeout=300).json())
    )
    thread.start()
    for guest in guests:
        guest.send()
        guest.submit()
    serving = meeting._server.open("1")
    assert answers == []
    closed = serving.round()
    thread.join(300)
    assert (answers[0]["attempt"], answers[0]["phase"]) == (closed.attempt, closed.phase.value)
    assert guests[0].http.get("jobs/1/state?after=1/collecting").json() == answers[0]
    problem(guests[0].http.get("jobs/1/state?after=x"), 422, "invalid")


def test_a_damaged_job_is_the_operators_affair(guests, meeting, caplog):
    (meeting.job().path / "state.json").write_bytes(b"{")
    message = problem(guests[0].http.get("jobs/1/state"), 500, "damaged")
    assert str(meeting.folder) not in message
    assert str(meeting.folder) in caplog.text


# Whatever the API's own description allows


OPENAPI = "/api/version/openapi.json"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def described(tmp_path):
    """The API over a folder with a job that runs, one that distils and one that is over; a client takes part."""
    jobs = JobsFolder(tmp_path)
    for job_id, rule in (("1", "weighted_mean"), ("2", "relay"), ("3", "weighted_mean")):
        jobs.submit(request(job_id, document=document(rule)))
        jobs.open(job_id).enter("fuzz", 10)
    jobs.open("3").cancel()
    service = Service(jobs, stopping=True)  # so that nothing is waited for
    service.registry.register("fuzz", "x" * 43)
    return create_app(service, "/api/version")


def test_no_request_makes_the_server_fail(described):
    operations = [found.ok() for found in schemathesis.openapi.from_asgi(OPENAPI, described).get_all_operations()]
    assert len(operations) == 14
    for operation in operations:

        @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(), st.sampled_from(["1", "2", "3", None]))
        def check(case, job):
            if "job_id" in case.path_parameters and job is not None:
                case.path_parameters["job_id"] = job
            case.call_and_validate(headers={"Authorization": "Bearer fuzz." + "x" * 43}, checks=CHECKS)

        check()
    assert described.state.service.jobs.ids() == ["1", "2", "3"]
