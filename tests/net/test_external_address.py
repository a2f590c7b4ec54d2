"""The vote on our own address: who may vote, what it takes, and what liars can do."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Scope
from dhtnode.net.external_address import MAX_VOTES, NEEDED, PAUSE, WINDOW, ExternalAddress

TRUE = Address("30.1.2.3", 6881)
LIE = Address("31.1.2.3", 6881)


def voter(number: int, last: int = 1) -> Address:
    """Return a node alone in its /24, unless `last` tells it from another."""
    return Address(f"21.{number >> 8}.{number & 255}.{last}", 6881)


def vote_all(external: ExternalAddress, said: Address, numbers: range, now: float = 0.0) -> int:
    """Let networks vote the same and return how often this changed what is believed."""
    return sum(external.vote(voter(number), said, now) for number in numbers)


def settled(votes: int = MAX_VOTES) -> ExternalAddress:
    external = ExternalAddress(Scope.PUBLIC)
    vote_all(external, TRUE, range(votes))
    assert external.address == TRUE
    return external


def test_address_is_believed_when_enough_networks_agree() -> None:
    external = ExternalAddress(Scope.PUBLIC)
    assert vote_all(external, TRUE, range(NEEDED - 1)) == 0
    assert external.address is None
    assert external.vote(voter(NEEDED), TRUE, 0.0)
    assert external.address == TRUE
    assert vote_all(external, TRUE, range(20, 40)) == 0


def test_network_has_one_vote() -> None:
    external = ExternalAddress(Scope.PUBLIC)
    changes = [external.vote(voter(1, last), LIE, 0.0) for last in range(1, 255)]
    assert not any(changes)
    assert len(external) == 1
    external.vote(voter(1), TRUE, 1.0)
    assert vote_all(external, TRUE, range(2, NEEDED + 1), 1.0) == 1


def test_network_of_ipv6_has_one_vote() -> None:
    external = ExternalAddress(Scope.PUBLIC)
    said = Address("2a00:5::1", 6881)
    assert not any(external.vote(Address(f"2a00:1::{n:x}", 1), said, 0.0) for n in range(1, 30))
    assert sum(external.vote(Address(f"2a00:1:0:{n:x}::1", 1), said, 0.0) for n in range(1, 30)) == 1


@pytest.mark.parametrize(
    ("scope", "said", "counts"),
    [
        (Scope.PUBLIC, "30.1.2.3", True),
        (Scope.PUBLIC, "192.168.1.2", False),
        (Scope.PUBLIC, "127.0.0.1", False),
        (Scope.PUBLIC, "0.0.0.0", False),
        (Scope.PUBLIC, "2a00::1", False),
        (Scope.PRIVATE, "192.168.1.2", True),
        (Scope.PRIVATE, "30.1.2.3", True),
        (Scope.LOOPBACK, "127.0.0.1", True),
        (Scope.LOOPBACK, "30.1.2.3", False),
    ],
)
def test_only_addresses_of_our_scope_and_family_count(scope: Scope, said: str, counts: bool) -> None:
    external = ExternalAddress(scope)
    vote_all(external, Address(said, 6881), range(NEEDED))
    assert (external.host is not None) == counts
    assert len(external) == (NEEDED if counts else 0)


def test_port_is_the_one_that_most_agree_on() -> None:
    """It plays no part in the vote; 0 stands for a NAT with a port for each destination, or none told."""
    external = ExternalAddress(Scope.PUBLIC)
    for number in range(NEEDED):
        external.vote(voter(number), Address(TRUE.host, 1000 + number % 2 * number), 0.0)
    assert external.address == Address(TRUE.host, 0)
    external.vote(voter(NEEDED), Address(TRUE.host, 1000), 0.0)
    assert external.address == Address(TRUE.host, 1000)
    vote_all(external, Address(TRUE.host, 0), range(100, 130))
    assert external.address == Address(TRUE.host, 0)


def test_move_of_our_own_is_found() -> None:
    """By votes of networks that have spoken before, once more than two thirds have spoken again."""
    external = settled()
    needed = MAX_VOTES * 2 // 3 + 1
    assert vote_all(external, LIE, range(needed - 1), 60.0) == 0
    assert external.host == TRUE.host
    assert vote_all(external, LIE, range(needed - 1, needed), 60.0) == 1
    assert external.host == LIE.host


def test_move_during_an_outage_is_found_with_few_votes() -> None:
    external = settled()
    assert vote_all(external, LIE, range(NEEDED), WINDOW) == 1
    assert external.host == LIE.host


def test_old_votes_keep_no_address_from_being_believed_but_do_not_take_it_away() -> None:
    external = settled(NEEDED)
    external.vote(voter(0), TRUE, 10 * WINDOW)
    assert external.address == TRUE
    assert len(external) == 1


def test_split_vote_changes_nothing() -> None:
    """Two addresses that each have half of the votes do not take turns."""
    external = ExternalAddress(Scope.PUBLIC)
    changes = 0
    for number in range(4 * MAX_VOTES):
        changes += external.vote(voter(number), TRUE if number % 2 else LIE, number * 1.0)
    assert changes <= 1


def test_half_of_the_votes_are_too_few_at_first_and_two_thirds_later() -> None:
    external = ExternalAddress(Scope.PUBLIC)
    for number in range(NEEDED):
        external.vote(voter(number), Address(f"32.0.{number}.1", 1), 0.0)
    assert vote_all(external, TRUE, range(10, 10 + NEEDED)) == 0
    assert external.vote(voter(20), TRUE, 0.0)
    # 11 of 21 agree; another address needs more than 42 of 63.
    assert vote_all(external, LIE, range(21, 63)) == 0
    assert external.vote(voter(63), LIE, 0.0)


def test_confirmation_makes_a_pause() -> None:
    """What is believed need not be heard with every answer; a doubt ends no pause and makes none."""
    external = settled()
    assert external.next_vote == PAUSE
    external.vote(voter(1), TRUE, 5.0)
    external.vote(voter(2), LIE, 6.0)
    assert external.next_vote == 5.0 + PAUSE


def test_memory_is_bounded() -> None:
    """Ever new networks that all say something else push out the oldest only."""
    external = ExternalAddress(Scope.PUBLIC)
    for number in range(5000):
        external.vote(voter(number), Address(f"30.{number >> 8}.{number & 255}.9", 1), 0.0)
    assert len(external) == MAX_VOTES
    assert len(external._hosts) == MAX_VOTES


@pytest.mark.parametrize(("share", "fooled"), [(0.5, False), (0.75, True)])
def test_liars_need_two_thirds_of_the_networks_to_move_us(share: float, fooled: bool) -> None:
    """The queried nodes are drawn at random here, so it takes less when luck is with them, but never half."""
    random = Random(42)
    external = settled()
    for step in range(20 * MAX_VOTES):
        number = random.randrange(1000)
        external.vote(voter(number), LIE if number < share * 1000 else TRUE, step * 1.0)
    assert (external.host == LIE.host) == fooled


@pytest.mark.parametrize("seed", range(5))
def test_newcomer_among_a_third_of_liars_finds_the_truth(seed: int) -> None:
    """Even if they were believed at first, because they came first, the truth wins in the end."""
    random = Random(seed)
    external = ExternalAddress(Scope.PUBLIC)
    vote_all(external, LIE, range(NEEDED))
    for step in range(20 * MAX_VOTES):
        number = random.randrange(1000)
        external.vote(voter(number), LIE if number < 200 else TRUE, step * 1.0)
    assert external.host == TRUE.host


VOTES = st.tuples(st.integers(0, 40), st.sampled_from([TRUE, LIE, Address("10.0.0.1", 1)]), st.floats(0, 900))


@given(st.lists(VOTES, max_size=80))
def test_what_is_believed_is_what_counting_again_would_find(votes: list[tuple[int, Address, float]]) -> None:
    external = ExternalAddress(Scope.PUBLIC)
    last: dict[int, tuple[float, str]] = {}
    believed, now = None, 0.0
    for number, said, later in votes:
        now += later
        changed = external.vote(voter(number), said, now)
        if said.host != "10.0.0.1":
            last[number] = (now, said.host)
            hosts = [host for at, host in last.values() if now - at < WINDOW]
            needed = len(hosts) * (1 / 2 if believed is None else 2 / 3)
            is_enough = hosts.count(said.host) >= NEEDED and hosts.count(said.host) > needed
            assert changed == (is_enough and said.host != believed)
            believed = said.host if changed else believed
        assert external.host == believed
