"""Each style of a synthetic tracker does what the table of real trackers says, and each lie is one."""

import gzip
import json
import sqlite3
import struct
from contextlib import closing
from itertools import islice

import pytest
import trio
from bencode2 import bdecode

from crawler.synthetic.network import Network
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.trackers import tracker as tracker_module
from crawler.synthetic.trackers.http_answers import PRIVATE_TARGETS, answer_request
from crawler.synthetic.trackers.server import bind_trackers, serve_trackers
from crawler.synthetic.trackers.styles import FAULTS, LIES, STYLES, read_styles
from crawler.synthetic.trackers.tracked_swarms import TrackedSwarms
from crawler.synthetic.trackers.tracker import make_trackers
from crawler.synthetic.trackers.udp_answers import answer_packet
from crawler.synthetic.truth import write_end, write_truth
from dhtnode import InfoHash, open_trackers
from dhtnode.trackers import Event, Outcome, http_messages, udp_packets
from tests.commands import run_command

SOURCE = ("127.0.0.1", 5000)
UNKNOWN = bytes(20)
PEER_ID = b"-XX0001-123456789012"


def made(trackers, **options):
    return make_trackers(Network(SyntheticSettings(nodes=20, trackers=trackers, **options)))


def one(style, **options):
    return made(style, **({"swarms": 300, "largest": 5000, "sizes": "log"} | options))[0]


def swarms_of(tracker):
    return [swarm.info_hash for swarm in tracker._network.swarms]


def connected(tracker, source=SOURCE, now=0.0):
    packet = answer_packet(tracker, udp_packets.pack_connect(7), source, now)
    return udp_packets.read_connect(packet)


def scrape(tracker, hashes, now=0.0):
    """Return the answer to a scrape of these bytes over UDP."""
    packet = struct.pack(">QII", connected(tracker, now=now), 2, 9) + hashes
    return answer_packet(tracker, packet, SOURCE, now)


def rows_of(packet):
    return [struct.unpack_from(">III", packet, at) for at in range(8, len(packet), 12)]


def announce(tracker, info_hash=UNKNOWN, event=2, port=6881, ip=0, wanted=-1, source=SOURCE, left=1):
    request = struct.pack(
        ">QII20s20sQQQIIIiH",
        connected(tracker, source), 1, 9, info_hash, PEER_ID, 0, left, 0, event, ip, 1, wanted, port,
    )  # fmt: skip
    return answer_packet(tracker, request, source, 0.0)


def get(tracker, target, *, takes_gzip=False):
    return answer_request(tracker, target, takes_gzip, SOURCE, 0.0)


def body(reply):
    return b"".join(reply.parts)


def http_scrape(tracker, hashes):
    query = "&".join("info_hash=" + http_messages.escape_query(each) for each in hashes)
    return get(tracker, f"/scrape?{query}")


def files_of(tracker, hashes):
    return bdecode(body(http_scrape(tracker, hashes)))[b"files"]


@pytest.mark.parametrize(
    ("style", "udp", "http"),
    [
        ("opentracker", 75, 64),
        ("bittorrent-tracker", 200, 200),
        ("aquatic", 70, 100),
        ("chihaya", 50, 50),
        ("torrust", 74, 74),
        ("plain", 200, 200),
        ("opentracker+cap-10", 10, 10),
    ],
)
def test_scrape_is_cut_without_a_word(style, udp, http):
    tracker = one(style, tracker_share=1)
    hashes = swarms_of(tracker)[-200:]
    assert len(rows_of(scrape(tracker, b"".join(hashes)))) == udp
    hashes = hashes[:110] if style.startswith("opentracker") else hashes
    assert set(files_of(one("plain", tracker_share=1), hashes)) <= set(hashes)
    listed = files_of(tracker, hashes)
    assert len(listed) == min(http, len(listed)) and len(listed) >= min(http, 100) - 20


