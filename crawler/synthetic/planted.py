"""Nodes put into a memory network on purpose: any id at any address, IPv6 too, many on one host.

A synthetic network has one node on each address, all IPv4, with uniform ids.  What is planted has the
ids and addresses that it is given.  Such nodes are always there, and return the closest planted nodes of
their own family only, so a crawl meets them only when it is given one.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from bencode2 import BencodeDecodeError, bdecode, bencode

from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import Address, Family

CONTACTS = 8  # in an answer


class PlantedMemoryNetwork(SyntheticMemoryNetwork):
    """A synthetic network with planted nodes; the cost of an answer is linear in their number."""

    def __init__(
        self,
        synthetic: SyntheticSettings,
        planted: Mapping[Address, bytes],
        *,
        seed: int = 0,
        latency: tuple[float, float] = (0.02, 0.2),
        loss: float = 0.0,
        version: bytes | None = None,
    ) -> None:
        """Plant these ids, all with the same `version` in their answers."""
        super().__init__(synthetic, seed=seed, latency=latency, loss=loss)
        self.planted = dict(planted)
        self._version = {} if version is None else {b"v": version}
        self._contacts: dict[Family, list[tuple[int, bytes]]] = {family: [] for family in Family}
        for address, node_id in planted.items():
            packed = ip_address(address.host).packed + address.port.to_bytes(2, "big")
            self._contacts[address.family].append((int.from_bytes(node_id, "big"), node_id + packed))

    def _has(self, address: Address) -> bool:
        return address in self.planted or super()._has(address)

    def _answer(
        self, address: Address, data: bytes, source: Address, now: float
    ) -> list[tuple[bytes, Address]]:
        node_id = self.planted.get(address)
        if node_id is None:
            return super()._answer(address, data, source, now)
        reply = self._reply(data, node_id, address.family)
        return [(reply, address)] if reply else []

    def _reply(self, data: bytes, node_id: bytes, family: Family) -> bytes:
        """Return the closest of the family to what a query is about, or to the node itself."""
        try:
            query = bdecode(data)
        except (BencodeDecodeError, ValueError):
            return b""
        arguments = query.get(b"a") if isinstance(query, dict) else None
        if not isinstance(arguments, dict) or query.get(b"y") != b"q":
            return b""
        wanted: Any = arguments.get(b"target") or arguments.get(b"info_hash") or node_id
        target = int.from_bytes(wanted, "big")
        closest = sorted(self._contacts[family], key=lambda contact: contact[0] ^ target)[:CONTACTS]
        key = b"nodes" if family is Family.IPV4 else b"nodes6"
        body = {b"id": node_id, key: b"".join(contact for _, contact in closest)}
        return bencode({b"r": body, b"t": query[b"t"], b"y": b"r"} | self._version)
