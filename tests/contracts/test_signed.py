"""submitUpdates and joinBySignatures: what clients have signed, handed in by anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from galaxy_chain.ledger.structs import JoinFault
from scripts.compile import ARTIFACTS
from tests.contracts.ledger import ETHER, NEVER, ZERO, Chain, Job, Receipt, Upload, artifact, terms_of
from tests.contracts.signing import UPDATE_FIELDS, client_key, join_data, sign, typed, update_data

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NOT_JOINED, WEIGHT, SIGNATURE = range(3)


@pytest.fixture(scope="session")
def prepared_relayed() -> Job:
    job = Job(Chain(accounts=12), fanIn=4, minUpdates=3, maxUpdates=10, maxExcluded=10, pool=ETHER)
    job.bond(job.server)
    job.clients = job.crowd_of(12)
    return job


@pytest.fixture
def relayed(prepared_relayed: Job) -> Any:
    """A job that twelve clients without ether have joined; ten fit, in blocks of four."""
    tester = prepared_relayed.chain.tester
    snapshot = tester.take_snapshot()
    yield prepared_relayed.copy()
    tester.revert_to_snapshot(snapshot)


def _uploads(job: Job, count: int, first: int = 0, weight: int = 10) -> list[Upload]:
    return [job.upload(client, weight=weight) for client in job.clients[first : first + count]]


def _refusal(job: Job, uploads: list[Upload], **change: Any) -> tuple[str, dict[str, Any]]:
    """Of a batch that would be right but for the changes."""
    names = ("attempt", "model", "entries", "signatures")
    arguments = dict(zip(names, job.signed_arguments(uploads), strict=True)) | change
    return job.refusal(job.chain.accounts[9], "submitUpdates", *arguments.values())


def _faulty(place: int, upload: Upload, fault: int) -> tuple[str, dict[str, Any]]:
    return "WrongEntry", {"place": place, "client": upload.client, "fault": fault}


# ------------------------------------------------------------------------------------------------------------- batches


def test_anybody_hands_in_what_clients_without_ether_have_signed(relayed: Job) -> None:
    uploads = _uploads(relayed, 6)
    receipt = relayed.submit_signed(uploads, relayed.chain.accounts[9])
    assert receipt.events[0].args == {
        "job": relayed.id,
        "attempt": 1,
        "first": 0,
        "closesAt": receipt.time + relayed.terms["collectSeconds"],
        "entries": b"".join(upload.entry for upload in uploads),
    }
    assert [len(block) for block in relayed.attempt.blocks] == [4, 2]
    assert relayed.chain.view("jobOf", relayed.id).head == relayed.attempt.head
    for upload in uploads:
        assert relayed.chain.balance(upload.client) == 0
        kept = relayed.client(upload.client)
        hash_ = upload.hash(relayed.id, 1, relayed.root_of(relayed.attempt.model))
        assert (kept.attempt, kept.digest) == (1, int.from_bytes(hash_[12:]))


def test_blocks_of_all_sizes_lead_to_the_head_over_segments(chain: Chain) -> None:
    """Single entries and batches mixed, each of which may end a segment in its middle."""
    job = Job(chain, pool=ETHER, fanIn=5, minUpdates=81, maxUpdates=300, maxExcluded=300)
    job.clients = job.crowd_of(260)
    first = 0
    for size in (*[1] * 58, 7, 3, 100, *[1] * 50, 30, 5, 4):
        job.submit_signed(_uploads(job, size, first))
        first += size
        kept = chain.view("jobOf", job.id)
        assert kept.head == job.attempt.head
        full = len(job.attempt.blocks) // 64
        shut = sum(len(block) for block in job.attempt.blocks[: 64 * full])
        state = kept.state
        assert (state.updates, state.blocks, state.shut) == (first, len(job.attempt.blocks) % 64, shut)
    assert job.state.shut
    assert len(job.attempt.blocks) > 2 * 64
    job.chain.travel(job.state.closesAt)
    job.bond(job.server)
    commit = job.commit()
    job.settle(commit)
    # Whatever is shown of it leads to the head.
    for numbers in ({0}, {63, 64}, {100, 101, 102, 170}, {256}):
        assert job.claimed_by(job.claim(commit, numbers)) == commit.shown(numbers)


def test_a_batch_that_fills_segments_by_itself_leads_to_the_head(chain: Chain) -> None:
    terms = {"minUpdates": 280, "maxUpdates": 280, "maxExcluded": 280, "parameters": 9}
    wide = Job(chain, rule_name="relay", fanIn=2, **terms)
    wide.clients = wide.crowd_of(280)
    wide.submit_signed(_uploads(wide, 1))
    wide.submit_signed(_uploads(wide, 279, 1))
    assert len(wide.attempt.blocks) > 2 * 64
    assert wide.chain.view("jobOf", wide.id).head == wide.attempt.head


def test_the_same_client_twice_in_a_batch_is_in_once(relayed: Job) -> None:
    one, two = _uploads(relayed, 2)
    again = relayed.upload(one.client)
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments([one, again, two, one]))
    assert receipt.event("UpdatesSubmitted")["entries"] == one.entry + two.entry
    assert relayed.state.updates == 2


def test_a_batch_goes_through_that_one_of_its_clients_has_come_before(relayed: Job) -> None:
    """By itself or with another entry, that it has signed as well."""
    relayed.chain.send(relayed.owner, "submitUpdates", relayed.id, *relayed.signed_arguments(_uploads(relayed, 1)))
    uploads = _uploads(relayed, 3)
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    event = receipt.event("UpdatesSubmitted")
    assert (event["first"], event["entries"]) == (1, uploads[1].entry + uploads[2].entry)


def test_a_batch_goes_through_of_which_a_client_was_expelled_meanwhile(relayed: Job) -> None:
    uploads = _uploads(relayed, 3)
    relayed.send(relayed.owner, "expel", uploads[1].client)
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    assert receipt.event("UpdatesSubmitted")["entries"] == uploads[0].entry + uploads[2].entry


def test_a_batch_that_reaches_min_updates_goes_on_up_to_max_updates(relayed: Job) -> None:
    relayed.submit_signed(_uploads(relayed, 2))
    assert relayed.state.closesAt == NEVER
    uploads = _uploads(relayed, 10, 2)
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    event = receipt.event("UpdatesSubmitted")
    assert event["entries"] == b"".join(upload.entry for upload in uploads[:8])
    assert event["closesAt"] == relayed.state.closesAt == receipt.time
    assert _refusal(relayed, uploads[8:]) == ("RoundClosed", {"closedAt": receipt.time})


def test_with_no_time_to_collect_a_batch_is_whole_all_the_same(chain: Chain) -> None:
    job = Job(chain, collectSeconds=0, maxUpdates=9)
    job.clients = job.crowd_of(6)
    receipt = job.submit_signed(_uploads(job, 5))
    assert (job.state.updates, job.state.closesAt) == (5, receipt.time)
    assert _refusal(job, _uploads(job, 1, 5)) == ("RoundClosed", {"closedAt": receipt.time})


def test_closes_at_is_set_once(relayed: Job) -> None:
    closes = relayed.submit_signed(_uploads(relayed, 3)).time + relayed.terms["collectSeconds"]
    relayed.submit_signed(_uploads(relayed, 3, 3))
    assert relayed.state.closesAt == closes
    assert relayed.state.built


def test_a_call_that_accepts_nothing_leaves_nothing(relayed: Job) -> None:
    uploads = _uploads(relayed, 2)
    relayed.submit_signed(uploads)
    before = relayed.chain.view("jobOf", relayed.id)
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    assert receipt.events == []
    assert relayed.chain.view("jobOf", relayed.id) == before


def test_a_batch_taken_apart_is_in_all_the_same(relayed: Job) -> None:
    """Somebody takes it out of the pool and sends its entries singly: the batch then leaves nothing."""
    uploads = _uploads(relayed, 4)
    for upload in uploads:
        relayed.submit_signed([upload], relayed.chain.accounts[9])
    receipt = relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    assert receipt.events == []
    assert relayed.chain.view("jobOf", relayed.id).head == relayed.attempt.head


def test_a_client_that_signed_and_sent_the_same_has_done_it_once(chain: Chain) -> None:
    """The digest that is kept is the same by either lane, so a retry by the other does nothing."""
    job = Job(chain).prepare()
    upload = job.upload(job.clients[0])
    job.submit_signed([upload])
    assert job.send(upload.client, "submitUpdate", *job.submit_arguments(upload)).events == []
    refusal = job.refusal(upload.client, "submitUpdate", *job.submit_arguments(job.upload(upload.client)))
    assert refusal == ("AlreadySubmitted", {"attempt": 1})
    direct = job.upload(job.clients[1])
    job.submit_upload(direct)
    assert job.send(job.owner, "submitUpdates", *job.signed_arguments([direct])).events == []


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("entries", "signatures"),
    [(0, 0), (87, 65), (89, 65), (88, 64), (88, 66), (88, 0), (0, 65), (176, 65), (88, 130), (176, 129)],
)
def test_entries_and_signatures_of_wrong_lengths_are_refused(relayed: Job, entries: int, signatures: int) -> None:
    refusal = _refusal(relayed, _uploads(relayed, 1), entries=b"\1" * entries, signatures=b"\1" * signatures)
    assert refusal == ("MalformedEntries", {"entries": entries, "signatures": signatures})


def test_attempt_model_and_closing_are_looked_at_once(relayed: Job) -> None:
    uploads = _uploads(relayed, 2)
    root = relayed.root_of(relayed.attempt.model)
    assert _refusal(relayed, uploads, attempt=2) == ("WrongAttempt", {"named": 2, "current": 1})
    assert _refusal(relayed, uploads, attempt=0) == ("WrongAttempt", {"named": 0, "current": 1})
    assert _refusal(relayed, uploads, model=ZERO) == ("WrongModel", {"named": ZERO, "current": root})
    relayed.submit_signed(_uploads(relayed, 3))
    closes = relayed.state.closesAt
    relayed.chain.travel(closes)
    assert _refusal(relayed, uploads) == ("RoundClosed", {"closedAt": closes})


def test_one_that_has_not_joined_is_named_by_its_place(relayed: Job) -> None:
    stranger = client_key(77)
    relayed.keys[stranger.address] = stranger
    uploads = [*_uploads(relayed, 2), relayed.upload(stranger.address)]
    assert _refusal(relayed, uploads) == _faulty(2, uploads[2], NOT_JOINED)


@pytest.mark.parametrize("weight", [0, 101, 2**32 - 1])
def test_a_weight_out_of_range_is_named_by_its_place(relayed: Job, weight: int) -> None:
    uploads = [*_uploads(relayed, 1), *_uploads(relayed, 1, 1, weight)]
    assert _refusal(relayed, uploads) == _faulty(1, uploads[1], WEIGHT)


def test_what_follows_the_last_that_fits_is_not_looked_at(relayed: Job) -> None:
    uploads = _uploads(relayed, 12)
    uploads[11] = replace(uploads[11], weight=0)
    relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments(uploads))
    assert relayed.state.updates == 10


def _high(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "malleable": _high,
    "s high and v kept": lambda s: _high(s)[:64] + s[64:],
    "v 0 or 1": lambda s: s[:64] + bytes([s[64] - 27]),
    "the other v": lambda s: s[:64] + bytes([55 - s[64]]),
    "v 29": lambda s: s[:64] + b"\x1d",
    "nothing": lambda s: bytes(65),
    "another r": lambda s: bytes([s[0] ^ 1]) + s[1:],
    "s zero": lambda s: s[:32] + bytes(32) + s[64:],
    "r beyond the order": lambda s: ORDER.to_bytes(32, "big") + s[32:],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_signature_that_is_not_as_it_should_be_is_refused(relayed: Job, forgery: str) -> None:
    uploads = _uploads(relayed, 2)
    first, second = (relayed.signature(upload) for upload in uploads)
    refusal = _refusal(relayed, uploads, signatures=first + FORGERIES[forgery](second))
    assert refusal == _faulty(1, uploads[1], SIGNATURE)


def test_signatures_are_of_the_entry_beside_them(relayed: Job) -> None:
    uploads = _uploads(relayed, 2)
    first, second = (relayed.signature(upload) for upload in uploads)
    assert _refusal(relayed, uploads, signatures=second + first) == _faulty(0, uploads[0], SIGNATURE)


@pytest.mark.parametrize("field", list(UPDATE_FIELDS))
def test_a_signature_is_worth_nothing_for_anything_else(relayed: Job, field: str) -> None:
    """Another job, attempt, model, commitment, content or weight."""
    (upload,) = _uploads(relayed, 1)
    values = dict(
        zip(UPDATE_FIELDS, (relayed.id, 1, relayed.root_of(relayed.attempt.model), *upload.update), strict=True)
    )
    values[field] = b"\7" * 32 if isinstance(values[field], bytes) else values[field] + 1
    signature = sign(relayed.keys[upload.client], update_data(relayed.domain, *values.values()))
    assert _refusal(relayed, [upload], signatures=signature) == _faulty(0, upload, SIGNATURE)


@pytest.mark.parametrize(
    "other", [{"chainId": 1}, {"verifyingContract": "0x" + "11" * 20}, {"version": "1"}, {"name": "galaxy"}], ids=str
)
def test_a_signature_of_another_domain_is_worth_nothing(relayed: Job, other: dict[str, Any]) -> None:
    """Another chain, ledger, version or name."""
    (upload,) = _uploads(relayed, 1)
    assert _refusal(relayed, [upload], signatures=relayed.signature(upload, **other)) == _faulty(0, upload, SIGNATURE)


def test_a_signature_of_another_type_is_worth_nothing(relayed: Job) -> None:
    (upload,) = _uploads(relayed, 1)
    values = (relayed.id, 1, relayed.root_of(relayed.attempt.model), *upload.update)
    digest = typed("Updates", UPDATE_FIELDS, relayed.domain, dict(zip(UPDATE_FIELDS, values, strict=True)))
    signature = sign(relayed.keys[upload.client], digest)
    assert _refusal(relayed, [upload], signatures=signature) == _faulty(0, upload, SIGNATURE)


def test_a_wallet_signs_the_same_as_the_text_says(relayed: Job) -> None:
    """eth-account's typed data, by the names of the fields, against the hash by the text of the protocol."""
    (upload,) = _uploads(relayed, 1)
    values = (relayed.id, 1, relayed.root_of(relayed.attempt.model), *upload.update)
    by_wallet = sign(relayed.keys[upload.client], update_data(relayed.domain, *values))
    assert by_wallet == relayed.signature(upload)
    relayed.send(relayed.owner, "submitUpdates", *relayed.signed_arguments([upload])[:3], by_wallet)


