"""The benchmarks run, for a moment each; how long anything takes is nothing that a test may hold."""

import importlib
import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.node import __main__ as node
from benchmarks.node import columns
from benchmarks.node.servers import SERVERS, Server, serve_ours
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.gauge import Measurement, Refusal, measure
from benchmarks.tools.processes import command_of, run_to_end
from benchmarks.tools.screen import Screen
from crawler.db.schema.columns import TABLES
from crawler.reports import REPORTS
from tests.commands import PATIENCE, Running, run_command

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COLUMNS = {"ping", "find_node", "get_peers", "get_peers, 100 stored", "announce_peer"}


def report_of(name, folder, *sizes):
    """Run one benchmark that must succeed; return its report and what it printed."""
    done = run_command("python", "-m", f"benchmarks.{name}", *sizes, f"--json={folder / 'report'}", cwd=ROOT)
    assert done.status == 0, done.stderr
    report = json.loads((folder / "report").read_text())
    assert report["benchmark"] == name
    assert {"python", "trio", "bencode2", "libtorrent"} <= report["versions"].keys()
    assert report["machine"]["cpu"]
    return report, done.stdout


def measured_briefly(servers, folder):
    """Measure servers for an instant each."""
    return report_of("node", folder, "--pairs=1", "--seconds=0.1", "--nodes=60", f"--servers={servers}")


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="sendmmsg, recvmmsg and /proc are Linux's")


@on_linux
def test_idle_looks_at_two_daemons_in_three_states(tmp_path):
    sizes = ("--seconds=0.5", "--settle=0.5", "--load=0.5", f"--against={ROOT}")
    report, shown = report_of("idle", tmp_path, *sizes)
    states = ["fresh", "after load", "without a network"]
    assert [(each["state"], each["daemon"]) for each in report["windows"]] == [
        (state, daemon) for state in states for daemon in ("ours", "against")
    ]
    assert "wake-ups per s" in shown


@on_linux
def test_gateway_is_set_beside_opentracker(tmp_path):
    sizes = ("--pairs=1", "--seconds=0.05", "--swarms=5", "--clients=4")
    report, shown = report_of("gateway", tmp_path, *sizes)
    assert list(report["microseconds"]) == ["announce", "scrape", "scrape of 70", "connect"]
    assert all("gateway" in by_server for by_server in report["microseconds"].values())
    assert "scrape of 70" in shown


