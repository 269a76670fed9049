"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "tunesmith"
SOURCES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"types", "errors"},
    {"files", "pages", "workers"},
    {"distributed"},
    {"config", "assets", "runs"},
    {"embeddings"},
    {"data", "render", "engine"},
    {"tuned"},
    {"together"},
    {"chat", "vllm"},
    {"train", "evaluate"},
    {"analyze", "export", "serve", "sweep", "synthesize"},
    {"studio", "api_ranks"},
    {"api", "demo"},
    {"cli", "__init__"},
    {"__main__"},
)
"""A room imports from floors above its own only; rooms of one floor do not know each other."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of ours, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{file}:{node.lineno}: imports are absolute here")
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "tunesmith" else [f"tunesmith.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "tunesmith":
                room = rest.partition(".")[0]
                yield node.lineno, room if room in FLOOR_OF else "__init__"


def test_every_room_has_its_floor() -> None:
    assert {room_of(file) for file in SOURCES} <= FLOOR_OF.keys()


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    own = room_of(file)
    wrong = [f"line {line}: {room}" for line, room in imported_rooms(file) if room != own and FLOOR_OF[room] >= FLOOR_OF[own]]
    assert not wrong, f"{own} may not import these"


DATA_FLOORS = (
    {"parsing", "storing"},
    {"comparing", "importers"},
    {"reading"},
    {"checks"},
    {"converting"},
    {"splitting"},
    {"preparing", "publishing"},
)
"""The rooms of `data/`, likewise; what lies beside them (`prepare`, `check`) may use them all."""


def test_the_rooms_of_data_point_one_way_too() -> None:
    floor_of = {room: number for number, rooms in enumerate(DATA_FLOORS) for room in rooms}
    data = PACKAGE / "data"
    assert {path.name for path in data.iterdir() if path.is_dir() and (path / "__init__.py").exists()} == floor_of.keys()
    wrong = []
    for file in (file for file in SOURCES if file.parent != data and data in file.parents):
        own = file.relative_to(data).parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tunesmith.data."):
                room = str(node.module).split(".")[2]
                if room != own and floor_of.get(room, len(DATA_FLOORS)) >= floor_of[own]:
                    wrong.append(f"{file.relative_to(PACKAGE)}:{node.lineno} imports {room}")
    assert not wrong


def test_the_engine_knows_no_files_of_users() -> None:
    """Its compiled kernels alone are kept in the cache."""
    files = set((PACKAGE / "engine").rglob("*.py")) - {PACKAGE / "engine" / "kernels" / "native.py"}
    known = {room for file in files for _, room in imported_rooms(file)}
    assert known <= {"engine", "config", "distributed", "errors", "types"}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= 700
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    # From the first statement on: a signature of the command line is a table, not code.
    long = {node.name: size for node in functions if (size := (node.end_lineno or 0) - node.body[0].lineno + 1) > 100}
    assert not long


HEAVY = ("torch", "transformers", "peft", "pydantic", "datasets", "pyarrow", "scipy", "matplotlib")


@pytest.mark.parametrize("module", ["tunesmith", "tunesmith.cli.main"])
def test_importing_is_light(module: str) -> None:
    if module == "tunesmith.cli.main" and not (PACKAGE / "cli" / "main.py").is_file():
        pytest.skip("there is no tunesmith.cli.main yet")
    check = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_paths_of_this_machine() -> None:
    """Whoever reads the repository has another disk."""
    forbidden = ["/" + "work/", "/" + "tmp/", "/" + "root/"]
    folders = [REPOSITORY / name for name in ("src", "docs", "examples", "bench")]
    files = [
        file for folder in folders for file in folder.rglob("*") if file.suffix in {".py", ".md", ".html", ".sh", ".txt", ".jsonl", ".toml"}
    ]
    found = [
        f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}"
        for file in [*files, *REPOSITORY.glob("*.md"), REPOSITORY / "pyproject.toml"]
        if "__pycache__" not in file.parts
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if any(path in line for path in forbidden)
    ]
    assert not found


def test_every_package_folder_has_an_init_and_every_module_a_docstring() -> None:
    for file in SOURCES:
        assert (file.parent / "__init__.py").is_file()
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} has no docstring"
