"""The settings that galaxy.toml may have, for the command line and the blockchain mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.settings_file import SETTINGS_FILE, read_settings_file

__all__ = ["SETTINGS", "SETTINGS_FILE", "read_settings"]

SETTINGS = frozenset(
    {
        *("rpc", "home", "ledger", "store", "ipfs", "gateway"),
        *(
            "account",
            "data_root",
            "device",
            "output",
            "threads",
            "poll",
            "fee_cap",
            "max_bond",
            "max_deposit",
            "lane",
            "relay_batch",
            "relay_wait",
            "relay_fee_cap",
            "relay_budget",
            "max_spend",
            "status",
            "trust",
        ),
    }
)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of galaxy.toml, or none where there is no such file.

    Raises:
        ConfigurationError: it is not valid.
    """
    settings = read_settings_file(path)
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ConfigurationError(
            f"{path}: there is no setting {', '.join(unknown)}: there are {', '.join(sorted(SETTINGS))}"
        )
    return settings
