"""Fuzz targets without state: what trackers, name servers and links say, which strangers wrote."""

from collections.abc import Callable, Hashable
from itertools import islice
from random import Random

from dhtnode.addresses import Family
from dhtnode.errors import InvalidArgument
from dhtnode.ids import InfoHash
from dhtnode.magnet import MAX_LISTED, parse_magnet
from dhtnode.trackers import http_messages, udp_packets
from dhtnode.trackers.dns_preferences import MAX_PORTS, allowed_urls, read_preferences
from dhtnode.trackers.full_scrape import FullEntry, FullScrapeReader
from dhtnode.trackers.local_trackers import MAX_NAME, MAX_QUERIES, SrvRecord, in_order, service_names
from dhtnode.trackers.messages import MAX_TEXT, AnnounceAnswer, ScrapeAnswer, TrackerError
from dhtnode.trackers.udp_packets import MAX_COUNT
from dhtnode.trackers.urls import InvalidTrackerUrl, TrackerUrl, parse_tracker_url
from dhtnode.user_keys import hide_keys
from tests.fuzz.findings import require

HASHES = [InfoHash(bytes([number]) * 20) for number in range(70)]
URL = TrackerUrl("udp", "a.example", 80, "/announce")


class UdpTrackerTarget:
    """The promises of the readers of packets: one exception type, rows in order, numbers that are some."""

    name = "tracker-udp"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        number, packet = data[0] if data else 0, data[1:]
        asked = HASHES[: 1 + number % 70]
        try:
            udp_packets.read_header(packet)
            match number % 3:
                case 0:
                    return _check_scrape(udp_packets.read_scrape(packet, asked), asked)
                case 1:
                    family = Family.IPV6 if number & 8 else Family.IPV4
                    return _check_announce(udp_packets.read_announce(packet, family), len(packet))
            return udp_packets.read_connect(packet).bit_length()
        except TrackerError as error:
            return _check_error(error)

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


class HttpTrackerTarget:
    """The promises of the readers of answers over HTTP."""

    name = "tracker-http"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        return (
            _look(lambda: _check_scrape(http_messages.read_scrape(data, HASHES), HASHES)),
            _look(lambda: _check_announce(http_messages.read_announce(data), len(data))),
        )

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


class FullScrapeTarget:
    """The promises of the reader of all that a tracker has: the same in whatever parts it comes."""

    name = "tracker-full"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        size, answer = 1 + (data[0] if data else 0), data[1:]
        whole, parts = _read_full(answer, len(answer) or 1), _read_full(answer, size)
        require((whole is None) == (parts is None), "an answer is whole in whatever parts it comes")
        require(whole == parts, "the same swarms are in it")
        return whole and (len(whole[0]).bit_length(), whole[1].bit_length()), size.bit_length()

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _read_full(answer: bytes, size: int) -> tuple[list[FullEntry], int] | None:
    """Return the swarms of an answer that comes in parts, and how many entries are none."""
    reader, found = FullScrapeReader(), list[FullEntry]()
    try:
        for at in range(0, len(answer), size):
            found += reader.feed(answer[at : at + size])
        found += reader.close()
    except TrackerError as error:
        _check_error(error)
        return None
    for _, counts in found:
        require(max(counts.seeds, counts.leechers, counts.downloaded or 0) <= MAX_COUNT, "counts are bounded")
    return found, reader.malformed


class TrackerTextTarget:
    """The promises about texts: records of name servers, URLs of trackers, links."""

    name = "tracker-text"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        kind, rest = (data[0] if data else 0) % 4, data[1:]
        return kind, (_check_records, _check_url, _check_names, _check_magnet)[kind](rest)

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _look(read: Callable[[], Hashable]) -> Hashable:
    try:
        return read()
    except TrackerError as error:
        return _check_error(error)


def _is_line(text: str) -> bool:
    return len(f"{text}|".splitlines()) == 1 and "\x1b" not in text


