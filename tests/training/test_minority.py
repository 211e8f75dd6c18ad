"""Components that treat minority classes differently take the list of the split's manifest."""

from __future__ import annotations

import pytest

from counterpoise.balance.perturb import AOS
from counterpoise.config import CompareConfig
from counterpoise.datasets import load_dataset
from counterpoise.methods import get_method
from counterpoise.studies import make_grid
from counterpoise.training import execute_run


@pytest.mark.parametrize(
    ("method", "changes_all_but_largest"),
    [("aos", False), ("aos:minority=all-but-largest", True), ("counterpoise", True)],
)
def test_aos_changes_the_classes_that_were_made_rare(tmp_path, monkeypatch, method, changes_all_but_largest):
    """The digits have 174 to 183 images of a class: without the list, nearly every class would be a minority class."""
    digits, changed = load_dataset("digits"), set()
    perturb = AOS._perturb

    def watched(self, images, targets, network, loss, generator):
        result = perturb(self, images, targets, network, loss, generator)
        different = (result.images != images).flatten(1).any(dim=1)
        changed.update(targets[different].tolist())
        return result

    monkeypatch.setattr(AOS, "_perturb", watched)
    config = CompareConfig.of(
        source="digits",
        methods=method,
        imbalance="step",
        ratio=4,
        minority="2",
        epochs=1,
        repeats=1,
        backbone="tinynet",
        pretrained="none",
        device="cpu",
    )
    plan = next(p for p in make_grid(digits, config).plans() if p.method == method)
    minority = set(plan.split.splits(digits, plan.config.seed).minority)
    execute_run(plan, digits, tmp_path / "run")
    assert len(minority) == 2
    if changes_all_but_largest:
        assert minority < changed
        assert len(changed) >= 6
    else:
        assert changed == minority


def test_the_published_recipe_keeps_its_identity():
    """The recipe was chosen, and published, with all classes but the largest changed."""
    assert "minority" not in get_method("counterpoise").identity()["perturb"]
    assert get_method("aos").identity()["perturb"]["minority"] == "listed"
    assert "minority" not in get_method("aos:minority=all-but-largest").identity()["perturb"]
