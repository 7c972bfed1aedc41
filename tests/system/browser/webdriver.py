"""Debian's Chromium, driven by its own driver over W3C WebDriver (https://www.w3.org/TR/webdriver2/)."""

import base64
import json
import re
import shutil
import subprocess
import tempfile

import requests

from trabajos import wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER, ESCAPE, TAB, DOWN, SPACE = "\ue007", "\ue00c", "\ue004", "\ue015", " "
# Headless, alone, and asking nobody but the page's servers for anything.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"]


def missing():
    """What this machine lacks for it; None: nothing."""
    return next((f"{name} is not installed" for name in ("chromium", "chromedriver") if not shutil.which(name)), None)


class Failed(AssertionError):
    pass


class Driver:
    """One chromedriver, for all browsers of a run."""

    def __init__(self):
        said = ""
        for _ in range(5):  # it takes one port for both of loopback's addresses, which may be free at one of them alone
            self.process = subprocess.Popen([shutil.which("chromedriver"), "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True)
            for line in self.process.stdout:
                said += line
                found = re.search(r"started successfully on port (\d+)", line)
                if found:
                    self.url = f"http://127.0.0.1:{found[1]}"
                    return
            self.process.stdout.close()
            self.process.wait(20)
        raise Failed(f"chromedriver does not start: {said}")

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, driver, language="en-US"):
        self.profile = tempfile.mkdtemp(prefix="trabajos-browser-")
        self.driver = driver
        answer = requests.post(driver.url + "/session", timeout=60, json={"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": {
                "binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={self.profile}", f"--accept-lang={language}", f"--lang={language}"],
                "prefs": {"intl.accept_languages": language, "download.default_directory": self.profile}}}}})
        value = answer.json()["value"]
        if "sessionId" not in value:
            raise Failed(value["message"])
        self.session = requests.Session()
        self.url = f"{driver.url}/session/{value['sessionId']}"
        self.complaints = []

    def end(self):
        self.ask("DELETE", "")
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method, path, **body):
        answer = self.session.request(method, self.url + path, json=body if method == "POST" else None, timeout=60).json()["value"]
        if isinstance(answer, dict) and "error" in answer and "stacktrace" in answer:
            raise Failed(f"{answer['error']}: {answer['message']}")
        return answer

    def open(self, url):
        self.ask("POST", "/url", url=url)

    def address(self):
        return self.ask("GET", "/url")

    def run(self, script, *arguments):
        return self.ask("POST", "/execute/sync", script=script, args=list(arguments))

    def run_async(self, script, *arguments):
        return self.ask("POST", "/execute/async", script=script, args=list(arguments))

    def all(self, css):
        return [Node(self, one[ELEMENT]) for one in self.ask("POST", "/elements", using="css selector", value=css)]

    def see(self, css, text=None, timeout_s=30):
        """The first element of that kind which is shown, and has the text (or fits the pattern)."""
        def look():
            try:
                return next((node for node in self.all(css) if node.shown() and (text is None or node.has(text))), None)
            except Failed:
                return None  # the page changed meanwhile
        try:
            return wait_for(f"{css} {text or ''}", look, timeout_s)
        except AssertionError as error:
            raise Failed(f"{error}; the page at {self.address()}: {self.text()[:2000]}; console: {self.console()}") from None

    def gone(self, css, text=None, timeout_s=30):
        def look():
            try:
                return not any(node.shown() and (text is None or node.has(text)) for node in self.all(css))
            except Failed:
                return False
        wait_for(f"no {css} {text or ''}", look, timeout_s)

    def click(self, css, text=None):
        """Again where what is to be clicked was made anew, or moved, in between."""
        def attempt():
            try:
                self.see(css, text, 5).click()
                return True
            except Failed as error:
                if re.search("stale element|click intercepted|not interactable", str(error)):
                    return False
                raise
        wait_for(f"{css} clicked", attempt)

    def type(self, css, text, clear=True):
        node = self.see(css)
        if clear:
            self.ask("POST", f"/element/{node.id}/clear")
        self.ask("POST", f"/element/{node.id}/value", text=text)

    def choose(self, css, text):
        """Among a select's options."""
        self.see(css)
        next(option for option in self.all(f"{css} option") if option.text() == text).click()

    def press(self, keys):
        """To whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def tab_to(self, css, text=None, most=80):
        """By the Tab key alone; wherever it stops on the way, that is to be seen."""
        for _ in range(most):
            self.press(TAB)
            hit, seen, what = self.run("""
                const [css, text] = arguments, one = document.activeElement;
                const framed = (node) => node && getComputedStyle(node).outlineStyle !== 'none' && parseFloat(getComputedStyle(node).outlineWidth) > 0;
                return [one.matches(css) && (!text || one.textContent.includes(text)), one === document.body || framed(one) || framed(one.closest('.job')), one.outerHTML.slice(0, 200)];
            """, css, text)
            assert seen, f"the focus is not seen: {what}"
            if hit:
                return
        raise Failed(f"Tab does not come to {css} {text or ''} at {self.address()}")

    def focused(self):
        """What has the focus, in words."""
        return self.run("const one = document.activeElement; return `${one.tagName.toLowerCase()} ${one.name || one.getAttribute('aria-label') || one.textContent.trim()}`.slice(0, 100)")

    def accessibility(self):
        """What a screen reader is told: [(role, name, properties), …]."""
        self.cdp("Accessibility.enable")
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", ""), {one["name"]: one["value"].get("value") for one in node.get("properties", [])})
                for node in nodes if not node["ignored"]]

    def text(self):
        return self.run("return document.body.innerText")

    def cdp(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def look(self, width, height, scheme="light"):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme},
                                                         {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, path, whole=False):
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def console(self):
        """What the browser complained of since the start, a violated Content-Security-Policy among it."""
        self.complaints += [entry["message"] for entry in self.ask("POST", "/se/log", type="browser") if entry["level"] in ("SEVERE", "WARNING")]
        return self.complaints

    def axe(self, source, **options):
        """Findings of axe-core that are serious or worse."""
        self.run(f"if (!window.axe) {{ {source}\n; window.axe = axe; }}")
        found = self.run_async("""
            const [options, done] = arguments;
            axe.run(document, {resultTypes: ['violations'], ...options}).then((all) => done(JSON.stringify(all.violations.filter((one) =>
                one.impact === 'serious' || one.impact === 'critical').map((one) => ({id: one.id, help: one.help,
                    nodes: one.nodes.slice(0, 5).map((node) => node.html + ' ' + node.failureSummary)}))))).catch((error) => done('"' + error + '"'));""", options)
        return json.loads(found)


class Node:
    def __init__(self, browser, node):
        self.browser, self.id = browser, node

    def ask(self, method, path, **body):
        return self.browser.ask(method, f"/element/{self.id}{path}", **body)

    def text(self):
        return self.ask("GET", "/text")

    def shown(self):
        return self.ask("GET", "/displayed")

    def has(self, text):
        return text.search(self.text()) if isinstance(text, re.Pattern) else text in self.text()

    def attribute(self, name):
        return self.ask("GET", f"/attribute/{name}")

    def property(self, name):
        return self.ask("GET", f"/property/{name}")

    def click(self):
        self.ask("POST", "/click")
