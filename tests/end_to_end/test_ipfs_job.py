"""A job whose participants share a ledger and an IPFS node, and no folder: audited from the network on an empty disk."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile

import httpx
import pytest

from tests.end_to_end.forked import Forked
from tests.end_to_end.processes import Program, run
from tests.ipfs_daemon import daemon

pytestmark = pytest.mark.xdist_group("ipfs")

JOB = """\
name = "over ipfs"
[model]
builtin = "mlp"
options = { hidden = 900 }
[train]
learning_rate = 0.1
[terms]
rounds = 2
open = true
server = "anyone"
min_clients = 2
max_clients = 2
"""
"""A vector has 270,040 bytes: two blocks and the node above them."""


class Someone:
    """A participant with a home and a store of its own; all else that it knows is the ledger's file.

    `behind`: where its store reads and writes beside its folder.
    """

    def __init__(self, folder: Path, url: str, store: Path, *behind: object) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = store
        self._where = ["--rpc", url, "--home", folder / "home", "--store", store, *behind]

    def knows(self, owner: Someone) -> Someone:
        """Is given the ledger's file."""
        (self.folder / "home").mkdir()
        copyfile(owner.folder / "home" / "ledger.json", self.folder / "home" / "ledger.json")
        return self

    def run(self, *arguments: object) -> object:
        return run(self.folder, *arguments, *self._where)

    def start(self, role: str, number: int, *more: object) -> Program:
        """Takes part in job 1, by an account of the node."""
        options = ["--job", 1, "--account", f"dev:{number}", "--poll", 0.1, "--content-timeout", 60, "--json"]
        return Forked(self.folder, role, *options, *self._where, *more)

    def contents(self) -> set[str]:
        """The content ids of all that is in the folder."""
        return {path.name for path in (self.store / "objects").glob("*/*")}

    def pins(self) -> set[str]:
        """Those of what no collection takes."""
        return {path.name for path in (self.store / "pins").iterdir()}


def play(folder: Path, url: str, *behind: object, shared: Path | None = None) -> tuple[str, dict[str, Someone]]:
    """Plays a job with a server and two clients; gives the final model and who took part."""
    folder.mkdir()
    names = ("owner", "server", "client-1", "client-2")
    people = {name: Someone(folder / name, url, shared or folder / name / "store", *behind) for name in names}
    owner, server, *clients = people.values()
    run(owner.folder, "deploy", "--account", "dev:0", "--rpc", url, "--home", owner.folder / "home")
    assert owner.run("job", "create", job_file(owner.folder), "--account", "dev:0")["job"] == 1
    with ExitStack() as stack:
        programs = [stack.enter_context(server.knows(owner).start("server", 1, "--leave", "--keep", "audited"))]
        for number, client in enumerate(clients, 1):
            shard = ("--data", "digits", "--shard", f"{number}/30")
            programs.append(stack.enter_context(client.knows(owner).start("client", 1 + number, *shard)))
        finished = [json.loads(program.line('"finished"')) for program in programs]
        for program in programs:
            program.finish()
    (model,) = {said["model"] for said in finished}
    return model, people


def job_file(folder: Path) -> Path:
    path = folder / "job.toml"
    path.write_text(JOB)
    return path


def audit(folder: Path, url: str, owner: Someone, *behind: object) -> tuple[list[dict[str, object]], Someone]:
    """Audits job 1 with an empty home and an empty store."""
    auditor = Someone(folder, url, folder / "store", *behind).knows(owner)
    assert not auditor.store.exists()
    return [line for line in auditor.run("audit", 1) if "right" in line], auditor


def test_a_job_over_ipfs_is_audited_on_an_empty_disk(anvil_url, tmp_path):
    with daemon(tmp_path / "daemon") as ipfs:
        model, people = play(tmp_path / "ipfs", anvil_url, "--ipfs", ipfs.url)
        owner, *others = people.values()
        rounds, auditor = audit(tmp_path / "auditor", anvil_url, owner, "--ipfs", ipfs.url)
        from_gateway, reader = audit(tmp_path / "reader", anvil_url, owner, "--gateway", ipfs.gateway)
        contents = auditor.contents()
        for cid in contents:
            (path,) = (auditor.store / "objects").glob(f"*/{cid}")
            assert httpx.get(f"{ipfs.gateway}/ipfs/{cid}", timeout=60).content == path.read_bytes()

    assert [(line["round"], line["updates"], line["right"]) for line in rounds] == [(1, 2, True), (2, 2, True)]
    assert rounds[-1]["model"] == model
    assert from_gateway == rounds
    assert len(contents) == 8  # the document, three models, two updates a round
    assert reader.contents() == contents == people["server"].contents()
    assert owner.contents() < contents  # it has put its own and read nothing
    assert people["server"].pins() == contents  # all of it can be challenged yet
    assert all(someone.store != owner.store for someone in others)


@pytest.mark.extended
def test_a_job_over_ipfs_is_the_job_of_a_shared_folder(anvil_url, tmp_path):
    with daemon(tmp_path / "daemon") as ipfs:
        model, people = play(tmp_path / "ipfs", anvil_url, "--ipfs", ipfs.url)
    beside, _ = play(tmp_path / "folder", anvil_url, shared=tmp_path / "shared")
    assert beside == model
    assert {path.name for path in (tmp_path / "shared" / "objects").glob("*/*")} == people["server"].contents()
