"""What a search makes of the answers of nodes that may lie."""

from dataclasses import replace

import pytest

from dhtnode.addresses import Address
from dhtnode.api.items import PADDING, ItemSearch
from dhtnode.ids import NodeId
from dhtnode.items import ImmutableItem, Item, MutableItem
from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import Get, Query, Response
from dhtnode.net.transactions import Answer
from dhtnode.settings import VERSION_TAG

SEED = bytes(range(32))
NOTE = ImmutableItem.of(b"note")
NODES = [Address(f"21.0.{number}.1", 6881) for number in range(10)]


def letter(seq: int, text: bytes = b"text", salt: bytes = b"salt") -> MutableItem:
    return MutableItem.sign(SEED, text, seq=seq, salt=salt)


def answer(number: int, item: Item | None = None, *, seq: int | None = None) -> Answer:
    """Return what one node says, with an item or the `seq` alone."""
    response = Response(b"aa", bytes(20), seq=seq)
    if item is not None:
        response = response._replace(value=item.value)
    if isinstance(item, MutableItem):
        response = response._replace(seq=item.seq, public_key=item.public_key, signature=item.signature)
    return Answer(NODES[number], response, 0.1, 100, 100)


def search_with(target_of: Item, *answers: Answer, salt: bytes = b"salt") -> ItemSearch:
    search = ItemSearch(target_of.target(), salt)
    for each in answers:
        search.add(each)
    return search


def test_query_for_an_item_is_as_long_as_the_reply_needs():
    """Replies have up to 8 times the length of their query, and an item with its contacts some 1500 bytes."""
    query = Query(b"abcd", NodeId(bytes(20)), Get(NOTE.target(), padding=PADDING), version=VERSION_TAG)
    assert len(encode(query)) == 205


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_highest_seq_wins_in_any_order(order: tuple[int, ...]) -> None:
    """Even when it is the only copy: its signature proves it."""
    answers = [answer(0, letter(3)), answer(1, letter(5)), answer(2, letter(4))]
    search = search_with(letter(1), *(answers[number] for number in order))
    assert (search.newest, search.answered, search.forged) == (letter(5), 3, 0)
    assert [search.copies(letter(seq)) for seq in (3, 4, 5, 6)] == [1, 1, 1, 0]


def test_item_with_seq_zero_is_an_item() -> None:
    assert search_with(letter(0), answer(0, letter(0))).newest == letter(0)


FORGED = {
    "changed value": replace(letter(9), value=b"5:other"),
    "raised seq": replace(letter(1), seq=9),
    "signature of nothing": replace(letter(9), signature=bytes(64)),
    "another key": MutableItem.sign(bytes(32), b"text", seq=9, salt=b"salt"),
    "another salt": letter(9, salt=b"pepper"),
    "value without key": ImmutableItem.of(b"text"),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_item_counts_for_nothing(forged: Item) -> None:
    """Neither as newest nor as a copy, however high its number."""
    search = search_with(letter(1), answer(0, forged), answer(1, letter(1)), answer(2, forged))
    # With another key it may be an item whose target has another salt, which no node returns.
    is_apart = isinstance(forged, MutableItem) and forged.public_key != letter(1).public_key
    counts = (0, 2) if is_apart else (2, 0)
    assert (search.newest, search.copies(letter(1))) == (letter(1), 1)
    assert (search.forged, search.other_salt) == counts
    assert [search.keeps_any(node) for node in NODES[:4]] == [False, True, False, False]


def test_value_that_hashes_to_something_else_is_forged() -> None:
    search = search_with(NOTE, answer(0, ImmutableItem.of(b"other")), answer(1, letter(1)), answer(2, NOTE))
    assert (search.newest, search.forged, search.other_salt, search.copies(NOTE)) == (NOTE, 1, 1, 1)


def test_seq_alone_tells_that_something_is_kept() -> None:
    """What kept it back may be our own `seq`, or a limit on replies; it proves nothing (BEP 44)."""
    search = search_with(letter(1), answer(0, letter(4)), answer(1, seq=4), answer(2, seq=7), answer(3))
    assert (search.newest, search.copies(letter(4)), search.copies(letter(7))) == (letter(4), 2, 1)
    assert [search.keeps_any(node) for node in NODES[:4]] == [True, True, True, False]


@pytest.mark.parametrize("value", [b"l" * 31 + b"e" * 31, b"2:"])
def test_value_that_can_be_no_item_is_forged(value: bytes) -> None:
    search = ItemSearch(NOTE.target())
    search.add(Answer(NODES[0], Response(b"aa", bytes(20), value=value), 0.1, 100, 100))
    assert (search.newest, search.forged) == (None, 1)
