"""A TLS server with a script, for HTTP/1.1 and HTTP/2: tls_server.py CERT KEY PROTOCOL ACTION…

Prints its port, serves until its standard input ends. PROTOCOL is what it agrees to: "http/1.1" or "h2". Each request takes the
next ACTION; the last one is for all that follow:

  ok            200, "0123456789"
  echo          200, "token" or "none": what the request carried (HTTP/1.1 alone)
  cut           200, half of it, then the connection ends
  part          206, the second half
  to=URL        302
  reset         the stream is reset after half of it (HTTP/2 alone)
  refuse        the stream is reset before anything (HTTP/2 alone)
  mute          nothing is answered, nor any later request of the connection (HTTP/2 alone)
  goaway        the connection is given up with GOAWAY (HTTP/2 alone)
"""

import socket
import ssl
import struct
import sys
import threading

BODY = b"0123456789"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Script:
    def __init__(self, actions):
        self.actions = actions
        self.lock = threading.Lock()

    def next(self):
        with self.lock:
            return self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def serve_1(connection, script):
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read_exactly(connection, 1)
        action = script.next()
        status, fields, body, announced = b"200 OK", b"", BODY, None
        if action == "echo":
            body = b"token" if b"authorization: bearer" in head.lower() else b"none"
        elif action == "cut":
            body, announced = BODY[:5], len(BODY)
        elif action == "part":
            status, fields, body = b"206 Part", b"Content-Range: bytes 5-9/10\r\n", BODY[5:]
        elif action.startswith("to="):
            status, fields, body = b"302 Go", b"Location: %s\r\n" % action[3:].encode(), b""
        length = announced or len(body)
        connection.sendall(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, fields, length, body))
        if announced:
            return


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def answer_2(connection, stream, action):
    """False: the connection is over. Header blocks are HPACK by hand: 0x88 is ":status: 200"."""
    if action == "refuse":
        connection.sendall(frame(RST_STREAM, 0, stream, struct.pack("!I", 2)))
    elif action == "goaway":
        connection.sendall(frame(GOAWAY, 0, 0, struct.pack("!II", 0, 2)))
        return False
    elif action == "mute":
        while connection.recv(4096):
            pass
        return False
    elif action == "part":
        block = b"\x8a\x0f\x0f\x10bytes 5-9/10".replace(b"\x10", bytes([len("bytes 5-9/10")]))
        connection.sendall(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, BODY[5:]))
    elif action in ("reset", "cut"):
        connection.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88") + frame(DATA, 0, stream, BODY[:5]))
        if action == "cut":
            return False
        connection.sendall(frame(RST_STREAM, 0, stream, struct.pack("!I", 2)))
    else:
        connection.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88") + frame(DATA, END_STREAM, stream, BODY))
    return True


def serve_2(connection, script):
    read_exactly(connection, len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    connection.sendall(frame(SETTINGS, 0, 0))
    while True:
        head = read_exactly(connection, 9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack("!BBI", head[3:])
        payload = read_exactly(connection, size)
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            connection.sendall(frame(PING, ACK, 0, payload))
        elif kind == HEADERS and not answer_2(connection, stream, script.next()):
            return


def end(connection):
    """Closes it when the other side has: what it sent and nobody reads would make the end a reset, which may overtake what was sent here."""
    try:
        connection.settimeout(5)
        connection.shutdown(socket.SHUT_WR)  # of the TCP connection, without TLS's own farewell
        while connection.recv(4096):
            pass
    except OSError:
        pass
    finally:
        connection.close()


def serve(raw, context, script):
    try:
        connection = context.wrap_socket(raw, server_side=True)
    except (OSError, ssl.SSLError):
        raw.close()
        return
    try:
        (serve_2 if connection.selected_alpn_protocol() == "h2" else serve_1)(connection, script)
    except (OSError, ConnectionError):
        pass
    finally:
        end(connection)


def main():
    cert, key, protocol, *actions = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols([protocol])
    script = Script(actions)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=serve, args=(raw, context, script), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
