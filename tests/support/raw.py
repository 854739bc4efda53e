"""Bytes on a socket: HTTP/1.1 by hand, and HTTP/2 frames without a library."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def connect(server, seconds=20):
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name, value):
    """A header field as HPACK literal without indexing, plain text."""
    def text(value):
        size = len(value)
        if size < 127:
            return bytes([size]) + value
        out, size = b"\x7f", size - 127
        while size > 127:
            out += bytes([size & 127 | 128])
            size >>= 7
        return out + bytes([size]) + value
    return b"\x00" + text(name) + text(value)


def headers(path, extra=(), method=b"POST"):
    fields = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"test"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers"), *extra]
    return b"".join(_literal(name, value) for name, value in fields)


def message(payload):
    """One gRPC message with its five-byte prefix."""
    return b"\0" + struct.pack(">I", len(payload)) + payload


def opening():
    return PREFACE + frame(SETTINGS)


def read_all(connection):
    """Everything until the other side closes (or resets, which is the same to us)."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return received
        if not piece:
            return received
        received += piece


def frames(received):
    """(kind, flags, stream, payload) of the whole frames in `received`."""
    found, at = [], 0
    while at + 9 <= len(received):
        size = int.from_bytes(received[at:at + 3], "big")
        if at + 9 + size > len(received):
            break
        stream = int.from_bytes(received[at + 5:at + 9], "big") & 0x7FFFFFFF
        found.append((received[at + 3], received[at + 4], stream, received[at + 9:at + 9 + size]))
        at += 9 + size
    return found


class Http2:
    """A connection that speaks frames; `next(kind)` skips what is not asked for."""

    def __init__(self, server, first=None):
        self.socket = connect(server)
        self.socket.sendall(opening() if first is None else first)
        self.received = b""

    def send(self, *pieces):
        self.socket.sendall(b"".join(pieces))

    def next(self, *kinds):
        while True:
            found = frames(self.received)
            if found:
                kind, flags, stream, payload = found[0]
                self.received = self.received[9 + len(payload):]
                if kind in kinds:
                    return kind, flags, stream, payload
                continue
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed by the server")
            self.received += piece

    def close(self):
        self.socket.close()
