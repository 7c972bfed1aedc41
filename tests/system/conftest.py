import itertools
import re

import pytest

import trabajos


@pytest.fixture(scope="session")
def stack():
    stack = trabajos.Stack()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def frontend(stack):
    daemon = trabajos.frontend(stack).start()
    yield daemon
    daemon.end()


@pytest.fixture(scope="session")
def session_worker(stack):
    daemon = trabajos.worker(stack).start()
    yield daemon
    daemon.end()


@pytest.fixture
def worker(session_worker):
    """The ordinary worker, whatever an earlier test did to it."""
    if not session_worker.alive():
        session_worker.start()
    return session_worker


@pytest.fixture
def no_worker(session_worker):
    """Nobody works: the test starts its own workers."""
    session_worker.stop()
    yield
    session_worker.start()


@pytest.fixture(scope="session")
def users(stack, frontend):
    return {name: trabajos.User(stack, frontend.url, name) for name in ("user", "user2", "admin")}


@pytest.fixture
def user(users):
    return users["user"]


@pytest.fixture(scope="session")
def repositories(stack):
    counter = itertools.count(1)

    def make(files, name=None):
        return trabajos.Repository(stack, name or f"repo-{next(counter)}", files)
    return make


@pytest.fixture
def script(repositories):
    """A repository whose main.sh is the given shell text."""
    return lambda text, **files: repositories({"main.sh": "#!/bin/sh\n" + text + "\n", **files})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    stack = item.funcargs.get("stack")
    if report.failed and stack is not None:
        for log in sorted((stack.dir / "logs").glob("*.log")):
            if re.match(r"test-", log.name):
                lines = log.read_text(errors="replace").splitlines()[-40:]
                report.sections.append((log.name, "\n".join(lines)))
