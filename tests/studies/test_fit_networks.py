"""Networks among the candidates of `fit`: the head refitted after fine-tuning, and one from scratch for thumbnails."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from short_fits import short_fits

from counterpoise.config import FitConfig, fine_tuning_config
from counterpoise.datasets import SplitManifest, dataset_from_arrays
from counterpoise.evaluation import Candidate, choose
from counterpoise.exceptions import NotApplicable
from counterpoise.inference import TrainedModel, load_network
from counterpoise.methods import get_method
from counterpoise.networks import create_network
from counterpoise.runs import RunFolder
from counterpoise.studies import FitStudy, make_fit_plan, run_study
from counterpoise.studies.fit import study as fit_study
from counterpoise.studies.fit.candidates import HELD_OUT, _soften
from counterpoise.studies.fit.evidence import evidence_path, load_evidence
from counterpoise.studies.fit.timing import HEAD_SHARE, SAFETY, Timing
from counterpoise.training import Budget, ProgressCallback, fit_memory
from counterpoise.training.memory import MOST_BYTES, activation_bytes

CLASSES = 3


@pytest.fixture(scope="module", autouse=True)
def short():
    with short_fits(epochs=1):
        yield


def shapes(counts, seed, size=48):
    """Color images with a bright spot whose place is the class, under noise."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), counts)
    images = generator.normal(90, 30, (len(labels), 3, size, size))
    for image, label in zip(images, labels, strict=True):
        start = (label * size) // CLASSES
        image[:, start : start + size // 4, start : start + size // 4] += 70
    return images.clip(0, 255).astype(np.uint8), labels


def plan_of(dataset, **options):
    settings = {"source": "shapes", "methods": "logit-adjusted,ncm", "budget": 600, "threads": 1}
    config = FitConfig.of(**settings | options)
    return make_fit_plan(dataset, config, Budget(600))


def thumbnails(size, counts=(50, 40, 30)):
    images, labels = shapes(counts, 0, size)
    test_images, test_labels = shapes((10,) * CLASSES, 1, size)
    return dataset_from_arrays(
        images, labels, name="shapes", test_images=test_images, test_labels=test_labels
    )


class Stopped:
    """A clock that moves only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A finished fit of photographs, fine-tuned for one epoch: its study and folder."""
    folder = tmp_path_factory.mktemp("tuned") / "out"
    dataset, plan = plan_of(thumbnails(48, (20, 15, 10)), image_size=48)
    study = FitStudy(plan, dataset, Budget(600, clock=Stopped()))
    run_study(study, folder)
    return study, folder


def candidate(study, folder, name):
    """Return run and evidence of a finished candidate."""
    run = RunFolder(folder / "runs" / study.plan.networks[name].folder_name)
    return run, load_evidence(evidence_path(folder, run.path))


def test_labels_of_held_out_images_do_not_reach_the_evidence_of_the_refitted_head(
    tuned, tmp_path, monkeypatch
):
    """With wrong labels for them its evidence is the same; the head itself, of all images, is another one."""
    study, folder = tuned
    folds = study._folds
    held_out, apply = folds[0] == HELD_OUT, SplitManifest.apply
    run, evidence = candidate(study, folder, "refitted-head")
    assert np.isnan(evidence[0, ~held_out]).all()
    assert not np.isnan(evidence[0, held_out]).any()

    def relabeled(manifest, dataset):
        splits = apply(manifest, dataset)
        labels = np.where(held_out, (splits.train.labels + 1) % CLASSES, splits.train.labels)
        return replace(splits, train=replace(splits.train, labels=labels))

    again = tmp_path / folder.name
    shutil.copytree(folder, again)
    shutil.rmtree(again / "runs" / run.path.name)
    (task,) = [task for task in study.tasks(again) if task.name == "refitted-head"]
    monkeypatch.setattr(SplitManifest, "apply", relabeled)
    monkeypatch.setattr(FitStudy, "_folds", lambda self: folds)
    study.execute(task, again, ProgressCallback())
    other, found = candidate(study, again, "refitted-head")
    np.testing.assert_array_equal(evidence, found)
    heads = [load_network(one).classifier.weight.detach() for one in (run, other)]
    assert (heads[0] - heads[1]).abs().max() > 1e-3


def test_the_refitted_head_is_on_the_features_of_the_tuned_network(tuned):
    """Its layers are those of the fine-tuned network, and its head is the optimum on their features."""
    study, folder = tuned
    run, _ = candidate(study, folder, "refitted-head")
    start, _ = candidate(study, folder, "fine-tuned")
    before, after = load_network(start), load_network(run)
    for name, tensor in before.backbone.state_dict().items():
        assert torch.equal(tensor, after.backbone.state_dict()[name])
    train = study.plan.template.split.splits(study.dataset, 0).apply(study.dataset).train
    labels = torch.from_numpy(train.labels)
    with torch.no_grad():
        z = after.embed(torch.from_numpy(train.images).float() / 255)
    # Another batch rounds otherwise, by some 4e-8: for a feature whose deviation is 3e-5, more than a thousandth.
    assert (z.mean(0).abs() < 1e-3 + 1e-7 / after.features_scale).all()
    shares, head, penalty = (
        torch.bincount(labels).float(),
        after.classifier,
        run.record.raw["penalties"]["train"],
    )
    loss = torch.nn.functional.cross_entropy(head(z) + (shares / shares.sum()).log(), labels)
    loss = loss + penalty / 2 * head.weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, head.weight)
    assert gradient.abs().max() < 1e-3
    assert run.record.method == "refitted-head"
    frozen = RunFolder(folder / "runs" / study.plan.head_plan(study.plan.heads[0]).folder_name)
    assert penalty == frozen.record.raw["penalties"]["train"]


