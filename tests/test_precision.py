"""--to_static and --amp: the same training, computed in another way."""

import dataclasses
import json

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

from mnist_paddle import LOSSES, MODELS, Config, UsageError, fit, resume
from mnist_paddle.experiment.precision import mixed_precision, static_graph

NETWORKS = [("linear", {}), ("fc", {}), ("cnn", {"channels": [4, 6], "norm": "batch"}), ("lenet", {}), ("rnn", {"hidden": 8})]
IMAGES = np.random.default_rng(0).standard_normal((12, 1, 28, 28)).astype("float32")


def gradients(model):
    outputs = model(paddle.to_tensor(IMAGES))
    LOSSES["cross_entropy"](outputs, paddle.arange(12) % 10).mean().backward()
    arrays = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    model.clear_gradients()
    return {"outputs": outputs.numpy(), **arrays}


def built(name, arguments):
    paddle.seed(0)
    return MODELS[name](**arguments)


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_a_static_graph_computes_what_the_network_computes(name, arguments):
    expected, model = gradients(built(name, arguments)), built(name, arguments)
    with static_graph(model):
        ours = gradients(model)
    assert ours.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_allclose(ours[key], array, rtol=1e-4, atol=1e-5, err_msg=key)
    assert "forward" not in model.__dict__


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_scaling_the_loss_changes_no_gradient(kind):
    """On a CPU automatic mixed precision has no effect, so only the scale and its inverse, powers of two, are left."""
    expected, model = gradients(built("fc", {})), built("fc", {})
    with mixed_precision(model, kind):
        ours = gradients(model)
    for key, array in expected.items():
        np.testing.assert_array_equal(ours[key], array, err_msg=key)
    again = gradients(model)
    np.testing.assert_array_equal(again["outputs"], expected["outputs"])
    assert "forward" not in model.__dict__


def test_a_static_run_learns_and_resumes_bit_for_bit(small, tmp_path):
    config = Config(
        model="fc", model_args={"dropout": 0.2}, batch_size=100, epochs=2, to_static=True, keep=100, checkpoint_every=2
    )
    whole = fit(dataclasses.replace(config, output_dir=str(tmp_path / "run")), small, log=lambda text: None)
    assert whole["test_accuracy"] > 80
    last = load_file(tmp_path / "run" / "last.safetensors")
    resume(tmp_path / "run" / "step_00000004.safetensors", small, log=lambda text: None)
    for name, array in load_file(tmp_path / "run" / "last.safetensors").items():
        np.testing.assert_array_equal(array, last[name])


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="a GPU may be there")
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_mixed_precision_on_a_cpu_is_refused(kind, small, tmp_path):
    with pytest.raises(UsageError, match="needs a GPU"):
        fit(Config(model="linear", amp=kind, output_dir=str(tmp_path / "run")), small, log=lambda text: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", [{"replicas": 2}])
def test_a_static_graph_with_what_it_can_not_have_is_refused(other, small, tmp_path):
    with pytest.raises(UsageError, match="--to_static"):
        fit(Config(model="linear", to_static=True, output_dir=str(tmp_path / "run"), **other), small, log=lambda text: None)


def test_the_settings_are_recorded(small, tmp_path):
    fit(Config(model="linear", to_static=True, epochs=1, output_dir=str(tmp_path / "run")), small, log=lambda text: None)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["test_accuracy"] > 50
    with pytest.raises(UsageError, match="to_static"):
        resume(tmp_path / "run", small, log=lambda text: None, epochs=2, to_static=False)
