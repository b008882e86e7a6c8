"""The embedded development chain, as its clients see it: over HTTP, with web3.py and with plain JSON."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hexbytes import HexBytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BlockNotFound,
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
)

from galaxy_chain.node import DEVELOPMENT_MNEMONIC, Node
from galaxy_chain.node.accounts import address_of, derive_keys, development_key
from galaxy_fl.exceptions import ConfigurationError

GWEI = 10**9
ETHER = 10**18
TOPIC = "0x" + "11" * 32

# Adds 1 to slot 0, logs the new count with the topics (TOPIC, caller), and returns it:
#   PUSH0 SLOAD PUSH1 1 ADD DUP1 PUSH0 SSTORE  PUSH0 MSTORE
#   CALLER PUSH32 TOPIC PUSH1 32 PUSH0 LOG2  PUSH1 32 PUSH0 RETURN
COUNTER = "5f54600101805f555f52" + "337f" + TOPIC[2:] + "60205fa260205ff3"

# Reverts with its call data:
#   CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY CALLDATASIZE PUSH0 REVERT
REVERTER = "365f5f37365ffd"

# With n = word 0 of the call data: calls itself with n - 1 and all gas, and reverts if that fails; with 0 it
# writes 1 to the slots 1, 2 and 3:
#   PUSH0 CALLDATALOAD DUP1 ISZERO PUSH1 leaf JUMPI
#   PUSH1 1 SWAP1 SUB PUSH0 MSTORE  PUSH0 PUSH0 PUSH1 32 PUSH0 PUSH0 ADDRESS GAS CALL  PUSH1 good JUMPI
#   PUSH0 PUSH0 REVERT
#   leaf: JUMPDEST (PUSH1 1 PUSH1 slot SSTORE) three times STOP
#   good: JUMPDEST STOP
NESTED = "5f358015601c57" + "600190035f52" + "5f5f60205f5f305af1602d57" + "5f5ffd"
NESTED += "5b" + "600160015560016002556001600355" + "00" + "5b00"

# Reverts unless the block's time has reached word 0 of the call data:
#   TIMESTAMP PUSH0 CALLDATALOAD GT PUSH1 early JUMPI STOP  early: JUMPDEST PUSH0 PUSH0 REVERT
GATE = "425f3511600857005b5f5ffd"

# Returns (chain id, block number, time, caller), a word each:
#   CHAINID PUSH0 MSTORE NUMBER PUSH1 32 MSTORE TIMESTAMP PUSH1 64 MSTORE CALLER PUSH1 96 MSTORE
#   PUSH1 128 PUSH0 RETURN
CONTEXT = "465f5243602052426040523360605260805ff3"


def creation(runtime: str) -> str:
    """Init code that returns `runtime`: PUSH1 n DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN, then the code."""
    return f"0x60{len(runtime) // 2:02x}8060095f395ff3" + runtime


def deploy(web3: Web3, runtime: str) -> str:
    transaction_hash = web3.eth.send_transaction({"from": web3.eth.accounts[0], "data": creation(runtime)})
    address = web3.eth.get_transaction_receipt(transaction_hash)["contractAddress"]
    assert web3.eth.get_code(address).hex() == runtime
    return address


def word(number: int) -> str:
    return f"0x{number:064x}"


def post(node: Node, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=300)
    try:
        connection.request(method, "/", body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def request(node: Node, method: str, *params: Any) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
    status, answer = post(node, body)
    assert status == 200
    decoded: dict[str, Any] = json.loads(answer)
    assert decoded["jsonrpc"] == "2.0"
    assert decoded["id"] == 7
    return decoded


def result(node: Node, method: str, *params: Any) -> Any:
    answer = request(node, method, *params)
    assert "error" not in answer, answer
    return answer["result"]


def error(node: Node, method: str, *params: Any) -> dict[str, Any]:
    answer = request(node, method, *params)
    assert "result" not in answer, answer
    failure: dict[str, Any] = answer["error"]
    return failure


def signed(node: Node, index: int, **fields: Any) -> str:
    """A raw transaction of account `index`; a plain transfer to account 1 unless `fields` say otherwise."""
    transaction = {
        "chainId": node.chain_id,
        "nonce": int(result(node, "eth_getTransactionCount", node.accounts[index], "latest"), 16),
        "to": node.accounts[1],
        "value": 1,
        "gas": 21_000,
        "data": "0x",
    }
    if "gasPrice" not in fields:
        transaction |= {"maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI}
    raw = Account.sign_transaction(transaction | fields, node.private_keys[index]).raw_transaction
    return str(HexBytes(raw).to_0x_hex())


# Accounts


def test_the_accounts_are_those_of_anvil_with_10_000_ether_each(web3: Web3, node: Node) -> None:
    assert web3.eth.accounts == node.accounts
    assert node.accounts[:2] == [
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    ]
    assert node.private_keys[0].hex() == "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    assert web3.eth.get_balance(node.accounts[19]) == 10_000 * ETHER
    assert web3.eth.get_balance("0x" + "22" * 20) == 0


def test_keys_are_those_that_wallets_derive() -> None:
    Account.enable_unaudited_hdwallet_features()
    other = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    for mnemonic in (DEVELOPMENT_MNEMONIC, other):
        paths = [f"m/44'/60'/0'/0/{number}" for number in range(5)]
        wallets = [Account.from_mnemonic(mnemonic, account_path=path) for path in paths]
        keys = derive_keys(mnemonic, 5)
        assert [key.to_bytes() for key in keys] == [bytes(wallet.key) for wallet in wallets]
    for number in (0, 4, 1002, 999_999_999):
        wallet = Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}")
        key = development_key(number)
        assert (key.secret, "0x" + address_of(key).hex()) == (bytes(wallet.key), wallet.address.lower())


def test_signatures_are_made_by_libsecp256k1() -> None:
    from eth_keys import keys
    from eth_keys.backends.coincurve import CoinCurveECCBackend

    assert isinstance(keys.backend, CoinCurveECCBackend)


def test_messages_are_signed_by_the_nodes_accounts_only(web3: Web3, node: Node) -> None:
    signature = web3.eth.sign(node.accounts[1], text="message")
    assert Account.recover_message(encode_defunct(text="message"), signature=signature) == node.accounts[1]
    failure = error(node, "eth_sign", "0x" + "22" * 20, "0x")
    assert (failure["code"], "unknown account" in failure["message"]) == (-32000, True)


def test_an_account_that_is_not_the_nodes_cannot_send(node: Node) -> None:
    stranger = "0x" + "22" * 20
    failure = error(node, "eth_sendTransaction", {"from": stranger, "to": stranger})
    assert failure["code"] == -32000
    assert "unknown account" in failure["message"]


# The chain


def test_the_chain_id_is_that_of_rpc_contracts_and_signatures() -> None:
    with Node(port=0, accounts=2, chain_id=4242) as other:
        assert result(other, "eth_chainId") == hex(4242)
        assert result(other, "net_version") == "4242"
        web3 = Web3(HTTPProvider(other.url))
        output = web3.eth.call({"to": deploy(web3, CONTEXT)})
        assert int.from_bytes(output[:32], "big") == 4242
        for fees in ({"gasPrice": 3 * GWEI}, {}):
            result(other, "eth_sendRawTransaction", signed(other, 0, **fees))
            failure = error(other, "eth_sendRawTransaction", signed(other, 0, chainId=1, **fees))
            assert failure["message"] == "invalid chain id for signer: have 1 want 4242"


def test_each_transaction_is_in_a_block_when_it_is_answered(web3: Web3) -> None:
    sender, receiver = web3.eth.accounts[2:4]
    number = web3.eth.block_number
    transaction_hash = web3.eth.send_transaction({"from": sender, "to": receiver, "value": 5})
    receipt = web3.eth.get_transaction_receipt(transaction_hash)
    block = web3.eth.get_block("latest", full_transactions=True)
    assert web3.eth.block_number == receipt["blockNumber"] == block["number"] == number + 1
    assert receipt["blockHash"] == block["hash"]
    assert (receipt["status"], receipt["gasUsed"], receipt["contractAddress"]) == (1, 21_000, None)
    assert block["transactions"] == [web3.eth.get_transaction(transaction_hash)]
    assert block["transactions"][0]["value"] == 5
    assert block["parentHash"] == web3.eth.get_block(number)["hash"]
    assert block["gasLimit"] == 30_000_000
    assert web3.eth.get_block(block["hash"])["transactions"] == [transaction_hash]
    assert web3.eth.get_balance(receiver, number) == web3.eth.get_balance(receiver) - 5


def test_blocks_are_named_by_tag_number_and_hash(web3: Web3, node: Node) -> None:
    result(node, "evm_mine")
    latest = web3.eth.get_block("latest")
    assert web3.eth.get_block("safe") == web3.eth.get_block("finalized") == latest
    assert web3.eth.get_block(latest["number"]) == web3.eth.get_block(latest["hash"]) == latest
    assert web3.eth.get_block("earliest")["number"] == 0
    pending = web3.eth.get_block("pending")
    assert pending["number"] == latest["number"] + 1
    assert pending["parentHash"] == latest["hash"]
    with pytest.raises(BlockNotFound):
        web3.eth.get_block(latest["number"] + 1)
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt(HexBytes(latest["hash"]))
    named = {"blockHash": latest["hash"].to_0x_hex()}
    assert result(node, "eth_getBalance", node.accounts[9], named) == hex(10_000 * ETHER)
    assert "header not found" in error(node, "eth_getBalance", node.accounts[9], "0xffff")["message"]


def test_py_evm_itself_imports_every_block_with_the_same_result(node: Node) -> None:
    """The node leaves out checks of blocks that it made itself; here they are all made, by re-execution."""
    from eth.chains.base import Chain
    from eth.db.atomic import AtomicDB
    from eth.vm.forks.prague import PragueVM

    with Node(port=0, accounts=3) as fresh:
        web3 = Web3(HTTPProvider(fresh.url))
        counter, nested = deploy(web3, COUNTER), deploy(web3, NESTED)
        for sender in web3.eth.accounts:
            web3.eth.send_transaction({"from": sender, "to": counter})
            web3.eth.send_transaction({"from": sender, "to": nested, "data": word(3)})
        result(fresh, "eth_sendRawTransaction", signed(fresh, 1, to=counter, gas=25_000))
        result(fresh, "evm_setAutomine", False)
        for nonce in range(3):
            first = int(result(fresh, "eth_getTransactionCount", fresh.accounts[0]), 16)
            result(fresh, "eth_sendRawTransaction", signed(fresh, 0, nonce=first + nonce))
        result(fresh, "evm_setAutomine", True)
        result(fresh, "evm_mine")
        blocks = list(fresh.chain.blocks)

    assert [receipt["status"] for block in blocks for receipt in block.receipts].count("0x0") == 1
    assert max(len(block.transactions) for block in blocks) == 3
    genesis = blocks[0].header
    account = {"balance": 10_000 * ETHER, "nonce": 0, "code": b"", "storage": {}}
    replay = Chain.configure("Replay", vm_configuration=((0, PragueVM),), chain_id=1337).from_genesis(
        AtomicDB(),
        {"gas_limit": genesis.gas_limit, "timestamp": genesis.timestamp, "difficulty": 0},
        {bytes.fromhex(address[2:]): account for address in fresh.accounts},
    )
    assert replay.get_canonical_head().hash == genesis.hash
    for block in blocks[1:]:
        evms = [transaction.evm for transaction in block.transactions]
        replay.import_block(PragueVM.get_block_class()(block.header, evms, [], []))
    assert replay.get_canonical_head().hash.hex() == blocks[-1].hash[2:]


# Calls and reverts


def test_a_call_sees_the_block_that_it_names_and_changes_nothing(web3: Web3) -> None:
    counter = deploy(web3, COUNTER)
    before = web3.eth.block_number
    web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": counter})
    assert int(web3.eth.call({"to": counter}).hex(), 16) == 2
    assert int(web3.eth.call({"to": counter}, before).hex(), 16) == 1
    assert int(web3.eth.get_storage_at(counter, 0).hex(), 16) == 1
    assert int(web3.eth.get_storage_at(counter, 0, before).hex(), 16) == 0

    context = deploy(web3, CONTEXT)
    caller = web3.eth.accounts[4]
    for tag in ("latest", "pending"):
        block = web3.eth.get_block(tag)
        output = web3.eth.call({"to": context, "from": caller}, tag).hex()
        number, timestamp = int(output[64:128], 16), int(output[128:192], 16)
        assert number == block["number"]
        assert 0 <= timestamp - block["timestamp"] <= 60
        assert output[-40:] == caller[2:].lower()


def test_a_revert_carries_the_data_of_a_custom_error(web3: Web3, node: Node) -> None:
    reverter = deploy(web3, REVERTER)
    data = Web3.keccak(text="Refused(uint256)")[:4].hex() + word(7)[2:]
    for method in ("eth_call", "eth_estimateGas"):
        assert error(node, method, {"to": reverter, "data": f"0x{data}"}) == {
            "code": 3,
            "message": "execution reverted",
            "data": f"0x{data}",
        }
    with pytest.raises(ContractCustomError) as caught:
        web3.eth.call({"to": reverter, "data": f"0x{data}"})
    assert caught.value.data == f"0x{data}"
    with pytest.raises(ContractCustomError):
        web3.eth.send_transaction({"from": web3.eth.accounts[0], "to": reverter, "data": f"0x{data}"})


def test_a_revert_with_a_reason_says_it(web3: Web3, node: Node) -> None:
    reverter = deploy(web3, REVERTER)
    reason = "0x08c379a0" + word(32)[2:] + word(4)[2:] + b"nope".hex().ljust(64, "0")
    failure = error(node, "eth_call", {"to": reverter, "data": reason})
    assert failure == {"code": 3, "message": "execution reverted: nope", "data": reason}
    with pytest.raises(ContractLogicError, match="execution reverted: nope"):
        web3.eth.call({"to": reverter, "data": reason})
    with pytest.raises(ContractPanicError):
        web3.eth.call({"to": reverter, "data": "0x4e487b71" + word(0x11)[2:]})
    with pytest.raises(ContractLogicError, match="execution reverted"):
        web3.eth.call({"to": reverter})
    # an Error(string) that is cut short is data like any other
    assert error(node, "eth_call", {"to": reverter, "data": reason[:80]})["message"] == "execution reverted"


def test_a_transaction_that_reverts_is_mined_and_pays(web3: Web3, node: Node) -> None:
    reverter = deploy(web3, REVERTER)
    balance = web3.eth.get_balance(node.accounts[3])
    raw = signed(node, 3, to=reverter, value=0, gas=50_000, data="0x1234")
    receipt = web3.eth.get_transaction_receipt(result(node, "eth_sendRawTransaction", raw))
    assert receipt["status"] == 0
    assert receipt["logs"] == []
    paid = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert web3.eth.get_balance(node.accounts[3]) == balance - paid


def test_a_call_that_fails_otherwise_says_how(web3: Web3, node: Node) -> None:
    invalid = deploy(web3, "fe")
    failure = error(node, "eth_call", {"to": invalid})
    assert failure["code"] == -32000
    assert "InvalidInstruction" in failure["message"]
    assert "data" not in failure
    endless = deploy(web3, "5b5f56")
    assert "out of gas" in error(node, "eth_call", {"to": endless, "gas": hex(100_000)})["message"]
    poor = {"from": "0x" + "22" * 20, "to": endless, "value": "0x1"}
    assert "insufficient funds for gas * price + value" in error(node, "eth_call", poor)["message"]
    assert "intrinsic gas too low" in error(node, "eth_call", {"to": endless, "gas": "0x1"})["message"]


@pytest.mark.parametrize("depth", [0, 1, 7, 40])
def test_an_estimate_is_enough_for_nested_calls_and_not_much_more(web3: Web3, node: Node, depth: int) -> None:
    transaction = {"from": node.accounts[0], "to": deploy(web3, NESTED), "data": word(depth), "value": 0}
    estimate = web3.eth.estimate_gas(transaction)
    raw = signed(node, 0, to=transaction["to"], data=word(depth), value=0, gas=estimate)
    receipt = web3.eth.get_transaction_receipt(result(node, "eth_sendRawTransaction", raw))
    assert receipt["status"] == 1
    # what has to be left over for the 63/64 rule is part of what has to be sent
    assert receipt["gasUsed"] <= estimate <= receipt["gasUsed"] * (64 / 63) ** depth + 2_300 * 2**depth


def test_an_estimate_of_a_transfer_is_exact(web3: Web3) -> None:
    transfer = {"from": web3.eth.accounts[0], "to": web3.eth.accounts[1], "value": 1}
    assert web3.eth.estimate_gas(transfer) == 21_000


def test_an_estimate_counts_the_floor_of_call_data(web3: Web3, node: Node) -> None:
    data = "0x" + "ff" * 1000
    estimate = web3.eth.estimate_gas({"from": node.accounts[0], "to": node.accounts[1], "data": data})
    assert estimate == 21_000 + 40 * 1000
    failure = error(node, "eth_sendRawTransaction", signed(node, 0, data=data, gas=estimate - 1))
    assert "insufficient gas for floor data gas cost" in failure["message"]
    result(node, "eth_sendRawTransaction", signed(node, 0, data=data, gas=estimate))


def test_an_estimate_is_for_the_next_block_so_time_that_has_passed_counts(web3: Web3, node: Node) -> None:
    gate = deploy(web3, GATE)
    opens = web3.eth.get_block("latest")["timestamp"] + 100
    with pytest.raises(ContractLogicError):
        web3.eth.estimate_gas({"to": gate, "data": word(opens)})
    result(node, "evm_increaseTime", 200)
    web3.eth.estimate_gas({"to": gate, "data": word(opens)})
    web3.eth.call({"to": gate, "data": word(opens)}, "pending")
    with pytest.raises(ContractLogicError):
        web3.eth.call({"to": gate, "data": word(opens)}, "latest")


# Transactions


@pytest.mark.parametrize("fees", [{"gasPrice": 3 * GWEI}, {}], ids=["legacy", "dynamic fee"])
def test_raw_transactions_are_mined_and_shown_as_signed(web3: Web3, node: Node, fees: dict[str, int]) -> None:
    raw = signed(node, 5, value=9, **fees)
    transaction_hash = result(node, "eth_sendRawTransaction", raw)
    assert transaction_hash == Web3.to_hex(Web3.keccak(hexstr=raw))
    shown = web3.eth.get_transaction(transaction_hash)
    assert (shown["from"], shown["to"], shown["value"]) == (node.accounts[5], node.accounts[1], 9)
    assert shown["type"] == (0 if fees else 2)
    assert shown["chainId"] == node.chain_id
    base_fee = web3.eth.get_block(shown["blockNumber"])["baseFeePerGas"]
    expected = fees.get("gasPrice", base_fee + GWEI)
    assert shown["gasPrice"] == expected
    assert web3.eth.get_transaction_receipt(transaction_hash)["effectiveGasPrice"] == expected


def test_an_access_list_is_paid_for_and_shown(web3: Web3, node: Node) -> None:
    access = [{"address": node.accounts[4], "storageKeys": [word(3)]}]
    raw = signed(node, 5, gasPrice=3 * GWEI, accessList=access, gas=30_000)
    transaction_hash = result(node, "eth_sendRawTransaction", raw)
    shown = web3.eth.get_transaction(transaction_hash)
    assert shown["type"] == 1
    assert result(node, "eth_getTransactionByHash", transaction_hash)["accessList"] == [
        {"address": node.accounts[4].lower(), "storageKeys": [word(3)]}
    ]
    assert web3.eth.get_transaction_receipt(transaction_hash)["gasUsed"] == 21_000 + 2_400 + 1_900


def test_a_refused_transaction_is_told_why_in_geths_words(web3: Web3, node: Node) -> None:
    def refusal(raw: str) -> str:
        failure = error(node, "eth_sendRawTransaction", raw)
        assert failure["code"] == -32000
        return str(failure["message"])

    sent = signed(node, 6)
    result(node, "eth_sendRawTransaction", sent)
    nonce = web3.eth.get_transaction_count(node.accounts[6])
    assert refusal(sent) == f"nonce too low: next nonce {nonce}, tx nonce {nonce - 1}"
    assert refusal(signed(node, 6, value=20_000 * ETHER)).startswith("insufficient funds for gas * price + value")
    assert refusal(signed(node, 6, gas=20_999)) == "intrinsic gas too low: gas 20999, minimum needed 21000"
    assert refusal(signed(node, 6, gas=30_000_001)).startswith("exceeds block gas limit")
    assert refusal(signed(node, 6, gasPrice=1)).startswith("max fee per gas less than block base fee")
    greedy = signed(node, 6, maxFeePerGas=GWEI, maxPriorityFeePerGas=2 * GWEI)
    assert refusal(greedy).startswith("max priority fee per gas higher than max fee per gas")
    unprotected = {"gasPrice": 3 * GWEI, "chainId": None}
    assert refusal(signed(node, 6, **unprotected)).startswith("only replay-protected (EIP-155)")
    assert refusal(signed(node, 6, to="", gas=8_000_000, data="0x" + "00" * 49_153)).startswith(
        "max initcode size exceeded"
    )
    assert refusal("0x03c0").startswith("transaction type not supported: 3")
    assert refusal("0xc0").startswith("rlp:")
    # the same signature with s on the other half of the curve would be another hash for the same transaction
    legacy = signed(node, 6, gasPrice=3 * GWEI)
    s = int(legacy[-64:], 16)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert refusal(legacy[:-64] + word(order - s)[2:]) == "invalid transaction v, r, s values"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(raw=st.binary(max_size=200), kind=st.sampled_from([b"", b"\x01", b"\x02", b"\xf8\x40"]))
def test_bytes_that_are_no_transaction_are_refused(node: Node, raw: bytes, kind: bytes) -> None:
    failure = error(node, "eth_sendRawTransaction", "0x" + (kind + raw).hex())
    assert failure["code"] == -32000


def test_a_transaction_whose_nonce_is_not_due_waits_for_it(web3: Web3, node: Node) -> None:
    first, second = signed(node, 7, nonce=0), signed(node, 7, nonce=1)
    early = result(node, "eth_sendRawTransaction", second)
    assert web3.eth.get_transaction(early)["blockNumber"] is None
    assert result(node, "eth_getTransactionReceipt", early) is None
    assert error(node, "eth_sendRawTransaction", second)["message"] == "already known"
    due = result(node, "eth_sendRawTransaction", first)
    block = web3.eth.get_block("latest")
    assert block["transactions"] == [HexBytes(due), HexBytes(early)]
    receipts = [web3.eth.get_transaction_receipt(each) for each in block["transactions"]]
    assert [receipt["transactionIndex"] for receipt in receipts] == [0, 1]
    assert [receipt["gasUsed"] for receipt in receipts] == [21_000, 21_000]
    assert [receipt["cumulativeGasUsed"] for receipt in receipts] == [21_000, 42_000]


def test_without_automining_transactions_wait_and_can_be_replaced(web3: Web3, node: Node) -> None:
    result(node, "evm_setAutomine", False)
    sender = node.accounts[8]
    number, nonce = web3.eth.block_number, web3.eth.get_transaction_count(sender)
    old = result(node, "eth_sendRawTransaction", signed(node, 8))
    assert web3.eth.block_number == number
    assert web3.eth.get_transaction_count(sender) == nonce
    assert web3.eth.get_transaction_count(sender, "pending") == nonce + 1
    assert web3.eth.get_block("pending")["transactions"] == [HexBytes(old)]

    cheap = signed(node, 8, maxFeePerGas=10 * GWEI + 1)
    assert "replacement transaction underpriced" in error(node, "eth_sendRawTransaction", cheap)["message"]
    better = signed(node, 8, maxFeePerGas=11 * GWEI, maxPriorityFeePerGas=GWEI * 11 // 10)
    new = result(node, "eth_sendRawTransaction", better)
    assert result(node, "eth_getTransactionByHash", old) is None

    # a nonce that is filled in counts what waits
    follow = result(node, "eth_sendTransaction", {"from": sender, "to": sender})
    result(node, "evm_mine")
    assert web3.eth.get_block("latest")["transactions"] == [HexBytes(new), HexBytes(follow)]
    assert web3.eth.get_block("pending")["transactions"] == []


def test_what_does_not_fit_into_a_block_goes_into_the_next(web3: Web3, node: Node) -> None:
    result(node, "evm_setAutomine", False)
    for index in range(3):
        result(node, "eth_sendRawTransaction", signed(node, index, gas=29_990_000))
    number = web3.eth.block_number
    result(node, "evm_setAutomine", True)
    assert web3.eth.block_number == number + 3
    assert [len(web3.eth.get_block(number + step)["transactions"]) for step in (1, 2, 3)] == [1, 1, 1]


def test_concurrent_senders_are_all_included_and_share_blocks(web3: Web3, node: Node) -> None:
    counter = deploy(web3, COUNTER)
    each, number = 6, web3.eth.block_number
    fields = {"to": counter, "value": 0, "gas": 100_000}
    senders = range(2, 18)
    raws = [[signed(node, index, nonce=nonce, **fields) for nonce in range(each)] for index in senders]
    barrier = threading.Barrier(len(raws))

    def send(mine: list[str]) -> list[str]:
        barrier.wait()
        return [result(node, "eth_sendRawTransaction", raw) for raw in mine]

    with ThreadPoolExecutor(len(raws)) as pool:
        hashes = [sent for batch in pool.map(send, raws) for sent in batch]
    receipts = [web3.eth.get_transaction_receipt(sent) for sent in hashes]
    assert all(receipt["status"] == 1 for receipt in receipts)
    assert int(web3.eth.get_storage_at(counter, 0).hex(), 16) == len(hashes) == len(raws) * each
    assert web3.eth.block_number - number < len(hashes)
    logs = web3.eth.get_logs({"fromBlock": number + 1, "address": counter})
    assert [int(log["data"].hex(), 16) for log in logs] == list(range(1, len(hashes) + 1))
    assert len({(log["blockHash"], log["logIndex"]) for log in logs}) == len(hashes)


def test_concurrent_unlocked_sends_of_one_account_get_distinct_nonces(web3: Web3, node: Node) -> None:
    transfer = {"from": node.accounts[10], "to": node.accounts[11], "value": "0x1"}
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda _: result(node, "eth_sendTransaction", transfer), range(16)))
    nonces = [web3.eth.get_transaction(sent)["nonce"] for sent in hashes]
    assert sorted(nonces) == list(range(16))


# Logs


def test_logs_are_found_by_address_topics_and_range(web3: Web3, node: Node) -> None:
    first, second = deploy(web3, COUNTER), deploy(web3, COUNTER)
    start = web3.eth.block_number + 1
    for sender, contract in ((0, first), (1, first), (0, second)):
        web3.eth.send_transaction({"from": node.accounts[sender], "to": contract})
    callers = ["0x" + "00" * 12 + address[2:].lower() for address in node.accounts[:2]]

    def found(**log_filter: Any) -> list[tuple[str, int]]:
        logs = result(node, "eth_getLogs", {"fromBlock": hex(start), "toBlock": "latest"} | log_filter)
        return [(Web3.to_checksum_address(log["address"]), int(log["blockNumber"], 16) - start) for log in logs]

    everything = [(first, 0), (first, 1), (second, 2)]
    assert found() == everything
    assert found(address=first) == everything[:2]
    assert found(address=[first, second.lower()]) == everything
    assert found(topics=[TOPIC]) == found(topics=[None]) == found(topics=[[]]) == everything
    assert found(topics=[None, callers[1]]) == everything[1:2]
    assert found(topics=[[TOPIC, word(0)], callers]) == everything
    assert found(topics=[word(0)]) == []
    assert found(topics=[None, None, None]) == []
    assert found(fromBlock=hex(start + 1), toBlock=hex(start + 1)) == everything[1:2]
    assert found(fromBlock="earliest", toBlock="pending") == everything
    assert found(fromBlock=hex(start + 3)) == []

    block_hash = web3.eth.get_block(start)["hash"].to_0x_hex()
    logs = result(node, "eth_getLogs", {"blockHash": block_hash})
    receipt = web3.eth.get_block(start)["transactions"][0]
    assert logs == result(node, "eth_getTransactionReceipt", receipt.to_0x_hex())["logs"]
    assert logs[0]["topics"] == [TOPIC, callers[0]]
    assert logs[0]["data"] == word(1)
    assert (logs[0]["logIndex"], logs[0]["removed"]) == ("0x0", False)

    assert error(node, "eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x1"})["code"] == -32602
    assert error(node, "eth_getLogs", {"blockHash": block_hash, "toBlock": "0x1"})["code"] == -32602
    assert "unknown block" in error(node, "eth_getLogs", {"blockHash": word(1)})["message"]
    assert error(node, "eth_getLogs", {"topics": [TOPIC] * 5})["code"] == -32602


# Fees


def test_fees_follow_eip_1559(web3: Web3, node: Node) -> None:
    sent = web3.eth.send_transaction({"from": node.accounts[0], "to": node.accounts[1], "value": 1})
    block = web3.eth.get_block("latest")
    pending = web3.eth.get_block("pending")
    assert web3.eth.max_priority_fee == GWEI
    assert web3.eth.gas_price == pending["baseFeePerGas"] + GWEI
    assert pending["baseFeePerGas"] < block["baseFeePerGas"]
    assert web3.eth.get_transaction_receipt(sent)["effectiveGasPrice"] == block["baseFeePerGas"] + GWEI

    history = web3.eth.fee_history(2, "latest", [0, 50, 100])
    assert history["oldestBlock"] == block["number"] - 1
    assert history["baseFeePerGas"][1:] == [block["baseFeePerGas"], pending["baseFeePerGas"]]
    assert history["gasUsedRatio"][1] == 21_000 / 30_000_000
    assert history["reward"][1] == [GWEI] * 3
    assert "reward" not in result(node, "eth_feeHistory", "0x1", "latest", [])
    assert error(node, "eth_feeHistory", "0x1", "latest", [50, 1])["code"] == -32602


# Snapshots and time


def test_reverting_to_a_snapshot_is_a_reorganisation(web3: Web3, node: Node) -> None:
    counter = deploy(web3, COUNTER)
    base = web3.eth.get_block("latest")
    snapshot = result(node, "evm_snapshot")
    raw = signed(node, 9, to=counter, value=0, gas=100_000)
    sent = result(node, "eth_sendRawTransaction", raw)
    lost = web3.eth.get_block("latest")
    assert len(web3.eth.get_logs({"fromBlock": base["number"], "address": counter})) == 1

    assert result(node, "evm_revert", snapshot) is True
    assert web3.eth.get_block("latest") == base
    assert web3.eth.get_logs({"fromBlock": base["number"], "address": counter}) == []
    assert result(node, "eth_getTransactionReceipt", sent) is None
    assert result(node, "eth_getTransactionByHash", sent) is None
    assert result(node, "eth_getBlockByHash", lost["hash"].to_0x_hex()) is None
    assert web3.eth.get_transaction_count(node.accounts[9]) == 0
    assert int(web3.eth.get_storage_at(counter, 0).hex(), 16) == 0

    assert result(node, "eth_sendRawTransaction", raw) == sent
    again = web3.eth.get_block("latest")
    assert again["number"] == lost["number"]
    assert again["hash"] != lost["hash"]
    assert again["parentHash"] == base["hash"]


def test_a_snapshot_serves_once_and_takes_later_ones_with_it(web3: Web3, node: Node) -> None:
    first, second = result(node, "evm_snapshot"), result(node, "evm_snapshot")
    assert result(node, "evm_revert", first) is True
    assert result(node, "evm_revert", second) is False
    assert result(node, "evm_revert", first) is False


def test_time_can_be_moved_forward_and_set(web3: Web3, node: Node) -> None:
    start = web3.eth.get_block("latest")["timestamp"]
    assert result(node, "evm_increaseTime", 1_000) == result(node, "evm_increaseTime", "0x0")
    result(node, "evm_mine")
    moved = web3.eth.get_block("latest")["timestamp"]
    assert moved >= start + 1_000

    result(node, "evm_setNextBlockTimestamp", moved + 5_000)
    web3.eth.send_transaction({"from": node.accounts[0], "to": node.accounts[1]})
    assert web3.eth.get_block("latest")["timestamp"] == moved + 5_000
    result(node, "evm_mine", moved + 6_000)
    assert web3.eth.get_block("latest")["timestamp"] == moved + 6_000
    result(node, "evm_mine")
    assert moved + 6_000 < web3.eth.get_block("latest")["timestamp"] <= moved + 6_100
    assert "is not after" in error(node, "evm_setNextBlockTimestamp", moved)["message"]


def test_time_moves_from_the_latest_block_where_blocks_are_ahead_of_the_clock(web3: Web3, node: Node) -> None:
    for _ in range(5):
        result(node, "evm_mine")  # a second later each, whatever the clock says
    start = web3.eth.get_block("latest")["timestamp"]
    result(node, "evm_increaseTime", 1_000)
    result(node, "evm_mine")
    assert web3.eth.get_block("latest")["timestamp"] >= start + 1_000


def test_every_block_is_later_than_its_parent(web3: Web3, node: Node) -> None:
    for _ in range(3):
        result(node, "evm_mine")
    times = [block.header.timestamp for block in node.chain.blocks]
    assert times == sorted(set(times))


# JSON-RPC


def test_a_batch_is_answered_in_order_without_its_notifications(node: Node) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": "two", "method": "eth_nothing", "params": []},
        5,
        {"jsonrpc": "2.0", "id": None, "method": "net_version", "params": []},
    ]
    status, body = post(node, json.dumps(batch).encode())
    assert status == 200
    answers = json.loads(body)
    assert [answer["id"] for answer in answers] == [1, "two", None, None]
    assert answers[0]["result"] == "0x539"
    assert [answers[1]["error"]["code"], answers[2]["error"]["code"]] == [-32601, -32600]
    assert answers[3]["result"] == "1337"
    assert post(node, json.dumps(batch[1:2]).encode()) == (204, b"")
    for invalid in ([], [batch[0]] * 1001):
        assert json.loads(post(node, json.dumps(invalid).encode())[1])["error"]["code"] == -32600


def test_malformed_requests_are_told_so(node: Node) -> None:
    assert json.loads(post(node, b"{]")[1])["error"]["code"] == -32700
    assert json.loads(post(node, b"\xff\xfe{")[1])["error"]["code"] == -32700
    assert json.loads(post(node, b"[" * 100_000)[1])["error"]["code"] == -32700
    assert json.loads(post(node, b'{"id": 1, "method": "eth_chainId"}')[1])["error"]["code"] == -32600
    assert error(node, "eth_nothing")["code"] == -32601
    assert error(node, "_state", "latest")["code"] == -32601


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_chainId", [1]),
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x12"]),
        ("eth_getBalance", ["0x" + "zz" * 20]),
        ("eth_getBalance", ["0x" + "11" * 20, "newest"]),
        ("eth_getBalance", ["0x" + "11" * 20, 5]),
        ("eth_getBlockByNumber", ["0x1", "yes"]),
        ("eth_getBlockByHash", ["0x1"]),
        ("eth_call", ["0x12"]),
        ("eth_call", [{"to": "0x12"}]),
        ("eth_call", [{"value": -1}]),
        ("eth_getLogs", [{"address": 5}]),
        ("eth_getLogs", [{"topics": ["0x11"]}]),
        ("eth_getLogs", [{"topics": "0x11"}]),
        ("eth_sendRawTransaction", ["f86c"]),
        ("evm_increaseTime", [-1]),
        ("evm_setAutomine", [1]),
    ],
)
def test_invalid_parameters_are_told_so(node: Node, method: str, params: list[Any]) -> None:
    assert error(node, method, *params)["code"] == -32602


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["0x", "0x1", "latest", "pending", "0x" + "11" * 20, "0x" + "11" * 32]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from", "to", "data", "value", "gas", "topics", "address", "blockHash", "fromBlock"]),
            inner,
        )
    ),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    method=st.sampled_from(
        [
            "eth_getBalance",
            "eth_getStorageAt",
            "eth_getBlockByNumber",
            "eth_getTransactionReceipt",
            "eth_getLogs",
            "eth_call",
            "eth_estimateGas",
            "eth_feeHistory",
        ]
    ),
    params=st.lists(json_values, max_size=3),
)
def test_no_parameters_make_the_node_fail(node: Node, method: str, params: list[Any]) -> None:
    failure = request(node, method, *params).get("error", {})
    assert failure.get("code") != -32603


def test_the_client_names_itself_and_is_in_sync(web3: Web3) -> None:
    assert web3.client_version.startswith("galaxy-chain/")
    assert web3.eth.syncing is False
    assert web3.is_connected()


# HTTP


def test_only_the_nodes_own_names_are_served(node: Node) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'
    for host in ("localhost", f"localhost:{node.port}", "LOCALHOST", "127.0.0.1:1", "[::1]:8545", "[::1]"):
        assert post(node, body, {"Host": host})[0] == 200, host
    for host in (
        "evil.example",
        f"evil.example:{node.port}",
        "localhost.evil.example",
        "",
        "127.0.0.1.nip.io",
    ):
        assert post(node, body, {"Host": host})[0] == 403, host


def test_what_a_web_page_can_send_without_asking_is_refused(node: Node) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'
    assert post(node, body, {"Content-Type": "text/plain"})[0] == 415
    assert post(node, body, {"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    assert post(node, body, {"Content-Type": "application/json; charset=utf-8"})[0] == 200
    assert post(node, b"", method="OPTIONS")[0] == 405
    assert post(node, b"", method="GET")[0] == 405


def test_a_body_of_more_than_5_mib_is_refused(node: Node) -> None:
    limit = 5 * 2**20
    assert post(node, b" " * (limit + 1))[0] == 413
    request_body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
    assert post(node, request_body.ljust(limit))[0] == 200


def test_a_connection_serves_many_requests(node: Node) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=300)
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
    connection.connect()
    used = connection.sock
    for _ in range(20):
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        assert "result" in json.loads(connection.getresponse().read())
        assert connection.sock is used
    connection.close()


# Starting and stopping


def test_a_port_in_use_is_a_configuration_error(node: Node) -> None:
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1 port {node.port}.*another port"):
        Node(port=node.port)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"accounts": 0}, "at least 1 account"),
        ({"chain_id": 0}, "chain id 0 is out of range"),
        ({"mnemonic": "test test"}, "mnemonic of 2 words"),
        ({"port": 65_536}, "port 65536 is out of range"),
    ],
)
def test_settings_out_of_range_are_configuration_errors(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Node(**{"port": 0, **settings})


def test_a_stopped_node_lets_its_port_go() -> None:
    with Node(port=0, accounts=1) as first:
        assert result(first, "eth_blockNumber") == "0x0"
    with Node(port=first.port, accounts=1) as second:
        assert result(second, "eth_blockNumber") == "0x0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_nothing_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    program = (
        "from galaxy_chain.node import Node\n"
        "from galaxy_fl.http_server import serve\n"
        "serve(Node(port=0, accounts=2), lambda node: print(node.port, flush=True))\n"
        "print('ended')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(number)
            output, errors = process.communicate(timeout=300)
    assert (process.returncode, output, errors) == (0, "ended\n", "")


def test_importing_the_package_imports_neither_py_evm_nor_web3() -> None:
    program = (
        "import sys, galaxy_chain.node\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'eth', 'eth_tester', 'eth_account', 'web3', 'uvicorn', 'torch'}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
