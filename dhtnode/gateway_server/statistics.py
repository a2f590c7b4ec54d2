"""The numbers of a gateway, which daemon and metrics show."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayStatistics:
    """A gateway at one moment: how much, never who or what.

    `clients` are addresses, `peers` each one of them in a swarm; `announced` are the swarms, families and
    ports that it announces in the DHT for its own clients; `counts` are by name.
    """

    swarms: int
    clients: int
    peers: int
    lookups: int
    announced: int
    counts: Mapping[str, int]
