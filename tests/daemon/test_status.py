"""The picture of a running node, as a record and as text."""

import json

import pytest

from dhtnode.addresses import Address, Family
from dhtnode.daemon.health import HealthMonitor
from dhtnode.daemon.status import NotAStatus, ProcessState, read_status_untrusted, status_record, status_text
from tests.statistics_of import endpoint, node

PROCESS = ProcessState("1.2.3", 4711, uptime=93784.0, delay=0.001, worst_delay=0.25, late_wakes=2)
COUNTS = {
    "queries sent": 200,
    "answers": 150,
    "timeouts": 50,
    "queries received": 1000,
    "replies sent": 990,
    "errors sent": 10,
    "datagrams received": 1150,
    "bytes received": 123_456,
    "datagrams sent": 1200,
    "bytes sent": 999,
    "dropped: reply too long": 5,
    "malformed: not bencode": 6,
    "not sent: send failed": 7,
    "socket: send EPERM": 8,
}
TEXT = """\
dhtnode 1.2.3, process 4711, up 1 d 2 h 3 min 4 s
scheduling delay 1.0 ms, worst of the last minute 250.0 ms, too late 2 times

IPv4 192.0.2.1:6881
  id        6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e
  seen as   203.0.113.9:6881
  table     12 nodes, 10 good, 2 buckets
    prefix bits, nodes (# good, . questionable, x bad), waiting
      1  ######.x  2
      1  ####
  asked     200, answered 150 (75 %), timed out 50, under way 3
  lately    in 10 s asked 100, answered 75 (75 %), were asked 500
  times     median 50 ms, p90 200 ms, late after 250 ms, given up after 1500 ms
  served    1000 queries, 990 replies, 10 errors
  traffic   in 1150 (123.5 kB), out 1200 (999 B)
  dropped   by the kernel: 4
    dropped: reply too long: 5
    malformed: not bencode: 6
    not sent: send failed: 7
    socket: send EPERM: 8

stores
  peers: 1 swarms, 2 peers, 3 refused, 4 expired, 5 withheld, 6 displaced
    refused, too many from one address: 7
    refused, too many swarms: 1
    refused most: 192.0.2.0/24, too many from one address: 7
  items: 1 items, 1 owners, 100 bytes, 0 refused, 0 expired, 0 displaced, 7 signatures checked"""


def record_of(*endpoints, watch=None):
    return status_record(PROCESS, node(*endpoints), watch or HealthMonitor())


def test_text_shows_all_there_is():
    watch = HealthMonitor()
    for number in (1, 2):
        counts = {name: count * number // 2 for name, count in COUNTS.items()}
        watch.observe(node(endpoint(counts)), 10.0 * number)
    assert status_text(record_of(endpoint(COUNTS), watch=watch)) == TEXT


def test_node_that_has_just_begun_is_shown_too():
    new = endpoint(
        nodes=0,
        good_nodes=0,
        buckets=1,
        external_address=None,
        round_trips={},
        dropped_by_kernel=None,
        family=Family.IPV6,
        address=Address("::1", 1),
        table=(),
    )

    text = status_text(record_of(new))

    assert "IPv6 [::1]:1\n" in text
    assert "  seen as   not known yet\n  table     0 nodes, 0 good, 1 buckets\n" in text
    assert "  asked     0, answered 0 (-), timed out 0, under way 3\n  times     late after" in text
    assert "  dropped   by the kernel: not known\n" in text


def test_port_that_is_not_one_is_not_shown_as_one():
    text = status_text(record_of(endpoint(external_address=Address("203.0.113.9", 0))))
    assert "  seen as   203.0.113.9, at ports that differ\n" in text


def test_record_survives_the_way_through_the_socket():
    record = record_of(endpoint(COUNTS), endpoint(family=Family.IPV6))
    assert read_status_untrusted(json.dumps(record).encode()) == record
    assert [one["family"] for one in record["endpoints"]] == ["ipv4", "ipv6"]
    assert record["endpoints"][0]["buckets"][0] == {
        "prefix_bits": 1,
        "nodes": 8,
        "good": 6,
        "bad": 1,
        "waiting": 2,
    }
    assert set(record["stores"]) == {"peers", "items"}


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"{}", b"1", b"[" * 100_000, b'{"format": "dhtnode status", "format_version": 2}'],
)
def test_what_is_no_status_is_refused(data):
    with pytest.raises(NotAStatus):
        read_status_untrusted(data)
