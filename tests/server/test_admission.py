"""Who is served when there is too much: arithmetic, with the time given."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Scope
from dhtnode.server.admission import FROM_ADDRESS, FROM_NETWORK, Admission
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
    """One more than the burst, because the first needs no credit."""
    admission, one = Admission(SETTINGS), source()
    assert [admitted(admission, one, 20, now) for now in (100.0, 100.0, 100.5, 200.0)] == [6, 0, 4, 6]
    assert refusal(admission, one, 200.0) == FROM_ADDRESS


@given(st.lists(st.floats(0.0, 0.5), max_size=300))
def test_no_more_than_burst_and_rate_is_ever_admitted(gaps: list[float]) -> None:
    admission, one = Admission(SETTINGS), source()
    now, count = 100.0, 0
    for gap in gaps:
        now += gap
        count += refusal(admission, one, now) is None
    assert count <= SETTINGS.host_burst + 1 + SETTINGS.host_rate * (now - 100.0) + 1e-6


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
    assert outcomes.count(None) == 13
    assert set(outcomes) == {None, FROM_NETWORK}
    assert refusal(admission, source("21.0.1.1", sources), 100.0) is None


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
    admission.expected(one, 100.0)
    wanted.append(admission.wants_proof(one, 100.0))

    crowd = [source(f"22.0.{number}.1", sources) for number in range(200)]
    for each in crowd:
        each.datagrams = 4

    assert wanted == [False, False, True, False, False]
    assert sum(admission.wants_proof(each, 100.0) for each in crowd) == 49


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
