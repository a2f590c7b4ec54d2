"""What a program does with the crawler: the same as the commands, by one call each."""

import pytest
import trio

import crawler
from crawler import CrawlOptions, CrawlSettings
from crawler.synthetic import SyntheticSettings, open_server
from dhtnode import Family, InfoHash

NODES = 150
NETWORK = SyntheticSettings(nodes=NODES, swarms=6, largest=60, interval=0)
COMMANDS = ["census", "sample", "scrape", "watch"]


async def crawl_all(path):
    """Return the truth, and what each function returns, one after the other, on a network on loopback."""
    lines, told = [], []
    async with open_server(NETWORK) as server:
        options = CrawlOptions(path, CrawlSettings(rate=0), bootstrap=server.bootstrap)
        swarms = {InfoHash(swarm.info_hash): swarm.peers for swarm in server.network.swarms}
        findings = await crawler.census(options)
        samples = await crawler.sample(options)
        measured = await crawler.measure(swarms, options, on_measured=told.append, say=lines.append)
        counts = await crawler.watch(list(swarms)[:2], options, once=True, at_once=2)
    return swarms, findings, samples, measured, counts, lines, told


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return tmp_path_factory.mktemp("programs") / "crawl.db"


@pytest.fixture(scope="module")
def results(database):
    return trio.run(crawl_all, database)


def test_census_returns_its_findings(results):
    findings = results[1]
    assert findings.frontier.answered > 0.9 * NODES
    assert findings.findings.size(Family.IPV4, "crawl").estimate == pytest.approx(NODES, rel=0.2)


def test_sample_returns_counts_and_estimates(results):
    samples = results[2]
    assert samples.counts.shown > 0
    assert [each.family for each in samples.discoveries] == [4]


def test_measurements_are_told_as_they_come_and_counted(results):
    swarms, _, _, measured, _, lines, told = results
    assert (measured.measured, measured.failed) == (len(swarms), 0)
    assert {each.info_hash for each in told} == set(swarms)
    assert sum(each.estimate.peers_low <= swarms[each.info_hash] for each in told) == len(swarms)
    assert lines == ["asked the nodes of the census of run 1 directly for 6 of 6 swarms"]


def test_watch_measures_what_is_due(results):
    assert (results[4].measured, results[4].failed) == (2, 0)


def test_reports_are_answered_from_the_file(results, database):
    del results
    runs = crawler.report("runs", db=database).records()
    assert [row["command"] for row in reversed(runs)] == COMMANDS
    assert {row["status"] for row in runs} == {"finished"}
    assert {answer.name for answer in crawler.report_summary(db=database)} >= {"clients", "swarms", "watched"}


def test_measurement_is_explained(results, database):
    found = crawler.explain(results[-1][0].info_hash, db=database)
    assert found is not None
    assert found.differences == ()
    assert crawler.explain(10_000, db=database) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sizes",), "there is no report 'sizes'"),
        (("swarm",), "say which swarm"),
        (("clients", "aa" * 20), "takes no info-hash"),
    ],
)
def test_wrong_question_is_a_value_error(database, arguments, said):
    with pytest.raises(ValueError, match=said):
        crawler.report(*arguments, db=database)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: crawler.census(CrawlOptions(path, anonymize=True), verify_after=1.0),
        lambda path: crawler.sample(CrawlOptions(path, anonymize=True), rounds=2),
        lambda path: crawler.census(path, zone="5b"),
        lambda path: crawler.measure([], CrawlOptions(path, exclude=["nothing"])),
    ],
)
async def test_wrong_options_open_nothing(tmp_path, call):
    with pytest.raises(ValueError, match=r"address|invalid literal|nothing"):
        await call(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


async def test_program_sees_no_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("crawler.core.progress.LINE_PERIOD", 0.0)
    async with open_server(SyntheticSettings(nodes=20)) as server:
        options = CrawlOptions(tmp_path / "crawl.db", CrawlSettings(rate=0), bootstrap=server.bootstrap)
        await crawler.census(options)
    assert capsys.readouterr() == ("", "")


def test_public_names_are_found():
    assert all(getattr(crawler, name) is not None for name in crawler.__all__)
    assert {"census", "measure", "report", "sample", "watch"} <= set(crawler.__all__)
