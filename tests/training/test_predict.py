"""Logits and embeddings of images: in small batches on all cores where images are photographs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from counterpoise.datasets import ImageSplit
from counterpoise.networks import create_network
from counterpoise.training import embed_images, predict_logits
from counterpoise.training import predict as prediction
from counterpoise.training.embedding_cache import EmbeddingCache
from counterpoise.training.machine import JOBS
from counterpoise.training.predict import embed_missing, parallel_outputs

CPU = torch.device("cpu")
BATCH = prediction.SMALL_BATCH


def network_of(name, size, channels=3):
    with torch.random.fork_rng():
        network = create_network(name, num_classes=3, in_channels=channels, image_size=(size, size), seed=0)
    # Statistics of batch norm that are not 0 and 1.
    network.train()(torch.rand(8, channels, size, size, generator=torch.Generator().manual_seed(0)))
    return network


@pytest.fixture(scope="module")
def photographs():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5 * BATCH + 3, 3, 48, 48)).astype(np.uint8)
    return ImageSplit(images, np.arange(len(images)) % 3, tuple(map(str, range(len(images)))))


@pytest.fixture
def network():
    return network_of("test_resnet", 48)


def plain(network, split, function):
    """Return the outputs of one forward pass over all images."""
    modes = [module.training for module in network.modules()]
    network.eval()
    with torch.inference_mode():
        found = function(torch.from_numpy(split.images).float() / 255).numpy()
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
    return found


def test_outputs_are_those_of_one_forward_pass(network, photographs):
    for found, function in (
        (predict_logits(network, photographs, device=CPU), network),
        (embed_images(network, photographs, device=CPU), network.embed),
    ):
        np.testing.assert_allclose(found, plain(network, photographs, function), rtol=1e-4, atol=1e-5)


def test_rows_come_in_the_order_asked_for(network, photographs):
    rows = np.random.default_rng(1).permutation(len(photographs))[: 3 * BATCH + 1]
    parts = list(parallel_outputs(network, network, photographs, rows, CPU))
    assert np.array_equal(np.concatenate([own for own, _ in parts]), rows)
    expected = plain(network, photographs, network)[rows]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), expected, rtol=1e-4, atol=1e-5)
    assert list(parallel_outputs(network, network, photographs, rows[:0], CPU)) == []


def test_outputs_do_not_depend_on_the_number_of_cores_or_threads(network, photographs, monkeypatch):
    before = torch.get_num_threads()
    found = []
    for cores, threads in ((1, 1), (2, 2), (5, 1)):
        monkeypatch.setattr(prediction, "cpu_count", lambda cores=cores: cores)
        torch.set_num_threads(threads)
        found.append(predict_logits(network, photographs, device=CPU))
        # Nor do they change it, for this thread or those that start later.
        with ThreadPoolExecutor(1) as pool:
            assert [torch.get_num_threads(), pool.submit(torch.get_num_threads).result()] == [threads] * 2
    torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_each_module_returns_to_its_own_mode(network, photographs):
    network.train()
    norm = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    predict_logits(network, photographs, device=CPU)
    assert [module.training for module in network.modules()] == modes
    abandoned = parallel_outputs(network, network, photographs, np.arange(len(photographs)), CPU)
    next(abandoned)
    abandoned.close()
    with pytest.raises(IndexError):
        list(parallel_outputs(network, network, photographs, np.array([len(photographs)]), CPU))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_few_batches_are_held_at_a_time(network, photographs, monkeypatch):
    decoded = []
    real = prediction.decode_batch

    def counting(images, chunk, **options):
        decoded.append(len(chunk))
        return real(images, chunk, **options)

    monkeypatch.setattr(prediction, "decode_batch", counting)
    monkeypatch.setattr(prediction, "cpu_count", lambda: 2)
    outputs = parallel_outputs(network, network, photographs, np.arange(len(photographs)), CPU)
    for yielded in range(1, 4):
        next(outputs)
        time.sleep(0.2)  # the workers would go on
        assert len(decoded) <= yielded + 2
    outputs.close()
    assert max(decoded) == BATCH


@pytest.mark.parametrize(("name", "channels"), [("tinynet", 1), ("resnet32", 3)])
def test_small_images_are_predicted_as_when_results_were_published(name, channels):
    """Bit for bit: batches of 512 on all threads."""
    network = network_of(name, 32, channels)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (600, channels, 32, 32)).astype(np.uint8)
    split = ImageSplit(images, np.zeros(600, dtype=np.int64), tuple(map(str, range(600))))
    layout = torch.channels_last if channels > 1 else torch.contiguous_format
    network.eval()
    with torch.inference_mode():
        batches = [torch.from_numpy(images[i : i + 512]).float().div_(255) for i in (0, 512)]
        expected = torch.cat([network(batch.contiguous(memory_format=layout)) for batch in batches]).numpy()
    assert np.array_equal(predict_logits(network, split, device=CPU), expected)


def test_an_image_in_two_splits_is_embedded_once(network, photographs, tmp_path, monkeypatch):
    first, second = photographs.subset(range(20)), photographs.subset(range(10, 40))
    seen, keyed = [], []
    real = ImageSplit.content_keys
    monkeypatch.setattr(ImageSplit, "content_keys", lambda split: keyed.append(len(split)) or real(split))
    with EmbeddingCache(tmp_path / "rows", network.embedding_dim) as cache:
        embed_missing(
            network,
            [first, second],
            cache,
            device=CPU,
            progress=lambda done, total: seen.append((done, total)),
        )
        # Reading every image for every batch would take longer than embedding.
        assert keyed == [20, 30]
        rows = cache.rows(second.content_keys())
    assert seen[-1] == (40, 40)
    assert (tmp_path / "rows").stat().st_size == 40 * (16 + 4 + 4 * network.embedding_dim)
    expected = plain(network, second, network.raw_embed)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_workers_of_a_study_share_the_cores(network, photographs, monkeypatch):
    """Two jobs on four cores predict with two threads each, more jobs than cores with one; alone, it is four."""
    monkeypatch.setattr(prediction, "cpu_count", lambda: 4)
    pools = []
    real = prediction.ThreadPoolExecutor

    def counted(workers, **options):
        pools.append(workers)
        return real(workers, **options)

    monkeypatch.setattr(prediction, "ThreadPoolExecutor", counted)
    expected = predict_logits(network, photographs, device=CPU)
    for jobs in ("2", "9"):
        monkeypatch.setenv(JOBS, jobs)
        assert np.array_equal(predict_logits(network, photographs, device=CPU), expected)
    assert pools == [4, 2, 1]
