"""Options of the training loop, each against a loop or a formula written out, and resumed to the same bits."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from counterpoise.balance.losses import CrossEntropy
from counterpoise.config import (
    EnhanceConfig,
    TrainConfig,
    TrainOptions,
    TransferConfig,
    make_config,
    rate_factor,
)
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method
from counterpoise.networks import create_network, freeze
from counterpoise.runs import network_payload
from counterpoise.training import (
    LogitLoss,
    ProgressCallback,
    Stage,
    cpu_threads,
    fit_method,
    image_batches,
    make_fabric,
    predict_logits,
    seed_for,
    softmax,
    train_stage,
)
from counterpoise.training.optimizer import stage_optimizer

NEUTRAL = {
    "ema": None,
    "layer_decay": None,
    "clip": None,
    "accumulate": 1,
    "batch_norm": "train",
    "select": "last",
    "patience": None,
    "max_time": None,
}
CHANGED = {
    "ema": 0.9,
    "layer_decay": 0.5,
    "clip": 0.01,
    "accumulate": 2,
    "batch_norm": "keep",
    "select": "best",
    "patience": 1,
    "max_time": 3600.0,
}


def split_of(images, labels):
    return ImageSplit(images, labels, tuple(map(str, range(len(labels)))))


@pytest.fixture(scope="module")
def train(make_images):
    return split_of(*make_images([40, 30, 6]))


@pytest.fixture(scope="module")
def validation(make_images):
    return split_of(*make_images([9, 9, 9], seed=1))


@pytest.fixture(scope="module")
def misleading(validation):
    """Validation images of the wrong classes: the better the training, the higher their loss."""
    return split_of(validation.images, (validation.labels + 1) % 3)


def new_network(name="tinynet", size=(8, 8), channels=1):
    return create_network(
        name, num_classes=3, in_channels=channels, image_size=size, mean=[0.3], std=[0.2], seed=0
    )


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(a, b):
    return all(torch.equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())


def fit(train, spec="bl", *, network=None, **settings):
    options = {
        key: settings.pop(key)
        for key in ("checkpoints", "progress", "identity", "validation")
        if key in settings
    }
    network = network or new_network()
    config = make_config(**{"epochs": 2, "batch_size": 16, "device": "cpu"} | settings)
    return fit_method(get_method(spec), network, train, config=config, **options)


def batches_of(train, epoch, size=16):
    images, labels = torch.from_numpy(np.asarray(train.images)).float() / 255, torch.from_numpy(train.labels)
    order = torch.from_numpy(np.random.default_rng([seed_for(0, "order"), epoch]).permutation(len(labels)))
    return [(images[rows], labels[rows]) for rows in order.split(size)]


# --- settings -----------------------------------------------------------------------------------------------


def test_a_neutral_option_is_not_part_of_an_identity_and_any_other_value_is():
    plain = network_payload(TrainConfig())
    assert set(plain).isdisjoint(NEUTRAL)
    assert (
        network_payload(TrainConfig(**NEUTRAL)) == plain == network_payload(TrainConfig(ema=0, layer_decay=1))
    )
    for name, value in CHANGED.items():
        assert network_payload(TrainConfig(**{name: value})) == plain | {name: value}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ema": 1}, "`ema` 1: expected less than 1"),
        ({"ema": -0.1}, "`ema` -0.1: expected at least 0"),
        ({"layer_decay": 0}, "`layer_decay` 0: expected more than 0"),
        ({"layer_decay": 1.5}, "`layer_decay` 1.5: expected at most 1"),
        ({"clip": 0}, "`clip` 0: expected more than 0"),
        ({"accumulate": 0}, "`accumulate` 0: expected at least 1"),
        ({"batch_norm": "eval"}, "`batch_norm` eval: expected 'train' or 'keep'"),
        ({"select": "first"}, "`select` first: expected 'last' or 'best'"),
        ({"patience": 0}, "`patience` 0: expected at least 1"),
        (
            {"max_time": "soon"},
            "`max_time`: found 'soon', expected a time above 0, such as 90s, 10m or 1h30m",
        ),
        ({"max_time": "xm"}, "`max_time`: found 'xm', expected a time above 0"),
        ({"max_time": -3}, "`max_time`: found -3, expected a time above 0"),
        ({"steps": 3}, "`steps` has no effect here"),
    ],
)
def test_nonsense_is_refused(settings, message):
    with pytest.raises(InputError) as error:
        make_config(**settings)
    assert message in str(error.value)


def test_a_time_is_seconds_or_text():
    times = [make_config(max_time=text).max_time for text in ("90s", "10m", "1.5h", "7", 2.5)]
    assert times == [90, 600, 5400, 7, 2.5]


def test_epochs_left_open_are_at_least_5_and_500_steps():
    """Of 128 images in batches of 32: 4 steps per epoch."""
    assert TrainOptions(batch_size=32).resolved(images=128).epochs == 125
    assert TrainOptions(batch_size=32, steps=30).resolved(images=128).epochs == 8
    assert TrainOptions(batch_size=32, accumulate=4).resolved(images=128).epochs == 500
    assert TrainOptions().resolved(images=100_000).epochs == 5
    assert TrainOptions(epochs=2).resolved(images=10).epochs == 2
    assert TrainOptions().resolved().epochs == 5
    with pytest.raises(InputError, match="leave out `steps` or `epochs`"):
        TrainOptions.of(steps=3, epochs=2)


def test_the_studies_of_the_papers_keep_their_epochs_and_refuse_the_options():
    assert TransferConfig().train.resolved(images=10).epochs == 10
    assert EnhanceConfig().train.resolved(images=10).epochs == 5
    for model in (TransferConfig, EnhanceConfig):
        for name, value in CHANGED.items():
            with pytest.raises(InputError, match=f"`{name}` has no effect here"):
                model.of(train={name: value})


def test_epochs_are_compared_on_validation_images_only(train):
    for settings in ({"select": "best"}, {"patience": 2}):
        with pytest.raises(InputError, match="there are none; set `validation_fraction` above 0"):
            fit(train, **settings)


def test_warm_up_cosine_rises_over_5_percent_and_falls_to_0():
    factors = [rate_factor("warmup-cosine", p) for p in (0, 0.025, 0.05, 0.525, 1)]
    assert factors == pytest.approx([0.04, 0.52, 1, 0.5, 0])


# --- resuming -----------------------------------------------------------------------------------------------


ALL = CHANGED | {"patience": 2}


@pytest.mark.parametrize(
    ("spec", "stage", "settings"),
    [
        *(("bl", "train", {name: value}) for name, value in CHANGED.items()),
        *(
            (spec, stage, ALL)
            for spec, stage in (("bl", "train"), ("ados", "representation"), ("ados", "head"))
        ),
    ],
)
def test_an_interrupted_training_resumes_to_the_same_bits(
    train, validation, misleading, tmp_path, spec, stage, settings
):
    class Killed(Exception):
        pass

    class KillAt(ProgressCallback):
        def update(self, step):
            if (step.stage, step.epoch) == (stage, 2):
                raise Killed

    # Time moves the learning rate of a schedule; an hour is enough otherwise.
    schedule = "constant" if "max_time" in settings else "warmup-cosine"
    curve = misleading if settings == {"select": "best"} else validation
    settings = {"epochs": 4, "schedule": schedule, "validation": curve} | settings
    whole = fit(train, spec, **settings)
    with pytest.raises(Killed):
        fit(train, spec, checkpoints=tmp_path, progress=KillAt(), **settings)
    resumed = fit(train, spec, checkpoints=tmp_path, **settings)
    assert same(resumed.network, whole.network)
    times = ("seconds", "images_per_second")
    assert [{k: v for k, v in e.items() if k not in times} for e in resumed.history] == [
        {k: v for k, v in e.items() if k not in times} for e in whole.history
    ]


# --- effects ------------------------------------------------------------------------------------------------


def test_the_moving_average_is_that_of_every_step_and_is_evaluated(train, validation):
    network = new_network("tinynet").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    average, step = state_of(network), 0
    with cpu_threads(1):  # Adam turns the last bits of a gradient near zero into whole steps
        for epoch in range(2):
            for images, labels in batches_of(train, epoch):
                cross_entropy(network(images), labels).backward()
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                decay = min(0.8, 1 - step ** (-2 / 3))
                for name, now in network.state_dict().items():
                    if now.is_floating_point():
                        average[name] = decay * average[name] + (1 - decay) * now
                    else:
                        average[name] = now.clone()
    fitted = fit(train, network=new_network("tinynet"), ema=0.8, validation=validation)
    found = fitted.network.state_dict()
    for name, expected in average.items():
        assert torch.allclose(found[name].double(), expected.double(), rtol=1e-4, atol=1e-5), name
    assert not torch.allclose(found["classifier.weight"], network.classifier.weight, atol=1e-4)
    logits = predict_logits(fitted.network, validation, device=torch.device("cpu"))
    loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(validation.labels))
    assert fitted.history[-1]["validation_loss"] == pytest.approx(float(loss), abs=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_layers_have_the_rates_that_timm_gives_them(name):
    import timm
    from timm.optim import param_groups_layer_decay

    size = {"img_size": 32} if name.startswith("vit") else {}
    whole = timm.create_model(name, num_classes=3, **size)
    names = {id(parameter): key for key, parameter in whole.named_parameters()}
    groups = param_groups_layer_decay(whole, layer_decay=0.7)
    expected = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    network = create_network(name, num_classes=3, in_channels=3, image_size=(32, 32), seed=0)
    optimizer = stage_optimizer(network, make_config(layer_decay=0.7, lr=0.1))
    keys = {id(p): key.removeprefix("backbone.") for key, p in network.named_parameters()}
    found = {keys[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    head = whole.pretrained_cfg["classifier"]
    found = {key.replace("classifier", head): rate / 0.1 for key, rate in found.items()}
    assert found == pytest.approx(expected)


def test_the_schedule_multiplies_the_rate_of_each_layer(train):
    """Two steps of plain SGD with the rates 0.04 and 1 times 0.1 and the layer's own factor."""
    network = new_network()
    start = state_of(network)
    fit(train, network=network, optimizer="sgd", lr=0.1, batch_size=76, epochs=1, layer_decay=0.5)
    plain = new_network()
    fit(train, network=plain, optimizer="sgd", lr=0.1, batch_size=76, epochs=1)
    for name, scale in (("backbone.0.0", 0.125), ("top.1.0", 0.5), ("classifier", 1.0)):
        moved = [n.state_dict()[f"{name}.weight"] - start[f"{name}.weight"] for n in (network, plain)]
        assert torch.allclose(moved[0], scale * moved[1], atol=1e-7), name
    optimizer = stage_optimizer(plain, make_config(layer_decay=0.5, lr=0.1))
    assert [group["lr_scale"] for group in optimizer.param_groups] == [0.125, 0.25, 0.5, 1.0]


