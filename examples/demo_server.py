"""The server of the demonstration: started and ended by its own id, and spoken to by the installed command."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

BIN = Path(sys.executable).parent
FORERUN = str(BIN / "forerun")
READY_WITHIN_S = 60


def start_server(data):
    """Start ``forerun up`` and wait; the server and its ready line."""
    command = [FORERUN, "up", "--listen", f"127.0.0.1:{free_port()}", "--data", str(data)]
    log = (data / "server.log").open("ab")
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        env=clean_environment(),
        text=True,
        start_new_session=True,
    )
    log.close()
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(server.stdout, lines), daemon=True).start()
    try:
        ready = lines.get(timeout=READY_WITHIN_S)
    except queue.Empty:
        ready = ""
    if not ready.startswith("ready"):
        stop_server(server)
        sys.exit(f"the server did not start:\n{(data / 'server.log').read_text()[-4000:]}")
    return server, ready.strip()


def read_lines(stream, lines):
    """Hand on what the server prints; an empty line when it ended."""
    for line in stream:
        lines.put(line)
    lines.put("")


def stop_server(server):
    """End the server that we started, by its own id."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=40)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=10)


def run_json(data, *arguments):
    """Run ``forerun ... --json`` and read what it prints."""
    where = ["--data", str(data)] if data else []
    done = subprocess.run(
        [FORERUN, *arguments, *where, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"forerun {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


def exports(data):
    """What ``eval "$(forerun env)"`` would set."""
    done = subprocess.run(
        [FORERUN, "env", "--data", str(data), "--json"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)


def clean_environment():
    """Ours without what would point AWS tools elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port():
    """A port that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
