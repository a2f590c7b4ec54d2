"""Our ids: one per socket, far apart in the id space (BEP 45).

To others the sockets of one node are nodes of their own.  Two that share an id would look like one
node that keeps changing its address.  Two close to each other would fail together and take a slice of
the id space with them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from dhtnode.addresses import Address
from dhtnode.bep42 import is_compliant, secure_id
from dhtnode.ids import ID_BITS, ID_BYTES, NodeId, as_id, as_int, distance

TRIES = 8  # ids drawn to find one far from our others; behind one NAT, BEP 42 leaves 8 places for them


class Identities:
    """All addresses and ids of one node, so that none of its sockets talks to another."""

    def __init__(self) -> None:
        self.by_address: dict[Address, NodeId] = {}
        self.ids: set[NodeId] = set()

    def enter(self, address: Address, node_id: NodeId) -> None:
        """Record the id at one of our addresses, in place of the one before."""
        self.by_address[address] = node_id
        # Not a new set: tables and lookups refer to this one.
        self.ids.clear()
        self.ids.update(self.by_address.values())

    def elsewhere(self, address: Address) -> list[NodeId]:
        """Return our ids at the other addresses of the same family."""
        return [
            node_id
            for each, node_id in self.by_address.items()
            if each != address and each.family is address.family
        ]


def distant_id(host: str, others: Collection[NodeId], random_bytes: Callable[[int], bytes]) -> NodeId:
    """Draw a secure id for a host (BEP 42), as far from the others as a few tries bring it."""
    drawn = [secure_id(host, random_bytes(ID_BYTES)) for _ in range(TRIES if others else 1)]
    return max(drawn, key=lambda node_id: min((distance(node_id, other) for other in others), default=0))


def spread_ids(node_id: NodeId, addresses: Sequence[Address]) -> list[NodeId]:
    """Return an id for each address, the given one for the first of each family.

    The others differ from it in their highest bits, by counting in reversed bit order (BEP 45).
    """
    ids = []
    for index, address in enumerate(addresses):
        number = sum(other.family is address.family for other in addresses[:index])
        flipped = int(f"{number:0{ID_BITS}b}"[::-1], 2)
        ids.append(as_id(as_int(node_id) ^ flipped))
    return ids


def first_ids(
    addresses: Sequence[Address], saved: Mapping[Address, NodeId], random_bytes: Callable[[int], bytes]
) -> list[NodeId]:
    """Return an id for each address that is bound: a saved one that is secure there, or a new one.

    An id saved at the same address comes first, then one at the same host, whose port may be another
    each time, then any of the family.  An id has to be secure at public addresses only (BEP 42): at
    others, or at a wildcard, any id will do until others tell where we are.
    """
    kept = _kept_ids(addresses, dict(saved))
    shared = random_bytes(ID_BYTES)  # BEP 32 would have one id in both families
    ids: list[NodeId] = []
    for index, address in enumerate(addresses):
        family = [each for each, other in enumerate(addresses) if other.family is address.family]
        others = [kept[each] for each in family if each in kept]
        if index not in kept:
            is_first = index == family[0] and not others
            kept[index] = (
                secure_id(address.host, shared)
                if is_first
                else distant_id(address.host, others, random_bytes)
            )
        ids.append(kept[index])
    return ids


def _kept_ids(addresses: Sequence[Address], left: dict[Address, NodeId]) -> dict[int, NodeId]:
    """Return the saved ids that go on, by the number of their address, no id twice in a family."""
    kept: dict[int, NodeId] = {}
    alike: tuple[Callable[[Address, Address], bool], ...] = (
        lambda one, other: one == other,
        lambda one, other: one.host == other.host,
        lambda one, other: one.family is other.family,
    )
    for fits in alike:
        for index, address in enumerate(addresses):
            if index in kept:
                continue
            taken = {kept[each] for each in kept if addresses[each].family is address.family}
            for each, node_id in left.items():
                if fits(each, address) and is_compliant(node_id, address.host) and node_id not in taken:
                    kept[index] = left.pop(each)
                    break
    return kept
