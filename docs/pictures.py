"""Make the pictures of the documents in docs/pictures, from a network with a fixed seed.

    python docs/pictures.py

Plays a network on loopback, crawls it as docs/tutorial/first_crawl.md does, draws with matplotlib, and takes
a screenshot of `dhtcrawl browse` in headless Chromium.  Takes a minute; needs Linux, the dependency
group `docs`, Datasette, and Chromium.  Counts differ by a few from one time to the next,
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
NETWORK = ("--nodes", "1000", "--seed", "7", "--stale", "0.2", "--loss", "0.02")
SWARMS = ("--swarms", "200", "--largest", "6000", "--capped", "0.7", "--announce-next", "0.5")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PAGE = "/-/plots"
WINDOW = (1000, 1120)
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
BLUE, ORANGE, GREY, LIGHT = (
    "#0072b2",
    "#d55e00",
    "#777777",
    "#7fb8d8",
)  # told apart by colour-blind readers too

SIZES = """
SELECT t.peers, m.peers, m.peers_low, coalesce(m.peers_high, 10 * m.peers), m.distinct_peers
FROM dht_samples AS m JOIN truth.swarms AS t USING (info_hash) ORDER BY t.peers
"""
METHODS = """
SELECT e.method, estimate, low, min(high, 3 * estimate), t.peers
FROM swarm_estimates AS e
    JOIN dht_samples AS m ON m.id = e.sample_id
    JOIN truth.swarms AS t USING (info_hash)
WHERE subject = 'peers' AND t.peers = (SELECT max(peers) FROM truth.swarms)
ORDER BY e.method <> 'headline', estimate DESC
"""


def main() -> None:
    """Crawl in a temporary folder, then make every picture."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        crawl(place)
        with closing(sqlite3.connect(place / "first.db")) as db, plt.rc_context(STYLE):
            db.execute("ATTACH ? AS truth", (str(place / "truth.db"),))
            draw_errors(db.execute(SIZES).fetchall())
            draw_methods(db.execute(METHODS).fetchall())
        take_screenshot(place)


def crawl(place: Path) -> None:
    """Make `first.db` and `truth.db`: a census, samples, and the size of every swarm."""
    with serving(place, "synthetic", *NETWORK, *SWARMS, "--truth", "truth.db") as way_in:
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
    command, quiet = [PROGRAM, *words], subprocess.DEVNULL
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101  # for the type checker
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def draw_errors(rows: list[tuple[float, ...]]) -> None:
    """Draw how far measured sizes are from the true ones, with intervals, against the true ones."""
    held = sum(low <= true <= high for true, _, low, high, _ in rows)
    sizes = [row[0] for row in rows]
    errors, low, high, named = ([100 * (row[each] / row[0] - 1) for row in rows] for each in (1, 2, 3, 4))
    below = [error - each for error, each in zip(errors, low, strict=True)]
    above = [each - error for error, each in zip(errors, high, strict=True)]
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(sizes, named, "x", markersize=4, color=ORANGE, label="distinct peers that nodes named")
    axes.errorbar(
        sizes,
        errors,
        yerr=[below, above],
        fmt="o",
        markersize=3,
        linewidth=1,
        color=BLUE,
        ecolor=LIGHT,
        label="dhtcrawl scrape, with 95 % interval",
    )
    axes.set(xscale="log", xlabel="true number of peers", ylabel="measured, off the truth by (%)")
    axes.set_title(
        f"{len(rows)} swarms, stores cut at 500 peers: {held} intervals hold the truth", fontsize=10
    )
    # A lower bound goes on above the picture.
    axes.set_ylim(-85, 60)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    save(figure, "swarms.png")


def draw_methods(rows: list[tuple[str, float, float, float, float]]) -> None:
    """Draw what each method makes of the largest swarm, one below the other, beside the truth."""
    methods = [row[0] for row in rows]
    middle = [row[1] for row in rows]
    below, above = [row[1] - row[2] for row in rows], [row[3] - row[1] for row in rows]
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    axes.axvline(rows[0][4], color=GREY, linewidth=1, linestyle="--", label="the truth")
    axes.errorbar(middle, methods, xerr=[below, above], fmt="o", color=BLUE, ecolor=BLUE, capsize=3)
    axes.set(xlabel="peers, with 95 % interval", xlim=(0, None))
    axes.invert_yaxis()
    axes.set_title("The largest swarm by every method; `headline` is what is reported", fontsize=10)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(frameon=False, loc="center left")
    save(figure, "methods.png")


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
