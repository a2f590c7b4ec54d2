"""The notebooks: stored clean, executed on the example, no complaint, pictures drawn.

With `DHTCRAWL_PICTURES=FOLDER` the pictures are kept there, to be looked at.
"""

import ast
import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from crawler.db.censuses import read_rounds
from crawler.db.database import CrawlDatabase
from crawler.demo.example import (
    ATTACK_AT,
    HOUR,
    HOURS,
    MANY,
    MEASURED,
    ROUND,
    START,
    VARIABLE,
    ZONE,
    database,
    make_example,
    truth_of,
    with_truth,
)
from crawler.synthetic.truth import TruthError
from tests.commands import run_command
from tests.databases import rows

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {
    "01_first_look": 5,
    "02_network_size": 7,
    "03_clients_and_beps": 5,
    "04_swarm_sizes": 8,
    "05_churn_and_sessions": 4,
    "06_accuracy_against_truth": 6,
    "07_sybils": 4,
    "08_two_sources": 3,
    "09_distribution_time": 4,
}
"""How many each draws; one that is not listed draws two at least."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@by_notebook
def test_is_stored_clean(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert notebook["metadata"] == METADATA
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", each) for each in ids)
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    for cell in code_of(path):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


@by_notebook
def test_defines_nothing_and_says_what_misleads(path):
    for cell in code_of(path):
        tree = ast.parse("".join(cell["source"]))
        assert not any(isinstance(node, DEFINITIONS) for node in ast.walk(tree)), cell["id"]
    prose = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "markdown"
    ]
    sections = [text for text in prose if text.startswith("## ")]
    assert sections
    assert [text.splitlines()[0] for text in sections if "*What may mislead:*" not in text] == []


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Make the example once, and the list of fonts of which matplotlib would speak."""
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True, capture_output=True)
    path = tmp_path_factory.mktemp("example") / "example.db"
    make_example(path)
    return path


def execute(path, folder, database):
    """Run a notebook from the beginning, in a folder of its own; return its cells with their outputs."""
    variables = {
        name: str(folder / name.lower())
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    }
    root = str(FOLDER.parent)
    variables |= {VARIABLE: str(database), "PYTHONPATH": root}
    command = [sys.executable, "-m", "tests.execute_notebook", path, folder / "executed.ipynb"]
    ended = subprocess.run(
        command, cwd=root, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "executed.ipynb").read_text(encoding="utf-8"))["cells"]


@by_notebook
def test_runs_and_draws(path, example, tmp_path):
    before = example.read_bytes()
    put_out = [
        (cell["id"], output)
        for cell in execute(path, tmp_path, example)
        for output in cell.get("outputs", [])
    ]
    assert [output for _, output in put_out if output["output_type"] == "error"] == []
    assert [output["text"] for _, output in put_out if output.get("name") == "stderr"] == []
    pictures = {
        cell: output["data"]["image/png"] for cell, output in put_out if "image/png" in output.get("data", {})
    }
    assert len(pictures) >= PICTURES.get(path.stem, 2)
    assert example.read_bytes() == before
    if kept := os.environ.get("DHTCRAWL_PICTURES"):
        for cell, picture in pictures.items():
            Path(kept, f"{path.stem}-{cell}.png").write_bytes(base64.b64decode(picture))


def test_distribution_time_says_what_a_database_lacks(tmp_path):
    """Without a measured swarm each cell says so, and goes on to the figure of the textbook."""
    path = tmp_path / "empty.db"
    with CrawlDatabase.open(path):
        pass
    cells = execute(FOLDER / "09_distribution_time.ipynb", tmp_path, path)
    put_out = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    texts = {
        name: "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
        for name, outputs in put_out.items()
    }
    drawn = {
        name for name, outputs in put_out.items() if any("image/png" in o.get("data", {}) for o in outputs)
    }

    assert not any(output["output_type"] == "error" for outputs in put_out.values() for output in outputs)
    assert drawn == {"figure", "misleads"}
    assert {name for name, text in texts.items() if text.startswith("No swarm is measured")} == {
        *("open", "measured", "seeds", "misleads")
    }


