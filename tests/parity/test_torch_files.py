"""Files that the real torch wrote."""

import json

import numpy as np
import pytest
from live import reference

from jaxembed.convert.formats.torch_files import torch_tensors
from jaxembed.errors import UnsupportedModelError

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    reference("save_with_torch.py", str(folder))
    return folder


@pytest.mark.parametrize("file", ["zip.bin", "zip-dict.bin", "old.bin"])
def test_every_tensor_that_torch_saved_comes_back_byte_for_byte(file, saved):
    expected = json.loads((saved / "expected.json").read_text())
    found = torch_tensors(saved / file)
    assert list(found) == list(expected)
    for name, (dtype, shape, content) in expected.items():
        value = found[name].read()
        assert (value.dtype.name, list(value.shape)) == (dtype, shape), name
        assert value.tobytes().hex() == content, name


def test_a_modules_state_dict_is_read_and_a_module_refused_by_name(saved):
    found = torch_tensors(saved / "linear.pt")
    assert {name: stored.shape for name, stored in found.items()} == {"weight": (3, 4), "bias": (3,)}
    assert np.isfinite(found["weight"].read()).all()
    with pytest.raises(UnsupportedModelError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        torch_tensors(saved / "module.pt")
    with pytest.raises(UnsupportedModelError, match="more than a dict of tensors: model"):
        torch_tensors(saved / "nested.pt")
