"""The story is told once: the README's commands bring the projects up, the tests look at them in the order of this folder's file."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import projects as helpers  # noqa: E402


@pytest.fixture(scope="session")
def projects():
    helpers.Projects.sweep()
    ours = helpers.Projects()
    try:
        yield ours
    finally:
        if not os.environ.get("KEEP"):
            ours.close()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    figures = getattr(config, "figures", None)
    if figures:
        terminalreporter.section("measured")
        for name, value in figures.items():
            terminalreporter.write_line(f"{name:62} {value}")


@pytest.fixture
def figures(request):
    if not hasattr(request.config, "figures"):
        request.config.figures = {}
    return request.config.figures


@pytest.fixture
def tell(request):
    """Says what is being done, while it is."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            reporter.write(f"\n    {text}", flush=True)
    return say
