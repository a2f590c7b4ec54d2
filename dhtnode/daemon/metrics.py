"""The numbers of a node for Prometheus: made for each request, never on the packet path.

The exposition is that of prometheus-client.  HTTP is served by a page of code on Trio, because a
node's numbers belong to its Trio thread, and because nothing but one path is served, to clients on
this machine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dhtnode.addresses import is_loopback_host
from dhtnode.api.results import NodeStatistics
from dhtnode.daemon.loop_lag import LoopLag
from dhtnode.daemon.status import stores_of
from dhtnode.gateway_server.statistics import GatewayStatistics
from dhtnode.node.statistics import SocketStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_REQUEST = 8192  # bytes of a request's head

COUNTED = {
    "datagrams received": "datagrams_received",
    "bytes received": "received_bytes",
    "datagrams sent": "datagrams_sent",
    "bytes sent": "sent_bytes",
    "queries received": "queries_received",
    "replies sent": "replies_sent",
    "errors sent": "errors_sent",
    "queries sent": "queries_sent",
    "answers": "answers",
    "errors received": "errors_received",
    "timeouts": "timeouts",
    "internal errors": "internal_errors",
}
"""Counts with a metric of their own, there from the start with 0."""

CAUSES = {
    "dropped": ("dropped", "cause"),
    "malformed": ("malformed", "reason"),
    "socket": ("socket_errors", "error"),
    "not sent": ("queries_not_sent", "cause"),
}
"""Groups of counts, named `dropped: CAUSE` and so on: the metric of each, and its label."""

SOCKET = ("family", "address")
"""The labels of everything that is counted for each socket: `address` is the local one."""

GAUGES: Mapping[str, tuple[str, Callable[[SocketStatistics], float]]] = {
    "table_nodes": ("Nodes in the routing table.", lambda one: one.nodes),
    "table_good_nodes": ("Nodes that answered or asked lately.", lambda one: one.good_nodes),
    "table_buckets": ("Buckets of the routing table.", lambda one: one.buckets),
    "queries_pending": ("Queries under way.", lambda one: one.pending),
    "stall_seconds": ("After so long an answer is late.", lambda one: one.stall),
    "timeout_seconds": ("After so long a query has failed.", lambda one: one.timeout),
}


GATEWAY_SIZES = {
    "swarms": "Swarms that have clients, or were looked up lately.",
    "clients": "Addresses that clients are at.",
    "peers": "Clients, each counted once for each swarm.",
    "lookups": "Lookups under way.",
    "announced": "Clients with our own address that are announced in the DHT, by swarm, family and port.",
}
"""Sizes of a gateway, each a metric."""


class NodeCollector(Collector):
    """The metrics of a node and of its gateway, collected when they are read."""

    def __init__(
        self,
        look: Callable[[], NodeStatistics],
        lag: LoopLag,
        look_at_gateway: Callable[[], GatewayStatistics] | None = None,
    ) -> None:
        self._look = look
        self._lag = lag
        self._look_at_gateway = look_at_gateway

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics of the node; cost: that of `Node.statistics`."""
        statistics = self._look()
        yield from _gauges(statistics)
        yield from _round_trips(statistics)
        yield from _counters(statistics)
        yield from _grouped(statistics)
        yield from _kernel(statistics)
        yield from _stores(statistics)
        yield from _loop_lag(self._lag)
        if self._look_at_gateway is not None:
            yield from _gateway(self._look_at_gateway())


