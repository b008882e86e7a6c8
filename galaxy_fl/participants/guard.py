"""What stands between a client's training and everybody else in a private job."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from galaxy_fl.exceptions import ConfigurationError, DataError
from galaxy_fl.jobs.document import JobDocument
from galaxy_fl.jobs.privacy import ExamplePrivacy, UpdatePrivacy
from galaxy_fl.participants.events import Exhausted, Spent
from galaxy_fl.privacy.account import Account
from galaxy_fl.privacy.accountant import expect_opacus, mechanism_of
from galaxy_fl.privacy.update import protect

__all__ = ["Guard", "check_budget"]


def check_budget(stop_at_epsilon: float | None) -> None:
    """Make sure that it is a budget, or None.

    Raises:
        ConfigurationError: it is not.
    """
    if stop_at_epsilon is not None and (
        isinstance(stop_at_epsilon, bool) or not isinstance(stop_at_epsilon, int | float) or not stop_at_epsilon > 0
    ):
        raise ConfigurationError(
            f"stop_at_epsilon is {stop_at_epsilon!r}, expected a number above 0: the epsilon at which this client's "
            "part in a job ends"
        )


class Guard:
    """Keeps a client's account, ends its part at its budget, and protects its updates.

    Args:
        document: A private job's.
        samples: How many the client trains on.
        account: The file of its account.
        stop_at: The client's own budget; the job's counts, too.
        emit: Takes what it has to tell.

    Raises:
        ConfigurationError: Opacus is not installed, or the account is damaged.
        DataError: delta promises nothing for so many samples.
    """

    def __init__(
        self,
        document: JobDocument,
        samples: int,
        account: Path,
        stop_at: float | None,
        emit: Callable[[Spent | Exhausted], None],
    ) -> None:
        assert document.privacy is not None
        expect_opacus()
        self._document, self._privacy, self._emit = document, document.privacy, emit
        delta = self._privacy.delta
        if isinstance(self._privacy, ExamplePrivacy) and delta * samples >= 1:
            raise DataError(
                f"the job's privacy has delta {delta:g}, and this client {samples} samples: with a delta of 1/samples "
                f"({1 / samples:.2g}) or more, giving away one of them whole would count as private; ask for a job "
                f"with a smaller delta, or join samples into a larger data set"
            )
        self._mechanism = mechanism_of(self._privacy, document.train, samples)
        self._account = Account(account)
        budgets = [each for each in (self._privacy.stop_at_epsilon, stop_at) if each is not None]
        self._stop_at = min(budgets) if budgets else None

    def admits(self, round: int) -> bool:
        """Put the training of a round on the account, and return True; or False where that would exceed the budget."""
        delta = self._privacy.delta
        self._account.read()  # a program before this one may have trained since
        following = self._account.epsilon(delta, self._mechanism)
        if self._stop_at is not None and following > self._stop_at:
            self._emit(
                Exhausted(
                    round=round,
                    epsilon=self._account.epsilon(delta),
                    next=following,
                    delta=delta,
                    trainings=self._account.trainings,
                    stop_at=self._stop_at,
                )
            )
            return False
        self._account.charge(self._mechanism)
        trainings = self._account.trainings
        self._emit(Spent(round=round, epsilon=following, delta=delta, trainings=trainings, stop_at=self._stop_at))
        return True

    def protect(self, raw: Path, update: Path) -> None:
        """Make of an update, which is gone then, one that others may see."""
        if isinstance(self._privacy, UpdatePrivacy):
            protect(raw, update, self._document, self._privacy)
            raw.unlink()
        else:
            os.replace(raw, update)

    def notes(self, rounds: int) -> list[str]:
        """Return what the client's operator should know, of a job with so many rounds."""
        unit = "each example" if isinstance(self._privacy, ExamplePrivacy) else "all data of this client"
        planned = self._mechanism.model_copy(update={"steps": self._mechanism.steps * rounds})
        total = self._account.epsilon(self._privacy.delta, planned)
        said = f"private ({unit}): epsilon {total:.3g} after {rounds} rounds, at delta {self._privacy.delta:g}"
        if self._stop_at is not None and total > self._stop_at:
            said += f", but its part ends before {self._stop_at:g} is exceeded"
        return [said]
