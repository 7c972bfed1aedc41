"""Servers that behave as the Docker Engine and as a Kubernetes API server do, as far as an actuator sees them: what they would run
are rows in the ledger's table of workers, as a worker in a container writes them."""

import contextlib
import datetime
import http.server
import json
import os
import pathlib
import re
import socketserver
import ssl
import threading
import urllib.parse
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Ledger:
    """Workers that come and go."""

    def __init__(self, stack):
        self.stack = stack

    def up(self, host, slots=1):
        self.stack.sql("INSERT INTO workers (worker, host, pid, version, slots, isolation, seen_at)"
                       " VALUES (%s, %s, 1, '0', %s, 'full', now() + interval '1 hour')", str(uuid.uuid4()), host, slots)

    def down(self, host):
        assert self.running(host) == 0, f"{host} was stopped while it works"
        self.stack.sql("DELETE FROM workers WHERE host = %s", host)

    def running(self, host):
        return self.stack.sql("SELECT count(*) FROM attempts a JOIN workers w ON w.worker = a.worker"
                              " WHERE w.host = %s AND a.finished_at IS NULL", host)[0][0]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "local"

    def body(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return json.loads(text) if text else None

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        with self.server.world.lock:
            self.server.world.asked.append((self.command, parts.path))
            self.answer(*self.server.world.handle(self.command, parts.path, urllib.parse.parse_qs(parts.query), self))

    do_POST = do_DELETE = do_PATCH = do_GET


@contextlib.contextmanager
def serving(server, world):
    server.world = world
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass


class Engine:
    """Containers of one compose project; made ones run as workers."""

    PREFIX = "/v1.41"

    def __init__(self, stack, project="demo", service="worker"):
        self.ledger, self.lock, self.asked, self.containers = Ledger(stack), threading.Lock(), [], {}
        self.project, self.service, self.failing = project, service, None
        self.make(f"{project}-{service}-1", {"Image": "trabajos", "Env": ["A=b"], "Labels": self.labels(1)}, {"NetworkMode": "demo"},
                  {"demo": {"Aliases": [service], "IPAddress": "10.0.0.9"}})

    def labels(self, number):
        return {"com.docker.compose.project": self.project, "com.docker.compose.service": self.service,
                "com.docker.compose.container-number": str(number), "com.docker.compose.oneoff": "False"}

    def make(self, name, config, host_config, networks):
        identity = uuid.uuid4().hex * 2
        self.containers[identity] = {"Id": identity, "Name": "/" + name, "State": {"Status": "created"}, "HostConfig": host_config,
                                     "Config": {**config, "Hostname": config.get("Hostname", identity[:12])},
                                     "NetworkSettings": {"Networks": networks}}
        return identity

    def up(self):
        return [c for c in self.containers.values() if c["State"]["Status"] == "running"]

    def handle(self, method, path, query, handler):
        assert path.startswith(self.PREFIX), path
        parts = path.removeprefix(self.PREFIX).strip("/").split("/")
        body = handler.body()
        if self.failing:
            return self.failing
        if (method, parts) == ("GET", ["containers", "json"]):
            labels = json.loads(query["filters"][0])["label"]
            return 200, [{"Id": c["Id"], "Names": [c["Name"]], "State": c["State"]["Status"], "Labels": c["Config"]["Labels"]}
                         for c in self.containers.values()
                         if all(f"{k}={c['Config']['Labels'].get(k)}" in labels for k in [label.split("=")[0] for label in labels])]
        if (method, parts) == ("POST", ["containers", "create"]):
            host_config, networking = body.pop("HostConfig"), body.pop("NetworkingConfig")
            if any(c["Name"] == "/" + query["name"][0] for c in self.containers.values()):
                return 409, {"message": "the name is in use"}
            return 201, {"Id": self.make(query["name"][0], body, host_config, networking["EndpointsConfig"])}
        container = self.containers.get(parts[1])
        if container is None:
            return 404, {"message": f"No such container: {parts[1]}"}
        return self.one(method, parts[2:], container)

    def one(self, method, action, container):
        state, host = container["State"], container["Config"]["Hostname"]
        if (method, action) == ("GET", ["json"]):
            return 200, container
        if (method, action) == ("POST", ["start"]):
            if state["Status"] == "running":
                return (304,)
            state["Status"] = "running"
            self.ledger.up(host)
            return (204,)
        if (method, action) == ("POST", ["stop"]):
            state["Status"] = "exited"
            self.ledger.down(host)
            return (204,)
        if (method, action) == ("DELETE", []):
            if state["Status"] == "running":
                return 409, {"message": "it runs"}
            del self.containers[container["Id"]]
            return (204,)
        return 404, {"message": "page not found"}


@contextlib.contextmanager
def engine(stack, path):
    with serving(UnixServer(str(path), Handler), Engine(stack)) as world:
        yield world
    os.unlink(path)


class Cluster:
    """One Deployment; its controller removes pods that are not ready first, then the cheapest, then the youngest."""

    SCALE = "/apis/apps/v1/namespaces/jobs/deployments/worker/scale"

    def __init__(self, stack, token):
        self.ledger, self.lock, self.asked, self.token = Ledger(stack), threading.Lock(), [], token
        self.pods, self.replicas, self.version, self.made = {}, 0, 1, 0
        self.removed = []

    def control(self):
        while len(self.pods) < self.replicas:
            self.made += 1
            name = f"worker-7c9-{self.made}"
            self.pods[name] = {"metadata": {"name": name, "annotations": {}},
                               "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
            self.ledger.up(name)
        while len(self.pods) > self.replicas:
            order = sorted(self.pods, key=lambda name: int(self.pods[name]["metadata"]["annotations"].get(
                "controller.kubernetes.io/pod-deletion-cost", 0)))
            self.ledger.down(order[0])
            self.removed.append(order[0])
            del self.pods[order[0]]

    def scale(self):
        return {"kind": "Scale", "metadata": {"name": "worker", "resourceVersion": str(self.version)},
                "spec": {"replicas": self.replicas}, "status": {"replicas": len(self.pods), "selector": "app=worker"}}

    def handle(self, method, path, query, handler):
        body = handler.body()
        if handler.headers.get("Authorization") != f"Bearer {self.token.read_text().strip()}":
            return 401, {"kind": "Status", "message": "Unauthorized"}
        if method == "PATCH":
            assert handler.headers["Content-Type"] == "application/merge-patch+json"
        if path == self.SCALE and method == "PATCH":
            if body["metadata"]["resourceVersion"] != str(self.version):
                return 409, {"kind": "Status", "message": "the object has been modified"}
            self.replicas, self.version = body["spec"]["replicas"], self.version + 1
            self.control()
        if path == self.SCALE:
            return 200, self.scale()
        if path == "/api/v1/namespaces/jobs/pods" and query == {"labelSelector": ["app=worker"]}:
            return 200, {"items": list(self.pods.values())}
        pod = re.fullmatch(r"/api/v1/namespaces/jobs/pods/([a-z0-9-]+)", path)
        if pod and method == "PATCH" and pod[1] in self.pods:
            self.pods[pod[1]]["metadata"]["annotations"].update(body["metadata"]["annotations"])
            return 200, self.pods[pod[1]]
        return 404, {"kind": "Status", "message": "not found"}


def certificate(folder):
    """A key and a certificate of its own for 127.0.0.1, in files."""
    import ipaddress
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test cluster")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                       serialization.NoEncryption()))


@contextlib.contextmanager
def cluster(stack, folder):
    """(world, URL); folder becomes the service account's."""
    folder = pathlib.Path(folder)
    folder.mkdir()
    certificate(folder)
    (folder / "namespace").write_text("jobs")
    (folder / "token").write_text("secret-1\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server, Cluster(stack, folder / "token")) as world:
        yield world, f"https://127.0.0.1:{server.server_address[1]}"