def _check_error(error: TrackerError) -> Hashable:
    require(len(error.reason) <= MAX_TEXT and _is_line(str(error)), "an error is one short line")
    require(error.retry_after is None or 0 <= error.retry_after <= 60 * MAX_COUNT, "a pause is a time")
    return error.outcome, error.reason[:4]


def _check_scrape(answer: ScrapeAnswer, asked: list[InfoHash]) -> Hashable:
    require(set(answer.counts) <= set(asked), "only what was asked for is told")
    for counts in answer.counts.values():
        numbers = (counts.seeds, counts.leechers, counts.downloaded or 0, counts.downloaders or 0)
        require(all(0 <= number <= MAX_COUNT for number in numbers), "counts are bounded")
        require((counts.partial_seeds or 0) >= 0, "no part is below zero")
    return len(answer.counts).bit_length(), answer.is_cut, answer.has_utf8_keys


def _check_announce(answer: AnnounceAnswer, size: int) -> Hashable:
    require(6 * len(answer.peers) <= size, "no more peers than there is room for")
    require(all(0 < peer.port < 65536 for peer in answer.peers), "peers have a port")
    require(len(answer.warning) <= MAX_TEXT and len(answer.tracker_id) <= MAX_TEXT, "texts are short")
    require(answer.interval >= 0 and (answer.min_interval or 0) >= 0, "no interval is below zero")
    families = {peer.family for peer in answer.peers}
    return len(families), bool(answer.named), answer.external_host is None, answer.seeds is None


def _check_records(data: bytes) -> Hashable:
    found = read_preferences([record.split(b"\0") for record in data.split(b"\n")])
    for service in found or ():
        require(0 < service.port < 65536 and service.scheme in ("udp", "http"), "services are some")
    require(len(found or ()) <= MAX_PORTS, "services are few")
    urls = allowed_urls(URL, found)
    require(all(url.host == URL.host and parse_tracker_url(str(url)) == url for url in urls), "hosts stay")
    return found is None, len(urls)


def _check_url(data: bytes) -> Hashable:
    text = data.decode("utf-8", "surrogateescape")
    hidden = hide_keys(text)
    require(hide_keys(hidden) == hidden, "what is hidden stays so")
    try:
        url = parse_tracker_url(text)
    except InvalidTrackerUrl as error:
        require(len(str(error)) < 500 and _is_line(str(error)), "an error is one short line")
        return str(error)[-20:]
    require(str(url).isascii() and parse_tracker_url(str(url)) == url, "a URL is read again")
    require(0 < url.port < 65536 and "\r" not in str(url) and " " not in str(url), "a URL is one word")
    return url.scheme, url.has_secret, url.scrape_path is None, len(url.host).bit_length(), url.path[:1]


def _check_names(data: bytes) -> Hashable:
    text = data.decode("utf-8", "surrogateescape")
    names = list(
        islice(service_names(text, lambda domain: domain in ("co.uk", "github.io")), MAX_QUERIES + 1)
    )
    require(len(names) <= MAX_QUERIES and all(len(name) <= MAX_NAME for name in names), "names are bounded")
    numbers = list(zip(data, data[1:], data[2:], strict=False))[:64]
    records = [SrvRecord(a, b, c * 257, text[:a]) for a, b, c in numbers]
    order = in_order(records, Random(1))
    usable = sorted(each for each in records if each.port and each.target.rstrip("."))
    require(sorted(order) == usable, "all that can be used are there")
    require([each.priority for each in order] == sorted(each.priority for each in order), "in order")
    return len(names), len(order).bit_length()


def _check_magnet(data: bytes) -> Hashable:
    try:
        magnet = parse_magnet("magnet:?" + data.decode("utf-8", "surrogateescape"))
    except InvalidArgument as error:
        require(len(str(error)) < 500, "an error is short")
        return str(error)[-8:]
    lists = magnet.trackers, magnet.web_seeds, magnet.peers
    require(all(len(each) <= MAX_LISTED for each in lists), "lists are bounded")
    return tuple(len(each).bit_length() for each in lists), bool(magnet.name)
