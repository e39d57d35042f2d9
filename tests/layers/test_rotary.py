"""What of a config's rotary positions cannot be done is refused before anything turns."""

import pytest

from jaxembed.errors import UnsupportedModelError
from jaxembed.layers.rotary import Rotary


@pytest.mark.parametrize(("width", "part"), [(6, 0.25), (6, 0.5), (7, 1.0), (8, 1.5), (8, -0.5)])
def test_numbers_that_do_not_come_in_pairs_cannot_be_turned(width, part):
    with pytest.raises(UnsupportedModelError, match=f"heads of {width} numbers a share of {part}"):
        Rotary.from_config({"max_position_embeddings": 16, "partial_rotary_factor": part}, width)


def test_a_share_of_whole_pairs_is_turned():
    assert Rotary.from_config({"max_position_embeddings": 16, "partial_rotary_factor": 0.4}, 80).width == 32
