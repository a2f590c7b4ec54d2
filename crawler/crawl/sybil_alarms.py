"""The alarms of one run: which hosts, zones and neighbourhoods have more ids than honest nodes would.

What the tests are and what they miss is in `sybils`; here they are given the nodes of a run.  They are of all
nodes that answered, also where sizes leave some out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from crawler.analysis.distance_size import Distances
from crawler.analysis.sybils import (
    FALSE_ALARMS,
    FEW_IDS,
    Alarm,
    benjamini_hochberg,
    crowded_hosts,
    dense_zones,
    distance_test,
    kl_of_chance,
    kl_test,
)
from crawler.crawl.answered_nodes import AnsweredNodes
from crawler.crawl.network_sizes import FamilySizes, FamilyTally, K, Neighbourhood, neighbourhoods_of
from crawler.db.records.records import SybilTestResult
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.ids import ID_BITS

FEWEST_ZONE_BITS, MOST_ZONE_BITS = 8, 12
NODES_PER_ZONE = 64  # aimed at, where the network is large enough for so many zones
FEWEST_PER_ZONE = 5  # on average, for a test by chi-square; below, zones are not tested
FEWEST_TARGETS = 8  # to compare a neighbourhood with
KL_TARGETS = 64  # of those spread: among more, none of 10,000 draws would be rare enough
KL_DRAWS = 10_000


def sybil_tests(
    sizes: FamilySizes, tally: FamilyTally, zone: Zone, watched: Sequence[bytes], random: Random
) -> list[SybilTestResult]:
    """Return the suspects of a family, and what the tests say of each watched id of the zone."""
    family, nodes = sizes.family, tally.nodes
    targets = [int.from_bytes(each, "big") for each in watched if zone.covers(each)]
    return [
        *_of_unconfirmed(family, tally),
        *_of_hosts(family, nodes),
        *_of_zones(family, nodes, zone),
        *_of_neighbourhoods(sizes, nodes, neighbourhoods_of(nodes, targets), zone, random),
    ]


def _of_unconfirmed(family: Family, tally: FamilyTally) -> Iterator[SybilTestResult]:
    """Tell where endpoints were held back; a bound, and no test of chance."""
    if tally.held:
        alarm = Alarm("whole network", tally.unconfirmed, tally.most_unconfirmed, 0.0, True)
        held = f"; {tally.held} more were not visited"
        yield _result(family, "nodes that one other returned", alarm, held)


def _of_hosts(family: Family, nodes: AnsweredNodes) -> Iterator[SybilTestResult]:
    """Test the hosts; more than `FEW_IDS` ids on one is where an alarm may begin."""
    for alarm in crowded_hosts(nodes.hosts_with(), nodes.hosts_above(FEW_IDS)):
        if alarm.is_suspect:
            yield _result(family, "ids on one host", alarm)


def _of_zones(family: Family, nodes: AnsweredNodes, zone: Zone) -> Iterator[SybilTestResult]:
    """Test equal parts of what was crawled, each and together; small networks are left alone."""
    answered = len(nodes.numbers)
    bits = min(MOST_ZONE_BITS, max(FEWEST_ZONE_BITS, (answered // NODES_PER_ZONE).bit_length() - 1))
    if answered < FEWEST_PER_ZONE << bits:
        return
    first = zone.prefix << bits
    total = zone.bits + bits
    report = dense_zones([nodes.count(first | part, total) for part in range(1 << bits)])
    for alarm in report.suspects:
        yield _result(
            family, "ids in one zone", replace(alarm, subject=f"{first | int(alarm.subject):0{total}b}")
        )
    p_value = report.dispersion_p_value
    spread = Alarm("all zones", report.dispersion, 1.0, p_value, p_value <= FALSE_ALARMS)
    yield _result(family, "dispersion of zones", spread)


def _of_neighbourhoods(
    sizes: FamilySizes,
    nodes: AnsweredNodes,
    watched: Sequence[Neighbourhood],
    zone: Zone,
    random: Random,
) -> Iterator[SybilTestResult]:
    """Test the surroundings of the spread targets, and each watched one whatever comes of it."""
    spread = neighbourhoods_of(nodes, [each.target for each in sizes.neighbourhoods])
    if len(spread) < FEWEST_TARGETS:
        return
    background = Distances(tuple(each.distance for each in spread), K)
    yield from _suspects(sizes.family, "closeness", _by_distance(spread, background))
    found = float(len(nodes.numbers) << zone.bits)
    chance = kl_of_chance(found, K, random, KL_DRAWS)
    some = random.sample(spread, min(KL_TARGETS, len(spread)))
    yield from _suspects(sizes.family, "prefixes", _by_prefixes(some, found, chance))
    for alarm in _by_distance(watched, background):
        yield _result(sizes.family, "closeness", alarm)
    for alarm in _by_prefixes(watched, found, chance):
        yield _result(sizes.family, "prefixes", alarm)


def _by_distance(neighbourhoods: Sequence[Neighbourhood], background: Distances) -> list[Alarm]:
    return [
        distance_test(each.distance, K, background, target=f"{each.target:040x}") for each in neighbourhoods
    ]


def _by_prefixes(
    neighbourhoods: Sequence[Neighbourhood], found: float, chance: Sequence[float]
) -> list[Alarm]:
    return [
        kl_test(
            [ID_BITS - (other ^ each.target).bit_length() for other in each.ids],
            found,
            chance,
            target=f"{each.target:040x}",
        )
        for each in neighbourhoods
    ]


def _suspects(family: Family, test: str, alarms: Sequence[Alarm]) -> Iterator[SybilTestResult]:
    """Yield the alarms to believe, of many, so that an honest network rarely raises one."""
    believed = benjamini_hochberg([alarm.p_value for alarm in alarms], FALSE_ALARMS)
    for alarm, is_believed in zip(alarms, believed, strict=True):
        if is_believed:
            yield _result(family, test, replace(alarm, is_suspect=True))


EXPLANATIONS = {
    "nodes that one other returned": "{:.0f} nodes answered that one other node alone returned, {:.0f} may;"
    " nodes are invented, and sizes leave all of these out",
    "ids on one host": "{:.0f} ids on one host, where {:.2f} are usual; sizes count the host once; many users"
    " behind one NAT look the same",
    "ids in one zone": "{:.0f} ids begin with these bits, where chance has {:.1f}; sizes count them all",
    "dispersion of zones": "the counts of ids in equal zones vary {:.2f} times as much as by chance ({:.0f})",
    "closeness": "the 8 nodes next to this id are at {:.3f} of the distance that chance has ({:.0f}); they"
    " answer for it",
    "prefixes": "the prefixes that the 8 nodes next to this id share with it diverge by {:.2f}, by chance by"
    " {:.2f}; ids made for this place do that",
}
"""What each test says, given what was observed and what is expected."""


def _result(family: Family, test: str, alarm: Alarm, more: str = "") -> SybilTestResult:
    explanation = EXPLANATIONS[test].format(alarm.score, alarm.expected) + more
    return SybilTestResult(
        family,
        test,
        str(alarm.subject),
        alarm.score,
        alarm.expected,
        alarm.p_value,
        alarm.is_suspect,
        explanation,
    )
