import pytest
from amounts import QUICK


@pytest.fixture
def amount():
    """How much of something a test does: in the nightly run, or in the quick one that is in CI."""
    return lambda nightly, quick: quick if QUICK else nightly


@pytest.fixture
def show(request):
    """Prints what a test measured, whether it passes or not."""

    def line(**figures) -> None:
        text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return line