def test_counts_are_those_of_the_truth_and_sources_overlap():
    trackers = made("plain,plain", swarms=50, largest=800, tracker_overlap=0.25, tracker_share=0.5)
    tracked = TrackedSwarms(trackers[0]._network)
    for place, sizes in enumerate(tracked.sizes([0, 1])):
        seen = set()
        for number, tracker in enumerate(trackers):
            at = tracked.numbers(number, place)
            said = tracker.listed(sizes.info_hash, 0.0)
            assert (len(at.seeds), len(at.leechers)) == (said[:2] if said else (0, 0))
            addresses = tracked.addresses(place, (*at.seeds, *at.leechers))
            assert len(set(addresses)) == len(addresses)
            seen |= set(addresses)
        assert len(seen) == sizes.trackers
        assert sizes.either == sizes.dht + sizes.trackers - sizes.both
        if sizes.trackers > 100:
            assert abs(sizes.both / sizes.trackers - 0.25) < 0.1


@pytest.mark.parametrize(("overlap", "both"), [(0, 0), (1, 1)])
def test_sources_may_have_nothing_or_everything_in_common(overlap, both):
    (tracker,) = made("plain", swarms=20, tracker_overlap=overlap)
    for sizes in TrackedSwarms(tracker._network).sizes([0]):
        assert sizes.both == both * sizes.trackers


@pytest.mark.parametrize("style", STYLES)
def test_unknown_swarm(style):
    """Over UDP it is as an empty one; over HTTP it is left out, or not."""
    tracker = one(style)
    assert rows_of(scrape(tracker, UNKNOWN)) == [(0, 0, 0)]
    if STYLES[style].has_scrape:
        assert len(files_of(tracker, [UNKNOWN])) == (style == "bittorrent-tracker")
    else:
        assert http_scrape(tracker, [UNKNOWN]).status == 404


@pytest.mark.parametrize("style", ["opentracker", "bittorrent-tracker"])
def test_swarm_that_comes_twice(style):
    """With one row for it, all rows that follow shift."""
    tracker = one(style, tracker_share=1)
    first, second = swarms_of(tracker)[:2]
    rows = rows_of(scrape(tracker, first + first + second))
    single = [rows_of(scrape(tracker, each))[0] for each in (first, second)]
    assert rows == (single if style == "bittorrent-tracker" else [single[0], *single])


@pytest.mark.parametrize(
    ("style", "answer"),
    [("opentracker", 4), ("bittorrent-tracker", None), ("aquatic", "Invalid"), ("chihaya", "Invalid")],
)
def test_list_that_is_no_multiple_of_20_bytes(style, answer):
    tracker = one(style)
    packet = scrape(tracker, b"".join(swarms_of(tracker)[:3]) + b"four")
    if isinstance(answer, str):
        assert udp_packets.read_error(packet).reason.startswith(answer)
    else:
        assert (packet and len(rows_of(packet))) == answer


def test_keys_in_utf8():
    tracker = one("bittorrent-tracker", tracker_share=1)
    wanted = [InfoHash(each) for each in swarms_of(tracker)[:20]]
    data = body(http_scrape(tracker, wanted))
    assert all(len(key) > 20 for key in bdecode(data)[b"files"])
    answer = http_messages.read_scrape(data, wanted)
    assert answer.has_utf8_keys and set(answer.counts) == set(wanted)


@pytest.mark.parametrize(
    ("style", "udp", "http"),
    [("opentracker", 0, 300), ("aquatic", "Full", "Full"), ("chihaya", "Full", "Full")],
)
def test_full_scrape(style, udp, http):
    tracker = one(style, tracker_share=1)
    packet = scrape(tracker, b"")
    reply = get(tracker, "/scrape", takes_gzip=True)
    if style == "opentracker":
        assert rows_of(packet) == [] and reply.headers == [("Content-Encoding", "gzip")]
        assert 200 < len(bdecode(gzip.decompress(body(reply)))[b"files"]) <= http
    else:
        assert udp_packets.read_error(packet).reason.startswith(udp)
        assert body(get(tracker, "/scrape")).startswith(b"d14:failure reason")


@pytest.mark.parametrize(
    ("style", "kind"),
    [("opentracker", "answer"), ("bittorrent-tracker", "answer"), ("aquatic", None), ("chihaya", "error")],
)
def test_event_4(style, kind):
    packet = announce(one(style), event=4)
    assert {None: None, 1: "answer", 3: "error"}[packet and packet[3]] == kind


