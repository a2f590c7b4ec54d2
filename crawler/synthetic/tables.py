"""The contacts that a node of a synthetic network returns for a target.

The table of a node has a bucket of 8 for each part of the id space that shares ever more bits with
its own id.  A part with at most 8 members is in the bucket as a whole, so a node knows all of its
neighbours.  Of a larger part the bucket holds 8 that were drawn by tickets, always the same ones
for the same node.  Dead members are drawn like others: those are the stale contacts.  Of its dead
neighbours a node has forgotten half: it queries its neighbourhood more often than nodes far away, and
has noticed.

Members count by the first 64 bits of their ids here.  Answers are not sorted when they come from one
bucket, as those of many clients are not.
"""

from collections.abc import Iterable, Sequence

from crawler.synthetic.population import CONTACT_BYTES, Population, mix

WIDTH = 8  # contacts in a bucket and in an answer
_BITS = 64
_FEW = 16  # candidates of which a bucket holds 8 in a row, without a draw
_DRAWS = 40  # tried for 8 different members; what is missing then is filled up in order
_HALF = (1 << 32) - 1
_RANK_BITS = 24
_RANKS = (1 << _RANK_BITS) - 1
_FORGETTING = 0x9E3779B97F4A7C15
_FACTORS = tuple(tuple(mix(slot, 1000 + bits) | 1 for slot in range(WIDTH)) for bits in range(_BITS))


class Tables:
    """The tables of all nodes; an answer costs some 10 us, whatever the size of the network."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._prefixes = population.prefixes
        self._contacts = population.contacts
        self._tickets = population.tickets
        self._numbers = population.numbers
        self._alive = population.settings.nodes
        self._cells = population.cells
        self._cell_tickets = population.cell_tickets
        self._narrow = _BITS - population.cell_bits  # bits in a cell

    def closest(self, rank: int, target: bytes) -> bytes:
        """Return the compact contacts that a node returns for a target, 8 unless it knows fewer."""
        contacts = self._contacts
        known = self.known(rank, int.from_bytes(target[:8], "big"))
        return b"".join([contacts[each * CONTACT_BYTES : (each + 1) * CONTACT_BYTES] for each in known])

    def known(self, rank: int, target: int) -> Sequence[int]:
        """Return the ranks of the members that a node returns for the first 64 bits of a target."""
        own = self._prefixes[rank]
        bits = (own ^ target).bit_length() - 1
        narrow = self._narrow
        if bits >= narrow:
            first = target >> bits << bits - narrow
            last = first + (1 << bits - narrow)
            cells = self._cells
            if cells[last] - cells[first] > WIDTH:
                return self._bucket(own, bits, first, last)
        return self._near(rank, own, target, bits)

    def entries(self, rank: int) -> list[int]:
        """Return the ranks of all members in the table of a node; for tests and counts, some 100 us."""
        own = self._prefixes[rank]
        start, end, bits = self._neighbours(own)
        known = self._believed(rank, start, end)
        for above in range(bits, _BITS):
            known += self._part(own, above)
        return known

    def _bucket(self, own: int, bits: int, first: int, last: int) -> Sequence[int]:
        """Return the 8 of a bucket that has more candidates: the holders of the tickets drawn."""
        low = self._cell_tickets[first]
        count = self._cell_tickets[last] - low
        start, end = self._cells[first], self._cells[last]
        if end - start <= _FEW:
            start += (own * _FORGETTING >> 40 & _HALF) % (end - start - WIDTH + 1)
            return range(start, start + WIDTH)
        tickets = self._tickets
        drawn = {tickets[low + ((own * factor >> 24 & _HALF) * count >> 32)] for factor in _FACTORS[bits]}
        return list(drawn) if len(drawn) == WIDTH else self._fill(drawn, own, bits, first, last)

    def _fill(self, drawn: set[int], own: int, bits: int, first: int, last: int) -> list[int]:
        """Return 8 different members, for a part in which a few hold most of the tickets."""
        low = self._cell_tickets[first]
        count = self._cell_tickets[last] - low
        start, end = self._cells[first], self._cells[last]
        for draw in range(_DRAWS if count else 0):
            drawn.add(self._tickets[low + mix(own, draw << 6 | bits) % count])
            if len(drawn) == WIDTH:
                return list(drawn)
        at = start + mix(own, bits) % (end - start)
        while len(drawn) < WIDTH:
            drawn.add(at)
            at = at + 1 if at + 1 < end else start
        return list(drawn)

    def _near(self, rank: int, own: int, target: int, bits: int) -> list[int]:
        """Return the closest when no single bucket has 8 of them."""
        start, end, above = self._neighbours(own)
        prefixes = self._prefixes
        # A key is the distance with the rank behind it.
        if bits >= above:  # a part of few members, by chance, amid larger ones
            keys = [(prefixes[each] ^ target) << _RANK_BITS | each for each in self.entries(rank)]
        else:
            alive, salt = self._alive, rank * _FORGETTING
            keys = [
                (prefix ^ target) << _RANK_BITS | each
                for each, number, prefix in zip(
                    range(start, end), self._numbers[start:end], prefixes[start:end], strict=True
                )
                if (number < alive or (salt ^ each) * _FORGETTING >> 63 & 1) and each != rank
            ]
            while len(keys) < WIDTH and above < _BITS:
                keys += [(prefixes[each] ^ target) << _RANK_BITS | each for each in self._part(own, above)]
                above += 1
        keys.sort()
        return [key & _RANKS for key in keys[:WIDTH]]

    def _believed(self, rank: int, start: int, end: int) -> list[int]:
        """Return the neighbours of a node among these ranks: all the living, and half of the dead."""
        alive, salt = self._alive, rank * _FORGETTING
        return [
            each
            for each, number in enumerate(self._numbers[start:end], start)
            if (number < alive or (salt ^ each) * _FORGETTING >> 63 & 1) and each != rank
        ]

    def _neighbours(self, own: int) -> tuple[int, int, int]:
        """Return the ranks of all members that a node knows because its buckets hold them as a whole.

        And how many bits wide the first part is that has more than 8 members.
        """
        cells, cell, size = self._cells, own >> self._narrow, 1
        while size < len(cells) - 1:
            beside = (cell ^ size) & -size  # the part that differs in the first bit not shared
            if cells[beside + size] - cells[beside] > WIDTH:
                break
            size *= 2
        first = cell & -size
        return cells[first], cells[first + size], self._narrow + size.bit_length() - 1

    def _part(self, own: int, bits: int) -> Iterable[int]:
        """Return the ranks that a node knows of the subtree whose ids differ first in bit `bits`."""
        narrow = self._narrow
        first = (own >> bits ^ 1) << bits - narrow
        last = first + (1 << bits - narrow)
        start, end = self._cells[first], self._cells[last]
        return range(start, end) if end - start <= WIDTH else self._bucket(own, bits, first, last)
