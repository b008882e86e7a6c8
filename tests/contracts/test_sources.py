"""The sources build, format and explain themselves as `foundry.toml` and the interfaces' readers expect."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.compile import ARTIFACTS, DEPLOYED, ROOT, SETTINGS, VERSION

SOURCES = sorted((ROOT / "contracts").rglob("*.sol"))
INTERFACES = sorted((ROOT / "contracts" / "interfaces").glob("*.sol"))
DECLARATION = re.compile(
    r"(?P<doc>(?: *///[^\n]*\n)+) *(?P<kind>function|event|error) (?P<name>\w+)\((?P<takes>[^)]*)\)"
    r"(?P<rest>[^;{]*);"
)


def test_foundry_compiles_with_the_settings_of_the_artifacts() -> None:
    profile = tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]
    assert (
        profile["solc_version"] == VERSION == json.loads((ROOT / "package.json").read_text())["devDependencies"]["solc"]
    )
    assert profile["evm_version"] == SETTINGS["evmVersion"]
    assert profile["via_ir"] == SETTINGS["viaIR"]
    assert profile["optimizer"] == SETTINGS["optimizer"]["enabled"]
    assert profile["optimizer_runs"] == SETTINGS["optimizer"]["runs"]
    assert profile["cbor_metadata"] == SETTINGS["metadata"]["appendCBOR"]
    assert profile["bytecode_hash"] == SETTINGS["metadata"]["bytecodeHash"]


def test_every_source_names_the_one_compiler() -> None:
    for path in [*SOURCES, *(ROOT / "tests" / "contracts" / "solidity").glob("*.sol")]:
        assert f"\npragma solidity {VERSION};\n" in path.read_text(), path


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.stem)
def test_interfaces_explain_every_argument_and_result(path: Path) -> None:
    text = path.read_text()
    declared = list(DECLARATION.finditer(text))
    assert len(declared) == len(re.findall(r"^ *(?:function|event|error) \w+\(", text, re.M)), "one has no comment"
    for match in declared:
        takes = [part.split()[-1] for part in match["takes"].split(",") if part.strip()]
        returned = re.search(r"returns \(([^)]*)\)", match["rest"])
        gives = len(returned[1].split(",")) if returned else 0
        assert "@notice" in match["doc"], match["name"]
        assert re.findall(r"@param (\w+) \S", match["doc"]) == takes, match["name"]
        assert len(re.findall(r"@return \S", match["doc"])) == gives, match["name"]


@pytest.mark.extended
def test_forge_builds_the_same_code(tmp_path: Path) -> None:
    forge = ROOT / "node_modules" / ".bin" / "forge"
    paths = ["--out", tmp_path / "out", "--cache-path", tmp_path / "cache"]
    subprocess.run([forge, "build", "--offline", "--use", "scripts/solc", *paths], cwd=ROOT, check=True)
    for name in DEPLOYED:
        built = json.loads((tmp_path / "out" / f"{name}.sol" / f"{name}.json").read_text())
        committed = json.loads((ARTIFACTS / f"{name}.json").read_text())
        assert built["deployedBytecode"]["object"] == committed["runtime"], name
        assert built["bytecode"]["object"] == committed["bytecode"], name
