"""A running content store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from galaxy_chain.ledger.contract import LedgerContract
from galaxy_chain.store.app import Service, create_app
from galaxy_chain.store.database import open_database
from galaxy_chain.store.inbox import open_inbox_file
from galaxy_fl.content import LocalStore
from galaxy_fl.content.remote import check_url
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.files import FileLock
from galaxy_fl.http_server import HttpServer, is_loopback, listen, url_of

__all__ = ["StoreServer"]

_log = logging.getLogger(__name__)
_ENDING_SECONDS = 5


class StoreServer(HttpServer):
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
        ledger: LedgerContract,
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
        listener = listen(host, port)
        if not is_loopback(host):
            _log.warning("others reach this store on %s without encryption: put a proxy with HTTPS before it", host)
        try:
            self.urls = names or [url_of(listener, host)]
            store = LocalStore(folder)
            self._lock = FileLock.claim(
                store.root / "web.lock", f"another server has the store {store.root}: stop it, or use another folder"
            )
            self._database = open_database(store.root / "web.sqlite")
            self._inbox_file = open_inbox_file(store.root / "inbox.sqlite")
            service = Service(store, ledger, self._database, self._inbox_file, self.urls, owners, quota)
            app = create_app(service)
            super().__init__(listener, host, app, _ENDING_SECONDS)
        except BaseException:
            listener.close()
            raise
        self.url = self.urls[0]

    def stop(self) -> None:
        """Ends it: what is being answered has some seconds, and uploads continue another time."""
        super().stop()
        self._database.close()
        self._inbox_file.close()
        self._lock.release()
