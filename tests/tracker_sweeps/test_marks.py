"""Marks: every style of lie is found, honest trackers have none, and small swarms prove nothing."""

from random import Random

import pytest

from crawler.trackers.marks import Mark, SweepFacts, marks_of

SWARMS = 400


def truth(seed, least=1):
    """Return how large some swarms are, most of them small."""
    random = Random(seed)
    return {place: int(random.paretovariate(0.6)) + least - 1 for place in range(SWARMS)}


def honest(seed, sizes, share=0.8):
    """Return what an honest tracker has of them: a part of the peers, each drawn apart."""
    random = Random(seed)
    counts = {}
    for place, size in sizes.items():
        peers = sum(random.random() < share for _ in range(min(size, 500))) * max(1, size // 500)
        if peers:
            seeds = random.randint(0, peers)
            counts[place] = (seeds, peers - seeds, random.randrange(1000))
    return SweepFacts(f"udp://honest-{seed}:1", counts)


def changed(sweep, change, **facts):
    return SweepFacts("udp://liar:1", {place: change(*told) for place, told in sweep.counts.items()}, **facts)


@pytest.mark.parametrize("seed", range(100))
def test_no_honest_tracker_is_marked(seed):
    sizes = truth(seed)
    shares = [Random(seed).choice((0.1, 0.5, 0.9, 1.0)) for _ in range(3)]
    sweeps = [honest(10 * seed + number, sizes, share) for number, share in enumerate(shares)]
    high = {place: 1.2 * size for place, size in sizes.items()}
    assert marks_of(sweeps, high) == [()] * 3
    assert marks_of(sweeps, {}) == [()] * 3


LIES = {
    Mark.CONSTANT: lambda *_: (700, 30, 5),
    Mark.ALONE: lambda seeds, leechers, downloaded: (7 * seeds + 101, 8 * leechers + 102, downloaded),
    Mark.MULTIPLIED: lambda seeds, leechers, downloaded: (3 * seeds, 3 * leechers, downloaded),
    Mark.MIRROR: lambda *told: told,
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mark", LIES)
def test_lies_are_found_beside_honest_trackers(mark, seed):
    sizes = truth(seed, 3)
    sweeps = [honest(10 * seed + number, sizes) for number in range(3)]
    liar = changed(sweeps[0], LIES[mark])
    found = marks_of([*sweeps, liar], {})
    assert found[:3] == [()] * 3
    assert mark in found[3]


def test_what_is_made_up_or_written_as_text_is_marked_at_once():
    sweeps = [SweepFacts("udp://a:1", {}, canary_hits=1), SweepFacts("http://b:1", {}, has_utf8_keys=True)]
    assert marks_of(sweeps, {}) == [(Mark.INVENTS,), (Mark.UTF8_KEYS,)]


def test_the_dht_speaks_for_swarms_that_no_other_tracker_has():
    sizes = dict.fromkeys(range(30), 100)
    lone = honest(1, sizes)
    assert marks_of([lone], dict.fromkeys(sizes, 90.0)) == [()]
    assert marks_of([lone], dict.fromkeys(sizes, 10.0)) == [(Mark.ALONE,)]
    assert marks_of([lone], {}) == [()]


def test_nineteen_swarms_prove_nothing():
    same = SweepFacts("udp://a:1", dict.fromkeys(range(19), (700, 30, 5)))
    assert marks_of([same, SweepFacts("udp://b:1", dict(same.counts))], {}) == [(), ()]


def test_tiny_swarms_are_alike_by_chance():
    tiny = dict.fromkeys(range(300), (1, 0, 0))
    assert marks_of([SweepFacts("udp://a:1", tiny), SweepFacts("udp://b:1", dict(tiny))], {}) == [(), ()]


def test_both_families_of_one_tracker_are_counted_once():
    sizes = truth(3, 9)
    first = honest(3, sizes)
    second = SweepFacts(first.url, dict(first.counts))
    assert marks_of([first, second], {}) == [(), (Mark.MIRROR,)]
