"""The documents as a site: it builds without a warning, lacks no page, and fetches nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("material", reason="needs the dependency group docs")

ROOT = Path(__file__).resolve().parents[2]
ASSET = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?([^\"' >]+)")
STYLE = re.compile(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_every_document_is_a_page(site):
    wanted = {path.stem for path in (ROOT / "docs").rglob("*.md")}
    assert wanted <= {path.stem for path in site.rglob("*.html")}
    assert list(site.rglob("*.py")) == []


def test_nothing_is_fetched_from_elsewhere(site):
    """The reader of a page is known to no server but its own."""
    found = [target for page in site.rglob("*.html") for target in ASSET.findall(page.read_text("utf-8"))]
    found += [target for sheet in site.rglob("*.css") for target in STYLE.findall(sheet.read_text("utf-8"))]
    assert any(target.endswith(".js") for target in found)
    assert any(target.endswith(".css") for target in found)
    assert [target for target in found if re.match(r"(?:https?:)?//", target)] == []


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()}
    assert len(sizes) >= 3
    assert max(sizes.values()) < 150_000, sizes
