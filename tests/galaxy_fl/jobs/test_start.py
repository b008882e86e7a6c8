"""A job that begins with another job's model, or with a file's, tensor by tensor and to the bit."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import galaxy_fl as galaxy
from galaxy_fl.exceptions import ConfigurationError, JobDocumentError
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.start import Start, begin_with, check_start, round_of_job
from galaxy_fl.modes.job_folder import JobsFolder
from galaxy_fl.vectors import Layout, TensorLayout
from tests.galaxy_fl.participants.test_best_and_early_stop import client, run, server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(rounds=1, **more) -> galaxy.Job:
    return galaxy.Job(model="mlp", rounds=rounds, **more)


def test_a_job_begins_with_the_model_of_another_to_the_bit(folder):
    first = galaxy.submit(job(2), clients=1)
    run(client(), server())
    jobs = JobsFolder(folder)
    models = [(jobs.open(first).path / "models" / str(number)).read_bytes() for number in (1, 2, 3)]
    for start, expected in ((f"{first}:0", 0), (f"{first}:1", 1), (f"{first}:last", 2)):
        later = jobs.open(galaxy.submit(job(start=start, train=galaxy.Train(seed=9))))
        assert (later.path / "models" / "1").read_bytes() == models[expected]
        assert later.document.layout == jobs.open(first).document.layout
        assert (later.state.round, later.document.train.seed) == (1, 9)  # rounds are counted anew
    # A file has the values, and finds its layout by itself.
    file = jobs.open(galaxy.submit(job(start=f"final_model_pars_{first}.safetensors")))
    assert (file.path / "models" / "1").read_bytes() == models[2]
    with pytest.raises(ConfigurationError, match=rf"start names round 3 of job {first}, of which 2 are committed"):
        galaxy.submit(job(start=f"{first}:3"))
    with pytest.raises(ConfigurationError, match=r"best_model_pars_JOB\.safetensors"):
        galaxy.submit(job(start=f"{first}:best"))
    with pytest.raises(JobDocumentError, match=r"start: tensor 1 of this job's model is .* and that of round 2 of job"):
        galaxy.submit(galaxy.Job(model="cnn", rounds=1, start=f"{first}:last"))


def test_a_file_is_compared_tensor_by_tensor(folder):
    galaxy.submit(job(), clients=1)
    run(client(), server())
    [good] = folder.glob("final_model_pars_*.safetensors")
    state = load_file(good)
    first = next(iter(state))
    for changed, message in (
        ({name: value for name, value in state.items() if name != first}, f"has no tensor '{first}', which the model"),
        (state | {"more": torch.zeros(1)}, "has a tensor 'more', which the model does not have"),
        (state | {first: torch.zeros(3)}, rf"tensor '{first}' of .* has the shape \(3,\), and the model's has"),
        (state | {first: state[first].double()}, rf"tensor '{first}' of .* has the type torch.float64"),
    ):
        save_file(changed, "other.safetensors")
        with pytest.raises(JobDocumentError, match=message):
            galaxy.submit(job(start="other.safetensors"))
    (folder / "broken.safetensors").write_bytes(b"\x80\x04pickled")
    for name in ("broken", "missing"):
        with pytest.raises(JobDocumentError, match=f"{name}.safetensors can't be read as safetensors"):
            galaxy.submit(job(start=f"{name}.safetensors"))
    assert len(JobsFolder(folder).ids()) == 1


def test_an_instance_stays_as_it_was(folder, monkeypatch):
    (folder / "net_of_start.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 4)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    mine = importlib.import_module("net_of_start").Net()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    save_file({name: torch.full_like(value, 0.5) for name, value in before.items()}, "half.safetensors")
    begun = galaxy.submit(galaxy.Job(model=mine, rounds=1, output="logits", start="half.safetensors"))
    vector = np.fromfile(JobsFolder(folder).open(begun).path / "models" / "1", "<i4")
    assert set(vector.tolist()) == {2**23}
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())


@pytest.mark.parametrize("wrong", ["model.pt", "7:", "7:-1", "../7:1", "7:first", "", 7])
def test_what_is_no_start_is_named(wrong):
    with pytest.raises(JobDocumentError, match=r"start is|expected str"):
        job(start=wrong)
    if isinstance(wrong, str):
        with pytest.raises(ValueError, match="expected JOB:ROUND"):
            check_start(wrong)
        assert round_of_job(wrong) is None


def document(*tensors: TensorLayout, **more) -> JobDocument:
    layout = Layout(tensors).padded().to_json()
    return JobDocument(name="any", model=BuiltinModel(builtin="mlp"), layout=layout, **more)


def test_other_fraction_bits_round_half_to_even_and_have_a_range():
    given = document(TensorLayout("a", (4,), 24), TensorLayout("b", (5,), 24))
    vector = np.array([2**24, 3, 5, -3, 1, 1, 1, 1, 2**30], np.int32)
    start = Start("round 1 of job 7", given, vector)
    fresh = document(TensorLayout("a", (4,), 20), TensorLayout("b", (5,), 16))
    begun, same = begin_with(fresh, start, {})
    assert begun.layout == given.layout
    assert same is vector
    begun, scaled = begin_with(fresh, start, {"a": 23})
    assert begun.tensors.tensors[0].fraction_bits == 23
    assert scaled.tolist() == [2**23, 2, 2, -2, 1, 1, 1, 1, 2**30]
    with pytest.raises(JobDocumentError, match=r"'b' of round 1 of job 7 does not fit 26 fraction bits.*reach to 32"):
        begin_with(fresh, start, {"b": 26})
    with pytest.raises(JobDocumentError, match="names 'c', which fits none"):
        begin_with(fresh, start, {"c": 26})


def test_what_is_sealed_is_not_published_by_a_job_that_begins_with_it():
    tensor = TensorLayout("a", (9,))
    start = Start("round 1 of job 7", document(tensor, seal="members"), np.zeros(9, np.int32))
    with pytest.raises(JobDocumentError, match="round 1 of job 7 is sealed.*seal = 'members', too"):
        begin_with(document(tensor), start, {})
    assert begin_with(document(tensor, seal="members"), start, {})[0].seal == "members"


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([TensorLayout("a", (4,))], "has a tensor 'b', which this job's model lacks"),
        ([TensorLayout("a", (4,)), TensorLayout("b", (5,)), TensorLayout("c", (1,))], "is 'c', and that of .* no more"),
        ([TensorLayout("b", (5,)), TensorLayout("a", (4,))], "tensor 1 of this job's model is 'b', and that of .* 'a'"),
        ([TensorLayout("a", (2, 2)), TensorLayout("b", (5,))], r"has the shape \(4,\), and this job's has \(2, 2\)"),
    ],
)
def test_tensors_are_compared_one_by_one(own, message):
    given = document(TensorLayout("a", (4,)), TensorLayout("b", (5,)))
    with pytest.raises(JobDocumentError, match=message):
        begin_with(document(*own), Start("round 1 of job 7", given, np.zeros(9, np.int32)), {})
