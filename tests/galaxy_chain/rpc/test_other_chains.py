"""Chains and nodes that are not like the others: methods that are not there, older rules, other units, free gas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from eth_account import Account

from galaxy_chain.exceptions import InsufficientFundsError, RpcError, UnfitChainError
from galaxy_chain.ledger.deployment import deploy
from galaxy_chain.rpc.rpc import Rpc
from galaxy_chain.transactions.accounts import LocalSigner, NodeSigner
from galaxy_chain.transactions.fees import Market
from galaxy_chain.transactions.manager import Transactions, TransactionSettings
from tests.end_to_end.processes import anvil
from tests.galaxy_fl.content.servers import Answer, Asked, forward, serve

GWEI = 10**9


@contextmanager
def lacking(url: str, *methods: str, change: Callable[[str, Any], Any] | None = None) -> Iterator[str]:
    """A node in front of another that does not have these methods; `change` gives what the results of the others become."""

    def answer(asked: Asked) -> Answer:
        request = json.loads(asked.body)
        if request["method"] in methods:
            error = {"code": -32601, "message": f"the method {request['method']} does not exist/is not available"}
            said = {"jsonrpc": "2.0", "id": request["id"], "error": error}
        else:
            said = json.loads(forward(asked, url).body)
            if change is not None and "result" in said:
                said["result"] = change(request["method"], said["result"])
        return Answer(json.dumps(said).encode(), 200, {"Content-Type": "application/json"})

    with serve(answer) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def latest_anvil() -> Iterator[str]:
    with anvil() as url:
        yield url


@pytest.mark.parametrize(
    "methods",
    [(), ("eth_maxPriorityFeePerGas",), ("eth_maxPriorityFeePerGas", "eth_feeHistory")],
    ids=lambda methods: f"{len(methods)} lacking",
)
def test_fees_without_every_method_for_them(latest_anvil, methods):
    with lacking(latest_anvil, *methods) as url:
        rpc = Rpc(url)
        base_fee = rpc.block("latest").base_fee
        fees = Market(rpc).fees()
        assert fees.tip is not None
        assert fees.price == 2 * base_fee + fees.tip
        if len(methods) == 2:
            assert fees.tip == max(0, rpc.number("eth_gasPrice") - base_fee)
        account = NodeSigner(rpc.request("eth_accounts")[0])
        sent = Transactions(rpc, account, settings=TransactionSettings(timeout=300)).send(account.address, b"")
        assert sent.gas_used == 21_000


def test_the_tips_of_the_last_blocks_count_where_the_node_suggests_none(latest_anvil):
    rewards = [[hex(tip)] for tip in (9 * GWEI, 0, 2 * GWEI)]
    for history, tip in (({"reward": rewards}, 2 * GWEI), ({}, 3 * GWEI), (None, 3 * GWEI), ({"reward": []}, 3 * GWEI)):

        def change(method: str, result: Any, history: Any = history) -> Any:
            price = hex(Rpc(latest_anvil).block("latest").base_fee + 3 * GWEI)
            return {"eth_feeHistory": history, "eth_gasPrice": price}.get(method, result)

        with lacking(latest_anvil, "eth_maxPriorityFeePerGas", change=change) as url:
            assert Market(Rpc(url)).fees().tip == tip


def test_a_node_that_suggests_nothing_is_named(latest_anvil):
    every = "eth_maxPriorityFeePerGas", "eth_feeHistory", "eth_gasPrice"
    said = "suggests no price of gas: it answers none of eth_maxPriorityFeePerGas"
    with lacking(latest_anvil, *every) as url, pytest.raises(RpcError, match=said):
        Market(Rpc(url)).fees()


def owner(rpc: Rpc) -> Transactions:
    return Transactions(rpc, NodeSigner(rpc.request("eth_accounts")[0]))


@pytest.mark.parametrize("hardfork", ["london", "paris", "shanghai"])
def test_a_chain_of_older_rules_is_refused_before_gas_is_spent(hardfork):
    """There deploying works, and each call fails."""
    with anvil("--hardfork", hardfork) as url:
        rpc = Rpc(url)
        with pytest.raises(UnfitChainError, match=r"PUSH0 and MCOPY \(.*NotActivated\).*since Cancun") as caught:
            deploy(rpc, owner(rpc))
        assert caught.value.exit_code == 36
        assert rpc.number("eth_blockNumber") == 0


def test_the_oldest_rules_that_do(latest_anvil):
    with anvil("--hardfork", "cancun") as url:
        rpc = Rpc(url)
        deployment, _ = deploy(rpc, owner(rpc))
        assert rpc.data("eth_getCode", deployment.ledger, "latest")


@pytest.mark.parametrize(("factor", "divisor"), [(1_000, 1), (10**6, 1), (1, 60)])
def test_time_in_other_units_is_refused_before_gas_is_spent(node, web3, factor, divisor):
    def change(method: str, result: Any) -> Any:
        if method == "eth_getBlockByNumber":
            result["timestamp"] = hex(int(result["timestamp"], 16) * factor // divisor)
        return result

    web3.provider.make_request("evm_mine", [])
    with lacking(node.url, change=change) as url:
        rpc = Rpc(url)
        before = rpc.number("eth_blockNumber")
        with pytest.raises(UnfitChainError, match="which is none in seconds since 1970"):
            deploy(rpc, owner(rpc))
        assert rpc.number("eth_blockNumber") == before


def test_gas_that_is_free_though_the_node_suggests_a_tip():
    """An account without ether gets by there, if it is told to offer nothing."""
    with anvil("--block-base-fee-per-gas", "0", "--gas-price", "0") as url:
        rpc, nobody = Rpc(url), LocalSigner(Account.create())
        assert rpc.number("eth_maxPriorityFeePerGas") > 0
        with pytest.raises(InsufficientFundsError):
            deploy(rpc, Transactions(rpc, nobody))
        deployment, _ = deploy(rpc, Transactions(rpc, nobody, settings=TransactionSettings(fee_cap=0)))
        assert rpc.data("eth_getCode", deployment.ledger, "latest")


@pytest.mark.parametrize(
    ("estimate", "allowed"), [(15_000_000, 2**24), (20_000_000, 25_000_000), (1_000_000, 1_250_000)]
)
def test_what_fits_a_transaction_is_not_refused_for_what_it_is_allowed_on_top(latest_anvil, estimate, allowed):
    """EIP-7825 ends a transaction at 2**24 gas; an estimate of 15,000,000 and a quarter would be more."""

    def change(method: str, result: Any) -> Any:
        return hex(estimate) if method == "eth_estimateGas" else result

    with lacking(latest_anvil, change=change) as url:
        rpc = Rpc(url)
        account = NodeSigner(rpc.request("eth_accounts")[0])
        sent = Transactions(rpc, account, settings=TransactionSettings(timeout=300)).send(account.address, b"")
        gas = int(rpc.request("eth_getTransactionByHash", sent.transaction)["gas"], 16)
    assert allowed <= gas < allowed + 1000
    assert (gas <= 2**24) == (estimate <= 2**24)
