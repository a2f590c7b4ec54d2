"""A gateway over hours, on a clock that is not waited for: what it holds, and how often it looks up."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from dhtnode import Address, InfoHash
from tests.gateway_cores import announce, new_core

INTERVAL = 1800


@pytest.mark.parametrize(("clients", "swarms", "hours"), [(60, 20, 8)])
def test_it_holds_no_more_after_a_day_and_does_not_look_up_too_often(clients, swarms, hours):
    """A fifth of the clients are replaced in each interval, and say nothing when they go."""
    core, lookups, sizes = new_core(), defaultdict(list), []
    hashes = [InfoHash(number.to_bytes(20, "big")) for number in range(swarms)]
    step = INTERVAL / clients
    seen_at = {}

    def look_up(now):
        while core.to_look_up:
            info_hash = core.to_look_up.popleft()
            lookups[info_hash].append(now)
            swarm = core.swarms.by_hash[info_hash]
            swarm.on_found([Address(f"45.0.{info_hash[-1]}.{low}", 80) for low in range(1, 60)])
            core.end_lookup(swarm, now)
            core.on_measured(info_hash, swarm, 10.0, 50.0, now)

    for number in range(int(hours * 3600 / step)):
        now = number * step
        client = number % clients
        age = number // clients
        generation = (age + client) // 5
        host = f"10.{generation % 200}.{client >> 8}.{client & 255}"
        for info_hash in hashes:
            announce(core, host, info_hash=info_hash, now=now)
        seen_at[host] = now
        look_up(now)
        if number % (clients // 60) == 0:
            core.sweep(now)
            look_up(now)
        if now % 3600 < step and now >= 2 * 3600:
            held = {peer.host for swarm in core.swarms.by_hash.values() for peer in swarm.peers.values()}
            assert held >= {each for each, at in seen_at.items() if now - at < core.swarms.lifetime}
            assert max(now - seen_at[each] for each in held) <= 2 * INTERVAL
            sizes.append((core.swarms.peer_count, core.swarms.host_count, len(core.swarms.by_hash)))

    peers, hosts, _ = zip(*sizes, strict=True)
    assert max(peers) <= 1.1 * min(peers)
    assert max(peers) < 1.5 * clients * swarms
    assert max(hosts) < 1.5 * clients
    assert {each[2] for each in sizes} == {swarms}
    gaps = Counter(later - earlier >= 300 for each in lookups.values() for earlier, later in pairwise(each))
    assert gaps[False] == 0
    assert gaps[True] > 0
    assert len(core.announces_due) == 0
    # All of it is gone when none comes again.
    core.sweep(now + 2 * INTERVAL)
    assert (core.swarms.peer_count, core.swarms.host_count, core.swarms.by_hash, core.swarms.rows) == (
        0,
        0,
        {},
        {},
    )
