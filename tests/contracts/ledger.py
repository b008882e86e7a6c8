"""The contracts on a chain of their own, and jobs on them that remember what a watcher would know.

`Chain` sends, calls and travels in time. `Job` keeps models, entries, heads, records and rewards as protocol.md has them,
computed here and not read from the ledger, so that every use of it compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from eth_abi.abi import decode, encode
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3
from web3.contract import Contract

from galaxy_fl.aggregation import RULES
from galaxy_fl.vectors import ChunkTree, Vector, commitment
from tests.contracts.anvil import Anvil, TransactionFailed, key_of
from tests.contracts.signing import UPDATE_FIELDS, client_key, domain, join_data, separator, sign
from tests.contracts.sums import Alter, Sums, SumTree, grow, opening
from tests.contracts.sums import finish as mean_of
from tests.vectors import generate_optimizers as optimizers

__all__ = [
    "ETHER",
    "NEVER",
    "NOBODY",
    "SALT",
    "ZERO",
    "Actor",
    "Chain",
    "Commit",
    "Event",
    "Job",
    "Receipt",
    "Reverted",
    "Upload",
]

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "galaxy_chain" / "artifacts"
GAS = 16_000_000
ETHER = 10**18
NEVER = 2**40 - 1
NOBODY = "0x" + "00" * 20
ZERO = bytes(32)
SALT = b"salt".ljust(32, b"!")
"""Of announcements where nothing depends on it."""
NODES_CONTENT = b"\x99" * 32
"""The manifest of nodes, which the ledger does not look at."""
SEGMENT = 64
"""Blocks of a segment."""
SUM_RULES = {"weighted_mean", *optimizers.LANES}
OPTIMIZER_WORDS = {
    "fedavgm": optimizers.word_of(1_000_000, 900_000),
    "fedadam": optimizers.word_of(10_000, 900_000, 990_000, 1_000_000),
}
"""Of the rules that keep moments: how much, and how much of them stays."""

RECORD = "(uint32,uint32,uint16,bytes32,bytes32,(bytes32,bytes32),bytes,bytes32,uint128,uint128,uint16,address,uint40)"


class Reverted(AssertionError):
    """A transaction was reverted; the arguments are the call, the error's name and its arguments."""


class Event(NamedTuple):
    name: str
    args: dict[str, Any]


class Receipt(NamedTuple):
    """What a transaction did: `gas` used, `time` of its block, `fee` in wei, of it the `tip`, which goes to NOBODY."""

    gas: int
    time: int
    fee: int
    tip: int
    events: list[Event]

    def event(self, name: str) -> dict[str, Any]:
        """The arguments of the only event of that name."""
        (found,) = [event.args for event in self.events if event.name == name]
        return found


