"""A real Prometheus reads all three daemons, and loads the rules that we ship; the dashboard asks for nothing that is not there."""

import json
import re
import shutil
import subprocess

import pytest
import requests
import yaml

import trabajos
from trabajos import wait_for

DEPLOY = trabajos.ROOT / "deploy"
RULES = DEPLOY / "prometheus/rules.yaml"
NAMED = re.compile(r"\b(?:trabajos|process)_[a-z_]+")


def program(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed (package prometheus)")
    return path


def promtool(*arguments, **more):
    return subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.fixture(scope="module")
def prometheus(stack, frontend):
    """(its URL, the daemons that it scrapes)"""
    program("prometheus")
    worker, observer = trabajos.worker(stack, "scraped"), trabajos.observer(stack, "scraped-observer", SCALE_MAX=4)
    folder = stack.dir / "prometheus"
    folder.mkdir()
    port = trabajos.free_port()
    with trabajos.running(worker, observer):
        daemons = {"trabajos-frontend": frontend, "trabajos-worker": worker, "trabajos-observer": observer}
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
        config["global"]["scrape_interval"] = "1s"
        config["rule_files"] = [str(RULES)]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{daemons[job['job_name']].metrics_port}"]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        with open(stack.dir / "logs" / "test-prometheus.log", "wb") as log:
            process = subprocess.Popen([program("prometheus"), f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                                        f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", daemons
        finally:
            process.terminate()
            process.wait(30)


def ask(url, path, **params):
    return requests.get(url + "/api/v1/" + path, params=params, timeout=10).json()["data"]


def test_it_scrapes_all_three_daemons_and_loads_the_rules(prometheus):
    url, daemons = prometheus
    wait_for("all are up", lambda: len([s for s in ask(url, "query", query='up{job=~"trabajos.*"} == 1')["result"]]) == len(daemons))
    [group] = wait_for("the rules are loaded", lambda: ask(url, "rules")["groups"])
    assert {rule["name"] for rule in group["rules"]} == {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    assert all(rule["health"] in ("ok", "unknown") for rule in group["rules"]), group


def test_rules_and_dashboard_name_only_what_the_daemons_have(prometheus, user, script):
    url, _ = prometheus
    user.run(script("true").url)
    dashboard = json.loads((DEPLOY / "grafana/trabajos.json").read_text())
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    texts += [rule["expr"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    named = {name for text in texts for name in NAMED.findall(text)}
    wait_for("all are there", lambda: named <= set(ask(url, "label/__name__/values")))
    for text in texts:
        assert requests.get(f"{url}/api/v1/query", params={"query": text}, timeout=10).json()["status"] == "success", text


def test_the_pages_are_as_the_format_wants_them(prometheus):
    _, daemons = prometheus
    for name, daemon in daemons.items():
        page = requests.get(f"http://127.0.0.1:{daemon.metrics_port}/metrics", timeout=5).text
        checked = promtool("check", "metrics", input=page)
        assert checked.returncode == 0, f"{name}: {checked.stdout}{checked.stderr}"


def test_each_alert_fires_on_what_it_is_for(tmp_path):
    def series(**values):
        return [{"series": name, "values": f"{value}x60"} for name, value in values.items()]
    told = {"TrabajosQueueLate": series(**{'trabajos_queue_oldest_seconds{priority="normal"}': "90+0", "trabajos_scale_deadline_seconds": "60+0"}),
            "TrabajosStartsLate": series(**{'trabajos_attempt_wait_seconds_bucket{le="50"}': "0+5", 'trabajos_attempt_wait_seconds_bucket{le="70"}': "0+10",
                                            'trabajos_attempt_wait_seconds_bucket{le="+Inf"}': "0+10", "trabajos_scale_deadline_seconds": "60+0"}),
            "TrabajosDeadLetters": series(trabajos_dead_letters_recent="3+0"),
            "TrabajosLedgerBehindKafka": series(trabajos_kafka_lag_records="5+0"),
            "TrabajosAdviceNotReached": series(trabajos_scale_unreached_seconds="301+0"),
            "TrabajosIsolationBelowFull": series(**{'trabajos_worker_isolation_level{instance="a"}': "1+0"}),
            "TrabajosNoObserverLeads": series(trabajos_observer_leads="0+0"),
            "TrabajosObserverBlind": series(trabajos_samples_failed_total="0+60"),
            "TrabajosAttemptsFenced": series(trabajos_attempts_fenced_total="0+5"),
            "TrabajosForecastOff": series(trabajos_forecast_coverage_ratio="0.3+0", trabajos_forecast_scored="200+0")}
    shipped = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    assert shipped == told.keys()
    tests = []
    for name, given in told.items():
        labels = ",".join(part for part in ('priority="normal"' if "Queue" in name else "", 'instance="a"' if "Isolation" in name else "") if part)
        alerts = [{"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"{"," if labels else ""}{labels}}})', "eval_time": "1h",
                   "exp_samples": [{"labels": "{}", "value": 1}]}]
        quiet = [{"series": line["series"], "values": "0x60"} for line in given]
        silent = {"expr": f'count(ALERTS{{alertname="{name}"}})', "eval_time": "1h", "exp_samples": []}
        tests.append({"interval": "1m", "input_series": given, "promql_expr_test": alerts})
        if name not in ("TrabajosNoObserverLeads", "TrabajosForecastOff"):
            tests.append({"interval": "1m", "input_series": quiet, "promql_expr_test": [silent]})
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    checked = promtool("test", "rules", tmp_path / "test.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
