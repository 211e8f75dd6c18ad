"""The house: a room imports only from floors below it, nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import counterpoise

ROOT = Path(counterpoise.__file__).parent
FLOORS = {
    1: ["_version", "exceptions", "files", "catalogs"],
    2: ["config", "datasets", "networks", "balance", "evaluation"],
    3: ["methods", "explain", "runs"],
    4: ["training", "report"],
    5: ["inference"],
    6: ["studies", "estimator", "testing"],
    7: ["cli"],
    8: ["__main__"],
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def room_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("counterpoise"):
            rest = node.module.split(".")[1:]
            yield from [rest[0]] if rest else [alias.name for alias in node.names if alias.name in FLOOR]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("counterpoise."))


def test_every_room_imports_only_from_floors_below_it():
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = room_of(path)
        if room == "__init__":
            continue
        for other in imported_rooms(path):
            if other != room and FLOOR[other] >= FLOOR[room] > 1:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == []


def test_the_page_of_the_house_names_every_room():
    page = (ROOT.parent.parent / "docs" / "architecture.md").read_text()
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"`{room}/`" not in page] == []


def modules_after(code):
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.splitlines()[-1].split())


def test_the_command_line_imports_nothing_heavy_before_a_command_runs():
    loaded = modules_after("import counterpoise.cli.main")
    assert loaded.isdisjoint({"torch", "sklearn", "scipy", "pandas", "numpy", "plotly"})


def test_listing_methods_imports_no_torch():
    assert "torch" not in modules_after("from counterpoise.methods import all_methods; all_methods()")


def test_importing_the_package_imports_nothing_heavy():
    assert modules_after("import counterpoise").isdisjoint({"torch", "numpy", "sklearn"})
