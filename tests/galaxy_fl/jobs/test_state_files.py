"""Files of a state_dict, written without PyTorch: PyTorch and safetensors read them, mapped or not."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from galaxy_fl.exceptions import TrainingError
from galaxy_fl.jobs.local_tensors import BYTES
from galaxy_fl.jobs.state_files import (
    ALIGNMENT,
    NAMES,
    StoredTensor,
    stored_in,
    write_safetensors,
    write_state_dict,
)

SHAPES = [(), (1,), (3,), (0,), (0, 3), (3, 0), (2, 3, 4), (1, 1, 5)]


def state_of(kinds):
    """A state_dict of all of these types and shapes, of values whose bytes differ."""
    state, random = {}, np.random.default_rng(0)
    for kind in kinds:
        for shape in SHAPES:
            dtype = getattr(torch, kind)
            size = int(np.prod(shape)) * BYTES[kind]
            content = random.integers(0, 2 if kind == "bool" else 256, size, dtype=np.uint8)
            flat = torch.frombuffer(bytearray(content), dtype=dtype) if size else torch.empty(0, dtype=dtype)
            state[f"{kind} of “{shape}”"] = flat.reshape(shape)
    return state


def stored(state):
    def one(value):
        flat = torch.view_as_real(value) if value.is_complex() else value
        content = flat.reshape(-1).view(torch.uint8).numpy()
        return StoredTensor(str(value.dtype).removeprefix("torch."), value.shape, lambda: content)

    return {name: one(value) for name, value in state.items()}


def bits(value):
    value = torch.view_as_real(value) if value.is_complex() else value
    return value.contiguous().reshape(-1).view(torch.uint8)


def same(left, right):
    assert list(left) == list(right)
    for name, value in left.items():
        other = right[name]
        assert (value.dtype, value.shape, value.stride()) == (other.dtype, other.shape, other.stride()), name
        assert torch.equal(bits(value), bits(other)), name


@pytest.mark.parametrize("mapped", [False, True])
def test_torch_reads_what_was_written_as_if_torch_had_written_it(tmp_path, mapped):
    state = state_of(BYTES)
    write_state_dict(tmp_path / "ours", stored(state))
    torch.save(state, tmp_path / "theirs")
    found = torch.load(tmp_path / "ours", weights_only=True, mmap=mapped)
    same(found, state)
    same(found, torch.load(tmp_path / "theirs", weights_only=True, mmap=mapped))
    assert all(not value.requires_grad for value in found.values())
    storages = {value.untyped_storage().data_ptr() for value in found.values() if value.numel()}
    assert len(storages) == sum(value.numel() > 0 for value in found.values())


def test_contents_begin_where_a_map_is_aligned(tmp_path):
    write_state_dict(tmp_path / "model", stored(state_of(BYTES)))
    content = (tmp_path / "model").read_bytes()
    with zipfile.ZipFile(tmp_path / "model") as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            at = entry.header_offset
            lengths = (int.from_bytes(content[at + place : at + place + 2], "little") for place in (26, 28))
            assert (at + 30 + sum(lengths)) % ALIGNMENT == 0, entry.filename


def test_safetensors_reads_what_was_written(tmp_path):
    state = state_of(NAMES)
    write_safetensors(tmp_path / "ours", stored(state))
    save_file(state, tmp_path / "theirs")
    found = load_file(tmp_path / "ours")
    same({name: found[name] for name in state}, state)
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


def test_what_is_in_a_file_is_mapped(tmp_path):
    state = state_of(NAMES)
    save_file(state, tmp_path / "file", metadata={"format": "pt"})
    found = stored_in(tmp_path / "file")
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].tobytes() == bits(value).numpy().tobytes()


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_state_dict(tmp_path / name, stored(state_of(BYTES)))
        write_safetensors(tmp_path / f"{name}.safetensors", stored(state_of(NAMES)))
    for suffix in ("", ".safetensors"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


def test_complex_numbers_that_safetensors_does_not_have_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="'window' is complex128"):
        write_safetensors(tmp_path / "model", stored({"window": torch.ones(2, dtype=torch.complex128)}))


def test_numbers_beyond_32_bits_are_written(tmp_path):
    """As of a tensor of 2**32 bytes, whose instructions alone are made."""
    from galaxy_fl.jobs.state_files import _number

    assert _number(2**31 - 1) == b"J\xff\xff\xff\x7f"
    assert _number(2**31) == b"\x8a\x08" + (2**31).to_bytes(8, "little")


def test_nothing_of_it_imports_torch():
    program = (
        "import sys, json, galaxy_fl.jobs.final_model; print(json.dumps([m for m in sys.modules if m == 'torch']))"
    )
    assert json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout) == []