@pytest.mark.parametrize(
    ("style", "port"), [("opentracker", 0), ("bittorrent-tracker", 5000), ("aquatic", None)]
)
def test_port_0(style, port):
    tracker = one(style)
    packet = announce(tracker, port=0)
    other = announce(tracker, source=("127.0.0.9", 6000))
    assert (packet[3] == 1) == (port is not None)
    peers = [other[at : at + 6] for at in range(20, len(other), 6)]
    assert peers == ([] if port is None else [bytes([127, 0, 0, 1]) + port.to_bytes(2, "big")])


def test_field_ip_makes_a_peer_that_is_counted_and_never_handed_out():
    tracker = one("bittorrent-tracker")
    announce(tracker, ip=0x01020304)
    packet = announce(tracker, source=("127.0.0.9", 6000))
    assert (struct.unpack_from(">II", packet, 12), len(packet)) == ((2, 0), 20)
    honest = one("opentracker")
    announce(honest, ip=0x01020304)
    assert announce(honest, source=("127.0.0.9", 6000))[20:] == bytes([127, 0, 0, 1, 0x1A, 0xE1])


@pytest.mark.parametrize(
    ("style", "constant", "other_port", "much_later"),
    [
        ("opentracker", False, True, False),
        ("bittorrent-tracker", True, True, True),
        ("aquatic", False, False, False),
    ],
)
def test_connection_ids(style, constant, other_port, much_later):
    tracker = one(style)
    first = connected(tracker)
    assert (first == 0x41727101980) is constant
    assert tracker.takes_id(first, SOURCE, 1.0)
    assert tracker.takes_id(first, (SOURCE[0], 5001), 1.0) is other_port
    assert tracker.takes_id(first, SOURCE, 8000.0) is much_later


def test_host_that_sends_wrong_ids_is_banned():
    tracker = one("torrust")
    wrong = struct.pack(">QII", 12345, 2, 9) + UNKNOWN
    for _ in range(2):
        assert udp_packets.is_about_connection(
            udp_packets.read_error(answer_packet(tracker, wrong, SOURCE, 1.0))
        )
    assert answer_packet(tracker, udp_packets.pack_connect(7), SOURCE, 2.0) is None
    assert answer_packet(tracker, udp_packets.pack_connect(7), ("127.0.0.9", 1), 2.0) is not None
    assert answer_packet(tracker, udp_packets.pack_connect(7), SOURCE, 200.0) is not None
    assert tracker.counts["hosts banned"] == 1


def test_ids_that_work_once_or_never():
    once, never = one("ids-once"), one("wrong-ids")
    packet = struct.pack(">QII", connected(once), 2, 9) + UNKNOWN
    assert [answer_packet(once, packet, SOURCE, 0.0)[3] for _ in range(2)] == [2, 3]
    assert scrape(never, UNKNOWN)[3] == 3


@pytest.mark.parametrize("style", ["opentracker", "chihaya"])
def test_swarm_that_is_not_tracked(style):
    tracker = one(f"{style}+whitelist")
    packet = announce(tracker)
    assert (len(packet) == 8, packet[3]) == ((True, 1) if style == "opentracker" else (False, 3))
    assert len(announce(tracker, swarms_of(tracker)[0])) >= 20
    target = "/announce?port=1&info_hash=" + "%00" * 20
    assert b"failure reason" in body(get(tracker, target))


@pytest.mark.parametrize(("wanted", "handed_out"), [(0, 0), (-1, 200), (10, 10), (5000, 200)])
def test_how_many_peers_are_wanted(wanted, handed_out):
    tracker = one("opentracker", sizes="same", largest=600)
    assert len(announce(tracker, swarms_of(tracker)[0], wanted=wanted)) == 20 + 6 * handed_out


@pytest.mark.parametrize(("style", "kind"), [("opentracker", 400), ("aquatic", "error"), ("chihaya", "list")])
def test_list_that_is_not_compact(style, kind):
    tracker = one(style)
    hashed = http_messages.escape_query(swarms_of(tracker)[-1])
    reply = get(tracker, f"/announce?compact=0&port=9&numwant=5&info_hash={hashed}")
    if kind == 400:
        assert (reply.status, body(reply)) == (400, b"Invalid Request")
    else:
        answer = bdecode(body(reply))
        assert isinstance(answer[b"peers"], list) if kind == "list" else b"failure reason" in answer


def test_announced_peer_is_counted_until_it_says_that_it_is_gone():
    tracker = one("plain")
    for event, counts in ((2, (1, 0, 0)), (3, (0, 0, 0))):
        announce(tracker, event=event, left=0)
        assert rows_of(scrape(tracker, UNKNOWN)) == [counts]


