"""The examples that need extras, whose packages take seconds to import: they share a process that has loaded them.

That of a language model runs in a folder as its programs say, and as the same job on a ledger, to the same bits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from galaxy_chain.rpc.rpc import Rpc
from galaxy_fl.worker import forkserver
from tests.end_to_end.forked import PRELOADED, Forked
from tests.end_to_end.processes import anvil
from tests.examples.stage import EXAMPLES, Stage, accuracies, final_models

LEDGER = """
import sys

import galaxy_chain
import galaxy_fl as galaxy
from galaxy_fl.lm import Texts, poems
from model import job

if __name__ == "__main__":
    role, url, account = sys.argv[1:]
    at = galaxy_chain.Ledger(url, account=account)
    if role == "submit":
        galaxy.submit(job(), clients=2, at=at, terms={"open": True})
    elif role == "server":
        galaxy.Server(at=at, jobs=[1], leave=True).run()
    else:
        data = Texts(poems(role)[:-2], length=64)
        galaxy.Client(at=at, jobs=[1], data=data, leave=True, name=role).run()
"""

PEFT = """
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from galaxy_fl.lm.libraries import quietly
from model import Net

with quietly():
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("base"), "adapter").eval()
ours = Net()
[final] = __import__("pathlib").Path().glob("final_model_pars_*.safetensors")
ours.load_state_dict(load_file(final))
ids = torch.arange(40).reshape(2, 20)
with torch.no_grad():
    print(torch.equal(theirs(input_ids=ids).logits, ours.eval()(ids)))
"""


@pytest.fixture(scope="module")
def loaded() -> Iterator[None]:
    """A fork server of this module's own, in which what the programs import is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "_server", None)
        patch.setattr(forkserver, "_lifeline", None)
        patch.setattr(forkserver, "_address", None)
        forkserver.start(*PRELOADED, "tests.examples.extras")
        server, lifeline, address = forkserver._server, forkserver._lifeline, forkserver._address
        yield
    assert server is not None
    assert lifeline is not None
    assert address is not None
    forkserver._stop(server, lifeline, str(Path(address).parent))


@pytest.fixture
def stage(tmp_path: Path, loaded: None) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def anvil_url() -> Iterator[str]:
    with anvil() as url:
        yield url


def final(folder: Path) -> Path:
    [found] = folder.glob("final_model_pars_*.safetensors")
    return found


def models(folder: Path) -> list[str]:
    """The hashes of the final model that the reports in a folder name."""
    return [json.loads(path.read_text())["final_model"] for path in folder.glob("report_*.json")]


def test_language_model(stage: Stage, tmp_path: Path, anvil_url: str) -> None:
    here = "language_model"
    stage.run(f"{here}/base.py")
    assert stage.run(f"{here}/model.py").startswith("job ")
    programs = [stage.start(f"{here}/client.py", poet) for poet in ("blake", "dickinson")]
    programs.append(stage.start(f"{here}/server.py"))
    said = [stage.finish(program) for program in programs]
    assert "perplexity" in said[0]
    found = re.findall(r"perplexity ([\d.]+) before, ([\d.]+) after", stage.run(f"{here}/adapter.py"))
    assert len(found) == 3
    for before, after in found[:2]:  # whom the job learns from
        assert float(after) < 0.95 * float(before) < 20
    # An event's perplexity is that of its own test texts, padded and in batches, weighted by tokens.
    [shown] = re.findall(r"after round 3: loss [\d.]+, perplexity ([\d.]+) on", said[0])
    assert float(shown) == pytest.approx(float(found[0][1]), abs=0.006)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    by_peft = tmp_path / "by_peft.py"
    by_peft.write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLES / here)!r})\n{PEFT}")
    assert stage.run(str(by_peft)).endswith("True\n")

    ledger = tmp_path / "ledger"
    ledger.mkdir()
    (ledger / "base").symlink_to(tmp_path / "base")
    (ledger / "job.py").write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLES / here)!r})\n{LEDGER}")
    with Forked(ledger, "deploy", "--account", "dev:0", GALAXY_RPC=anvil_url) as deploying:
        deploying.finish()
    trust = {"GALAXY_TRUST": Rpc(anvil_url).request("eth_accounts")[0], "GALAXY_POLL": "0.1"}

    def play(role: str, account: int) -> Path:
        return stage.start(str(ledger / "job.py"), role, anvil_url, f"dev:{account}", folder="ledger", **trust)

    stage.finish(play("submit", 0))
    for program in [play(role, account) for account, role in enumerate(("server", "blake", "dickinson"))]:
        stage.finish(program)
    assert len({*models(tmp_path), *models(ledger)}) == 1
    assert final(ledger).read_bytes() == final(tmp_path).read_bytes()
    adapters = [name for name in load_file(final(ledger)) if ".lora_" in name]
    assert len(adapters) == 14


def test_private(stage: Stage, tmp_path: Path) -> None:
    stage.run("private/model.py")
    server = stage.start("private/server.py")
    said = stage.run("private/client.py")
    stage.finish(server)
    assert re.search(r"private \(each example\): epsilon \d\.\d+ after 3 rounds, at delta 1e-05", said)
    assert re.search(r"round 3: 4 clients trained on .*, epsilon \d\.\d+ at most", said)
    [model], [accuracy] = final_models(tmp_path), accuracies(tmp_path)
    assert model["layers.1.weight"].shape == (10, 64)
    assert accuracy > 0.4  # noise has its price
