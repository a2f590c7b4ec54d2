"""How much of a node others may use: datagrams per address and network, bytes of replies in all.

The source of a datagram can be forged.  So a limit never bans an address, it only drops what is too
much at the moment.  When there is not enough for all, sources that have proven their address come
first, then those that keep querying, then those that just came.

The ports of one address share its limit, and the addresses of one network the limit of that.  Beyond
these limits there is a reserve for those that send little: so one port that floods, or a forged one,
leaves its neighbours what they need.

Every rate is kept as one number per meter, the moment up to which what was used is paid for (the
generic cell rate algorithm): a meter that is not in use needs no upkeep.
"""

from math import inf
from typing import TypeAlias

from dhtnode.server.sources import Meters, Source
from dhtnode.settings import NodeSettings
from dhtnode.token_bucket import TokenBucket

Verdict: TypeAlias = tuple[str | None, int]
"""Why a datagram is dropped unread, or None; and how many bytes may answer it, 0 if it is dropped."""

FROM_ADDRESS = "dropped: too many from one address"
FROM_NETWORK = "dropped: too many from one network"
TOO_BUSY = "dropped: too busy for strangers"
NO_BUDGET = "dropped: reply budget used up"

REGULAR_AFTER = 4  # datagrams; a flood from ever new addresses has none that come again so often
# Of the burst of replies, and of the reserve of an address or a network, so much may be used up by
# sources that just came, and so much by those that come again; the rest is for proven ones.
NEWCOMERS_SHARE = 1 / 3
REGULARS_SHARE = 2 / 3
RESERVE = 0.5  # of the burst of an address or a network, in addition to it
# Seconds for which a port owes the reserve what it drew: one datagram, when all of the reserve is there
# and when nothing is left, and in all.  Its claim shrinks with its debt.
DRAW, DEAREST_DRAW, MAX_DEBT = 0.2, 2.0, 10.0
PROOFS_RATE = 50  # pings per second to those that keep querying while there is not enough for all
PROOFS_INTERVAL = 5.0  # seconds between two such pings to one address, at least: it may be forged


