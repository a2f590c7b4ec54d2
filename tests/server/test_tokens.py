"""Announce tokens: for which clients they are good, and for how long."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.server.tokens import MAX_REMEMBERED, TokenIssuer

PERIOD = 300.0
ALICE = bytes([8, 8, 8, 8])
BOB = bytes([8, 8, 8, 9])
SWARM = b"s" * 20
OTHER_SWARM = b"t" * 20


def new_issuer(seed: int = 1, now: float = 0.0) -> TokenIssuer:
    return TokenIssuer(Random(seed).randbytes, PERIOD, now)


@pytest.mark.parametrize(
    ("issued_at", "checked_at", "accepted"),
    [
        (0.0, 0.0, True),
        (0.0, 299.9, True),
        (0.0, 300.0, True),
        (0.0, 599.9, True),
        (0.0, 600.0, False),
        (299.9, 599.9, True),
        (299.9, 600.0, False),
        (0.0, 900.0, False),
        (0.0, 86400.0, False),
        (86400.0, 86400.0, True),
    ],
)
def test_token_lives_for_its_period_and_the_next(issued_at: float, checked_at: float, accepted: bool) -> None:
    issuer = new_issuer()
    token = issuer.issue(ALICE, SWARM, issued_at)
    assert issuer.accepts(token, ALICE, SWARM, checked_at) is accepted


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20), st.floats(0, 1000))
def test_token_lives_whatever_else_is_asked_meanwhile(pauses: list[float], age: float) -> None:
    issuer = new_issuer()
    now = sum(pauses)
    for at in range(len(pauses)):
        issuer.issue(BOB, SWARM, sum(pauses[:at]))
    token = issuer.issue(ALICE, SWARM, now)
    accepted = issuer.accepts(token, ALICE, SWARM, now + age)
    assert accepted or age > PERIOD * 0.999
    assert not accepted or age < 2 * PERIOD


@pytest.mark.parametrize(("host", "info_hash"), [(BOB, SWARM), (ALICE, OTHER_SWARM), (bytes(16), SWARM)])
def test_token_is_bound_to_address_and_info_hash(host: bytes, info_hash: bytes) -> None:
    issuer = new_issuer()
    token = issuer.issue(ALICE, SWARM, 0.0)
    assert not issuer.accepts(token, host, info_hash, 0.0)


def test_silence_of_two_periods_changes_both_secrets() -> None:
    issuer = new_issuer()
    old = issuer.issue(ALICE, SWARM, 0.0)
    fresh = issuer.issue(ALICE, SWARM, 5 * PERIOD)
    assert fresh != old
    assert not issuer.accepts(old, ALICE, SWARM, 5 * PERIOD)
    assert not issuer.accepts(old, ALICE, SWARM, 6 * PERIOD)
    assert issuer.accepts(fresh, ALICE, SWARM, 6 * PERIOD)


def test_secrets_change_at_whole_periods_whenever_a_query_comes() -> None:
    issuer = new_issuer()
    issuer.issue(BOB, SWARM, 1.9 * PERIOD)
    token = issuer.issue(ALICE, SWARM, 1.9 * PERIOD)
    assert issuer.accepts(token, ALICE, SWARM, 2.9 * PERIOD)
    assert not issuer.accepts(token, ALICE, SWARM, 3 * PERIOD)


def test_tokens_are_short_and_the_same_within_a_period() -> None:
    issuer = new_issuer()
    tokens = {issuer.issue(ALICE, SWARM, now) for now in (0.0, 100.0, 299.0)}
    assert [len(token) for token in tokens] == [8]


def test_issuers_do_not_accept_each_others_tokens() -> None:
    token = new_issuer(1).issue(ALICE, SWARM, 0.0)
    assert not new_issuer(2).accepts(token, ALICE, SWARM, 0.0)


@given(st.binary(max_size=128))
def test_forged_token_is_refused(token: bytes) -> None:
    assert not new_issuer().accepts(token, ALICE, SWARM, 0.0)


@given(st.integers(0, 63))
def test_token_with_one_bit_changed_is_refused(bit: int) -> None:
    issuer = new_issuer()
    number = int.from_bytes(issuer.issue(ALICE, SWARM, 0.0), "big")
    assert not issuer.accepts((number ^ 1 << bit).to_bytes(8, "big"), ALICE, SWARM, 0.0)


def test_remembered_tokens_are_few_and_are_those_computed() -> None:
    issuer, other = new_issuer(), new_issuer()
    hosts = [number.to_bytes(4, "big") for number in range(3 * MAX_REMEMBERED // 2)]
    issued = [issuer.issue(host, SWARM, 0.0) for host in hosts]
    assert len(issuer._remembered) + len(issuer._old) <= MAX_REMEMBERED
    assert [issuer.issue(host, SWARM, 0.0) for host in hosts[-5:]] == issued[-5:]
    assert [other.issue(host, SWARM, 0.0) for host in hosts[:5]] == issued[:5]
    assert issuer.issue(hosts[-1], SWARM, PERIOD) != issued[-1]
