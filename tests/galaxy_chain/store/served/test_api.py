"""The documented API, fuzzed where it runs: nothing crashes, and every answer is as documented."""

from __future__ import annotations

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks

from tests.galaxy_chain.store.served.serving import store_server

EXAMPLES = 10
"""Of each operation, mode and asker: some seconds altogether."""
OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/content/{cid}"),
    ("HEAD", "/content/{cid}"),
    ("POST", "/uploads/{cid}"),
    ("PUT", "/uploads/{cid}"),
    ("PUT", "/pins/{cid}"),
    ("DELETE", "/pins/{cid}"),
    ("GET", "/jobs/{job}/attempts/{attempt}/updates"),
    ("GET", "/jobs/{job}/joins"),
    ("POST", "/jobs/{job}/attempts/{attempt}/updates"),
    ("POST", "/jobs/{job}/joins"),
]
INBOX = [operation for operation in OPERATIONS if operation[1].startswith("/jobs/")]
"""What is signed there is the message itself."""

load_all_checks()


@pytest.fixture
def server(federation, tmp_path):
    """With room for any size that the schema has: a full store is a 507, which schemathesis takes for a crash."""
    with store_server(federation, tmp_path / "served", quota=2**60) as running:
        yield running


class Signed(requests.auth.AuthBase):
    """Signs what is asked, whatever it is."""

    def __init__(self, asker) -> None:
        self.asker = asker

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        who = self.asker.who
        request.headers["Authorization"] = who.authorization(request.method, self.asker.url, request.path_url)
        return request


def documented(server, *, signed: bool) -> schemathesis.openapi.OpenApiSchema:
    """The API. Where every request is signed on its way, schemathesis need not know of signatures.

    A size that its id can't have, too many bytes, or others, are within the schema, and refused all the same.
    """
    accepted = ["2xx", "401", "403", "404", "409", "413", "422"]
    checks = {"positive_data_acceptance": {"expected-statuses": accepted}}
    config = schemathesis.Config.from_dict({"base-url": server.url, "checks": checks})
    described = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    if signed:
        for operations in described["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
    return schemathesis.openapi.from_dict(described, config=config)


def test_every_operation_is_fuzzed_and_all_that_write_are_signed(server):
    api = documented(server, signed=False)
    found = {(each.ok().method.upper(), each.ok().path): each.ok().definition.raw for each in api.get_all_operations()}
    assert sorted(found) == sorted(OPERATIONS)
    for (method, path), definition in found.items():
        assert ("security" in definition) == (method not in ("GET", "HEAD") and not path.startswith("/jobs/"))


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_documented(server, owner, method, path, mode, signed):
    if path == "/healthz" and mode is GenerationMode.NEGATIVE:
        return  # it has no parameters that could be wrong
    if signed and (method, path) in INBOX:
        return  # no request is
    strategy = documented(server, signed=signed)[path][method].as_strategy(generation_mode=mode)
    with requests.Session() as session:

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def ask(case: schemathesis.Case) -> None:
            case.validate_response(case.call(session=session, auth=Signed(owner) if signed else None))

        ask()
