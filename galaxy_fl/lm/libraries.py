"""transformers and peft, imported when a language model is made, and without the network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from galaxy_fl.exceptions import ConfigurationError

__all__ = ["libraries", "quietly"]

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""What is set unless the user has set it: nothing is asked for or told to anybody while a job trains."""


def libraries() -> tuple[Any, Any]:
    """Return the modules transformers and peft.

    Raises:
        ConfigurationError: one of them is not installed; names the extra.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    try:
        import peft
        import transformers
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("peft", "transformers"):
            raise
        raise ConfigurationError(
            f"language models need {error.name}, which is not installed here: pip install 'galaxy-fl[lm]'"
        ) from error
    return transformers, peft


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out progress bars, and what peft and transformers deprecate of each other, which is not ours to change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"(peft|transformers)\b")
        logging = libraries()[0].utils.logging
        shows = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            if shows:
                logging.enable_progress_bar()
