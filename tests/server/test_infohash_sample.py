"""Samples of a store: stable within an interval, true at any moment, fair over many intervals."""

from collections.abc import Iterator
from random import Random

import pytest

from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL
from dhtnode.server.infohash_sample import SAMPLE_SIZE, SampleKeeper

STORED = {InfoHash(bytes([number]) * 20): None for number in range(100)}


def test_sample_stays_for_an_interval_and_then_changes() -> None:
    sampler = SampleKeeper(Random(1), interval=600.0)
    first, again, last, next_one = (sampler.sample(STORED, now) for now in (5.0, 6.5, 604.9, 605.0))
    assert first.info_hashes == again.info_hashes == last.info_hashes
    assert (len(set(first.info_hashes)), first.num) == (SAMPLE_SIZE, 100)
    assert set(first.info_hashes) <= STORED.keys()
    assert first.info_hashes != next_one.info_hashes
    assert [one.interval for one in (first, again, last, next_one)] == [600, 599, 1, 600]


def test_small_store_is_shown_whole_and_as_it_grows() -> None:
    """A node that has just started would show nothing for hours otherwise."""
    sampler = SampleKeeper(Random(1))
    stored: dict[InfoHash, None] = {}
    empty = sampler.sample(stored, 0.0)
    stored[InfoHash(b"a" * 20)] = None
    one = sampler.sample(stored, 1.0)
    stored[InfoHash(b"b" * 20)] = None
    two = sampler.sample(stored, 2.0)
    assert (empty.info_hashes, empty.num, empty.interval) == ((), 0, int(MAX_INTERVAL))
    assert (one.info_hashes, two.info_hashes) == ((b"a" * 20,), (b"a" * 20, b"b" * 20))


def test_expired_info_hash_gives_its_place_to_another() -> None:
    sampler = SampleKeeper(Random(1))
    stored = dict(STORED)
    before = sampler.sample(stored, 0.0).info_hashes
    del stored[before[3]]
    after = sampler.sample(stored, 1.0).info_hashes
    assert after[:-1] == before[:3] + before[4:]
    assert after[-1] not in before


def test_every_info_hash_is_shown_equally_often() -> None:
    """Over 2000 intervals each of 100 comes 400 times, within five standard deviations."""
    sampler = SampleKeeper(Random(7), interval=1.0)
    times = dict.fromkeys(STORED, 0)
    for second in range(2000):
        for info_hash in sampler.sample(STORED, float(second)).info_hashes:
            times[info_hash] += 1
    assert all(abs(count - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5 for count in times.values())


def test_no_network_fills_a_sample_while_there_are_others() -> None:
    """9000 info-hashes of one network beside 30 of others: it has a quarter of the places."""
    flood = {InfoHash(b"%020d" % number): b"flood" for number in range(9000)}
    others = {InfoHash(b"%020x" % number): b"%d" % number for number in range(10, 40)}
    networks = flood | others
    sampler = SampleKeeper(Random(1), interval=1.0)
    for second in range(5):
        shown = [
            networks[each]
            for each in sampler.sample(networks, float(second), networks.__getitem__).info_hashes
        ]
        assert (len(shown), shown.count(b"flood")) == (SAMPLE_SIZE, SAMPLE_SIZE // 4)
    alone = sampler.sample(flood, 10.0, flood.__getitem__)
    assert (len(set(alone.info_hashes)), alone.num) == (SAMPLE_SIZE, 9000)


def test_large_store_is_not_searched_at_each_query() -> None:
    """Or announces that drop what a sample shows could make every query dear."""
    sampler = SampleKeeper(Random(1))
    stored = {InfoHash(b"%020d" % number): None for number in range(1000)}
    passes: list[float] = []

    class Watched(dict[InfoHash, None]):
        def __iter__(self) -> Iterator[InfoHash]:
            passes.append(now)
            return super().__iter__()

    watched = Watched(stored)
    for tick in range(50):
        now = tick / 10
        del watched[sampler.sample(watched, now).info_hashes[0]]
    assert passes == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("interval", [0.0, -1.0, MAX_INTERVAL + 1])
def test_interval_keeps_to_the_bep(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        SampleKeeper(Random(1), interval=interval)
