"""What clients of a private job have given away, as far as the ledger tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from galaxy_chain.following.history import JobHistory
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import UpdatePrivacy
from galaxy_fl.privacy.accountant import epsilon_of, mechanism_of

__all__ = ["Published", "published"]


@dataclass(frozen=True)
class Published:
    """A client's updates on a ledger.

    Attributes:
        trainings: How many different ones are in commits, those included that were taken back, and in the round that
            is open. Those of attempts that were collected again are not counted, and what never got in is on the
            client's own account alone.
        epsilon: Theirs, if the client does what the document says; None where the ledger does not tell its number of
            samples, or Opacus is not installed.
    """

    trainings: int
    epsilon: float | None


def published(history: JobHistory, document: JobDocument) -> Mapping[str, Published]:
    """Return what each client of a private job has published, at least.

    Args:
        history: The job's.
        document: The job's, with a section `privacy`.
    """
    contents: dict[str, set[bytes]] = {client: set() for client in history.clients}
    commits = (*history.commits.values(), *history.void.values())
    for entry in (*history.entries, *(entry for commit in commits for entry in commit.entries)):
        contents[entry.client].add(entry.update.content)
    return {
        client: Published(len(found), _epsilon(history, document, client, len(found)))
        for client, found in contents.items()
    }


def _epsilon(history: JobHistory, document: JobDocument, client: str, trainings: int) -> float | None:
    privacy, samples = document.privacy, history.clients[client]
    assert privacy is not None
    if not isinstance(privacy, UpdatePrivacy) and samples >= history.terms.max_weight:
        return None  # it may have more
    try:
        return epsilon_of([mechanism_of(privacy, document.train, samples)] * trainings, privacy.delta)
    except ConfigurationError:
        return None
