"""What the project promises about itself: the package's metadata, its files, and how it is checked.

Rules about imports are in `test_rooms`, those about documents in `tests/docs`.
"""

import ast
import importlib.metadata
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

import dev

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("dhtnode", "crawler")

BROUGHT_BY_DATASETTE = {"markupsafe", "uvicorn"}

CHECK_COMMAND = "python3 dev.py check"

# These patterns are put together from pieces, or this file would be the first to break the rule.
HOME_FOLDERS = r"(?<![\w.~/-])/(?:work|root|(?:home|Users)/\w+)" + r"/"
MACHINE_PATH = re.compile(HOME_FOLDERS.encode())
REGISTRY_HOSTS = ("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("npmjs", "org")
REGISTRY_URL = re.compile(
    "|".join([*(rf"\b{name}\.{top}\b" for name, top in REGISTRY_HOSTS), r"://\S+/sim" + r"ple\b"]).encode()
)


def project_files():
    """List what is committed, or will be with the next `git add`: everything git does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing tells our files from others")
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    return [path for name in listed.split(b"\0") if name and (path := ROOT / os.fsdecode(name)).is_file()]


def lines_matching(pattern):
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_marked_as_typed(package):
    """Type checkers of our users read the annotations only beside this file (PEP 561)."""
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    ("script", "target"), [("dhtnode", "dhtnode.cli.main:main"), ("dhtcrawl", "crawler.cli.main:main")]
)
def test_console_script_leads_to_its_function(script, target):
    assert PROJECT["scripts"][script] == target
    assert callable(resolve_name(target))


@pytest.mark.parametrize("package", PACKAGES)
def test_package_runs_as_a_module_with_the_same_function(package):
    same = importlib.import_module(f"{package}.__main__").main
    assert same is resolve_name(f"{package}.cli.main:main")


def test_version_is_the_same_everywhere():
    version = importlib.import_module("dhtnode").__version__
    headings = re.findall(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version == PROJECT["version"]
    assert version in headings[0]


def test_minimum_python_is_the_same_everywhere():
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, dev.MINIMUM_PYTHON))


def test_dev_program_needs_only_the_standard_library():
    tree = ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"))
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names


def test_what_is_imported_is_a_dependency():
    """Each other package that a product imports, at the top of a module or inside a function, is declared."""
    declared = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    names = {re.match(r"[\w.-]+", each)[0].lower() for each in declared} | BROUGHT_BY_DATASETTE
    ours = {*PACKAGES, *sys.stdlib_module_names}
    trees = (ast.parse(path.read_bytes()) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    imported = set()
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    owners = importlib.metadata.packages_distributions()
    undeclared = {
        module
        for module in imported - ours
        if not {each.lower().replace("_", "-") for each in owners.get(module, ())} & names
    }
    assert not undeclared


def test_integration_runs_the_command_that_the_documents_name():
    script = ROOT / ".ci" / "run"
    last_line = script.read_text(encoding="utf-8").splitlines()[-1]
    assert last_line == f"exec {CHECK_COMMAND}"
    assert os.access(script, os.X_OK)
    for document in ("README.md", "CONTRIBUTING.md"):
        assert CHECK_COMMAND in (ROOT / document).read_text(encoding="utf-8")


def test_hooks_run_the_same_checks():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    names = re.findall(r"^ +name: (.*)$", hooks, re.MULTILINE)
    assert names == [*(shlex.join(step) for step in dev.CHECKS[:-1]), f"{CHECK_COMMAND} --fast"]


def test_checks_run_at_once_are_shown_in_order_and_end_with_the_first_that_fails(
    tmp_path, monkeypatch, capfdbinary
):
    wait = "while ! test -e {}/{}; do sleep 0.01; done"
    programs = {
        "waits": f"{wait.format(tmp_path, 'ready')}; echo first",
        "is_ready": f"echo second; touch {tmp_path}/ready",
        "fails": f"{wait.format(tmp_path, 'trapped')}; echo third $1; exit 3",
        "runs": f"trap 'touch {tmp_path}/stopped; exit' INT; touch {tmp_path}/trapped; "
        f"{wait.format('', 'no')}",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(dev, "PROGRAMS", tmp_path)
    monkeypatch.setattr(dev, "prepare", lambda **_: None)
    monkeypatch.setattr(dev, "CHECKS", [(name,) for name in programs])
    assert dev.check([]) == 3
    printed, told = capfdbinary.readouterr()
    assert printed == b"== waits\nfirst\n== is_ready\nsecond\n== fails\nthird\n"
    assert told == b"dev.py: fails failed with status 3\n"
    assert (tmp_path / "stopped").exists()
    monkeypatch.setattr(dev, "CHECKS", [("is_ready",), ("fails",)])
    (tmp_path / "fails").write_text("#!/bin/sh\necho third $1\n")
    assert dev.check(["-x"]) == 0
    assert capfdbinary.readouterr().out.endswith(b"== fails -x\nthird -x\n== all checks passed\n")


def test_each_file_that_is_named_is_there():
    named = re.compile(
        rb"\b(?:docs|tests|dhtnode|crawler|benchmarks|notebooks)/[\w/]+\.(?:md|py|sql|ipynb|png)\b"
    )
    absent = {
        (path.relative_to(ROOT).as_posix(), found.decode())
        for path in project_files()
        for found in named.findall(path.read_bytes())
        if not (ROOT / found.decode()).exists()
    }
    assert absent == set()


def test_no_file_names_a_path_of_one_machine():
    """What holds on the author's machine only has no place in the repository."""
    assert lines_matching(MACHINE_PATH) == []


def test_no_file_names_a_package_registry():
    """Where packages come from is for the machine to say: some have mirrors, some have nothing else."""
    assert lines_matching(REGISTRY_URL) == []


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (MACHINE_PATH, "see /{}/main/x.py", True),
        (MACHINE_PATH, '"file": "/{}/x"', True),
        (MACHINE_PATH, "a frame/{}/x, ~/{}/x, https://host/{}/x", False),
        (REGISTRY_URL, "https://{}/project/trio/", True),
        (REGISTRY_URL, "from {}, a registry", True),
        (REGISTRY_URL, "my{}", False),
    ],
)
def test_patterns_find_what_they_are_for(pattern, text, found):
    filled = text.replace("{}", "work" if pattern is MACHINE_PATH else ".".join(REGISTRY_HOSTS[0]))
    assert bool(pattern.search(filled.encode())) is found
