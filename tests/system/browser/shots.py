"""Pictures of every page for the documents, small and wide, light and dark: `make screenshots`. Not among the tests."""

import subprocess

import pytest

import trabajos
from conftest import log_in

IMAGES = trabajos.ROOT / "docs/images"
SIZES = {360: 740, 1280: 800}

REPORT = r"""printf '\033[1mBuilding the report\033[0m\n'
for part in sales stock returns; do printf '\033[32m✓\033[0m %s\n' $part; sleep 0.1; done
echo 'warning: no data for Sunday' >&2
printf '\033[36mwritten to report.txt\033[0m\n'"""
TESTS = r"""printf '\033[1m120 tests\033[0m\n'; i=0
while [ $i -lt 9 ]; do i=$((i+1)); printf '\033[32mok\033[0m   group %d\n' $i; done
printf '\033[31mFAIL\033[0m group 10: 3 of 12\n' >&2; exit 3"""
TRAIN = r"""i=0; while :; do i=$((i+1)); printf '\033[36mepoch %3d\033[0m  loss %s\n' $i $(awk "BEGIN{printf \"%.4f\", 2/(1+$i/7)}"); sleep 0.2; done"""


@pytest.fixture(scope="module")
def world(stack, users, repositories, session_worker, observer):
    """Jobs of every kind: key by name."""
    def repository(name, files):
        return repositories({file: text if file.endswith((".yaml", ".txt")) else f"#!/bin/sh\n{text}\n" for file, text in files.items()}, name=name).url
    user = users["user"]

    def add(url, **spec):
        return user.get("/api/v1/trabajos", "POST", json={"url": url, **spec}).json()["key"]
    report = repository("acme/report", {"trabajo.yaml": "run: sh report.sh >report.txt; cat report.txt\nartifacts: [report.txt]\n", "report.sh": REPORT})
    tests, train = repository("acme/shop", {"main.sh": TESTS}), repository("acme/forecast", {"main.sh": TRAIN})
    keys = {}
    for day in ("monday", "tuesday", "wednesday"):
        keys["done"] = add(report, ref="main", labels={"team": "data", "day": day})
    keys["dead"] = add(tests, ref="main", retries=1, labels={"team": "shop"})
    keys["failed"] = add(tests, ref="main", labels={"team": "shop"})
    add(repository("acme/notes", {"notes.txt": "x"}))
    for key in user.get("/api/v1/trabajos").json():
        user.await_end(key["key"])
    keys["live"] = add(train, labels={"team": "data"})
    add(train, labels={"team": "data"})
    keys["waiting"] = add(report, ref="main", labels={"team": "data", "day": "thursday"})
    trabajos.wait_for("a forecast", lambda: user.get(f"/api/v1/trabajos/{keys['waiting']}").json()["waiting"]["eta_s"])
    return keys


def test_pictures(open_browser, url, world):
    IMAGES.mkdir(exist_ok=True)
    browser = open_browser()
    pages = {"list": ("?usuario=*", ".job .pill"), "submit": ("new", "form"), "job-live": (f"job/{world['live']}", ".line"),
             "job-waiting": (f"job/{world['waiting']}", ".eta"), "job-failed": (f"job/{world['failed']}", ".line"), "job-done": (f"job/{world['done']}", ".artifacts li"),
             "dead": ("dead?usuario=*", ".dead li"), "workers": ("workers", ".worker"), "scale": ("scale", ".now")}
    browser.open(url)
    browser.see(".door")
    shoot(browser, "door")
    log_in(browser, url, "admin")
    for name, (place, css) in pages.items():
        browser.run("history.pushState(null, '', arguments[0]); dispatchEvent(new Event('hashchange'))", "#/" + place)
        browser.see(css)
        if name == "job-live":
            browser.see(".line", "loss")
        browser.gone(".state", "connecting")
        shoot(browser, name)


def shoot(browser, name):
    for width, height in SIZES.items():
        for scheme in ("light", "dark"):
            browser.look(width, height, scheme)
            # two frames later everything has its size
            browser.run_async("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")
            image = IMAGES / f"{name}-{width}-{scheme}.png"
            browser.screenshot(image)
            subprocess.run(["pngquant", "--force", "--strip", "--speed", "1", "--output", image, "256", image], check=True)
