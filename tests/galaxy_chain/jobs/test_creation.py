"""What the document of a created job says of its model."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from galaxy_chain.following.follower import JobFollower
from galaxy_chain.jobs.creation import create_job
from galaxy_chain.jobs.file import JobFile
from galaxy_chain.verify.verifier import Verifier
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import JobDocument

SOURCE = """\
from torch import nn

class Soft(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1))

class Shares(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)

    def forward(self, samples):
        scores = super().forward(samples.flatten(1)).square()
        return scores / scores.sum(dim=1, keepdim=True)

class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.LogSoftmax(dim=1))
"""
JOB = """\
name = "soft"
{output}
[model]
{model}
[train]
loss = "NLLLoss"
loss_options = {{ weight = [1, 1, 1, 1, 1, 2.5, 1, 1, 1, 1] }}
[terms]
rounds = 1
open = true
min_clients = 1
max_clients = 1
"""


def created(federation, folder, model, output=""):
    (folder / "model.py").write_text(SOURCE)
    (folder / "job.toml").write_text(JOB.format(model=model, output=output))
    job_file = JobFile.read(folder / "job.toml")
    job = create_job(
        federation.ledger(federation.node.accounts[0]), federation.deployment.rules, federation.store, job_file, folder
    )
    return JobDocument.from_bytes(federation.store.block(job.terms.spec))


@pytest.mark.parametrize(
    ("model", "output", "expected"),
    [
        ('builtin = "mlp"', "", "logits"),
        ('source = "model.py"\nclass = "Soft"', "", "probabilities"),
        ('source = "model.py"\nclass = "Soft"', 'output = "logits"', "logits"),
        ('source = "model.py"\nclass = "Shares"', 'output = "probabilities"', "probabilities"),
    ],
)
def test_it_says_what_the_model_ends_in(federation, tmp_path, model, output, expected):
    document = created(federation, tmp_path, model, output)
    assert document.output == expected
    assert document.train.loss_options == {"weight": [1, 1, 1, 1, 1, 2.5, 1, 1, 1, 1]}


def test_where_that_can_not_be_told_the_job_file_has_to_say_it(federation, tmp_path):
    with pytest.raises(JobDocumentError, match="what the model Shares ends in can't be told .* or in the job file"):
        created(federation, tmp_path, 'source = "model.py"\nclass = "Shares"')
    with pytest.raises(JobDocumentError, match=r"job.toml:2: output: .*softmax"):
        created(federation, tmp_path, 'builtin = "mlp"', 'output = "softmax"')


def test_a_server_optimizer_comes_from_the_job_file_and_is_registered_with_its_moments(federation, tmp_path):
    rule = 'rule = {name = "fedadam", learning_rate = 0.03}'
    document = created(federation, tmp_path, 'source = "model.py"\nclass = "Normed"', rule)
    assert (document.rule.learning_rate, document.rule.tau, document.lanes) == (0.03, 0.001, 4)
    assert document.averaged == ["2.running_mean", "2.running_var"]
    ledger = federation.ledger()
    follower = JobFollower(ledger, ledger.jobs())
    verifier = Verifier(federation.store, follower.history.terms, document)
    assert verifier.model_after(follower.history, 0).stat().st_size == 16 * document.tensors.parameters


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{name = "fedadam", momentum = 0.9}', "rule: the rule fedadam has no momentum"),
        ('{name = "fedavgm", momentum = 1}', "momentum is 1.0, and fedavgm takes 0 to 0.999999"),
        ('{name = "fedavgm", parameters = 1}', "the rule fedavgm has no parameters"),
        ('{name = "fedprox"}', "there is no rule 'fedprox'"),
    ],
)
def test_a_job_file_with_a_rule_that_can_not_be_is_refused(federation, tmp_path, rule, message):
    with pytest.raises(JobDocumentError, match=message):
        created(federation, tmp_path, 'builtin = "mlp"', f"rule = {rule}")


def test_the_parts_of_a_model_come_from_the_job_file(federation, tmp_path):
    document = created(federation, tmp_path, 'builtin = "mlp"', 'personal = ["3.*"]\nfrozen = ["1.bias"]')
    assert [tensor.name for tensor in document.tensors.tensors] == ["1.weight"]
    assert [tensor.name for tensor in document.personal] == ["3.weight", "3.bias"]
    assert [tensor.name for tensor in document.frozen] == ["1.bias"]
    base = load_file(federation.store.path(document.base.id))
    assert base.keys() == {"3.weight", "3.bias", "1.bias"}
    assert document.base.content in federation.store.pins()
    whole = created(federation, tmp_path, 'builtin = "mlp"')
    assert (whole.personal, whole.frozen, whole.base) == ([], [], None)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ('personal = ["4.*"]', r"personal: '4.\*' fits none of the model's 4 tensors; there are '1.weight', '1.bias'"),
        ('personal = ["3.*"]\nfrozen = ["*.bias"]', r"'3.bias' is frozen by '\*.bias' and personal by '3.\*'"),
        ('frozen = "1.bias"', r"job.toml:2: frozen: .*list"),
        ('personal = ["a", "a"]', r"job.toml:2: personal: the pattern 'a' is there twice"),
        ('personal = ["*"]', "none of the model's 4 tensors is shared"),
    ],
)
def test_parts_that_are_not_the_models_are_refused_by_name(federation, tmp_path, parts, said):
    with pytest.raises(JobDocumentError, match=said):
        created(federation, tmp_path, 'builtin = "mlp"', parts)


def test_a_distillation_has_no_personal_part(tmp_path):
    text = JOB.format(model='builtin = "mlp"', output='distillation_alpha = 0.5\npersonal = ["3.*"]')
    (tmp_path / "job.toml").write_text(text + '[rule]\nname = "relay"\n')
    with pytest.raises(JobDocumentError, match="in a distillation each client has its whole model to itself"):
        JobFile.read(tmp_path / "job.toml")


STEPS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def training_step(self, batch):
        samples, targets = batch
        return nn.functional.cross_entropy(self.layer(samples.flatten(1)), targets)
"""


def test_a_models_own_step_and_how_steps_are_taken_come_from_the_job_file(federation, tmp_path):
    (tmp_path / "model.py").write_text(STEPS)
    text = JOB.format(model='source = "model.py"\nclass = "Net"', output="")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("loss"))
    chosen = '[train]\naccumulate = 2\nclip_norm = 1.0\nprecision = "bf16"\nproximal = 0.1\n'
    (tmp_path / "job.toml").write_text(text.replace("[train]\n", chosen))
    ledger, rules = federation.ledger(federation.node.accounts[0]), federation.deployment.rules
    job = create_job(ledger, rules, federation.store, JobFile.read(tmp_path / "job.toml"), tmp_path)
    train = JobDocument.from_bytes(federation.store.block(job.terms.spec)).train
    assert train.loss == "training_step"
    assert (train.accumulate, train.clip_norm, train.precision, train.proximal) == (2, 1.0, "bf16", 0.1)
    (tmp_path / "job.toml").write_text(text.replace("[train]\n", "[train]\nproximal = -1.0\n"))
    with pytest.raises(JobDocumentError, match=r"job.toml:\d+: train.proximal: .*greater than or equal to 0"):
        JobFile.read(tmp_path / "job.toml")
