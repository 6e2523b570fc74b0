"""HTTP/1.1 messages as bytes on a socket, no more than a proxy needs."""

import os
import socket
import struct

HEAD_MAX = 256 << 10
CHUNK = 1 << 20
NO_BODY = (204, 304)


class Gone(Exception):
    """The other side has closed the connection, or said what is no HTTP."""


class Wire:
    """A connected socket with what was read too far."""

    def __init__(self, sock):
        self.sock, self.ahead = sock, b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, size=CHUNK):
        """Some bytes, b"" at the end."""
        if self.ahead:
            data, self.ahead = self.ahead[:size], self.ahead[size:]
            return data
        return self.sock.recv(size)

    def read_line(self):
        while b"\n" not in self.ahead:
            data = self.sock.recv(CHUNK)
            if not data or len(self.ahead) > HEAD_MAX:
                raise Gone("in the middle of a line")
            self.ahead += data
        line, _, self.ahead = self.ahead.partition(b"\n")
        return line.rstrip(b"\r").decode("latin-1")

    def read_head(self):
        """The first line and the headers, a list of pairs."""
        first, headers = self.read_line(), []
        while line := self.read_line():
            name, colon, value = line.partition(":")
            if not colon:
                raise Gone(f"no header: {line!r}")
            headers.append((name, value.strip()))
        return first, headers

    def send_head(self, first, headers):
        text = first + "\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        self.sock.sendall(text.encode("latin-1"))

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.sock.detach())

    def close(self):
        close(self.sock)


def close(sock):
    """Also when a thread is reading from it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


def find(headers, name, default=None):
    return next((v for k, v in headers if k.lower() == name.lower()), default)


def without(headers, *names):
    return [(k, v) for k, v in headers if k.lower() not in [n.lower() for n in names]]


def replaced(headers, name, value):
    """With this value in the place of all others of that name; None: without any."""
    return without(headers, name) + ([] if value is None else [(name, str(value))])


class Message:
    """A request or an answer. Its body is here as bytes, or still to be read from its wire."""

    def __init__(self, headers, wire=None, length=0, is_chunked=False):
        self.headers, self.wire, self.length, self.is_chunked = headers, wire, length, is_chunked
        self.body = None  # bytes, once they are here or were set

    def header(self, name, default=None):
        return find(self.headers, name, default)

    def set(self, name, value):
        self.headers = replaced(self.headers, name, value)

    def chunks(self):
        """The body, piece by piece."""
        if self.body is not None:
            for i in range(0, len(self.body), CHUNK):
                yield self.body[i:i + CHUNK]
        elif self.is_chunked:
            while size := int(self.wire.read_line().partition(";")[0], 16):
                yield from self._exactly(size)
                self.wire.read_line()
            while self.wire.read_line():
                pass
        elif self.length is None:
            while data := self.wire.read():
                yield data
        else:
            yield from self._exactly(self.length)

    def _exactly(self, size):
        while size:
            data = self.wire.read(min(size, CHUNK))
            if not data:
                raise Gone(f"{size} bytes early")
            size -= len(data)
            yield data

    def load(self):
        """The whole body; its length is announced from now on."""
        if self.body is None:
            self.replace_body(b"".join(self.chunks()))
        return self.body

    def replace_body(self, body):
        self.body, self.is_chunked, self.length = body, False, len(body)
        self.headers = replaced(without(self.headers, "Transfer-Encoding"), "Content-Length", len(body))


class Request(Message):
    def __init__(self, wire, first, headers):
        super().__init__(headers, wire, int(find(headers, "Content-Length", "0")),
                         "chunked" in find(headers, "Transfer-Encoding", ""))
        try:
            self.method, self.target, version = first.split(" ")
        except ValueError:
            raise Gone(f"no request: {first!r}") from None
        self.keeps_alive = version == "HTTP/1.1" and find(headers, "Connection", "").lower() != "close"


class Answer(Message):
    def __init__(self, status, reason="", headers=(), **rest):
        super().__init__(list(headers), **rest)
        self.status, self.reason = status, reason

    @classmethod
    def read(cls, wire, method):
        first, headers = wire.read_head()
        _, status, reason = (first + " ").split(" ", 2)
        answer = cls(int(status), reason.strip(), headers, wire=wire)
        length = answer.header("Content-Length")
        answer.is_chunked = "chunked" in answer.header("Transfer-Encoding", "")
        answer.length = None if length is None else int(length)
        if method == "HEAD" or answer.status in NO_BODY:
            answer.body, answer.length = b"", 0
        return answer

    @classmethod
    def made(cls, status, reason, body=b"", *headers):
        answer = cls(status, reason, headers)
        answer.replace_body(body if isinstance(body, bytes) else body.encode())
        return answer
