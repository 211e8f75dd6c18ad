"""Stages of a method: train the network, embed and resample the training set, train the head."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from counterpoise.balance.heads import HeadStage
from counterpoise.balance.losses import ClassificationLoss
from counterpoise.balance.objectives import Embedder, Objective
from counterpoise.balance.perturb import Perturbation
from counterpoise.balance.samplers import ImageSampler, epoch_indices
from counterpoise.config import TrainConfig
from counterpoise.datasets import ImageSplit
from counterpoise.exceptions import InputError
from counterpoise.files import content_hash
from counterpoise.methods import CROSS_ENTROPY, Component
from counterpoise.networks import Network
from counterpoise.runs import network_payload, training_payload
from counterpoise.training.batches import Batch, Batches, Order, TensorBatches, image_batches, ordered_batches
from counterpoise.training.convergence import HeadObjective, HeadSamples, choose_penalty, minimize
from counterpoise.training.loop import train_stage
from counterpoise.training.machine import cpu_threads, find_device
from counterpoise.training.predict import EmbeddedSplit, Validate
from counterpoise.training.randomness import generator_for, seed_for
from counterpoise.training.stage import BatchLoss, FitContext, HistoryEntryDict, Stage

#: Slots of the components that the trained network depends on, whatever becomes of its head afterwards.
NETWORK_SLOTS = ("sampler", "augment", "perturb", "loss", "objective", "step")
AVERAGED_EPOCHS = 50
LARGE_PROBLEM = 100_000_000
"""Numbers in the embeddings from which several threads solve for a head faster than one; the most in all copies."""


@dataclass(frozen=True)
class ResampledSet:
    """Training set in feature space: the `originals` in their order, then the synthetic samples.

    `embeddings` are float32 (M, d), `labels` int64 (M,), and `sample_weight` float32 (M,) of mean 1.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    sample_weight: np.ndarray
    originals: int


@dataclass(eq=False)
class LogitLoss:
    """Loss of a batch's logits, after its images were perturbed in order, seeded by `seed` and the epoch."""

    loss: ClassificationLoss
    perturbations: Sequence[Perturbation] = ()
    seed: int = 0
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch of the loss and the perturbations, and seed the perturbations."""
        self.loss.set_epoch(epoch)
        for perturbation in self.perturbations:
            perturbation.set_epoch(epoch)
        self.generator.manual_seed(seed_for(self.seed, "perturb", epoch))

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of the perturbed batch."""
        if not self.perturbations:
            return self.loss(module(batch.inputs), batch.targets, batch.weights)
        images = batch.inputs
        for perturbation in self.perturbations:
            perturbed = perturbation.perturb(
                images, batch.targets, network=module, loss=self.loss, generator=self.generator
            )
            images = perturbed.images
        return perturbed.loss(self.loss, module(images), batch.weights)


@dataclass(eq=False, kw_only=True)
class ObjectiveLoss:
    """Objective of a method that replaces the loss of the logits; `augment` changes the images first.

    `embed` returns the embeddings of the training images at the given rows, or of all; `labels` are their classes.
    `autocast` returns the context of the chosen precision: Fabric's wrapper applies it to `forward` only, and
    objectives call ``embed`` and ``head``.
    """

    objective: Objective
    loss: ClassificationLoss
    embed: Embedder
    labels: Tensor
    seed: int
    augment: Sequence[Perturbation] = ()
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.labels.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the epoch of the loss and begin that of the objective."""
        self.loss.set_epoch(epoch)
        self.generator.manual_seed(seed_for(self.seed, "perturb", epoch))
        generator = generator_for(self.seed, "objective", epoch)
        self.objective.begin_epoch(epoch, self.embed, self.labels, generator)

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Return the objective of the batch."""
        images = batch.inputs
        for perturbation in self.augment:
            images = perturbation.perturb(
                images, batch.targets, network=module, loss=self.loss, generator=self.generator
            ).images
        with self.autocast():
            return self.objective.step(module, images, batch.targets, batch.indices, self.loss)


