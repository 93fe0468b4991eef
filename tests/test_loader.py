import threading
import traceback

import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import AUGMENTATIONS, Loader
from mnist_paddle.data.dataset import Split
from mnist_paddle.data.loader import epoch_order, normalize, prefetch, shard
from mnist_paddle.kernels.compiler import Kernels, find_compiler

SPLIT = Split(*make_digits(150))
READERS = ["sync", "async", "resident"]


def drawn(start=0, stop=6, batch_size=64, **settings):
    """Batches as NumPy: a list of (step, images, labels, global size)."""
    batches = Loader(SPLIT, batch_size, **settings).batches(start, stop)
    return [(batch.step, batch.images.numpy(), batch.labels.numpy(), batch.global_size) for batch in batches]


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert one[0] == other[0]
        assert one[3] == other[3]
        assert (one[1] == other[1]).all()
        assert (one[2] == other[2]).all()


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("reader", READERS[1:])
def test_every_reader_gives_the_same_bits(reader, augment):
    same(drawn(reader=reader, augment=augment, seed=5), drawn(reader="sync", augment=augment, seed=5))


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("augment", ["none", "affine"])
@pytest.mark.parametrize("images", [SPLIT.images, SPLIT.images[::-1], np.asfortranarray(SPLIT.images)])
@pytest.mark.parametrize("world_size", [1, 3])
def test_the_compiled_kernel_makes_the_same_batches_to_the_bit(images, augment, world_size):
    library, split = Kernels(2, print).library("float32"), Split(images, SPLIT.labels)
    assert library is not None
    for rank in range(world_size):
        settings = {"augment": augment, "rank": rank, "world_size": world_size, "normalization": (33.3184, 78.5675), "seed": 3}
        expected = list(Loader(split, 64, reader="sync", **settings).batches(0, 7))
        found = list(Loader(split, 64, library=library, **settings).batches(0, 7))
        for one, other in zip(found, expected):
            assert (one.step, one.global_size) == (other.step, other.global_size)
            assert one.images.numpy().tobytes() == other.images.numpy().tobytes()
            assert one.labels.numpy().tolist() == other.labels.numpy().tolist()
        assert len(found) == len(expected) == 7


@pytest.mark.parametrize("augment", ["none", "affine"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shards_of_all_ranks_form_the_batch_of_one_rank(world_size, reader, augment):
    whole = drawn(augment=augment)
    shares = [drawn(reader=reader, augment=augment, rank=rank, world_size=world_size) for rank in range(world_size)]
    joined = [
        (parts[0][0], np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts]), parts[0][3])
        for parts in zip(*shares)
    ]
    same(joined, whole)


@pytest.mark.parametrize("reader", READERS)
def test_any_step_can_be_loaded_without_the_previous_ones(reader):
    same(drawn(4, 6, reader=reader, augment="elastic"), drawn(0, 6, reader=reader, augment="elastic")[4:])


def test_an_epoch_has_every_image_once_in_a_new_order():
    batches = drawn(0, 6)
    assert [len(labels) for _, _, labels, _ in batches] == [64, 64, 22, 64, 64, 22]
    first, second = (np.concatenate([images for _, images, _, _ in batches[i : i + 3]]) for i in (0, 3))
    expected = normalize(SPLIT.images)[:, None]

    def ordered(images):
        flat = images.reshape(len(images), -1)
        return flat[np.lexsort(flat.T)]

    assert (ordered(first) == ordered(expected)).all()
    assert (ordered(second) == ordered(expected)).all()
    assert (first != second).any()


def test_images_are_normalized_and_match_their_labels():
    (_, images, labels, _) = drawn(0, 1)[0]
    indices = epoch_order(150, 0, 0)[:64]
    expected = (SPLIT.images[indices] / 255 - 0.1307) / 0.3081
    assert images.dtype == np.float32
    assert images.shape == (64, 1, 28, 28)
    np.testing.assert_allclose(images[:, 0], expected, atol=1e-3)
    assert (labels == SPLIT.labels[indices]).all()


def test_another_seed_gives_another_order():
    assert (epoch_order(100, 0, 0) != epoch_order(100, 1, 0)).any()
    assert sorted(epoch_order(100, 3, 7)) == list(range(100))


def test_a_few_batches_are_repeated_for_overfitting():
    batches = drawn(0, 4, limit=2)
    same([(0, *batches[0][1:]), (1, *batches[1][1:])], [(0, *batches[2][1:]), (1, *batches[3][1:])])


@pytest.mark.parametrize(("size", "world"), [(64, 3), (22, 4), (1, 2), (2, 3)])
def test_shards_differ_by_at_most_one_and_cover_the_batch(size, world):
    items = np.arange(size)
    parts = [items[shard(items, rank, world)] for rank in range(world)]
    assert np.concatenate(parts).tolist() == items.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_an_error_in_the_worker_arrives_with_its_traceback():
    def broken():
        yield 1
        raise KeyError("the worker fell over")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="fell over") as caught:
        next(items)
    assert "in broken" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert not loader_threads()


def test_leaving_early_leaves_no_thread_behind():
    for _ in Loader(SPLIT, 8, reader="async").batches():
        break
    batches = Loader(SPLIT, 8, reader="async").batches()
    next(batches)
    batches.close()
    assert not loader_threads()


def test_prefetching_is_bounded():
    taken = []
    items = prefetch((taken.append(i) or i for i in range(1000)), size=3)
    for _ in range(20):
        next(items)
    assert len(taken) <= 20 + 3 + 2
    items.close()


def test_ctrl_c_in_the_loop_ends_the_worker():
    def interrupted():
        for number, _ in enumerate(Loader(SPLIT, 8, reader="async").batches()):
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not loader_threads()


@pytest.mark.parametrize("reader", READERS)
def test_one_copy_of_the_dataset_is_enough(reader):
    import tracemalloc

    images = np.zeros((60_000, 28, 28), np.uint8)
    split = Split(images, np.zeros(60_000, np.uint8))
    loader = Loader(split, 64, reader=reader)
    next(loader.batches(0, 1))  # what is imported now is not traced
    tracemalloc.start()
    batches = loader.batches(0, 50)
    for _ in batches:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy's allocations are traced, Paddle's are not: nothing near another copy of the 47 MB is made.
    assert peak < images.nbytes / 2


@pytest.mark.parametrize("reader", READERS)
def test_a_rank_may_have_no_images(reader):
    parts = [drawn(1, 2, batch_size=149, rank=rank, world_size=4, reader=reader) for rank in range(4)]  # of 150 images
    assert sorted(images.shape for ((_, images, _, _),) in parts) == [(0, 1, 28, 28)] * 3 + [(1, 1, 28, 28)]


@pytest.mark.parametrize("reader", READERS)
def test_a_batch_keeps_its_values_while_others_are_made(reader):
    batches = list(Loader(SPLIT, 64, reader=reader).batches(0, 60))
    same([(b.step, b.images.numpy(), b.labels.numpy(), b.global_size) for b in batches[:9]], drawn(0, 9))
