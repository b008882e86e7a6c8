"""Which commit of Galaxy's source runs here, so that somebody else can run the same."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["commit_of_source"]

_SECONDS = 10
_ROOT = Path(__file__).parents[2]


@cache
def commit_of_source() -> str | None:
    """The commit that pip installed, or that is checked out where the packages are; None where neither is known.

    `-modified` follows it where files of the packages differ from it.
    """
    try:
        installed = json.loads(distribution("galaxy-fl").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        installed = {}
    commit = installed.get("vcs_info", {}).get("commit_id") or _git("rev-parse", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "galaxy_fl", "galaxy_chain")
    return f"{commit}-modified" if changed else commit


def _git(*arguments: str) -> str | None:
    """What git says of the folder that the packages are in; None where it is no checkout, or git is not there."""
    if not (_ROOT / ".git").exists():  # and not one around it, such as that of somebody's own project
        return None
    try:
        done = subprocess.run(
            ("git", "-C", str(_ROOT), *arguments), capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
