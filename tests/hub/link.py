"""A network in front of a TCP server of this machine: it delays, and it has a bandwidth. Bytes pass unseen.

Each direction delays by half of the round trip. A connection costs a round trip before its first byte passes, as if the
client had waited for the handshake (loopback's own answers at once). Any number of bytes may be on the way: latency does not
limit bandwidth. The bandwidth is shared by all connections, each direction has its own.
"""

import asyncio
import collections
import socket
import struct
import threading

ON_THE_WAY_MAX = 64 << 20  # bytes on the way of one connection and direction before the sender is held back


def reset(transport):
    """Closes a connection with RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class End(asyncio.Protocol):
    """One end of a connection: what is received here leaves at the other end, later."""

    def __init__(self, link, client=None):
        self.link = link
        self.is_client = client is None
        self.other = client or End(link, self)
        self.transport = None
        self.queue = collections.deque()  # (time at which it leaves, bytes; None for the end)
        self.queued = 0
        self.last_due = 0.0
        self.timer = None
        self.is_blocked = False  # the other end's buffer is full
        self.was_reset = False
        self.has_ended = False  # its end was delivered

    def connection_made(self, transport):
        self.transport = transport
        self.link.ends.add(self)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.is_client:  # its first bytes wait for the handshake
            self.last_due = self.link.loop.time() + 3 * self.link.delay
            self.link.loop.create_task(self.connect())

    async def connect(self):
        try:
            await self.link.loop.create_connection(lambda: self.other, *self.link.server)
            self.arm()
        except OSError:
            reset(self.transport)

    def data_received(self, data):
        self.queued += len(data)
        if self.queued > ON_THE_WAY_MAX:
            self.transport.pause_reading()
        self.enqueue(data)

    def eof_received(self):
        self.enqueue(None)
        return True  # the other direction goes on

    def connection_lost(self, exc):
        self.link.ends.discard(self)
        self.was_reset = exc is not None
        self.enqueue(None)

    def enqueue(self, data):
        link, now = self.link, self.link.loop.time()
        leaves = now
        if link.rate and data:
            leaves = max(now, link.busy_until[self.is_client]) + len(data) / link.rate
            link.busy_until[self.is_client] = leaves
        self.last_due = max(leaves + link.delay, self.last_due)  # nothing overtakes
        self.queue.append((self.last_due, data))
        self.arm()

    def arm(self):
        if self.timer is None and self.queue and self.other.transport is not None and not self.is_blocked:
            self.timer = self.link.loop.call_at(self.queue[0][0], self.deliver)

    def deliver(self):
        self.timer = None
        now = self.link.loop.time() + 1e-6
        while self.queue and self.queue[0][0] <= now and not self.is_blocked:
            data = self.queue.popleft()[1]
            if data is None:
                self.end()
            else:
                self.queued -= len(data)
                if not self.other.transport.is_closing():
                    self.other.transport.write(data)
                if self.queued <= ON_THE_WAY_MAX // 2 and not self.transport.is_closing():
                    self.transport.resume_reading()
        self.arm()

    def end(self):
        to = self.other.transport
        self.has_ended = True
        if to.is_closing():
            return
        if self.was_reset:
            reset(to)
        elif self.other.has_ended or self.transport.is_closing():
            to.close()
            self.transport.close()
        else:
            to.write_eof()

    def pause_writing(self):
        self.other.is_blocked = True

    def resume_writing(self):
        self.other.is_blocked = False
        self.other.arm()


class Link:
    """`Link(server_port, round_trip_ms=50).port` is where the server seems to be."""

    def __init__(self, server_port, round_trip_ms=0, bytes_per_second=0, port=0):
        self.server = ("127.0.0.1", server_port)
        self.delay = round_trip_ms / 2000
        self.rate = bytes_per_second
        self.busy_until = [0.0, 0.0]  # the line, towards the client and towards the server
        self.ends = set()  # connected
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(port, started), daemon=True)
        self.thread.start()
        started.wait()

    def _run(self, port, started):
        loop = self.loop
        listener = loop.run_until_complete(loop.create_server(lambda: End(self), "127.0.0.1", port, backlog=1024))
        self.port = listener.sockets[0].getsockname()[1]
        started.set()
        loop.run_forever()
        listener.close()
        for end in list(self.ends):
            end.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))  # what is aborted closes in the next round
        loop.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
