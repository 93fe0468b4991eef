"""How the strategies divide a network, seen from one process: a strategy for two ranks, first as rank 0, then as rank 1.

What the ranks exchange is tested by test_ranks.py.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from mnist_paddle import MODELS, UsageError
from mnist_paddle.distributed.pipeline import Pipeline, find_split
from mnist_paddle.distributed.strategies import STRATEGIES, choose
from mnist_paddle.distributed.strategy import flatten, unflatten_into
from mnist_paddle.distributed.tensor_parallel import SliceDropout, TensorParallel

SMALL = {
    "fc": {"widths": [8, 6], "dropout": 0.2},
    "cnn": {"channels": [4, 4], "hidden": 8},
    "lenet": {},
    "rnn": {"hidden": 8},
    "resnet": {"channels": [4, 8]},
}
TWO_LINEAR = ("fc", "cnn", "lenet")  # networks with two fully connected layers in a row


@pytest.fixture
def images():
    paddle.seed(3)
    return paddle.rand([5, 1, 28, 28])


def as_rank(strategy_class, rank: int, ranks: int = 2):
    strategy = strategy_class(ranks)
    strategy.rank = rank
    return strategy


@pytest.mark.parametrize("name", SMALL)
def test_the_two_stages_of_a_pipeline_are_the_network(name, images):
    network = MODELS[name](**SMALL[name])
    network.eval()
    layers = list(network.named_children())
    split = find_split(layers)
    features, classifier = paddle.nn.Sequential(*layers[:split]), paddle.nn.Sequential(*layers[split:])
    assert features.parameters()
    assert classifier.parameters()
    np.testing.assert_allclose(classifier(features(images)).numpy(), network(images).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_each_tensor_of_a_pipeline_is_on_one_rank_under_its_own_name(name):
    network = MODELS[name](**SMALL[name])
    whole = {f"model/{key}": tensor.numpy() for key, tensor in network.state_dict().items()}
    first, second = as_rank(Pipeline, 0), as_rank(Pipeline, 1)
    stages = [first.local_model(network), second.local_model(network)]
    kept = [first.local_arrays(whole), second.local_arrays(whole)]
    for stage, arrays in zip(stages, kept):
        assert {f"model/{key}" for key in stage.state_dict()} == set(arrays)
    assert sorted([*kept[0], *kept[1]]) == sorted(whole)
    assert [first.reports_metrics, second.reports_metrics] == [False, True]
    assert (second.shard_index, second.shard_count) == (0, 1), "every rank takes the whole batch"


def test_a_network_of_one_layer_has_no_stages():
    with pytest.raises(UsageError, match=r"--parallel model: this network has one layer .* use --model fc or cnn"):
        Pipeline(2).local_model(MODELS["linear"]())


@pytest.mark.parametrize("name", TWO_LINEAR)
def test_slices_of_two_ranks_compute_what_the_whole_pair_computes(name):
    network = MODELS[name](**SMALL[name])
    network.eval()
    slices = [as_rank(TensorParallel, rank).local_model(network) for rank in (0, 1)]
    names = [key for key, layer in slices[0].named_children() if type(layer).__name__ in ("ColumnLinear", "RowLinear")]
    first, last = (dict(network.named_children())[key] for key in names)
    inputs = paddle.rand([5, first.weight.shape[0]])
    total = paddle.zeros([5, last.weight.shape[1]])
    for part in slices:
        columns, rows = (dict(part.named_children())[key] for key in names)
        total = total + F.linear(F.relu(F.linear(inputs, columns.weight, columns.bias)), rows.weight)
        np.testing.assert_array_equal(rows.bias.numpy(), last.bias.numpy())
    np.testing.assert_allclose((total + last.bias).numpy(), last(F.relu(first(inputs))).numpy(), rtol=1e-4, atol=1e-5)


def test_slices_of_a_checkpoint_joined_are_the_checkpoint():
    network = MODELS["fc"](widths=[8, 6])
    whole = {f"model/{key}": tensor.numpy() for key, tensor in network.state_dict().items()}
    whole |= {f"optimizer/{key}/moment1": tensor.numpy() for key, tensor in network.state_dict().items()}
    whole["optimizer/1.weight/beta1_pow"] = np.ones(1, "float32")
    ranks = [as_rank(TensorParallel, rank) for rank in (0, 1)]
    for strategy in ranks:
        strategy.local_model(network)
    kept = [strategy.local_arrays(whole) for strategy in ranks]
    assert kept[0]["model/1.weight"].shape == (784, 4)
    assert kept[0]["model/3.weight"].shape == (4, 6)
    for key, array in whole.items():
        axis = ranks[0].axis(key)
        joined = kept[1][key] if axis is None else np.concatenate([arrays[key] for arrays in kept], axis)
        np.testing.assert_array_equal(joined, array, err_msg=key)


def test_an_array_of_another_shape_stays_whole():
    strategy = TensorParallel(2)
    strategy.local_model(MODELS["fc"](widths=[8, 6]))
    damaged = {"model/1.weight": np.zeros((784, 7)), "model/1.bias": np.zeros(())}
    kept = strategy.local_arrays(damaged)
    assert [kept[key].shape for key in damaged] == [(784, 7), ()]


@pytest.mark.parametrize(
    ("name", "arguments", "ranks", "says"),
    [
        ("fc", {"widths": [9, 6]}, 2, r"the 9 columns of layer '1' can't be split evenly over 2 ranks; use a width that 2"),
        ("fc", {"widths": [8, 6]}, 3, r"the 8 columns of layer '1' can't be split evenly over 3 ranks"),
        ("linear", {}, 2, "needs two consecutive fully connected layers"),
        ("fc", {"widths": [8], "norm": "batch"}, 2, "without a norm between them"),
        ("cnn", {}, 2, "--model cnn --model_args hidden=256"),
    ],
)
def test_a_network_without_a_layer_to_split_is_rejected(name, arguments, ranks, says):
    with pytest.raises(UsageError, match=rf"^--parallel columns.*{says}"):
        TensorParallel(ranks).local_model(MODELS[name](**arguments))


def test_the_slices_of_a_dropout_mask_are_one_mask():
    inputs = paddle.ones([6, 4])
    parts = []
    for columns in (slice(0, 4), slice(4, 8)):
        paddle.seed(7)
        parts.append(SliceDropout(0.5, 8, columns)(inputs).numpy())
    paddle.seed(7)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), F.dropout(paddle.ones([6, 8]), 0.5).numpy())
    layer = SliceDropout(0.5, 8, slice(0, 4))
    layer.eval()
    np.testing.assert_array_equal(layer(inputs).numpy(), inputs.numpy())


@pytest.mark.parametrize(
    ("parallel", "ranks", "says"),
    [
        ("data", 3, "--batch_size 64 is not divisible by 3 ranks; the nearest size that is: 63"),
        ("model", 3, "--parallel model splits the network over 2 ranks, and there are 3"),
        ("model", 1, "and there is 1; start it with scripts/launch.py --nproc 2"),
        ("columns", 1, "--parallel columns splits a layer over 2 or more ranks, and there is 1"),
    ],
)
def test_a_number_of_ranks_that_does_not_suit_is_rejected(parallel, ranks, says):
    with pytest.raises(UsageError, match=says):
        choose(parallel, "allreduce", 64, ranks)


@pytest.mark.parametrize(("parallel", "sync"), STRATEGIES)
def test_a_plan_for_two_ranks_accepts_a_batch_that_they_can_take(parallel, sync):
    assert choose(parallel, sync, 64, 2).world_size == 2


@pytest.mark.parametrize("sync", ["allreduce", "server"])
def test_on_one_rank_an_update_is_the_optimizers_step(sync, images):
    network = MODELS["linear"]()
    before = network[1].bias.numpy()
    optimizer = paddle.optimizer.SGD(0.5, parameters=network.parameters())
    network(images).sum().backward()
    strategy = choose("data", sync, 5, 1)
    assert strategy.replicate(network) is network
    strategy.update(network, optimizer, 1.0)
    np.testing.assert_allclose(network[1].bias.numpy(), before - 0.5 * 5, rtol=1e-6)  # the gradient counts the images


def test_tensors_in_one_message_come_back_as_they_were():
    tensors = [paddle.rand([2, 3]), paddle.rand([4]), paddle.rand([1, 1, 2])]
    empty = [paddle.zeros(tensor.shape) for tensor in tensors]
    unflatten_into(empty, flatten(tensors))
    for received, tensor in zip(empty, tensors):
        np.testing.assert_array_equal(received.numpy(), tensor.numpy())
