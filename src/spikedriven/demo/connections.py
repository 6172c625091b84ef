"""A threading HTTP server that slow, large and many requests cannot stop: limits of time, size and
number.

Python's own times single reads, so that a sender of a byte now and then stays for ever, queues five
connections, and leaves threads behind when it ends.
"""

import errno
import io
import resource
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: In which a whole request must have come, and an answer gone.
SECONDS = 10.0
#: Connections at a time, where the process may have so many files open; others are told to come
#: again.
MOST_CONNECTIONS = 512
#: Files that the process needs for itself.
_OWN_FILES = 48
#: So much of a body that is refused is read and thrown away, for so long, that its sender sees the
#: answer.
DISCARDED, DISCARD_S = 1 << 20, 1.0
BUSY = (
    b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json; "
    b"charset=utf-8\r\n"
    b'Content-Length: 47\r\n\r\n{"error": "too many requests; ask again later"}'
)


class BoundedServer(ThreadingHTTPServer):
    """At most `most` connections at a time, each in a thread that has ended when the server is
    closed.
    """

    request_queue_size = 1024  # waiting to be accepted: more are lost without an answer
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.most = _most_connections()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(
                    0.05
                    # the connection stays where it waits; asking at once would only take the
                    # processor
                )
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            welcome = len(self._open) < self.most
            if welcome:
                self._open.add(request)
        if welcome:
            super().process_request(request, client_address)
        else:
            _turn_away(request)
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """No request is read any longer; those that were are answered."""
        self.socket.close()
        with self._lock:
            for request in self._open:
                _end_reading(request)
        self.finish_work()
        super().server_close()  # waits for the threads

    def finish_work(self) -> None:
        """End whatever the threads may wait for."""


class DeadlineReader(io.RawIOBase):
    """What comes in on a socket until a moment of `time.monotonic`; TimeoutError after it,
    however it comes in.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self.deadline = connection, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the request did not come within {SECONDS:g} s")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class DeadlineHandler(BaseHTTPRequestHandler):
    """One request and its answer, each within `timeout` seconds; then the connection ends."""

    timeout = SECONDS

    def setup(self) -> None:
        super().setup()
        self._incoming = DeadlineReader(self.connection, time.monotonic() + self.timeout)
        self.rfile = io.BufferedReader(self._incoming)

    def discard(self) -> None:
        """After an answer to a request that was not read whole: a sender whose bytes nobody
        takes does not see it.
        """
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self._incoming.deadline = min(self._incoming.deadline, time.monotonic() + DISCARD_S)
        left = DISCARDED
        while left > 0 and (found := self.rfile.read1(1 << 16)):
            left -= len(found)


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        MOST_CONNECTIONS
        if files == resource.RLIM_INFINITY
        else max(4, min(MOST_CONNECTIONS, files - _OWN_FILES))
    )


def _turn_away(request: socket.socket) -> None:
    request.settimeout(0.1)
    try:
        request.sendall(BUSY)
        request.shutdown(socket.SHUT_WR)
        request.recv(
            1 << 16
        )  # what is left unread would end the connection before the answer is read
    except OSError:  # it has gone, or says nothing
        return


def _end_reading(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RD)
    except OSError:  # it has gone already
        return
