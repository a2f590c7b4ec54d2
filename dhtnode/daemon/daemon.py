"""The node as a daemon: what `dhtnode run` adds to `open_node`.

Signals, the log, the status socket, metrics, messages to the service manager, and the lines that
`HealthMonitor` writes for an operator.  All of it is opened before the node reports that it is ready,
and all of it ends with the node.
"""

import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from dhtnode import __version__
from dhtnode.addresses import parse_address
from dhtnode.api.node import Node
from dhtnode.api.open_node import open_node
from dhtnode.api.results import NodeStatistics
from dhtnode.daemon.config import ConfigError, Configuration, DaemonSettings, reload
from dhtnode.daemon.gateway_options import GatewayOptionError, gateway_settings
from dhtnode.daemon.health import LOOK_EVERY, HealthMonitor
from dhtnode.daemon.local_socket import (
    Answer,
    address_of,
    listening_on_loopback,
    listening_on_path,
    serve_clients,
)
from dhtnode.daemon.loop_lag import LoopLag
from dhtnode.daemon.signals import catching_signals
from dhtnode.daemon.status import ProcessState, status_record
from dhtnode.daemon.systemd import from_environment
from dhtnode.gateway_server import Gateway, open_gateway
from dhtnode.logs import LogFileError, direct_log
from dhtnode.nurseries import open_service_nursery
from dhtnode.settings import LIMITS

logger = logging.getLogger(__name__)

Load = Callable[[], Configuration]
Announce = Callable[[Mapping[str, object], str], None]
"""A callback that prints where we listen: as a record, or as a line."""


class Daemon:
    """One node and everything around it."""

    def __init__(
        self, settings: DaemonSettings, load: Load, announce: Announce, environment: Mapping[str, str]
    ) -> None:
        """Prepare; `load` reads the settings again on SIGHUP, or raises `ConfigError`."""
        self._settings = settings
        self._load = load
        self._announce = announce
        self._notifier = from_environment(environment)
        self._lag = LoopLag(self._settings.late_after)
        self._health = HealthMonitor()
        self._node: Node | None = None
        self._gateway: Gateway | None = None

    async def run(self, timeout: float | None) -> None:
        """Serve until SIGINT, SIGTERM or the timeout, then save and close.

        Raises what `open_node` does, and `AddressInUse`, `CannotListen` and `LogFileError`.
        """
        direct_log(self._settings.log, self._settings.log_level)
        # Signals are caught until all is closed: a second one must not interrupt the saving.
        with catching_signals(even_ignored=True) as next_signal:
            async with open_service_nursery() as nursery:
                ending = trio.move_on_after(timeout or float("inf"))
                nursery.start_soon(self._handle_signals, next_signal, ending, name="handle signals")
                with ending:
                    await self._serve()
                self._notifier.stopping()

    async def _serve(self) -> None:
        settings = self._settings
        async with (
            _open(settings) as node,
            self._open_gateway(node) as opened,
            open_service_nursery() as nursery,
        ):
            with ExitStack() as closing:
                self._node = node
                # A signal may have changed the settings while the node was opened.
                node.change_limits(self._settings.node)
                lines = [*opened, *self._listen(node, nursery, closing)]
                nursery.start_soon(self._notifier.keep_watchdog, name="watchdog")
                nursery.start_soon(self._look, node, name="look at the node")
                for record, line in [*_sockets(node), *lines]:
                    self._announce(record, line)
                self._notifier.ready()
                await trio.sleep_forever()

    @asynccontextmanager
    async def _open_gateway(self, node: Node) -> AsyncIterator[list[tuple[Mapping[str, object], str]]]:
        """Run the gateway for the length of the block, if there is to be one; yield what to print."""
        options = self._settings.beside
        if not options.gateway:
            yield []
            return
        async with open_gateway(node, gateway_settings(options)) as self._gateway:
            yield [
                ({"gateway": name, "url": url}, f"gateway {name} {url}")
                for name, url in self._gateway.listeners
            ]

    def _listen(
        self, node: Node, nursery: trio.Nursery, closing: ExitStack
    ) -> Iterator[tuple[Mapping[str, object], str]]:
        """Open the sockets that the settings name beside the node, and yield what to print about each."""
        path, metrics = self._settings.status_socket, self._settings.metrics
        if path is not None:
            listener = closing.enter_context(listening_on_path(Path(path)))
            answer = _status_answer(node, self._lag, self._health, self._gateway)
            nursery.start_soon(serve_clients, listener, answer, name="status socket")
        if metrics is not None:
            # prometheus-client is loaded by daemons that serve metrics only.
            from dhtnode.daemon.metrics import answer_http, new_renderer

            look = None if self._gateway is None else self._gateway.statistics
            render = new_renderer(node.statistics, self._lag, look)
            if "/" in metrics:
                listener = closing.enter_context(listening_on_path(Path(metrics)))
                where = metrics
            else:
                listener = closing.enter_context(listening_on_loopback(parse_address(metrics)))
                where = f"http://{address_of(listener)}/metrics"
            answer = partial(answer_http, render=render, by_port="/" not in metrics)
            nursery.start_soon(serve_clients, listener, answer, name="metrics")
            yield {"metrics": where}, f"metrics {where}"

    async def _handle_signals(
        self, next_signal: Callable[[], Awaitable[int]], ending: trio.CancelScope
    ) -> None:
        while True:
            number = await next_signal()
            if number == getattr(signal, "SIGHUP", None):
                self._reload()
            else:
                logger.info("%s: saving and closing", signal.Signals(number).name)
                ending.cancel()

    def _reload(self) -> None:
        """Open the log again and apply the settings that can change; if any is wrong, none."""
        self._notifier.reloading()
        try:
            taken, changed, pending = reload(self._settings, self._load().settings)
            lists = None if self._gateway is None else gateway_settings(taken.beside)
            direct_log(taken.log, taken.log_level)
        except (ConfigError, LogFileError, GatewayOptionError) as error:
            logger.warning("settings not read again, all stays as it was: %s", error)
        else:
            self._settings = taken
            self._lag.late_after = taken.late_after
            if self._gateway is not None and lists is not None:
                self._gateway.change_lists(lists.allow, lists.deny)
            if self._node is not None and LIMITS.intersection(changed):
                self._node.change_limits(taken.node)
            logger.info("settings read again; changed: %s", ", ".join(changed) or "none")
            if pending:
                logger.warning("these settings need a restart to change: %s", ", ".join(pending))
        self._notifier.ready()

    async def _look(self, node: Node) -> None:
        """Log what an operator should know, and send the service manager a line about the table."""
        # The first look sees the outcome of the first attempt to join.
        with trio.move_on_after(LOOK_EVERY):
            await node.wait_joined()
        now = trio.current_time()
        while True:
            statistics = node.statistics()
            for level, text in self._health.observe(statistics, now):
                logger.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)
            self._notifier.status(", ".join(_good_nodes(statistics)))
            due = now + LOOK_EVERY
            await trio.sleep_until(due)
            now = trio.current_time()
            self._lag.woke(now - due, now)


