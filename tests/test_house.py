"""The house: a room imports only from floors below it, nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import counterpoise

ROOT = Path(counterpoise.__file__).parent
FLOORS = {
    1: ["_version", "exceptions", "files", "catalogs", "seeding"],
    2: ["config", "datasets", "networks", "balance", "evaluation"],
    3: ["methods", "explain", "runs"],
    4: ["training", "report"],
    5: ["inference"],
    6: ["studies", "estimator", "testing"],
    7: ["cli"],
    8: ["__main__"],
}
MOST_LINES = 40_874
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


def is_package(module):
    return (ROOT.parent / module.replace(".", "/") / "__init__.py").exists()


def test_a_name_of_another_room_comes_through_its_face():
    """Only a package is imported from: a room, or a public folder of one such as ``balance.losses``."""
    past = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("counterpoise."):
                other = node.module.split(".")[1]
                single_file = (ROOT / f"{other}.py").exists()
                if other not in (room_of(path), "cli") and not single_file and not is_package(node.module):
                    past.append(f"{path.relative_to(ROOT)} imports from {node.module}")
    assert past == [], "\n".join(past)


def module_imports(path):
    """The package's modules that a module imports when it is itself imported."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("counterpoise"):
            yield from (
                f"{node.module}.{a.name}"
                if (ROOT.parent / f"{node.module}.{a.name}".replace(".", "/")).with_suffix(".py").exists()
                else node.module
                for a in node.names
            )


def test_modules_do_not_import_each_other_in_a_circle():
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {
        name: {m for m in module_imports(path) if m in names and m != name} for name, path in names.items()
    }
    # A package's face imports its modules; a module that imports its own face is the only circle that this hides.
    faces = {name for name, path in names.items() if path.name == "__init__.py"}
    modules = {
        name: {m for m in found if m not in faces} for name, found in graph.items() if name not in faces
    }
    assert [
        name for name in graph if name not in faces and name.rpartition(".")[0] in graph[name] & faces
    ] == []
    TopologicalSorter(modules).prepare()  # raises CycleError


def test_files_are_short():
    lines = {p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines()) for p in ROOT.rglob("*.py")}
    kernel = lines.pop("balance/features/_ados_kernel.py")
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert sum(lines.values()) + kernel <= MOST_LINES


def test_no_untyped_dictionary_crosses_rooms():
    """Public functions that a room exports neither take nor return ``dict[str, Any]``."""
    untyped = []
    for path in ROOT.rglob("*.py"):
        exported = exports_of(path)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name in exported:
                arguments = [*node.args.args, *node.args.kwonlyargs]
                hints = [a.annotation for a in arguments if a.annotation] + (
                    [node.returns] if node.returns else []
                )
                if any("dict[str, Any]" in ast.unparse(hint) for hint in hints):
                    untyped.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert untyped == [], "\n".join(untyped)


def exports_of(path):
    """The names that the room of a module exports."""
    face = ROOT / room_of(path) / "__init__.py"
    tree = ast.parse(face.read_text()) if face.exists() else ast.Module([], [])
    return {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}


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
