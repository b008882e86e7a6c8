"""What a sealed job's owner does: shares its keys with the members, and makes a new one when a member has to go."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable

from galaxy_chain.exceptions import KeyMissingError
from galaxy_chain.following.history import JobHistory
from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.seal.job_keys import JobKeys
from galaxy_chain.seal.sealing import key_digest
from galaxy_chain.seal.store import OneKey, SealedStore
from galaxy_chain.seal.vault import Vault
from galaxy_chain.seal.wraps import Wrapping, holders, is_point
from galaxy_chain.transactions.manager import Receipt
from galaxy_fl.content import ContentId, Store
from galaxy_fl.exceptions import ConfigurationError, ContentAlteredError
from galaxy_fl.faults import fault_point
from galaxy_fl.jobs.document import JobDocument

__all__ = ["KeyKeeper", "begin_sealing"]

LOG = logging.getLogger(__name__)

MOST_WRAPS = 200
"""Wraps of one transaction: 22,400 bytes, some 780,000 gas."""
MOST_KEYS = 5
"""Keys of one account, one after the other, that are wrapped for without the owner's being asked."""


def begin_sealing(ledger: LedgerContract, job: int, vault: Vault, key: bytes) -> Receipt:
    """Begins a job's first epoch with a key that is kept already; it is wrapped for its owner alone so far."""
    fault_point("before-first-key")
    wrap = Wrapping(ledger.chain_id, ledger.address, job).wrap(key, vault.public)
    return ledger.share_key(job, key_digest(key), wrap).transact(f"{job} {key_digest(key).hex()}")


