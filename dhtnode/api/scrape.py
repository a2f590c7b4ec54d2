"""Ask the nodes nearest to an info-hash how large its swarm is (BEP 33).

A lookup with `scrape` finds the nearest nodes and brings their filters.  Those that keep their
list of peers back beside filters, as libtorrent does, are asked once more without `scrape`.
"""

from dataclasses import dataclass

import trio

from dhtnode.addresses import Address, Contact
from dhtnode.api.dual_stack import FamilyLookup
from dhtnode.errors import QueryError
from dhtnode.ids import InfoHash
from dhtnode.krpc.messages import GetPeers
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.net.transactions import Answer
from dhtnode.swarm.replies import ScrapeReply

AT_ONCE = 3  # second questions under way at once (BEP 33, "Scraping")


@dataclass(frozen=True, slots=True)
class FamilyScrape:
    """Hold what the nearest nodes of one family replied, and what it cost to ask them."""

    replies: tuple[ScrapeReply, ...]
    nodes_asked: int
    bytes_sent: int
    bytes_received: int


async def scrape_closest(walk: FamilyLookup, info_hash: InfoHash) -> FamilyScrape:
    """Ask the nearest nodes that a walk with `scrape` has found in one family; replies are closest first."""
    traversal = walk.traversal
    answers = walk.closest_answers()
    listings: dict[Address, Answer] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def ask_again(answer: Answer) -> None:
        async with limiter:
            try:
                listings[answer.address] = await walk.endpoint.rpc.query(GetPeers(info_hash), answer.address)
            except QueryError:
                return  # the filters will have to do

    async with trio.open_nursery() as nursery:
        for answer in answers:
            if _keeps_back_its_list(answer):
                nursery.start_soon(ask_again, answer)
    return FamilyScrape(
        tuple(_scrape_reply(answer, listings.get(answer.address)) for answer in answers),
        len(answers) + traversal.lookup.silent_nearby(),
        traversal.bytes_sent + sum(listing.bytes_sent for listing in listings.values()),
        traversal.bytes_received + sum(listing.bytes_received for listing in listings.values()),
    )


def _keeps_back_its_list(answer: Answer) -> bool:
    """Return whether a node told by filters that it has peers, but named none."""
    response = answer.response
    filters = (response.seeds_filter or b"") + (response.peers_filter or b"")
    return any(filters) and not response.values


def _scrape_reply(answer: Answer, listing: Answer | None) -> ScrapeReply:
    response = answer.response
    peers = response.peers() + (listing.response.peers() if listing is not None else [])
    return ScrapeReply(
        Contact(response.node_id, answer.address),
        answer.rtt,
        _filter(response.seeds_filter),
        _filter(response.peers_filter),
        tuple(dict.fromkeys(peers)),
        response.version,
        answer.bytes_sent + (listing.bytes_sent if listing is not None else 0),
        answer.bytes_received + (listing.bytes_received if listing is not None else 0),
    )


def _filter(packed: bytes | None) -> ScrapeFilter | None:
    return None if packed is None else ScrapeFilter.from_bytes(packed)
