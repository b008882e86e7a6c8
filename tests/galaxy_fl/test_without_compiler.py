"""torchvision's models need none of torch's compiler, which is there for whoever compiles."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

MODEL = """
    import sys

    from galaxy_fl.training.models import find_builder

    model = find_builder("torchvision:resnet18")(num_classes=3)
    loaded = sys.modules.keys() & {"torch._dynamo", "torch._dynamo.utils", "sympy"}
    assert not loaded, loaded

    import torch
    from torchvision.ops import RoIAlign, roi_align

    images, boxes = torch.rand(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
    assert torch.equal(roi_align(images, boxes, 2), RoIAlign(2, 1.0, -1)(images, boxes))
    assert torch.equal(torch.compile(lambda x: x + 1, backend="eager")(images), images + 1)
    from torch._dynamo.utils import is_compile_supported
    from torchvision.ops import roi_align as function
    assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu") == is_compile_supported("cpu")
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
"""
COMPILER_FIRST = """
    import sys

    import torch._dynamo
    from torch._dynamo.utils import is_compile_supported

    from galaxy_fl.training.models import find_builder

    find_builder("torchvision:resnet18")(num_classes=3)
    assert sys.modules["torchvision.ops.roi_align"].is_compile_supported is is_compile_supported
"""
DATA = """
    import sys
    from pathlib import Path

    from galaxy_fl.data.datasets import load
    from galaxy_fl.exceptions import DataError

    try:
        load("mnist", "train", root=Path("nothing is here"))
    except DataError:
        assert "torchvision.datasets" in sys.modules
        assert "torch._dynamo" not in sys.modules
    else:
        raise AssertionError
"""


@pytest.mark.parametrize("program", [MODEL, pytest.param(COMPILER_FIRST, marks=pytest.mark.extended), DATA])
def test_the_compiler_is_imported_for_who_compiles(program):
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=600)