def train_network(context: FitContext) -> list[HistoryEntryDict]:
    """Train the network (or, of a network that is frozen whole, its head) and return the history."""
    method, config = context.method, context.config
    name = "train" if method.head is None else "representation"
    if context.converges:
        head = context.network.classifier
        return [converge(context, name, head, loss=method.loss, sampler=method.sampler)]
    train, sampler = _sampled_images(context)
    order_seed = seed_for(config.seed, "order")

    def order(epoch: int) -> np.ndarray:
        return epoch_indices(sampler, train.labels, seed=order_seed, epoch=epoch)

    # How a head is trained afterwards is not part of the identity.
    used = (*NETWORK_SLOTS, "adjust") if context.known_adjustment is not None else NETWORK_SLOTS
    components = {slot: c.identity() for slot, c in method.components.items() if slot in used}
    identity = content_hash([context.identity, components, method.head_layer, network_payload(config)])
    module, batches, validate = _trained_part(context, train, order)
    objective: Objective | None = context.build(method.objective)
    by_distance = objective is not None and objective.classifies_by_distance
    stage = Stage(
        name=name,
        module=module,
        batch_loss=_batch_loss(context, train, objective),
        step=context.build(method.step),
        batches=batches,
        epochs=config.epochs,
        # A head that is not in use yet has no learning curve.
        validate=None if by_distance else validate,
        identity=identity,
    )
    with context.timed(name), _with_checkpoint(context, stage) as stage:
        history = train_stage(stage, config, context.fabric, context.progress)
    if objective is not None and by_distance:
        embeddings = context.embed(context.train)
        labels = torch.from_numpy(context.train.labels).to(embeddings.device)
        prototypes = objective.prototypes(embeddings, labels, generator_for(config.seed, "prototypes"))
        if prototypes is not None:
            context.network.set_prototypes(*prototypes, neighbors=objective.neighbors)
    # The network may come from the checkpoint of another method, with that method's name of the stage.
    return [{**entry, "stage": name} for entry in history]


def _trained_part(
    context: FitContext, train: ImageSplit, order: Order
) -> tuple[nn.Module, Batches, Validate | None]:
    """Return the network and batches of images (of a network frozen whole: head and embeddings), and its scorer."""
    network, device, size = context.network, context.device, context.config.batch_size
    if isinstance(train, EmbeddedSplit):
        rows, labels = torch.from_numpy(train.rows).to(device), torch.from_numpy(train.labels).to(device)
        head = network.classifier
        return head, TensorBatches(rows, labels, order, size, context.weights), context.validate(head)
    batches = image_batches(train, order, batch_size=size, device=device, workers=context.config.workers)
    batches.weights = context.weights
    return network, batches, context.validate()


def _sampled_images(context: FitContext) -> tuple[ImageSplit, ImageSampler | None]:
    """Return the training images, and the sampler of each epoch where it does not make images in advance."""
    method, train = context.method, context.train
    sampler: ImageSampler | None = context.build(method.sampler)
    if sampler is None or not sampler.makes_images:
        return train, sampler
    if not train.in_memory:
        raise InputError(
            f"{method.label} needs all images in memory, and these are read batch by batch; "
            "use smaller images or another method"
        )
    with context.timed("oversample"):
        images, labels = sampler.fit_resample(train.images, train.labels)
    names = (*train.paths, *(f"new/{i:06d}" for i in range(len(labels) - len(train))))
    return ImageSplit(images, labels, names), None