def test_a_batch_on_another_attempt_after_a_reopening_is_refused_whole(relayed: Job) -> None:
    uploads = _uploads(relayed, 3)
    old = relayed.signed_arguments(uploads)
    relayed.submit_signed(uploads)
    relayed.chain.travel(relayed.state.closesAt + 4 * relayed.terms["aggregateSeconds"])
    relayed.reopen()
    assert relayed.refusal(relayed.owner, "submitUpdates", *old) == ("WrongAttempt", {"named": 1, "current": 2})
    # What was signed for the attempt before is worth nothing in this one.
    stale = (*relayed.signed_arguments(uploads)[:3], old[3])
    assert relayed.refusal(relayed.owner, "submitUpdates", *stale) == _faulty(0, uploads[0], SIGNATURE)
    relayed.submit_signed(uploads)


# ------------------------------------------------------------------------------------------------------------- joining


def _newcomer(job: Job, number: int = 50) -> str:
    key = client_key(number)
    job.keys[key.address] = key
    return str(key.address)


def _joined(receipt: Receipt) -> list[dict[str, Any]]:
    return [event.args for event in receipt.events if event.name == "ClientJoined"]


def _join_refused(job: Job, *joins: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    return job.refusal(job.owner, "joinBySignatures", list(joins))


def _wrong_join(client: str, fault: JoinFault, place: int = 0) -> tuple[str, dict[str, Any]]:
    return "WrongJoin", {"place": place, "client": client, "fault": fault}


def test_clients_join_by_their_signatures(relayed: Job) -> None:
    clients = [_newcomer(relayed, number) for number in (50, 51, 52)]
    joins = [relayed.signed_join(client, 60, relayed.chain.now + 2) for client in clients]
    receipt = relayed.send(relayed.chain.accounts[9], "joinBySignatures", joins)
    assert _joined(receipt) == [{"job": relayed.id, "client": client, "samples": 60, "key": ZERO} for client in clients]
    assert [relayed.client(client).samples for client in clients] == [60] * 3


def test_who_has_joined_or_is_expelled_or_comes_twice_is_left_out(relayed: Job) -> None:
    before, expelled, new = (_newcomer(relayed, number) for number in (50, 51, 52))
    relayed.send(relayed.owner, "joinBySignatures", [relayed.signed_join(before, 60)])
    relayed.send(relayed.owner, "expel", expelled)
    joins = [relayed.signed_join(client, 50) for client in (before, expelled, new, new)]
    joined = _joined(relayed.send(relayed.owner, "joinBySignatures", joins))
    assert [each["client"] for each in joined] == [new]
    assert [relayed.client(client).samples for client in (before, expelled, new)] == [60, 0, 50]
    for nobody in (joins, []):
        assert _joined(relayed.send(relayed.owner, "joinBySignatures", nobody)) == []


def test_a_signature_to_join_ends(relayed: Job) -> None:
    client, deadline = _newcomer(relayed), relayed.chain.now + 1
    join = relayed.signed_join(client, 60, deadline)
    relayed.chain.travel(deadline + 1)
    assert _join_refused(relayed, join) == _wrong_join(client, JoinFault.EXPIRED)


@pytest.mark.parametrize("change", ["client", "samples", "key", "deadline", "job", "chain", "forged", "short", "high"])
def test_a_signature_to_join_is_for_what_it_says(relayed: Job, change: str) -> None:
    fine = relayed.signed_join(_newcomer(relayed, 60))
    client, samples, public, deadline, signature = relayed.signed_join(_newcomer(relayed), 60)
    key = client_key(50)
    match change:
        case "client":
            client = client_key(51).address
        case "samples":
            samples = 61
        case "key":
            public = b"\1" * 32
        case "deadline":
            deadline += 1
        case "job":
            signature = sign(key, join_data(relayed.domain, relayed.id + 1, samples, public, deadline))
        case "chain":
            other = relayed.domain | {"chainId": 1}
            signature = sign(key, join_data(other, relayed.id, samples, public, deadline))
        case "forged":
            signature = bytes(65)
        case "short":
            signature = signature[:64]
        case "high":
            signature = _high(signature)
    refusal = _join_refused(relayed, fine, (client, samples, public, deadline, signature))
    assert refusal == _wrong_join(client, JoinFault.SIGNATURE, 1)
    assert relayed.client(fine[0]).samples == 0  # nobody of the call joins


def test_joining_by_signature_has_the_conditions_of_joining(chain: Chain) -> None:
    job = Job(chain, open=False)
    client = _newcomer(job)
    assert _join_refused(job, job.signed_join(client)) == _wrong_join(client, JoinFault.NOT_ADMITTED)
    job.send(job.owner, "admit", [client])
    for samples in (0, 101):
        assert _join_refused(job, job.signed_join(client, samples)) == _wrong_join(client, JoinFault.SAMPLES)
    job.send(job.owner, "cancelJob")
    job.chain.travel(job.chain.now + 10)
    job.send(job.owner, "joinBySignatures", [job.signed_join(client)])
    assert job.client(client).samples == 100


def test_nobody_joins_a_job_that_has_ended(chain: Chain) -> None:
    job = Job(chain, rounds=1)
    clients = [_newcomer(job, number) for number in (50, 51)]
    job.prepare()
    job.collect()
    job.commit()
    name, _ = _join_refused(job, *(job.signed_join(client) for client in clients))
    assert name == "JobNotRunning"


# ------------------------------------------------------------------------------------------------- the second contract


def test_the_intake_called_by_itself_takes_nothing(relayed: Job) -> None:
    """It has a storage of its own, where there is no job and none can come to be."""
    chain = relayed.chain
    intake = chain.web3.eth.contract(to_checksum_address(chain.view("intake")), abi=artifact("LedgerIntake")["abi"])
    assert chain.web3.eth.get_code(intake.address).hex() == artifact("LedgerIntake")["runtime"].removeprefix("0x")
    sender = chain.accounts[0]
    batch = relayed.signed_arguments(_uploads(relayed, 1))
    unknown = ("UnknownJob", {"job": relayed.id})
    assert chain.refusal(sender, "submitUpdates", relayed.id, *batch, to=intake) == unknown
    key = client_key(50)
    here = {"verifyingContract": intake.address}
    relayed.keys[key.address] = key
    join = relayed.signed_join(key.address, **here)
    assert chain.refusal(sender, "joinBySignatures", relayed.id, [join], to=intake) == unknown
    model = (b"\1" * 32, b"\2" * 32)
    for value in (0, ETHER):
        # Its first contract, which would judge the terms, does not exist: a call of nothing reverts with nothing.
        refusal = chain.refusal(sender, "registerJob", terms_of(chain), model, value=value, to=intake)
        assert refusal == ("0x", {})
    assert chain.balance(intake.address) == 0


def test_ether_sent_along_with_what_takes_none_is_refused(relayed: Job) -> None:
    batch = relayed.signed_arguments(_uploads(relayed, 1))
    assert relayed.refusal(relayed.owner, "submitUpdates", *batch, value=1) == ("0x", {})


def test_the_intake_has_the_storage_of_the_ledger() -> None:
    """Both are laid out by the compiler from one contract, the only one with variables."""
    sources = [path for path in (ARTIFACTS.parents[1] / "contracts").rglob("*.sol") if "interfaces" not in path.parts]
    having = [path.stem for path in sources if any(_is_variable(line) for line in path.read_text().splitlines())]
    assert having == ["LedgerStorage"]


def _is_variable(line: str) -> bool:
    """Of a contract, four spaces in, with a visibility and without brackets of a function."""
    words = line.removesuffix(";").split()
    inside = line.startswith("    ") and not line.startswith("     ")
    return (
        inside
        and line.endswith(";")
        and "constant" not in words
        and bool({"internal", "private", "public"} & set(words))
        and "(" not in line.split("=>")[-1]
    )