def _open(settings: DaemonSettings) -> AbstractAsyncContextManager[Node]:
    return open_node(
        listen=settings.listen or None,
        port=settings.port,
        bootstrap=settings.bootstrap,
        well_known=settings.default_bootstrap,
        state_file=settings.state,
        settings=settings.node,
    )


def _sockets(node: Node) -> Iterator[tuple[Mapping[str, object], str]]:
    for one in node.statistics().sockets:
        record = {"listening": str(one.address), "node_id": one.node_id.hex()}
        yield record, f"listening {one.address} id={one.node_id.hex()}"


def _good_nodes(statistics: NodeStatistics) -> Iterator[str]:
    """Yield how many good nodes the tables of each family hold in all."""
    for family in dict.fromkeys(one.family for one in statistics.sockets):
        tables = [one.good_nodes for one in statistics.sockets if one.family is family]
        more = f" at {len(tables)} addresses" if len(tables) > 1 else ""
        yield f"IPv{int(family)}: {sum(tables)} good nodes{more}"


def _status_answer(node: Node, lag: LoopLag, health: HealthMonitor, gateway: Gateway | None) -> Answer:
    started = trio.current_time()

    async def answer(stream: trio.SocketStream) -> None:
        process = ProcessState(
            __version__,
            os.getpid(),
            trio.current_time() - started,
            lag.last,
            lag.worst,
            lag.late,
        )
        beside = None if gateway is None else gateway.statistics()
        record = status_record(process, node.statistics(), health, beside)
        await stream.send_all(json.dumps(record).encode() + b"\n")

    return answer
