"""Makes sure that Flower is installed: whoever imports this before it is told what to do where it is not."""

from __future__ import annotations

from galaxy_fl.exceptions import ConfigurationError

try:
    import flwr.serverapp.strategy  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        f"this needs Flower 1.42 or newer, which is not installed here ({error}): pip install 'galaxy-fl[flower]'"
    ) from error
