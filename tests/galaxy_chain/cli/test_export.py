"""galaxy-chain job export: anybody gets a job's model as a file for PyTorch, long after the job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.galaxy_chain.federation import PARAMETERS, alter, made_up


@pytest.fixture
def job(federation, at_ledger):
    """A job whose two rounds are committed."""
    for seed in (1, 2):
        federation.submit(0, 1, 2, seed=seed)
        federation.commit()
    return federation.job


def committed(federation, number):
    """The vector of a round's model, as floats."""
    history = federation.serve().history
    model = history.commits[number].record.next if number else history.initial
    return np.fromfile(federation.content(model.content), "<i4").reshape(10, 15) / 2**24, model


def measure(federation, at_ledger, *measured):
    """Metrics of rounds as a server writes them: (round, loss, accuracy)."""
    commits = federation.serve().history.commits
    path = at_ledger.folder / ".galaxy" / "metrics" / f"{federation.deployment.ledger}-{federation.job}.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = [
        {
            "attempt": commits[number].attempt,
            "model": commits[number].record.next.root.hex(),
            "loss": loss,
            "accuracy": accuracy,
        }
        for number, loss, accuracy in measured
    ]
    path.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".safetensors"])
def test_the_last_model_is_written_in_the_form_that_its_name_says(at_ledger, federation, job, ending):
    values, model = committed(federation, 2)
    said = at_ledger.json("job", "export", job, "--to", f"model{ending}")
    assert (said["round"], said["model"], said["file"]) == (2, model.root.hex(), f"model{ending}")
    assert said["state"].startswith("open until")
    state = load_file("model.safetensors") if ending == ".safetensors" else torch.load(f"model{ending}")
    assert list(state) == ["weight"]
    assert np.array_equal(state["weight"].numpy(), values.astype(np.float32))
    Path("another").touch()
    assert Path(f"model{ending}").stat().st_mode == Path("another").stat().st_mode
    assert [
        path.name for path in at_ledger.folder.iterdir() if "model" in path.name or path.name[:8] == ".galaxy-"
    ] == [f"model{ending}"]


def test_any_round_is_written_and_the_initial_model(at_ledger, federation, job):
    for number in (0, 1, 2):
        assert at_ledger.run("job", "export", job, "--round", number, "--to", "model.pt") == 0
        values, model = committed(federation, number)
        assert np.array_equal(torch.load("model.pt")["weight"].numpy(), values.astype(np.float32))
        assert f"round {number} (" in at_ledger.out
        assert model.root.hex() in at_ledger.out


@pytest.mark.parametrize(
    ("measured", "best"),
    [
        ([(1, 0.1, 0.9), (2, 0.5, 0.8)], 1),
        ([(1, 0.5, 0.8), (2, 0.1, 0.9)], 2),
        ([(1, 0.5, 0.9), (2, 0.4, 0.9)], 2),
        ([(1, 0.4, 0.9), (2, 0.4, 0.9)], 2),
        ([(1, 0.1, None), (2, 0.2, None)], 1),
        ([(1, -2.0, None), (2, 1.0, None)], 1),
        ([(1, 0.1, None), (2, float("nan"), None)], 1),
        ([(2, 0.9, None)], 2),
    ],
)
def test_the_best_round_is_the_one_with_the_highest_accuracy_or_else_the_lowest_loss(
    at_ledger, federation, job, measured, best
):
    measure(federation, at_ledger, *measured)
    assert at_ledger.json("job", "export", job, "--round", "best", "--to", "best.safetensors")["round"] == best


def test_a_model_that_is_missing_is_recomputed_from_the_updates(at_ledger, federation, job):
    values, model = committed(federation, 1)
    federation.content(model.content).unlink()
    assert at_ledger.run("job", "export", job, "--round", 1, "--to", "model.pt") == 0
    assert np.array_equal(torch.load("model.pt")["weight"].numpy(), values.astype(np.float32))


def test_a_model_that_is_not_the_ledgers_is_not_written(at_ledger, federation, job):
    history = federation.serve().history
    alter(federation.content(history.commits[2].record.next.content))
    alter(federation.content(history.commits[2].included[0].update.content))
    at_ledger.fails(7, "the model after round 2: .* nor can it be recomputed", "job", "export", job, "--to", "model.pt")
    assert not Path("model.pt").exists()


def test_a_lie_is_not_written(at_ledger, federation):
    """What was committed has the root that the ledger says, and yet is exported as what it is: audits judge it."""
    federation.submit(0, 1, 2)
    federation.commit(made_up(5))
    assert at_ledger.json("job", "export", federation.job, "--to", "model.pt")["round"] == 1
    assert np.array_equal(
        torch.load("model.pt")["weight"].numpy().ravel(), (made_up(5, PARAMETERS) / 2**24).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "model.onnx"], 2, "model.onnx ends in '.onnx', .* .pt, .pth, .bin .* or .safetensors"),
        (["--to", "model"], 2, "model ends in '', which is not a form"),
        (["--to", "nowhere/model.pt"], 2, "there is no folder nowhere: make it first"),
        (["--to", "folder.pt"], 2, "folder.pt is a folder: name a file"),
        ([], 2, "Missing option '--to'"),
        (["--to", "m.pt", "--round", "3"], 11, "round 3 of job .* is not committed: 2 of 2 rounds are"),
        (["--to", "m.pt", "--round", "-1"], 2, "'-1' is not a round: expected a number from 0"),
        (["--to", "m.pt", "--round", "first"], 2, "'first' is not a round: expected .* best or last"),
        (["--to", "m.pt", "--round", "best"], 2, "no measurements of job .*metrics.* --round N, or take --round last"),
    ],
)
def test_what_can_not_be_exported(at_ledger, job, arguments, code, said):
    Path("folder.pt").mkdir()
    at_ledger.fails(code, said, "job", "export", job, *arguments)


def test_a_job_without_a_committed_round_has_its_initial_model_alone(at_ledger, federation):
    at_ledger.fails(11, "no round of job .* is committed yet", "job", "export", federation.job, "--to", "model.pt")
    assert at_ledger.json("job", "export", federation.job, "--to", "m.pt", "--round", 0)["state"] == "initial"
    at_ledger.fails(23, "there is no job 999", "job", "export", 999, "--to", "model.pt")
