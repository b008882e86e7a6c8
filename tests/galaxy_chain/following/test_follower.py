"""No event is missed and none applied twice, whatever the chain and its nodes do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from galaxy_chain.exceptions import AuditError, RpcError, UnknownJobError
from galaxy_chain.following import follower as follower_module
from galaxy_chain.following import job_logs
from galaxy_chain.following.follower import Applied, Final, JobFollower, Reverted
from galaxy_chain.following.window import LINKED
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.rpc.errors import UnreliableAnswerError
from galaxy_chain.rpc.rpc import Rpc
from tests.galaxy_chain.federation import Federation, made_up
from tests.galaxy_fl.test_patience import StandingClock
from tests.tcp_proxy import TcpProxy, cut_off, drop, malformed, reset, stall, status, truncated


@pytest.fixture(params=["reverts", "anvil", pytest.param("embedded", marks=pytest.mark.extended)])
def federation(request: pytest.FixtureRequest) -> Federation:
    """A job of which nobody has done anything yet, on a chain that goes back, or on one that changes branches."""
    name = "embedded_federation" if request.param == "embedded" else "foundry_federation"
    found: Federation = request.getfixturevalue(name)
    found.reverts = request.param != "anvil"  # type: ignore[attr-defined]
    return found


@pytest.fixture
def foundry_federation(node, deployment, web3, tmp_path) -> Federation:
    return Federation(node, deployment, tmp_path)


once = pytest.mark.parametrize("federation", ["reverts"], indirect=True)


def fresh(federation: Federation):
    return JobFollower(federation.ledger(), federation.job).history


def mine(federation: Federation, blocks: int = 1) -> None:
    for _ in range(blocks):
        federation.rpc.request("evm_mine")


def reorganisation(federation: Federation, depth: int) -> Callable[[], None]:
    """Mines that many blocks; what is given replaces them, and all since, by one that is longer and empty."""
    before = federation.rpc.number("eth_blockNumber")
    snapshot = federation.rpc.request("evm_snapshot")
    mine(federation, depth)

    def happen() -> None:
        gone = federation.rpc.number("eth_blockNumber") - before
        if federation.reverts:
            federation.rpc.request("evm_revert", snapshot)
            mine(federation, gone + 1)
        else:
            federation.rpc.request("anvil_reorg", gone, [])
            mine(federation)

    return happen


def assert_up_to_date(federation: Federation, follower: JobFollower) -> None:
    assert follower.history == fresh(federation)


# Following


def test_it_says_whether_there_was_anything_new(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    assert follower.poll() is False
    mine(federation)
    assert follower.poll() is False
    federation.submit(0)
    assert follower.poll() is True
    assert_up_to_date(federation, follower)
    assert follower.poll() is False


def test_it_says_what_was_new(federation):
    follower = JobFollower(federation.ledger(), federation.job, confirmations=2)
    assert [type(change) for change in follower.news] == [Applied]
    federation.submit(0)
    follower.poll()
    assert [type(change) for change in follower.news if not isinstance(change, Final)] == [Applied, Applied]
    mine(federation, 2)
    assert follower.poll() is False
    assert follower.news
    assert all(isinstance(change, Final) for change in follower.news)
    assert follower.final == federation.rpc.number("eth_blockNumber") - 2


def test_it_knows_the_time_of_the_newest_block(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    federation.travel(500)
    follower.poll()
    assert follower.time == federation.rpc.block("latest").time
    assert follower.next_time > follower.time


def test_it_takes_one_job_only(federation):
    follower = JobFollower(federation.ledger(), federation.job)
    other = federation.register()
    assert follower.poll() is False
    assert JobFollower(federation.ledger(), other).history.job == other


def test_many_blocks_are_taken_in_several_requests(federation, monkeypatch):
    federation.submit(0, 1)
    mine(federation, LINKED + 10)
    federation.submit(2)
    whole = fresh(federation)
    monkeypatch.setattr(job_logs, "LARGEST_SPAN", 3)
    assert fresh(federation) == whole
    assert len(whole.entries) == 3


def test_a_job_that_does_not_exist_is_an_error(federation):
    with pytest.raises(UnknownJobError, match="there is no job 999"):
        JobFollower(federation.ledger(), 999)


def test_a_first_block_after_the_registration_is_an_error(federation):
    ledger = federation.ledger()
    ledger.first_block = federation.rpc.number("eth_blockNumber") + 1
    with pytest.raises(UnknownJobError, match="first block is wrong"):
        JobFollower(ledger, federation.job)


# Reorganisations


@pytest.mark.parametrize("depth", [1, 5, LINKED + 8])
def test_a_reorganisation_takes_back_what_was_applied(federation, depth):
    federation.submit(0)
    happen = reorganisation(federation, depth - 1)
    follower = JobFollower(federation.ledger(), federation.job)
    federation.submit(1)
    follower.poll()
    assert len(follower.history.entries) == 2
    happen()
    assert follower.poll() is True
    assert {type(change) for change in follower.news if not isinstance(change, Final)} == {Reverted}
    assert_up_to_date(federation, follower)
    assert len(follower.history.entries) == 1


def test_a_committed_round_is_taken_back(federation):
    federation.submit(0)
    happen = reorganisation(federation, 0)
    federation.submit(1, 2)
    federation.commit()
    follower = JobFollower(federation.ledger(), federation.job)
    assert follower.history.round == 2
    happen()
    follower.poll()
    assert_up_to_date(federation, follower)
    assert (follower.history.round, len(follower.history.entries)) == (1, 1)


def test_a_reorganisation_brings_other_events(federation):
    happen = reorganisation(federation, 0)
    federation.submit(0)
    follower = JobFollower(federation.ledger(), federation.job)
    happen()
    federation.submit(1, 2, seed=3)
    assert follower.poll() is True
    assert_up_to_date(federation, follower)
    assert [s.client for s in follower.history.entries] == federation.clients[1:]


def test_two_reorganisations_between_two_polls(federation):
    first = reorganisation(federation, 0)
    federation.submit(0)
    follower = JobFollower(federation.ledger(), federation.job)
    first()
    second = reorganisation(federation, 0)
    federation.submit(1)
    second()
    federation.submit(2)
    follower.poll()
    assert_up_to_date(federation, follower)
    assert [s.client for s in follower.history.entries] == [federation.clients[2]]


def test_a_reorganisation_away_and_back(federation):
    happen = reorganisation(federation, 0)
    federation.submit(0)
    follower = JobFollower(federation.ledger(), federation.job)
    before = follower.history
    happen()
    back = reorganisation(federation, 0)
    federation.submit(1)
    follower.poll()
    back()
    federation.submit(0)
    follower.poll()
    assert follower.history == before
    assert_up_to_date(federation, follower)


def test_replaced_blocks_without_events_are_no_news(federation):
    federation.submit(0)
    happen = reorganisation(federation, 3)
    follower = JobFollower(federation.ledger(), federation.job)
    happen()
    assert follower.poll() is False
    assert not any(isinstance(change, Reverted) for change in follower.news)
    assert_up_to_date(federation, follower)


def test_a_registration_that_is_reorganised_out_is_said(federation):
    federation.register()  # so that the number is taken
    happen = reorganisation(federation, 0)
    job = federation.register()
    follower = JobFollower(federation.ledger(), job)
    happen()
    for _ in range(2):
        with pytest.raises(UnknownJobError, match=f"job {job} has no events .*reorganisation"):
            follower.poll()


def test_a_chain_that_only_got_shorter_is_believed_after_a_while(federation):
    federation.submit(0)
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(1)
    now = [0.0]
    follower = JobFollower(federation.ledger(), federation.job, clock=lambda: now[0])
    federation.rpc.request("evm_revert", snapshot)
    assert follower.poll() is False
    now[0] = follower_module.BEHIND_SECONDS
    assert follower.poll() is True
    assert_up_to_date(federation, follower)


@once
@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_missed_or_doubled_over_random_reorganisations(federation, tmp_path, seed):
    chance = random.Random(seed)
    now = [0.0]

    def start() -> JobFollower:
        return JobFollower(federation.ledger(), federation.job, tmp_path / "events", clock=lambda: now[0])

    follower = start()
    snapshot = None
    for number in range(12):
        waiting = [c for c in range(3) if federation.clients[c] not in {s.client for s in fresh(federation).entries}]
        match chance.choice(["submit", "submit", "mine", "snapshot", "revert", "restart"]):
            case "submit" if waiting:
                federation.submit(chance.choice(waiting), seed=number)
            case "snapshot":
                snapshot = federation.rpc.request("evm_snapshot")
            case "revert" if snapshot is not None:
                federation.rpc.request("evm_revert", snapshot)
                snapshot = None
            case "restart":
                follower.close()
                follower = start()
            case _:
                mine(federation)
        if chance.random() < 0.6:
            follower.poll()
            now[0] += 2 * follower_module.BEHIND_SECONDS
            follower.poll()
            assert_up_to_date(federation, follower)


# Restarts


def test_a_restart_goes_on_without_asking_for_old_events(federation, tmp_path):
    federation.submit(0, 1)
    follower = JobFollower(federation.ledger(), federation.job, tmp_path / "events")
    known = follower.history
    follower.close()
    with TcpProxy(federation.node.url) as proxy:
        again = JobFollower(ledger(federation, Rpc(proxy.url)), federation.job, tmp_path / "events")
        assert again.history == known
        assert again.news == ()
        assert "eth_getLogs" not in proxy.asked
        federation.submit(2)
        assert again.poll() is True
        assert_up_to_date(federation, again)


@pytest.mark.parametrize("depth", [1, LINKED + 8])
def test_a_reorganisation_while_it_was_down(federation, tmp_path, depth):
    federation.submit(0)
    happen = reorganisation(federation, depth - 1)
    federation.submit(1)
    JobFollower(federation.ledger(), federation.job, tmp_path / "events").close()
    happen()
    federation.submit(2)
    follower = JobFollower(federation.ledger(), federation.job, tmp_path / "events")
    assert_up_to_date(federation, follower)
    assert any(isinstance(change, Reverted) for change in follower.news)
    assert [s.client for s in follower.history.entries] == [federation.clients[0], federation.clients[2]]


# Nodes in trouble, through a real proxy


def ledger(federation: Federation, rpc: Rpc) -> LedgerContract:
    where = federation.deployment
    return LedgerContract(rpc, where.ledger, first_block=where.block, chain_id=where.chain_id)


@pytest.fixture
def proxy(federation: Federation) -> Iterator[TcpProxy]:
    with TcpProxy(federation.node.url) as proxy:
        yield proxy


@pytest.fixture
def second(federation: Federation) -> Iterator[TcpProxy]:
    with TcpProxy(federation.node.url) as proxy:
        yield proxy


def follow(federation: Federation, *proxies: TcpProxy, patience: float = 20, timeout: float = 30) -> JobFollower:
    """A follower through these, whose patience is in seconds of a clock that only its pauses move."""
    time = StandingClock(chance=0.5).clock
    urls = [proxy.url for proxy in proxies]
    rpc = Rpc(urls, timeout, patience, clock=time.now, sleep=time.sleep, random=time.random)
    follower = JobFollower(ledger(federation, rpc), federation.job)
    for proxy in proxies:
        proxy.asked.clear()
    return follower


def test_what_a_poll_costs(federation, proxy):
    follower = follow(federation, proxy)
    follower.poll()
    assert proxy.asked == ["eth_getBlockByNumber"]
    proxy.asked.clear()
    mine(federation)
    follower.poll()
    assert proxy.asked[:2] == ["eth_getBlockByNumber", "eth_getLogs"]
    assert len(proxy.asked) <= 3
    proxy.asked.clear()
    federation.submit(0)  # two blocks
    follower.poll()
    assert proxy.asked[:3] == ["eth_getBlockByNumber", "eth_getBlockByHash", "eth_getLogs"]
    assert len(proxy.asked) <= 4


@once
@pytest.mark.parametrize("trouble", [reset, cut_off, drop, truncated, malformed, status(429), status(503)])
def test_a_node_in_trouble_loses_nothing(federation, proxy, trouble):
    follower = follow(federation, proxy)
    federation.submit(0, 1)
    for method in ("eth_getBlockByNumber", "eth_getBlockByHash", "eth_getLogs"):
        proxy.trouble(trouble, only=method)
    assert follower.poll() is True
    assert_up_to_date(federation, follower)


@once
def test_a_node_that_ends_and_starts_again_loses_nothing(federation, proxy):
    follower = follow(federation, proxy, patience=0.2)
    federation.submit(0, 1)
    proxy.down()
    with pytest.raises(RpcError, match=r"tried for \d"):
        follower.poll()
    proxy.up()
    assert follower.poll() is True
    assert_up_to_date(federation, follower)


@once
def test_a_range_that_takes_too_long_is_halved(federation, proxy):
    follower = follow(federation, proxy, timeout=3)
    federation.submit(0, 1)
    proxy.trouble(stall, only="eth_getLogs")
    assert follower.poll() is True
    assert proxy.asked.count("eth_getLogs") >= 3  # on a slow machine a half may take too long, too
    assert_up_to_date(federation, follower)


@once
@pytest.mark.parametrize(
    "words",
    ["query returned more than 10000 results", "block range too large", "limit exceeded", "query timeout exceeded"],
)
def test_a_range_that_is_refused_is_halved(federation, proxy, words):
    federation.submit(0)
    mine(federation, LINKED + 20)
    federation.submit(1)
    sizes: list[int] = []

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != "eth_getLogs":
            return answer
        first, last = (int(request["params"][0][name], 16) for name in ("fromBlock", "toBlock"))
        sizes.append(last - first + 1)
        refusal = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32005, "message": words}}
        return refusal if sizes[-1] > 10 else answer

    proxy.change = change
    follower = follow(federation, proxy)
    assert_up_to_date(federation, follower)
    assert max(size for size in sizes if size <= 10) > 5
    assert len(sizes) < 30


@once
def test_a_node_that_refuses_every_range_is_an_error(federation, proxy):
    follower = follow(federation, proxy, patience=0.3)
    federation.submit(0)

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        refusal = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no logs here"}}
        return refusal if request["method"] == "eth_getLogs" else answer

    proxy.change = change
    with pytest.raises(RpcError, match="the node refuses eth_getLogs: no logs here"):
        follower.poll()
    proxy.heal()
    assert follower.poll() is True


def lie(**changed: Any) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    """Changes the last log of each answer."""

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_getLogs" and answer["result"]:
            answer["result"][-1] |= changed
        return answer

    return change


def hide(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Keeps every log back."""
    return answer | {"result": []} if request["method"] == "eth_getLogs" else answer