def test_request_that_is_too_long():
    tracker = one("opentracker")
    assert http_scrape(tracker, swarms_of(tracker)[:200]).status == 500


def test_what_a_tracker_asks_for():
    tracker = one("qbittorrent+min-interval")
    hashed = http_messages.escape_query(UNKNOWN)
    answer = bdecode(body(get(tracker, f"/announce?port=9&info_hash={hashed}")))
    assert (answer[b"min interval"], answer[b"external ip"]) == (3600, bytes([127, 0, 0, 1]))
    answer = bdecode(body(http_scrape(one("min-interval"), [UNKNOWN])))
    assert answer[b"flags"] == {b"min_request_interval": 3600}


@pytest.mark.parametrize("lie", LIES)
def test_lies(lie):
    honest, liar = made(f"plain,{lie}", swarms=100, largest=400, tracker_share=1)
    hashes = swarms_of(honest)
    said, true = (liar.rows(hashes, 0.0), honest.rows(hashes, 0.0))
    own = made("plain,plain", swarms=100, largest=400, tracker_share=1)[1].rows(hashes, 0.0)
    assert (liar.listed(bytes(range(20)), 0.0) is not None) == (lie == "invents")
    assert own != true
    match lie:
        case "invents":
            assert [row for row, known in zip(said, own, strict=True) if known] == [row for row in own if row]
            assert None not in said
        case "constant":
            assert {row for row in said if row} == {(37, 5, 100)}
        case "mirror":
            assert said == true
        case "multiplied":
            assert said == [row and tuple(3 * number for number in row) for row in own]
        case "shifted":
            assert said == own[-1:] + own[:-1]
        case "alone":
            pairs = zip(said, own, strict=True)
            assert all(row.seeds + row.leechers > 20 * sum(real[:2]) for row, real in pairs if row)


def test_faults_over_http():
    parsed = {}
    for fault in FAULTS:
        reply = get(one(fault), "/announce?port=9&numwant=5&info_hash=" + "%00" * 20)
        parsed[fault] = reply
    assert parsed["silent"] is None
    for fault, outcome in [
        ("error", Outcome.REFUSED),
        ("retry-in", Outcome.LATER),
        ("never", Outcome.NEVER),
        ("html", Outcome.MALFORMED),
        ("truncated", Outcome.MALFORMED),
    ]:
        with pytest.raises(http_messages.TrackerError) as caught:
            http_messages.read_announce(body(parsed[fault]))
        assert caught.value.outcome is outcome
    assert sum(map(len, islice(parsed["endless"].parts, 100))) > 1_000_000
    tracker = one("redirects")
    places = [dict(get(tracker, "/announce?x").headers)["Location"] for _ in PRIVATE_TARGETS]
    assert tuple(places) == PRIVATE_TARGETS
    assert dict(parsed["redirects-loop"].headers)["Location"].startswith("/announce?port=9")


def test_bomb_is_a_thousand_times_what_it_sends():
    tracker = one("gzip-bomb")
    tracker.style = read_styles("gzip-bomb")[0].__class__(fault="gzip-bomb", bomb_bytes=8 << 20)
    packed = body(get(tracker, "/scrape?info_hash=" + "%00" * 20))
    assert len(packed) < 10_000
    assert len(gzip.decompress(packed)) == 8 << 20


def test_requests_are_remembered_with_their_time_and_bounded(monkeypatch):
    monkeypatch.setattr(tracker_module, "MAX_REQUESTS", 4)
    tracker = one("plain")
    tracker._network.begun_at = 100.0
    for now in range(100, 103):
        scrape(tracker, UNKNOWN * 2, float(now))
    requests = [
        (each.at, each.source, each.transport, each.action, each.info_hashes) for each in tracker.requests
    ]
    assert requests[-2:] == [(2.0, "127.0.0.1", "udp", "connect", 1), (2.0, "127.0.0.1", "udp", "scrape", 2)]
    assert (len(requests), tracker.counts["requests forgotten"]) == (4, 2)


@pytest.mark.parametrize("text", ["nonsense", "opentracker+nonsense", ",", ",".join(["plain"] * 101)])
def test_what_names_no_style(text):
    with pytest.raises(ValueError, match="trackers"):
        SyntheticSettings(trackers=text)


