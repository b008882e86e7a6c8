"""How the programs of PFL's users end: with exit codes, not exceptions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from galaxy_fl.core.strategy import WorkModeStrategy
from galaxy_fl.exceptions import GalaxyError
from galaxy_fl.jobs.request import JobRequest
from galaxy_fl.modes.mode import ClientPlace, Mode, ServerPlace, find_mode, places_of
from galaxy_fl.participants.participant import Outcome
from galaxy_fl.participants.participation import STOPPED

__all__ = ["INTERRUPTED", "InMode", "run_program"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@dataclass(frozen=True)
class InMode:
    """A mode by its name, with settings of its own."""

    name: str
    settings: Mapping[str, Any]

    def submit(self, request: JobRequest, **settings: Any) -> str:
        return self._mode.submit(request, **self._all(settings))

    def client_places(self, client_id: str, **settings: Any) -> list[ClientPlace]:
        return list(self._mode.client_places(client_id, **self._all(settings)))

    def places_of(self, client_ids: Sequence[str], **settings: Any) -> Sequence[Sequence[ClientPlace]]:
        return places_of(self._mode, client_ids, **self._all(settings))

    def server_place(self, **settings: Any) -> ServerPlace:
        return self._mode.server_place(**self._all(settings))

    @property
    def _mode(self) -> Mode:
        return find_mode(self.name)

    def _all(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All settings; whom a user trusts chooses jobs on a ledger alone."""
        chooses = self.name == WorkModeStrategy.WORKMODE_BLOCKCHAIN
        return dict(self.settings) | {key: value for key, value in settings.items() if chooses or key != "trust"}


def run_program(take_part: Callable[[bool], list[Outcome]], until_done: bool) -> None:
    """Take part in jobs as a program whose exit code says whether there is anything to show for it.

    Raises:
        SystemExit: it was interrupted; or all jobs were given up, with the exit code of the first error.
    """
    try:
        outcomes = take_part(not until_done)
    except KeyboardInterrupt:
        print(STOPPED, flush=True)
        sys.exit(INTERRUPTED)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        print(f"{len(errors)} of {len(outcomes)} job{'' if len(outcomes) == 1 else 's'} given up", flush=True)
    if errors and len(errors) == len(outcomes):
        sys.exit(errors[0].exit_code if isinstance(errors[0], GalaxyError) else GalaxyError.exit_code)
