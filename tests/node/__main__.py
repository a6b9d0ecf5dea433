"""``make opensearch``: run a server until Ctrl-C, and print its URL."""

from __future__ import annotations

import signal
import sys
import threading

from node.maven import Unavailable
from node.server import find_server

PORT = 9200


def main() -> int:
    try:
        server = find_server(port=PORT)
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{server.describe()}\n")
    sys.stdout.write(f"{server.location}\n")
    sys.stdout.flush()
    sys.stderr.write(
        f"hybrid-search doctor --from {server.location} looks it over. Ctrl-C ends it; its data goes with it.\n"
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