def _batch_loss(context: FitContext, train: ImageSplit, objective: Objective | None) -> BatchLoss:
    method, device, seed = context.method, context.device, context.config.seed
    loss = context.build(method.loss).to(device)
    augment = [] if method.augment is None else [context.build(method.augment)]
    perturb = [] if method.perturb is None else [context.build(method.perturb)]
    if any(component.mixes_classes for component in augment) and (perturb or objective is not None):
        raise InputError(f"{method.label}: images of mixed classes must come last; mix them as perturb=")
    labels = torch.from_numpy(train.labels).to(device)

    def images(rows: Tensor) -> Tensor:
        split = train.subset(rows.cpu().numpy())
        return next(ordered_batches(split, batch_size=len(split), device=device)).inputs

    for perturbation in [*augment, *perturb]:
        perturbation.bind(images, labels)
    if objective is None:
        return LogitLoss(loss, [*augment, *perturb], seed=seed, device=device)
    for kind, other in (("perturbation", method.perturb), ("step", method.step)):
        if other is not None:
            raise InputError(f"{method.label}: an objective and a {kind} cannot act together; leave one out")
    default = method.loss.identity() == CROSS_ENTROPY.identity()
    if not default and objective.loss_epochs is not None and loss.first_epoch >= objective.loss_epochs:
        raise InputError(
            f"{method.label}: the loss would change nothing, as only the first {objective.loss_epochs} of "
            f"{context.config.epochs} epochs use it; leave it out, or raise objective.defer_epochs"
        )

    def embed(rows: Tensor | None = None) -> Tensor:
        return context.embed(train if rows is None else train.subset(rows.cpu().numpy()))

    return ObjectiveLoss(
        objective=objective,
        loss=loss,
        embed=embed,
        labels=labels,
        seed=seed,
        augment=augment,
        autocast=context.fabric.autocast,
    )


@contextmanager
def _with_checkpoint(context: FitContext, stage: Stage) -> Iterator[Stage]:
    """Give a stage its checkpoint; concurrent users of the same network wait until this one has trained it."""
    if context.shared is None:
        yield stage
        return
    path = context.shared / f"network-{stage.identity[:16]}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        yield replace(stage, checkpoint=path)


def resample_embeddings(context: FitContext) -> ResampledSet:
    """Embed the training set and apply the method's feature-space component, if it has one."""
    train = context.train
    with context.timed("embed"):
        embeddings = context.embed(train).cpu().numpy()
    if context.method.features is None:
        given = context.weights
        weights = np.ones(len(embeddings), dtype=np.float32) if given is None else given.cpu().numpy()
        return ResampledSet(embeddings, train.labels.astype(np.int64), weights, len(embeddings))
    with context.timed("oversample"):
        return _oversampled(context, embeddings, train.labels)


def _oversampled(context: FitContext, originals: np.ndarray, labels: np.ndarray) -> ResampledSet:
    oversampler = context.build(context.method.features)
    embeddings, labels = oversampler.fit_resample(originals, labels)
    weights = np.asarray(oversampler.sample_weight_, dtype=np.float64)
    # Of mean 1, so that the learning rate means the same for every method.
    weights = (weights / weights.mean()).astype(np.float32)
    return ResampledSet(embeddings, labels.astype(np.int64), weights, len(originals))


def train_head(context: FitContext, resampled: ResampledSet) -> list[HistoryEntryDict]:
    """Train or replace the head on the embeddings, as the method says, and return the history."""
    network, method, device, seed = context.network, context.method, context.device, context.config.seed
    head_stage: HeadStage = context.build(method.head)
    if head_stage.fresh:
        network.reset_head(generator=torch.Generator().manual_seed(seed_for(seed, "head")))
    network.eval()
    embeddings, labels, weights = (
        torch.from_numpy(values).to(device)
        for values in (resampled.embeddings, resampled.labels, resampled.sample_weight)
    )
    epochs, size = context.config.head_epochs or context.config.epochs, context.config.head_batch_size
    sampler: ImageSampler | None = context.build(method.head_sampler, epochs=epochs)

    def order(epoch: int) -> np.ndarray:
        if sampler is None:
            return generator_for(seed, "head order", epoch).permutation(len(resampled.labels))
        return epoch_indices(sampler, resampled.labels, seed=seed_for(seed, "head order"), epoch=epoch)

    history: list[HistoryEntryDict] = []
    with context.timed("head"):
        module = head_stage.prepare(network.classifier, embeddings, labels)
        if head_stage.trains and context.converges:
            loss, drawn = method.head_loss, method.head_sampler
            history = [converge(context, "head", module, loss=loss, sampler=drawn, resampled=resampled)]
        elif head_stage.trains:
            stage = Stage(
                name="head",
                module=module,
                batch_loss=LogitLoss(context.build(method.head_loss, epochs=epochs).to(device)),
                batches=TensorBatches(embeddings, labels, order, batch_size=size, weights=weights),
                epochs=epochs,
                validate=context.validate(module),
                checkpoint=context.checkpoints / "head.safetensors" if context.checkpoints else None,
                identity=content_hash(
                    [context.identity, method.identity(), training_payload(context.config)]
                ),
            )
            lr = context.config.lr * head_stage.lr_factor
            config = context.config.model_copy(update={"epochs": epochs, "batch_size": size, "lr": lr})
            history = train_stage(stage, config, context.fabric, context.progress)
        head_stage.finish(module, network.classifier)
    return history


