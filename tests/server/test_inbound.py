"""From the fields of a query to the bytes of its reply, without a socket or a clock."""

from math import inf
from random import Random
from typing import Any

import pytest

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.ids import as_id
from dhtnode.items import ImmutableItem
from dhtnode.krpc.codec import encode, parse_untrusted
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Error, FindNode, Get, Method, Ping, Query, Response
from dhtnode.routing.table import RoutingTable
from dhtnode.server.admission import Admission
from dhtnode.server.fast_path import FastPath
from dhtnode.server.inbound import SEEN_AGAIN_AFTER, Inbound
from dhtnode.server.item_store import ItemStore
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.responder import Responder
from dhtnode.server.sources import Sources
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings

OWN, SENDER, RENEWED = as_id(1 << 159), as_id(7), as_id(1 << 158)
HERE = Address("21.0.1.1", 6881)
ITEM = ImmutableItem(b"996:" + b"i" * 996)


class Side:
    """The serving side of a node with an item and nothing else."""

    def __init__(self, *, fast: bool = True, **options: Any) -> None:
        settings = NodeSettings(**options)
        table = RoutingTable(OWN, Family.IPV4, Scope.PUBLIC)
        peers = PeerStore(Random(1), lifetime=2700.0, max_swarms=3, max_peers_per_swarm=3, max_peers=3)
        tokens, items = TokenIssuer(Random(1).randbytes, 300.0, 0.0), ItemStore(settings)
        items.put(ITEM, "21.0.9.9", 0.0)
        tables = {Family.IPV4: [table]}
        responder = Responder(table, tables, Scope.PUBLIC, peers, tokens, items, version=b"DN")
        self.table = table
        self.admission = Admission(settings)
        self.sources = Sources(Scope.PUBLIC, (), self.admission.meters)
        self.source = self.sources.get(HERE)
        self.inbound = Inbound(
            Family.IPV4,
            self.sources,
            responder.respond,
            self.admission,
            fast_path=FastPath(table, peers, tokens, version=b"DN") if fast else None,
            version=b"DN",
        )

    def ask(
        self, method: Method, now: float = 1.0, *, budget: int | None = None, **fields: Any
    ) -> tuple[bytes | None, Any]:
        """Return the reply to a query, and its sender if that is to be seen."""
        data = encode(Query(b"aa", SENDER, method, **fields))
        if budget is not None:
            # A reply may then have so many bytes.
            self.admission.max_payload = budget
            self.source.proven_until = inf
        replies: list[Any] = []
        for _, value, source, refusal, admitted in self.inbound.answer(
            iter([(data, HERE)]), now, replies, lambda *_arrival: False
        ):
            assert refusal is None
            replies = [(self.inbound.on_query(value, source, len(data), admitted, now), HERE)]
        seen, self.inbound.seen = self.inbound.seen, []
        return replies[0][0] if replies else None, seen[0].node_id if seen else None


PONG = encode(Response(b"aa", OWN, external_address=HERE, version=b"DN"))


@pytest.mark.parametrize("fast", [True, False])
def test_reply_and_sender_are_returned(fast: bool) -> None:
    side = Side(fast=fast)
    times = (1.0, 2.0, 0.9 + SEEN_AGAIN_AFTER, 1.0 + SEEN_AGAIN_AFTER)
    outcomes = [side.ask(Ping(), now) for now in times]
    assert outcomes == [(PONG, SENDER), (PONG, None), (PONG, None), (PONG, SENDER)]
    assert +side.inbound.counts == {"queries received": 4}
    assert SEEN_AGAIN_AFTER == 10.0


def test_read_only_sender_gets_its_reply_and_is_never_seen() -> None:
    """It would not answer a ping of ours (BEP 43)."""
    assert Side().ask(Ping(), read_only=True) == (PONG, None)


@pytest.mark.parametrize("fast", [True, False])
def test_query_under_our_own_id_gets_no_reply(fast: bool) -> None:
    side = Side(fast=fast)
    side.inbound.renew_id(SENDER)
    side.table.renew_id(SENDER, 0.0)
    assert side.ask(Ping())[0] is None


@pytest.mark.parametrize(("spare", "is_sent"), [(0, True), (-1, False)])
def test_reply_longer_than_its_budget_is_dropped(spare: int, is_sent: bool) -> None:
    side = Side()
    reply, sender = side.ask(Ping(), budget=len(PONG) + spare)
    assert (reply, sender) == (PONG if is_sent else None, SENDER)
    assert side.inbound.counts["dropped: reply too long"] == (not is_sent)


def test_reply_without_contacts_fits_where_one_with_them_does_not() -> None:
    side = Side()
    for number in range(8):
        side.table.responded(Contact(as_id(100 + number), Address(f"21.1.{number}.1", 6881)), 0.0)
    full, _ = side.ask(FindNode(as_id(9)))
    cut, _ = side.ask(FindNode(as_id(9)), budget=len(full) - 1)
    assert len(full) - 30 < len(cut) < len(full)
    assert side.inbound.counts["queries received"] == 2


def test_item_may_take_more_than_other_replies() -> None:
    """A whole datagram, to a node that has proven its address (BEP 44)."""
    side = Side()
    side.source.proven_until = 100.0
    reply, _ = side.ask(Get(ITEM.target()))
    assert 1024 < len(reply) <= 1472
    assert b"i" * 996 in reply


def test_replies_are_charged_to_the_budget_of_all() -> None:
    side = Side(reply_rate=1.0, reply_burst=3 * len(PONG) * 1.0)
    side.ask(Ping())
    side.ask(Ping(), read_only=True)
    assert side.admission.admit(side.source, 100, 1.0) == ("dropped: reply budget used up", 0)


def test_error_is_completed_and_kept_within_the_budget() -> None:
    side = Side()
    with pytest.raises(MalformedMessage) as caught:
        side.inbound.on_query(parse_untrusted(b"d1:ade1:q4:ping1:t2:aa1:y1:qe"), side.source, 29, 999, 1.0)
    error = caught.value.reply
    reply = side.inbound.on_malformed(error, side.source, 999, 1.0)
    assert reply == encode(Error(b"aa", error.code, error.text, HERE, b"DN"))
    assert side.inbound.on_malformed(error, side.source, len(reply) - 1, 1.0) is None
    assert +side.inbound.counts == {"dropped: reply too long": 1}


@pytest.mark.parametrize("fast", [True, False])
def test_renewed_id_is_in_the_next_reply(fast: bool) -> None:
    side = Side(fast=fast)
    side.table.renew_id(RENEWED, 0.0)
    side.inbound.renew_id(RENEWED)
    assert side.ask(Ping())[0] == encode(Response(b"aa", RENEWED, external_address=HERE, version=b"DN"))
