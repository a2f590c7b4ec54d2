"""Who is served when there is too much: arithmetic, with the time given."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Scope
from dhtnode.server.admission import FROM_ADDRESS, FROM_NETWORK, RESERVE, Admission
from dhtnode.server.sources import Source, Sources
from dhtnode.settings import NodeSettings

SETTINGS = NodeSettings(
    host_rate=8.0,
    host_burst=5.0,
    network_rate=32.0,
    network_burst=12.0,
    reply_rate=1000.0,
    reply_burst=3000.0,
    max_amplification=4.0,
    max_payload=1000,
    good_for=900.0,
)


def source(host: str = "21.0.0.1", sources: Sources | None = None) -> Source:
    return (Sources(Scope.PUBLIC) if sources is None else sources).get((host, 6881))


def refusal(admission: Admission, one: Source, now: float) -> str | None:
    """Return why a datagram of 100 bytes is dropped, or None."""
    return admission.admit(one, 100, now)[0]


def budget(admission: Admission, one: Source, size: int, now: float) -> int:
    refused, longest = admission.admit(one, size, now)
    assert refused is None
    return longest


def admitted(admission: Admission, one: Source, count: int, now: float) -> int:
    return [refusal(admission, one, now) for _ in range(count)].count(None)


def test_burst_is_admitted_and_then_the_rate() -> None:
    """One more than the burst, because the first needs no credit, and one more from the reserve."""
    admission, one = Admission(SETTINGS), source()
    assert [admitted(admission, one, 20, now) for now in (100.0, 100.0, 100.5, 200.0)] == [7, 0, 4, 7]
    assert refusal(admission, one, 200.0) == FROM_ADDRESS


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(1, 9)), max_size=300))
def test_no_more_than_burst_reserve_and_rate_is_ever_admitted(arrivals: list[tuple[float, int]]) -> None:
    """From whatever ports, proven or not."""
    admission, sources = Admission(SETTINGS), Sources(Scope.PUBLIC)
    now, count = 100.0, 0
    for gap, port in arrivals:
        now += gap
        one = sources.get(("21.0.0.1", port))
        one.proven_until = now + 1 if port < 4 else 0.0
        count += refusal(admission, one, now) is None
    most = SETTINGS.host_burst * (1 + RESERVE) + 1 + SETTINGS.host_rate * (now - 100.0)
    assert count <= most + 1e-6


@given(st.lists(st.floats(0.126, 0.5), max_size=100))
def test_source_within_the_rate_is_always_admitted(gaps: list[float]) -> None:
    admission, one = Admission(SETTINGS), source()
    now = 100.0
    for gap in gaps:
        now += gap
        assert refusal(admission, one, now) is None


def test_hosts_of_one_network_share_its_limit() -> None:
    admission, sources = Admission(SETTINGS), Sources(Scope.PUBLIC)
    hosts = [source(f"21.0.0.{number}", sources) for number in range(1, 9)]
    outcomes = [refusal(admission, one, 100.0) for one in hosts for _ in range(3)]
    # Burst, one more, and two from the reserve.
    assert outcomes.count(None) == 15
    assert set(outcomes) == {None, FROM_NETWORK}
    assert refusal(admission, source("21.0.1.1", sources), 100.0) is None


class Crowd:
    """Sources that send at their own rates to one node with the default limits, in the order of time."""

    def __init__(self) -> None:
        self.admission = Admission(NodeSettings())
        self.sources = Sources(Scope.PUBLIC)
        self._random = Random(1)

    def served(
        self, rates: dict[tuple[str, int], float], forged: tuple[str, float] | None, seconds: float = 60.0
    ) -> dict[tuple[str, int], float]:
        """Return the part of the datagrams of each source that is admitted, after half of the time.

        `forged` is a host of which ever new ports send, and how many in a second.
        """
        arrivals = [
            (self._random.uniform(0, seconds), pair)
            for pair, rate in rates.items()
            for _ in range(round(rate * seconds))
        ]
        host, rate = forged or ("", 0.0)
        arrivals += [
            (number / rate, (host, 10_000 + number % 50_000)) for number in range(round(rate * seconds))
        ]
        outcomes: dict[tuple[str, int], list[bool]] = {pair: [] for pair in rates}
        for now, pair in sorted(arrivals):
            refused = refusal(self.admission, self.sources.get(pair), now)
            if pair in outcomes and now > seconds / 2:
                outcomes[pair].append(refused is None)
        return {pair: sum(admitted) / len(admitted) for pair, admitted in outcomes.items()}


NEIGHBOURS = [("21.0.0.1", port) for port in range(2000, 2010)]


@pytest.mark.parametrize("flood", [60.0, 300.0, 3000.0])
def test_port_that_floods_leaves_its_neighbours_what_they_need(flood: float) -> None:
    """Ten at one query per second each; the flooder gets the rest of the limit."""
    served = Crowd().served(dict.fromkeys(NEIGHBOURS, 1.0) | {("21.0.0.1", 1000): flood}, None)
    assert min(served[pair] for pair in NEIGHBOURS) >= 0.95
    assert served["21.0.0.1", 1000] * flood == pytest.approx(40.0, rel=0.1)


def test_several_ports_that_flood_leave_their_neighbours_what_they_need() -> None:
    flooders = [("21.0.0.1", port) for port in range(1000, 1020)]
    served = Crowd().served(dict.fromkeys(NEIGHBOURS, 1.0) | dict.fromkeys(flooders, 100.0), None)
    assert min(served[pair] for pair in NEIGHBOURS) >= 0.8
    assert max(served[pair] for pair in flooders) <= 0.04


def test_many_ports_of_one_address_share_its_limit_fairly() -> None:
    """A hundred at two queries per second, four times the limit: each gets about a quarter."""
    ports = [("21.0.0.1", port) for port in range(1000, 1100)]
    served = Crowd().served(dict.fromkeys(ports, 2.0), None, seconds=120.0)
    assert 0.1 <= min(served.values()) <= max(served.values()) <= 0.45


@pytest.mark.parametrize("forged", [60.0, 1000.0])
@pytest.mark.parametrize("is_proven", [False, True])
def test_forged_ports_do_not_lock_an_address_out(forged: float, is_proven: bool) -> None:
    crowd, victim = Crowd(), ("21.0.0.1", 2222)
    if is_proven:
        crowd.sources.get(victim).proven_until = math.inf
    assert crowd.served({victim: 2.0}, (victim[0], forged), 30.0) == {victim: 1.0}


def test_proven_port_keeps_its_share_among_forged_ones_that_come_again() -> None:
    crowd, victim = Crowd(), ("21.0.0.1", 2222)
    crowd.sources.get(victim).proven_until = math.inf
    forged = {("21.0.0.1", port): 5.0 for port in range(3000, 3100)}
    served = crowd.served({victim: 1.0} | forged, None)
    assert served[victim] >= 0.95


@pytest.mark.parametrize("rate", [49.0, 300.0])
def test_addresses_that_flood_leave_the_others_of_their_network_what_they_need(rate: float) -> None:
    flooders = {(f"21.0.0.{number}", 6881): rate for number in range(1, 9)}
    others = {(f"21.0.0.{number}", 6881): 1.0 for number in range(100, 120)}
    served = Crowd().served(flooders | others, None)
    assert min(served[pair] for pair in others) >= 0.9


def test_refused_datagram_is_not_charged() -> None:
    admission, one = Admission(SETTINGS), source()
    admitted(admission, one, 100_000, 100.0)
    assert refusal(admission, one, 100.125) is None


def test_answers_that_we_wait_for_are_free() -> None:
    admission, one = Admission(SETTINGS), source()
    for _ in range(1000):
        assert refusal(admission, one, 100.0) is None
        admission.expected(one, 100.0)


def test_infinite_rate_lifts_a_limit() -> None:
    lifted = NodeSettings(
        host_rate=math.inf, network_rate=math.inf, reply_rate=math.inf, max_amplification=math.inf
    )
    admission, one = Admission(lifted), source()
    assert admitted(admission, one, 10_000, 100.0) == 10_000
    admission.spend(10_000 * 1024, 100.0)
    assert budget(admission, one, 60, 100.0) == lifted.max_payload


def test_reply_is_bounded_by_the_query_until_the_address_is_proven() -> None:
    admission, one = Admission(SETTINGS), source()
    before = budget(admission, one, 100, 100.0)
    admission.expected(one, 100.0)
    assert [before, budget(admission, one, 100, 999.0), budget(admission, one, 100, 1000.0)] == [
        400,
        1000,
        400,
    ]
    assert budget(admission, one, 1000, 2000.0) == 1000


def test_reply_with_an_item_may_be_longer() -> None:
    """A whole datagram, to a client that has proven its address or sent enough itself (BEP 44)."""
    admission, one = Admission(SETTINGS), source()
    before = [admission.item_budget(one, size, 100.0) for size in (100, 300, 1000)]
    admission.expected(one, 100.0)
    assert before == [400, 1200, 1472]
    assert admission.item_budget(one, 100, 100.0) == 1472


def spend(admission: Admission, one: Source, now: float) -> int:
    """Return to how many queries that come at once a reply of 100 bytes is granted."""
    datagrams = one.datagrams
    for number in range(1000):
        if refusal(admission, one, now) is not None:
            return number
        admission.spend(100, now)
        one.datagrams = datagrams
    raise AssertionError("no end of it")


def test_when_the_reply_budget_is_short_unknown_sources_go_first_and_proven_ones_last() -> None:
    """A third of the burst for those who just came, two for those who keep coming, all for the proven."""
    many = replace(SETTINGS, host_rate=math.inf, network_rate=math.inf)
    admission, sources = Admission(many), Sources(Scope.PUBLIC)
    stranger, regular, proven = (source(f"21.0.{number}.1", sources) for number in range(3))
    # With the next one, these are the third datagram of the one and the fourth of the other.
    stranger.datagrams, regular.datagrams = 2, 3
    admission.expected(proven, 90.0)
    granted = [spend(admission, one, 100.0) for one in (stranger, regular, proven, regular)]
    assert granted == [11, 10, 10, 0]
    assert [spend(admission, one, 101.0) for one in (stranger, regular, proven)] == [0, 0, 10]


def test_budget_for_replies_is_not_saved_up() -> None:
    many = replace(SETTINGS, host_rate=math.inf, network_rate=math.inf)
    admission, stranger = Admission(many), source()
    # 1.1 s of replies are paid for at 101.1.
    assert [spend(admission, stranger, now) for now in (100.0, 101.6)] == [11, 11]


def test_node_that_keeps_querying_in_vain_may_prove_itself() -> None:
    admission, sources = Admission(SETTINGS), Sources(Scope.PUBLIC)
    one = source()
    wanted = [admission.wants_proof(one, 100.0)]
    for _ in range(3):
        refusal(admission, one, 100.0)
    wanted.append(admission.wants_proof(one, 100.0))
    refusal(admission, one, 100.0)
    wanted.append(admission.wants_proof(one, 100.0))
    one.awaited = 1
    wanted.append(admission.wants_proof(one, 100.0))
    one.awaited = 0
    wanted.append(admission.wants_proof(one, 102.0))
    wanted.append(admission.wants_proof(one, 105.0))
    admission.expected(one, 110.0)
    wanted.append(admission.wants_proof(one, 110.0))

    crowd = [source(f"22.0.{number}.1", sources) for number in range(200)]
    for each in crowd:
        each.datagrams = 4

    # The ping of 100 was the last to this address for five seconds.
    assert wanted == [False, False, True, False, False, True, False]
    assert sum(admission.wants_proof(each, 105.0) for each in crowd) == 49


@pytest.mark.parametrize("name", ["host_rate", "network_rate", "reply_rate", "max_amplification"])
def test_default_limits_are_well_above_an_honest_node(name: str) -> None:
    """20 queries per second, replies of 1 kB to a hundred of them, a scrape over IPv4."""
    needed = {"host_rate": 40, "network_rate": 80, "reply_rate": 100 * 1024, "max_amplification": 7.8}
    assert getattr(NodeSettings(), name) >= needed[name]


def test_changed_limits_are_those_of_a_new_admission() -> None:
    lower = NodeSettings(
        host_rate=1.0, host_burst=2.0, network_rate=3.0, network_burst=4.0, reply_rate=5.0, reply_burst=6.0
    )
    lower = replace(lower, max_amplification=2.0, max_payload=600, max_item_payload=700)
    admission = Admission(SETTINGS)
    admission.spend(3000, 0.0)
    admission.change_limits(lower)

    def numbers(of: Admission) -> dict[str, object]:
        return {name: value for name, value in vars(of).items() if name not in ("_proofs", "meters")}

    assert numbers(admission) == numbers(Admission(lower))
