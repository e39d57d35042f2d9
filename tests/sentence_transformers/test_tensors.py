"""Where sentence-transformers gives torch tensors and torch is not installed, its commonest words work on what is given."""

import numpy as np
import pytest
from refusals import refused

from jaxembed import tensors
from jaxembed.tensors import Tensor, array, tensor

VALUES = np.array([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]], np.float32)


@pytest.fixture
def got(monkeypatch):
    monkeypatch.setattr(tensors, "has_torch", lambda: False)
    return tensor(VALUES.copy())


def test_the_words_that_follow_a_tensor_most_often_work(got):
    assert type(got) is Tensor
    assert type(got.cpu().detach().numpy()) is np.ndarray
    np.testing.assert_array_equal(got.to("cpu").float().contiguous().clone(), VALUES)
    assert got.tolist() == VALUES.tolist()
    assert (got.dim(), got.numel(), got.device) == (2, 6, "cpu")
    assert (got.size(), got.size(0), got.size(-1), got.size) == ((2, 3), 2, 3, 6)
    assert got.unsqueeze(0).shape == (1, 2, 3)
    assert got.unsqueeze(0).squeeze(0).squeeze(1).shape == (2, 3)
    assert got.view(3, 2).shape == got.view((3, 2)).shape == (3, 2)
    assert got.t().mm(got).shape == (3, 3)
    np.testing.assert_allclose(got.norm(dim=1), np.linalg.norm(VALUES, axis=1))
    np.testing.assert_allclose(got.norm(), np.linalg.norm(VALUES))


def test_indexing_gives_what_takes_the_same_words(got):
    one = got[1][2]
    assert (float(one), one.item(), one.cpu().numpy(), round(one, 1), f"{one:.1f}") == (5.0, 5.0, 5.0, 5.0, "5.0")
    assert got[0, 1].dim() == 0
    assert float(got[:1, :1]) == 3.0
    np.testing.assert_array_equal(got[got.argmax(dim=1)[:1]], VALUES[:1])
    assert [type(row) for row in got] == [Tensor, Tensor]


def test_dim_means_what_it_means_in_torch(got):
    best = got.max(dim=1)
    assert (best.values.tolist(), best.indices.tolist()) == ([3.0, 6.0], [0, 1])
    assert got.min(0).indices.tolist() == [0, 0, 0]
    assert float(got.max()) == 6.0
    assert got.mean(dim=0).tolist() == [3.5, 3.5, 3.5]
    assert got.sum(1, keepdim=True).shape == (2, 1)
    values, places = got.topk(2)
    assert (values.tolist(), places.tolist()) == ([[3.0, 2.0], [6.0, 5.0]], [[0, 2], [1, 2]])
    assert got.topk(1, largest=False).indices.tolist() == [[1], [0]]
    assert got.sort(descending=True).indices.tolist() == [[0, 2, 1], [1, 2, 0]]
    assert got.argsort(dim=0, descending=True).tolist() == [[1, 1, 1], [0, 0, 0]]
    with refused("k", "4", "3"):
        got.topk(4)


def test_numpy_goes_on_meaning_what_it_means(got):
    np.testing.assert_array_equal(np.max(got, axis=1), [3, 6])
    np.testing.assert_array_equal(np.sort(got), np.sort(VALUES))
    np.testing.assert_array_equal(np.argsort(got, axis=0), np.argsort(VALUES, axis=0))
    np.testing.assert_array_equal(np.sum(got, axis=0, keepdims=True), VALUES.sum(0, keepdims=True))
    np.testing.assert_allclose(np.linalg.norm(got, axis=-1), np.linalg.norm(VALUES, axis=-1))
    assert np.stack([got, got]).shape == (2, 2, 3)


def test_types_and_devices_are_those_that_there_are(got):
    assert (got.half().dtype, got.long().dtype, got.bool().dtype) == (np.float16, np.int64, np.bool_)
    assert got.to("torch.float16").dtype == got.to(dtype="float16").dtype == np.float16
    with refused("device", "cuda"):
        got.to("cuda")


def test_vectors_of_every_kind_are_read():
    class Torch:
        """What a torch tensor on another device answers."""

        def detach(self):
            return self

        def cpu(self):
            return VALUES[0]

    np.testing.assert_array_equal(array([Torch(), Torch()]), VALUES[[0, 0]])
    assert type(array(VALUES.view(Tensor))) is np.ndarray
    assert array([[1, 2], [3, 4]]).shape == (2, 2)


def test_torch_is_asked_only_where_it_is_installed():
    import sys

    tensor(VALUES)
    assert ("torch" in sys.modules) == tensors.has_torch()