def has_ended(pid):
    """Tell whether a process is gone, or a zombie that no process has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@on_linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_of_a_benchmark_end_with_it(number):
    with Running("python", "-m", "benchmarks.idle", "--settle=300", cwd=ROOT) as benchmark:
        children = Path(f"/proc/{benchmark.pid}/task/{benchmark.pid}/children")
        # A network and a daemon.
        while len(started := children.read_text().split()) < 2 and benchmark.is_running:
            time.sleep(0.05)
        benchmark.signal(number)
        assert benchmark.wait().status in (128 + number, -number)
    assert len(started) == 2
    deadline = time.monotonic() + PATIENCE
    while running := [pid for pid in started if not has_ended(pid)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


@on_linux
class TestNode:
    """`python -m benchmarks.node`."""

    def test_measures_each_kind_of_query(self, tmp_path):
        report, printed = measured_briefly("ours", tmp_path)
        assert {each["column"] for each in report["measurements"]} == COLUMNS
        assert report["cpu_microseconds_per_answer"]["ours"].keys() == COLUMNS
        assert all(each["answered"] > 0 and not each["errors"] for each in report["measurements"])
        assert "| ours " in printed

    def test_queries_come_at_a_rate(self, tmp_path):
        """One by one, and another checkout is asked in turns with this one."""
        sizes = (
            "--pairs=1",
            "--seconds=0.4",
            "--nodes=60",
            "--servers=ours",
            "--rate=50",
            f"--against={ROOT}",
        )
        report, printed = report_of("node", tmp_path, *sizes)
        answered = [each["answered"] for each in report["measurements"]]
        assert len(answered) == 2 * len(COLUMNS)
        assert all(1 <= each <= 21 for each in answered)
        assert "| ours / against, median " in printed

    @pytest.mark.real_clients
    def test_compares_with_libtorrent(self, tmp_path):
        report, _ = measured_briefly("ours,libtorrent", tmp_path)
        ratios = report["ratios_of_ours_to"]["libtorrent"]
        assert {column: len(row) for column, row in ratios.items()} == dict.fromkeys(COLUMNS, 1)

    def test_names_the_package_that_is_missing(self, monkeypatch, capsys):
        monkeypatch.setitem(SERVERS, "absent", Server(serve_ours, "absent-node", "no_such_module"))
        assert node.main(["--servers=ours,absent"]) == 1
        line = (
            "benchmarks.node: absent is not installed: pip install absent-node,"
            " see docs/reference/benchmarks.md\n"
        )
        assert capsys.readouterr().err == line

    @pytest.mark.parametrize("name", sorted(SERVERS.keys() - {"ours", "libtorrent"}))
    def test_compares_with_other_python_nodes(self, name, tmp_path):
        """Where they are installed, pings are measured; each other column too, or there is a reason."""
        if not SERVERS[name].installed:
            pytest.skip(f"{name} is not installed")
        report, _ = measured_briefly(f"ours,{name}", tmp_path)
        measured = report["cpu_microseconds_per_answer"][name].keys()
        assert measured >= {"ping"}
        assert measured ^ {each["column"] for each in report["refusals"]} == COLUMNS

    def test_shows_a_dash_for_what_was_refused(self):
        """Each other one is compared with the first, as far as it was measured."""
        costs = {"ours": 10.0, "slow": 200.0, "mute": 40.0}
        measurements = [
            Measurement(name, column, 0, cost, 1, 0.1, 1.0, 3.0, 1.0, 0, 0, 70)
            for name, cost in costs.items()
            for column in COLUMNS
            if name != "mute" or column == "ping"
        ]
        report = {"options": {"servers": list(costs)}} | node.summary(measurements, list(costs))
        lines = node.result_table(report, measurements).splitlines()
        cells = {line.split("|")[1].strip(): line.replace(" ", "").split("|")[2:7] for line in lines}
        assert cells["mute"] == ["40.0", "-", "-", "-", "-"]
        assert cells["ours / slow, median"] == ["0.0500"] * 5
        assert cells["ours / mute, median"] == ["0.25", "-", "-", "-", "-"]

    def test_tells_each_reason_once(self):
        refusals = [Refusal("mute", "ping", 0, "silence"), Refusal("mute", "find_node", 0, "silence")]
        assert node.refusal_lines(refusals) == ["- mute, ping, find_node: silence"]


class Scripted:
    """Stands for a server under load that gives one answer to everything."""

    name = "scripted"

    def __init__(self, **answer):
        self.answer = {key.encode(): value for key, value in answer.items()}

    def exchange(self, queries, _sources):
        return [self.answer] * len(queries)

    def cpu_time(self):
        return 0.0


CONTACT = bytes(20) + bytes([127, 3, 0, 1, 26, 225])
WRONG_ANSWERS = {
    "ping": [{}, {"id": b"source00000000000000"}],
    "find_node": [{"nodes": b""}, {"nodes": CONTACT[:22]}, {"nodes": CONTACT[:-2] + bytes(2)}],
    "get_peers": [{"nodes": CONTACT}, {"token": b"t"}],
    "get_peers, 100 stored": [{"token": b"t"}, {"token": b"t", "values": [b"\x7f\x02\0\0\0\0"]}],
    "announce_peer": [{"token": b"t", "nodes": CONTACT}],
}


class TestColumns:
    """What is not an answer in the sense of BEP 5 is not measured."""

    @pytest.mark.parametrize(
        ("column", "answer"), [(column, answer) for column, row in WRONG_ANSWERS.items() for answer in row]
    )
    def test_refuses_wrong_answers(self, column, answer):
        """The benchmark goes on without this column, and the reason is kept."""
        body = answer if column == "ping" else {"id": bytes(20)} | answer
        (refusal,) = measure([Scripted(**body)], column, 0, 0.1, 1)
        assert isinstance(refusal, Refusal)
        assert refusal.reason.startswith("an answer with")

    def test_takes_right_answers(self):
        server = Scripted(id=bytes(20), nodes=CONTACT * 8, token=b"t")
        for column in (columns.ping, columns.find_node, columns.get_peers):
            queries, target = column(server)
            assert len(queries) == columns.RING
            assert target is None or target in queries[0][b"a"].values()

    def test_needs_a_token_to_announce(self):
        with pytest.raises(BenchmarkFailed):
            columns.announce_peer(Scripted(id=bytes(20), nodes=CONTACT))


@on_linux
def test_rpc_measures_each_face(tmp_path):
    report, printed = report_of(
        "rpc", tmp_path, "--rounds=1", "--seconds=0.2", "--nodes=20", "--methods=ping"
    )
    measured = {(each["face"], each["method"]) for each in report["measurements"]}
    assert measured == {("send_query", "ping"), ("query", "ping"), ("ping", "ping")}
    assert all(each["answered"] > 0 and not each["failed"] for each in report["measurements"])
    assert all(each["nodes"] > 0 for each in report["measurements"])
    assert "| callback: send_query, ping " in printed


@on_linux
def test_codec_measures_each_message(tmp_path):
    report, printed = report_of("codec", tmp_path, "--seconds=0.0001")
    assert report["microseconds"]["find_node response"]["bytes"] == 289
    assert all(len(row) == 6 for row in report["microseconds"].values())
    assert "| scrape response " in printed


@on_linux
def test_table_measures_each_method(tmp_path):
    """The table that is measured is as large as that of the other benchmarks."""
    report, printed = report_of("table", tmp_path, "--seconds=0.0001")
    assert 250 < report["nodes"] < 350
    assert all(0 < cost["lowest"] <= cost["median"] for cost in report["microseconds"].values())
    assert "| responded, known " in printed


@on_linux
def test_lookup_compares_with_the_truth(tmp_path):
    sizes = ("--nodes=10", "--lookups=3", "--losses=0")
    report, printed = report_of("lookup", tmp_path, *sizes)
    assert [each["loss"] for each in report["measurements"]] == [0.0, None]
    assert all(each["complete"] and each["queries"] for each in report["measurements"][0]["lookups"])
    assert "| alone " in printed


def test_life_tells_what_became_of_a_node(tmp_path):
    report, printed = report_of("life", tmp_path, "--days=0.0834", "--nodes=50")
    assert len(report["hours"]) == 2
    assert len(report["found"]) in (3, 4)
    assert report["summary"]["over_bounds"] == []
    assert all(0.8 < hour["deep_live"] <= 1 and hour["bytes"] > 0 for hour in report["hours"])
    assert all(size <= bound for size, bound in report["containers"].values())
    assert "| live in deep buckets, worst hour " in printed


def test_quality_compares_losses_and_alphas(tmp_path):
    sizes = ("--nodes=100", "--lookups=5", "--losses=0,0.2", "--alphas=3,8", "--dead=0")
    report, printed = report_of("quality", tmp_path, *sizes)
    measured = report["measurements"]
    assert [(each["loss"], each["alpha"]) for each in measured] == [(0, 3), (0, 8), (0.2, 3), (0.2, 8)]
    assert all(each["found"] == 8 for line in measured[:2] for each in line["lookups"])
    assert all(each["messages"] >= 8 and each["seconds"] > 0 for line in measured for each in line["lookups"])
    assert " all 8 | " in printed


def test_eclipse_compares_networks_with_and_without_sybils(tmp_path):
    sizes = ("--networks=1", "--lookups=10", "--nodes=60", "--sybils=60")
    report, printed = report_of("eclipse", tmp_path, *sizes)
    peaceful = [f"no Sybils, {share}% conform" for share in (0, 30, 60, 100)]
    assert list(report["summary"]) == ["60 ids, 5 addresses", "60 ids, 20 networks", *peaceful]
    assert all(len(found) == 10 for found in report["lookups"].values())
    assert all(report["summary"][name]["honest"] == 8 for name in peaceful)
    assert "| closest honest |" in printed


def test_announcing_finds_peers_and_loses_them(tmp_path):
    report, printed = report_of("announcing", tmp_path, "--nodes=10", "--hours=8", "--swarms=1")
    counts = report["counts"]
    assert counts["searches"] > 25
    assert counts["found"] == counts["searches"]
    assert counts["searches too late"] > 3
    assert counts.get("found too late", 0) == 0
    assert "| found while announced " in printed


@on_linux
def test_memory_feeds_a_node(tmp_path):
    report, printed = report_of("memory", tmp_path, "--scale=0.001", "--parts=announces,packets,hours")
    parts = report["parts"]
    assert parts["announces"]["swarms"] == 100
    assert parts["announces"]["received"] == 200
    assert parts["packets"]["received"] == 1000
    assert parts["hours"]["received"] > 0
    assert "| packets " in printed


@on_linux
def test_flood_asks_and_looks_afterwards(tmp_path):
    report, printed = report_of("flood", tmp_path, "--seconds=1", "--nodes=60")
    floods = {each["flood"]: each for each in report["floods"]}
    assert floods.keys() == {"garbage", "queries", "spoofed", "announces"}
    assert all(each["sent"] and each["counts"]["datagrams received"] for each in floods.values())
    assert all(
        floods[name]["counts"]["dropped: too many from one address"] for name in ("garbage", "queries")
    )
    assert floods["announces"]["swarms"]
    assert not {fault for each in floods.values() for fault in each["faults"]} & {
        "has other contacts",
        "holds too many swarms",
        "holds too many peers",
        "met errors of its own",
    }
    assert "| as before " in printed


@on_linux
def test_startup_measures_each_command(tmp_path):
    report, printed = report_of("startup", tmp_path, "--runs=1")
    assert "python -m dhtnode --help" in report["milliseconds"]
    assert all(each.keys() == {"cpu", "wall"} for each in report["milliseconds"].values())
    assert all(each["cpu"]["lowest"] > 0 for each in report["milliseconds"].values())
    assert "| import dhtnode " in printed


def command_module(name):
    """Return the module that `python -m benchmarks.NAME` runs."""
    is_package = (ROOT / "benchmarks" / name).is_dir()
    return importlib.import_module(f"benchmarks.{name}.__main__" if is_package else f"benchmarks.{name}")


def test_documented_commands_exist(capsys):
    text = (ROOT / "docs" / "reference" / "benchmarks.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    python -m benchmarks\.(\w+)(.*)$", text, re.MULTILINE)
    served = {"node", "rpc", "codec", "table", "lookup", "memory", "flood", "startup"}
    known = served | {"soak", "life", "quality", "announcing", "eclipse", "measuring", "census", "idle"}
    known |= {"gateway", "peer_exchange", "tracker_lists"}
    assert {name for name, _ in commands} == known
    for name, arguments in commands:
        with pytest.raises(SystemExit):
            command_module(name).main(["--help"])
        usage = capsys.readouterr().out
        assert set(re.findall(r"--[a-z]+", arguments)) <= set(re.findall(r"--[a-z]+", usage))


def test_measuring_compares_samples_with_the_truth(tmp_path):
    sizes = ("--swarms=30", "--largest=40", "--nodes=100", "--loss=0", "--capped=0")
    report, printed = report_of("measuring", tmp_path, *sizes)
    (found,) = report["measuring"]["this"]
    assert found["samples"] == sum(each["swarms"] for each in found["classes"]) == 30
    assert found["process_cpu_seconds"] > 0 and found["start_cpu_seconds"] > 0
    assert 8 <= found["nodes_asked_most"] <= 12
    assert found["nodes_asked"] >= 8
    assert all(each["median_error"] < 0.05 for each in found["classes"])
    assert "| swarms per CPU minute" in printed


def test_census_has_a_line_for_each_figure(tmp_path):
    report, printed = report_of("census", tmp_path, "--nodes=200", "--loss=0")
    (found,) = report["censuses"]["this"]
    assert found["honest_found"] > 190
    assert found["visits"] >= found["answered"]
    assert found["database_bytes"] > 20 * found["visits"]
    assert [each["sighted"] > 200 for each in report["bare"]] == [True]
    for line in ("census / bare loop", "us of CPU for each answer", "bytes for each visit"):
        assert f"| {line} " in printed


def test_trackers_are_swept_and_each_count_is_compared(tmp_path):
    report, printed = report_of("trackers", tmp_path, "--swarms=300", "--trackers=2", "--share=0.5")
    assert 0 < report["sweep"]["rows"] < 600
    assert report["sweep"]["pairs"] == 600
    assert "rows stored, each as it was said" in printed


REFUSED = [
    ("node", "--servers=theirs", "choose from ours,libtorrent"),
    ("node", "--against=.", "is no checkout of this project"),
    ("lookup", "--losses=1", "1 is not at most 0.5"),
    ("life", "--days=0.01", "0.01 is not at least 0.04"),
    *(("quality", wrong, "") for wrong in ("--losses=1", "--alphas=0", "--dead=1", "--lookups=0")),
    *(("eclipse", wrong, "") for wrong in ("--networks=0", "--lookups=0", "--nodes=15", "--sybils=5001")),
    *(
        ("coverage", f"--{wrong}", "")
        for wrong in ("runs=0", "nodes=0", "stale=0.95", "loss=1", "processes=0")
    ),
    *(("sizes", wrong, "") for wrong in ("--runs=0", "--nodes=5", "--loss=1", "--deep=0")),
    *(("swarms", f"--{wrong}", "") for wrong in ("swarms=0", "peers=-1", "loss=1", "hostile=1", "capped=2")),
    ("large_database", "--visits=9", "9 is not at least 10"),
    ("soak", "--sources=10", "10 is not at least 100"),
]


@pytest.mark.parametrize(("name", "wrong", "reason"), REFUSED)
def test_wrong_command_line_is_status_2(name, wrong, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        command_module(name).main([wrong])
    assert re.search(f"error: .*{re.escape(reason)}", capsys.readouterr().err)


def test_processes_use_the_products_of_the_checkout_that_is_named(tmp_path):
    """The module that runs is ours, though the other checkout has one of the same name."""
    for name, text in {
        "dhtnode": "ORIGIN = 'there'",
        "crawler": "",
        "benchmarks": "raise SystemExit(9)",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "crawler" / "__main__.py").write_text(
        "import json, benchmarks, dhtnode; print(json.dumps([benchmarks.__file__, dhtnode.ORIGIN]))"
    )
    ended = run_to_end(*command_of("crawler", products=tmp_path))
    assert json.loads(ended.output) == [str(ROOT / "benchmarks" / "__init__.py"), "there"]
    assert ended.cpu > 0


def test_last_words_of_a_process_that_fails_are_told():
    with pytest.raises(BenchmarkFailed, match=r"crawler --nonsense failed with status 2: .*--nonsense"):
        run_to_end(*command_of("crawler", "--nonsense"))


class TestCoverage:
    """`python -m benchmarks.coverage`."""

    def test_compares_each_size_with_the_truth(self, tmp_path):
        options = ("--nodes=40", "--runs=2", "--first=7", "--processes=1", "--loss=0")
        report, printed = report_of("coverage", tmp_path, *options)
        assert [each["seed"] for each in report["measurements"]] == [7, 8]
        for each in report["measurements"]:
            assert 36 <= each["answered"] <= 40
            low, high = each["crawl"][1:]
            assert each["answered"] <= low <= each["crawl"][0] <= high
        for method in ("counted", "crawl", "distances"):
            assert re.search(rf"^\| {method} +\|", printed, re.MULTILINE)


class TestSizes:
    """`python -m benchmarks.sizes`."""

    def test_holds_estimates_against_the_truth(self, tmp_path):
        report, printed = report_of("sizes", tmp_path, "--runs=2", "--nodes=100,150", "--lookups=2")
        assert [each["nodes"] for each in report["measurements"]] == [100, 100, 150, 150]
        assert all(0 < each["counts"]["answered"] <= each["nodes"] for each in report["measurements"])
        for name in ("crawl", "counted", "Chapman", "distances", "lookups k=4"):
            assert printed.count(f"| {name} ") == 2

    def test_crawls_a_zone(self, tmp_path):
        report, printed = report_of("sizes", tmp_path, "--runs=2", "--nodes=400", "--zone-bits=2")
        assert all(each["counts"]["answered"] < 200 for each in report["measurements"])
        assert "| distances " not in printed


class TestSwarms:
    """`python -m benchmarks.swarms`."""

    def test_holds_estimates_against_the_truth(self, tmp_path):
        report, printed = report_of("swarms", tmp_path, "--swarms=12", "--largest=300", "--seed=3")
        measured = report["measurements"]
        assert len(measured) == 12
        assert all(each["asked"] >= 8 and not each["liars"] for each in measured)
        assert all(abs(each["estimate"]["peers"] / each["peers"] - 1) < 0.1 for each in measured)
        assert printed.count("| all ") == 4

    def test_marks_liars(self, tmp_path):
        report, printed = report_of(
            "swarms", tmp_path, "--swarms=6", "--peers=100", "--hostile=0.3", "--probe=1"
        )
        measured = report["measurements"]
        assert sum(each["liars_marked"] for each in measured) > 6
        assert all(abs(each["estimate"]["peers"] / 100 - 1) < 0.1 for each in measured)
        assert "answers-anything: " in printed


def test_changes_has_a_row_for_each_network(tmp_path):
    report, printed = report_of("changes", tmp_path, "--swarms=2", "--peers=30", "--only=1,9")
    assert [each[:2] for each in report["networks"]] == [["still", "2"], ["a fifth an hour", "2"]]
    assert all(len(each) == len(report["columns"]) for each in report["networks"])
    assert printed.count("| a fifth an hour") == 1


def test_source_overlap_has_a_row_for_each_overlap(tmp_path):
    report, printed = report_of("source_overlap", tmp_path, "--runs=2", "--only=5")
    assert [each[:2] for each in report["rows"]] == [
        ["50, whole stores", share] for share in ("0", "25", "50", "75", "100")
    ]
    assert all(len(each) == len(report["columns"]) for each in report["rows"])
    assert printed.count("| 50, whole stores") == 5


def test_peer_exchange_has_a_row_for_each_kind_of_swarm(tmp_path):
    report, printed = report_of("peer_exchange", tmp_path, "--runs=1", "--only=1,4")
    assert [each[:3] for each in report["rows"]] == [
        ["60 of degree 10", "20", "20.0"],
        ["60 of degree 10, 6 asked", "6", "6.0"],
    ]
    assert all(len(each) == len(report["columns"]) for each in report["rows"])
    assert printed.count("| 60 of degree 10") == 2


def test_tracker_lists_has_a_row_for_each_share(tmp_path):
    report, printed = report_of("tracker_lists", tmp_path, "--networks=1", "--shares=0.1,1")
    assert [each[0] for each in report["rows"]] == ["0.1", "1"]
    assert [each[3] for each in report["rows"]] == ["100.00", "100.00"]
    assert [each[5:] for each in report["rows"]] == [["5", "5", "0", "5"]] * 2
    assert printed.count("| liars marked |") == 1


class TestLargeDatabase:
    """`python -m benchmarks.large_database`."""

    def test_times_every_report_and_page(self, tmp_path):
        report, printed = report_of("large_database", tmp_path, "--visits=1000", "--samples=200")
        timed = report["seconds"].keys()
        assert {"report", *(f"report {name}" for name in REPORTS)} <= timed
        assert TABLES.keys() <= timed
        assert printed.count("| end of ") == 3
        assert report["visit"].keys() == {"bytes", "write_us", "end_us"}


def test_screen_tells_how_long_nothing_new_was_shown():
    """A character that turns round is nothing new."""
    turning = (
        "for turn in '⠋⠙⠹': print(f'\\r{turn} at work', end='', file=sys.stderr, flush=True); time.sleep(0.2)"
    )
    with Screen() as screen:
        run_to_end(sys.executable, "-c", f"import sys, time\n{turning}", screen=screen)
    assert screen.longest > 0.5
