"""Commands as a user runs them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from galaxy_chain.cli.main import main

__all__ = ["Terminal"]


class Terminal:
    """Runs commands as a user does, in a folder of its own, and asserts how they end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def run(self, *arguments: object) -> int:
        self._monkeypatch.setattr(sys, "argv", ["galaxy-chain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return int(ended.value.code or 0)

    def fails(self, code: int, said: str, *arguments: object) -> None:
        assert (self.run(*arguments), self.out) == (code, ""), (self.out, self.err)
        plain = re.sub(r"[\s│]+", " ", self.err)
        assert re.search(said, plain), self.err

    def json(self, *arguments: object) -> Any:
        assert self.run(*arguments, "--json") == 0, self.err
        lines = [json.loads(line) for line in self.out.splitlines()]
        return lines[0] if len(lines) == 1 else lines
