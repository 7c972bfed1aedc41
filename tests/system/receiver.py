"""Whoever is told of a job's end, as the tests want them to be."""

import http.server
import threading


class Receiver:
    """Keeps what is posted to it; answers[path] is a list of what to answer: a status, or an event to wait for before 200."""

    def __init__(self):
        self.got, self.answers, self.lock = [], {}, threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.got.append((self.path, dict(self.headers), body))
                    waiting = receiver.answers.get(self.path)
                    answer = waiting.pop(0) if waiting else 200
                if isinstance(answer, threading.Event):
                    answer.wait(120)
                    answer = 200
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("Location", "/elsewhere")
                if answer == 429:
                    self.send_header("Retry-After", "1000")
                self.send_header("Content-Length", "100000")  # of the answer nothing but the status counts
                self.end_headers()
                try:
                    self.wfile.write(b"x" * 100000)
                except OSError:
                    pass

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 200

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, path):
        with self.lock:
            return [(headers, body) for where, headers, body in self.got if where == path]

    def close(self):
        for waiting in self.answers.values():
            for answer in waiting:
                if isinstance(answer, threading.Event):
                    answer.set()
        self.server.shutdown()
        self.server.server_close()
