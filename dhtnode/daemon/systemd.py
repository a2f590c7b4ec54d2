"""Messages to the service manager: ready, alive, reading settings again, stopping.

The protocol is that of `sd_notify(3)`: lines of `NAME=value` in one datagram to the Unix socket that
the environment names.  Without such a socket nothing is sent, and a failure costs nothing but the
message: a node must not stop because no service manager listens.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

import trio

logger = logging.getLogger(__name__)


class Notifier:
    """A sender of messages to a service manager at a path, or at `@name` for an abstract socket."""

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        self._address = None if address is None else _socket_name(address)

    def ready(self) -> None:
        """Report that we serve, or serve again after `reloading`."""
        self.send("READY=1")

    def reloading(self) -> None:
        """Report that settings are being read again; `Type=notify-reload` wants the time with it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that we have begun to end."""
        self.send("STOPPING=1")

    def status(self, text: str) -> None:
        """Send one line for people to read."""
        self.send("STATUS=" + " ".join(text.split()))

    def send(self, *lines: str) -> None:
        """Send lines in one datagram, without waiting."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.debug("cannot notify the service manager: %s", error)

    async def keep_watchdog(self) -> None:
        """Report that we are alive, twice per period of the watchdog; until cancelled if there is one.

        A task like all others sends it, so the message is missing when tasks do not get to run.
        """
        if self.watchdog is None:
            return
        while True:
            self.send("WATCHDOG=1")
            await trio.sleep(self.watchdog / 2)


def from_environment(environment: Mapping[str, str], pid: int | None = None) -> Notifier:
    """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID describe.

    An unusable value counts as not set: a socket that is neither a path nor abstract, a watchdog
    meant for another process.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    meant_for = environment.get("WATCHDOG_PID", "")
    period = environment.get("WATCHDOG_USEC", "")
    is_ours = not meant_for or meant_for == str(os.getpid() if pid is None else pid)
    watchdog = int(period) / 1e6 if period.isascii() and period.isdigit() and is_ours else 0.0
    return Notifier(address if address[:1] in {"/", "@"} else None, watchdog or None)


def _socket_name(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address
