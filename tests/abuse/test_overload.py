"""Four times the load that a server can take: answers, rates, waits and memory."""

import pytest
from amounts import nightly
from overload import MOST_WAIT, check, mixed_overload, overload

# Figures of time and rate are promises on a quiet machine; a shared one gets this much more.
_SLACK = 2.0


@nightly
@pytest.mark.abuse
def test_minutes_at_four_times_the_load_cost_a_tenth_of_the_goodput_at_most(start, show):
    result = overload(start, slices=4, seconds=45, saturation_seconds=10)
    show(**result)
    check(result, least_goodput=0.9)


@pytest.mark.abuse
def test_both_lanes_wait_as_long_as_they_were_promised_and_nothing_misses_its_deadline(start, amount, show):
    result = mixed_overload(start, seconds=amount(180, 8))
    show(**result)
    check(result, least_goodput=amount(0.7, 0.3))
    assert result["missed deadlines"] == 0
    for lane in ("quick", "bulk"):
        assert result[f"{lane} p50, p99"][1] < _SLACK * (MOST_WAIT + result["own seconds"][lane]), lane
