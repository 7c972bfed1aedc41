"""A way for TCP connections that can be cut, and laid again."""

import contextlib
import socket
import threading


class Cable:
    def __init__(self, port, to):
        self.to, self.whole, self.lock = to, True, threading.Lock()
        self.ends = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to), 10)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self.lock:
                whole = self.whole
                if whole:
                    self.ends |= {near, far}
            if not whole:
                near.close()
                far.close()
                continue
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self.lock:
            ended = {one} & self.ends
            self.ends -= {one}
        for end in ended:
            end.close()

    def cut(self):
        """Whoever is connected is cut off; nobody comes through."""
        with self.lock:
            self.whole = False
            for end in self.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self):
        with self.lock:
            self.whole = True

    def end(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
