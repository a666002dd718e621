"""A chat endpoint on this machine that judges as a test says, or misbehaves."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-not-to-be-told-0123456789"
USAGE = {"prompt_tokens": 200, "completion_tokens": 50}


class Handler(BaseHTTPRequestHandler):
    """One request. ``server.behave(self, number)`` answers it by one of the methods below; number: from 1."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.counting:
            self.server.requests.append(self.body)
            number = len(self.server.requests)
        self.server.behave(self, number)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def texts(self) -> list[str]:
        """Prompt, first and second text of the question."""
        return texts_of(self.body)

    def send(self, content: bytes, status: int = 200, headers: dict | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def say(
        self, text: str | None, usage: dict | None = USAGE, finish_reason: str = "stop", **message: object
    ) -> None:
        """A chat completion."""
        choice = {"index": 0, "finish_reason": finish_reason}
        choice["message"] = {"role": "assistant", "content": text, **message}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        self.send(json.dumps(body).encode())

    def judge(self) -> None:
        """The verdict of a judge who likes length."""
        _, first, second = self.texts
        place = "1" if len(first) > len(second) else "2" if len(first) < len(second) else "tie"
        self.say(f"{len(first)} characters against {len(second)}.\nVerdict: {place}")

    def fail(self, status: int, message: str = "no", code: str | None = None, **headers: str) -> None:
        """An error in the form that such servers have."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(json.dumps({"error": {"message": message, "code": code}}).encode(), status, named)

    def hang_up(self) -> None:
        """No answer at all."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """The beginning of an answer, and then nothing more: the connection ends."""
        self.send(b'{"id": "1", "choices": [', length=500)
        self.close_connection = True


def texts_of(body: dict) -> list[str]:
    (message,) = body["messages"]
    return list(json.loads(message["content"].rpartition("\n\n")[2]).values())


def judge(handler: Handler, number: int) -> None:
    handler.judge()


@contextmanager
def serving(behave: Callable[[Handler, int], None] = judge) -> Iterator[ThreadingHTTPServer]:
    """The server, with ``url`` and the bodies of its ``requests``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.behave, server.requests, server.counting = behave, [], threading.Lock()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
