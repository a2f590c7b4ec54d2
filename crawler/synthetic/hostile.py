"""The styles of hostile nodes: each takes what an honest node would send and returns what is sent.

Everything is drawn from the query and the node, so the same query gets the same lie.
"""

from crawler.synthetic.liars import LIARS
from crawler.synthetic.population import CONTACT_BYTES
from crawler.synthetic.replies import Exchange, Sent, Style

FLOOD = (5, 20)  # datagrams for one query
OVERSIZED = (300, 2400)  # contacts in one answer
_CODES = (201, 202, 203, 204)
_LIE_BITS = 60  # an invented id has all others in common with the target
_SPECIAL = tuple(
    bytes(octets)
    for octets in (
        (0, 0, 0, 0),
        (10, 0, 0, 1),
        (100, 64, 0, 1),
        (127, 0, 0, 1),
        (169, 254, 1, 1),
        (172, 16, 0, 1),
        (192, 0, 2, 1),
        (192, 168, 0, 1),
        (198, 51, 100, 1),
        (203, 0, 113, 1),
        (224, 0, 0, 1),
        (240, 0, 0, 1),
        (255, 255, 255, 255),
    )
)
"""Where no node of the network is: "this" network, private, documentation, multicast, reserved."""


def garbage(exchange: Exchange) -> Sent:
    """Send random bytes."""
    return [(exchange.random.randbytes(exchange.random.randint(1, 600)), exchange.host)]


def truncated(exchange: Exchange) -> Sent:
    """Send the beginning of the reply."""
    return [(exchange.reply[: exchange.random.randrange(1, len(exchange.reply))], exchange.host)]


def wrong_id(exchange: Exchange) -> Sent:
    """Send the reply under another id each time."""
    other = exchange.random.randbytes(20)
    return [(exchange.reply.replace(b"2:id20:" + exchange.node_id, b"2:id20:" + other), exchange.host)]


def foreign_source(exchange: Exchange) -> Sent:
    """Send the reply from an address that was not asked."""
    return [(exchange.reply, unused_host(exchange))]


def bogus_nodes(exchange: Exchange) -> Sent:
    """Return nodes that do not exist: half in special-use networks, half closer than any node can be."""
    return [(_with_nodes(exchange, [_invent(exchange) for _ in range(8)]), exchange.host)]


def flood(exchange: Exchange) -> Sent:
    """Send many replies to one query: the right one, and others that return invented nodes."""
    count = exchange.random.randint(*FLOOD)
    others = [(_with_nodes(exchange, [_invent(exchange)]), exchange.host) for _ in range(count - 1)]
    return [(exchange.reply, exchange.host), *others]


def errors(exchange: Exchange) -> Sent:
    """Refuse with one of the four codes of BEP 5."""
    code = exchange.random.choice(_CODES)
    t = exchange.transaction_id
    return [(b"d1:eli%de2:noe1:t%d:%b1:y1:ee" % (code, len(t), t), exchange.host)]


def oversized(exchange: Exchange) -> Sent:
    """Return hundreds of nodes, true ones, in up to 64 kB."""
    population, random = exchange.population, exchange.random
    starts = [random.randrange(population.members) * CONTACT_BYTES for _ in range(random.randint(*OVERSIZED))]
    found = [population.contacts[start : start + CONTACT_BYTES] for start in starts]
    return [(_with_nodes(exchange, found), exchange.host)]


def malformed(exchange: Exchange) -> Sent:
    """Send one of the forms of which implementations think differently."""
    form = exchange.random.choice(MALFORMED)
    t = exchange.transaction_id
    filled = form.replace(b"<id>", b"20:" + exchange.node_id).replace(b"<t>", b"%d:%b" % (len(t), t))
    return [(filled, exchange.host)]


STYLES: dict[str, Style] = {
    "garbage": garbage,
    "truncated": truncated,
    "wrong id": wrong_id,
    "foreign source": foreign_source,
    "bogus nodes": bogus_nodes,
    "flood": flood,
    "errors": errors,
    "oversized": oversized,
    "malformed": malformed,
    **LIARS,
}
"""All styles, in equal parts among the hostile nodes."""

MALFORMED = (
    b"",
    b"i1e",
    b"l<id>e",
    b"d\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf",
    b"A\x00\xab\xcd" + bytes(16),  # uTP, which shares the port
    b"d1:rd2:id<id>e1:t<t>e",  # no y
    b"d1:rd2:id<id>e1:t<t>1:yi1ee",
    b"d1:rd2:id<id>e1:t<t>1:y1:ze",
    b"d1:rd2:id<id>e1:ti1e1:y1:re",
    b"d1:rd2:id<id>e1:t2:~~1:y1:re",  # a transaction that was never begun
    b"d1:t<t>1:y1:re",  # no r
    b"d1:rle1:t<t>1:y1:re",
    b"d1:rde1:t<t>1:y1:re",  # no id
    b"d1:rd2:id19:abcdefghij012345678e1:t<t>1:y1:re",
    b"d1:rd2:id<id>5:nodes27:nnnnnnnnnnnnnnnnnnnnnnnnnnne1:t<t>1:y1:re",
    b"d1:rd2:id<id>5:nodesi1ee1:t<t>1:y1:re",
    b"d1:rd2:id<id>5:token1:x6:values12:ppppppppppppe1:t<t>1:y1:re",
    b"d1:rd2:id<id>5:token1:x6:valuesl6:pppppp7:ppppppp18:ppppppppppppppppppi1eee1:t<t>1:y1:re",
    b"d1:rd2:id<id>5:tokeni5ee1:t<t>1:y1:re",
    b"d1:rd2:id<id>e1:t<t>1:t2:bb1:y1:re",  # a key twice
    b"d1:y1:r1:t<t>1:rd2:id<id>ee",  # keys not in order
    b"d1:rd2:id<id>e1:t<t>1:y1:re\r\n",
    b"d1:rd2:id<id>1:x" + b"l" * 300 + b"e" * 300 + b"e1:t<t>1:y1:re",
    b"d1:rd2:id<id>8:intervali" + b"9" * 400 + b"ee1:t<t>1:y1:re",
    b"d1:e3:bad1:t<t>1:y1:ee",
    b"d1:eli203ee1:t<t>1:y1:ee",
    b"d1:eli204e14:Method Unknowne1:t<t>1:y1:re",  # an error that calls itself a response
)
"""Some of the odd responses that implementations were found to differ about."""


def unused_host(exchange: Exchange) -> int:
    """Return the last 24 bits of an address without a node, as long as there is one."""
    population = exchange.population
    for _ in range(100):
        host = exchange.random.randrange(256, (1 << 24) - 1)
        if population.number_at(host) is None:
            return host
    return host


def _invent(exchange: Exchange) -> bytes:
    random, population = exchange.random, exchange.population
    if not exchange.target or random.random() < 0.5:
        return random.randbytes(20) + random.choice(_SPECIAL) + random.randbytes(2)
    close = int.from_bytes(exchange.target, "big") ^ random.getrandbits(_LIE_BITS)
    octet, port = population.settings.first_octet, population.settings.port
    host = octet << 24 | unused_host(exchange)
    return close.to_bytes(20, "big") + host.to_bytes(4, "big") + port.to_bytes(2, "big")


def _with_nodes(exchange: Exchange, found: list[bytes]) -> bytes:
    """Return a response that holds nothing but contacts."""
    contacts, t = b"".join(found), exchange.transaction_id
    return b"d1:rd2:id20:%b5:nodes%d:%be1:t%d:%b1:y1:re" % (
        exchange.node_id,
        len(contacts),
        contacts,
        len(t),
        t,
    )
