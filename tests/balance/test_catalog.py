"""Every slot's catalog: exactly its components, under the names that finished runs and method labels use."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.exceptions import UnknownNameError

BASES = {
    "samplers": "ImageSampler",
    "perturb": "Perturbation",
    "losses": "ClassificationLoss",
    "objectives": "Objective",
    "steps": "GradientStep",
    "features": "FeatureOversampler",
    "heads": "HeadStage",
    "adjust": "Adjustment",
}
FROZEN = {
    "samplers": {
        "ros": "ROS",
        "rosrus": "ROSRUS",
        "rus": "RUS",
        "class-balanced-sampler": "ClassBalancedSampler",
        "pixel-smote": "PixelSMOTE",
    },
    "perturb": {
        "aos": "AOS",
        "cmo": "CMO",
        "mixup": "Mixup",
        "rand-augment": "RandAugment",
        "random-affine": "RandomAffine",
        "remix": "Remix",
        "trivial-augment": "TrivialAugment",
    },
    "losses": {
        "balanced-softmax": "BalancedSoftmax",
        "balpoe": "BalPoELoss",
        "class-balanced-loss": "ClassBalancedLoss",
        "cost-modified-softmax": "CostModifiedSoftmax",
        "cross-entropy": "CrossEntropy",
        "expected-cost-loss": "ExpectedCostLoss",
        "focal-loss": "FocalLoss",
        "ldamloss": "LDAMLoss",
        "sigmoid-cross-entropy": "SigmoidCrossEntropy",
        "vs-loss": "VSLoss",
        "weighted-cross-entropy": "WeightedCrossEntropy",
    },
    "objectives": {"dos": "DOS", "lmle": "LMLE"},
    "steps": {"sam": "SAM"},
    "features": {"ados": "ADOS", "fssmote": "FSSMOTE"},
    "heads": {
        "class-mean-head": "ClassMeanHead",
        "discriminant-head": "DiscriminantHead",
        "fine-tuned-head": "FineTunedHead",
        "nearest-mean-head": "NearestMeanHead",
        "new-head": "NewHead",
        "normalised-head": "NormalisedHead",
        "scaled-head": "ScaledHead",
    },
    "adjust": {
        "class-thresholds": "ClassThresholds",
        "expected-cost": "ExpectedCost",
        "logit-adjustment": "LogitAdjustment",
        "required-rates": "RequiredRates",
        "sigmoid-scores": "SigmoidScores",
        "temperature-scaling": "TemperatureScaling",
    },
}


def components_of(folder):
    """Return the concrete public subclasses of the slot's base that the modules of its folder define."""
    package = importlib.import_module(f"counterpoise.balance.{folder}")
    base = getattr(package, BASES[folder])
    found = set()
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == info.name:
                found |= set() if inspect.isabstract(value) or value.__name__.startswith("_") else {value}
    return found


def test_there_is_a_catalog_for_every_slot():
    assert SLOT_CATALOGS.keys() == FROZEN.keys()


@pytest.mark.parametrize("folder", FROZEN)
class TestCatalogs:
    def test_the_names_are_the_frozen_ones_in_order(self, folder):
        catalog = SLOT_CATALOGS[folder]
        assert [(entry.name, entry.attribute) for entry in catalog] == list(FROZEN[folder].items())

    def test_every_component_has_exactly_one_entry(self, folder):
        loaded = [entry.load() for entry in SLOT_CATALOGS[folder]]
        assert len(set(loaded)) == len(loaded)
        assert set(loaded) == components_of(folder)

    def test_every_entry_says_what_it_is(self, folder):
        for entry in SLOT_CATALOGS[folder]:
            assert entry.summary[0].isupper()
            assert entry.summary.endswith(".")

    def test_the_package_exports_every_component_its_base_and_its_catalog(self, folder):
        package = importlib.import_module(f"counterpoise.balance.{folder}")
        assert {*FROZEN[folder].values(), BASES[folder]} <= set(package.__all__) == set(dir(package))
        for entry in SLOT_CATALOGS[folder]:
            assert getattr(package, entry.attribute) is entry.load()
        assert all(getattr(package, name) is not None for name in package.__all__)
        assert any(getattr(package, name) is SLOT_CATALOGS[folder] for name in package.__all__)

    def test_an_unknown_name_is_refused_with_the_nearest(self, folder):
        name = next(iter(FROZEN[folder]))
        with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
            SLOT_CATALOGS[folder].get(name + "x")


def test_listing_components_loads_none_of_them():
    code = (
        "import sys; from counterpoise.balance import losses; from counterpoise.balance.catalog import SLOT_CATALOGS\n"
        "names = [n for catalog in SLOT_CATALOGS.values() for n in catalog.names]\n"
        "assert len(names) == 41, names\n"
        "print(*(m for m in ('torch', 'numpy', 'sklearn', 'imblearn', 'numba') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_functions_are_not_hidden_by_modules_of_their_name():
    from counterpoise.balance.losses import class_weights
    from counterpoise.balance.perturb import AOS, input_gradient

    assert inspect.isfunction(input_gradient)
    assert inspect.isfunction(class_weights)
    assert inspect.isclass(AOS)
