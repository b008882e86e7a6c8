"""A running dashboard."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Sequence

from galaxy_chain.dashboard.app import create_app
from galaxy_chain.dashboard.events import HEARTBEAT_SECONDS, Hub
from galaxy_chain.dashboard.guard import Guard, named
from galaxy_chain.dashboard.ledger import Source, WatchedLedger
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.http_server import HttpServer, is_loopback, listen

__all__ = ["DEFAULT_PORT", "Dashboard"]

DEFAULT_PORT = 8560
_ENDING_SECONDS = 2
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?(?::[0-9]+)?")
_SHOWN = 100

_log = logging.getLogger(__name__)


class Dashboard(HttpServer):
    """Listens on `host` and `port` (0: any free one) from the moment it is made; shows a ledger in a `with` block.

    Args:
        source: What it shows.
        names: What it may be called besides localhost and any address.
        public: Whether others than programs of this machine may reach it.
        heartbeat: Seconds after which a stream of events shows that it is there.

    Raises:
        ConfigurationError: it can't listen there, a name is none that browsers ask for, or others would reach it and
            `public` does not say so.
    """

    def __init__(
        self,
        source: Source,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Sequence[str] = (),
        *,
        public: bool = False,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        for name in names:
            if not _NAME.fullmatch(name) and not (name and _is_address(named(name))):
                raise ConfigurationError(
                    f"{name[:_SHOWN]!r} is not a name by which browsers ask for a host: expected one such as "
                    "board.example.org, without http:// and a path, other letters as xn--…"
                )
        if not is_loopback(host):
            if not public:
                raise ConfigurationError(
                    f"others than this machine would reach the dashboard on {host or 'every address'}, without "
                    "encryption or a password: leave --host out, or add --public if they may see all jobs and contents"
                )
            _log.warning("others reach the dashboard on %s without encryption: put a proxy with HTTPS before it", host)
        listener = listen(host, port)
        self.hub = Hub(heartbeat)
        try:
            self.watched = WatchedLedger(source, self.hub)
            guarded = Guard(create_app(self.watched), [*names, *([] if _is_address(host) else [host])])
            super().__init__(listener, host, guarded, _ENDING_SECONDS)
        except BaseException:
            listener.close()
            raise

    def start(self) -> None:
        """Look at the ledger, and begin to answer.

        Raises:
            GalaxyError: the node, or the ledger, is not there.
        """
        try:
            self.watched.start()
        except BaseException:
            self.stop()
            raise
        super().start()

    def interrupt(self) -> None:
        """Ask it to stop, its streams first; for signal handlers, too."""
        self.hub.closing = True
        super().interrupt()

    def stop(self) -> None:
        """End it."""
        super().stop()
        self.watched.stop()

    def url_of(self, job: int | None = None, round: int | None = None, attempt: int | None = None) -> str:
        """The address of the page, or of a job, a round or an attempt on it."""
        place = "" if job is None else f"#/jobs/{job}" + ("" if round is None else f"/rounds/{round}")
        return f"{self.url}/{place}" + ("" if attempt is None else f"?attempt={attempt}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        return False
    return True
