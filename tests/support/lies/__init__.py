"""Checkpoints whose files lie, hundreds of them, each a change to a small one that is whole.

Each module has LIES, from the name of a lie to the function that tells it in a folder, and WHOLE, which makes the folder. Run
as `python -m lies GROUP FOLDER` they are told and loaded one after the other, in a process whose memory is watched; a line of
JSON each says what came of it.
"""

from collections.abc import Callable
from pathlib import Path

Lie = Callable[[Path], object]

GROUPS = ("zips", "pickles", "safetensors_files", "configs", "texts", "tokenizers", "converted", "special_files")
