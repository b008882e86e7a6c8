"""The inbox of a store that is served; `galaxy_chain.store.inbox_app` is the other side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_chain.lane.messages import SignedJoin, SignedUpdate
from galaxy_chain.ledger.signing import Domain, SignatureError
from galaxy_fl.content.exchange import Exchange
from galaxy_fl.content.remote import RemoteError
from galaxy_fl.exceptions import ContentError

__all__ = ["HttpInbox"]

Message = TypeVar("Message", SignedUpdate, SignedJoin)

_MOST_PAGES = 100


class _Taken(BaseModel):
    model_config = ConfigDict(strict=True)
    relayed: bool


class _Page(BaseModel, Generic[Message]):
    model_config = ConfigDict(strict=True)
    found: list[Message] = Field(max_length=1000)
    last: int = Field(ge=0)
    """The number of the newest message that the inbox has."""
    next: int = Field(ge=0)
    """After which number to go on."""


@dataclass
class _Known(Generic[Message]):
    messages: dict[str, Message] = field(default_factory=dict)
    next: int = 0


class HttpInbox:
    """The inbox of a store that is served.

    Args:
        exchange: With the server.
        domain: For which signatures have to be: the server's word is not taken.
    """

    def __init__(self, exchange: Exchange, domain: Domain) -> None:
        self._exchange = exchange
        self._domain = domain
        self._relayed: dict[int, bool] = {}
        self._tended: set[int] = set()
        self._updates: dict[tuple[int, int], _Known[SignedUpdate]] = {}
        self._joins: dict[int, _Known[SignedJoin]] = {}

    @property
    def where(self) -> str:
        """The store."""
        return f"the inbox of {self._exchange.where}"

    def hand_in(self, job: int, attempt: int, update: SignedUpdate) -> None:
        """Posts it."""
        self._post(job, f"/jobs/{job}/attempts/{attempt}/updates", update)

    def updates(self, job: int, attempt: int) -> Sequence[SignedUpdate]:
        """As every inbox; asks for what is new."""
        if (job, attempt) not in self._updates:
            self._updates = {(job, attempt): _Known()}
        return self._new(
            job,
            f"/jobs/{job}/attempts/{attempt}/updates",
            self._updates[job, attempt],
            _Page[SignedUpdate],
            lambda update: update.check(self._domain, job, attempt),
        )

    def ask_to_join(self, job: int, join: SignedJoin) -> None:
        """Posts it."""
        self._post(job, f"/jobs/{job}/joins", join)

    def joins(self, job: int) -> Sequence[SignedJoin]:
        """As every inbox; asks for what is new."""
        known = self._joins.setdefault(job, _Known())
        return self._new(
            job, f"/jobs/{job}/joins", known, _Page[SignedJoin], lambda join: join.check(self._domain, job)
        )

    def tend(self, job: int) -> None:
        """Has the next requests say so."""
        self._tended.add(job)

    def relayed(self, job: int) -> bool:
        """What the server said when something was posted last."""
        return self._relayed.get(job, False)

    def _post(self, job: int, target: str, message: SignedUpdate | SignedJoin) -> None:
        body = message.model_dump_json().encode()
        headers = {"Content-Type": "application/json"}
        answer = self._exchange.patiently(
            lambda: self._exchange.answer(self._exchange.request("POST", target, headers=headers, body=body))
        )
        try:
            self._relayed[job] = _Taken.model_validate_json(answer).relayed
        except ValidationError as error:
            raise self._strange(answer) from error

    def _new(
        self,
        job: int,
        target: str,
        known: _Known[Message],
        page: type[_Page[Message]],
        check: Callable[[Message], None],
    ) -> list[Message]:
        relay = "&relay=true" if job in self._tended else ""
        for _ in range(_MOST_PAGES):
            where = f"{target}?after={known.next}{relay}"
            body = self._exchange.patiently(partial(self._get, where))
            try:
                answer = page.model_validate_json(body)
            except ValidationError as error:
                raise self._strange(body) from error
            if answer.last < known.next:  # it has lost what it had, and counts from the start
                known.next = 0
                known.messages.clear()
                continue
            for message in answer.found:
                with suppress(SignatureError):
                    check(message)
                    known.messages[message.client] = message
            if not answer.found:
                break
            known.next = max(known.next, answer.next)
            if known.next >= answer.last:
                break
        return list(known.messages.values())

    def _get(self, target: str) -> bytes:
        return self._exchange.answer(self._exchange.request("GET", target))

    def _strange(self, body: bytes) -> ContentError:
        return RemoteError(f"{self.where} answers {body[:200]!r}: is that the address of a Galaxy content store?")
