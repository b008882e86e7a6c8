"""Passwords and keys: from the environment, or asked for on the terminal, never from arguments."""

from __future__ import annotations

import sys
from getpass import getpass

from galaxy_chain.exceptions import AccountError
from galaxy_chain.transactions.accounts import PASSWORD_VARIABLE, take_secret

__all__ = ["new_password", "secret"]


def secret(variable: str, what: str) -> str:
    """A secret from the environment, or, where it has none, from the terminal.

    Raises:
        AccountError: there is no terminal.
    """
    given = take_secret(variable)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise AccountError(f"there is no terminal to ask for {what}: set {variable}")
    return getpass(f"{what[0].upper()}{what[1:]}: ")


def new_password() -> str:
    """A password to encrypt a key with; on the terminal it is asked for twice.

    Raises:
        AccountError: there is no terminal.
    """
    given = take_secret(PASSWORD_VARIABLE)
    while given is None:
        given = secret(PASSWORD_VARIABLE, "a password")
        if given != getpass("The same again: "):
            sys.stderr.write("the two are not the same; try again\n")
            given = None
    return given
