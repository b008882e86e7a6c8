"""The documentation says of the code what the code says of itself."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import galaxy_chain.exceptions
import galaxy_fl.exceptions
import galaxy_fl.exceptions.fl_expection
from galaxy_fl.exceptions import GalaxyError

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes: dict[int, str] = {}  # the first class that ends with each: others below it have the same
    for module in (galaxy_fl.exceptions, galaxy_fl.exceptions.fl_expection, galaxy_chain.exceptions):
        for name, error in vars(module).items():
            if inspect.isclass(error) and issubclass(error, GalaxyError) and error is not GalaxyError:
                codes.setdefault(error.exit_code, name)
    page = (DOCS / "reference" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (?:.*?) \|$", page, re.MULTILINE)
    assert {int(code): name for code, name in rows} == codes
