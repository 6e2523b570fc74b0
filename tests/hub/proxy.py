#!/usr/bin/env python3
"""A reverse proxy in front of an HTTP server of this machine, which makes faults: see faults.py, or run it with --help.

A thread a connection, and one connection to the origin for each. Without faults bodies go from socket to socket inside the
kernel. What was asked is kept in `log`. Targets that begin with /-/…/ are asked of the origin without that prefix.
"""

import argparse
import dataclasses
import fcntl
import os
import re
import select
import signal
import socket
import ssl
import sys
import threading
import time

from faults import Rule
from link import Link
from wire import CHUNK, Answer, Gone, Request, Wire, close, without

threading.stack_size(512 << 10)
HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection")


@dataclasses.dataclass
class Entry:
    """One request, and how it went."""

    method: str
    target: str
    headers: list
    connection: int  # numbered from 1
    started: float
    faults: list
    ended: float = 0.0  # 0: not yet
    status: int = 0
    sent: int = 0  # bytes of the body
    is_whole: bool = False

    def header(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


class Sender:
    """Sends one answer to the client, as a fault says."""

    def __init__(self, proxy, client, entry, with_body):
        self.proxy, self.client, self.entry, self.with_body = proxy, client, entry, with_body
        self.pipe = None

    def wait(self, seconds):
        """Until then, or until the client or the proxy goes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.proxy.closing.is_set():
            poll = select.poll()
            poll.register(self.client.sock, select.POLLRDHUP)
            if poll.poll(min(left, 0.2) * 1000):
                raise Gone("the client went away")

    def _head(self, answer):
        self.entry.status = answer.status
        self.client.send_head(f"HTTP/1.1 {answer.status} {answer.reason}", without(answer.headers, *HOP_BY_HOP)
                              + ([("Connection", "close")] if answer.header("Connection", "").lower() == "close" else []))

    def _bytes(self, data):
        self.client.sock.sendall(data)
        self.entry.sent += len(data)

    def send_all(self, answer, limit=None, pause_at=None, pause_seconds=0, piece=CHUNK, piece_seconds=0):
        if answer.is_chunked:
            return self.send_chunked(answer)
        self._head(answer)
        if not self.with_body:
            return None
        plain = limit is None and pause_at is None and not piece_seconds
        if plain and answer.body is None and answer.length and not self.proxy.is_tls:
            return self._splice(answer)
        for chunk in answer.chunks():
            for i in range(0, len(chunk), piece):
                part = chunk[i:i + piece]
                if limit is not None and self.entry.sent + len(part) >= limit:
                    return self._bytes(part[:limit - self.entry.sent])
                if pause_at is not None and 0 <= pause_at <= self.entry.sent + len(part):
                    head = part[:pause_at - self.entry.sent]
                    self._bytes(head)
                    self.wait(pause_seconds)
                    part, pause_at = part[len(head):], None
                self._bytes(part)
                if piece_seconds:
                    self.wait(piece_seconds)
        return None

    def _splice(self, answer):
        """From the origin's socket to the client's without a copy in this process."""
        wire, left = answer.wire, answer.length
        while left and wire.ahead:
            data = wire.read(left)
            self._bytes(data)
            left -= len(data)
        if not left:
            return
        read, write = os.pipe()
        try:
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, CHUNK)
            while left:
                n = os.splice(wire.sock.fileno(), write, min(left, CHUNK))
                if not n:
                    raise Gone(f"the origin, {left} bytes early")
                left -= n
                while n:
                    done = os.splice(read, self.client.sock.fileno(), n)
                    n -= done
                    self.entry.sent += done
        finally:
            os.close(read)
            os.close(write)

    def send_chunked(self, answer):
        answer.set("Content-Length", None)
        answer.set("Transfer-Encoding", "chunked")
        self._head(answer)
        if self.with_body:
            for chunk in answer.chunks():
                self.client.sock.sendall(b"%x\r\n" % len(chunk))
                self._bytes(chunk)
                self.client.sock.sendall(b"\r\n")
            self.client.sock.sendall(b"0\r\n\r\n")

    def send_padding(self, answer, byte, size):
        """That many bytes, then the answer."""
        answer.load()
        answer.set("Content-Length", size + len(answer.body))
        self._head(answer)
        if self.with_body:
            for i in range(0, size, CHUNK):
                self._bytes(byte * min(CHUNK, size - i))
            self._bytes(answer.body)

    def close(self):
        raise Gone("cut")

    def reset(self):
        self.client.reset()
        raise Gone("reset")


class Proxy:
    """`with Proxy(port_of_origin, rules=[Rule(Cut(1000), path="/resolve/", first=1)]) as proxy:` proxy.url is the endpoint.

    tls: (certificate, key) files; the proxy is https then, and `plain_url` (the origin itself) is http.
    round_trip_ms, bytes_per_second: the network in front of it (link.py).
    Rules may be added and removed at any time; the first one that gives an answer ends the search.
    """

    def __init__(self, origin_port, rules=(), port=0, round_trip_ms=0, bytes_per_second=0, tls=None):
        self.origin_port, self.rules, self.log = origin_port, list(rules), []
        self.lock, self.closing, self.is_tls = threading.Lock(), threading.Event(), tls is not None
        self.n_connections, self.open = 0, {}
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, tls))
        self.link = None
        has_link = round_trip_ms or bytes_per_second
        self.listener = socket.create_server(("127.0.0.1", 0 if has_link else port), backlog=1024)
        self.port = self.listener.getsockname()[1]
        if has_link:
            self.link = Link(self.port, round_trip_ms, bytes_per_second, port)
            self.port = self.link.port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nobody listens any more, what is open is reset."""
        self.closing.set()
        if self.link:
            self.link.close()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        with self.lock:
            threads = list(self.open.items())
        for thread, sock in threads:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread, _ in threads:
            thread.join(5)

    def add(self, fault, **where):
        """A rule in front of the others; it is returned."""
        rule = Rule(fault, **where)
        with self.lock:
            self.rules.insert(0, rule)
        return rule

    def clear(self):
        """No rules, an empty log."""
        with self.lock:
            self.rules.clear()
            self.log.clear()

    def requests(self, path="", method=""):
        """The log's entries whose target matches."""
        with self.lock:
            return [e for e in self.log if re.search(path, e.target) and method in ("", e.method)]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.n_connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.n_connections), daemon=True)
            with self.lock:
                self.open[thread] = sock
            thread.start()

    def _serve(self, sock, number):
        origin = None
        try:
            if self.context:
                sock.settimeout(30)
                sock = self.context.wrap_socket(sock, server_side=True)
                sock.settimeout(None)
            client = Wire(sock)
            origin = Wire(socket.create_connection(("127.0.0.1", self.origin_port)))
            while True:
                request = Request(client, *client.read_head())
                origin, goes_on = self._exchange(client, origin, request, number)
                if not goes_on:
                    break
        except (Gone, OSError, ValueError):
            pass
        finally:
            close(sock)
            if origin:
                origin.close()
            with self.lock:
                self.open.pop(threading.current_thread(), None)

    def _exchange(self, client, origin, request, number):
        """One request and its answer: the connection to the origin, and whether the client's goes on."""
        request.load()
        with self.lock:
            rules = [rule for rule in self.rules if rule.meets(request)]
            entry = Entry(request.method, request.target, request.headers, number, time.monotonic(), [r.fault.name for r in rules])
            self.log.append(entry)
        answer = None
        for rule in rules:
            answer = answer or rule.fault.ask(request, self)
        if answer is None:
            origin, answer = self._ask(origin, request)
            for rule in rules:
                rule.fault.answer(request, answer, self)
        if request.method == "HEAD":
            answer.body = b""
        if self.is_tls and answer.header("Link"):
            answer.set("Link", answer.header("Link").replace("<http://", "<https://"))
        sender = Sender(self, client, entry, request.method != "HEAD")
        send = next((rule.fault.send for rule in rules if rule.fault.send), None)
        try:
            send(sender, answer) if send else sender.send_all(answer)
            entry.is_whole = True
        finally:
            entry.ended = time.monotonic()
        return origin, request.keeps_alive and answer.header("Connection", "").lower() != "close"

    def _ask(self, origin, request):
        """Of the origin; its connection may have been closed since the last request."""
        headers = without(request.headers, *HOP_BY_HOP)
        target = re.sub(r"^/-/[^/]*(?=/)", "", re.sub(r"^https?://[^/]*", "", request.target))
        for is_last in (False, True):
            try:
                origin.send_head(f"{request.method} {target} HTTP/1.1", headers)
                if request.body:
                    origin.sock.sendall(request.body)
                return origin, Answer.read(origin, request.method)
            except (Gone, OSError):
                if is_last:
                    raise
                origin.close()
                origin = Wire(socket.create_connection(("127.0.0.1", self.origin_port)))
        raise AssertionError

    def ask_origin(self, method, target, headers):
        """One answer, by a connection of its own; its body is here."""
        origin = Wire(socket.create_connection(("127.0.0.1", self.origin_port)))
        try:
            request = Request(origin, f"{method} {target} HTTP/1.1", headers)
            request.body = b""
            origin, answer = self._ask(origin, request)
            answer.load()
            return answer
        finally:
            origin.close()


def main():
    about = argparse.ArgumentParser(description="A proxy that delays and makes faults; the first line printed is its URL.")
    about.add_argument("origin_port", type=int, help="of an HTTP server on 127.0.0.1")
    about.add_argument("--port", type=int, default=0, help="default: a free one")
    about.add_argument("--round-trip-ms", type=float, default=0, help="latency, also of setting up a connection")
    about.add_argument("--bytes-per-second", type=float, default=0, help="bandwidth of each direction, of all connections together")
    about.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="be https")
    about.add_argument("--rule", action="append", default=[], type=Rule.parse, metavar="'FAULT name=value …'",
                       help=Rule.parse.__doc__ + "; faults.py has the list")
    about.add_argument("--log", action="store_true", help="a line on stderr for each request, at the end")
    args = about.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Proxy(args.origin_port, args.rule, args.port, args.round_trip_ms, args.bytes_per_second, args.tls) as proxy:
        print(proxy.url, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            for e in proxy.log if args.log else ():
                took = f"{e.ended - e.started:.3f} s" if e.ended else "unfinished"
                print(f"{e.connection} {e.method} {e.target} {e.status} {e.sent} bytes {took} {' '.join(e.faults)}", file=sys.stderr)


if __name__ == "__main__":
    main()
