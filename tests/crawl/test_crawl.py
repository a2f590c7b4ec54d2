"""What the crawl of one family decides, without a network and without Trio."""

from collections import Counter
from random import Random

from crawler.core.exclusion import Area
from crawler.core.pace import Pace
from crawler.crawl.crawl import FamilyCrawl
from crawler.settings import CrawlSettings
from dhtnode import Address, Contact, Family, NodeId, QueryTimeout, Scope
from dhtnode.krpc import Response
from dhtnode.outcomes import Outcome

OUTCOMES = list(Outcome)
EPOCH = 1_700_000_000.0


class Facts:
    """A client that sends nothing."""

    family = Family.IPV4
    scope = Scope.PUBLIC

    def __init__(self):
        self.unexpected = Counter()

    def template(self, method):
        return "find_node"


def node(number, port=6881):
    return Contact(NodeId(bytes([number]) * 20), Address(f"20.0.0.{number}", port))


class Scene:
    """A crawl with the nodes to start from, and what it has put."""

    def __init__(self, *numbers, **settings):
        settings = CrawlSettings(**settings) if settings else CrawlSettings(rate=0)
        self.rows, self.facts = [], Facts()
        self.crawl = FamilyCrawl(
            self.facts, self.rows.append, settings, Pace(settings, 0.0), Area(), Random(1), lambda: EPOCH
        )
        for number in numbers:
            assert self.crawl.add(node(number))

    def next(self, now=0.0):
        self.crawl.flush(now)
        (query,), _ = self.crawl.next_queries(now, 1)
        _, target, address, visit = query
        assert (target, address) == (visit.target, visit.address)
        return visit

    def answer(self, visit, now=1.0, **fields):
        """Answer a query, under the id of the node unless told otherwise."""
        fields = {"node_id": NodeId(visit.node_id)} | fields
        self.crawl.on_end(visit, Response(b"aa", **fields), 0.1, now)

    def visits(self):
        self.crawl.flush(float("inf"))
        return [visit for batch in self.rows for visit in batch.visits]


def test_node_that_answered_is_queried_a_second_time_before_the_next_node():
    scene = Scene(1, 2)
    first = scene.next()
    scene.answer(first)
    assert scene.next() is first
    scene.answer(first)
    (row,) = scene.visits()
    assert (OUTCOMES[row.outcome], row.rtt_us, row.taken_at) == (Outcome.ANSWERED, 100_000, 1_700_000_000_000)
    assert (scene.crawl.queries, scene.crawl.second_queries, scene.crawl.second_answers) == (2, 1, 1)
    assert scene.next().node_id == node(2).node_id


def test_wrong_id_ends_a_visit_at_once():
    scene = Scene(1)
    scene.answer(scene.next(), node_id=NodeId(b"x" * 20))
    assert [OUTCOMES[row.outcome] for row in scene.visits()] == [Outcome.WRONG_ID]
    assert scene.crawl.next_queries(0.0, 1) == ([], None)


def test_timeout_after_datagrams_that_answer_nothing_is_malformed_and_three_are_a_flood():
    scene = Scene(1, 2)
    for datagrams in (2, 3):
        visit = scene.next()
        scene.facts.unexpected[visit.address] = datagrams
        scene.answer(visit)
        visit = scene.next()
        scene.crawl.on_end(visit, QueryTimeout(visit.address), 2.0, 2.0)
    assert [row.marks for row in scene.visits()] == [None, "flood"]

    scene = Scene(1)
    visit = scene.next()
    scene.facts.unexpected[visit.address] = 1
    scene.crawl.on_end(visit, QueryTimeout(visit.address), 2.0, 2.0)
    assert [OUTCOMES[row.outcome] for row in scene.visits()] == [Outcome.MALFORMED]


def test_query_that_could_not_leave_is_sent_later_or_recorded():
    scene = Scene(1)
    scene.crawl.on_stuck(scene.next(), 5.0)
    visit = scene.next(5.0)
    scene.crawl.on_not_sent(visit, 6.0)
    assert [OUTCOMES[row.outcome] for row in scene.visits()] == [Outcome.NOT_SENT]
    scene = Scene(1)
    visit = scene.next()
    scene.answer(visit)
    scene.crawl.on_stuck(scene.next(), 5.0)
    assert [OUTCOMES[row.outcome] for row in scene.visits()] == [Outcome.ANSWERED]
    assert scene.crawl.second_queries == 0


def test_rows_are_put_when_they_are_a_second_old():
    scene = Scene(1)
    scene.crawl.flush(0.0)
    visit = scene.next()
    scene.crawl.on_end(visit, QueryTimeout(visit.address), 2.0, 0.5)
    scene.crawl.flush(0.9)
    assert scene.rows == []
    scene.crawl.flush(1.0)
    assert [len(batch.visits) for batch in scene.rows] == [1]
