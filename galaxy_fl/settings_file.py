"""galaxy.toml: settings for whatever runs in a folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["SETTINGS_FILE", "read_settings_file"]

SETTINGS_FILE = Path("galaxy.toml")


def read_settings_file(path: Path = SETTINGS_FILE) -> dict[str, Any]:
    """What is in the file, or nothing where there is none.

    Raises:
        ConfigurationError: it can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:  # the last two are tomllib's own
        raise ConfigurationError(f"{path} can't be read: {error}") from error