def new_renderer(
    look: Callable[[], NodeStatistics],
    lag: LoopLag,
    look_at_gateway: Callable[[], GatewayStatistics] | None = None,
) -> Callable[[], bytes]:
    """Return a function that renders the metrics of the node, of its gateway and of the process."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(look, lag, look_at_gateway))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)


async def answer_http(stream: trio.abc.Stream, render: Callable[[], bytes], *, by_port: bool) -> None:
    """Read one request and answer it; the caller limits the time and closes the connection.

    What came `by_port`, and not over a Unix socket, has to name this machine as its host: else a page from
    elsewhere could have a browser read here, under a name of its own that leads to loopback.
    """
    request = bytearray()
    while b"\r\n\r\n" not in request and len(request) <= MAX_REQUEST:
        part = await stream.receive_some(MAX_REQUEST)
        if not part:
            return
        request += part
    await stream.send_all(respond_untrusted(bytes(request), render, by_port=by_port))


def respond_untrusted(request: bytes, render: Callable[[], bytes], *, by_port: bool = True) -> bytes:
    """Return the response to the head of an HTTP request, whatever it is; see `answer_http`."""
    if len(request) > MAX_REQUEST:
        return _response("431 Request Header Fields Too Large", b"too long\n")
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", b"not HTTP\n")
    if by_port and not _names_this_machine(request):
        return _response("403 Forbidden", b"this server answers on loopback only\n")
    method, target, _ = words
    if target.partition(b"?")[0] != b"/metrics":
        return _response("404 Not Found", b"only /metrics is here\n")
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", b"only GET\n", "Allow: GET, HEAD\r\n")
    return _response("200 OK", render(), is_head=method == b"HEAD")


def _names_this_machine(request: bytes) -> bool:
    """Return whether the one Host header of a request, port aside, is loopback."""
    lines = [line.partition(b":") for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    hosts = [value.strip().decode("latin-1") for name, _, value in lines if name.strip().lower() == b"host"]
    return len(hosts) == 1 and is_loopback_host(hosts[0])


def _response(status: str, body: bytes, more: str = "", *, is_head: bool = False) -> bytes:
    kind = CONTENT_TYPE if status.startswith("200") else "text/plain; charset=utf-8"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else body)


def _gauges(statistics: NodeStatistics) -> Iterator[Metric]:
    for name, (text, read) in GAUGES.items():
        metric = GaugeMetricFamily(f"dhtnode_{name}", text, labels=SOCKET)
        for one in statistics.sockets:
            metric.add_metric(_socket(one), read(one))
        yield metric


def _round_trips(statistics: NodeStatistics) -> Iterator[Metric]:
    text = "Round-trip times of recent answers."
    metric = GaugeMetricFamily("dhtnode_round_trip_seconds", text, labels=[*SOCKET, "of"])
    for one in statistics.sockets:
        for name, seconds in one.round_trips.items():
            metric.add_metric([*_socket(one), name], seconds)
    yield metric


def _counters(statistics: NodeStatistics) -> Iterator[Metric]:
    for event, name in COUNTED.items():
        metric = CounterMetricFamily(f"dhtnode_{name}", f"{event.capitalize()}.", labels=SOCKET)
        for one in statistics.sockets:
            metric.add_metric(_socket(one), one.counts.get(event, 0))
        yield metric


def _grouped(statistics: NodeStatistics) -> Iterator[Metric]:
    """Yield what is counted by cause, and what has no metric of its own as `other_events`."""
    groups = {
        group: CounterMetricFamily(
            f"dhtnode_{name}", f"Counted as {group}, by {label}.", labels=[*SOCKET, label]
        )
        for group, (name, label) in CAUSES.items()
    }
    others = CounterMetricFamily(
        "dhtnode_other_events", "Whatever else is counted.", labels=[*SOCKET, "event"]
    )
    for one in statistics.sockets:
        for event, count in sorted(one.counts.items()):
            group, colon, cause = event.partition(": ")
            if colon and group in groups:
                groups[group].add_metric([*_socket(one), cause], count)
            elif event not in COUNTED:
                others.add_metric([*_socket(one), event], count)
    yield from (*groups.values(), others)


def _kernel(statistics: NodeStatistics) -> Iterator[Metric]:
    text = "Datagrams for which the kernel's buffer had no room."
    metric = CounterMetricFamily("dhtnode_dropped_by_kernel", text, labels=SOCKET)
    for one in statistics.sockets:
        if one.dropped_by_kernel is not None:
            metric.add_metric(_socket(one), one.dropped_by_kernel)
    yield metric


def _stores(statistics: NodeStatistics) -> Iterator[Metric]:
    """Yield sizes and counters of every store, whatever they are called: some only grow, all are gauges."""
    text = "What a store holds, and what it has turned away or dropped since the start."
    metric = GaugeMetricFamily("dhtnode_store", text, labels=["store", "value"])
    for store, values in stores_of(statistics).items():
        for name, value in values.items():
            metric.add_metric([store, name], value)
    yield metric


def _loop_lag(lag: LoopLag) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "dhtnode_scheduling_delay_seconds", "Worst delay of a task in the last minute.", lag.worst
    )
    yield CounterMetricFamily("dhtnode_late_wakes", "Times that a task woke far too late.", lag.late)
    yield CounterMetricFamily(
        "dhtnode_stood_still", "Times that nothing ran for half a minute or longer.", lag.suspended
    )


def _gateway(statistics: GatewayStatistics) -> Iterator[Metric]:
    for name, text in GATEWAY_SIZES.items():
        yield GaugeMetricFamily(f"dhtnode_gateway_{name}", text, getattr(statistics, name))
    events = CounterMetricFamily("dhtnode_gateway_events", "Counted by the gateway.", labels=["event"])
    for event, count in sorted(statistics.counts.items()):
        events.add_metric([event], count)
    yield events


def _socket(one: SocketStatistics) -> list[str]:
    return [f"ipv{int(one.family)}", str(one.address)]
