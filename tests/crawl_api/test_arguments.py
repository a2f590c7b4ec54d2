"""Wrong arguments of the calls of `crawler`: a `ValueError` in one line before anything is opened."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

import crawler
from crawler.db.database import CrawlDatabase
from dhtnode import InvalidArgument

ID = b"i" * 20
HUGE = 10**5000
NOT_SEVERAL = [None, 1, True, "5d" * 20, ID, object()]
NO_SWARM = [None, 1, ID[1:], b"v" * 32, "", "x", "g" * 40, bytearray(ID), object(), []]
NO_SWARMS = [*NOT_SEVERAL, *([wrong] for wrong in NO_SWARM)]
NO_COUNT = [True, -1, HUGE, 1.5, math.nan, "1", b"1", [], object()]
NO_TIME = [True, -1, HUGE, math.nan, -math.inf, "1", b"1", [], object()]
NO_PATH = [None, 1, True, b"x", [], object()]
NO_HOSTS = [None, 1, "127.0.0.1:1", [1], ["a"], ["a:0"], [None], [b"a:1"]]
NO_SETTINGS = [1, "x", ID, [], object()]


def options(**given):
    return crawler.CrawlOptions(**{"db": "a.db", "bootstrap": ["127.0.0.1:9"]} | given)


def wrong_numbers(kind):
    """Return settings with one number each that is none to reckon with, or one flag that is none."""
    return [
        replace(kind(), **{field.name: value})
        for field in fields(kind)
        for value in (None, -1, math.nan, math.inf, 10**13, "1", True)
        if not (value is True and isinstance(field.default, bool))
    ]


async def take(call):
    """Wait for a call, or run through what it yields."""
    result = call()
    if hasattr(result, "__await__"):
        await result
    elif hasattr(result, "__next__"):
        list(result)


ASYNC = {
    "swarms to measure": (NO_SWARMS, lambda wrong: crawler.measure(wrong, options())),
    "at once": ([0, *NO_COUNT], lambda wrong: crawler.measure([ID], options(), at_once=wrong)),
    "fresh": (NO_TIME, lambda wrong: crawler.measure([ID], options(), fresh=wrong)),
    "swarms to fetch": (NO_SWARMS, lambda wrong: crawler.fetch_metadata(wrong, options())),
    "missing": (NO_COUNT, lambda wrong: crawler.fetch_metadata([], options(), missing=wrong)),
    "peer settings": (
        [*NO_SETTINGS, *wrong_numbers(crawler.PeerSettings)],
        lambda wrong: crawler.fetch_metadata([], options(), settings=wrong),
    ),
    "swarms to watch": (NO_SWARMS, lambda wrong: crawler.watch(wrong, options())),
    "list": (NO_PATH[1:], lambda wrong: crawler.watch([], options(), list_file=wrong)),
    "discovered": (NO_COUNT, lambda wrong: crawler.watch([], options(), discovered=wrong)),
    "watch settings": (NO_SETTINGS, lambda wrong: crawler.watch([], options(), settings=wrong)),
    "zone": ([1, None, b"8", "", "x", "-1", "33", "0x"], lambda wrong: crawler.census(options(), zone=wrong)),
    "watched ids": (NO_SWARMS, lambda wrong: crawler.census(options(), watched=wrong)),
    "verify": (NO_TIME, lambda wrong: crawler.census(options(), verify_after=wrong)),
    "second walk": ([-1, None, "1", 1.5], lambda wrong: crawler.census(options(), second_walk=wrong)),
    "rounds": ([0, *NO_COUNT], lambda wrong: crawler.sample(options(), rounds=wrong)),
    "seconds": ([0, *NO_TIME], lambda wrong: crawler.sample(options(), seconds=wrong)),
    "database": (NO_PATH, lambda wrong: crawler.census(wrong)),
    "database in options": (NO_PATH, lambda wrong: crawler.census(options(db=wrong))),
    "exclude": ([None, 1, "1.2.3.4", [1], ["x"]], lambda wrong: crawler.census(options(exclude=wrong))),
    "bootstrap": (NO_HOSTS, lambda wrong: crawler.measure([ID], options(bootstrap=wrong))),
    "torrent nodes": (NO_HOSTS, lambda wrong: crawler.measure([ID], options(torrent_nodes=wrong))),
    "settings": (
        [None, *NO_SETTINGS, *wrong_numbers(crawler.CrawlSettings)],
        lambda wrong: crawler.measure([ID], options(settings=wrong)),
    ),
}
PLAIN = {
    "measurement": ([-1, HUGE, *NO_SWARM[2:]], lambda wrong: crawler.explain(wrong, db="there.db")),
    "explained census": (
        [-1, HUGE, None, "1", 1.5],
        lambda wrong: crawler.explain_census(wrong, db="there.db"),
    ),
    "folder": (NO_PATH, lambda wrong: crawler.export(wrong, db="there.db")),
    "form": ([None, "x", 1, object()], lambda wrong: crawler.export("out", db="there.db", form=wrong)),
    "exported run": (NO_COUNT, lambda wrong: crawler.export("out", db="there.db", run=wrong)),
    "database to export": (NO_PATH, lambda wrong: crawler.export("out", db=wrong, form="csv")),
    "age of filters": (NO_TIME, lambda wrong: crawler.purge("there.db", filters_older=wrong)),
    "age": ([math.inf, *NO_TIME], lambda wrong: crawler.purge("there.db", older=wrong)),
    "swarms to purge": (NO_SWARMS, lambda wrong: crawler.purge("there.db", swarms=wrong)),
    "nodes to purge": (
        [*NOT_SEVERAL, [1], [None], ["x"], [ID]],
        lambda wrong: crawler.purge("there.db", nodes=wrong),
    ),
    "database to purge": (NO_PATH, lambda wrong: crawler.purge(wrong)),
    "database to vacuum": (NO_PATH, lambda wrong: crawler.vacuum(wrong)),
    "target": (NO_PATH, lambda wrong: crawler.merge(wrong, ["there.db"])),
    "sources": ([*NOT_SEVERAL, [None], [1]], lambda wrong: crawler.merge("a.db", wrong)),
    "window": (NO_COUNT, lambda wrong: crawler.merge("a.db", ["there.db"], wrong)),
    "report": ([None, 1, b"clients", "x", []], lambda wrong: crawler.report(wrong, db="there.db")),
    "reported swarm": (NO_SWARM[1:], lambda wrong: crawler.report("swarm", wrong, db="there.db")),
    "reported run": (NO_COUNT, lambda wrong: crawler.report("clients", db="there.db", run=wrong)),
    "limit": ([None, -2, *NO_COUNT[2:]], lambda wrong: crawler.report("clients", db="there.db", limit=wrong)),
    "summary": (NO_COUNT, lambda wrong: crawler.report_summary(db="there.db", run=wrong)),
    "database to report": (NO_PATH, lambda wrong: crawler.report("clients", db=wrong)),
}


@pytest.mark.parametrize(("wrongs", "call"), (ASYNC | PLAIN).values(), ids=ASYNC | PLAIN)
async def test_wrong_argument_raises_and_leaves_nothing(tmp_path, monkeypatch, wrongs, call):
    monkeypatch.chdir(tmp_path)
    CrawlDatabase.open("there.db").close()
    before = files()
    for wrong in wrongs:
        with pytest.raises(ValueError) as raised:
            await take(lambda wrong=wrong: call(wrong))
        assert len(str(raised.value).splitlines()) == 1
    assert files() == before


def files():
    return sorted(Path().iterdir())


def test_kind_of_error_is_the_documented_one():
    with pytest.raises(InvalidArgument, match="20 bytes, not 32"):
        crawler.purge("there.db", swarms=[b"v" * 32])