def test_example_is_a_day_of_crawls(example):
    """All of them finished, in order, within the day, and each kind as often as it says."""
    rounds = int(HOURS * HOUR / ROUND) + 1
    runs = rows(example, "SELECT command, status, started_at, finished_at FROM runs ORDER BY id")

    assert Counter(command for command, *_ in runs) == {"census": rounds, "scrape": 7, "sample": 1}
    assert {status for _, status, *_ in runs} == {"finished"}
    assert [started for *_, started, _ in runs] == sorted(started for *_, started, _ in runs)
    assert all(started <= finished for *_, started, finished in runs)
    assert (runs[0][2], runs[-1][2][:14]) == ("2025-06-01T00:00:00.000Z", "2025-06-02T00:")
    assert rows(example, "SELECT count(*), count(DISTINCT info_hash) FROM dht_samples") == [
        (6 * len(MEASURED) + len(MANY), len(MANY))
    ]
    assert rows(example, "SELECT count(*) > 100 FROM node_samples WHERE outcome = 'answered'") == [(1,)]
    assert {family for (family,) in rows(example, "SELECT DISTINCT family FROM size_estimates")} == {
        4,
        6,
        None,
    }


def test_example_raises_alarms_from_the_attack_on(example):
    """By the tests that are made for what was planted, in those censuses only."""
    begins = rows(example, "SELECT id FROM runs WHERE command = 'census' ORDER BY id")[ATTACK_AT][0]
    suspects = rows(
        example, "SELECT DISTINCT run_id >= ?, test FROM sybil_suspects WHERE test <> 'prefixes'", begins
    )
    assert {(1, "ids on one host"), (1, "closeness")} <= set(suspects)
    assert (0, "ids on one host") not in suspects


def test_example_shows_the_nodes_that_were_there(example):
    truth = {}
    for node_id, arrived, departed in rows(
        truth_of(example),
        "SELECT node_id, arrived, departed FROM sessions JOIN nodes USING (node_id) WHERE style = 'honest'",
    ):
        truth.setdefault(node_id, []).append((arrived, departed))
    with closing(sqlite3.connect(example)) as connection:
        rounds = read_rounds(connection)

    assert rounds.zone == str(ZONE)
    assert [round((time - START) / ROUND, 2) for time in rounds.times] == list(range(49))
    missed = seen = 0
    for number, time in enumerate(rounds.times):
        begins, ends = time - START, time - START + 60
        for node_id in truth.keys() & rounds.answered.keys():
            stays = truth[node_id]
            if number in rounds.answered[node_id]:
                seen += 1
                assert any(arrived < ends and departed > begins for arrived, departed in stays)
            else:
                missed += any(arrived < begins and departed > ends for arrived, departed in stays)
    assert seen > 2000
    assert missed < 0.06 * seen  # never returned: some 3 %


def test_database_is_the_one_named_or_the_example(example, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.db"))
    assert database() == tmp_path / "mine.db"
    monkeypatch.delenv(VARIABLE)
    assert database(folder=example.parent) == example


def test_truth_is_that_of_the_database_or_the_example(example, tmp_path):
    assert with_truth(example, tmp_path) == example
    assert with_truth(tmp_path / "live.db", example.parent) == example.parent / "example.db" == example


def test_example_replaces_nothing(tmp_path):
    (tmp_path / "a-truth.db").write_text("mine")
    with pytest.raises(TruthError, match=r"a-truth\.db: is there already"):
        make_example(tmp_path / "a.db")
    ended = run_command("dhtcrawl", "example", "--db", tmp_path / "a-truth.db")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == f"dhtcrawl: {tmp_path / 'a-truth.db'}: is there already\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a-truth.db"]
