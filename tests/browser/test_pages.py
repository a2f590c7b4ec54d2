"""What a browser makes of the pages of `dhtcrawl browse`."""

import re
import struct

import pytest

from tests.browser.chromium import browsing, find_chromium, html_of, take_picture
from tests.small_database import LARGE, make_database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no chromium is installed"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "crawl.db"
    make_database(path)
    with browsing(path) as address:
        yield address


def test_front_page_is_shown(address):
    page = html_of(address + "/")
    assert "A crawl of the BitTorrent DHT" in page
    assert 'href="/-/plots"' in page


def test_history_of_a_swarm_is_drawn(address, tmp_path):
    """With six marks and three lines between them; and as a picture of the size asked for."""
    page = html_of(f"{address}/-/plots/swarm/{LARGE.hex()}")
    take_picture(f"{address}/-/plots/swarm/{LARGE.hex()}", tmp_path / "swarm.png", (900, 600))
    assert len(re.findall("<g><title>", page)) == 6
    assert len(re.findall("<polyline", page)) == 3
    assert struct.unpack(">II", (tmp_path / "swarm.png").read_bytes()[16:24]) == (900, 600)


def test_client_census_is_shown(address):
    page = html_of(f"{address}/crawl/client_census")
    assert "Client census" in page
    assert "Mean round-trip time. In milliseconds." in page
    assert re.findall(r'<td class="col-client type[^"]*">(\w+)', page) == ["LT", "UT"]
    assert re.findall(r'<td class="col-client_name[^"]*">(\w+)', page) == ["libtorrent", "uTorrent"]
