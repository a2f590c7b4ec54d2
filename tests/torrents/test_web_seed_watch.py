"""Web seeds over time: each asked when it is due, one request to a host at once; what is written of it."""

from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import trio

from crawler.db.database import CrawlDatabase
from crawler.db.torrents import LEASE
from crawler.db.writer import open_writer
from crawler.settings import WebSeedOptions
from crawler.torrents import web_seeds
from crawler.torrents.web_seeds import SeedChecker, SeedWatch, given_seeds
from dhtnode import WebSeedCheck, WebSeedOutcome, parse_details, parse_magnet
from dhtnode.bencode import encode
from dhtnode.nurseries import open_service_nursery
from tests.databases import rows

EPOCH = 1_700_000_000.0
DAY, HOUR = 86_400.0, 3600.0
INFO = {b"length": 50_000, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 80}


def torrent(*urls, **info):
    entries = INFO | {name.encode(): value for name, value in info.items()}
    return parse_details(encode({b"info": entries, b"url-list": [url.encode() for url in urls]}))


async def directly(function, *args, limiter):
    await trio.lowlevel.checkpoint()
    return function(*args)


class FakeClient:
    """Be web seeds that answer after a second, and those at `busy.example` with a pause."""

    def __init__(self, pause=None):
        self.pause = pause
        self.asked = []
        self.open_now = []

    async def check(self, request, *, is_local=False):
        host = request.url.split("/")[2]
        assert host not in self.open_now
        self.asked.append((trio.current_time(), request.url))
        self.open_now.append(host)
        await trio.sleep(1)
        self.open_now.remove(host)
        is_busy = host == "busy.example"
        outcome = WebSeedOutcome.LATER if is_busy else WebSeedOutcome.ALIVE
        pause = self.pause if is_busy else None
        return WebSeedCheck(request, outcome, "", 503 if is_busy else 206, 1.0, 7, retry_after=pause)


def wall_clock():
    return EPOCH + trio.current_time()


@asynccontextmanager
async def watching(path, client, *torrents, every=24.0, once=False):
    """Watch web seeds in a run of its own; yield the watch."""
    checked, said = [], []
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("watch", {}, "0", "2026-01-01T00:00:00.000Z")
        async with open_writer(store, run_id, run_sync=directly) as writer, open_service_nursery() as nursery:
            checker = SeedChecker(client, writer, run_id, checked.append, wall_clock=wall_clock)
            watch = SeedWatch(checker, writer, WebSeedOptions(every=every), said.append, once=once)
            watch.checked, watch.said = checked, said
            await watch.add(torrents)
            nursery.start_soon(watch.run)
            yield watch


async def test_each_seed_is_asked_again_when_it_is_due(tmp_path, autojump_clock):
    client = FakeClient()
    given = torrent("http://a.example/", "http://a.example/f", "https://b.example/x/")
    async with watching(tmp_path / "a.db", client, given, every=6.0):
        await trio.sleep(DAY - 60)
    times = {}
    for at, url in client.asked:
        times.setdefault(url, []).append(at)
    assert set(times) == {"http://a.example/a.iso", "http://a.example/f", "https://b.example/x/a.iso"}
    for each in times.values():
        assert len(each) == 4
        assert all(6 * HOUR <= later - earlier < 6 * HOUR + 90 for earlier, later in pairwise(each))
    columns = "info_hash, host, kind, outcome, status, length_ok, hash_ok, ms, bytes"
    found = rows(tmp_path / "a.db", f"SELECT DISTINCT {columns} FROM web_seed_checks ORDER BY host")
    info_hash = given.metainfo.info_hash_v1.hex()
    told = ("ranges", "alive", 206, None, None, 1000.0, 7)
    assert found == [(info_hash, host, *told) for host in ("a.example", "b.example")]


async def test_watch_goes_on_where_it_was(tmp_path, autojump_clock):
    """Also after an end in the middle of a check, whose lease runs out; another watch shares the work."""
    given = torrent("http://a.example/", "http://b.example/")
    first, second, third = FakeClient(), FakeClient(), FakeClient()
    async with watching(tmp_path / "a.db", first, given):
        await trio.sleep(60)
    async with watching(tmp_path / "a.db", second, given):
        await trio.sleep(DAY / 2)
    assert (len(first.asked), second.asked) == (2, [])
    await trio.sleep(DAY / 2)
    async with watching(tmp_path / "a.db", third, given):
        await trio.sleep(0.5)  # both are under way
    assert (len(third.asked), len(rows(tmp_path / "a.db", "SELECT 1 FROM web_seed_checks"))) == (2, 2)
    fourth = FakeClient()
    async with watching(tmp_path / "a.db", fourth, given):
        await trio.sleep(LEASE / 2)
        assert fourth.asked == []
        await trio.sleep(LEASE)
    assert len(fourth.asked) == 2


