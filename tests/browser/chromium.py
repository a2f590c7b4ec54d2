"""Serve a database and look at a page of it in headless Chromium, as HTML or as a picture.

    python -m tests.browser.chromium --db crawl.db --page /-/plots --to plots.png

Chromium is one that is installed, and fetches nothing but the page: every other host is refused.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.commands import Running

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0  # seconds; only a test that fails waits so long
SIZE = (1100, 900)  # pixels


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def browsing(db: Path) -> Iterator[str]:
    """Serve a database on a free port for the length of the block; yield the address, no slash behind."""
    with Running("dhtcrawl", "browse", "--db", db, "--port", "0") as process:
        yield process.read_line().split()[-1].rstrip("/")


def html_of(url: str) -> str:
    return _run("--dump-dom", url)


def take_picture(url: str, path: Path, size: tuple[int, int] = SIZE) -> None:
    """Write a picture of the top of a page as PNG, so many pixels wide and high."""
    width, height = size
    _run(f"--screenshot={path.absolute()}", f"--window-size={width},{height}", "--hide-scrollbars", url)


def _run(*arguments: str) -> str:
    program = find_chromium()
    assert program is not None, "no Chromium is installed"
    with TemporaryDirectory(prefix="chromium") as profile:
        command = [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--no-first-run", "--no-default-browser-check"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", type=Path, required=True, metavar="FILE")
    parser.add_argument("--page", default="/", metavar="PATH")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    parser.add_argument("--width", type=int, default=SIZE[0], metavar="PIXELS")
    parser.add_argument("--height", type=int, default=SIZE[1], metavar="PIXELS")
    options = parser.parse_args(arguments)
    with browsing(options.db) as address:
        take_picture(address + options.page, options.to, (options.width, options.height))
    return 0


if __name__ == "__main__":
    sys.exit(main())
