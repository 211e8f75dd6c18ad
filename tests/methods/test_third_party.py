"""Another package adds a method through its entry point, and passes the public checks."""

import os
import subprocess
import sys

import pytest

from counterpoise.exceptions import UnknownNameError
from counterpoise.testing import MethodBattery, check_method

METHOD_MODULE = """
from counterpoise.methods import Component, Method

METHOD = Method(
    "root-weights",
    "Root weights",
    "Cross entropy with the square roots of the class weights.",
    "nobody 2026",
    loss=Component("losses", "root-weighted-cross-entropy", {"power": 0.5}),
)
"""
LOSS_CATALOG = """
from counterpoise.catalogs import Entry

LOSS = Entry(name="root-weighted-cross-entropy", target="tiny_package.losses:RootWeightedCrossEntropy")
"""
LOSS_MODULE = """
from counterpoise.balance.losses import WeightedCrossEntropy


class RootWeightedCrossEntropy(WeightedCrossEntropy):
    "Class weights of another package."
"""


@pytest.fixture
def package(tmp_path):
    """A folder with an installed package, and a function that runs Python code beside it."""
    home = tmp_path / "site"
    info = home / "tiny_package-1.0.dist-info"
    (home / "tiny_package").mkdir(parents=True)
    info.mkdir()
    (home / "tiny_package" / "__init__.py").write_text("")
    (home / "tiny_package" / "methods.py").write_text(METHOD_MODULE)
    (home / "tiny_package" / "catalog.py").write_text(LOSS_CATALOG)
    (home / "tiny_package" / "losses.py").write_text(LOSS_MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[counterpoise.methods]\nroot-weights = tiny_package.methods:METHOD\n"
        "[counterpoise.losses]\nroot-weights = tiny_package.catalog:LOSS\n"
    )

    def run(code):
        path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert found.returncode == 0, found.stderr
        return found.stdout

    return run


def test_a_method_of_another_package_is_listed_and_configured_without_torch(package):
    code = (
        "import sys; from counterpoise.methods import METHODS, get_method; "
        "print(METHODS.names[-1], METHODS['root-weights'].title, 'torch' in sys.modules); "
        "m = get_method('root-weights:power=0.25'); print(m.label, m.options()['loss'], m.options()['loss.power'])"
    )
    listed, configured = package(code).splitlines()
    assert listed == "root-weights Root weights False"
    assert configured == "root-weights:power=0.25 root-weighted-cross-entropy 0.25"


@pytest.mark.slow
def test_a_method_of_another_package_passes_the_public_checks(package):
    code = "from counterpoise.testing import check_method; check_method('root-weights'); print('passed')"
    assert package(code).splitlines()[-1] == "passed"


def test_a_check_that_fails_names_method_and_reason(tmp_path, monkeypatch):
    battery = MethodBattery(tmp_path)
    run = battery.run("bl")
    (run.path / "stray.txt").write_text("")
    with pytest.raises(AssertionError, match=r"bl: the run folder holds .*stray\.txt"):
        battery.check("bl", "folder")
    monkeypatch.setitem(run.metrics.test.all, "accuracy", 0.4)
    with pytest.raises(AssertionError, match=r"bl: the accuracy is 0\.40, expected above 0\.5"):
        battery.check("bl", "learning")
    monkeypatch.setattr("counterpoise.testing.same_weights", lambda *runs: False)
    with pytest.raises(AssertionError, match="bl: the weights depend on the test labels"):
        battery.check("bl", "test_labels")


def test_an_unknown_method_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'ados'"):
        check_method("adoss")
