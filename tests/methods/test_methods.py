"""Records, and methods as users type them."""

import hashlib
import json
import pickle

import numpy as np
import pytest

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.methods import (
    METHODS,
    SLOTS,
    Component,
    all_methods,
    get_method,
    parse_methods,
)

#: Methods that no published run has.
YOUNGER = {
    *("vs", "balpoe", "cmo", "los", "lda", "cosine", "drw-sam", "fine-tuned"),
    "counterpoise-pretrained",
    "bl-equal-steps",
}

#: Methods whose defaults changed since, with the options that give the earlier ones.
EARLIER = {"aos": "aos:minority=all-but-largest", "lmle": "lmle:neighbors=1"}


def test_the_thesis_names_and_the_modern_ones_are_there():
    names = set(all_methods())
    assert names >= {
        "bl",
        "bl-cw",
        "ros",
        "rus",
        "bl-ros-rus",
        "fs-smote",
        "ados",
        "balanced-softmax",
        "logit-adjusted",
    }


@pytest.mark.parametrize("record", METHODS, ids=lambda r: r.name)
def test_every_component_of_a_record_exists_and_takes_its_options(record):
    for slot, component in record.components.items():
        assert component.name in SLOT_CATALOGS[SLOTS[slot]]
        assert set(component.options) <= set(component.defaults())


def test_methods_are_listed_by_family_baselines_first():
    assert METHODS.names[:3] == ("bl", "bl-equal-steps", "bl-cw")
    assert METHODS.names[-1] == "counterpoise"
    assert len(METHODS) == 29 + len(YOUNGER)
    families = [
        "bl-cw",
        "focal",
        "sigmoid",
        "ros",
        "aos",
        "fs-smote",
        "ados",
        "balanced-softmax",
        "crt",
        "ncm",
    ]
    assert sorted(families, key=METHODS.names.index) == families


def test_options_and_identities_are_those_that_finished_runs_are_hashed_by():
    # Defaults that changed since have hashes of their own.
    earlier = {name: get_method(spec) for name, spec in EARLIER.items()}
    records = {m.name: earlier.get(m.name, m) for m in METHODS if m.name not in YOUNGER}
    found = {name: [m.settings(), m.identity()] for name, m in records.items()}
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    assert digest == "f57c58c585f3805f55684d1a01543bd1875dbd10b927342ac7d737b96caf44ea"


def test_an_option_that_was_added_later_counts_where_it_changes_something():
    old, new = get_method("logit-adjusted"), get_method("logit-adjusted:power=0.5")
    assert "power" not in old.identity()["adjust"]
    assert new.identity() == old.identity() | {"adjust": old.identity()["adjust"] | {"power": 0.5}}
    assert new.options() == old.options() | {"adjust.power": 0.5}
    assert get_method("logit-adjusted:power=1").identity() == old.identity()


def test_an_option_goes_to_the_component_that_has_it():
    method = get_method("ados:nu_max=30:k_rule=printed")
    assert method.options()["features.nu_max"] == 30
    assert method.options()["features.k_rule"] == "printed"
    assert method.label == "ados:nu_max=30:k_rule=printed"
    assert get_method("ados").options()["features.nu_max"] == 20


def test_the_stage_one_loss_is_an_option():
    assert get_method("ados").loss.name == "weighted-cross-entropy"
    assert get_method("ados:loss=cross-entropy").loss.name == "cross-entropy"


def test_an_option_that_two_components_share_needs_its_slot():
    with pytest.raises(
        InputError, match=r"ambiguous: write loss.label_smoothing or head_loss.label_smoothing"
    ):
        get_method("ados:loss=cross-entropy:label_smoothing=0.1")
    method = get_method("ados:head_loss.label_smoothing=0.1")
    assert method.options()["head_loss.label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("adso", "unknown method 'adso'; did you mean 'ados'"),
        ("ados:nu_maxx=3", "unknown option of ados 'nu_maxx'; did you mean 'nu_max'"),
        ("ados:nu_max", "'nu_max' is not of the form option=value"),
        ("ados:loss=weighted-cross-entrpy", "did you mean 'weighted-cross-entropy'"),
        ("bl:head_loss=cross-entropy", "trains no separate head"),
        ("ncm:head_sampler=ros", "trains no separate head"),
        ("bl:schedule=cosin", "unknown schedule 'cosin'; did you mean 'cosine'"),
        ("bl:loss=none", "needs a loss"),
        ("bl:head=cross-entropy", "unknown head 'cross-entropy'"),
    ],
)
def test_a_wrong_spec_is_one_clear_line(spec, message):
    with pytest.raises(InputError, match=message):
        get_method(spec)


def test_a_list_is_read_in_order_and_names_no_method_twice():
    assert [m.name for m in parse_methods("bl, ados")] == ["bl", "ados"]
    with pytest.raises(InputError, match="named twice"):
        parse_methods("bl,ados,bl")
    with pytest.raises(InputError, match="no method given"):
        parse_methods(" , ")


def test_records_survive_pickling():
    method = get_method("ados:nu_max=30")
    assert pickle.loads(pickle.dumps(method)).options() == method.options()


def test_a_component_refuses_an_option_it_does_not_have():
    with pytest.raises(UnknownNameError):
        Component("losses", "cross-entropy").with_option("gamma", 2)


def test_a_slot_is_filled_and_emptied_by_name():
    method = get_method("crt:head_sampler=none:schedule=one-cycle:head_loss=balanced-softmax")
    assert (method.head_sampler, method.schedule) == (None, "one-cycle")
    assert method.head_loss.name == "balanced-softmax"
    assert method.options()["schedule"] == "one-cycle"
    assert get_method("bl:sampler=ros").sampler.name == "ros"


def test_new_points_in_feature_space_bring_a_new_head():
    assert get_method("ados").head.name == "new-head"
    assert "head_loss" in get_method("ados").components
    assert "head_loss" not in get_method("ncm").components


def test_a_method_is_another_one_once_the_file_of_its_costs_is(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("0,1\n1,0\n")
    before = get_method(f"cost-sensitive:costs={file}").identity()
    assert get_method(f"cost-sensitive:costs={file}").identity() == before
    file.write_text("0,5\n1,0\n")
    assert get_method(f"cost-sensitive:costs={file}").identity() != before


def test_an_option_whose_value_is_none_can_be_typed():
    labels = np.repeat([0, 1], [6, 3])
    ados = get_method("ados:reweight=none").features.build(random_state=0)
    ados.fit_resample(np.arange(18.0, dtype=np.float32).reshape(9, 2), labels)
    np.testing.assert_array_equal(ados.sample_weight_, np.ones(12))
