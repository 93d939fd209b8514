"""What watching costs a Python function for each call it makes: microseconds beside an HTTP client without a network.

    .venv/bin/python bench/outgoing_calls.py [CALLS]

Each line is the best of five rounds, in an interpreter of its own: `http.client` as it is, as it is in a sandbox that is not
monitored, and monitored, with its frames read by another process.
"""

import http.client
import io
import os
import socket
import subprocess
import sys
import time

from forerun.runtime import calls, instrument, logs, wire

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Forerun=53995c3f42cd8ad8-1-10-0123456789abcdef"
MODES = ("as it is", "not monitored", "monitored")
ROUNDS = 5


class Silent:
    """A socket that takes everything and gives one answer."""

    def sendall(self, data):
        pass

    def makefile(self, *_):
        return io.BytesIO(ANSWER)

    def fileno(self):
        return -1

    def close(self):
        pass


def one(count):
    connection = http.client.HTTPConnection("localhost", 80)
    connection.sock = Silent()
    began = time.perf_counter()
    for _ in range(count):
        connection.request("POST", "/orders/17?page=2", b"hello", {"Content-Type": "text/plain"})
        connection.getresponse().read()
    return (time.perf_counter() - began) / count * 1e6


def measure(mode, count):
    if mode != MODES[0]:
        instrument.install()
    if mode == MODES[2]:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            while theirs.recv(1 << 16):
                pass
            os._exit(0)
        theirs.close()
        outlet = logs.Outlet(wire.Stream(ours))
    best = float("inf")
    for _ in range(ROUNDS):
        if mode == MODES[2]:
            calls.begin(outlet, {"trace_id": TRACE})
        best = min(best, one(count))
        calls.end()
    print(f"{best:.1f}")


def main():
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    count = sys.argv[1] if len(sys.argv) > 1 else "5000"
    found = {}
    for mode in MODES:
        done = subprocess.run(
            [sys.executable, __file__, mode, count], check=True, capture_output=True, text=True
        )
        found[mode] = float(done.stdout)
        print(f"{mode:14} {found[mode]:6.1f} us a call, {found[mode] - found[MODES[0]]:+6.1f}")


if __name__ == "__main__":
    main()
