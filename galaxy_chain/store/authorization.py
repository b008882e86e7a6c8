"""Who asks: an account, by its signature of exactly this request to exactly this store, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from galaxy_chain.store.signed_request import LONGEST_LIFE, Authorization, signed_text
from galaxy_fl.content.problems import Refused
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.sqlite_file import SqliteFile

__all__ = ["Doorkeeper"]


class Doorkeeper:
    """Checks signatures.

    Args:
        database: Remembers the signatures that were used, as long as they live.
        urls: What the store is called by those who sign, without a slash at the end.
        clock: As `time.time`.
    """

    def __init__(self, database: SqliteFile, urls: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._urls = urls
        self._clock = clock

    def check(self, header: str | None, method: str, target: str) -> Authorization:
        """Who signed a request; the address has its checksum.

        Raises:
            Refused: nobody did, or for another store or request, too early or too late.
        """
        if header is None:
            raise _refused("this has to be signed by an account that takes part in the job")
        try:
            said = Authorization.parse(header)
        except ConfigurationError as error:
            raise _refused(str(error)) from error
        now = self._clock()
        if not now < said.until <= now + LONGEST_LIFE:
            raise _refused(
                f"the signature ends at {said.until}, and here it is {int(now)} (Unix time): it has to end within the"
                f" next {LONGEST_LIFE} s; set your clock"
            )
        address = to_checksum_address(said.address)
        if not any(_signer(said, method, url, target) == address for url in self._urls):
            raise _refused(
                f"the signature is not one of {address} for {method} {target}: use one of the store's own addresses,"
                f" {', '.join(self._urls)}, and have whatever is in between leave path and query as they are; its"
                " operator adds others with `--url`"
            )
        return Authorization(address, said.job, said.until, said.once, said.signature)

    def use(self, said: Authorization) -> None:
        """Uses a signature up: a pin that somebody has recorded must not come back after it was taken away.

        Raises:
            Refused: it was used before.
        """
        row = f"{said.address} {said.once}", said.until
        with self._database.transaction():
            self._database.query("DELETE FROM used WHERE until < ?", (int(self._clock()),))
            if not self._database.query("INSERT OR IGNORE INTO used VALUES (?, ?) RETURNING once", row):
                raise _refused("the signature was used before: sign each request anew")


def _signer(said: Authorization, method: str, url: str, target: str) -> str | None:
    text = signed_text(method, url, target, said.job, said.until, said.once)
    try:
        return str(Account.recover_message(encode_defunct(text=text), signature=said.signature))
    except (BadSignature, ValidationError, ValueError):
        return None


def _refused(message: str) -> Refused:
    return Refused(401, "unauthorized", message, {"WWW-Authenticate": "Galaxy"})
