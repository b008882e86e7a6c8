#!/usr/bin/env python
"""Compile the contracts into galaxy_chain/artifacts, the same bytes on every machine.

The compiler is the one given by --solc, else a native one that py-solc-x has installed, else the npm package
(`npm install`) behind scripts/solc. Whichever it is, its version has to be the pinned one: another gives other bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import solcx

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "galaxy_chain" / "artifacts"
VERSION = "0.8.37"
DEPLOYED = {
    "GalaxyLedger": "contracts/GalaxyLedger.sol",
    "LedgerIntake": "contracts/LedgerIntake.sol",
    "OpeningVerifier": "contracts/OpeningVerifier.sol",
    "WeightedMean": "contracts/rules/WeightedMean.sol",
    "Relay": "contracts/rules/Relay.sol",
    "CoordinateMedian": "contracts/rules/CoordinateMedian.sol",
    "TrimmedMean": "contracts/rules/TrimmedMean.sol",
    "FedAvgM": "contracts/rules/FedAvgM.sol",
    "FedAdam": "contracts/rules/FedAdam.sol",
}
LIBRARIES = tuple(
    f"@openzeppelin/contracts/utils/{file}"
    for file in ("cryptography/ECDSA.sol", "math/Math.sol", "math/SafeCast.sol", "Panic.sol")
)
"""What the contracts import from npm packages."""
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "viaIR": True,
    # More runs save a few hundred gas a call, and make the ledger larger than a contract may be.
    "optimizer": {"enabled": True, "runs": 200},
    # Without the hash of comments and paths, the bytecode is that of the code alone.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}
OUTPUTS = ("abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences")


def compiler(given: Path | None) -> Path:
    """The compiler to use.

    Raises:
        SystemExit: there is none, or its version is another.
    """
    native = [str(version) for version in solcx.get_installed_solc_versions()]
    if given:
        binary = given
    elif VERSION in native:
        binary = solcx.install.get_executable(VERSION)
    elif (ROOT / "node_modules" / "solc").is_dir():
        binary = ROOT / "scripts" / "solc"
    else:
        raise SystemExit(f"there is no solc {VERSION}: run `npm install` in {ROOT}, or give one by --solc")
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"Version: (\d+\.\d+\.\d+)", said)
    if version is None or version[1] != VERSION:
        raise SystemExit(f"{binary} is not solc {VERSION}; it says: {said.strip()}")
    return binary


def compile_contracts(binary: Path, contracts: Mapping[str, str] = DEPLOYED) -> dict[str, dict[str, Any]]:
    """Compile contracts, given by name and source file, into artifacts. They may import from `contracts/`.

    Raises:
        solcx.exceptions.SolcError: the sources do not compile.
        SystemExit: the compiler warns, or a contract has immutable values.
    """
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "contracts").rglob("*.sol")}
    sources = {file: {"content": (ROOT / file).read_text()} for file in sorted(files.union(contracts.values()))}
    sources |= {file: {"content": (ROOT / "node_modules" / file).read_text()} for file in LIBRARIES}
    wanted: dict[str, dict[str, list[str]]] = {file: {} for file in contracts.values()}
    for name, file in contracts.items():
        wanted[file][name] = list(OUTPUTS)
    output = solcx.compile_standard(
        {"language": "Solidity", "sources": sources, "settings": {**SETTINGS, "outputSelection": wanted}},
        solc_binary=binary,
    )
    if warnings := [error["formattedMessage"] for error in output.get("errors", ())]:
        raise SystemExit("\n".join(warnings))
    artifacts = {}
    for name, file in contracts.items():
        contract = output["contracts"][file][name]
        if contract["evm"]["deployedBytecode"].get("immutableReferences"):
            raise SystemExit(f"{file}: immutable values are part of the code that participants compare: use constants")
        artifacts[name] = {
            "name": name,
            "source": file,
            "compiler": {"version": VERSION, "settings": SETTINGS},
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "runtime": "0x" + contract["evm"]["deployedBytecode"]["object"],
        }
    if {"GalaxyLedger", "LedgerIntake"} <= artifacts.keys():
        # The ledger hands these calls on as they are, and so has no names for their arguments.
        named = {entry["name"]: entry for entry in artifacts["LedgerIntake"]["abi"] if entry["type"] == "function"}
        abi = artifacts["GalaxyLedger"]["abi"]
        artifacts["GalaxyLedger"]["abi"] = [named.get(entry.get("name"), entry) for entry in abi]
    return artifacts


def text_of(artifact: dict[str, Any]) -> str:
    """An artifact as its file has it."""
    return json.dumps(artifact, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solc", type=Path, help=f"a solc {VERSION}")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if an artifact differs")
    arguments = parser.parse_args()
    artifacts = compile_contracts(compiler(arguments.solc))
    ARTIFACTS.mkdir(exist_ok=True)
    stale = []
    for name, artifact in artifacts.items():
        path, text = ARTIFACTS / f"{name}.json", text_of(artifact)
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not arguments.check:
                path.write_text(text)
        print(f"{name}: {len(artifact['runtime']) // 2 - 1} bytes of code")
    if arguments.check and stale:
        sys.exit(f"not what the sources compile to: {', '.join(stale)}; run scripts/compile.py")


if __name__ == "__main__":
    main()
