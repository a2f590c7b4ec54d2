"""Ask the nodes nearest to an info-hash how large its swarm is (BEP 33).

A lookup with `scrape` finds the nearest nodes and brings their filters.  Those that keep their
list of peers back beside filters, as libtorrent does, are asked once more without `scrape`.
"""

import trio

from dhtnode.addresses import Contact
from dhtnode.bloom import ScrapeFilter
from dhtnode.endpoint import Endpoint
from dhtnode.errors import QueryError
from dhtnode.estimates import ScrapeReply
from dhtnode.ids import InfoHash
from dhtnode.messages import GetPeers
from dhtnode.rpc import Answer

AT_ONCE = 3  # second questions under way at once (BEP 33, "Scraping")


async def scrape_endpoint(endpoint: Endpoint, info_hash: InfoHash) -> tuple[list[ScrapeReply], int]:
    """Return the replies of the nearest nodes of one family, and how many nearby were asked."""
    walk = await endpoint.traverse(info_hash, GetPeers(info_hash, scrape=True))
    answers = walk.closest_answers()
    replies: dict[int, ScrapeReply] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def complete(rank: int, answer: Answer) -> None:
        listing = None
        if answer.response.peers_filter is not None and not answer.response.values:
            async with limiter:
                listing = await _ask_again(endpoint, info_hash, answer)
        replies[rank] = _scrape_reply(answer, listing)

    async with trio.open_nursery() as nursery:
        for rank, answer in enumerate(answers):
            nursery.start_soon(complete, rank, answer)
    return [replies[rank] for rank in range(len(answers))], len(answers) + walk.lookup.silent_nearby()


async def _ask_again(endpoint: Endpoint, info_hash: InfoHash, answer: Answer) -> Answer | None:
    try:
        return await endpoint.rpc.query(GetPeers(info_hash), answer.address)
    except QueryError:
        return None


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
