"""The shape of the house, checked: who may import whom, and that our package names are ours."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("addons", "pcap_tools", "classifier", "certs")
NEIGHBOURS = {"addons": {"certs"}}  # there is no live door without certificates
# The composition root: the only modules of the core that know the rooms. `api` is to notebooks what `cli` is to a
# terminal; `feeding` is what both do with a file.
ROOT_MODULES = (
    *("mutewatch/__main__.py", "mutewatch/cli.py", "mutewatch/compose.py", "mutewatch/commands/"),
    *("mutewatch/api.py", "mutewatch/feeding.py"),
)
NOT_IN_THE_CORE = ("mitmproxy", "scapy", "pyshark", "torch", "socket", "asyncio")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level packages that a module imports when it runs (not under TYPE_CHECKING)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_the_core_and_no_room_but_its_neighbour(package: str) -> None:
    others = set(ROOMS) - {package} - NEIGHBOURS.get(package, set())
    assert {(path.name, name) for path in modules(package) for name in imported(path) if name in others} == set()


def test_the_core_knows_no_room_and_touches_no_wire() -> None:
    found = set()
    for path in modules("mutewatch"):
        name = str(path.relative_to(ROOT))
        forbidden = NOT_IN_THE_CORE if name.startswith(ROOT_MODULES) else (*ROOMS, *NOT_IN_THE_CORE)
        found |= {(name, module) for module in imported(path) if module in forbidden}
    assert found == set()


def test_only_the_composition_root_reads_a_clock_in_the_core() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in modules("mutewatch")
        if not str(path.relative_to(ROOT)).startswith(ROOT_MODULES)
        and any(word in path.read_text(encoding="utf-8") for word in ("datetime.now", "time.time", "monotonic("))
    }
    assert readers == set()


def test_no_module_in_addons_has_a_librarys_name() -> None:
    names = {path.stem for path in modules("addons")} - {"__init__"}
    assert names & (sys.stdlib_module_names | set(packages_distributions())) == set()


def test_no_other_distribution_owns_one_of_our_names() -> None:
    owners = packages_distributions()
    assert {name: owners[name] for name in ("mutewatch", *ROOMS) if set(owners.get(name, ())) - {"mutewatch"}} == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["scan"],
        ["serve"],
        ["live"],
        ["canary"],
        ["export"],
        ["discover"],
        ["signatures", "list"],
        ["classifier", "train"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("mitmproxy", "torch", "numpy", "sqlalchemy", "pyshark", "scapy", "cryptography", "starlette")
    code = (
        "import sys; sys.argv = ['mutewatch', *sys.argv[1:]]\n"
        "from mutewatch.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print('LOADED', [name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *arguments, "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert told.splitlines()[-1] == "LOADED []"


def test_no_module_is_longer_than_the_house_allows() -> None:
    paths = [path for package in ("mutewatch", *ROOMS) for path in modules(package)]
    long = {str(p.relative_to(ROOT)): n for p in paths if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}