class KeyKeeper:
    """Shares a job's keys, as its owner.

    Members are the clients that the owner has admitted and not expelled, the server that the job names, the owner, and
    whoever was given the running epoch's key by hand.

    Args:
        ledger: With the owner's transactions.
        job: The job's number.
        vault: The owner's.
    """

    def __init__(self, ledger: LedgerContract, job: int, vault: Vault) -> None:
        self._ledger = ledger
        self._job = job
        self._vault = vault
        self._wrapping = Wrapping(ledger.chain_id, ledger.address, job)
        self._said: set[str] = set()
        self._made: dict[bytes, frozenset[bytes]] = {}
        """The keys of epochs that were begun here, and the public keys that they were wrapped for."""

    def look(self, history: JobHistory, store: Store) -> bool:
        """Shares with members what they lack, and begins a new epoch where one that was expelled has the running
        one's key. Returns whether anything was sent.

        Args:
            history: The job's.
            store: Where its contents are, as they are there.

        Raises:
            GalaxyError: as `ContractCall.transact`.
        """
        if not history.epochs:
            key = self._first(history, store)
            begin_sealing(self._ledger, self._job, self._vault, key)
            return True
        sent, entitled = False, self._entitled(history)
        members = self._public(history, filter(lambda account: self._is_modest(history, account), entitled))
        for key in reversed(self._known(history)):
            wraps = history.epochs[key_digest(key)]
            having = {holder for each in wraps for holder in holders(each)}
            if lacking := [member for member in members if member not in having]:
                self._send(history, key, lacking)
                sent = True
        if self.leaks(history):
            self.rotate(history)
            sent = True
        return sent

    def leaks(self, history: JobHistory) -> bool:
        """Whether one that was expelled has the running epoch's key. A key that was only replaced does not count: else
        a member could make the owner pay for a new epoch by registering another."""
        gone = {key for account in history.expelled for key in history.keys.get(account, ())}
        stay = set(self._public(history, self._entitled(history)))
        return bool((gone - stay) & self._having(history))

    def share(self, history: JobHistory, accounts: Iterable[str]) -> None:
        """Shares all keys with accounts that have registered one of their own, whether they have them already or not.

        Raises:
            ConfigurationError: one has registered none, or was expelled.
            KeyMissingError: not all keys are here.
        """
        members = []
        for account in accounts:
            if account in history.expelled:
                raise ConfigurationError(f"{account} is expelled from job {self._job}: no key is shared with it")
            if not (found := self._public(history, [account])):
                raise ConfigurationError(
                    f"{account} has registered no key in job {self._job} that could be used: have it run "
                    f"`galaxy-chain key register {self._job}`"
                )
            members += found
        keys = self._keys(history)
        if keys.lacking() or not history.epochs:
            raise keys.missing()
        for key in reversed(keys.known()):
            self._send(history, key, members)

    def rotate(self, history: JobHistory, without: Collection[str] = ()) -> bytes:
        """Begins a new epoch, and returns the digest of its key. Members get it, but for those expelled and those
        named, who can read what was sealed before and nothing after.

        Raises:
            ConfigurationError: one that is named would be given the key again, as an admitted client or the server.
        """
        if kept := sorted(set(without) & self._entitled(history)):
            raise ConfigurationError(
                f"{kept[0]} is a member of job {self._job}, and would be given the new key, too: expel it first, with "
                f"`galaxy-chain job expel {self._job} {kept[0]}`; the owner, and the server that the job names, stay"
            )
        entitled = self._public(history, self._entitled(history))
        gone = self._stale(history, {*history.expelled, *without})
        by_hand = [holder for holder in sorted(self._having(history)) if holder not in gone and holder not in entitled]
        named = gone & self._having(history)
        for account, keys in history.keys.items():
            if keys[-1] in named and account not in history.expelled and account not in without:
                LOG.warning(
                    "job %d: %s is not given the new key, because one that has to go has named the same public key as "
                    "its own: if it is to stay, have it run `galaxy-chain key register %d` in another folder (--home), "
                    "and share with it again",
                    *(self._job, account, self._job),
                )
        members = [*by_hand, *entitled]
        key = self._taken_back(history, gone) or self._vault.make()
        self._made[key] = self._made.get(key, frozenset()).union(members)
        # Those who are members by nobody's list first: after a crash they could not be told from who has gone.
        self._send(history, key, members)
        return key_digest(key)

    def _taken_back(self, history: JobHistory, gone: Collection[bytes]) -> bytes | None:
        """The key of an epoch that was begun here and that a reorganisation has taken away, which content may be sealed
        with; None where somebody could read it who has to go."""
        for key, members in self._made.items():
            if key_digest(key) not in history.epochs and not members.intersection(gone):
                return key
        return None

    def _entitled(self, history: JobHistory) -> set[str]:
        assert history.owner is not None
        return (history.admitted - history.expelled) | {history.owner, history.terms.server}

    def _stale(self, history: JobHistory, without: Collection[str]) -> set[bytes]:
        """The public keys that nothing is wrapped for any more: of those who have gone, and those that were replaced by
        whoever was the first to register them. Anybody can name the key of a watchtower, and then another."""
        gone = {key for account in without for key in history.keys.get(account, ())}
        replaced = {
            key
            for account, keys in history.keys.items()
            for key in keys[:-1]
            if key != keys[-1] and history.first_with[key] == account
        }
        return (gone | replaced) - set(self._public(history, self._entitled(history)))

    def _having(self, history: JobHistory) -> set[bytes]:
        """The public keys that the running epoch's key is wrapped for."""
        if not history.epochs:
            return set()
        return {holder for wraps in list(history.epochs.values())[-1] for holder in holders(wraps)}

    def _public(self, history: JobHistory, accounts: Iterable[str]) -> list[bytes]:
        """The public keys that accounts have registered, each once; of a bad one it is said that it is left out."""
        found: dict[bytes, None] = {}
        if history.owner in (accounts := list(accounts)):
            found[self._vault.public] = None
        for account in sorted(accounts):
            for key in history.keys.get(account, ())[-1:]:
                if is_point(key):
                    found[key] = None
                elif account not in self._said:
                    self._said.add(account)
                    LOG.warning(
                        "job %d: %s has registered %s as its key, which is not a point of secp256k1: nothing can be "
                        "shared with it until it runs `galaxy-chain key register %d`",
                        *(self._job, account, key.hex(), self._job),
                    )
        return list(found)

    def _is_modest(self, history: JobHistory, account: str) -> bool:
        """Whether an account has registered few enough keys for its new ones to be paid for without being asked."""
        if len(history.keys.get(account, ())) <= MOST_KEYS:
            return True
        if f"{account} many" not in self._said:
            self._said.add(f"{account} many")
            LOG.warning(
                "job %d: %s has registered more than %d keys, and each costs the owner a transaction: share with it by "
                "hand, with `galaxy-chain key share %d %s`, if that is all right",
                *(self._job, account, MOST_KEYS, self._job, account),
            )
        return False

    def _keys(self, history: JobHistory) -> JobKeys:
        return JobKeys(self._vault, lambda: history)

    def _known(self, history: JobHistory) -> list[bytes]:
        keys = self._keys(history)
        if keys.lacking() and "lacking" not in self._said:
            self._said.add("lacking")
            LOG.warning("job %d: not all keys can be shared: %s", self._job, keys.missing())
        return keys.known()

    def _send(self, history: JobHistory, key: bytes, members: list[bytes]) -> None:
        digest = key_digest(key)
        for at in range(0, len(members), MOST_WRAPS):
            part = members[at : at + MOST_WRAPS]
            wraps = b"".join(self._wrapping.wrap(key, member) for member in part)
            whom = hashlib.sha256(b"".join(part)).hexdigest()[:16]
            times = len(history.epochs.get(digest, ()))
            self._ledger.share_key(self._job, digest, wraps).transact(f"{self._job} {digest.hex()} {whom} {times} {at}")

    def _first(self, history: JobHistory, store: Store) -> bytes:
        """The key of a job whose owner was stopped between registering it and sharing that: the one that opens its
        initial model.

        Raises:
            KeyMissingError: it is not here.
        """
        document = JobDocument.from_bytes(store.block(history.terms.spec))
        content = ContentId(history.initial.content, 4 * document.model_parameters)
        for key in self._vault.all():
            try:
                SealedStore(store, OneKey(self._vault, key)).path(content)
            except ContentAlteredError:
                continue
            return key
        raise KeyMissingError(
            f"no key in {self._vault.home} opens the initial model of job {self._job}, and none was shared yet: use "
            "the folder (--home) that the job was created with"
        )
