"""How much of a node strangers may use: datagrams per address and network, bytes of replies in all.

The source of a datagram can be forged.  So a limit never bans anybody, it only drops what is too
much at the moment; and whoever has proven its address, or at least keeps asking, is served before
those who have not, when there is not enough for all.

Every rate is kept as one number per meter, the moment up to which what was used is paid for (the
generic cell rate algorithm): a meter that is not in use needs no upkeep.
"""

from dhtnode.server.sources import Meters, Source
from dhtnode.settings import NodeSettings
from dhtnode.token_bucket import TokenBucket

FROM_ADDRESS = "dropped: too many from one address"
FROM_NETWORK = "dropped: too many from one network"
TOO_BUSY = "dropped: too busy for strangers"
NO_BUDGET = "dropped: reply budget used up"

REGULAR_AFTER = 4  # datagrams; a flood from ever new addresses has none that come again so often
STRANGERS_SHARE = 1 / 3  # of the burst of replies may be used up by sources that just came
REGULARS_SHARE = 2 / 3  # and this by those that come again; the rest is for proven ones
PROOFS_RATE = 50  # pings per second to those who keep asking while there is not enough for all


class Admission:
    """Decide on each datagram and each reply of a node; all methods have constant cost."""

    def __init__(self, settings: NodeSettings) -> None:
        """Apply the limits of the settings; `math.inf` lifts one."""
        self.meters = Meters()
        self._proof_lasts = settings.good_for
        self._proofs = TokenBucket(PROOFS_RATE, PROOFS_RATE, float("-inf"))
        self.change_limits(settings)

    def change_limits(self, settings: NodeSettings) -> None:
        """Go by other limits from now on; what was used of the reply budget counts as paid for.

        So that nobody waits at the old rate for what the new one allows; for the same reason the
        meters of sources are to be forgiven, see `Sources.forgive`.
        """
        self._host_interval = 1.0 / settings.host_rate
        self._host_slack = settings.host_burst / settings.host_rate
        self._network_interval = 1.0 / settings.network_rate
        self._network_slack = settings.network_burst / settings.network_rate
        self._seconds_per_byte = 1.0 / settings.reply_rate
        self._reply_slack = settings.reply_burst / settings.reply_rate
        self._strangers_slack = self._reply_slack * STRANGERS_SHARE
        self._regulars_slack = self._reply_slack * REGULARS_SHARE
        self._replies_until = float("-inf")
        self._max_payload = settings.max_payload
        self._max_item_payload = settings.max_item_payload
        self._max_amplification = settings.max_amplification

    def refusal(self, source: Source, now: float, is_behind: bool = False) -> str | None:
        """Take note of a datagram; return None, or why it is to be dropped unread.

        `is_behind` says that more comes than can be handled: then strangers are not.
        """
        host, network = source.host, source.network
        host_until, network_until = host.used_until, network.used_until
        if host_until < now:
            host_until = now
        elif host_until - now > self._host_slack:
            return FROM_ADDRESS
        if network_until < now:
            network_until = now
        elif network_until - now > self._network_slack:
            return FROM_NETWORK
        host.used_until = host_until + self._host_interval
        network.used_until = network_until + self._network_interval
        source.datagrams += 1
        if is_behind or self._replies_until - now > self._strangers_slack:
            return self._shortage(source, now, is_behind)
        return None

    def expected(self, source: Source, now: float) -> None:
        """Note that the last datagram was one we waited for: it proves the address and is not charged."""
        source.proven_until = now + self._proof_lasts
        source.host.used_until -= self._host_interval
        source.network.used_until -= self._network_interval

    def longest_reply(self, source: Source, query_bytes: int, now: float, *, item: bool = False) -> int:
        """Return how many bytes may answer a query of this length, which may be for an `item`.

        A forged query must not buy much more traffic towards its victim than it cost.  An item of
        full size is longer than BEP 32 allows a reply to be; it may have a whole datagram (BEP 44).
        """
        longest = self._max_item_payload if item else self._max_payload
        if now < source.proven_until:
            return longest
        paid_for = query_bytes * self._max_amplification
        return int(paid_for) if paid_for < longest else longest

    def allows_reply(self, source: Source, size: int, now: float) -> bool:
        """Take `size` bytes out of the budget for replies, or return False when there is too little."""
        until = self._replies_until
        if until < now:
            until = now
        elif until - now > self._strangers_slack and until - now > self._slack_of(source, now):
            return False
        self._replies_until = until + size * self._seconds_per_byte
        return True

    def wants_proof(self, source: Source, now: float) -> bool:
        """Return whether to ping a source whose reply was refused, so that it can prove its address."""
        return (
            now >= source.proven_until
            and source.datagrams >= REGULAR_AFTER
            and not source.awaited
            and self._proofs.take(now)
        )

    def _shortage(self, source: Source, now: float, is_behind: bool) -> str | None:
        """Return why a datagram is not worth being read: nobody could, or would, answer it now."""
        if self._replies_until - now > self._slack_of(source, now):
            return NO_BUDGET
        is_stranger = source.datagrams < REGULAR_AFTER and now >= source.proven_until
        return TOO_BUSY if is_behind and is_stranger else None

    def _slack_of(self, source: Source, now: float) -> float:
        if now < source.proven_until:
            return self._reply_slack
        return self._regulars_slack if source.datagrams >= REGULAR_AFTER else self._strangers_slack
