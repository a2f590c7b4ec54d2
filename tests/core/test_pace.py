"""The pace of a crawl: in all, to new endpoints, and to one host, whatever the crawl would like."""

from collections import Counter
from heapq import heappop, heappush

import pytest

from crawler.core.pace import Pace
from crawler.settings import CrawlSettings

NETWORK = 0xC0000200  # 192.0.2.0


def endpoint(host, port=6881):
    return NETWORK + host << 16 | port


HERE = endpoint(1)
ROUND_TRIP = 0.1  # seconds until a node has answered, and gets its second query


def crawl(settings, hosts, seconds, *, ports=10_000):
    """Visit endpoints as the engine does, for so long; return the times of all queries by host.

    A visit starts when the pace allows it, and its second query follows one round trip later.
    Endpoints are spread over the hosts; of those that wait for their host the first goes first.
    """
    pace = Pace(settings, 0.0)
    waiting = [(0.0, number) for number in range(ports)]
    seconds_due: list[tuple[float, int]] = []
    sent: list[tuple[float, int]] = []
    now = 0.0

    def endpoint_of(number):
        return endpoint(number % hosts, 1 + number)

    while now < seconds:
        while seconds_due and seconds_due[0][0] <= now:
            _, number = heappop(seconds_due)
            pace.count_second(now)
            sent.append((now, number % hosts))
        if pace.wait_time(now) == 0 and waiting and waiting[0][0] <= now:
            _, number = heappop(waiting)
            if (wait := pace.host_wait_time(endpoint_of(number), now)) > 0:
                heappush(waiting, (now + wait, number))
            else:
                pace.start_visit(endpoint_of(number), now)
                sent.append((now, number % hosts))
                heappush(seconds_due, (now + ROUND_TRIP, number))
        else:
            now += 0.01
    return sent


def most_in_a_window(times, length):
    """Return how many of the sorted times lie in the fullest window of a length."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - length:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("length", [1.0, 5.0, 20.0])
def test_queries_stay_within_the_rate_over_any_window(length):
    """Second queries count too: no more than a burst and the rate go out, however long one looks.

    The answers to what one burst asked may be awaited when the next begins, so there are two bursts.
    """
    settings = CrawlSettings(rate=20.0, new_endpoints_rate=1000.0)
    times = [time for time, _ in crawl(settings, hosts=250, seconds=20.0)]
    assert most_in_a_window(times, length) <= 2 * 20 + 20 * length


def test_rate_is_made_use_of():
    """Limits that are never reached would be no limits but a standstill."""
    settings = CrawlSettings(rate=20.0, new_endpoints_rate=1000.0)
    assert len(crawl(settings, hosts=250, seconds=20.0)) >= 0.9 * 20 * 20


@pytest.mark.parametrize("length", [2.0, 10.0, 40.0])
def test_one_host_gets_no_more_than_its_own_rate(length):
    settings = CrawlSettings(rate=1000.0, new_endpoints_rate=1000.0, host_rate=1.0, host_burst=4.0)
    times: dict[int, list[float]] = {}
    for time, host in crawl(settings, hosts=3, seconds=40.0, ports=600):
        times.setdefault(host, []).append(time)
    assert sorted(times) == [0, 1, 2]
    for host, its_times in times.items():
        assert most_in_a_window(its_times, length) <= 5 + length, host


def test_new_endpoints_have_a_rate_of_their_own():
    settings = CrawlSettings(rate=1000.0, new_endpoints_rate=5.0)
    pace = Pace(settings, 0.0)
    started = 0
    for step in range(1000):
        now = step / 100
        if pace.wait_time(now) == 0:
            pace.start_visit(endpoint(started), now)
            pace.count_second(now)
            started += 1
    assert 50 <= started <= 5 + 5 * 10


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_rates_below_one_are_kept(rate):
    settings = CrawlSettings(rate=rate, new_endpoints_rate=100.0)
    sent = crawl(settings, hosts=250, seconds=60.0)
    assert 0.8 * rate * 60 <= len(sent) <= 4 + rate * 60


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_new_endpoint_rates_below_one_are_kept(rate):
    settings = CrawlSettings(rate=100.0, new_endpoints_rate=rate)
    sent = crawl(settings, hosts=250, seconds=60.0)
    assert 0.8 * 2 * rate * 60 <= len(sent) <= 2 * (1 + rate * 60)


def test_wait_time_is_as_long_as_it_says():
    pace = Pace(CrawlSettings(rate=2.0), 0.0)
    while pace.wait_time(0.0) == 0:
        pace.start_visit(HERE, 0.0)
    wait = pace.wait_time(0.0)
    assert pace.wait_time(wait - 0.01) > 0
    assert pace.wait_time(wait + 0.01) == 0


def test_rate_of_zero_lifts_every_limit():
    pace = Pace(CrawlSettings(rate=0.0), 0.0)
    for _ in range(10_000):
        pace.start_visit(HERE, 0.0)
        pace.count_second(0.0)
        pace.count_query(HERE, 0.0)
    assert (pace.wait_time(0.0), pace.host_wait_time(HERE, 0.0)) == (0.0, 0.0)


@pytest.mark.parametrize("by_endpoint", [False, True])
def test_loopback_counts_endpoints_and_the_network_counts_hosts(by_endpoint):
    pace = Pace(CrawlSettings(), 0.0, by_endpoint=by_endpoint)
    for _ in range(4):
        pace.start_visit(endpoint(1, 1), 0.0)
    assert pace.host_wait_time(endpoint(1, 1), 0.0) > 0
    assert (pace.host_wait_time(endpoint(1, 2), 0.0) == 0) is by_endpoint


def test_host_that_refuses_is_left_alone_for_a_minute():
    pace = Pace(CrawlSettings(), 0.0)
    pace.start_visit(HERE, 0.0)
    pace.back_off(HERE, 0.1)
    assert pace.host_wait_time(HERE, 50.0) > 0
    assert pace.host_wait_time(HERE, 61.0) == 0
    assert pace.host_wait_time(endpoint(2), 0.1) == 0


def test_hosts_remembered_are_bounded_and_the_one_used_last_stays(monkeypatch):
    monkeypatch.setattr("crawler.core.pace.MAX_HOSTS", 3)
    pace = Pace(CrawlSettings(rate=1e6, new_endpoints_rate=1e6), 0.0)
    for _ in range(4):
        pace.start_visit(HERE, 0.0)
    for number in range(100, 200):
        pace.start_visit(endpoint(number), 0.0)
        assert pace.host_wait_time(HERE, 0.0) > 0
    assert len(pace._hosts) == 3


def test_default_pace_is_polite():
    settings = CrawlSettings()
    hosts = Counter(host for _, host in crawl(settings, hosts=250, seconds=5.0, ports=100_000))
    assert sum(hosts.values()) <= 2 * 500 + 500 * 5
    assert max(hosts.values()) <= 5 + 0.5 * 5
