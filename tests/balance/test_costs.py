"""Cost matrices from files, arrays and counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.balance.costs import costs_from_counts, read_costs
from counterpoise.balance.losses import CostModifiedSoftmax, ExpectedCostLoss
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method

COSTS = [[0, 1, 2.5], [9, 0, 4], [3, 7, 0]]
NAMES = ["cat", "dog", "owl"]

PLAIN = "0,1,2.5\n9,0,4\n3,7,0\n"
FILES = {
    "plain.csv": PLAIN,
    "spaces.CSV": "\ufeff 0, 1, 2.5\r\n 9, 0, 4 \r\n\r\n 3, 7, 0\r\n",
    "named.csv": "true \\ predicted,cat,dog,owl\ncat,0,1,2.5\ndog,9,0,4\nowl,3,7,0\n",
    "columns.csv": ",owl,cat,dog\ncat,2.5,0,1\ndog,4,9,0\nowl,0,3,7\n",
    "header.csv": "cat,dog,owl\n" + PLAIN,
    "plain.json": json.dumps(COSTS),
    "named.json": json.dumps(
        {n: dict(zip(NAMES, row, strict=True)) for n, row in zip(NAMES, COSTS, strict=True)}
    ),
    "columns.json": '{"cat": {"owl": 2.5, "dog": 1, "cat": 0}, "dog": {"cat": 9, "owl": 4, "dog": 0}, '
    '"owl": {"dog": 7, "cat": 3, "owl": 0}}',
}


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_matrix(tmp_path, name):
    path = written(tmp_path, name, FILES[name])
    for costs in (read_costs(path, 3), read_costs(str(path), 3, class_names=NAMES), read_costs(path)):
        assert costs.dtype == np.float64
        np.testing.assert_array_equal(costs, COSTS)


@pytest.mark.parametrize("name", ["named.csv", "columns.csv", "header.csv", "named.json", "columns.json"])
def test_names_are_put_into_the_order_of_the_classes(tmp_path, name):
    path = written(tmp_path, name, FILES[name])
    order = [2, 0, 1]
    costs = read_costs(path, 3, class_names=[NAMES[i] for i in order])
    np.testing.assert_array_equal(costs, np.array(COSTS)[np.ix_(order, order)])


def test_digits_can_be_names(tmp_path):
    path = written(tmp_path, "digits.csv", ",1,0\n1,0,5\n0,2,0\n")
    np.testing.assert_array_equal(read_costs(path, 2, class_names=["0", "1"]), [[0, 2], [5, 0]])


def test_an_array_is_copied():
    costs = np.array(COSTS)
    read_costs(costs, 3)[0, 1] = 100
    assert costs[0, 1] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("costs.txt", PLAIN, r"'.*costs\.txt' is of no known kind; expected a \.csv or \.json file"),
        ("a.csv", "0,1\n9,0\n", "is 2 x 2; expected 3 x 3: a row for each true class"),
        ("a.csv", "0,1,2\n9,0,1\n", "is 2 x 3; expected 3 x 3"),
        ("a.csv", "0,1,2\n9,0\n3,4,0\n", "is not a table of numbers"),
        ("a.csv", "0,1,2\n9,0,much\n3,4,0\n", "is not a table of numbers"),
        ("a.csv", "", "is 0; expected 3 x 3"),
        (
            "a.csv",
            "0,1,2\n9,0,-1\n3,4,0\n",
            r"has -1\.0 in row 2, column 3; expected costs from 0 to 1e\+12",
        ),
        ("a.csv", "0,1,2\n9,0,nan\n3,4,0\n", "has nan in row 2, column 3"),
        ("a.csv", "0,1,1e999\n9,0,1\n3,4,0\n", "has inf in row 1, column 3"),
        ("a.csv", ",cat,dog,owl\ncat,0,1,2\ndog,9,0,1\nowl,3,0\n", "not all of 3 numbers"),
        ("a.csv", ",cat,dog,owl\ncat,0,1,2\ndog,9,0,1\nowls,3,4,0\n", "each class once in both"),
        ("a.csv", ",cat,dog,dog\ncat,0,1,2\ndog,9,0,1\ndog,3,4,0\n", "each class once in both"),
        (
            "a.csv",
            ",cat,dog,bat\ncat,0,1,2\ndog,9,0,1\nbat,3,4,0\n",
            "has no class 'owl'; it names cat, dog, bat",
        ),
        ("a.json", "[[0, 1", "is not JSON"),
        ("a.json", "3", "is a single number; expected 3 x 3"),
        ("a.json", '[["a"]]', "is not a table of numbers"),
        ("a.json", "[[0, 1, NaN], [1, 0, 1], [1, 1, 0]]", "has nan in row 1, column 3"),
        ("a.json", '{"cat": {"cat": 0}, "dog": {"cat": 1, "dog": 0}}', "do not name the same classes"),
        ("a.json", '{"cat": [0, 1], "dog": [1, 0]}', "do not name the same classes"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, name, text, message):
    path = written(tmp_path, name, text)
    with pytest.raises(InputError, match=message) as caught:
        read_costs(path, 3, class_names=NAMES)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the cost matrix .*none\.csv: No such file"):
        read_costs(tmp_path / "none.csv", 3)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_costs(tmp_path / "picture.csv", 3)
    for wrong in ([[0, 1], [1]], [[0, "much"], [1, 0]], 3.0, [1, 2]):
        with pytest.raises(InputError, match="the cost matrix is"):
            read_costs(wrong, 2)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6).filter(any))
def test_from_counts_all_classes_together_cost_alike(counts):
    costs = costs_from_counts(counts)
    assert (costs.diagonal() == 0).all()
    for n, row in zip(counts, costs, strict=True):
        np.testing.assert_allclose(np.sort(row)[1:] * n, max(counts) if n else 0)


@pytest.mark.parametrize("loss", [ExpectedCostLoss, CostModifiedSoftmax])
def test_a_method_reads_its_costs_from_a_file(tmp_path, loss):
    path = written(tmp_path, "named.csv", FILES["named.csv"])
    kind = {ExpectedCostLoss: "expected-cost-loss", CostModifiedSoftmax: "cost-modified-softmax"}[loss]
    piece = get_method(f"cost-sensitive:loss={kind}:costs={path}").loss
    built = piece.build(class_counts=[5, 5, 5], class_names=["owl", "cat", "dog"], epochs=3, random_state=0)
    wanted = loss(costs=np.array(COSTS)[np.ix_([2, 0, 1], [2, 0, 1])])
    for name, buffer in wanted.named_buffers():
        np.testing.assert_array_equal(buffer, dict(built.named_buffers())[name])
    with pytest.raises(InputError, match="is 3 x 3; expected 2 x 2"):
        piece.build(class_counts=[5, 5], epochs=3)
