"""Where clients leave what they have signed, and where relays find it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from galaxy_chain.lane.folder_inbox import FolderInbox
from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.ledger.signing import Domain
from galaxy_fl.content import LocalStore, Store
from galaxy_fl.exceptions import ConfigurationError

__all__ = ["Inbox", "inbox_of"]


class Inbox(Protocol):
    """An inbox. Anybody may read it, and so relay; what is in it is checked by whoever takes it out.

    All methods raise a ContentError where it can't be used, or refuses; then it says why.
    """

    @property
    def where(self) -> str:
        """What messages call it."""

    def hand_in(self, job: int, attempt: int, update: SignedUpdate) -> None:
        """Leaves an update. The very same again does nothing, so that whoever fears that it was lost repeats it."""

    def updates(self, job: int, attempt: int) -> Sequence[SignedUpdate]:
        """The updates to an attempt, each with its client's signature."""

    def ask_to_join(self, job: int, join: SignedJoin) -> None:
        """Leaves that a client joins."""

    def joins(self, job: int) -> Sequence[SignedJoin]:
        """The clients that want to join, each with its signature."""

    def tend(self, job: int) -> None:
        """Says that a relay looks into it."""

    def relayed(self, job: int) -> bool:
        """Whether a relay has said so lately. It is a hint, not a promise."""


def inbox_of(store: Store, domain: Domain) -> Inbox:
    """The inbox that belongs to a store: a served one's own, or a folder beside the content of a folder.

    Raises:
        ConfigurationError: the store has none.
    """
    if isinstance(store, LocalStore):
        return FolderInbox(store.root, domain)
    from galaxy_chain.lane.http_inbox import HttpInbox  # with HTTP clients, which a folder needs not
    from galaxy_chain.store.tiered import TieredStore
    from galaxy_fl.content.http_store import HttpStore

    if isinstance(store, TieredStore):
        return FolderInbox(store.folder, domain)
    if isinstance(store, HttpStore):
        return HttpInbox(store.exchange, domain)
    raise ConfigurationError(
        f"a {type(store).__name__} has no inbox for what is signed: use a folder or a store that is served, or hand in "
        "directly (--lane direct)"
    )