def test_a_refitted_head_is_kept_only_if_the_rule_prefers_it(tuned):
    """The rule of `choose` decides: one that cannot be told apart from a simpler candidate is not kept."""
    labels = np.repeat([0, 1], [12, 8])
    generator = np.random.default_rng(0)
    right = np.log(np.where(np.eye(2)[labels] > 0, 0.8, 0.2))
    equal = np.log(np.clip(np.exp(right) + generator.normal(0, 0.01, right.shape), 0.01, 1))
    better = np.log(np.where(np.eye(2)[labels] > 0, 0.97, 0.03))
    ranks = fit_study.NETWORKS
    for evidence, expected in ((equal, "average"), (better, "refitted-head")):
        found = [
            Candidate("average", ranks["average"], right),
            Candidate("refitted-head", ranks["refitted-head"], evidence),
        ]
        assert choose(found, labels).chosen == expected
    assert max(ranks, key=ranks.get) == "refitted-head"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A fit of thumbnails of 12 pixels, fine-tuning aside: its folder, plan and conclusion."""
    original = thumbnails(12)
    dataset, plan = plan_of(original)
    folder = tmp_path_factory.mktemp("tiny") / "out"
    quick = plan.scratch.config.model_copy(update={"epochs": 3, "head_epochs": 3})
    # Too slow to fine-tune.
    plan = replace(plan, images_per_second=0.5, scratch=replace(plan.scratch, config=quick))
    return original, plan, folder, run_study(FitStudy(plan, dataset, Budget(600)), folder)


def test_thumbnails_get_a_network_from_scratch_at_their_own_size(tiny):
    original, plan, folder, result = tiny
    assert plan.template.image_size == (96, 96)
    run = RunFolder(folder / "runs" / plan.scratch.folder_name)
    assert run.record.network.name == "tinynet"
    assert tuple(run.record.network.image_size) == (12, 12)
    assert run.record.start.weights is None
    assert run.record.raw["method_options"] == get_method("counterpoise").options()
    evidence = load_evidence(evidence_path(folder, run.path))
    held_out = FitStudy(plan, original)._folds[0] == HELD_OUT
    assert np.isnan(evidence[0, ~held_out]).all()
    names = [row["name"] for row in result.summary["networks"]["candidates"]]
    assert names == [result.summary["heads"]["chosen"], "from-scratch"]


def test_held_out_images_choose_between_scratch_and_pretrained_features(tiny, tmp_path, monkeypatch):
    """With evidence for it, the network from scratch is kept, and predicts images at their own size."""
    original, plan, folder, _ = tiny
    dataset = original
    study = FitStudy(plan, dataset)
    path = evidence_path(folder, RunFolder(folder / "runs" / plan.scratch.folder_name).path)
    perfect = load_evidence(path)
    labels, rows = study._labels[0], ~np.isnan(perfect[0, :, 0])
    perfect[0, rows] = np.log(np.where(np.eye(CLASSES)[labels[rows]] > 0, 0.998, 0.001))
    for name, evidence in (("perfect", perfect), ("useless", np.zeros_like(perfect) + np.log(1 / CLASSES))):
        evidence[0, ~rows] = np.nan
        monkeypatch.setattr(
            fit_study, "load_evidence", lambda p, e=evidence: e if p == path else load_evidence(p)
        )
        assert (study._decide(folder)[0].name == "from-scratch") == (name == "perfect")
        if name == "perfect":
            study._keep_best(folder)
            best = RunFolder.open(folder / "best")
            assert best.record.method == "from-scratch"
            assert TrainedModel.open(best).probabilities(original.test).argmax(1).shape == (30,)


def test_photographs_and_a_fit_without_networks_have_no_network_from_scratch():
    assert plan_of(thumbnails(48), image_size=48)[1].scratch is None
    assert plan_of(thumbnails(12), tune=False)[1].scratch is None


@pytest.fixture
def timing(tuned):
    """Times of 10,000 images, of which one class has most, at 100 images a second; a head takes 10 s."""
    plan = tuned[0].plan
    counts = np.array([8000, 1500, 500])
    clock = Stopped()

    def make(budget, *, head=10.0, rate=100.0):
        own = Budget(budget, clock=clock)
        if head is not None:
            own.record("head", 10_000, head)
        return Timing(replace(plan, images_per_second=rate), own, counts, 2000)

    return make


def test_an_expensive_head_does_not_take_the_time_of_fine_tuning(timing):
    """14,000 synthetic samples: fs-smote takes 2.7 times as long as a head on the images."""
    # One epoch of 8,000 images at 100 / 6 a second takes 480 s, predictions about 120 s.
    found = timing(800)
    found.check_head(get_method("lda"))
    with pytest.raises(NotApplicable, match=r"it needs about 27 s, most of them for its synthetic samples"):
        timing(720).check_head(get_method("ados"))
    timing(3000).check_head(get_method("fs-smote"))
    spare = 720 - 72 - 480 - (2000 + 10_000 + 180) / 100
    assert 10 < HEAD_SHARE * spare < 27
    # Where fine-tuning has no time anyway, heads may use all of it.
    timing(400).check_head(get_method("fs-smote"))


def test_the_second_head_is_expected_to_take_as_long_as_the_first(timing):
    """It had counted as taking no time, and was begun with 8 of 300 seconds left."""
    found = timing(300, head=None)
    found.check_head(get_method("lda"))
    found.budget.record("first head", 10_000, 280.0)
    with pytest.raises(NotApplicable, match="the time is used up"):
        found.check_head(get_method("lda"))
    found.budget.record("head", 10_000, 40.0)
    found.check_head(get_method("lda"))


def test_the_time_of_a_refitted_head_is_kept_from_fine_tuning(timing):
    """Embedding 12,000 images and fitting a head: 130 s."""
    found = timing(2000)
    assert found.refitting == pytest.approx(130)
    expected = found.budget.remaining - found._predictions - SAFETY * 130
    assert found.for_tuning() == pytest.approx(expected)
    scarce = timing(750)
    assert scarce.budget.remaining - scarce._predictions - SAFETY * 130 < scarce._epochs
    assert scarce.for_tuning() == pytest.approx(scarce.budget.remaining - scarce._predictions)
    late = timing(100)
    with pytest.raises(NotApplicable, match="it needs about 130 s, and 90 s are left"):
        late.check("it", late.refitting)


def test_the_keys_of_the_pixels_take_time_once(timing):
    """4 ms for each of 10,000 training images, beside 120 s for embedding; a later run finds them in the index."""
    found = timing(2000)
    found = replace(found, plan=replace(found.plan, key_seconds=0.004))
    assert found.embedding == pytest.approx(120 + 40)
    assert found.refitting == pytest.approx(130)


def test_a_network_from_scratch_gets_the_time_that_embedding_could_not_use(timing):
    assert timing(1000).for_scratch() == pytest.approx(0.4 * 900)
    assert timing(100).for_scratch() == pytest.approx(0.85 * 90)
    late = timing(100)
    with pytest.raises(NotApplicable, match="embedding the images needs about 120 s, and 90 s are left"):
        late.check("embedding the images", late.embedding)


@pytest.mark.parametrize(("size", "batch"), [(96, 32), (160, 16), (224, 8)])
def test_a_batch_fits_the_memory_and_steps_stay_as_large(size, batch):
    options = {"num_classes": 6, "in_channels": 3, "image_size": (size, size), "seed": 0}
    network = create_network("tf_efficientnet_lite0", **options, standardize=True, features="multi")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = fit_memory(fine_tuning_config(), network)
    assert (found.batch_size, found.batch_size * found.accumulate) == (batch, 32)
    assert batch * activation_bytes(network) <= MOST_BYTES
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_activations_are_those_that_the_backward_pass_keeps():
    """Two linear layers keep their inputs, 64 and 32 floats; the ReLU between them keeps its output, the second one."""
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    network.backbone = torch.nn.Flatten()
    network.top = torch.nn.Sequential(torch.nn.Linear(64, 32, bias=False), torch.nn.ReLU())
    network.classifier = torch.nn.Linear(32, 3)
    assert activation_bytes(network) == 4 * (64 + 32)


def test_little_free_memory_makes_smaller_batches(monkeypatch):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    needed = activation_bytes(network)
    for images, size in ((1000, 32), (20, 16), (1, 2)):
        free = 3 * images * needed + 3
        monkeypatch.setattr("counterpoise.training.memory.free_bytes", lambda device, free=free: free)
        found = fit_memory(fine_tuning_config(accumulate=2), network)
        assert (found.batch_size, found.accumulate) == (size, 64 // size)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 40.0])
def test_a_member_of_the_average_that_is_too_certain_is_softened_with_its_evidence(temperature):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0).eval()
    images = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        network.classifier.weight.mul_(100)
        logits = network(images)
        evidence = _soften(network, logits.log_softmax(dim=1).numpy()[None], temperature)
        expected = (logits / max(1.0, temperature)).log_softmax(dim=1).numpy()
        np.testing.assert_allclose(network(images).log_softmax(dim=1).numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(evidence[0], expected, rtol=1e-5, atol=1e-5)
