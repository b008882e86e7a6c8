"""A running content store: in a thread of this process, or in the foreground until a signal ends it."""

from __future__ import annotations

import ipaddress
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

from galaxy_chain.ledger.ledger import Ledger
from galaxy_chain.store import LocalStore
from galaxy_chain.store.remote import check_url
from galaxy_chain.web.app import Service, create_app
from galaxy_chain.web.database import open_database
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import FileLock
from galaxy_fl.http_server import listen

__all__ = ["StoreServer", "serve"]

_log = logging.getLogger(__name__)
_ENDING_SECONDS = 5


class StoreServer:
    """Listens on `host` and `port` (0: any free one) from the moment it is made; answers in a `with` block.

    Args:
        folder: Of the store.
        ledger: Of the jobs that it is for.
        owners: Addresses (with checksum) whose jobs are kept.
        quota: Bytes that each job, and each owner without one, may keep.
        urls: What the store is called from outside; needed where it listens everywhere.

    Attributes:
        url: The first of its addresses.

    Raises:
        ConfigurationError: it can't listen there, another server has the folder, or a URL is none.
        ContentError: the folder can't be used.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        owners: Sequence[str],
        quota: int,
        host: str = "127.0.0.1",
        port: int = 0,
        urls: Sequence[str] = (),
    ) -> None:
        names = [check_url(url, "a content store") for url in urls]
        if not names and host in ("", "0.0.0.0", "::"):
            raise ConfigurationError(
                f"a store that listens on {host or 'every address'} has to know what it is called: name it with --url"
            )
        self._socket = listen(host, port)
        _warn(host)
        try:
            shown = f"[{host}]" if ":" in host else host
            self.port: int = self._socket.getsockname()[1]
            self.urls = names or [f"http://{shown}:{self.port}"]
            self.url = self.urls[0]
            store = LocalStore(folder)
            self._lock = FileLock.claim(
                store.root / "web.lock", f"another server has the store {store.root}: stop it, or use another folder"
            )
            self._database = open_database(store.root / "web.sqlite")
            app = create_app(Service.of(store, ledger, self._database, self.urls, owners, quota))
        except BaseException:
            self._socket.close()
            raise
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_ENDING_SECONDS,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=f"store {self.url}", daemon=True
        )

    def interrupt(self) -> None:
        """Asks it to end; for signal handlers, which must not wait."""
        self._server.should_exit = True

    def wait(self) -> None:
        """Waits until it has ended."""
        self._thread.join()

    def __enter__(self) -> StoreServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it: what is being answered has some seconds, and uploads go on another time."""
        self.interrupt()
        self.wait()
        self._socket.close()
        self._database.close()
        self._lock.release()


def serve(server: StoreServer, ready: Callable[[StoreServer], None]) -> None:
    """Answers until SIGINT or SIGTERM. Only in a main thread. `ready` is called once it listens."""

    def end(_signal: int, _frame: Any) -> None:
        server.interrupt()

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with server:
            ready(server)
            server.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _warn(host: str) -> None:
    if not _is_loopback(host):
        _log.warning("others reach this store on %s without encryption: put a proxy with HTTPS in front of it", host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