class Chain:
    """A chain with a ledger and the rules on it.

    Attributes:
        accounts: addresses that have 10,000 ether each; the first has deployed everything.
        ledger, rules: contracts.
    """

    def __init__(self, accounts: int, chain_id: int = 131277322940537) -> None:
        self.chain_id = chain_id
        self.tester = Anvil(accounts, chain_id)
        self.web3 = Web3(HTTPProvider(self.tester.url))
        self.accounts: list[str] = [to_checksum_address(account) for account in self.tester.accounts]
        self.deployments: dict[str, int] = {}
        self.ledger = self.deploy(artifact("GalaxyLedger"))
        self.rules = {name: self.deploy(artifact(contract_name(name))) for name in RULES}
        self._events = {keccak(text=_signature(entry)): entry for entry in self.ledger.abi if entry["type"] == "event"}
        self._errors = {keccak(text=_signature(entry))[:4]: entry for entry in _errors(self.ledger)}
        self._errors |= {keccak(text=_signature(entry))[:4]: entry for entry in _errors(self.rules["relay"])}

    # ------------------------------------------------------------------------------------------------- time

    @property
    def now(self) -> int:
        """The time of the latest block, which calls see; the next transaction is a second later, at least."""
        return int(self.tester.block()["timestamp"], 16)

    def travel(self, to: int) -> None:
        """Mine an empty block at that time. A transaction sent next has time `to + 1`."""
        if to > self.now:
            self.tester.mine_at(to)

    # -------------------------------------------------------------------------------------- calls and transactions

    def deploy(self, contract: dict[str, Any]) -> Contract:
        """Deploy an artifact; it has no arguments."""
        sender = self.accounts[0]
        receipt = self.tester.send({"from": sender, "gas": hex(GAS), "data": contract["bytecode"]})
        self.deployments[contract["name"]] = int(receipt["gasUsed"], 16)
        address = to_checksum_address(receipt["contractAddress"])
        deployed: Contract = self.web3.eth.contract(address, abi=contract["abi"])
        return deployed

    def send(self, sender: str, name: str, *arguments: Any, value: int = 0, to: Contract | None = None) -> Receipt:
        """Send a transaction to the ledger and give what it did.

        Raises:
            Reverted: it was; says with which error.
        """
        contract = to or self.ledger
        message = self._message(sender, contract, name, arguments, value)
        receipt = self.tester.send(message)
        if int(receipt["status"], 16) != 1:
            raise Reverted(name, *(self._failure(message) or ("out of gas", {})))
        block = self.tester.block()
        gas, price = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
        tip = gas * (price - int(block["baseFeePerGas"], 16))
        logs = [self._event(log) for log in receipt["logs"]]
        return Receipt(gas, int(block["timestamp"], 16), gas * price, tip, logs)

    def view(self, name: str, *arguments: Any, to: Contract | None = None) -> Any:
        """Call a view; a struct is given as a namespace of its fields, several results as one of theirs."""
        contract = to or self.ledger
        message = self._message(self.accounts[0], contract, name, arguments, 0)
        outputs = _entry(contract, name)["outputs"]
        values = decode([_type(output) for output in outputs], self.tester.call(message))
        if len(outputs) == 1:
            return _named(outputs[0], values[0])
        return SimpleNamespace(**{o["name"]: _named(o, v) for o, v in zip(outputs, values, strict=True)})

    def refusal(
        self, sender: str, name: str, *arguments: Any, value: int = 0, to: Contract | None = None
    ) -> tuple[str, dict[str, Any]]:
        """The custom error that a call reverts with at the time `now`, and its arguments by name.

        Raises:
            AssertionError: the call goes through.
        """
        failure = self._failure(self._message(sender, to or self.ledger, name, arguments, value))
        if failure is None:
            raise AssertionError(f"{name} goes through")
        return failure

    def balance(self, address: str) -> int:
        """In wei."""
        return int(self.tester.ask("eth_getBalance", address, "latest"), 16)

    def _message(
        self, sender: str, contract: Contract, name: str, arguments: Sequence[Any], value: int
    ) -> dict[str, Any]:
        entry = _entry(contract, name)
        types = [_type(i) for i in entry["inputs"]]
        values = [_plain(i, argument) for i, argument in zip(entry["inputs"], arguments, strict=True)]
        data = "0x" + (keccak(text=_signature(entry))[:4] + encode(types, values)).hex()
        return {"from": sender, "to": contract.address, "gas": hex(GAS), "value": hex(value), "data": data}

    def _event(self, log: dict[str, Any]) -> Event:
        first, *topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        entry = self._events[first]
        indexed = [i for i in entry["inputs"] if i["indexed"]]
        others = [i for i in entry["inputs"] if not i["indexed"]]
        values = decode([_type(i) for i in others], bytes.fromhex(log["data"][2:]))
        found = {i["name"]: decode([_type(i)], topic)[0] for i, topic in zip(indexed, topics, strict=True)}
        found |= {i["name"]: value for i, value in zip(others, values, strict=True)}
        return Event(entry["name"], {i["name"]: _named(i, found[i["name"]], dict) for i in entry["inputs"]})

    def _failure(self, message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        try:
            self.tester.call(message)
        except TransactionFailed as failure:
            data = failure.data
            if data is None:
                return str(failure), {}
            if data[:4] not in self._errors:
                return "0x" + data.hex(), {}
            error = self._errors[data[:4]]
            values = decode([_type(i) for i in error["inputs"]], data[4:])
            return error["name"], {i["name"]: _named(i, v) for i, v in zip(error["inputs"], values, strict=True)}
        return None


def artifact(name: str) -> dict[str, Any]:
    """A committed artifact."""
    content: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return content


def contract_name(rule: str) -> str:
    """The contract of a rule that job documents call `rule`: `weighted_mean` is `WeightedMean`."""
    known = {"fedavgm": "FedAvgM", "fedadam": "FedAdam"}
    return known.get(rule, "".join(word.capitalize() for word in rule.split("_")))


def _errors(contract: Contract) -> list[Any]:
    return [entry for entry in contract.abi if entry["type"] == "error"]


def _entry(contract: Contract, name: str) -> Any:
    (entry,) = [e for e in contract.abi if e["type"] == "function" and e["name"] == name]
    return entry


def _signature(entry: Any) -> str:
    return f"{entry['name']}({','.join(_type(i) for i in entry['inputs'])})"


def _type(entry: Any) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    return f"({','.join(_type(c) for c in entry['components'])}){entry['type'][5:]}"


def _named(entry: Any, value: Any, struct: Callable[..., Any] = SimpleNamespace) -> Any:
    if entry["type"] == "tuple":
        parts = zip(entry["components"], value, strict=True)
        return struct(**{c["name"]: _named(c, v, struct) for c, v in parts})
    return to_checksum_address(value) if entry["type"] == "address" else value


def _plain(entry: Any, value: Any) -> Any:
    """A value as eth-abi takes it: a struct may be given by the names of its fields, bytes as hex digits."""
    if entry["type"] == "bytes" and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    if entry["type"] != "tuple":
        return value
    fields = [value[c["name"]] for c in entry["components"]] if isinstance(value, Mapping) else value
    return tuple(_plain(c, v) for c, v in zip(entry["components"], fields, strict=True))


# ------------------------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True, eq=False)
class Upload:
    """An update as its client has it."""

    client: str
    vector: Vector
    tree: ChunkTree
    weight: int
    forged: tuple[bytes, bytes, int] | None = None
    """What went to the ledger instead, when the client is not honest."""

    @cached_property
    def update(self) -> tuple[bytes, bytes, int]:
        """The struct that goes to the ledger."""
        if self.forged:
            return self.forged
        content = content_of(self.vector)
        return commitment(self.tree.root, to_canonical_address(self.client)), content, self.weight

    @cached_property
    def entry(self) -> bytes:
        """The 88 bytes that the head binds."""
        committed, content, weight = self.update
        return to_canonical_address(self.client) + weight.to_bytes(4, "big") + committed + content

    def hash(self, job: int, attempt: int, model: bytes) -> bytes:
        """Of the struct that a client signs (EIP-712), of which the ledger keeps the low 160 bits."""
        type_hash = keccak(text=f"Update({','.join(f'{type_} {name}' for name, type_ in UPDATE_FIELDS.items())})")
        return keccak(encode(["bytes32", *UPDATE_FIELDS.values()], [type_hash, job, attempt, model, *self.update]))


Blocks = list[list[Upload]]


@dataclass(eq=False)
class Attempt:
    """What collecting on one model has gathered, in blocks as the ledger accepted them."""

    number: int
    round: int
    model: Vector
    start: bytes
    root: bytes
    blocks: Blocks = field(default_factory=list)

    @property
    def uploads(self) -> list[Upload]:
        return [upload for block in self.blocks for upload in block]

    @property
    def head(self) -> bytes:
        return head_of(self.start, self.blocks)


@dataclass(frozen=True, eq=False)
class Commit:
    """A commit, and all that is needed to open any chunk of it and to claim its reward.

    Attributes:
        attempt: the one whose entries were aggregated.
        blocks: what `attempt` had gathered.
        excluded: entries' numbers.
        root: what was committed to; the root of `next`, unless the server is not honest.
        nodes: the tree of sums, or None where the round is flat.
    """

    attempt: Attempt
    next: Vector
    excluded: frozenset[int]
    reward: int
    allotted_before: int
    share: int
    server: str
    time: int
    chunk_parameters: int
    root: bytes = b""
    nodes: SumTree | None = None
    lanes: int = 1

    @cached_property
    def previous_tree(self) -> ChunkTree:
        return ChunkTree(self.attempt.model, self.lanes * self.chunk_parameters)

    @cached_property
    def next_tree(self) -> ChunkTree:
        return ChunkTree(self.next, self.lanes * self.chunk_parameters)

    @property
    def round(self) -> int:
        return self.attempt.round

    @cached_property
    def record(self) -> tuple[Any, ...]:
        """The preimage of the word."""
        attempt = self.attempt
        model = (self.root or self.next_tree.root, content_of(self.next))
        updates = len(attempt.uploads)
        return (
            attempt.number,
            attempt.round,
            updates,
            attempt.head,
            self.previous_tree.root,
            model,
            bit_map(self.excluded, updates),
            self.nodes.hash if self.nodes else ZERO,
            self.reward,
            self.allotted_before,
            self.share,
            self.server,
            self.time,
        )

    @cached_property
    def word(self) -> bytes:
        return keccak(encode([RECORD], [self.record]))

    @property
    def included(self) -> list[Upload]:
        return [upload for i, upload in enumerate(self.attempt.uploads) if i not in self.excluded]

    @property
    def server_amount(self) -> int:
        """What settling credits the committer with."""
        return self.reward * self.share // 10_000

    @property
    def client_amount(self) -> int:
        """What each included entry can claim."""
        return (self.reward - self.server_amount) // len(self.included)

    def openings(self, index: int, node: int = 0) -> bytes:
        """What proves chunk `index` of a node, or of the next model, right or wrong."""
        nodes, submissions, opened = self.opened(index, node)
        return pack_openings(nodes, submissions, b"".join(opened))

    def opened(self, index: int, node: int = 0) -> tuple[bytes, bytes, list[bytes]]:
        """The nodes, the submissions, and the openings of which it is made."""
        models = [self.next_tree, self.previous_tree]
        if node == 0 and self.nodes is None:
            trees = models + [upload.tree for upload in self.included]
            return b"", self.submissions(), [opening(tree, index) for tree in trees]
        assert self.nodes is not None
        shown = self.nodes.shown(node)
        if node == 0:
            return shown, b"", [opening(tree, index) for tree in (*models, self.nodes.root.tree)]
        subject = self.nodes[node]
        if subject.level > 1:
            trees = [subject.tree, *(self.nodes[child].tree for child in subject.children)]
            return shown, b"", [opening(tree, index) for tree in trees]
        uploads = self.attempt.uploads
        updates = [uploads[number].tree for number in subject.children if number not in self.excluded]
        trees = [subject.tree, *updates]
        return shown, self.submissions(subject.children), [opening(tree, index) for tree in trees]

    def submissions(self, numbers: Collection[int] | None = None) -> bytes:
        """What shows the entries of these numbers, all by default, with the blocks that they are in."""
        return show(self.attempt.blocks, numbers)

    def shown(self, numbers: Collection[int]) -> list[int]:
        """The numbers of all entries in the blocks of these."""
        found, first = [], 0
        for block in self.attempt.blocks:
            inside = range(first, first + len(block))
            if not set(numbers).isdisjoint(inside):
                found += inside
            first = inside.stop
        return found

    def finding(self, finder: str, index: int, salt: bytes, node: int = 0) -> bytes:
        """The digest that announces a finding."""
        types = ["address", "bytes32", "bytes32", "uint256", "uint256"]
        return keccak(encode(types, [finder, salt, self.word, node, index]))


class Job:
    """A job on the ledger, and what a watcher with all the content knows of it.

    Attributes:
        terms: as registered, by name.
        attempt: the current one; after a rollback the one whose entries count again.
        number: of the current attempt.
        commits: the commits that stand, by round.
        pool: what was paid in.
    """

    def __init__(
        self,
        chain: Chain,
        model: Vector | None = None,
        rule_name: str = "weighted_mean",
        pool: int = 0,
        **terms: Any,
    ) -> None:
        self.chain = chain
        self.rule = RULES[rule_name]
        self.owner = chain.accounts[0]
        self.server = chain.accounts[1]
        self.clients = chain.accounts[2:5]
        self.terms = terms_of(chain, rule_name) | terms
        self.lanes = optimizers.LANES.get(rule_name, 1)
        if model is None:
            model = np.zeros(self.lanes * self.terms["parameters"], "<i4")
            model[:: self.lanes] = np.arange(-5, self.terms["parameters"] - 5)
        self._generator = np.random.default_rng(1)
        initial = (self.root_of(model), content_of(model))
        self.registered = chain.send(self.owner, "registerJob", self.terms, initial, value=pool)
        self.id: int = self.registered.event("JobRegistered")["job"]
        self.pool = pool
        self.commits: dict[int, Commit] = {}
        self.keys: dict[str, LocalAccount] = {}
        self.number = 0
        self._open(1, model)

    @property
    def state(self) -> Any:
        return self.chain.view("jobOf", self.id).state

    @property
    def round(self) -> int:
        return self.attempt.round

    @property
    def allotted(self) -> int:
        """The rewards of the commits that stand."""
        return sum(commit.reward for commit in self.commits.values())

    def account(self, address: str) -> Any:
        return self.chain.view("accountOf", self.id, address)

    def client(self, address: str) -> Any:
        return self.chain.view("clientOf", self.id, address)

    def demand_of(self, commit: Commit, index: int = 0, node: int = 0) -> Any:
        return self.chain.view("demandOf", self.id, commit.word, node, index)

    def mark(self, commit: Commit) -> Any:
        return self.chain.view("markOf", self.id, commit.word)

    def send(self, sender: str, name: str, *arguments: Any, value: int = 0) -> Receipt:
        """A call of the ledger whose first argument is the job."""
        receipt = self.chain.send(sender, name, self.id, *arguments, value=value)
        self.pool += sum(event.args["amount"] for event in receipt.events if event.name == "JobFunded")
        return receipt

    def refusal(self, sender: str, name: str, *arguments: Any, value: int = 0) -> tuple[str, dict[str, Any]]:
        """As `Chain.refusal`, the first argument being the job."""
        return self.chain.refusal(sender, name, self.id, *arguments, value=value)

    def prepare(self) -> Job:
        """Bond the server and let the clients join."""
        self.bond(self.server)
        for client in self.clients:
            self.join(client)
        return self

    def copy(self) -> Job:
        """Another one of the same job, still in its first round."""
        twin = copy(self)
        twin.attempt = replace(self.attempt, blocks=list(self.attempt.blocks))
        twin.commits = dict(self.commits)
        return twin

    # ----------------------------------------------------------------------------------------------- collecting

    def join(self, client: str, samples: int = 100) -> Receipt:
        return self.send(client, "join", samples, ZERO)

    def bond(self, server: str, value: int | None = None) -> Receipt:
        return self.send(server, "depositBond", value=self.terms["bond"] if value is None else value)

    def upload(self, client: str, vector: Vector | None = None, weight: int = 10) -> Upload:
        """An update ready to be submitted; a random one unless it is given."""
        if vector is None:
            vector = self._generator.integers(-(2**20), 2**20, self.terms["parameters"], dtype="<i4")
        return Upload(client, vector, ChunkTree(vector, self.terms["chunkParameters"]), weight)

    def submit(self, client: str, vector: Vector | None = None, weight: int = 10) -> Receipt:
        return self.submit_upload(self.upload(client, vector, weight))

    def submit_upload(self, upload: Upload) -> Receipt:
        receipt = self.send(upload.client, "submitUpdate", *self.submit_arguments(upload))
        self.attempt.blocks.append([upload])
        return receipt

    def crowd_of(self, count: int, first: int = 0) -> list[str]:
        """Clients without ether that join by their signatures; the owner sends them."""
        keys = [client_key(number) for number in range(first, first + count)]
        for key in keys:
            self.keys[key.address] = key
        for first in range(0, len(keys), 50):
            joins = [self.signed_join(key.address) for key in keys[first : first + 50]]
            self.send(self.owner, "joinBySignatures", joins)
        return [key.address for key in keys]

    def signed_join(self, client: str, samples: int = 100, deadline: int = 2**40, **other: Any) -> tuple[Any, ...]:
        digest = join_data(self.domain | other, self.id, samples, ZERO, deadline)
        return client, samples, ZERO, deadline, sign(self.key_of(client), digest)

    def key_of(self, client: str) -> LocalAccount:
        return self.keys.get(client) or key_of(self.chain.accounts.index(client))

    def submit_signed(self, uploads: Sequence[Upload], sender: str | None = None) -> Receipt:
        """Hand in what clients have signed; all of it has to be taken."""
        receipt = self.send(sender or self.owner, "submitUpdates", *self.signed_arguments(uploads))
        self.accept(uploads)
        return receipt

    def taken(self, uploads: Sequence[Upload]) -> list[Upload]:
        """Those of a batch for which there is room, and whose clients are not in."""
        taken = {upload.client: upload for upload in reversed(uploads)}
        for upload in self.attempt.uploads:
            taken.pop(upload.client, None)
        room = self.terms["maxUpdates"] - len(self.attempt.uploads)
        return [upload for upload in uploads if taken.get(upload.client) is upload][:room]

    def accept(self, uploads: Sequence[Upload]) -> None:
        """What a call does that takes these entries."""
        size = self.terms["fanIn"]
        self.attempt.blocks.extend(list(uploads[first : first + size]) for first in range(0, len(uploads), size))

    def signed_arguments(self, uploads: Sequence[Upload]) -> tuple[Any, ...]:
        entries = b"".join(upload.entry for upload in uploads)
        signatures = b"".join(self.signature(upload) for upload in uploads)
        return self.number, self.attempt.root, entries, signatures

    def signature(self, upload: Upload, **other: Any) -> bytes:
        """Of the entry, by its client; with other values in the domain where they are given."""
        hash_ = upload.hash(self.id, self.number, self.attempt.root)
        return sign(self.key_of(upload.client), keccak(b"\x19\x01" + separator(self.domain | other) + hash_))

    @property
    def domain(self) -> dict[str, Any]:
        return domain(self.chain.chain_id, self.chain.ledger.address)

    def submit_arguments(self, upload: Upload) -> tuple[Any, ...]:
        return self.number, self.attempt.root, upload.update

    def collect(self, clients: Sequence[str] | None = None) -> None:
        """Let clients, all of the job's by default, submit; then wait until collecting has ended."""
        for client in clients or self.clients:
            self.submit(client)
        self.chain.travel(self.state.closesAt)

    # --------------------------------------------------------------------------------------------------- rounds

    def aggregate(self, excluded: Collection[int] = ()) -> Vector:
        """The right next model."""
        return aggregate(self.rule.name, self.terms["ruleParameters"], self.attempt, excluded)

    def follow(self, excluded: Collection[int] = (), alter: Mapping[int, Alter] | None = None) -> Vector:
        """The next model that follows from the root's sum, where a liar alters nodes."""
        nodes = self.sums(excluded, alter)
        if nodes and alter:
            return finished(self.attempt.model, nodes, self.rule.name, self.terms["ruleParameters"])
        return self.aggregate(excluded)

    def sums(self, excluded: Collection[int] = (), alter: Mapping[int, Alter] | None = None) -> SumTree | None:
        """The nodes that a commit of a sum with more than `fanIn` entries has; a liar's where it alters some."""
        return sums_of(self.terms, self.rule.name, self.attempt, excluded, alter)

    def commit(
        self,
        server: str | None = None,
        next: Vector | None = None,
        excluded: Collection[int] = (),
        salt: bytes = ZERO,
        alter: Mapping[int, Alter] | None = None,
    ) -> Commit:
        """Commit the right model, or the one that is given, or that follows from altered nodes.

        A salt announces the commit before.
        """
        nodes = self.sums(excluded, alter)
        if next is None:
            next = self.follow(excluded, alter)
        sender = server or self.server
        if salt != ZERO:
            self.announce_commit(sender, next, salt)
        self.receipt = self.send(sender, "commitRound", *self.commit_arguments(next, excluded, salt, nodes))
        return self.committed(sender, next, excluded, salt, self.receipt.time, nodes)

    def committed(
        self,
        sender: str,
        next: Vector,
        excluded: Collection[int],
        salt: bytes,
        time: int,
        nodes: SumTree | None = None,
    ) -> Commit:
        """What a commit does; with a salt it was announced."""
        earns = sender == self.terms["server"] or salt != ZERO
        commit = Commit(
            self.attempt,
            next,
            frozenset(excluded),
            (self.pool - self.allotted) // (self.terms["rounds"] - self.round + 1),
            self.allotted,
            self.terms["serverShare"] if earns else 0,
            sender,
            time,
            self.terms["chunkParameters"],
            nodes=nodes or self.sums(excluded),
            lanes=self.lanes,
        )
        self.commits[self.round] = commit
        self._open(self.round + 1, next)
        return commit

    def commit_wrong(self, server: str | None = None, index: int = 0) -> Commit:
        """Commit a model with one wrong parameter, the first of chunk `index`."""
        model = self.aggregate()
        model[index * self.lanes * self.terms["chunkParameters"]] += 1
        return self.commit(server, model)

    def commit_arguments(
        self, next: Vector, excluded: Collection[int] = (), salt: bytes = ZERO, nodes: SumTree | None = None
    ) -> tuple[Any, ...]:
        excluded_bits = bit_map(excluded, len(self.attempt.uploads))
        nodes = nodes or self.sums(excluded)
        packed = nodes.packed if nodes else b""
        model = (self.root_of(next), content_of(next))
        return self.number, self.attempt.head, model, excluded_bits, packed, NODES_CONTENT, salt

    def announce_commit(self, sender: str, next: Vector, salt: bytes) -> Receipt:
        return self.send_announcement_of(sender, sender, next, salt)

    def send_announcement_of(self, sender: str, server: str, next: Vector, salt: bytes) -> Receipt:
        """Announce a commit of `server`, which counts only where the sender is the same."""
        values = [server, salt, self.attempt.head, self.root_of(next)]
        return self.chain.send(sender, "announce", keccak(encode(["address", "bytes32", "bytes32", "bytes32"], values)))

    def reopen(self, sender: str | None = None) -> Receipt:
        receipt = self.send(sender or self.server, "reopenRound", self.number, self.attempt.head)
        self._open(self.round, self.attempt.model)
        return receipt

    def supersede(self, sender: str, commit: Commit) -> Receipt:
        receipt = self.send(sender, "supersede", commit.record)
        self.rolled_back(commit)
        return receipt

    def rolled_back(self, commit: Commit) -> None:
        """What a successful challenge of a commit that stands, its expiry, or its superseding does."""
        self.attempt = commit.attempt
        self.number += 1
        for round in range(commit.round, max(self.commits) + 1):
            del self.commits[round]

    def window_end(self, commit: Commit) -> int:
        return commit.time + int(self.terms["challengeSeconds"])

    # ---------------------------------------------------------------------------------------------------- money

    def settle(self, commit: Commit, sender: str | None = None) -> Receipt:
        """Settle a commit, after its window."""
        self.chain.travel(self.window_end(commit))
        return self.send(sender or self.owner, "settle", commit.record)

    def claim(self, commit: Commit, numbers: Collection[int] | None = None, sender: str | None = None) -> Receipt:
        return self.send(sender or self.owner, "claim", commit.record, commit.submissions(numbers))

    # --------------------------------------------------------------------------------------- challenges, demands

    def announce(self, finder: str, commit: Commit, index: int = 0, salt: bytes = SALT, node: int = 0) -> Receipt:
        return self.chain.send(finder, "announce", commit.finding(finder, index, salt, node))

    def challenge(self, challenger: str, commit: Commit, index: int = 0, node: int = 0) -> Receipt:
        """Announce a finding, and show it."""
        self.announce(challenger, commit, index, node=node)
        receipt = self.send(challenger, "challenge", *challenge_arguments(commit, index, node=node))
        if any(event.name == "RoundReverted" for event in receipt.events):
            self.rolled_back(commit)
        return receipt

    def challenge_refusal(
        self, challenger: str, commit: Commit, index: int = 0, openings: bytes | None = None, node: int = 0
    ) -> tuple[str, dict[str, Any]]:
        """The error of a challenge that was announced, with other openings than the right ones where they are given."""
        self.announce(challenger, commit, index, node=node)
        # Calls see the time of the latest block, in which an announcement does not count.
        self.chain.travel(self.chain.now + 1)
        shown = commit.openings(index, node) if openings is None else openings
        return self.refusal(challenger, "challenge", commit.record, node, index, SALT, shown)

    def demand(
        self,
        demander: str,
        commit: Commit,
        index: int = 0,
        salt: bytes = ZERO,
        value: int | None = None,
        node: int = 0,
    ) -> Receipt:
        """Demand a chunk, for the deposit that it costs. A salt announces the finding before."""
        if salt != ZERO:
            self.announce(demander, commit, index, salt, node)
        if value is None:
            value = self.terms["demandDeposit"] * (self.account(commit.server).demands + 1)
        return self.send(demander, "demand", commit.record, node, index, salt, value=value)

    def answer(self, sender: str, commit: Commit, index: int = 0, node: int = 0) -> Receipt:
        return self.send(sender, "answer", commit.record, node, index, commit.openings(index, node))

    def expire(self, sender: str, commit: Commit, index: int = 0, node: int = 0) -> Receipt:
        receipt = self.send(sender, "expire", commit.record, node, index)
        if any(event.name == "RoundReverted" for event in receipt.events):
            self.rolled_back(commit)
        return receipt

    # -------------------------------------------------------------------------------------------------- helpers

    @staticmethod
    def claimed_by(receipt: Receipt) -> list[int]:
        """The numbers of the entries that a claim has credited, by its events."""
        events = [event.args for event in receipt.events if event.name == "RewardsClaimed"]
        return [256 * e["word"] + i for e in events for i in range(256) if e["entries"] >> i & 1]

    def start_of(self, attempt: int, root: bytes) -> bytes:
        values = [self.chain.chain_id, self.chain.ledger.address, self.id, attempt, root]
        return keccak(encode(["uint256", "address", "uint256", "uint32", "bytes32"], values))

    def _open(self, round: int, model: Vector) -> None:
        self.number += 1
        root = self.root_of(model)
        self.attempt = Attempt(self.number, round, model, self.start_of(self.number, root), root)

    def root_of(self, model: Vector) -> bytes:
        return ChunkTree(model, self.lanes * self.terms["chunkParameters"]).root


def terms_of(chain: Chain, rule_name: str = "weighted_mean") -> dict[str, Any]:
    """Valid terms: three chunks of 8 parameters, the last of them half full, so that there is padding of every kind."""
    return {
        "spec": sha256(b"job document").digest(),
        "ruleParameters": OPTIMIZER_WORDS.get(rule_name, ZERO),
        "rule": chain.rules[rule_name].address,
        "demandDeposit": ETHER // 1000,
        "server": chain.accounts[1],
        "bond": ETHER,
        "rounds": 3,
        "minUpdates": 2,
        "maxUpdates": 3,
        "maxExcluded": 1,
        "collectSeconds": 100,
        "aggregateSeconds": 200,
        "challengeSeconds": 9000,
        "idleSeconds": 1000,
        "serverShare": 2000,
        "maxUnsettled": 3,
        "answerSeconds": 300,
        "maxWeight": 100,
        "chunkParameters": 8,
        "fanIn": 16,
        "open": True,
        "parameters": 20,
    }


def challenge_arguments(commit: Commit, index: int = 0, salt: bytes = SALT, node: int = 0) -> tuple[Any, ...]:
    return commit.record, node, index, salt, commit.openings(index, node)


def aggregate(rule_name: str, parameters: bytes, attempt: Attempt, excluded: Collection[int] = ()) -> Vector:
    """The right next model."""
    included = [upload for i, upload in enumerate(attempt.uploads) if i not in excluded]
    vectors, weights = [upload.vector for upload in included], [upload.weight for upload in included]
    if rule_name in SUM_RULES:
        summed = sum((w * v.astype(np.int64) for v, w in zip(vectors, weights, strict=True)), np.int64(0))
        return finish(attempt.model, np.asarray(summed), sum(weights), rule_name, parameters)
    return RULES[rule_name].aggregate(parameters, attempt.model, vectors, weights)


def sums_of(
    terms: Mapping[str, Any],
    rule_name: str,
    attempt: Attempt,
    excluded: Collection[int] = (),
    alter: Mapping[int, Alter] | None = None,
) -> SumTree | None:
    """The tree of sums, or None where the round is flat."""
    if rule_name not in SUM_RULES:
        return None
    uploads = attempt.uploads
    vectors, weights = [upload.vector for upload in uploads], [upload.weight for upload in uploads]
    return grow(vectors, weights, excluded, terms["fanIn"], terms["chunkParameters"], alter)


def finish(model: Vector, sums: Sums, weight: int, rule_name: str = "weighted_mean", word: bytes = ZERO) -> Vector:
    """What a rule makes of a sum."""
    if rule_name == "weighted_mean":
        return mean_of(model, sums, weight)
    return np.array(optimizers.finish(rule_name, word, model.tolist(), sums.tolist(), weight), "<i4")


def finished(model: Vector, nodes: SumTree, rule_name: str = "weighted_mean", word: bytes = ZERO) -> Vector:
    """What follows from the root's sum."""
    parameters = len(model) // optimizers.LANES.get(rule_name, 1)
    return finish(model, nodes.root.vector[:parameters], nodes.root.weight, rule_name, word)


def pack_openings(nodes: bytes, submissions: bytes, opened: bytes) -> bytes:
    lengths = len(nodes).to_bytes(4, "big") + len(submissions).to_bytes(4, "big")
    return lengths + nodes + submissions + opened


def content_of(vector: Vector) -> bytes:
    """The digest of the content id; these vectors fit a raw block."""
    return sha256(vector.tobytes()).digest()


def bit_map(numbers: Collection[int], length: int) -> bytes:
    """A bit for each of `length` things: bit `i % 8`, the lowest being 0, of byte `i // 8`."""
    return sum(1 << number for number in numbers).to_bytes((length + 7) // 8, "little")


# -------------------------------------------------------------------------------------------------------------- heads


def head_of(start: bytes, blocks: Blocks) -> bytes:
    """The head of an attempt that began with `start`."""
    outer = start
    full = len(blocks) // SEGMENT * SEGMENT
    for first in range(0, full, SEGMENT):
        segment = blocks[first : first + SEGMENT]
        outer = _linked(outer, _inner(segment), sum(map(len, segment)))
    return keccak(outer + _inner(blocks[full:]))


def show(blocks: Blocks, numbers: Collection[int] | None = None) -> bytes:
    """Blocks as `Submissions.sol` takes them: those with an entry of these numbers, all by default, shown."""
    shown, number = b"", 0
    for first in range(0, len(blocks), SEGMENT):
        segment = blocks[first : first + SEGMENT]
        packed, opened, begin = bytes([len(segment)]), False, number
        for block in segment:
            if numbers is None or not set(numbers).isdisjoint(range(number, number + len(block))):
                packed += bytes([len(block)]) + _packed(block)
                opened = True
            else:
                packed += bytes([len(block) + 128]) + keccak(_packed(block))
            number += len(block)
        if opened:
            shown += packed
        elif len(segment) == SEGMENT:
            shown += b"\x00" + _inner(segment) + (number - begin).to_bytes(2, "big")
        else:
            shown += b"\xff" + _inner(segment)
    return shown


def _inner(segment: Blocks) -> bytes:
    inner = ZERO
    for block in segment:
        inner = _linked(inner, keccak(_packed(block)), len(block))
    return inner


def _packed(block: list[Upload]) -> bytes:
    return b"".join(upload.entry for upload in block)


def _linked(previous: bytes, digest: bytes, entries: int) -> bytes:
    return keccak(previous + digest + entries.to_bytes(32, "big"))


# ------------------------------------------------------------------------------------------- contracts that take part


class Actor:
    """A contract that takes part; it can refuse ether, or call back when it gets some."""

    def __init__(self, chain: Chain, contract: dict[str, Any]) -> None:
        self.chain = chain
        self.contract = chain.deploy(contract)
        self.address: str = self.contract.address

    def send(self, name: str, *arguments: Any, value: int = 0) -> Receipt:
        """Let it call the ledger."""
        return self.chain.send(
            self.chain.accounts[0], "act", *self._call(name, arguments), value=value, to=self.contract
        )

    def refusal(self, name: str, *arguments: Any, value: int = 0) -> tuple[str, dict[str, Any]]:
        return self.chain.refusal(
            self.chain.accounts[0], "act", *self._call(name, arguments), value=value, to=self.contract
        )

    def refuse(self) -> None:
        self.chain.send(self.chain.accounts[0], "refuse", to=self.contract)

    def call_back(self, name: str, *arguments: Any) -> None:
        _, data = self._call(name, arguments)
        self.chain.send(self.chain.accounts[0], "callBack", data, to=self.contract)

    @property
    def entered(self) -> int:
        """How many calls it made while ether arrived went through."""
        return int(self.chain.view("entered", to=self.contract))

    @property
    def received(self) -> int:
        return int(self.chain.view("received", to=self.contract))

    def _call(self, name: str, arguments: Sequence[Any]) -> tuple[str, str]:
        return self.chain.ledger.address, self.chain.ledger.encode_abi(name, list(arguments))
