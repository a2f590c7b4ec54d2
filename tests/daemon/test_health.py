"""What is worth a line in the log: tables of looks at a node, and what is said about each."""

from dhtnode.addresses import Address, Family
from dhtnode.daemon.health import LOST_AFTER, HealthMonitor, RecentCounts
from dhtnode.ids import NodeId
from tests.statistics_of import endpoint, node

HERE, THERE, SIXTH = Address("192.0.2.1", 6881), Address("192.0.2.2", 6881), Address("2001:db8::1", 6881)


def told(*looks):
    """Return what is said about each of several looks at one socket, five seconds apart."""
    watch = HealthMonitor()
    return [
        [(line.level, line.text) for line in watch.observe(node(look), 5.0 * number)]
        for number, look in enumerate(looks)
    ]


def asked(timeouts=0, answers=0, **counts):
    return endpoint(
        {"timeouts": timeouts, "answers": answers, **counts}, external_address=None, good_nodes=answers
    )


def test_first_answer_is_joining():
    assert told(asked(), asked(answers=9), asked(answers=20)) == [
        [],
        [("info", "IPv4: joined the network; 9 good nodes in the table")],
        [],
    ]


def test_silence_is_told_once_with_what_to_look_at():
    (_, lost, again, back, after) = told(
        asked(answers=5),
        asked(answers=5, timeouts=LOST_AFTER),
        asked(answers=5, timeouts=50),
        asked(answers=6, timeouts=51),
        asked(answers=6, timeouts=51),
    )
    text = f"IPv4: no answer to the last {LOST_AFTER} queries: is the network down, or UDP blocked?"
    assert lost == [("warning", text)]
    assert again == after == []
    assert back == [("warning", "IPv4: nodes answer again; 6 good nodes in the table")]


def test_no_answer_from_the_start_gives_other_reasons():
    (first, second) = told(asked(timeouts=4), asked(timeouts=5, **{"not sent: send failed": 3}))
    assert first == []
    assert [level for level, _ in second] == ["warning"]
    assert second[0][1].startswith("IPv4: no node answered the first 8 queries: is there a network")


def test_answer_in_between_ends_a_row_of_silences():
    looks = [asked(answers=1)]
    for number in range(1, 5):
        looks.append(asked(answers=1 + number, timeouts=7 * number))
        looks.append(asked(answers=1 + number, timeouts=7 * number, **{"errors received": 1}))
    assert told(*looks)[1:] == [[]] * 8


def test_nodes_asked_again_are_no_lost_network():
    again = {"timeouts while others answer": 50}
    assert told(asked(answers=1), asked(answers=1, timeouts=50 + LOST_AFTER - 1, **again))[1] == []


def test_node_that_asks_nothing_has_lost_nothing():
    assert told(asked(answers=1), *[asked(answers=1)] * 50)[1:] == [[]] * 50


def test_external_address_that_changes_is_told():
    """The first one is news, another one may need a hand: a rule of a firewall, a name."""
    first, other_port, second = (
        Address(*pair) for pair in [("203.0.113.1", 6881), ("203.0.113.1", 0), ("203.0.113.2", 0)]
    )

    found = told(
        *[endpoint(external_address=address) for address in (None, first, first, other_port, None, second)]
    )

    assert found == [
        [],
        [("info", "IPv4: others see us at 203.0.113.1:6881")],
        [],
        [("info", "IPv4: others see us at 203.0.113.1, at ports that differ now")],
        [],
        [("warning", "IPv4: our external address changed from 203.0.113.1 to 203.0.113.2")],
    ]


def test_new_id_is_told():
    """BEP 42: it follows the address."""
    found = told(endpoint(external_address=None), endpoint(node_id=NodeId(b"m" * 20), external_address=None))
    assert found == [[], [("info", f"IPv4: our id is now {'6d' * 20}")]]


def test_families_are_told_apart():
    watch = HealthMonitor()
    sixth = asked(timeouts=8)
    lines = watch.observe(
        node(
            asked(answers=1), endpoint(sixth.counts, family=Family.IPV6, address=SIXTH, external_address=None)
        ),
        0.0,
    )
    assert [line.text.split(":")[0] for line in lines] == ["IPv4", "IPv6"]
    assert [line.level for line in lines] == ["info", "warning"]


def test_addresses_of_one_family_are_told_apart():
    """Each by itself, and named where its family would not be enough."""
    watch = HealthMonitor()
    lines = watch.observe(
        node(
            asked(answers=1),
            endpoint({"timeouts": 8}, address=THERE, external_address=None),
            endpoint({"answers": 1}, family=Family.IPV6, address=SIXTH, external_address=None),
        ),
        0.0,
    )
    assert [line.text.rpartition(": ")[0] for line in lines if line.level == "info"] == [str(HERE), "IPv6"]
    assert [line.text.split(": ")[0] for line in lines if line.level == "warning"] == [str(THERE)]


def test_recent_counts_are_those_of_the_last_minutes():
    watch = HealthMonitor()
    assert watch.recent(HERE) is None
    for number in range(100):
        counts = {"queries sent": 4 * number, "answers": 3 * number, "timeouts": number}
        watch.observe(node(endpoint(counts | {"queries received": 2 * number})), 5.0 * number)
        if number == 0:
            assert watch.recent(HERE) is None
    assert watch.recent(HERE) == RecentCounts(300.0, 240, 180, 60, 120)  # five minutes
