"""Saves tensors with the real torch.save, in both layouts, and their bytes beside: python save_with_torch.py FOLDER"""

import collections
import json
import sys
from pathlib import Path

import torch

folder = Path(sys.argv[1])
torch.manual_seed(0)
whole = torch.randn(6, 8)
tensors = collections.OrderedDict(
    whole=whole,
    tied=whole,
    transposed=whole.t(),
    cut=whole[1:, ::3],
    column=whole[:, 2:3],
    expanded=whole[:1].expand(4, 8),
    parameter=torch.nn.Parameter(torch.randn(3, 5)),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 7),
    flags=torch.tensor([True, False]),
    **{str(dtype).removeprefix("torch."): (torch.randn(4, 6) * 9).to(dtype) for dtype in (torch.float16, torch.bfloat16)},
    **{name: (torch.randn(4, 6) * 9).to(getattr(torch, name)) for name in ("float64", "int64", "int32", "int16", "int8")},
    **{name: (torch.rand(4, 6) * 9).to(getattr(torch, name)) for name in ("uint8", "float8_e4m3fn", "float8_e5m2", "uint16")},
)
expected = {}
for name, tensor in tensors.items():
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else torch.zeros(0, dtype=torch.uint8)
    expected[name] = [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), flat.numpy().tobytes().hex()]
(folder / "expected.json").write_text(json.dumps(expected))
torch.save(tensors, folder / "zip.bin")
torch.save(dict(tensors), folder / "zip-dict.bin", pickle_protocol=4)
torch.save(tensors, folder / "old.bin", _use_new_zipfile_serialization=False)
linear = torch.nn.Linear(4, 3)
torch.save(linear.state_dict(), folder / "linear.pt")
torch.save(linear, folder / "module.pt")
torch.save({"model": linear.state_dict()}, folder / "nested.pt")
