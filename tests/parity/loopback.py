"""A web server on the loopback device that misbehaves in the ways that real ones do."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Behaviour:
    """What the server does: bytes after which it drops each connection (in order), and how it treats ranges.

    `files` holds what it serves by the last part of the path; every other name gives `content`.
    """

    content: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    drops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    announce: bool = True
    shift: int = 0
    redirect: str | None = None
    requests: list[str | None] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        how = self.server.behaviour
        asked = self.headers.get("Range")
        how.requests.append(asked)
        if how.redirect and self.path != "/moved.pth":
            self.send_response(302)
            self.send_header("Location", how.redirect)
            self.end_headers()
            return
        if how.statuses:
            status = how.statuses.pop(0)
            if status != 200:
                self.send_error(status)
                return
        content = how.files.get(self.path.rpartition("/")[2], how.content)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and how.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start + how.shift
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if how.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: how.drops.pop(0)] if how.drops else body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(content: bytes = b"") -> Iterator[http.server.ThreadingHTTPServer]:
    """A server with `behaviour` to change and `url`, the address of a file w.pth."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as instance:
        instance.behaviour = Behaviour(content)
        instance.url = f"http://127.0.0.1:{instance.server_address[1]}/w.pth"
        thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield instance
        finally:
            instance.shutdown()
            thread.join()
