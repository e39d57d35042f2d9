"""How much the abuse suite does: all of it at night, or a part in two minutes, which is in CI (JAXEMBED_ABUSE=quick)."""

import os

import pytest

QUICK = os.environ.get("JAXEMBED_ABUSE") == "quick"
nightly = pytest.mark.skipif(QUICK, reason="in the nightly run only")
