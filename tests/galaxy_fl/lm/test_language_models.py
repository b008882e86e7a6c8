"""Language models: texts as samples, the loss and perplexity, bases, adapters in peft's format, sizes."""

from __future__ import annotations

import doctest
import importlib
import math
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from galaxy_fl.data.batches import Collated
from galaxy_fl.exceptions import ConfigurationError, DataError, JobDocumentError
from galaxy_fl.jobs.job import Job
from galaxy_fl.jobs.preparing import prepare
from galaxy_fl.jobs.specification import TrainSpecification
from galaxy_fl.jobs.train import Train
from galaxy_fl.lm import CausalLM, Sizes, Texts, perplexity, poems
from galaxy_fl.lm.libraries import quietly
from galaxy_fl.training.frozen_weights import from_elsewhere
from galaxy_fl.training.trainer import evaluate, train
from galaxy_fl.worker.loaded_job import LoadedJob

pytestmark = pytest.mark.xdist_group("language-models")

STEP = TrainSpecification(loss="training_step", optimizer="AdamW", learning_rate=0.01, batch_size=4)


class Llama(CausalLM):
    config = {
        "model_type": "llama",
        "vocab_size": 257,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "tie_word_embeddings": True,
    }
    lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}


class GPT2(CausalLM):
    config = {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    lora = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    dtype = "bfloat16"


class Dora(Llama):
    """Part of its adapters is made from the base's weights."""

    lora = Llama.lora | {"use_dora": True, "modules_to_save": ["norm"]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[pytest.param(Llama, marks=pytest.mark.extended), GPT2])
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    """A base of the kind, as transformers writes it."""
    return base(kind, tmp_path / "base")


def base(kind, folder):
    torch.manual_seed(1)
    with quietly():
        kind._random_base().save_pretrained(folder)
    return folder


def trained(model):
    """The model, with adapters that do something."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))) / 4)
    return model.eval()


IDS = torch.arange(24).reshape(2, 12)


def test_texts_are_windows_of_one_text_each_by_bytes_or_a_tokenizer():
    texts = Texts(["abcde", "", "fg"], length=4)
    assert [sample["input_ids"].tolist() for sample in texts] == [[97, 98, 99, 100], [101, 256], [102, 103, 256]]
    assert all(bool(sample["attention_mask"].all()) for sample in texts)

    class Words:
        eos_token_id = 0

        def encode(self, text):
            return [len(word) for word in text.split()]

    assert Texts(["to be or not"], Words())[0]["input_ids"].tolist() == [2, 2, 2, 3, 0]
    for wrong, message in (
        ({"texts": "abc"}, "of one text, give"),
        ({"texts": [""]}, "no text of two tokens"),
        ({"texts": ["ab"], "length": 1}, "length is 1, expected a whole number from 2 on"),
        ({"texts": ["ab"], "tokenizer": "gpt2"}, "tokenizer is 'gpt2', expected None or one with encode"),
    ):
        with pytest.raises(DataError, match=message):
            Texts(**wrong)
    with pytest.raises(DataError, match="choose one of blake, dickinson, shakespeare"):
        poems("homer")


def test_perplexity_is_by_tokens_whatever_the_batches_and_padding(kind):
    torch.manual_seed(0)
    model = trained(kind())
    texts = Texts([poems("blake")[3], "So"], length=32)
    losses, tokens = 0.0, 0
    with torch.no_grad():
        for sample in texts:
            ids = sample["input_ids"][None]
            logits = model.lm(input_ids=ids).logits[0, :-1].float()
            losses += float(functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            tokens += ids.shape[1] - 1
    expected = math.exp(losses / tokens)
    tolerance = 1e-5 if kind is Llama else 1e-2  # bfloat16
    for size in (3, 100):
        assert perplexity(model, texts, batch_size=size) == pytest.approx(expected, rel=tolerance)
    found = evaluate(model, Collated(texts, model.collate), STEP)
    assert found.metrics["perplexity"] == pytest.approx(math.exp(found.loss))


def test_labels_say_what_is_predicted():
    torch.manual_seed(0)
    model = Llama().eval()
    labels = IDS.clone()
    labels[:, :10] = -100
    found = model.training_step({"input_ids": IDS, "labels": labels})
    assert int(found["weight"]) == 4
    logits = model(IDS)[:, 9:11]
    torch.testing.assert_close(found["loss"], functional.cross_entropy(logits.flatten(0, 1), IDS[:, 10:].flatten()))
    batch = Llama.collate([{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4, 5], "labels": [4, 5]}])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 2, 3], [4, 5, -100]]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"ids": IDS}, "a sample has ids, expected a dict with input_ids"),
        ({"input_ids": IDS + 250}, "a token is 273, and the model's vocabulary has 257"),
        ({"input_ids": torch.zeros(1, 40, dtype=torch.int64)}, "a sample has 40 tokens, and the model takes 32"),
        ({"input_ids": IDS, "attention_mask": torch.zeros_like(IDS)}, "no token to predict"),
        ({"input_ids": IDS.float()}, r"input_ids have shape \(2, 12\) and type torch.float32"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch, message):
    with pytest.raises(DataError, match=message):
        Llama().training_step(batch)


def test_a_base_comes_from_a_folder_and_keeps_its_type(kind, folder):
    torch.manual_seed(2)
    model = kind.with_base(folder)
    saved = load_file(folder / "model.safetensors")
    dtype = torch.float32 if kind is Llama else torch.bfloat16
    assert {value.dtype for value in model.parameters() if not value.requires_grad} == {dtype}
    assert {value.dtype for value in model.parameters() if value.requires_grad} == {torch.float32}
    own = {name.replace(".base_layer", ""): value for name, value in model.lm.get_base_model().named_parameters()}
    assert saved
    assert all(torch.equal(own[name], value) for name, value in saved.items())
    head, embedding = (module().weight for module in (model.lm.get_output_embeddings, model.lm.get_input_embeddings))
    assert head is embedding


def test_bases_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no folder .*gone: give one with config.json and model.safe"):
        Llama.with_base(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="empty has no model that can be read"):
        Llama.with_base(tmp_path / "empty")
    wide = type("Wide", (Llama,), {"config": Llama.config | {"intermediate_size": 48}})
    with pytest.raises(
        JobDocumentError, match=r"gate_proj.weight' of shape \(48, 16\), Llama.config makes it \(32, 16"
    ):
        Llama.with_base(base(wide, tmp_path / "wide"))
    for name, value, message in (
        ("config", {"vocab_size": 5}, "config of Wrong: it has no model_type, such as 'llama'"),
        ("config", {"model_type": "lama"}, "config of Wrong: .*lama"),
        ("lora", {"rank": 8}, "lora of Wrong: .*rank"),
        ("lora", {"target_modules": ["q_project"]}, "lora of Wrong: .*q_project"),
        ("base", "nowhere", "there is no folder nowhere"),
        ("dtype", "int4", "dtype of Wrong is 'int4', expected one of float32, bfloat16, float16"),
    ):
        with pytest.raises((ConfigurationError, JobDocumentError), match=message):
            type("Wrong", (Llama,), {name: value})()


@pytest.mark.parametrize("kind", [Llama, GPT2, Dora], indirect=True)
def test_adapters_go_out_and_in_again_in_pefts_format(kind, folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = trained(kind.with_base(folder))
    model.export_adapter(tmp_path / "adapter", base=folder)
    with quietly():
        dtype = next(model.parameters()).dtype
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    assert theirs.peft_config["default"].base_model_name_or_path == str(folder)
    with torch.no_grad():
        expected = model(IDS)
        assert torch.equal(theirs(input_ids=IDS).logits, expected)
        assert not torch.equal(kind.with_base(folder).eval()(IDS), expected)
        assert torch.equal(kind.with_base(folder).load_adapter(tmp_path / "adapter").eval()(IDS), expected)
    other = type("Other", (kind,), {"lora": kind.lora | {"r": 3}})
    with pytest.raises(
        ConfigurationError, match=r"lora_A.weight' of shape \[2, 16\], .* \[3, 16\]: give the model the r"
    ):
        other.with_base(folder).load_adapter(tmp_path / "adapter")
    with pytest.raises(ConfigurationError, match="base has no adapter_model.safetensors that can be read"):
        model.load_adapter(folder)
    with pytest.raises(ConfigurationError, match="model.safetensors has no tensor 'lm.base_model"):
        model.load_trained(folder / "model.safetensors")


def test_a_job_carries_the_adapters_and_the_base_once(kind, folder, tmp_path):
    model = kind.with_base(folder)
    request = prepare(Job(model=model, rounds=1, train=Train(batch_size=4)), "1")
    document = request.document
    assert document.train.loss == "training_step"
    assert all(".lora_" in tensor.name for tensor in document.tensors.tensors)
    assert document.tensors.parameters == Sizes.of(kind).parameters
    assert {tensor.type for tensor in document.frozen} == {kind.dtype}
    # Tied tensors are in the base once.
    assert 0 < document.base.size - Sizes.of(kind).base_bytes < 4000
    assert request.base is not None
    loaded = LoadedJob(document, request.source.decode(), request.base.path).build()
    state = model.state_dict()
    for name, value in loaded.state_dict().items():
        if ".lora_" not in name:
            assert torch.equal(value, state[name]), name
    assert {name for name, value in loaded.named_parameters() if value.requires_grad} == {
        tensor.name for tensor in document.tensors.tensors
    }
    # Nobody may change a base, which is mapped.
    before = {name: value.clone() for name, value in loaded.state_dict().items() if ".lora_" not in name}
    train(loaded, Collated(Texts(poems("blake")[:1], length=32), loaded.collate), STEP, seed=3)
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in before.items())


def test_room_is_made_for_a_base_without_its_weights(monkeypatch):
    """No weight of it is drawn, which for gigabytes takes minutes, and adapters begin as ever."""
    drawn = []
    normal = torch.Tensor.normal_
    monkeypatch.setattr(
        torch.Tensor, "normal_", lambda self, *a, **k: drawn.append(self.shape) or normal(self, *a, **k)
    )
    Llama()
    assert drawn
    drawn.clear()
    with from_elsewhere():
        model = Llama()
        assert not drawn
        assert all(bool(value.isfinite().all()) for value in Dora().parameters())
    adapters = dict(model.named_parameters())
    assert all(bool(value.any()) for name, value in adapters.items() if "lora_A" in name)
    assert not any(bool(value.any()) for name, value in adapters.items() if "lora_B" in name)


def test_sizes_are_counted_without_making_a_model():
    class Large(Llama):
        config = Llama.config | {"hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 8}
        dtype = "bfloat16"

    sizes = Sizes.of(Large)
    assert sizes.base_bytes == 2 * sizes.base_parameters > 2**35
    assert sizes.parameters == 8 * 2 * 2 * (16384 + 16384)
    assert (sizes.vector_bytes, sizes.round_bytes, sizes.tensors) == (4 * sizes.parameters, 8 * sizes.parameters, 32)


@pytest.mark.parametrize("name", ["transformers", "peft"])
def test_a_missing_package_names_the_extra(name):
    program = f"""
import sys
sys.modules[{name!r}] = None
import galaxy_fl
import galaxy_fl.lm
assert "torch" not in sys.modules
from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.lm.libraries import libraries
try:
    libraries()
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == (f"language models need {name}, which is not installed here: pip install 'galaxy-fl[lm]'\n")


def test_the_table_of_the_documentation_is_what_its_script_counts(capsys, monkeypatch):
    root = Path(__file__).parents[3]
    monkeypatch.setattr(sys, "argv", ["language_models.py"])
    runpy.run_path(str(root / "scripts" / "bench" / "language_models.py"), run_name="__main__")
    page = (root / "docs" / "how-to" / "language-models.md").read_text()
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert all(row in page for row in rows)


@pytest.mark.parametrize("name", ["texts", "sizes"])
def test_examples_of_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"galaxy_fl.lm.{name}")).failed == 0
