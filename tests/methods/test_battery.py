"""Every method, end to end on tiny images: the public checks, and that no two methods are the same."""

import pytest
from safetensors.numpy import load_file

from counterpoise.methods import METHODS
from counterpoise.testing import METHOD_CHECKS, MethodBattery, stored_probabilities

NAMES = sorted(METHODS.names)


@pytest.fixture(scope="module")
def battery(tmp_path_factory):
    return MethodBattery(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("check", METHOD_CHECKS)
@pytest.mark.parametrize("method", NAMES)
def test_every_method_passes_every_check(battery, method, check):
    battery.check(method, check)


def network_of(method):
    components = {slot: component for slot, component in method.components.items() if slot != "adjust"}
    options = [(slot, c.name, sorted(c.defaults().items())) for slot, c in components.items()]
    return repr((method.head_layer, method.schedule, options))


def test_methods_that_act_in_different_slots_give_different_models(battery):
    """Methods that differ only in what they do after training share their network, and no two all predictions."""
    networks = {}
    for method in NAMES:
        tensors = sorted(load_file(battery.run(method).path / "model.safetensors").items())
        weights = b"".join(tensor.tobytes() for _, tensor in tensors)
        networks.setdefault(network_of(METHODS[method]), set()).add(weights)
    assert {len(found) for found in networks.values()} == {1}
    assert len(set.union(*networks.values())) == len(networks)
    predictions = {stored_probabilities(battery.run(method)).tobytes() for method in NAMES}
    assert len(predictions) == len(NAMES)
