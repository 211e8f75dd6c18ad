"""The training loop against a plain loop, resuming, and what stops it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from counterpoise.config import make_config, rate_factor
from counterpoise.datasets import ImageSplit, load_dataset
from counterpoise.exceptions import InputError, TrainingError
from counterpoise.methods import get_method
from counterpoise.networks import create_network
from counterpoise.training import ProgressCallback, embed_images, fit_method, seed_for


def split_of(images, labels):
    return ImageSplit(images, labels, tuple(map(str, range(len(labels)))))


@pytest.fixture(scope="module")
def train(make_images):
    return split_of(*make_images([40, 30, 6]))


@pytest.fixture(scope="module")
def validation(make_images):
    return split_of(*make_images([9, 9, 9], seed=1))


def new_network(seed=0):
    return create_network(
        "tinynet", num_classes=3, in_channels=1, image_size=(8, 8), mean=[0.3], std=[0.2], seed=seed
    )


def weights_of(network):
    return torch.cat([t.flatten().double() for t in network.state_dict().values()])


def fit(train, spec="bl", *, validation=None, **settings):
    options = {key: settings.pop(key) for key in ("checkpoints", "progress", "identity") if key in settings}
    network = new_network()
    config = make_config(**{"epochs": 2, "batch_size": 16, "device": "cpu"} | settings)
    return fit_method(get_method(spec), network, train, config=config, validation=validation, **options)


def test_plain_training_equals_a_loop_written_by_hand_bit_for_bit(train):
    config = make_config(epochs=3, batch_size=16, lr=2e-3, device="cpu")
    network = new_network().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, fused=True)
    images = torch.from_numpy(np.asarray(train.images)).float() / 255
    labels = torch.from_numpy(train.labels)
    losses = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for epoch in range(3):
        order = np.random.default_rng([seed_for(0, "order"), epoch]).permutation(len(labels))
        total = 0.0
        for start in range(0, len(order), 16):
            batch = torch.from_numpy(order[start : start + 16])
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(labels))
    torch.set_num_threads(threads)
    fitted = fit_method(get_method("bl"), new_network(), train, config=config)
    assert torch.equal(weights_of(fitted.network), weights_of(network))
    assert [entry["loss"] for entry in fitted.history] == pytest.approx(losses, abs=1e-6)


@pytest.mark.parametrize("spec", ["bl", "ados", "bl-ros-rus", "two-phase", "lmle"])
@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_an_interrupted_training_resumes_to_the_same_bits(train, validation, tmp_path, spec, schedule):
    class Killed(Exception):
        pass

    class KillAt(ProgressCallback):
        def __init__(self, stage, epoch):
            self.at = (stage, epoch)

        def update(self, step):
            if (step.stage, step.epoch) == self.at:
                raise Killed

    settings = {"epochs": 4, "schedule": schedule, "validation": validation}
    whole = fit(train, spec, **settings)
    stages = ["representation", "head"] if spec in ("ados", "two-phase") else ["train"]
    for stage in stages:
        with pytest.raises(Killed):
            fit(train, spec, checkpoints=tmp_path, progress=KillAt(stage, 3), **settings)
    resumed = fit(train, spec, checkpoints=tmp_path, **settings)
    assert torch.equal(weights_of(resumed.network), weights_of(whole.network))

    def without_times(history):
        return [{k: v for k, v in e.items() if k not in ("seconds", "images_per_second")} for e in history]

    assert without_times(resumed.history) == without_times(whole.history)


def test_losses_are_reported_every_25_steps_and_at_the_end_of_an_epoch(train):
    """76 images in batches of 2 are 38 steps."""
    reported = []

    class Record(ProgressCallback):
        def update(self, step):
            reported.append((step.epoch, step.done))

    history = fit(train, progress=Record(), batch_size=2).history
    assert reported == [(1, 50), (1, 76), (2, 126), (2, 152)]
    assert [entry["epoch"] for entry in history] == [1, 2]


def test_a_checkpoint_of_other_settings_is_not_resumed(train, tmp_path):
    fit(train, checkpoints=tmp_path, lr=1e-2)
    fresh = fit(train, lr=1e-3)
    assert torch.equal(
        weights_of(fit(train, checkpoints=tmp_path, lr=1e-3).network), weights_of(fresh.network)
    )


def test_a_damaged_checkpoint_is_said_so(train, tmp_path):
    fit(train, checkpoints=tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        fit(train, checkpoints=tmp_path)


@pytest.mark.parametrize(
    ("spec", "change"),
    [
        ("bl", {"epochs": 3}),
        ("bl", {"batch_size": 8}),
        ("bl", {"lr": 3e-3}),
        ("bl", {"optimizer": "sgd"}),
        ("bl", {"optimizer": "adamw", "weight_decay": 0.1}),
        ("bl", {"weight_decay": 0.1}),
        ("bl", {"schedule": "cosine"}),
        ("bl", {"schedule": "one-cycle"}),
        ("bl", {"seed": 1}),
        ("bl", {"precision": "bf16-mixed"}),
        ("ados", {"head_epochs": 5}),
        ("ados", {"head_batch_size": 7}),
    ],
)
def test_every_setting_changes_the_result(train, spec, change):
    assert not torch.equal(
        weights_of(fit(train, spec).network), weights_of(fit(train, spec, **change).network)
    )


def test_weight_decay_of_adamw_is_decoupled(train):
    adam = weights_of(fit(train, optimizer="adam", weight_decay=0.1).network)
    adamw = weights_of(fit(train, optimizer="adamw", weight_decay=0.1).network)
    assert not torch.equal(adam, adamw)


def test_validation_images_do_not_change_the_training(train, validation):
    with_them = fit(train, "ados", validation=validation)
    assert torch.equal(weights_of(with_them.network), weights_of(fit(train, "ados").network))
    assert {"validation_loss", "validation_accuracy", "validation_gmean"} <= set(with_them.history[-1])


def test_training_leaves_global_state_alone(train):
    before = train.images.copy(), train.labels.copy()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    fit(train, "ados", threads=threads + 1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert np.array_equal(train.images, before[0])
    assert np.array_equal(train.labels, before[1])


def test_a_diverging_loss_stops_with_step_cause_and_checkpoint(train, tmp_path):
    with pytest.raises(TrainingError, match=r"train loss became (nan|inf) at step \d+ \(epoch 1\)") as caught:
        fit(train, optimizer="sgd", lr=1e30, checkpoints=tmp_path)
    assert "`lr` 1e+30 is probably too high, try `lr` 0.01" in str(caught.value)


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_saved(train, tmp_path):
    with pytest.raises(TrainingError, match="probably too high"):
        fit(train, optimizer="sgd", lr=1e300, batch_size=len(train), checkpoints=tmp_path)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_weights_that_are_broken_from_the_start_are_not_blamed_on_the_learning_rate(train, tmp_path):
    network = new_network()
    network.classifier.weight.data[0, 0] = float("nan")
    config = make_config(epochs=1, batch_size=16, device="cpu")
    with pytest.raises(
        TrainingError, match="not finite before the first step of stage 'train'; start from other"
    ):
        fit_method(get_method("bl"), network, train, config=config, checkpoints=tmp_path)


def test_a_loss_that_breaks_later_names_the_last_good_checkpoint(train, tmp_path):
    network, calls = new_network(), []

    def poison(module, inputs):
        calls.append(len(inputs[0]))
        if len(calls) == 7:  # the second step of the second epoch
            module.classifier.weight.data.fill_(float("nan"))

    network.register_forward_pre_hook(poison)
    config = make_config(epochs=3, batch_size=16, device="cpu")
    with pytest.raises(
        TrainingError, match=r"became nan at step 7 \(epoch 2\).*last good checkpoint: "
    ) as caught:
        fit_method(get_method("bl"), network, train, config=config, checkpoints=tmp_path)
    (kept,) = tmp_path.glob("*.safetensors")
    assert str(kept) in str(caught.value)
    weights = load_file(kept)
    assert all(bool(torch.isfinite(t).all()) for name, t in weights.items() if name.startswith("module/"))
    with safe_open(kept, framework="pt") as file:
        assert json.loads(file.metadata()["counterpoise"])["epoch"] == 1


def test_images_decoded_on_the_fly_train_to_the_same_bits_as_those_in_memory(train):
    class OnTheFly:
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    lazy = dataclasses.replace(train, images=OnTheFly(np.asarray(train.images)))
    assert not lazy.in_memory
    for spec in ("bl-ros-rus", "ados"):
        assert torch.equal(weights_of(fit(lazy, spec).network), weights_of(fit(train, spec).network))


def test_progress_hears_of_every_epoch_and_ends_at_the_total(train):
    heard = []

    class Listen(ProgressCallback):
        def update(self, step):
            heard.append(step)

    fit(train, "ados", progress=Listen(), epochs=2)
    for stage in ("representation", "head"):
        steps = [s for s in heard if s.stage == stage]
        assert {s.epoch for s in steps} == {1, 2}
        assert steps[-1].done == steps[-1].total


def test_the_head_of_a_feature_space_method_is_trained_alone(train):
    after_head = fit(train, "ados", head_epochs=1).network
    longer = fit(train, "ados", head_epochs=4).network
    for (name, a), (_, b) in zip(after_head.state_dict().items(), longer.state_dict().items(), strict=True):
        assert torch.equal(a, b) != name.startswith("classifier"), name


def test_the_rate_follows_its_schedule():
    assert rate_factor("constant", 0.7) == 1
    assert [rate_factor("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [rate_factor("one-cycle", p) for p in (0, 0.3, 1)] == pytest.approx([0.04, 1, 1e-4])


def test_wrong_settings_are_all_named_at_once():
    with pytest.raises(InputError, match=r"`epochs` 0: .*; `lr` -1: .*; `optimizer` adm: "):
        make_config(epochs=0, lr=-1, optimizer="adm")
    with (
        pytest.raises(InputError, match="no CUDA device") if not torch.cuda.is_available() else pytest.warns()
    ):
        from counterpoise.training import make_fabric

        make_fabric(make_config(device="cuda"))


def test_worker_processes_decode_a_folder_to_the_same_bits(make_images, tmp_path):
    from PIL import Image

    from counterpoise.datasets import load_dataset

    images, labels = make_images([20, 20, 8])
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "photos" / "abc"[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{index:03d}.png")
    held = load_dataset(tmp_path / "photos").train
    lazy = load_dataset(tmp_path / "photos", in_memory=False).train
    assert (held.in_memory, lazy.in_memory) == (True, False)
    expected = weights_of(fit(held, "ados").network)
    for workers in (0, 2):
        assert torch.equal(weights_of(fit(lazy, "ados", workers=workers).network), expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("aos:augment=mixup", "must come last"),
        ("dos:augment=mixup", "must come last"),
        ("dos:perturb=mixup", "cannot act together"),
    ],
)
def test_what_cannot_act_together_is_refused(train, spec, message):
    with pytest.raises(InputError, match=message):
        fit(train, spec)


def test_a_method_that_decides_by_distance_has_no_curve_of_its_unused_head(train, validation):
    history = fit(train, "lmle", validation=validation).history
    assert all("validation_gmean" not in entry for entry in history)
    assert all("validation_gmean" in entry for entry in fit(train, "dos", validation=validation).history)


@pytest.mark.parametrize("spec", ["dos", "lmle"])
def test_objectives_work_in_lower_precision(train, spec):
    plain = fit(train, spec, epochs=2).history[-1]["loss"]
    low = fit(train, spec, epochs=2, precision="bf16-mixed").history[-1]["loss"]
    assert low == pytest.approx(plain, rel=0.1)
    assert low != plain


@pytest.mark.parametrize(("spec", "passed"), [("dos", [6, 6]), ("lmle", [76, 76, 76])])
def test_an_objective_embeds_what_it_looks_at(train, monkeypatch, spec, passed):
    """Of 40, 30 and 6 images: the rare ones, once an epoch; LMLE all, and at the end for its prototypes."""
    found = []

    def embed(network, split, **settings):
        found.append(len(split))
        return embed_images(network, split, **settings)

    monkeypatch.setattr("counterpoise.training.stage.embed_images", embed)
    fit(train, f"{spec}:objective.defer_epochs=0")
    assert found == passed


@pytest.mark.parametrize("neighbors", [1, 4])
def test_lmle_decides_by_as_many_centers_as_asked(train, validation, neighbors):
    network = fit(train, f"lmle:neighbors={neighbors}:cluster_size=6").network
    head = network.classifier
    assert (head.neighbors, len(head.labels)) == (neighbors, 11)
    z = torch.from_numpy(embed_images(network, validation, device=torch.device("cpu")))
    unit = torch.nn.functional.normalize(z)
    squared = torch.cdist(unit, head.centres).square()
    if neighbors == 1:
        others = head.labels != torch.arange(3)[:, None, None]
        nearest = squared.expand(3, -1, -1).masked_fill(others, 9).amin(dim=2).T
        torch.testing.assert_close(head(z), -10 * nearest, atol=1e-3, rtol=0)
    within = squared.sort(dim=1).indices[:, :neighbors]
    alone = (head.labels[within] == head.labels[within][:, :1]).all(dim=1)
    assert torch.equal(head(z).argmax(dim=1)[alone], head.labels[within][alone, 0])


@pytest.mark.parametrize(
    "spec",
    [
        "lmle:loss=focal-loss:objective.defer_epochs=0",
        "lmle:loss=weighted-cross-entropy:loss.defer_epochs=1:objective.defer_epochs=1",
    ],
)
def test_a_loss_that_no_epoch_looks_at_is_refused(train, spec):
    with pytest.raises(InputError, match="the loss would change nothing"):
        fit(train, spec, epochs=3)


def test_a_loss_beside_an_objective_changes_the_result(train):
    for objective in ("dos:objective.defer_epochs=0", "lmle:objective.defer_epochs=1"):
        plain, focal = (fit(train, objective + loss).network for loss in ("", ":loss=focal-loss"))
        assert not torch.equal(weights_of(plain), weights_of(focal)), objective


def test_one_against_the_rest_starts_better_with_its_bias():
    """After two epochs on digits, each output's head start shows in the loss."""
    digits = load_dataset("digits").train
    losses = {}
    for layer in ("one-vs-rest", "linear"):
        network = create_network(
            "tinynet",
            num_classes=10,
            in_channels=1,
            image_size=digits.images.shape[2:],
            head_layer=layer,
            seed=0,
        )
        config = make_config(epochs=2, batch_size=64, device="cpu")
        history = fit_method(
            get_method(f"sigmoid:head_layer={layer}"), network, digits, config=config
        ).history
        losses[layer] = [entry["loss"] for entry in history]
    assert losses["one-vs-rest"][0] < 0.8 * losses["linear"][0]
    assert losses["one-vs-rest"][1] < losses["linear"][1]