class Admission:
    """The limits on what others may use of one node; all methods have constant cost.

    Attributes are seconds per datagram or byte, and bytes: `Inbound.answer` applies them to most
    datagrams, as `admit` would.  All replies together are paid for up to `replies_until`.
    """

    def __init__(self, settings: NodeSettings) -> None:
        """Apply the limits of the settings; `math.inf` lifts one."""
        self.meters = Meters()
        self._proof_lasts = settings.good_for
        self._proofs = TokenBucket(PROOFS_RATE, PROOFS_RATE, -inf)
        self.change_limits(settings)

    def change_limits(self, settings: NodeSettings) -> None:
        """Apply other limits from now on; what was used of the reply budget counts as paid for.

        The meters of sources are to be reset too, see `Sources.reset_meters`.
        """
        self.host_interval = 1.0 / settings.host_rate
        self.host_slack = settings.host_burst / settings.host_rate
        self.network_interval = 1.0 / settings.network_rate
        self.network_slack = settings.network_burst / settings.network_rate
        # Of a limit that is lifted, nothing is needed.
        self._host_reserve = self.host_slack * RESERVE or inf
        self._network_reserve = self.network_slack * RESERVE or inf
        self.seconds_per_byte = 1.0 / settings.reply_rate
        self._reply_slack = settings.reply_burst / settings.reply_rate
        self.newcomers_slack = self._reply_slack * NEWCOMERS_SHARE
        # Else sources would wait at the old rate for what the new one allows.
        self.replies_until = -inf
        self.max_payload = settings.max_payload
        self._max_item_payload = settings.max_item_payload
        self.max_amplification = settings.max_amplification

    def limits(self, now: float, is_behind: bool) -> tuple[float, float, float]:
        """Return up to when a host, a network and all replies may be used so that `admit` is not needed.

        Then the datagram is admitted whatever its source is.
        """
        newcomers_limit = -inf if is_behind else now + self.newcomers_slack
        return now + self.host_slack, now + self.network_slack, newcomers_limit

    def admit(self, source: Source, size: int, now: float, is_behind: bool = False) -> Verdict:
        """Record a datagram of `size` bytes and decide on it.

        `is_behind` means that more comes than can be handled: then sources that just came are dropped.
        """
        host, network = source.host, source.network
        if host.used_until > now + self.host_slack or network.used_until > now + self.network_slack:
            refusal = self._draw_on_reserve(source, now)
            if refusal is not None:
                source.datagrams += 1
                return refusal, 0
        # A call of `max` would take as long as the rest.
        until = host.used_until if host.used_until > now else now  # noqa: FURB136
        host.used_until = until + self.host_interval
        until = network.used_until if network.used_until > now else now  # noqa: FURB136
        network.used_until = until + self.network_interval
        source.datagrams += 1
        if is_behind or self.replies_until > now + self.newcomers_slack:
            if self.replies_until > now + self._reply_slack * self._share_of(source, now):
                return NO_BUDGET, 0
            if is_behind and source.datagrams < REGULAR_AFTER and now >= source.proven_until:
                return TOO_BUSY, 0
        # A forged query must not buy much more traffic towards its victim than it cost.
        paid_for = size * self.max_amplification
        if now < source.proven_until or paid_for >= self.max_payload:
            return None, self.max_payload
        return None, int(paid_for)

    def item_budget(self, source: Source, size: int, now: float) -> int:
        """Return how many bytes may answer an admitted query for an item.

        An item of full size is longer than BEP 32 allows a reply to be; it may have a whole datagram
        (BEP 44).
        """
        paid_for = size * self.max_amplification
        if now < source.proven_until or paid_for >= self._max_item_payload:
            return self._max_item_payload
        return int(paid_for)

    def expected(self, source: Source, now: float) -> None:
        """Record that the last datagram was an answer to a query of ours.

        It proves the address and is not charged.
        """
        self.proved(source, now)
        source.host.used_until -= self.host_interval
        source.network.used_until -= self.network_interval

    def proved(self, source: Source, now: float) -> None:
        """Record an answer to a query of ours that was not charged."""
        source.proven_until = now + self._proof_lasts

    def spend(self, size: int, now: float) -> None:
        """Take the `size` bytes of a reply out of the budget for replies."""
        until = self.replies_until if self.replies_until > now else now  # noqa: FURB136
        self.replies_until = until + size * self.seconds_per_byte

    def wants_proof(self, source: Source, now: float) -> bool:
        """Return whether to ping a source that was refused because others use too much.

        If it answers it has proven its address.
        """
        if (
            now < source.host.proof_at + PROOFS_INTERVAL
            or now < source.proven_until
            or source.datagrams < REGULAR_AFTER
            or source.awaited
            or not self._proofs.take(now)
        ):
            return False
        source.host.proof_at = now
        return True

    def _draw_on_reserve(self, source: Source, now: float) -> str | None:
        """Admit a source beyond the limit of its address or network, or return why not."""
        debt = max(0.0, source.drawn_until - now)
        claim = self._share_of(source, now) * (1.0 - debt / MAX_DEBT)
        of_host = (source.host.used_until - now - self.host_slack) / self._host_reserve
        if of_host > claim:
            return FROM_ADDRESS
        of_network = (source.network.used_until - now - self.network_slack) / self._network_reserve
        if of_network > claim:
            return FROM_NETWORK
        # Dearer the less there is left, so that the reserve is shared by as many as there are.
        price = DRAW + (DEAREST_DRAW - DRAW) * max(of_host, of_network) ** 2
        source.drawn_until = now + debt + price
        return None

    def _share_of(self, source: Source, now: float) -> float:
        if now < source.proven_until:
            return 1.0
        return REGULARS_SHARE if source.datagrams >= REGULAR_AFTER else NEWCOMERS_SHARE
