"""Workers as containers and as pods, on servers that behave as the platforms do; nothing real runs behind them."""

import uuid

import pytest

import platforms
import trabajos
from trabajos import wait_for


@pytest.fixture
def options(stack, no_worker):
    stack.sql("DELETE FROM workers")
    yield {"LEASE_S": 5, "SCALE_MIN": 3, "SCALE_MAX": 3, "SCALE_IDLE_S": 1, "SCALE_START_S": 1}
    stack.sql("DELETE FROM workers")
    stack.sql("DELETE FROM attempts WHERE owner = 'of a test'")


def make_busy(stack, host):
    """Gives the worker of this host a job that does not end."""
    stack.sql("INSERT INTO attempts (key, attempt, worker, owner, lease_until)"
              " SELECT %s, 1, worker, 'of a test', now() + interval '1 hour' FROM workers WHERE host = %s", str(uuid.uuid4()), host)


def failure(stack, word):
    return wait_for(f"the failure is kept: {word}", lambda: stack.sql(
        "SELECT detail FROM scale_actions WHERE state = 'failed' AND detail LIKE %s AND at > now() - interval '1 minute'", f"%{word}%"))


def between(observer, least, most):
    observer.stop()
    observer.options.update(SCALE_MIN=least, SCALE_MAX=most)
    observer.start()


def test_containers_are_copied_started_stopped_when_idle_and_the_last_one_kept(stack, options):
    socket = stack.dir / "engine.sock"
    with platforms.engine(stack, socket) as engine:
        observer = trabajos.observer(stack, "compose", SCALE_ACTUATOR="compose", SCALE_DOCKER_SOCKET=socket,
                                     SCALE_COMPOSE_PROJECT="demo", **options)
        with trabajos.running(observer):
            wait_for("three run", lambda: len(engine.up()) == 3)
            assert sorted(c["Name"] for c in engine.up()) == ["/demo-worker-1", "/demo-worker-2", "/demo-worker-3"]
            made = [c for c in engine.up() if c["Name"] != "/demo-worker-1"]
            for container in made:
                assert container["Config"]["Image"] == "trabajos" and container["HostConfig"] == {"NetworkMode": "demo"}
                assert container["Config"]["Hostname"] == container["Id"][:12]
                assert container["NetworkSettings"]["Networks"] == {"demo": {"Aliases": ["worker"]}}
                assert container["Config"]["Labels"]["com.docker.compose.container-number"] in container["Name"]
            busy = made[0]["Config"]["Hostname"]
            make_busy(stack, busy)
            between(observer, 0, 1)
            wait_for("the busy one is left", lambda: [c["Config"]["Hostname"] for c in engine.up()] == [busy])
            stack.sql("DELETE FROM attempts WHERE owner = 'of a test'")
            between(observer, 0, 0)
            wait_for("none runs", lambda: not engine.up())
            wait_for("the last one is kept", lambda: len(engine.containers) == 1)
            between(observer, 1, 1)
            wait_for("it runs again", lambda: [c["Config"]["Hostname"] for c in engine.up()] == [busy])
            engine.failing = (500, {"message": "no space left on device"})
            assert failure(stack, "no space left on device")
        assert ("POST", "/v1.41/containers/create") in engine.asked


def test_an_engine_that_is_not_there_is_said_with_its_option(stack, options):
    with trabajos.running(trabajos.observer(stack, "no-engine", SCALE_ACTUATOR="compose", SCALE_COMPOSE_PROJECT="demo",
                                            SCALE_DOCKER_SOCKET=stack.dir / "nothing.sock", **options)):
        assert failure(stack, "SCALE_DOCKER_SOCKET=")


def test_pods_come_by_replicas_and_the_idle_ones_are_the_cheapest_before_replicas_are_lowered(stack, options):
    with platforms.cluster(stack, stack.dir / "account") as (cluster, url):
        observer = trabajos.observer(stack, "kubernetes", SCALE_ACTUATOR="kubernetes", SCALE_KUBERNETES_URL=url,
                                     SCALE_KUBERNETES_ACCOUNT=stack.dir / "account", **options)
        with trabajos.running(observer):
            wait_for("three pods", lambda: len(cluster.pods) == 3)
            oldest, busy, youngest = cluster.pods
            make_busy(stack, busy)
            (stack.dir / "account" / "token").write_text("secret-2\n")  # the cluster renews it
            cluster.pods[oldest]["status"]["conditions"][0]["status"] = "False"
            between(observer, 2, 2)
            wait_for("the youngest is marked", lambda: cluster.pods[youngest]["metadata"]["annotations"])
            assert cluster.replicas == 3, "a pod that is not ready would go before it"
            cluster.pods[oldest]["status"]["conditions"][0]["status"] = "True"
            wait_for("it is gone", lambda: cluster.removed == [youngest])
            between(observer, 0, 1)
            wait_for("the busy one is left", lambda: list(cluster.pods) == [busy])
            stack.sql("DELETE FROM attempts WHERE owner = 'of a test'")
            between(observer, 0, 0)
            wait_for("no pod is left", lambda: not cluster.pods and cluster.replicas == 0)
            cluster.token = stack.dir / "account" / "namespace"
            between(observer, 1, 1)
            assert failure(stack, "401 Unauthorized")
    stack.sql("DELETE FROM workers")


@pytest.mark.parametrize("wrong, word", [
    ({"SCALE_ACTUATOR": "magic"}, "advise, local, compose, kubernetes"), ({"SCALE_ACTUATOR": "local", "SCALE_LOCAL_DIR": "/proc/x"}, "SCALE_LOCAL_DIR"),
    ({"SCALE_ACTUATOR": "kubernetes"}, "SCALE_KUBERNETES_URL"),
    ({"SCALE_ACTUATOR": "kubernetes", "SCALE_KUBERNETES_URL": "http://127.0.0.1:1"}, "https"),
    ({"SCALE_ACTUATOR": "kubernetes", "SCALE_KUBERNETES_TARGET": "worker"}, "deployments/NAME"),
    ({"SCALE_ACTUATOR": "kubernetes", "SCALE_KUBERNETES_URL": "https://127.0.0.1:1", "SCALE_KUBERNETES_ACCOUNT": "/nowhere"}, "ACCOUNT"),
])
def test_an_actuator_that_is_set_wrongly_ends_the_start_with_its_option(stack, wrong, word):
    observer = trabajos.observer(stack, f"wrong-{uuid.uuid4().hex[:6]}", **wrong)
    observer.start(ready=False)
    try:
        assert observer.process.wait(30) == 78
        assert word in observer.tail()
    finally:
        observer.end()
