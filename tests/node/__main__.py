"""``make opensearch``: run a server until Ctrl-C, and print its URL.

``PORT`` in the environment is the port to listen on; ``ML=0`` leaves ml-commons out, which is 600 MB to fetch once.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from node.maven import Unavailable
from node.server import Server, find_server

PORT = "9200"
SECONDS_BETWEEN_LOOKS = 2.0


def main() -> int:
    port, ml = os.environ.get("PORT") or PORT, os.environ.get("ML", "1") != "0"
    if not port.isdecimal():
        sys.stderr.write(f"PORT is {port!r}; it must be a number\n")
        return 2
    # From the first moment on: a node that is still starting must not outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stderr.write(f"starting OpenSearch on port {port}; on a busy machine that takes minutes ...\n")
    try:
        server = find_server(port=int(port), ml=ml)
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        if ml:
            sys.stderr.write("ML=0 starts one without ml-commons, which needs a tenth of the files.\n")
        return 1
    except KeyboardInterrupt:
        return 130
    try:
        return _run(server)
    finally:
        server.stop()


def _run(server: Server) -> int:
    """Wait until somebody ends us, or the server ends."""
    try:
        sys.stderr.write(f"{server.describe()}\n")
        sys.stdout.write(f"{server.location}\n")
        sys.stdout.flush()
        sys.stderr.write(
            f"hybrid-search doctor --from {server.location} looks it over. Ctrl-C ends it; its data goes with it.\n"
        )
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            server.check_alive()
    except KeyboardInterrupt:
        return 0
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
