"""Networks of a test's own, in namespaces: a machine that a worker runs on, the world behind its router, and relays by which that
worker and the stack still find each other. Nothing of it is the real network. Only root can make them."""
import contextlib
import ctypes
import os
import socket
import subprocess
import threading

import trabajos

CLONE_NEWNET = 0x40000000
# Greets whoever comes by TCP, and gives back what comes by UDP to the addresses named.
SERVER = """
import socket, sys, threading
def tcp(listener):
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"k")
        connection.close()
def udp(place):
    while True:
        data, sender = place.recvfrom(100)
        place.sendto(data, sender)
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = socket.socket(family, socket.SOCK_DGRAM)
    place.bind((address, int(sys.argv[1])))
    threading.Thread(target=udp, args=(place,)).start()
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
tcp(listener)
"""


class Network:
    """A network namespace, kept by a process that does nothing."""

    def __init__(self, made):
        self.process = made.enter_context(ended(["unshare", "--net", "sh", "-c", "echo up; exec sleep infinity"]))
        self.path = f"/proc/{self.process.pid}/ns/net"
        self.enter = ("nsenter", f"--net={self.path}")
        self.ip("link set lo up")

    def ip(self, *lines):
        for line in lines:
            subprocess.run([*self.enter, "ip", *line.split()], check=True, capture_output=True, text=True)

    def do(self, action):
        """action() by a thread that lives there: a socket stays in the namespace that it was made in."""
        done = []

        def act():
            with open(self.path, "rb") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            done.append(action())
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        return done[0] if done else None


class Here:
    """The namespace of the tests."""

    @staticmethod
    def do(action):
        return action()


@contextlib.contextmanager
def ended(command, **options):
    """A child that has said its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **options)
    try:
        if process.stdout.readline() != "up\n":
            raise AssertionError(f"{command[0]} did not come up")
        yield process
    finally:
        process.kill()
        process.wait()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serve(listener, there, port):
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = there.do(lambda: reach(port))
            if server is None:
                client.close()
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


def reach(port):
    with contextlib.suppress(OSError):
        return socket.create_connection(("127.0.0.1", port), timeout=30)
    return None


def relay(made, here, there, port):
    """The port of loopback in `here` leads to that of `there`."""
    listener = here.do(lambda: socket.create_server(("127.0.0.1", port)))
    made.callback(listener.close)
    made.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
    threading.Thread(target=serve, args=(listener, there, port), daemon=True).start()


def joined(made, own=(), behind=()):
    """(machine, world): the addresses `own` are the machine's, `behind` lie behind its router, in the world."""
    machine, world = Network(made), Network(made)
    machine.ip(f"link add near type veth peer name away netns {world.process.pid}", "addr add 172.20.0.1/24 dev near",
               "addr add fd00:7::1/64 dev near nodad", "link set near up", *(f"addr add {address} dev lo" for address in own))
    world.ip("addr add 172.20.0.2/24 dev away", "addr add fd00:7::2/64 dev away nodad", "link set away up",
             *(f"addr add {address} dev lo{' nodad' if ':' in address else ''}" for address in behind))
    machine.ip("route add default via 172.20.0.2", "route add default via fd00:7::2")
    return machine, world


def server(made, network, port, addresses):
    made.enter_context(ended([*network.enter, "/usr/bin/python3", "-c", SERVER, str(port), *addresses]))


def lacking():
    """Why there can be none here; None: there can."""
    if os.geteuid() != 0:
        return "only root can make networks"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        return "no namespaces can be made here"
    return None


# As udev makes it.
WITH_TUN = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && chmod 666 /dev/net/tun && exec \"$0\""


@contextlib.contextmanager
def worker_in(network, stack, name, ports, **options):
    """A worker on that machine: it and the stack reach each other, and nobody else does."""
    with contextlib.ExitStack() as made:
        worker = trabajos.worker(stack, name, **options)
        worker.prefix = (*network.enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_TUN)
        for port in ports:
            relay(made, network, Here, port)
        relay(made, Here, network, worker.metrics_port)
        with trabajos.running(worker):
            yield worker