async def test_once_asks_those_due_and_ends(tmp_path, autojump_clock):
    for asked in (12, 0):
        client = FakeClient()
        given = [torrent(f"http://{number % 3}.example/{number}/") for number in range(12)]
        async with watching(tmp_path / "a.db", client, *given, once=True) as watch:
            await watch.has_ended.wait()
        assert len(client.asked) == asked


async def test_pause_is_kept(tmp_path, autojump_clock):
    """Over restarts, and by a check that the user asks for."""
    client = FakeClient(pause=3 * DAY)
    given = torrent("http://busy.example/", "http://a.example/")
    async with watching(tmp_path / "a.db", client, given, every=1.0):
        await trio.sleep(DAY)
    assert [url for _, url in client.asked].count("http://busy.example/a.iso") == 1
    with CrawlDatabase.open(tmp_path / "a.db") as store:
        run_id = store.runs.begin("torrent", {}, "0", "2026-01-01T00:00:00.000Z")
        async with open_writer(store, run_id, run_sync=directly) as writer:
            again = FakeClient()
            checker = SeedChecker(again, writer, run_id, lambda _: None, wall_clock=wall_clock)
            await checker.check_all(list(given_seeds([given])))
    assert [url for _, url in again.asked] == ["http://a.example/a.iso"]


async def test_clock_that_was_ahead_stops_nothing(tmp_path, autojump_clock):
    given = torrent("http://a.example/")
    client = FakeClient()
    async with watching(tmp_path / "a.db", client, given):
        await trio.sleep(60)
    with CrawlDatabase.open(tmp_path / "a.db") as store, store.connection:
        store.connection.execute("UPDATE web_seeds SET next_at = '2099', not_before = '2099'")
    async with watching(tmp_path / "a.db", client, given):
        await trio.sleep(60)
    assert len(client.asked) == 2


async def test_seeds_of_a_list_replace_those_before(tmp_path, autojump_clock):
    client = FakeClient()
    links = [f"magnet:?xt=urn:btih:{'ab' * 20}&ws=http://{name}.example/f" for name in "bc"]
    async with watching(tmp_path / "a.db", client, torrent("http://a.example/f"), every=1.0) as watch:
        for link in links:
            await watch.take_links([link])
            await trio.sleep(2 * HOUR - 60)
    names = [url.split("/")[2][0] for _, url in client.asked]
    assert sorted(set(names[:3])) == ["a", "b"]
    assert sorted(set(names[-2:])) == ["a", "c"]


async def test_too_many_seeds_are_counted(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr(web_seeds, "MOST_SEEDS", 3)
    client = FakeClient()
    given = torrent(*(f"http://a.example/{number}/" for number in range(5)))
    async with watching(tmp_path / "a.db", client, given) as watch:
        await trio.sleep(60)
    assert (len(client.asked), watch.said) == (3, ["2 web seeds are left out: there are too many"])


async def test_url_with_a_key_is_nowhere_in_the_file(tmp_path, autojump_clock):
    """Of a URL only the host is kept, and a hash; the log beside the database (WAL) is searched as well."""
    url = f"http://a.example/{'0123456789abcdef' * 2}/f"
    client = FakeClient()
    async with watching(tmp_path / "a.db", client, torrent(url)):
        await trio.sleep(60)
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"a.example" in written
    assert b"0123456789abcdef" not in written
    assert len(client.asked) == 1


def test_seeds_of_a_private_torrent_are_none():
    assert list(given_seeds([torrent("http://a.example/", private=1)])) == []


def test_seed_that_is_not_asked_says_why():
    seeds = list(given_seeds([torrent("ftp://a.example/", "/1/items/", "http://[::1/")]))
    assert [str(seed.request.outcome) for seed in seeds[:2]] == ["not-asked", "bad-url"]
    assert [seed.known.host for seed in seeds] == ["a.example", "", ""]


@pytest.mark.parametrize("verifies", [False, True])
def test_whole_piece_is_asked_for_only_when_told_to(verifies):
    (seed,) = given_seeds([torrent("http://a.example/")], verifies=verifies)
    assert (seed.request.sha1 is not None) is verifies
    magnet = replace(parse_magnet(f"magnet:?xt=urn:btih:{'ab' * 20}"), web_seeds=("http://a.example/f",))
    (seed,) = given_seeds([magnet], verifies=verifies)
    assert seed.request.sha1 is None
