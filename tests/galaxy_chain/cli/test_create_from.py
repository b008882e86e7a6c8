"""galaxy-chain job create --from: a job begins with another's model, verified against the ledger."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

JOB = """\
name = "{name}"
{start}
[model]
builtin = "mlp"
[train]
seed = {seed}
[terms]
rounds = 1
open = true
min_clients = 1
max_clients = 1
"""


def job_file(folder, name, seed=0, start=""):
    (folder / f"{name}.toml").write_text(JOB.format(name=name, seed=seed, start=start))
    return f"{name}.toml"


def create(at_ledger, *arguments):
    return at_ledger.json("job", "create", *arguments, "--account", "dev:0")


def initial(federation, job):
    return federation.ledger().job_of(job["job"]).root


def test_a_job_begins_with_the_model_of_another(at_ledger, federation):
    first = create(at_ledger, job_file(at_ledger.folder, "first"))
    other = create(at_ledger, job_file(at_ledger.folder, "other", seed=5))
    assert initial(federation, first) != initial(federation, other)
    later = create(at_ledger, "other.toml", "--from", f"{first['job']}:0")
    assert initial(federation, later) == initial(federation, first)
    assert later["start"] == f"round 0 of job {first['job']}"
    said = create(at_ledger, job_file(at_ledger.folder, "says", 5, f'start = "{first["job"]}:0"'))
    assert initial(federation, said) == initial(federation, first)


def test_a_job_begins_with_a_file(at_ledger, federation):
    first = create(at_ledger, job_file(at_ledger.folder, "first"))
    exported = at_ledger.json("job", "export", first["job"], "--round", "0", "--to", "model.safetensors")
    assert exported["round"] == 0
    later = create(at_ledger, job_file(at_ledger.folder, "later", 5, 'start = "model.safetensors"'))
    assert initial(federation, later) == initial(federation, first)
    assert initial(federation, create(at_ledger, job_file(at_ledger.folder, "plain", 5), "--from", "model.safetensors"))
    save_file({"more": np.zeros(3, np.float32)}, at_ledger.folder / "wrong.safetensors")
    at_ledger.fails(3, "start: ", "job", "create", "plain.toml", "--from", "wrong.safetensors", "--account", "dev:0")


@pytest.mark.parametrize(
    ("start", "code", "message"),
    [
        ("model.pt", 2, "expected JOB:ROUND, such as '7:12' or '7:last', or a file that ends in .safetensors"),
        ("seven:1", 2, "names the job 'seven', expected its number on the ledger"),
        ("JOB:1", 11, "round 1 of job"),
        ("JOB:last", 11, "no round of job"),
        ("JOB:0", 3, "start: tensor 1 of this job's model is "),
        ("99:0", 23, "99"),
    ],
)
def test_what_is_no_model_to_begin_with_is_named(at_ledger, federation, start, code, message):
    before = federation.ledger().jobs()
    start = start.replace("JOB", str(federation.job))
    file = job_file(at_ledger.folder, "a")
    at_ledger.fails(code, message, "job", "create", file, "--from", start, "--account", "dev:0")
    assert federation.ledger().jobs() == before