def test_frozen_layers_are_in_no_group():
    network = new_network()
    freeze(network, 2)
    optimizer = stage_optimizer(network, make_config(layer_decay=0.5))
    assert [group["lr_scale"] for group in optimizer.param_groups] == [0.5, 1.0]


def test_a_clipped_gradient_has_the_norm_asked_for(train):
    network = new_network()
    start = state_of(network)
    fit(train, network=network, optimizer="sgd", lr=0.5, clip=0.01, batch_size=76, epochs=1)
    moved = torch.cat([(p.detach() - start[name]).flatten() for name, p in network.named_parameters()])
    assert float(moved.norm()) == pytest.approx(0.5 * 0.01, rel=1e-4)


def test_accumulated_batches_are_one_large_batch(train):
    """76 images: batches of 32, 32 and 12, or of 8 in groups of four, the last of 8 and 4."""
    settings = {"optimizer": "sgd", "lr": 0.1, "batch_norm": "keep"}
    large = fit(train, batch_size=32, **settings)
    small = fit(train, batch_size=8, accumulate=4, **settings)
    for a, b in zip(large.network.parameters(), small.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert [e["loss"] for e in small.history] == pytest.approx([e["loss"] for e in large.history], abs=1e-6)


def test_batch_norm_keeps_its_statistics_and_trains_its_scale(train):
    kept, trained = new_network("tinynet"), new_network("tinynet")
    start = state_of(kept)
    fit(train, "dos:objective.defer_epochs=0", network=kept, batch_norm="keep")
    fit(train, "dos:objective.defer_epochs=0", network=trained)
    statistics = [name for name in start if "running" in name or "num_batches" in name]
    assert all(torch.equal(kept.state_dict()[name], start[name]) for name in statistics)
    assert not any(torch.equal(trained.state_dict()[name], start[name]) for name in statistics)
    norms = [name for name, module in kept.named_modules() if "BatchNorm" in type(module).__name__]
    assert not any(torch.equal(kept.state_dict()[f"{n}.weight"], start[f"{n}.weight"]) for n in norms)


def balanced_loss(network, split):
    logits = predict_logits(network, split, device=torch.device("cpu"))
    losses = -np.log(softmax(logits)[np.arange(len(split)), split.labels])
    return np.mean([losses[split.labels == c].mean() for c in np.unique(split.labels)])


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_best_epoch_has_the_least_balanced_loss(train, misleading, ema):
    fitted = fit(train, validation=misleading, select="best", epochs=4, lr=5e-3, ema=ema)
    losses = [entry["validation_balanced_loss"] for entry in fitted.history]
    best = int(np.argmin(losses))
    assert best < 3
    assert balanced_loss(fitted.network, misleading) == pytest.approx(losses[best], abs=1e-5)
    assert [entry.get("selected", False) for entry in fitted.history] == [i == best for i in range(4)]
    last = fit(train, validation=misleading, epochs=4, lr=5e-3, ema=ema)
    assert balanced_loss(last.network, misleading) == pytest.approx(losses[-1], abs=1e-5)
    assert "selected" not in last.history[best]


def test_epochs_are_compared_as_the_method_decides(train, validation):
    """With an adjustment by class shares the criterion is the loss of the adjusted logits."""
    plain = fit(train, "logit-adjusted", validation=validation)
    compared = fit(train, "logit-adjusted", validation=validation, select="best")
    adjusted = compared.logits(validation)
    losses = -np.log(softmax(adjusted)[np.arange(len(validation)), validation.labels])
    best = next(entry for entry in compared.history if entry.get("selected"))
    assert best["validation_loss"] == pytest.approx(losses.mean(), abs=1e-5)
    assert plain.history[-1]["validation_loss"] != pytest.approx(losses.mean(), abs=1e-3)


def test_a_network_selected_under_another_adjustment_is_not_shared(train, validation, tmp_path):
    for spec in ("bl", "logit-adjusted"):
        fit(train, spec, checkpoints=tmp_path, validation=validation, select="best")
    assert len(list(tmp_path.glob("network-*.safetensors"))) == 2
    for spec in ("bl", "logit-adjusted"):
        fit(train, spec, checkpoints=tmp_path / "last", validation=validation)
    assert len(list((tmp_path / "last").glob("network-*.safetensors"))) == 1


def test_patience_counts_epochs_since_the_best(train, misleading):
    history = fit(train, validation=misleading, epochs=9, lr=5e-3).history
    losses = [entry["validation_balanced_loss"] for entry in history]
    best = next(i for i in range(7) if losses[i] < min(losses[i + 1 : i + 3]))
    stopped = fit(train, validation=misleading, epochs=9, lr=5e-3, patience=2).history
    assert len(stopped) == best + 3 < 9


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = SimpleNamespace(seconds=100.0)
    fake = SimpleNamespace(monotonic=lambda: now.seconds, perf_counter=__import__("time").perf_counter)
    monkeypatch.setattr("counterpoise.training.loop.time", fake)
    return now


class TimedLoss(LogitLoss):
    """Loss of batches that take a second each, with the rates that its optimizer had."""

    def __call__(self, module, batch):
        self.clock.seconds += 1.0
        return super().__call__(module, batch)


def timed_stage(train, clock, **settings):
    config = make_config(**{"epochs": 4, "batch_size": 4, "device": "cpu", "schedule": "cosine"} | settings)
    rows = np.arange(len(train))
    batches = image_batches(train, lambda epoch: rows, batch_size=4, device=torch.device("cpu"))
    loss = TimedLoss(CrossEntropy())
    loss.clock = clock
    module = new_network()
    return Stage("train", module, loss, batches, config.epochs), config


def test_a_stage_ends_after_the_step_in_which_its_time_is_over(train, clock, monkeypatch):
    """19 batches an epoch, 76 in all, at a second each; 30.5 s suffice for 31 steps, in the second epoch."""
    stage, config = timed_stage(train, clock, max_time=30.5)
    rates = []
    monkeypatch.setattr(
        "counterpoise.training.loop.rate_factor",
        lambda schedule, progress: rates.append(progress) or rate_factor(schedule, progress),
    )
    history = train_stage(stage, config, make_fabric(config), ProgressCallback())
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert rates == pytest.approx([second / 30.5 for second in range(31)])


def test_ample_time_leaves_the_schedule_to_the_steps(train, clock, monkeypatch):
    stage, config = timed_stage(train, clock, max_time=1000)
    rates = []
    monkeypatch.setattr(
        "counterpoise.training.loop.rate_factor", lambda schedule, progress: rates.append(progress) or 1.0
    )
    train_stage(stage, config, make_fabric(config), ProgressCallback())
    assert rates == pytest.approx([step / 75 for step in range(76)])


def test_time_counts_over_interruptions(train, clock, tmp_path):
    """19 s of the first call and 11 of 12 of the second: with 30 s it ends as it would have."""
    from dataclasses import replace

    class Killed(Exception):
        pass

    class KillInSecond(ProgressCallback):
        def update(self, step):
            if step.epoch == 2:
                raise Killed

    stage, config = timed_stage(train, clock, max_time=30)
    stage = replace(stage, checkpoint=tmp_path / "stage.safetensors")
    with pytest.raises(Killed):
        train_stage(stage, config, make_fabric(config), KillInSecond())
    again, _ = timed_stage(train, clock, max_time=30)
    before = clock.seconds
    history = train_stage(
        replace(again, checkpoint=stage.checkpoint), config, make_fabric(config), ProgressCallback()
    )
    assert clock.seconds - before == 11
    assert len(history) == 2
    finished, _ = timed_stage(train, clock, max_time=30)
    finished = replace(finished, checkpoint=stage.checkpoint)
    assert train_stage(finished, config, make_fabric(config), ProgressCallback()) == history


def test_a_checkpoint_holds_the_average_and_the_best(train, validation, tmp_path):
    fit(train, checkpoints=tmp_path, ema=0.9, select="best", validation=validation)
    (path,) = tmp_path.glob("*.safetensors")
    kinds = {name.partition("/")[0] for name in load_file(path)}
    assert kinds == {"module", "optimizer", "average", "best"}
    assert math.isfinite(sum(float(t.double().sum()) for t in load_file(path).values()))


# --- sharpness ----------------------------------------------------------------------------------------------

SHARP = "bl:step=sam:radius=0.2"


def test_sharp_training_equals_a_loop_written_by_hand(train):
    """With dropout-free batch norm in training mode, plain SGD and images that are moved at random once a step."""
    network = new_network().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(2):
        for images, labels in batches_of(train, epoch):
            cross_entropy(network(images), labels).backward()
            before = state_of(network)
            norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += 0.2 * parameter.grad / norm
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            network.load_state_dict(before)
            optimizer.step()
            optimizer.zero_grad()
    fitted = fit(train, SHARP, optimizer="sgd", lr=0.1)
    for name, expected in network.state_dict().items():
        assert torch.allclose(fitted.network.state_dict()[name], expected, atol=1e-5), name


def test_both_passes_of_a_sharp_step_have_the_same_images(train):
    seen = []
    network = new_network()
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    fit(train, f"{SHARP}:augment=random-affine", network=network, epochs=1)
    assert len(seen) == 10
    assert all(torch.equal(seen[i], seen[i + 1]) for i in range(0, 10, 2))
    assert not any(torch.equal(seen[i], seen[i + 2]) for i in range(0, 6, 2))


def test_sharp_steps_over_accumulated_batches_are_those_of_the_large_batch(train):
    settings = {"optimizer": "sgd", "lr": 0.1, "batch_norm": "keep"}
    large = fit(train, SHARP, batch_size=32, **settings)
    small = fit(train, SHARP, batch_size=8, accumulate=4, **settings)
    for a, b in zip(large.network.parameters(), small.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_sharpness_starts_with_the_class_weights(train):
    """Of five epochs the first four are plain: the same bits as without it."""
    sharp, plain = (fit(train, spec, epochs=5).history for spec in ("drw-sam", "bl-cw-drw"))
    assert [e["loss"] for e in sharp[:4]] == [e["loss"] for e in plain[:4]]
    assert sharp[4]["loss"] != plain[4]["loss"]


def test_an_objective_beside_sharp_steps_is_refused(train):
    with pytest.raises(InputError, match="an objective and a step cannot act together"):
        fit(train, "dos:step=sam")
