"""What `dhtnode trackers` does once its command line is read: ask all trackers, and print what each says."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from dhtnode.cli.console import emit
from dhtnode.cli.trackers import Place
from dhtnode.escaping import escaped
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.tracker_client import Trackers, open_trackers
from dhtnode.tracker_client.client import Asked
from dhtnode.trackers import AnnounceAnswer, Event, ScrapeAnswer, SwarmCounts, TrackerError, TrackerUrl
from dhtnode.trackers.combination import CombinedCounts, combine

ANNOUNCED_FOR = 50.0  # seconds that we let trackers hand us out, though others are not through yet
GOODBYE = 10.0  # seconds to tell the trackers that our peer is gone
NO_PEERS = "no peers, or not listed"
INVENTS = "invents"  # the mark of one that has peers for an info-hash that no peer has


class TrackersCommand:
    """The work of one command: a task for each tracker, a line for each address of it."""

    def __init__(self, info_hash: InfoHash, as_json: bool) -> None:
        self._info_hash = info_hash
        self._as_json = as_json
        self._counts: list[SwarmCounts] = []
        self._peers: set[str] = set()
        self.answered = 0

    @asynccontextmanager
    async def _opened(self, places: Sequence[Place]) -> AsyncIterator[Trackers]:
        async with open_trackers() as client:
            # Now: while it loads, no answer is looked at.
            if any(place.url.scheme != "udp" for place in places):
                client.prepare_http()
            yield client

    async def scrape_all(self, places: Sequence[Place]) -> None:
        """Scrape every tracker, all at the same time."""
        async with self._opened(places) as client, trio.open_nursery() as nursery:
            for place in places:
                nursery.start_soon(self._scrape, client, place)

    async def _scrape(self, client: Trackers, place: Place) -> None:
        canary = InfoHash(secrets.token_bytes(ID_BYTES))
        swarms = [self._info_hash, canary]
        if secrets.randbits(1):
            swarms.reverse()
        try:
            found = await client.scrape(place.url, swarms, is_typed=place.is_typed)
        except TrackerError as error:
            self._show_error(place.url, error)
            return
        for asked in found:
            self._show_scrape(asked, canary)

    def _show_scrape(self, asked: Asked[ScrapeAnswer], made_up: InfoHash) -> None:
        if asked.answer is None:
            self._show_failure(asked)
            return
        self.answered += 1
        counts, marks = asked.answer.counts.get(self._info_hash), list[str]()
        canary = asked.answer.counts.get(made_up)
        if canary is not None and not canary.is_zero:
            marks.append(INVENTS)
        if asked.answer.has_utf8_keys:
            marks.append("utf8-keys")
        if counts is not None and INVENTS not in marks:
            self._counts.append(counts)
        is_listed = _is_listed(asked.url, counts)
        record = self._record(asked) | {
            "listed": is_listed,
            "seeds": counts and counts.seeds,
            "leechers": counts and counts.leechers,
            "downloaded": counts and counts.downloaded,
            "downloaders": counts and counts.downloaders,
            "marks": marks,
        }
        words = NO_PEERS if is_listed is None else "not listed"
        if counts and is_listed:
            words = _count_words(counts)
        self._show(asked, record, "  ".join([words, *marks]))

    async def announce_all(self, places: Sequence[Place], port: int) -> None:
        """Announce to every tracker, and when all have answered or the time is over, say goodbye."""
        async with self._opened(places) as client:
            told: list[Place] = []
            try:
                with trio.move_on_after(ANNOUNCED_FOR):
                    async with trio.open_nursery() as nursery:
                        for place in places:
                            nursery.start_soon(self._announce, client, place, port, told)
            finally:
                with trio.move_on_after(GOODBYE, shield=True):
                    async with trio.open_nursery() as nursery:
                        for place in told:
                            nursery.start_soon(self._say_goodbye, client, place, port)

    async def _announce(self, client: Trackers, place: Place, port: int, told: list[Place]) -> None:
        # Noted before: a tracker may have heard us though its answer was lost.
        told.append(place)
        try:
            found = await client.announce(place.url, self._info_hash, port, is_typed=place.is_typed)
        except TrackerError as error:
            self._show_error(place.url, error)
            return
        for asked in found:
            self._show_announce(asked)

    def _show_announce(self, asked: Asked[AnnounceAnswer]) -> None:
        answer = asked.answer
        if answer is None:
            self._show_failure(asked)
            return
        self.answered += 1
        record = self._record(asked) | {
            "seeds": answer.seeds,
            "leechers": answer.leechers,
            "interval": answer.interval,
            "warning": answer.warning or None,
            "external_host": answer.external_host,
            "peers": [str(peer) for peer in answer.peers],
        }
        words = f"{_told(answer.seeds)} seeds, {_told(answer.leechers)} leechers"
        if answer.warning:
            words += f"  warns: {escaped(answer.warning)}"
        self._show(asked, record, words)
        for peer in answer.peers:
            if str(peer) not in self._peers:
                self._peers.add(str(peer))
                if not self._as_json:
                    emit(self._as_json, {}, str(peer))

    async def _say_goodbye(self, client: Trackers, place: Place, port: int) -> None:
        # One that is not reached forgets our peer when its time is over.
        with suppress(TrackerError):
            await client.announce(
                place.url, self._info_hash, port, event=Event.STOPPED, is_typed=place.is_typed
            )

    def show_combined(self) -> None:
        """Print how many peers there are over all trackers that answered and do not invent."""
        both = combine(self._counts)
        record = {"combined": _combined_record(both) | {"lists": len(self._counts)}}
        lists = f"{len(self._counts)} list{'s' * (len(self._counts) != 1)}"
        line = (
            f"{_between(both.peers)} peers in all: {_between(both.seeds)} seeds,"
            f" {_between(both.leechers)} leechers, from {lists}"
        )
        emit(self._as_json, record, line)

    def _show_failure(self, asked: Asked[ScrapeAnswer] | Asked[AnnounceAnswer]) -> None:
        reason = "" if asked.error is None else escaped(asked.error.reason)
        self._show(asked, self._record(asked) | {"reason": reason}, reason)

    def _show_error(self, url: TrackerUrl, error: TrackerError) -> None:
        record = {"url": url.shown, "address": None, "outcome": error.outcome, "reason": error.reason}
        emit(self._as_json, record, f"{url.shown}  {error}")

    def _record(self, asked: Asked[ScrapeAnswer] | Asked[AnnounceAnswer]) -> dict[str, object]:
        return {
            "url": asked.url.shown,
            "address": str(asked.address),
            "outcome": asked.outcome,
            "rtt_ms": round(1000 * asked.rtt, 1),
        }

    def _show(
        self, asked: Asked[ScrapeAnswer] | Asked[AnnounceAnswer], record: dict[str, object], words: str
    ) -> None:
        start = f"{asked.url.shown}  {asked.address.host}  {asked.outcome}"
        emit(self._as_json, record, f"{start}  {words}  {1000 * asked.rtt:.0f} ms" if words else start)


def _is_listed(url: TrackerUrl, counts: SwarmCounts | None) -> bool | None:
    """Return whether a tracker knows a swarm: over UDP, zeros are said of any that it does not."""
    if counts is None:
        return False
    return None if counts.is_zero and not counts.downloaded and url.scheme == "udp" else True


def _count_words(counts: SwarmCounts) -> str:
    words = f"{counts.seeds} seeds, {counts.leechers} leechers"
    if counts.downloaded is not None:
        words += f", {counts.downloaded} downloaded"
    if counts.partial_seeds is not None:
        words += f", {counts.partial_seeds} of these share a part"
    return words


def _told(number: int | None) -> str:
    return "?" if number is None else str(number)


def _between(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low}" if low == high else f"{low} to {high}"


def _combined_record(both: CombinedCounts) -> dict[str, object]:
    return {
        f"{name}_{end}": value
        for name, ends in both._asdict().items()
        for end, value in zip(("low", "high"), ends, strict=True)
    }
