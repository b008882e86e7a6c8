"""HTTP servers for tests, on loopback: gateways and nodes that behave as no real one would, or as one that is not here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx

__all__ = ["Answer", "Asked", "forward", "serve"]


@dataclass
class Asked:
    """A request: `method`, `path` with its query, `headers` in lower case, `body`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def resource(self) -> str:
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}


@dataclass
class Answer:
    """`body` may be without end: it is sent until the client hangs up."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def serve(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """The URL of a server that answers as told, in a thread a request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            given = answer(Asked(self.command, self.path, headers, self.read_body(headers)))
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            whole = isinstance(given.body, bytes)
            self.close_connection = not whole
            self.send_header(*(("Content-Length", str(len(given.body))) if whole else ("Connection", "close")))
            self.end_headers()
            with suppress(OSError):  # the client has had enough
                for piece in (given.body,) if whole else given.body:
                    self.wfile.write(piece)

        do_GET = do_POST = handle_request

        def read_body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def forward(asked: Asked, url: str, **query: str) -> Answer:
    """What the server at `url` answers to the same request with some parameters changed."""
    parts = urlsplit(asked.path)
    changed = httpx.QueryParams(asked.query | query)
    response = httpx.request(
        asked.method,
        url + urlunsplit(parts._replace(query=str(changed))),
        headers={"content-type": asked.headers.get("content-type", "text/plain")},
        content=asked.body,
        timeout=60,
    )
    return Answer(response.content, response.status_code)
