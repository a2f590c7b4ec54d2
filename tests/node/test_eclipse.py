"""Sybils around a target: who is found by lookups of honest nodes (BEP 42).

The network is that of `benchmarks.eclipse`: real routing tables and real lookups.
"""

from collections.abc import Callable
from functools import cache

import pytest

from benchmarks.eclipse import Attacked, five_addresses, twenty_networks
from dhtnode import Address, random_id

pytestmark = pytest.mark.slow

LOOKUPS = 50


@cache
def attacked(place: Callable[[int], Address]) -> Attacked:
    """Return a network under attack; lookups do not change it, and to make it takes seconds."""
    return Attacked(1, place)


@pytest.mark.parametrize("place", [five_addresses, twenty_networks])
def test_sybils_hide_no_node(place: Callable[[int], Address]) -> None:
    """Half of the nodes found are honest, and the closest honest one is among them."""
    network = attacked(place)
    found = [network.look_up(network.near_target()) for _ in range(LOOKUPS)]
    good = [each for each in found if each.honest >= 4 and each.has_closest]
    assert len(good) >= 0.95 * LOOKUPS
    assert max(each.queries for each in found) <= 30
    for table in network.tables.values():
        table.check()


def test_sybils_are_all_that_is_found_where_lookups_do_not_prefer_ids_that_conform() -> None:
    network = attacked(twenty_networks)
    found = [network.look_up(network.near_target(), is_preferring=False) for _ in range(LOOKUPS)]
    assert sum(each.honest == 0 for each in found) >= 0.95 * LOOKUPS


@pytest.mark.parametrize(("share", "needed"), [(0.0, 8.0), (0.3, 7.2), (0.6, 7.4), (1.0, 8.0)])
def test_the_price_where_not_all_honest_ids_conform_is_small(share: float, needed: float) -> None:
    """Nearly all of the true 8 are found; all of them where ids cannot differ in that."""
    network = Attacked(1, sybils=0, share=share)
    found = [network.look_up(random_id(network.random)) for _ in range(LOOKUPS)]
    assert sum(each.true for each in found) / LOOKUPS >= needed
