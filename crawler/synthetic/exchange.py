"""One query to a hostile node and the honest reply to it, which the styles of hostility change."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from crawler.synthetic.population import Population


@dataclass(slots=True)
class Exchange:
    """Hold one query and the honest reply to it.

    `host` is the last 24 bits of the address asked; `target` is empty when the query has none.
    """

    population: Population
    host: int
    node_id: bytes
    transaction_id: bytes
    target: bytes
    reply: bytes
    random: Random


Sent: TypeAlias = list[tuple[bytes, int]]
"""Datagrams, each with the last 24 bits of the address that it leaves from."""

Style: TypeAlias = Callable[[Exchange], Sent]
