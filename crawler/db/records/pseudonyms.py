"""What stands for a node in an anonymized database: a pseudonym for its id, its network, and no port.

It takes the place of the node in what was measured, before that is written anywhere.

An id that follows BEP 42 is computed from the address: beside the /24, trying 256 hosts would find the rest.
So an id becomes a keyed hash.  The key stands in a file of its own beside the database: with it, and only
with it, pseudonyms of several runs compare, and an id can be looked for.
"""

import secrets
from dataclasses import replace
from functools import singledispatchmethod
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import CrawlBatch, Visit, host_prefix, host_value
from crawler.db.records.trackers import SweepBatch
from dhtnode import Address, NodeId
from dhtnode.files import write_new
from dhtnode.ids import ID_BYTES
from dhtnode.swarm import SwarmMeasurement

KEY_BYTES = 32
_SUFFIX = ".key"
NO_PORT = 0  # instead of a port, which would be a door to knock at on all hosts of a network


class Pseudonyms:
    """The pseudonyms of one database."""

    def __init__(self, key: bytes) -> None:
        self._state = blake2b(key=key, digest_size=ID_BYTES)

    @classmethod
    def of_database(cls, path: str, *, may_be_new: bool) -> Self | None:
        """Read the key of a database; without one, draw it if it may be new, or return None.

        Other processes have to be kept from doing so at the same time.  Raises `ValueError` for a file that
        is no key, and `OSError`.
        """
        if path == ":memory:":
            return cls(secrets.token_bytes(KEY_BYTES)) if may_be_new else None
        file = Path(path + _SUFFIX)
        if may_be_new and not file.exists():
            write_new(file, secrets.token_bytes(KEY_BYTES))
        if not file.exists():
            return None
        with file.open("rb") as opened:
            key = opened.read(KEY_BYTES + 1)
        if len(key) != KEY_BYTES:
            raise ValueError(f"{file}: is no key of {KEY_BYTES} bytes")
        return cls(key)

    def of_id(self, node_id: bytes) -> bytes:
        """Return what stands for an id, as long as the id."""
        state = self._state.copy()
        state.update(node_id)
        return state.digest()

    def of_node(self, node_id: bytes, address: Address) -> tuple[bytes, Address]:
        """Return what stands for a node and its address."""
        return self.of_id(node_id), Address(host_prefix(host_value(address)), NO_PORT)

    @singledispatchmethod
    def hide(self, record: Any) -> Any:
        """Return a record as an anonymized database holds it: no node is named, also not in a journal."""
        return record

    @hide.register
    def _(self, visit: Visit) -> Visit:
        return visit._replace(node_id=self.of_id(visit.node_id), host=host_prefix(visit.host), port=NO_PORT)

    @hide.register
    def _(self, batch: CrawlBatch) -> CrawlBatch:
        return CrawlBatch([self.hide(visit) for visit in batch.visits], None)

    @hide.register
    def _(self, sample: NodeSample) -> NodeSample:
        node_id, address = self.of_node(sample.node_id, sample.address)
        return sample._replace(node_id=node_id, address=address)

    @hide.register
    def _(self, batch: SampleBatch) -> SampleBatch:
        return SampleBatch([self.hide(sample) for sample in batch.samples], None)

    @hide.register
    def _(self, batch: SweepBatch) -> SweepBatch:
        return SweepBatch([replace(sweep, host=None) for sweep in batch.sweeps], batch.samples)

    @hide.register
    def _(self, measurement: SwarmMeasurement) -> SwarmMeasurement:
        # That a host is the same as in another measurement is nothing to tell.
        of_host = Pseudonyms(secrets.token_bytes(KEY_BYTES)).of_id
        hidden = []
        for reply in measurement.observations:
            node_id, address = self.of_node(reply.node_id, reply.address)
            hosts = frozenset(map(of_host, reply.host_hashes))
            hidden.append(replace(reply, node_id=NodeId(node_id), address=address, host_hashes=hosts))
        return replace(measurement, observations=tuple(hidden))