async def test_our_client_gets_the_truth_from_every_program_over_both_protocols():
    """Caps, shifted rows, broken keys: not one count is lost or goes to another swarm."""
    trackers = made(",".join(STYLES), swarms=300, largest=4000, sizes="log")
    servers = bind_trackers(trackers)
    hashes = [InfoHash(each) for each in swarms_of(trackers[0])]
    async with serve_trackers(servers), open_trackers() as client:
        for server in servers:
            if not server.tracker.style.has_scrape:
                continue
            for url in server.urls:
                (asked,) = await client.scrape(url, [*hashes, InfoHash(UNKNOWN)], is_typed=True)
                found = {
                    info_hash: (counts.seeds, counts.leechers, counts.downloaded)
                    for info_hash, counts in asked.answer.counts.items()
                    if not counts.is_zero
                }
                true = {each: said for each in hashes if (said := server.tracker.listed(each, 0.0))}
                assert found == true, url


async def test_opted_in_announce_over_both_protocols():
    trackers = made("opentracker,aquatic,qbittorrent", swarms=3, largest=50)
    servers = bind_trackers(trackers)
    swarm = InfoHash(swarms_of(trackers[0])[0])
    async with serve_trackers(servers), open_trackers() as client:
        for server in servers:
            for url in server.urls:
                (asked,) = await client.announce(url, swarm, 7000, is_typed=True)
                said = server.tracker.listed(swarm, trio.current_time())
                assert (asked.answer.seeds, asked.answer.leechers) == said[:2]
                assert len(asked.answer.peers) == min(sum(said[:2]) - 1, server.tracker.style.most_peers)
                await client.announce(url, swarm, 7000, event=Event.STOPPED, is_typed=True)
            assert server.tracker._announced.peers(server.tracker.number, swarm, trio.current_time()) == (
                [],
                [],
            )


async def test_slow_tracker_and_one_that_closes(autojump_clock):
    """Real sockets do not move with virtual time: the pause is that of the tracker."""
    servers = bind_trackers(made("plain+slow", swarms=1))
    async with serve_trackers(servers), open_trackers() as client:
        begun = trio.current_time()
        (asked,) = await client.scrape(servers[0].urls[1], [InfoHash(UNKNOWN)], is_typed=True)
    assert asked.outcome is Outcome.ANSWERED and trio.current_time() - begun >= 3


@pytest.mark.slow
def test_command_says_where_its_trackers_are():
    done = run_command(
        "dhtcrawl",
        "synthetic",
        "--nodes",
        "5",
        "--trackers",
        "plain,qbittorrent",
        "--timeout",
        "0.1",
        "--json",
    )
    urls = json.loads(done.stdout.splitlines()[0])["trackers"]
    kinds = [(url.partition(":")[0], url.split("/")[2].partition(":")[0]) for url in urls]
    assert kinds == [("udp", "127.0.0.2"), ("http", "127.0.0.2"), ("http", "127.0.0.3")]
    done = run_command("dhtcrawl", "synthetic", "--trackers", "plain,nonsense")
    assert (done.status, "'nonsense' is none of plain, " in done.stderr.splitlines()[-1]) == (2, True)


def test_truth_of_trackers(tmp_path):
    trackers = made("plain,mirror,invents", swarms=10)
    network = trackers[0]._network
    scrape(trackers[1], UNKNOWN)
    path = tmp_path / "truth.db"
    write_truth(network, path, trackers)
    write_end(network, 1.0, path, trackers)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT tracker, info_hash, seeds, leechers FROM tracker_swarms").fetchall()
        lists = [{row[1:] for row in rows if row[0] == number} for number in range(3)]
        assert lists[0] == lists[1] != lists[2]
        sizes = connection.execute("SELECT dht, trackers, both, either FROM source_sizes").fetchall()
        assert all(dht + others == both + either for dht, others, both, either in sizes)
        assert [row[0] for row in connection.execute("SELECT style FROM trackers")] == [
            "plain",
            "mirror",
            "invents",
        ]
        requests = connection.execute("SELECT tracker, transport, action FROM tracker_requests").fetchall()
        assert requests == [(1, "udp", "connect"), (1, "udp", "scrape")]
