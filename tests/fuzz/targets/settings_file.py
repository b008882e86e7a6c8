"""galaxy.toml, and the entries of what is trusted."""

from __future__ import annotations

from galaxy_chain.settings_file import SETTINGS, read_settings
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.trust import Trust
from tests.fuzz.clean import refused
from tests.fuzz.folder import file_with
from tests.fuzz.reader import Reader

__all__ = ["fuzz"]


def fuzz(data: bytes) -> bool:
    reader = Reader(data)
    as_file, content = reader.integer() % 2 == 0, reader.rest()
    try:
        if as_file:
            assert read_settings(file_with("galaxy.toml", content)).keys() <= SETTINGS
        else:
            Trust([content.decode(errors="surrogateescape")])
    except ConfigurationError as error:
        return refused(error)
    return True
