"""galaxy.toml: settings for whatever runs in a folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["SETTINGS", "SETTINGS_FILE", "read_settings"]

SETTINGS_FILE = Path("galaxy.toml")
SETTINGS = frozenset(
    {
        *("rpc", "home", "ledger", "store", "ipfs", "gateway"),
        *("account", "data_root", "device", "threads", "poll", "fee_cap", "status", "trust"),
    }
)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of galaxy.toml, or none where there is no such file.

    Raises:
        ConfigurationError: it is not valid.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # tomllib lets through those of long integers and deep nesting
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ConfigurationError(
            f"{path}: there is no setting {', '.join(unknown)}: there are {', '.join(sorted(SETTINGS))}"
        )
    return settings
