"""Records, and methods as users type them."""

import pickle

import pytest

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.methods import Piece, all_methods, get_method, parse_methods
from counterpoise.methods.piece import pieces_in
from counterpoise.methods.record import PLACES


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


@pytest.mark.parametrize("record", all_methods().values(), ids=lambda r: r.name)
def test_every_piece_of_a_record_exists_and_takes_its_options(record):
    for place, piece in record.places.items():
        assert piece.name in pieces_in(PLACES[place])
        assert set(piece.options) <= set(piece.defaults())


def test_one_file_holds_one_record_named_like_it():
    from counterpoise.methods import records

    for name, record in all_methods().items():
        module = __import__(f"{records.__name__}.{name.replace('-', '_')}", fromlist=["METHOD"])
        assert module.METHOD is record


def test_an_option_goes_to_the_piece_that_has_it():
    method = get_method("ados:nu_max=30:k_rule=printed")
    assert method.options()["features.nu_max"] == 30
    assert method.options()["features.k_rule"] == "printed"
    assert method.label == "ados:nu_max=30:k_rule=printed"
    assert get_method("ados").options()["features.nu_max"] == 20


def test_the_stage_one_loss_is_an_option():
    assert get_method("ados").loss.class_name == "WeightedCrossEntropy"
    assert get_method("ados:loss=cross-entropy").loss.class_name == "CrossEntropy"


def test_an_option_that_two_pieces_share_needs_its_place():
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


def test_a_piece_refuses_an_option_it_does_not_have():
    with pytest.raises(UnknownNameError):
        Piece("losses", "CrossEntropy").with_option("gamma", 2)


def test_a_place_is_filled_and_emptied_by_name():
    method = get_method("crt:head_sampler=none:schedule=one-cycle:head_loss=balanced-softmax")
    assert (method.head_sampler, method.schedule) == (None, "one-cycle")
    assert method.head_loss.class_name == "BalancedSoftmax"
    assert method.options()["schedule"] == "one-cycle"
    assert get_method("bl:sampler=ros").sampler.class_name == "ROS"


def test_new_points_in_feature_space_bring_a_new_head():
    assert get_method("ados").head.class_name == "NewHead"
    assert "head_loss" in get_method("ados").places
    assert "head_loss" not in get_method("ncm").places


def test_a_method_is_another_one_once_the_file_of_its_costs_is(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("0,1\n1,0\n")
    before = get_method(f"cost-sensitive:costs={file}").identity()
    assert get_method(f"cost-sensitive:costs={file}").identity() == before
    file.write_text("0,5\n1,0\n")
    assert get_method(f"cost-sensitive:costs={file}").identity() != before
