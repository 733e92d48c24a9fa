#!/usr/bin/env python3
"""Runs the Autobahn|Testsuite against the gateway's own handshake, frames and connections.

The server is `messenger` with the feature `echo`: each text is answered with itself. `wstest` is
the suite's program (Python 2: `pip install autobahntestsuite`); name it with WSTEST where it is
not in the path. Prints each case that did not pass, with the reason that `EXPECTED` has for it,
and fails where there is none.
"""

import collections
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
BINARY = "binary frames are refused: 1003 (the contract's section 3)"
PONGS = "of several pings that are read at once the last is answered (RFC 6455, section 5.5.3)"
LATE = "text that is not UTF-8 is refused when its message is whole, not before"
# Cases that do not pass, each with its reason.
EXPECTED = {
    **{f"1.2.{case}": BINARY for case in range(1, 9)},
    "2.10": PONGS,
    "2.11": PONGS,
    **{f"6.4.{case}": LATE for case in range(1, 5)},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(base, path, body):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def start(program, folder):
    port, admin = free_port(), free_port()
    environment = {
        "HOME": folder,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ADMIN_PORT": str(admin),
        "DATABASE_URL": "sqlite:" + folder + "/echo.db",
        "RATE_LIMITS": "off",
        "HEARTBEAT_SECONDS": "600",
        "IDLE_TIMEOUT_SECONDS": "3600",
        "MAX_CONNECTIONS_PER_USER": "1000",
        "MAX_FRAME_BYTES": "262144",
    }
    with open(folder + "/server.log", "wb") as log:
        server = subprocess.Popen([program], env=environment, cwd=folder, stdout=log, stderr=log)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).close()
            return server, port
        except OSError:
            time.sleep(0.1)
    server.kill()
    sys.exit(pathlib.Path(folder, "server.log").read_text())


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    program = os.environ.get("ECHO", str(root / "target/debug/examples/echo"))
    with tempfile.TemporaryDirectory() as folder:
        server, port = start(program, folder)
        try:
            base = f"http://127.0.0.1:{port}"
            user = {"username": "autobahn", "email": "autobahn@example.org", "password": "correct horse battery"}
            post(base, "/auth/register", user)
            token = post(base, "/auth/login", user)["access_token"]
            spec = {
                "outdir": folder + "/reports",
                "servers": [{"agent": "messenger", "url": f"ws://127.0.0.1:{port}/ws/chat/{token}"}],
                "cases": os.environ.get("CASES", ",".join(CASES)).split(","),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
            pathlib.Path(folder, "spec.json").write_text(json.dumps(spec))
            wstest = [os.environ.get("WSTEST", "wstest"), "-m", "fuzzingclient", "-s", folder + "/spec.json"]
            subprocess.run(wstest, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        finally:
            server.terminate()
            server.wait()
        results = json.loads(pathlib.Path(folder, "reports/index.json").read_text())["messenger"]
    unexplained = 0
    order = lambda case: [int(part) for part in case.split(".")]
    for case in sorted(results, key=order):
        found = results[case]
        verdict = (found["behavior"], found["behaviorClose"])
        if set(verdict) <= {"OK", "INFORMATIONAL"}:
            continue
        reason = EXPECTED.get(case)
        unexplained += reason is None
        print(f"{case}: {verdict[0]}, close {verdict[1]} ({found.get('remoteCloseCode')}): {reason or 'NOT EXPLAINED'}")
    counts = collections.Counter(found["behavior"] for found in results.values())
    print(f"{len(results)} cases: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