def heads_at_once(network: Network, train: EmbeddedSplit, config: TrainConfig) -> int:
    """Return how many heads may be trained at the same time, each by one thread, on copies of the embeddings.

    On a GPU they would wait for each other, as do heads that are trained for epochs, for torch's one generator.
    """
    several = network.standardize and find_device(config.device).type == "cpu"
    return max(1, min(config.threads, LARGE_PROBLEM // train.rows.size)) if several else 1


def converge(
    context: FitContext,
    name: str,
    module: nn.Module,
    *,
    loss: Component,
    sampler: Component | None,
    resampled: ResampledSet | None = None,
) -> HistoryEntryDict:
    """Train a head to convergence in place and return its history, one entry.

    `resampled` is the training set of a feature-space method. A sampler acts by the mean number of times that it draws
    each sample. What is deferred acts as in the last epoch.
    """
    config, started = context.config, time.perf_counter()
    epochs = config.head_epochs or config.epochs
    built: ClassificationLoss = context.build(loss, epochs=epochs, reduction="none").to(context.device)
    built.set_epoch(epochs - 1)
    train = context.train
    assert isinstance(train, EmbeddedSplit)
    samples = HeadSamples.of(train.rows, train.labels)
    if resampled is not None:
        samples = HeadSamples(resampled.embeddings, resampled.labels, resampled.sample_weight)
    if sampler is not None:
        drawn = context.build(sampler, epochs=epochs)
        draws = _mean_draws(drawn, samples.labels, seed=config.seed, epoch=epochs - 1)
        samples = replace(samples, weights=samples.weights * draws)
    objective = HeadObjective(module, built, context.device)
    # The products are short: threads would mostly wait for each other.
    with cpu_threads(1 if train.rows.size < LARGE_PROBLEM else config.threads):
        penalty = config.penalty
        if not objective.penalized:
            penalty = 0.0
        elif penalty is None:
            seed = seed_for(config.seed, "penalty")
            penalty = choose_penalty(
                train.rows,
                train.labels,
                groups=train.groups,
                seed=seed,
                device=context.device,
                cores=heads_at_once(context.network, train, config),
            )
        head, minimum, evaluations = minimize(objective, samples, penalty)
    module.load_state_dict(head.state_dict())
    module.eval()
    context.penalties[name] = penalty
    seconds = time.perf_counter() - started
    context.seconds[name] = seconds
    entry: HistoryEntryDict = {
        "stage": name,
        "epoch": 1,
        "loss": minimum,
        "seconds": seconds,
        "images_per_second": len(train) * evaluations / seconds,
    }
    validate = context.validate(module)
    return entry if validate is None else {**entry, **validate()}


def _mean_draws(sampler: ImageSampler, labels: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return how often the epoch draws each sample on average, float32 (N,)."""
    draws = np.zeros(labels.max() + 1)
    for number in range(AVERAGED_EPOCHS):
        order_seed = seed_for(seed, "order", number)
        drawn = labels[epoch_indices(sampler, labels, seed=order_seed, epoch=epoch, shuffle=False)]
        draws += np.bincount(drawn, minlength=len(draws))
    # A sampler draws by the labels alone, so all samples of a class have the same mean.
    means = draws / AVERAGED_EPOCHS / np.maximum(np.bincount(labels, minlength=len(draws)), 1)
    return means[labels].astype(np.float32)
