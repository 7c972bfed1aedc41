"""Who is told of the jobs' ends. Writes down all that comes, and now and then does not want to hear of it: drawn from the seed."""

import base64
import dataclasses
import http.server
import random
import threading

import world

SLOW_S = world.LEASE_S * 1.5  # so that another keeper tells it too
MOODS = (503, 500, "cut", "slow")
SHARE = 0.3  # of jobs that have a webhook


@dataclasses.dataclass
class Hook:
    """A webhook as a job asks for it."""
    url: str
    path: str
    secret: str | None

    @property
    def asked(self):
        return {"url": self.url, "secret": self.secret} if self.secret else self.url


@dataclasses.dataclass
class Delivery:
    path: str
    id: str
    timestamp: str
    signature: str | None
    body: bytes
    status: int | None  # what was answered; None: nothing


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mood = self.server.hooks.mood(self.path)
        if mood == "slow":
            self.server.hooks.stopping.wait(SLOW_S)
        status = None if mood == "cut" else mood if isinstance(mood, int) else 200
        self.server.hooks.deliveries.append(Delivery(self.path, self.headers["webhook-id"], self.headers["webhook-timestamp"],
                                                     self.headers["webhook-signature"], body, status))
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200

    def handle_error(self, *arguments):
        pass  # who was telling it died


class Hooks:
    """Each place takes what comes at the third time at the latest: nothing may be given up."""

    def __init__(self, seed):
        self.seed, self.secrets, self.deliveries = seed, {}, []
        self.moods, self.lock, self.stopping = {}, threading.Lock(), threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.hooks = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hook(self, name, signed):
        dice = random.Random(f"{self.seed} hook {name}")
        secret = "whsec_" + base64.b64encode(dice.randbytes(32)).decode() if signed else None
        path = f"/{name}"
        with self.lock:
            self.secrets[path] = secret
            self.moods[path] = dice.choices(MOODS, k=dice.choice((1, 2))) if dice.random() < 0.2 else []
        return Hook(self.url + name, path, secret)

    def of_job(self, job):
        """/add knows no secrets."""
        dice = random.Random(f"{self.seed} hooked {job.number}")
        return self.hook(str(job.number), job.way != "add") if dice.random() < SHARE else None

    def mood(self, path):
        with self.lock:
            moods = self.moods.get(path)
            return moods.pop(0) if moods else "well"

    def close(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
