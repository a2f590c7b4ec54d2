"""Make the pictures of the documents in docs/pictures, from a network with a fixed seed.

    python docs/pictures.py

Plays the network of the tutorial on loopback, crawls it as the tutorial does, draws with matplotlib,
and takes a screenshot of `dhtcrawl browse` in headless Chromium.  Takes a minute; needs Linux, the
dependency group `docs`, Datasette, and Chromium.  Counts differ by a few from one time to the next,
because datagrams are lost in another order.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import matplotlib as mpl
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt

PICTURES = Path(__file__).resolve().parent / "pictures"
PROGRAM = Path(sys.executable).parent / "dhtcrawl"
NETWORK = ("--nodes", "1000", "--loss", "0.01", "--swarms", "200", "--seed", "7")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PAGE = "/-/plots"
WINDOW = (1200, 900)
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"  # told apart by colour-blind readers too

SIZES = """
SELECT t.peers, m.peers, m.peers_low, m.peers_high
FROM latest_swarms AS m JOIN truth.swarms AS t USING (info_hash) ORDER BY t.peers
"""
FOUND = """
SELECT sum(new_contacts) OVER (ORDER BY id), sum(outcome = 'answered') OVER (ORDER BY id)
FROM visits ORDER BY id
"""


def main() -> None:
    """Crawl in a temporary folder, then make every picture."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        crawl(place)
        with closing(sqlite3.connect(place / "first.db")) as db, plt.rc_context(STYLE):
            db.execute("ATTACH ? AS truth", (str(place / "truth.db"),))
            draw_sizes(db.execute(SIZES).fetchall())
            draw_census(db.execute(FOUND).fetchall())
        take_screenshot(place)


def crawl(place: Path) -> None:
    """Make `first.db` and `truth.db`: a census, samples, and the size of every swarm."""
    with serving(place, "synthetic", *NETWORK, "--truth", "truth.db") as way_in:
        options = ("--db", "first.db", "--rate", "0", "--bootstrap", way_in)
        run(place, "census", *options)
        run(place, "sample", *options[:4])
        with closing(sqlite3.connect(place / "first.db")) as db:
            hashes = [row[0] for row in db.execute("SELECT info_hash FROM swarms ORDER BY info_hash")]
        (place / "swarms.txt").write_text("\n".join(hashes) + "\n", encoding="utf-8")
        run(place, "scrape", *options, "--from", "swarms.txt")


def run(place: Path, *words: str) -> None:
    """Run one command of the crawler to its end; raises `CalledProcessError`."""
    subprocess.run([PROGRAM, *words], cwd=place, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own


@contextmanager
def serving(place: Path, *words: str) -> Iterator[str]:
    """Run a command that serves for the length of the block; the value is the first line it prints."""
    with subprocess.Popen([PROGRAM, *words], cwd=place, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101  # for the type checker
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def draw_sizes(rows: list[tuple[float, ...]]) -> None:
    """Draw measured against true sizes, with intervals, and the error below."""
    true, measured, low, high = zip(*rows, strict=True)
    below = [m - each for m, each in zip(measured, low, strict=True)]
    above = [each - m for m, each in zip(measured, high, strict=True)]
    held = sum(bottom <= t <= top for t, _, bottom, top in rows)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.plot([1, max(true)], [1, max(true)], color=GREY, linewidth=1, label="measured = true")
    axes.errorbar(
        true,
        measured,
        yerr=[below, above],
        fmt="o",
        markersize=3,
        linewidth=1,
        color=BLUE,
        ecolor=ORANGE,
        label="measured, with 95 % interval",
    )
    axes.set(xscale="log", yscale="log", xlabel="true number of peers", ylabel="measured number of peers")
    axes.set_title(f"{len(rows)} swarms of a synthetic network: {held} intervals hold the truth", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, "swarms.png")


def draw_census(rows: list[tuple[int, int]]) -> None:
    """Draw how many nodes were found, against the visits that a census has made."""
    sighted, answered = zip(*rows, strict=True)
    visits = range(1, len(rows) + 1)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.plot(visits, sighted, color=ORANGE, label="named by those visited, new")
    axes.plot(visits, answered, color=BLUE, label="answered")
    axes.axhline(1000, color=GREY, linewidth=1, linestyle="--", label="nodes that are there")
    axes.set(xlabel="visits", ylabel="nodes", xlim=(0, len(rows)), ylim=(0, None))
    axes.set_title("A census of a synthetic network of 1000 nodes, 1 % of datagrams lost", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    save(figure, "census.png")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure, without the date that would make each writing another file."""
    figure.savefig(PICTURES / name, dpi=110, metadata={"Software": None})
    plt.close(figure)


def take_screenshot(place: Path) -> None:
    """Show the plots of `dhtcrawl browse` in Chromium, in few colours: a tenth of the size."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit("pictures.py: no Chromium here for the screenshot")
    with serving(place, "browse", "--db", "first.db", "--port", "0") as line:
        address = line.rpartition(" ")[2].rstrip("/") + PAGE
        with urllib.request.urlopen(address, timeout=60):  # noqa: S310  # our own server
            pass
        size = ",".join(map(str, WINDOW))
        shot = place / "browse.png"
        command = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={size}"]
        command += ["--virtual-time-budget=5000", f"--screenshot={shot}", f"--user-data-dir={place}/profile"]
        subprocess.run([*command, address], check=True, capture_output=True, timeout=120)  # noqa: S603
    Image.open(shot).convert("RGB").quantize(64).save(PICTURES / "browse.png", optimize=True)


if __name__ == "__main__":
    main()
