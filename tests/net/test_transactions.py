"""Queries under way: which packets may be their answers."""

from random import Random

from dhtnode.addresses import Scope
from dhtnode.net.transactions import Pending, TransactionIds, Transactions
from dhtnode.server.sources import Source, Sources

SOURCES = Sources(Scope.PUBLIC)


def source(number: int) -> Source:
    return SOURCES.get((f"21.0.{number}.1", 6881))


def sent(transactions: Transactions, to: Source) -> Pending:
    """Return a query that has been sent at time 0."""
    pending = Pending(transactions.new_id(), to, 100, 0.0, lambda _result, _now: None, None)
    transactions.add(pending)
    return pending


def test_few_packets_of_a_node_may_be_the_answer_to_one_query() -> None:
    """It knows the id, and could send any number of packets that are slow to read and no answer."""
    transactions = Transactions(Random(1).randbytes)
    data = b"d1:rde1:t4:%be" % sent(transactions, source(1)).transaction_id
    assert not transactions.may_answer(data, source(2))
    assert [transactions.may_answer(data, source(1)) for _ in range(6)] == [True] * 4 + [False] * 2
    assert not transactions.may_answer(data.replace(b"1:t4", b"1:t5"), source(1))


def test_source_is_awaited_while_queries_to_it_are_under_way() -> None:
    transactions = Transactions(Random(1).randbytes)
    first, second = sent(transactions, source(3)), sent(transactions, source(3))
    assert (source(3).awaited, len(transactions.pending)) == (2, 2)
    assert [transactions.remove(one) for one in (first, first, second)] == [True, False, True]
    assert (source(3).awaited, len(transactions.pending)) == (0, 0)


def test_all_are_excused_from_the_time_when_we_could_listen_again() -> None:
    transactions = Transactions(Random(1).randbytes)
    pending = sent(transactions, source(4))
    transactions.excuse_all(50.0)
    assert (pending.sent_at, pending.is_excused) == (50.0, True)
    assert transactions.take_expired(54.9, 5.0) is None
    assert transactions.take_expired(55.0, 5.0) is pending


def test_several_ids_differ_from_each_other_and_from_those_taken() -> None:
    """Even where the source of randomness repeats itself."""
    drawn = iter([b"\0aaaabbbbaaaac\0" * 2, b"ccccddddaaaaeeee", b"ffff"])
    ids = TransactionIds(lambda _: next(drawn))
    assert ids.several(0, ()) == []
    assert ids.several(4, {b"bbbb", b"dddd"}) == [b"aaaa", b"caaa", b"abbb", b"baaa"]
    assert ids.several(3, ()) == [b"cccc", b"dddd", b"aaaa"]
    assert ids.new({b"eeee"}) == b"ffff"