def twice(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Gives every log twice."""
    return answer | {"result": 2 * answer["result"]} if request["method"] == "eth_getLogs" else answer


LIES = [
    (lie(blockHash="0x" + "12" * 32), "said to be in block"),
    (lie(blockNumber="0x1"), "was asked for the blocks"),
    (lie(address="0x" + "12" * 20), "was asked for logs of 0x"),
    (lie(topics=["0x" + "12" * 32, f"0x{999:064x}"]), "was asked for logs of 0x"),
    (lie(removed=True), "removed by a reorganisation"),
    (lie(data="0x"), "malformed"),
    (lie(topics=5), "malformed"),
    (lie(logIndex=None), "malformed"),
    (twice, "gives two logs at place"),
    (hide, "bloom filter says that there are"),
]


@once
@pytest.mark.parametrize(("change", "said"), LIES)
def test_a_node_that_lies_is_an_error_in_the_end_and_nothing_is_taken(federation, proxy, change, said):
    follower = follow(federation, proxy, patience=0.2)
    known = fresh(federation)
    federation.submit(0, 1)
    proxy.change = change
    with pytest.raises(UnreliableAnswerError, match=said) as caught:
        follower.poll()
    assert caught.value.exit_code == 20
    assert follower.history == known
    proxy.heal()
    assert follower.poll() is True
    assert_up_to_date(federation, follower)


@once
@pytest.mark.parametrize(("change", "said"), LIES)
def test_of_two_nodes_the_one_that_does_not_lie_is_heard(federation, proxy, second, change, said):
    follower = follow(federation, proxy, second)
    federation.submit(0, 1)
    proxy.change = change
    assert follower.poll() is True
    assert_up_to_date(federation, follower)
    assert second.asked


@once
def test_a_bloom_filter_that_only_looks_like_it_is_no_reason_to_worry(federation, proxy):
    """Other logs of the block may have set the same bits: all of its logs together tell."""
    follower = follow(federation, proxy)
    other = federation.register()  # the ledger's address, and another job
    job = f"0x{federation.job:064x}"

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_getLogs" and "blockHash" in request["params"][0]:
            answer["result"].append({"address": "0x" + "34" * 20, "topics": [job]})
        elif request["method"] == "eth_getBlockByNumber":
            bloom = follower_bloom(answer["result"]["logsBloom"], job, "0x" + "34" * 20)
            answer["result"]["logsBloom"] = bloom
        return answer

    proxy.change = change
    assert follower.poll() is False
    assert proxy.asked.count("eth_getLogs") == 2
    assert JobFollower(federation.ledger(), other).history.owner == federation.owner


def follower_bloom(bloom: str, *more: str) -> str:
    from eth_bloom.bloom import BloomFilter

    made = BloomFilter(int(bloom, 16))
    made.extend(bytes.fromhex(value[2:]) for value in more)
    return f"0x{int(made):0512x}"


@once
def test_a_log_that_is_missing_far_below_the_head_shows_in_the_events(federation, proxy):
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    mine(federation, LINKED + 1)

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_getLogs":
            submitted = "0x" + ledger_abi().topics["UpdatesSubmitted"].hex()
            answer["result"] = [log for log in answer["result"] if log["topics"][0] != submitted]
        return answer

    proxy.change = change
    with pytest.raises(AuditError, match="commit names the head"):
        follow(federation, proxy)
    with TcpProxy(federation.node.url) as honest:
        assert_up_to_date(federation, follow(federation, proxy, honest))


def behind(federation: Federation, number: int) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    """A node that has got no further than that block."""

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        result = answer.get("result")
        if request["method"] == "eth_getBlockByNumber" and result and int(result["number"], 16) > number:
            latest = request["params"][0] == "latest"
            return answer | {
                "result": federation.rpc.request("eth_getBlockByNumber", hex(number), False) if latest else None
            }
        if request["method"] == "eth_getBlockByHash" and result and int(result["number"], 16) > number:
            return answer | {"result": None}
        if request["method"] == "eth_getLogs" and result:
            return answer | {"result": [log for log in result if int(log["blockNumber"], 16) <= number]}
        return answer

    return change


@once
def test_a_head_that_goes_back_is_no_reorganisation(federation, proxy):
    federation.submit(0)
    old = federation.rpc.number("eth_blockNumber")
    federation.submit(1)
    follower = follow(federation, proxy)
    known, then = follower.history, follower.time
    proxy.change = behind(federation, old)
    for _ in range(3):
        assert follower.poll() is False
    assert (follower.history, follower.time) == (known, then)
    proxy.heal()
    federation.submit(2)
    assert follower.poll() is True
    assert [type(change) for change in follower.news if not isinstance(change, Final)] == [Applied, Applied]
    assert_up_to_date(federation, follower)


@once
def test_of_two_nodes_the_one_that_does_not_lag_is_heard(federation, proxy, second):
    follower = follow(federation, proxy, second)
    proxy.change = behind(federation, federation.rpc.number("eth_blockNumber") - 1)
    federation.submit(0, 1)
    assert follower.poll() is True
    assert_up_to_date(federation, follower)


@once
def test_a_balancer_over_nodes_of_different_heights_loses_nothing(federation, proxy):
    """Heads of the one and logs of the other, through one url."""
    follower = follow(federation, proxy)
    old = federation.rpc.number("eth_blockNumber")
    lagging, chance = behind(federation, old), random.Random(1)

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        return lagging(request, answer) if chance.random() < 0.5 else answer

    proxy.change = change
    federation.submit(0, 1)
    applied: list[Any] = []
    while len(follower.history.entries) < 2:
        follower.poll()
        applied += [change for change in follower.news if not isinstance(change, Final)]
    assert {type(change) for change in applied} == {Applied}
    assert_up_to_date(federation, follower)


@once
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_getBlockByHash"])
def test_a_reorganisation_in_the_middle_of_a_poll_is_no_contradiction(federation, proxy, method):
    federation.submit(0)
    snapshot = federation.rpc.request("evm_snapshot")
    federation.submit(1, 2)
    follower = follow(federation, proxy)
    federation.commit()
    federation.submit(0, 1, seed=2)
    happened: list[bool] = []

    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != method or happened:
            return answer
        happened.append(True)
        federation.rpc.request("evm_revert", snapshot)
        federation.submit(2, 1, seed=5)
        federation.commit()
        federation.submit(1, 2, seed=6)
        mine(federation)
        return answer | {"result": federation.rpc.request(method, *request["params"])}

    proxy.change = change
    follower.poll()
    proxy.heal()
    follower.poll()
    assert_up_to_date(federation, follower)


@once
def test_a_node_without_finality_and_without_bloom_filters_will_do(federation, proxy):
    def change(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "eth_getBlockByNumber" and request["params"][0] == "finalized":
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -39001, "message": "Unknown block"}}
        if request["method"].startswith("eth_getBlock"):
            answer["result"].pop("logsBloom")
        return answer

    proxy.change = change
    follower = follow(federation, proxy)
    federation.submit(0)
    assert follower.poll() is True
    assert follower.final < follower_module.CONFIRMATIONS
    assert_up_to_date(federation, follower)
