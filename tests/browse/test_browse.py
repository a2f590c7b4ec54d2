"""The pages of `dhtcrawl browse`, asked for in this process, and the command itself."""

import asyncio
import json
import re
import signal
import socket
import sqlite3
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from html import unescape
from http.client import HTTPConnection
from io import StringIO
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from crawler import browse
from crawler.browse.connection import UNSEEN, open_blind
from crawler.browse.metadata import DATABASE, FACETS, metadata_of
from crawler.browse.plots import DASHBOARD
from crawler.browse.queries import QUERIES
from crawler.browse.site import close_site, make_site, page_paths
from crawler.cli.main import main
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.schema.columns import TABLES
from tests.commands import Ended, Running
from tests.small_database import LARGE, make_database, node_id

PLOTS = "/-/plots"
SHOWN = [name for name, table in TABLES.items() if table.exported]
FETCHED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//(?!localhost/)", re.IGNORECASE
)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Return the path of a database; the name is one that a careless URI would break at."""
    path = tmp_path_factory.mktemp("browse") / "a crawl?#%.db"
    make_database(path)
    return path


@pytest.fixture(scope="module")
def fetch(database):
    """Return a function that gives the status and the text of a page, fetched once."""
    site = make_site(database)
    with asyncio.Runner() as runner:
        runner.run(site.invoke_startup())
        pages = {}

        def get(path, host="localhost"):
            if (path, host) not in pages:
                found = runner.run(site.client.get(path, headers={"host": host}))
                pages[path, host] = found.status_code, found.text
            return pages[path, host]

        yield get
    close_site(site)


def heading(page):
    return unescape(re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)[1]).strip()


@pytest.mark.slow
def test_every_page_opens_and_fetches_nothing_from_elsewhere(database, fetch):
    paths = list(page_paths(database))
    assert {path: fetch(path)[0] for path in paths} == dict.fromkeys(paths, 200)
    assert [path for path in paths if FETCHED.search(fetch(path)[1])] == []


def test_what_would_be_fetched_is_seen():
    assert FETCHED.search('<script defer src="https://cdn.example/vega.js"></script>')


def test_front_page_names_every_question_and_table(fetch):
    page = unescape(fetch("/")[1])
    assert heading(page) == "A crawl of the BitTorrent DHT"
    for query in QUERIES.values():
        assert query.title in page
    for name in SHOWN:
        assert f"/{DATABASE}/{name}" in page
        assert TABLES[name].meaning in page


@pytest.mark.parametrize("name", SHOWN)
def test_table_says_what_it_holds(fetch, name):
    status, page = fetch(f"/{DATABASE}/{name}")
    text = unescape(page)
    assert status == 200
    assert heading(page).partition(" (view)")[0] == name.replace("_", " ").capitalize()
    assert TABLES[name].meaning in text
    for column in TABLES[name].columns:
        assert f"<dt>{column.name}</dt><dd>{column.meaning.replace('`', '')}" in text, column.name
    assert "timed out" not in text


OF_OTHERS = {"what_peers_say", "peers_that_peers_name", "web_seeds_over_time"}
OF_TRACKERS = {"quality_of_trackers", "sources_of_swarms", "sources_by_day"}


@pytest.mark.parametrize("name", QUERIES)
def test_question_is_answered(fetch, name):
    values = {"visits_of_a_node": f"?node_id={node_id(3).hex()}"}
    path = f"/{DATABASE}/{name}.json{values.get(name, '?')}&_shape=array"
    status, text = fetch(path)
    records = json.loads(text)
    assert status == 200
    # No swarm is on a watch or was measured twice, and no tracker, peer or web seed was asked.
    assert bool(records) == (name not in {"watched", "dead", "changes", *OF_TRACKERS, *OF_OTHERS})
    assert heading(fetch(f"/{DATABASE}/{name}")[1]) == QUERIES[name].title


def test_questions_have_names_of_their_own():
    with sqlite3.connect(":memory:") as db:
        assert set(metadata_of(db)["databases"][DATABASE]["queries"]) == set(QUERIES)
    assert QUERIES.keys() & TABLES.keys() == set()


def test_parameters_choose(fetch):
    path = f"/{DATABASE}/history_of_a_swarm.json?info_hash={LARGE.hex().upper()}&_shape=array"
    history = json.loads(fetch(path)[1])
    none = json.loads(fetch(f"/{DATABASE}/clients.json?run=7&_shape=array")[1])
    clients = json.loads(fetch(f"/{DATABASE}/clients.json?run=1&_shape=array")[1])
    visits = f"/{DATABASE}/visits_of_a_node.json?_shape=array&node_id={node_id(3).hex()}"
    assert [row["peers"] for row in history] == [800.0, 900.0]
    by_client = f"/{DATABASE}/nodes_of_a_client.json?_shape=array&client="
    assert none == []
    found = [len(json.loads(fetch(by_client + name)[1])) for name in ("", "LT", "libtorrent", "uTorrent")]
    assert found == [14, 14, 14, 0]
    assert [(row["client"], row["nodes"]) for row in clients] == [("LT", 12), ("UT", 2)]
    assert [len(json.loads(fetch(visits + run)[1])) for run in ("", "&run=1", "&run=2")] == [1, 1, 0]


def test_facets_are_offered(fetch):
    page = json.loads(fetch(f"/{DATABASE}/visits.json?_shape=objects")[1])
    outcomes = {each["value"]: each["count"] for each in page["facet_results"]["outcome"]["results"]}
    assert outcomes == {"answered": 14, "timeout": 5, "wrong-id": 1}


def test_large_tables_have_no_facets_and_only_quick_orders(database, monkeypatch):
    monkeypatch.setattr("crawler.browse.metadata.LARGE", 15)
    with open_reading(database) as db:
        tables = metadata_of(db)["databases"][DATABASE]["tables"]
    assert "facets" not in tables["visits"]
    assert tables["visits"]["sortable_columns"] == []
    assert "facets" not in tables["suspect_nodes"]
    assert tables["runs"]["facets"] == ["status", "command"]
    assert {name for each in tables.values() for name in each.get("facets", [])} <= set(FACETS)


def test_what_tells_of_peers_is_never_read(database, fetch):
    assert ("scrape_replies", "peers_filter") in UNSEEN
    sql = "select+count(peers_filter)+as+n,max(seeds_filter)+as+h+from+scrape_replies"
    assert json.loads(fetch(f"/{DATABASE}.json?sql={sql}&_shape=array")[1]) == [{"n": 0, "h": None}]
    assert "not shown" in fetch(f"/{DATABASE}/scrape_replies")[1]
    assert "blob-download" not in fetch(f"/{DATABASE}/node_samples")[1]
    assert fetch(f"/{DATABASE}/crawl_journal")[0] == 403
    assert fetch(f"/{DATABASE}/_sqlite_migrations")[0] == 403
    assert fetch(f"/{DATABASE}.db")[0] == 403


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM runs", "PRAGMA query_only = OFF", "ATTACH 'other.db' AS other", "CREATE TABLE new (x)"],
)
def test_nothing_can_be_written(database, tmp_path, monkeypatch, sql):
    monkeypatch.chdir(tmp_path)
    db = open_blind(database)
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|readonly"):
        db.execute(sql)
    db.close()
    assert list(tmp_path.iterdir()) == []


def drawings(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg[^>]*class=\"plot\".*?</svg>", page)]  # noqa: S314


def marks(drawing):
    return [
        title.text
        for title in drawing.iterfind(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}title")
    ]


def test_dashboard_draws_every_plot(fetch):
    page = fetch(PLOTS)[1]
    drawn = dict(zip(DASHBOARD, drawings(page), strict=True))
    assert marks(drawn["network-size"]) == ["run 1, 2025-06-15T15:06:40.000Z: 15 (14 to 18) hosts"]
    assert marks(drawn["clients"])[0] == "libtorrent: 12 nodes, 85.71 %"
    assert marks(drawn["outcomes"])[1] == "sample v4: unsupported: 3 queries, 21.43 %, 0 with marks"
    assert marks(drawn["swarms"])[0] == f"1. {LARGE.hex()}: 800 (798 to 802) peers"
    assert marks(drawn["round-trips"])[1] == "libtorrent: 50.5 (50.1 to 51) ms"
    assert f'href="{PLOTS}/swarm/{LARGE.hex()}"' in page


def test_dashboard_of_a_run(fetch):
    census, page = fetch(f"{PLOTS}?run=1")[1], fetch(f"{PLOTS}?run=2")[1]
    assert "visit v4: answered: 14 queries, 70.0 %, 1 with marks" in marks(drawings(census)[2])
    assert "Nothing to draw" in page
    assert len(drawings(page)) == 1
    assert fetch(f"{PLOTS}?run=77")[0] == 404
    assert fetch(f"{PLOTS}?run={'9' * 30}")[0] == 200


def test_history_of_a_swarm_is_drawn(fetch):
    page = fetch(f"{PLOTS}/swarm/{LARGE.hex().upper()}")[1]
    (drawing,) = drawings(page)
    said = marks(drawing)
    assert said[:2] == [
        "2025-06-15T15:08:20.000Z: 900 (898 to 902) peers",
        "2025-06-15T15:10:00.000Z: 800 (798 to 802) peers",
    ]
    assert len(said) == 6
    assert fetch(f"{PLOTS}/swarm/{'00' * 20}")[0] == 404


def test_table_leads_to_the_history(fetch):
    assert f'href="{PLOTS}/swarm/{LARGE.hex()}"' in fetch(f"/{DATABASE}/swarm_samples")[1]
    assert f'href="{PLOTS}/swarm/{LARGE.hex()}"' in fetch(f"/{DATABASE}/largest_swarms")[1]


def test_other_names_for_this_host_are_refused(fetch):
    """So that a page from elsewhere cannot read here under a name that leads to 127.0.0.1."""
    assert [fetch("/", host)[0] for host in ("127.0.0.1:8001", "localhost:1", "[::1]:8001")] == [200] * 3
    assert [fetch("/", host)[0] for host in ("evil.example", "127.0.0.1.evil.example:8001", "")] == [403] * 3


WRONG = {
    "/x": (404, "Database not found"),
    f"/{DATABASE}/x": (404, "Table not found"),
    f"/{DATABASE}/runs/99999": (404, "Record not found"),
    f"/{DATABASE}/runs/1/x": (404, "there is no such page"),
    f"{PLOTS}/swarm/zz": (404, "there is no such page"),
    f"{PLOTS}?run=77": (404, "there is no run 77"),
    f"/{DATABASE}?sql=delete+from+runs": (400, "Statement must be a SELECT"),
    f"/{DATABASE}/runs?_sort=zz": (400, "Cannot sort table by zz"),
    f"/{DATABASE}/runs?_where=zz": (400, "no such column: zz"),
    f"/{DATABASE}/nodes?_next=zz": (400, "a value in this address is wrong"),
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_address_is_a_page_and_one_line_on_stderr(fetch, capsys, path):
    status, reason = WRONG[path]
    found, page = fetch(f"{path}{'&' if '?' in path else '?'}wrong=1")
    stdout, stderr = capsys.readouterr()
    assert (found, stdout, stderr.count("\n")) == (status, "", 1)
    assert reason in unescape(page)
    assert stderr.startswith(f"dhtcrawl: {status} for {path.partition('?')[0]}: ")
    assert reason in stderr


def test_wrong_address_of_data_is_told_as_data(fetch):
    status, text = fetch(f"/{DATABASE}.json?sql=delete+from+runs")
    assert (status, json.loads(text)["error"]) == (400, "Statement must be a SELECT")


def test_address_cannot_forge_a_line(fetch, capsys):
    assert fetch("/x%0adhtcrawl:%20forged%1b")[0] in (302, 404)
    assert fetch(f"/{DATABASE}/x~0adhtcrawl:~20forged~1b")[0] == 404
    assert capsys.readouterr().err.count("\n") <= 2


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_name_of_a_torrent_is_text_on_every_page_that_shows_it(tmp_path, name):
    path = tmp_path / "hostile.db"
    make_database(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE swarms SET name = ?", (name,))
    site = make_site(path)
    with asyncio.Runner() as runner:
        runner.run(site.invoke_startup())
        for where in ("swarms", "latest_swarms", "largest_swarms", f"x{name}", f"runs?_sort={name}"):
            found = runner.run(site.client.get(f"/{DATABASE}/{where}", headers={"host": "localhost"}))
            assert name not in found.text
            assert "<script>alert" not in found.text
            assert "<img src=x" not in found.text
    close_site(site)


def run_here(line):
    stdout, stderr = StringIO(), StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as left:
        main(["browse", "--db", *line], prog_name="dhtcrawl")
    return Ended(int(left.value.code or 0), stdout.getvalue(), stderr.getvalue())


@pytest.mark.slow
def test_check_opens_every_page(database):
    ended = run_here([str(database), "--check", "--json"])
    assert (ended.status, ended.stderr) == (0, "")
    assert [record["page"] for record in ended.records] == list(page_paths(database))
    assert {record["status"] for record in ended.records} == {200}


@pytest.mark.slow
def test_check_fails_where_a_page_is_slow(database, monkeypatch):
    monkeypatch.setattr("crawler.cli.browse.SLOW", -1.0)
    ended = run_here([str(database), "--check"])
    assert ended.status == 1
    assert all(line.endswith("  !") for line in ended.stdout.splitlines())
    assert "pages failed or took longer" in ended.error


@pytest.mark.parametrize("option", ["--check", "--port=0"])
def test_missing_datasette_is_one_line(database, monkeypatch, option):
    for name in browse.__all__:
        monkeypatch.delattr(browse, name)
    for name in [name for name in sys.modules if name.startswith("crawler.browse.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datasette", None)
    monkeypatch.setitem(sys.modules, "datasette.app", None)
    ended = run_here([str(database), option])
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == "dhtcrawl: browsing needs Datasette: pip install 'dhtnode[browse]'"


def test_busy_port_is_one_line(database):
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = run_here([str(database), f"--port={other.getsockname()[1]}"])
    assert (ended.status, ended.stdout) == (1, "")
    assert re.fullmatch(r"dhtcrawl: cannot listen on 127\.0\.0\.1:\d+: Address already in use", ended.error)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"Dear reader,\n" * 99, "is not a SQLite")]
)
def test_what_is_no_crawl_is_refused(tmp_path, content, said):
    (tmp_path / "other.db").write_bytes(content)
    for option in ("--check", "--port=0"):
        ended = run_here([str(tmp_path / "other.db"), option])
        assert ended.status == 1
        assert said in ended.error


def read(address, **headers):
    found = urlsplit(address)
    with closing(HTTPConnection(found.netloc, timeout=30)) as connection:
        connection.request("GET", f"{found.path}?{found.query}", headers=headers)
        with connection.getresponse() as response:
            return response.status, response.read().decode()


@pytest.mark.slow
def test_command_serves_until_a_signal(database):
    before = database.read_bytes()
    with Running("dhtcrawl", "browse", "--db", database, "--port", "0") as process:
        address = process.read_line().removeprefix(f"serving {database} on ")
        assert "A crawl of the BitTorrent DHT" in read(address)[1]
        process.signal(signal.SIGTERM)
        ended = process.wait()
    assert (ended.status, ended.stdout) == (128 + signal.SIGTERM, "")
    assert ended.error == "dhtcrawl: interrupted"
    assert database.read_bytes() == before


@pytest.mark.slow
def test_command_serves_beside_a_crawl(tmp_path):
    make_database(tmp_path / "crawl.db")
    with Running("dhtcrawl", "browse", "--db", tmp_path / "crawl.db", "--port", "0", "--json") as process:
        address = json.loads(process.read_line())["address"]
        counted = f"{address}{DATABASE}.json?sql=select+count(*)+from+runs&_shape=arrays"
        runs = [json.loads(read(counted)[1])["rows"][0][0]]
        with CrawlDatabase.open(tmp_path / "crawl.db") as store:
            store.runs.begin("census", {}, "0.1.0", "2025-01-01T00:00:00.000Z")
            runs.append(json.loads(read(counted)[1])["rows"][0][0])
        stranger = read(address, Host="evil.example")[0]
        process.signal(signal.SIGINT)
        ended = process.wait()

    assert (runs, stranger) == ([3, 4], 403)
    assert ended.status == 128 + signal.SIGINT
    assert ended.stderr.splitlines() == ["dhtcrawl: 403 for /: Forbidden", "dhtcrawl: interrupted"]


@pytest.mark.parametrize(
    ("is_there", "stderr"), [(True, ""), (False, "dhtcrawl: found no web browser to open\n")]
)
def test_browser_is_opened_at_the_address(database, monkeypatch, is_there, stderr):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or is_there)
    monkeypatch.setattr("crawler.browse.serving._serve", announcing)
    ended = run_here([str(database), "--port=0", "--open"])
    assert (ended.status, ended.stderr) == (0, stderr)
    assert ended.stdout == f"serving {database} on {opened[0]}\n"


async def announcing(_app, _listener, announce):
    announce()


def test_wrong_command_line_is_status_2(tmp_path):
    ended = run_here([str(tmp_path / "none.db")])
    assert ended.status == 2
    assert "does not exist" in ended.error
