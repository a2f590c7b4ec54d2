"""The words of the code and of the documents: plain English, and noun phrases for classes."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for product in ("dhtnode", "crawler") for path in (ROOT / product).rglob("*")]
OTHERS = [path for folder in ("tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*")]
TEXTS = [*CODE, *OTHERS, ROOT / "README.md", ROOT / "CHANGELOG.md"]
BANNED = re.compile(
    r"(?<![a-z])(?:whoever|whomever|whom|nobody|everybody|anew|seldom|manieth|ways_in)(?![a-z])",
    re.IGNORECASE,
)


def test_no_banned_word():
    found = {
        (path.relative_to(ROOT).as_posix(), word)
        for path in TEXTS
        if path.suffix in {".py", ".pyi", ".sql", ".md"} and path != Path(__file__)
        for word in BANNED.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_docstrings_of_classes_are_noun_phrases():
    classes = [
        (path.name, node.name, ast.get_docstring(node) or "")
        for path in CODE
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert [each for each in classes if re.match(r"(?:Hold|Be|Say|Tell|Name)\b", each[2])] == []
