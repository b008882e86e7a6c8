"""A job on the contract itself, its history folded from the logs, and all that the two say of it compared."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
from typing import Any

from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger import structs
from galaxy_chain.ledger.abi import ledger_abi
from galaxy_fl.aggregation.sum_tree import pack_nodes
from tests.contracts.ledger import Chain, Commit, Job

__all__ = ["Followed"]


class Followed:
    """A job and its history.

    Attributes:
        commits: all that were ever made, as the driver of the contract has them.
    """

    def __init__(self, chain: Chain, job: Job) -> None:
        self.chain = chain
        self.job = job
        self.commits: list[Commit] = []
        self.history = JobHistory(chain.web3.eth.chain_id, chain.ledger.address, job.id)
        self._next_block = 0
        self.follow()

    def follow(self) -> JobHistory:
        """Folds what is new."""
        latest = self.chain.web3.eth.block_number
        if latest < self._next_block:
            return self.history
        topics: list[Any] = [None, f"0x{self.job.id:064x}"]
        where = {"address": self.chain.ledger.address, "fromBlock": self._next_block, "toBlock": latest}
        for log in self.chain.web3.eth.get_logs({**where, "topics": topics}):  # type: ignore[typeddict-item]
            raw = {
                "topics": ["0x" + bytes(topic).hex() for topic in log["topics"]],
                "data": "0x" + bytes(log["data"]).hex(),
                "blockNumber": hex(log["blockNumber"]),
                "blockHash": "0x" + bytes(log["blockHash"]).hex(),
                "logIndex": hex(log["logIndex"]),
                "transactionHash": "0x" + bytes(log["transactionHash"]).hex(),
            }
            event = ledger_abi().event(raw)
            assert event is not None
            self.history.apply(event)
        self._next_block = latest + 1
        return self.history

    def check(self) -> None:
        """Every view of the contract says what the history says."""
        history, chain, number = self.history, self.chain, self.job.id
        stored = chain.view("jobOf", number)
        assert asdict(history.state) == plain(stored.state)
        assert asdict(history.terms) == plain(stored.terms)
        assert (history.owner, history.model.root, history.head, history.pool, history.allotted) == (
            stored.owner, stored.root, stored.head, stored.pool, stored.allotted,
        )  # fmt: skip
        for address in (*chain.accounts, *self.job.keys):
            assert asdict(history.account(address)) == plain(chain.view("accountOf", number, address)), address
            client = chain.view("clientOf", number, address)
            assert (history.clients.get(address, 0), address in history.expelled) == (client.samples, client.expelled)
        for round_ in range(1, history.terms.rounds + 1):
            kept = chain.view("recordOf", number, round_)
            assert kept == (history.commits[round_].word if round_ in history.commits else bytes(32))
        for commit in self.commits:
            known = {**history.void, **{c.word: c for c in history.commits.values()}}[commit.word]
            assert known.record.excluded == commit.record[6]
            assert plain(chain.view("markOf", number, commit.word)) == {
                "demands": len(history.open_demands(commit.word)),
                "superseded": commit.word in history.superseded,
            }
            assert pack_nodes(known.nodes) == (b"" if commit.nodes is None else commit.nodes.packed)
            for node, index in product(range(len(known.nodes) + 1), range(3)):
                ours = history.demands.get(commit.word, {}).get((node, index))
                theirs = chain.view("demandOf", number, commit.word, node, index)
                if ours is None:
                    assert theirs.demander == structs.ZERO_ADDRESS
                else:
                    named = (ours.demander, ours.answer_by, ours.deposits, ours.announced)
                    assert named == (theirs.demander, theirs.answerBy, theirs.deposits, theirs.announced)
        for round_ in range(1, history.settled + 1):
            bits = chain.view("claimedOf", number, round_, 0)
            assert {n for n in range(256) if bits >> n & 1} == history.claimed.get(round_, set())


def plain(struct: Any) -> dict[str, Any]:
    """A struct of the contract with the names of its twin's fields."""
    return {structs.python_name(name): value for name, value in vars(struct).items()}
