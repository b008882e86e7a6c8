"""An answer of HTTP/1.1 in the bytes of a connection, bounded in time and in bytes.

The standard library reads heads with its parser of e-mails, which takes as long as all the rest of a request. Of what
HTTP has, a JSON-RPC answer needs little: a status, a few fields, and a body whose end is known by its length, by its
parts, or by the end of the connection.
"""

from __future__ import annotations

import re
import socket
import time
from typing import NamedTuple

__all__ = ["BUSY", "Answer", "TooLarge", "read_answer"]

BUSY = (429, 503)
"""The statuses of a node that has too much to do. What else it says then is not read."""
PIECE = 2**16
"""Bytes that are read at a time."""
LONGEST_HEAD = 2**16
"""Bytes of a head, or of a line between parts."""

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;.*)?")
_BODILESS = (204, 304)


class TooLarge(Exception):
    """An answer is larger than what is read."""


class Answer(NamedTuple):
    """What came back: the fields by their names in small letters, and the body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_answer(connection: socket.socket, deadline: float, largest: int) -> tuple[Answer, bool]:
    """An answer, and whether the connection may have another request.

    Args:
        connection: Of a socket or of TLS; a request was sent on it.
        deadline: By `time.monotonic`, which no single byte moves.
        largest: Bytes of a body that are read at most.

    Raises:
        TooLarge: there is more.
        TimeoutError: it did not come in time.
        OSError, ValueError: the connection has ended, or what comes is not HTTP.
    """
    incoming = _Incoming(connection, deadline, 2 * largest + 2**16)  # parts have heads of their own
    while True:
        version, status, fields = _head(incoming)
        if status >= 200:
            break
        if status == 101:
            raise ValueError("it changes to another protocol, which nobody asked for")
    again = version == b"1" and "close" not in fields.get("connection", "").lower()
    if status in BUSY:
        return Answer(status, fields, b""), False
    body = b""
    if status in _BODILESS:
        pass
    elif (coding := fields.get("transfer-encoding")) is not None:
        if coding.lower() != "chunked":
            raise ValueError("its answer comes in a transfer encoding that was not asked for")
        body = _parts(incoming, largest)
        again = again and "content-length" not in fields  # whoever says both may be taken at either word on the way
    elif (length := fields.get("content-length")) is not None:
        if not (length.isascii() and length.isdecimal()):
            raise ValueError("the length of its answer is no number")
        if len(length) > 20 or int(length) > largest:
            raise TooLarge
        body = incoming.take(int(length))
    else:
        again = False
        while incoming.more():
            if len(incoming.held) > largest:
                raise TooLarge
        body = incoming.take(len(incoming.held))
    # What is left over nobody has asked for.
    return Answer(status, fields, body), again and not incoming.held


class _Incoming:
    """What a connection gives until a deadline, and no more than so many bytes in all."""

    def __init__(self, connection: socket.socket, deadline: float, most: int) -> None:
        self.held = bytearray()
        """What has come and was not taken."""
        self._connection = connection
        self._deadline = deadline
        self._left = most

    def more(self) -> bool:
        """Wait for more; whether there is any before the connection's end."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        if self._left <= 0:
            raise TooLarge
        self._connection.settimeout(seconds)
        data = self._connection.recv(PIECE)
        self._left -= len(data)
        self.held += data
        return bool(data)

    def expect_more(self) -> None:
        """Wait for more, which has to come."""
        if not self.more():
            raise OSError("it has ended the connection in the middle of its answer")

    def take(self, count: int) -> bytes:
        """So many bytes."""
        while len(self.held) < count:
            self.expect_more()
        taken = bytes(memoryview(self.held)[:count])
        del self.held[:count]
        return taken

    def line(self) -> bytes:
        """A line, without its end."""
        looked = 0
        while (end := self.held.find(b"\n", looked)) < 0:
            looked = len(self.held)
            if looked > LONGEST_HEAD:
                raise ValueError("a line of its answer has no end")
            self.expect_more()
        return self.take(end + 1).rstrip(b"\r\n")


def _head(incoming: _Incoming) -> tuple[bytes, int, dict[str, str]]:
    """The minor version of HTTP, the status and the fields."""
    looked = 0
    while (end := _END.search(incoming.held, looked)) is None:
        looked = max(0, len(incoming.held) - 3)
        if looked > LONGEST_HEAD:
            raise ValueError("the head of its answer has no end")
        if not incoming.held:
            if not incoming.more():
                raise OSError("it has ended the connection without an answer")
        else:
            incoming.expect_more()
    first, *lines = incoming.take(end.end())[: end.start()].split(b"\n")
    found = _STATUS.fullmatch(first.rstrip(b"\r"))
    if found is None:
        raise ValueError("its answer is not HTTP")
    fields: dict[str, str] = {}
    for line in lines:
        # No pattern takes the blanks off: between others they cost it the square of their number.
        called, colon, said = line.rstrip(b"\r").partition(b":")
        if not colon or _NAME.fullmatch(called) is None:
            raise ValueError("a field of the head of its answer is not HTTP")
        name, value = called.decode().lower(), said.strip(b" \t").decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return found[1], int(found[2]), fields


def _parts(incoming: _Incoming, largest: int) -> bytes:
    """A body that comes in parts, each with its size before it, and fields that nobody needs after the last."""
    body = bytearray()
    while True:
        size = _SIZE.fullmatch(incoming.line())
        if size is None:
            raise ValueError("a part of its answer has no size")
        count = int(size[1], 16)
        if len(body) + count > largest:
            raise TooLarge
        if count == 0:
            break
        body += incoming.take(count)
        if incoming.line():
            raise ValueError("a part of its answer is longer than it says")
    while incoming.line():
        pass
    return bytes(body)
