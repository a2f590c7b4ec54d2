"""Metrics for Prometheus: which there are, and how they are served."""

import re
from functools import partial

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import memory_stream_pair

from dhtnode.addresses import Address, Family
from dhtnode.daemon.loop_lag import LoopLag
from dhtnode.daemon.metrics import COUNTED, answer_http, new_renderer, respond_untrusted
from tests.statistics_of import endpoint, node

COUNTS = {"answers": 5, "dropped: reply too long": 1, "malformed: not bencode": 2, "socket: send EPERM": 3}
COUNTS |= {"not sent: send failed": 4, "stalled": 6}
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def samples(*endpoints):
    """Return all samples about the node, by name and labels in order, as a scraper reads them.

    That of the address is left out where it is the usual one.
    """
    lag = LoopLag(late_after=0.1)
    lag.woke(0.25, 0.0)
    text = new_renderer(lambda: node(*endpoints), lag)().decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (
            sample.name.removeprefix("dhtnode_"),
            *sorted(value for value in sample.labels.values() if value != "192.0.2.1:6881"),
        ): sample.value
        for sample in found
        if sample.name.startswith("dhtnode_")
    }


def test_every_number_is_there():
    found = samples(endpoint(COUNTS), endpoint(family=Family.IPV6, dropped_by_kernel=None, nodes=1))

    assert found[("table_nodes", "ipv4")] == 12
    assert found[("table_nodes", "ipv6")] == 1
    assert found[("table_good_nodes", "ipv4")] == 10
    assert found[("queries_pending", "ipv4")] == 3
    assert found[("stall_seconds", "ipv4")] == 0.25
    assert found[("round_trip_seconds", "ipv4", "p90")] == 0.2
    assert found[("answers_total", "ipv4")] == 5
    assert found[("answers_total", "ipv6")] == 0
    assert found[("dropped_total", "ipv4", "reply too long")] == 1
    assert found[("malformed_total", "ipv4", "not bencode")] == 2
    assert found[("socket_errors_total", "ipv4", "send EPERM")] == 3
    assert found[("queries_not_sent_total", "ipv4", "send failed")] == 4
    assert found[("other_events_total", "ipv4", "stalled")] == 6
    assert found[("dropped_by_kernel_total", "ipv4")] == 4
    assert ("dropped_by_kernel_total", "ipv6") not in found
    assert found[("store", "peers", "peers")] == 2
    assert found[("store", "bytes", "items")] == 100
    assert found[("scheduling_delay_seconds",)] == 0.25
    assert found[("late_wakes_total",)] == 1
    assert found[("stood_still_total",)] == 0


def test_each_address_has_numbers_of_its_own():
    found = samples(endpoint(COUNTS), endpoint(address=Address("192.0.2.2", 6881), nodes=1))
    assert found[("table_nodes", "ipv4")] == 12
    assert found[("table_nodes", "192.0.2.2:6881", "ipv4")] == 1
    assert found[("answers_total", "192.0.2.2:6881", "ipv4")] == 0


def test_every_count_that_a_node_makes_is_somewhere():
    found = samples(endpoint(COUNTS | dict.fromkeys(COUNTED, 100)))
    counted = [value for (name, *_), value in found.items() if name.endswith("_total")]
    assert sum(counted) == 100 * len(COUNTED) + sum(COUNTS.values()) - COUNTS["answers"] + 4 + 1


def test_process_is_there_too():
    text = new_renderer(lambda: node(endpoint()), LoopLag(1.0))()
    assert b"process_resident_memory_bytes" in text


def status_of(response):
    head, _, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length
    return head.partition(b"\r\n")[0].decode(), int(length[1]), body


def test_right_request_has_the_metrics():
    response = respond_untrusted(GET, lambda: b"x 1\n")
    assert status_of(response) == ("HTTP/1.1 200 OK", 4, b"x 1\n")
    assert b"Content-Type: text/plain; version=0.0.4" in response


def test_head_is_without_the_body():
    assert status_of(respond_untrusted(GET.replace(b"GET", b"HEAD"), lambda: b"x 1\n")) == (
        "HTTP/1.1 200 OK",
        4,
        b"",
    )


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n", "404 Not Found"),
        (b"GET /metrics/x HTTP/1.0\r\nhost:127.0.0.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405 Method Not Allowed"),
        *(
            (b"GET /metrics HTTP/1.1\r\n%b\r\n" % hosts, "403 Forbidden")
            for hosts in (
                b"",
                b"Host: metrics.example:9000\r\n",
                b"Host: 127.0.0.1.example\r\n",
                b"Host: localhost.example:9000\r\n",
                b"Host: 192.0.2.1:9000\r\n",
                b"Host: 0.0.0.0:9000\r\n",
                b"Host: \xff\r\n",
                b"Host: localhost\r\nHost: metrics.example\r\n",
                b"X-Host: localhost\r\n",
            )
        ),
        (b"\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics SSH-2.0\r\n\r\n", "400 Bad Request"),
        (b"\x16\x03\x01\x02\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\n" + b"x" * 8192, "431 Request Header Fields Too Large"),
    ],
)
def test_wrong_request_is_refused(request_head, status):
    def render():
        raise AssertionError("no request for metrics was expected")

    assert status_of(respond_untrusted(request_head, render))[0] == f"HTTP/1.1 {status}"


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost", "LOCALHOST:1", "[::1]:9000", "127.1.2.3"])
def test_every_name_of_this_machine_is_served(host):
    request = b"GET /metrics HTTP/1.1\r\nAccept: */*\r\nhOST:  %b \r\n\r\n" % host.encode()
    assert status_of(respond_untrusted(request, bytes))[0] == "HTTP/1.1 200 OK"


def test_unix_socket_serves_whatever_the_host_is_called():
    """No page in a browser can reach it."""
    for request in (b"GET /metrics HTTP/1.0\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n"):
        assert status_of(respond_untrusted(request, bytes, by_port=False))[0] == "HTTP/1.1 200 OK"


async def test_request_may_come_in_pieces():
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(answer_http, theirs, lambda: b"x 1\n", by_port=True))
        for at in range(len(GET)):
            await ours.send_all(GET[at : at + 1])
        assert (await ours.receive_some(1000)).startswith(b"HTTP/1.1 200 OK")


async def test_request_without_end_is_bounded():
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(answer_http, theirs, bytes, by_port=True))
        await ours.send_all(b"x" * 8193)
        assert (await ours.receive_some(1000)).startswith(b"HTTP/1.1 431")


async def test_client_that_only_looks_in_is_let_go():
    ours, theirs = memory_stream_pair()
    await ours.aclose()
    await answer_http(theirs, bytes, by_port=True)
