"""What the clients of a private job have spent, as far as the ledger tells: found out in the background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from galaxy_chain.following.history import JobHistory
from galaxy_chain.jobs.published import published
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import UpdatePrivacy

__all__ = ["Epsilons"]

MOST_POINTS = 200
"""Rounds of which it is found out what was spent until then."""


class Epsilons:
    """What clients have spent, at least, if they do what their job's document says.

    Attributes:
        newest: By client, up to now; None where the ledger does not tell.
        trainings: Different updates of each client.
        by_round: The most that any client had spent after a round that stands.
        of: What they were found out of; see `key`.
    """

    def __init__(self) -> None:
        self.newest: Mapping[str, float | None] = {}
        self.trainings: Mapping[str, int] = {}
        self.by_round: Mapping[int, float] = {}
        self.of: object = None

    @staticmethod
    def key(history: JobHistory) -> object:
        """What tells a history from one of which something else comes out."""
        return history.attempt, len(history.entries), len(history.commits), len(history.void)

    def find(self, history: JobHistory, document: JobDocument) -> None:
        """Find them out. Takes seconds where there are many clients, and imports Opacus."""
        found = published(history, document)
        self.trainings = {client: each.trainings for client, each in found.items()}
        self.newest = {client: each.epsilon for client, each in found.items()}
        self.by_round = _by_round(history, document)
        self.of = self.key(history)


def _by_round(history: JobHistory, document: JobDocument) -> dict[int, float]:
    """The epsilon, after each of some rounds, of the client that has given away most until then."""
    from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of

    privacy, most = document.privacy, history.terms.max_weight
    assert privacy is not None
    # One that declares as many samples as may count may have more, and so have given away less.
    known = [
        client
        for client, samples in history.clients.items()
        if isinstance(privacy, UpdatePrivacy) or samples < most
    ]  # fmt: skip
    mechanisms = {client: mechanism_of(privacy, document.train, history.clients[client]) for client in known}
    each = {c: m.steps * (m.sample_rate / m.noise_multiplier) ** 2 for c, m in mechanisms.items()}
    spent: Counter[str] = Counter()
    rounds = sorted(history.commits)
    wanted = set(rounds[:: -max(1, -(-len(rounds) // MOST_POINTS))]) if rounds else set()
    found: dict[int, float] = {}
    for number in rounds:
        spent.update(entry.client for entry in history.commits[number].entries if entry.client in mechanisms)
        if number in wanted and spent:
            worst = max(spent, key=lambda client: spent[client] * each[client])
            mechanism = mechanisms[worst]
            times = mechanism.model_copy(update={"steps": mechanism.steps * spent[worst]})
            try:
                found[number] = epsilon_of([times], privacy.delta)
            except ConfigurationError:  # Opacus is not installed
                return {}
    return found
