"""The compiled kernel: equal to the plain operators for all sizes, types and values, and never needed."""

import copy
import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from safetensors.numpy import load_file

from mnist_paddle import LOSSES, MODELS, Config, fit, resume
from mnist_paddle.kernels import batch_norm, compiler
from mnist_paddle.kernels.check import LAYERS, NORMS, SHAPES, by_definition, compiled, draw, problem
from mnist_paddle.kernels.compiler import Kernels
from mnist_paddle.kernels.convolution import convolve
from mnist_paddle.kernels.library import Dense, Library, Norm, Shape
from mnist_paddle.layers import Conv2D, ConvBlock, use_kernels

needs_compiler = pytest.mark.skipif(compiler.find_compiler() is None, reason="there is no C compiler")
KERNELS = Kernels(2, print)
LARGE = [Dense(64, 784, 100, True), Dense(65, 980, 10, False), Norm(64, 16, 196, True, 1e-5, 0.9)]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def library(dtype="float32", threads=2) -> Library:
    return Library(KERNELS.library(dtype).path, threads)


def tensors(*arrays):
    made = [paddle.to_tensor(array) for array in arrays]
    for tensor in made:
        tensor.stop_gradient = False
    return made


def close(ours, theirs, dtype="float32"):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return np.abs(ours - theirs).max() <= TOLERANCE[dtype] * max(1.0, np.abs(theirs).max())


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", range(1, 29))
def test_every_kernel_size_equals_the_definition(kernel, dtype):
    padding = min(kernel // 2, kernel - 1)
    for pool, relu in ((1, False), (2, True)):
        shape = Shape(3, 2, 28, 29, 3, kernel, padding, pool, relu)
        assert problem(library(dtype), shape, dtype) is None


@needs_compiler
@pytest.mark.parametrize("images", [1, 2, 15, 16, 17, 33])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 20), (3, 5), (20, 20), (16, 6), (33, 2), (64, 64)])
def test_every_count_of_images_and_channels_equals_the_definition(images, before, after):
    assert problem(library(), Shape(images, before, 6, 7, after, 3, 1, 2, True), "float32") is None


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("height", range(1, 8))
@pytest.mark.parametrize("width", [1, 2, 3, 6, 7, 14])
def test_every_side_by_winograd_equals_the_definition(width, height, dtype):
    for pool, relu in ((1, True), (2, False)):
        if pool <= min(width, height):
            assert problem(library(dtype), Shape(18, 16, height, width, 32, 3, 1, pool, relu), dtype) is None


@needs_compiler
@pytest.mark.parametrize("before", [1, 7, 8, 14, 15, 16, 23, 32, 33, 48])
@pytest.mark.parametrize("after", [1, 8, 11, 15, 16, 17, 32, 64])
def test_every_width_of_3_x_3_convolutions_equals_the_definition(before, after):
    for images in (1, 17):
        assert problem(library(), Shape(images, before, 5, 4, after, 3, 1, 1, True), "float32") is None


@needs_compiler
@pytest.mark.parametrize(
    "shape", [Shape(64, 16, 14, 14, 16, 3, 1), Shape(64, 32, 7, 7, 64, 3, 1, 2), Shape(64, 64, 3, 3, 64, 3, 1)]
)
def test_winograd_rounds_no_more_than_a_sum_of_as_many_products(shape):
    arrays = draw(shape, "float32")
    ours, exact = compiled(library(), shape, *arrays), by_definition(shape, *arrays)
    for name, expected in exact.items():  # measured: 1.5e-7 to 5.6e-7; the direct sums 0.9e-7 to 8.5e-7
        assert np.abs(ours[name] - expected).max() <= 1e-6 * np.abs(expected).max(), name


@needs_compiler
@pytest.mark.parametrize("pool", range(1, 16))
def test_every_window_equals_the_definition(pool):
    assert problem(library(), Shape(4, 2, 17, 31, 3, 3, 1, pool, False), "float32") is None


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [*LAYERS, *NORMS, *LARGE])
def test_fully_connected_layers_and_batch_norm_equal_the_definition(sizes, dtype):
    assert problem(library(dtype), sizes, dtype) is None


@needs_compiler
@pytest.mark.parametrize("before", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("after", [1, 7, 8, 15, 16, 17, 31, 112, 113, 250])
def test_every_width_of_fully_connected_layers_equals_the_definition(before, after):
    for images in (1, 3, 4, 21):
        assert problem(library(), Dense(images, before, after, True), "float32") is None


def build(compiler_path, tmp_path, *flags):
    """The library with a sanitizer."""
    path = tmp_path / "checked.so"
    command = [compiler_path, *compiler.FLAGS, "-march=native", "-g", *flags, *compiler.SOURCES, "-o", str(path), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no sanitizer: {done.stderr[-200:]}")
    return path


@needs_compiler
@pytest.mark.commands
@pytest.mark.skipif(sys.platform != "linux", reason="preloads GCC's sanitizer")
def test_no_access_is_outside_an_array_and_no_operation_is_undefined(tmp_path):
    gcc = shutil.which("gcc") or pytest.skip("needs GCC")
    # Optimized less: unrolled and checked loops take minutes to compile.
    path = build(gcc, tmp_path, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    find = [[gcc, f"-print-file-name={name}"] for name in ("libasan.so", "libubsan.so")]
    preload = [subprocess.check_output(command, text=True).strip() for command in find]
    # Python itself is full of what these options would report: memory that is never freed, and its own allocator.
    environment = {**os.environ, "LD_PRELOAD": " ".join(preload), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-m", "mnist_paddle.kernels.check", str(path), "float32"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@needs_compiler
@pytest.mark.commands
@pytest.mark.skipif(sys.platform != "linux", reason="GCC's sanitizer")
def test_threads_share_the_blocks_without_a_race(tmp_path):
    gcc, folder = shutil.which("gcc") or pytest.skip("needs GCC"), compiler.FOLDER
    program = tmp_path / "race"
    sources = [str(Path(__file__).with_name("kernels_race.c")), str(folder / "threads.c")]
    command = [gcc, "-O1", "-g", "-std=gnu11", "-fsanitize=thread", "-pthread", f"-I{folder}", *sources, "-o", str(program)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no thread sanitizer")
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_of_threads_does_not_change_a_bit(shape):
    arrays = draw(shape, "float32")
    alone, many = (compiled(library(threads=threads), shape, *arrays) for threads in (1, 5))
    for name, array in alone.items():
        np.testing.assert_array_equal(array, many[name], err_msg=name)


@needs_compiler
@pytest.mark.parametrize(("name", "arguments"), [("cnn", {"hidden": 21}), ("resnet", {})])
def test_an_image_has_the_same_outputs_in_every_batch(name, arguments):
    model = MODELS[name](**arguments)
    use_kernels(model, KERNELS)
    model.eval()
    images = paddle.randn([70, 1, 28, 28])
    whole = model(images).numpy()
    for start, stop in ((0, 1), (3, 10), (17, 70), (64, 67)):
        np.testing.assert_array_equal(model(images[start:stop]).numpy(), whole[start:stop])


@needs_compiler
def test_gradients_are_those_of_finite_differences():
    shape, step = Shape(3, 2, 7, 6, 3, 3, 1, 2, True), 1e-6
    images, weights, bias, gradient = draw(shape, "float64")
    results = compiled(library("float64"), shape, images, weights, bias, gradient)
    generator = np.random.default_rng(1)

    def loss(*inputs):
        return float((compiled(library("float64"), shape, *inputs, gradient)["outputs"] * gradient).sum())

    for number, name in enumerate(("images", "weights", "bias")):
        inputs = [images, weights, bias]
        direction = generator.standard_normal(inputs[number].shape)
        losses = []
        for sign in (1, -1):
            moved = list(inputs)
            moved[number] = inputs[number] + sign * step * direction
            losses.append(loss(*moved))
        expected = (losses[0] - losses[1]) / (2 * step)
        assert abs((results[f"gradient of {name}"] * direction).sum() - expected) <= 1e-6 * max(1, abs(expected))


@needs_compiler
@pytest.mark.parametrize("place", [0, 100, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_seen_in_the_outputs_of_its_image_only(value, place):
    for shape in (Shape(20, 1, 12, 12, 4, 5, 2), Shape(20, 16, 7, 6, 16, 3, 1)):
        images, weights, bias, gradient = draw(shape, "float32")
        images[3].flat[place] = value
        ours = compiled(library(), shape, images, weights, bias, gradient)
        expected = by_definition(shape, images, weights, bias, gradient)
        assert not np.isfinite(ours["outputs"][3]).all()
        assert not np.isfinite(ours["outputs"][~np.isfinite(expected["outputs"])]).any()
        assert np.isfinite(np.delete(ours["outputs"], 3, axis=0)).all()
        assert not np.isfinite(ours["gradient of weights"][~np.isfinite(expected["gradient of weights"])]).any()


@needs_compiler
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -3.4e38])
def test_windows_of_any_value_stay_within_their_memory(value):
    shape = Shape(5, 1, 8, 8, 3, 3, 1, 2, False)
    images, weights, bias, gradient = draw(shape, "float32")
    images[:] = value
    results = compiled(library(), shape, images, weights, bias, gradient)
    assert results["outputs"].shape == shape.outputs


@needs_compiler
@pytest.mark.parametrize("relu", [False, True])
def test_nan_passes_relu_and_pooling(relu):
    shape = Shape(2, 1, 8, 8, 2, 3, 1, 2, relu)
    images, weights, bias, gradient = draw(shape, "float32")
    images[0, 0, 3, 3] = np.nan
    assert np.isnan(compiled(library(), shape, images, weights, bias, gradient)["outputs"][0]).any()


NETWORKS = [
    ("linear", {}),
    ("linear", {"outputs": 1}),
    ("fc", {}),
    ("fc", {"widths": [100, 50, 20], "activation": "sigmoid"}),
    ("fc", {"widths": [30], "activation": "gelu"}),
    ("cnn", {}),
    ("cnn", {"channels": [10, 32], "norm": "batch"}),
    ("cnn", {"channels": [4, 6, 8], "kernel": 3, "hidden": 12, "norm": "group"}),
    ("cnn", {"activation": "gelu", "kernel": 4}),
    ("cnn", {"activation": "silu", "norm": "batch"}),
    ("quick", {}),
    ("quick", {"norm": "none"}),
    ("lenet", {}),
    ("resnet", {}),
    ("resnet", {"norm": "none"}),
    ("resnet", {"norm": "group", "activation": "gelu", "channels": [8, 8], "blocks": 2}),
]


def outputs_and_gradients(name, arguments, kernels, images=40, frozen=lambda name: False):
    paddle.seed(0)
    model = MODELS[name](**arguments)
    for key, parameter in model.named_parameters():
        parameter.stop_gradient = parameter.stop_gradient or frozen(key)
    use_kernels(model, kernels)
    generator = np.random.default_rng(0)
    outputs = model(paddle.to_tensor(generator.standard_normal((images, 1, 28, 28)).astype("float32")))
    loss = LOSSES["cross_entropy"] if outputs.shape[1] > 1 else LOSSES["mse_scalar"]
    loss(outputs, paddle.arange(images) % 10).mean().backward()
    arrays = {"outputs": outputs.numpy()}
    arrays |= {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return arrays | {f"buffer {name}": tensor.numpy() for name, tensor in model.state_dict().items()}


@needs_compiler
@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_a_network_computes_the_same_with_and_without_the_kernel(name, arguments):
    plain, ours = (outputs_and_gradients(name, arguments, kernels) for kernels in (None, KERNELS))
    assert plain.keys() == ours.keys()
    # The maxima of a window may differ by rounding alone, and then have their gradients in other places.
    for key, expected in plain.items():
        assert np.abs(ours[key] - expected).max() <= 5e-5 * max(1.0, np.abs(expected).max()), key


FROZEN = {
    "first layer": lambda key: key.startswith("0.") or key.startswith("1.weight"),
    "weights": lambda key: key.endswith("weight"),
    "biases": lambda key: key.endswith("bias"),
}


WITHOUT_NORM = [("fc", {}), ("cnn", {}), ("resnet", {"norm": "none"})]


@pytest.mark.parametrize("frozen", FROZEN.values(), ids=FROZEN)
@pytest.mark.parametrize(
    ("name", "arguments", "kernels"),
    [
        *(pytest.param(*network, KERNELS, marks=needs_compiler) for network in [*WITHOUT_NORM, ("quick", {}), ("resnet", {})]),
        # Paddle's own batch norm has no gradient for its bias where its weight is frozen.
        *((*network, None) for network in WITHOUT_NORM),
    ],
)
def test_frozen_parameters_have_no_gradient_and_the_others_the_same(name, arguments, kernels, frozen):
    every = outputs_and_gradients(name, arguments, kernels)
    some = outputs_and_gradients(name, arguments, kernels, frozen=frozen)
    missing = every.keys() - some.keys()
    assert missing == {key for key in every if frozen(key) and f"buffer {key}" in every}
    assert missing
    assert all(np.array_equal(some[key], every[key]) for key in some)


@needs_compiler
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(16, 3, 7, 7), (5, 2, 1, 1), (3, 4, 14, 15), (1, 2, 3, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_equals_the_plain_layer(dtype, shape, relu, shortcut):
    paddle.set_default_dtype(dtype)
    try:
        plain, fused = nn.BatchNorm2D(shape[1]), nn.BatchNorm2D(shape[1])
    finally:
        paddle.set_default_dtype("float32")
    generator = np.random.default_rng(0)
    images, aside, gradient = (generator.standard_normal(shape).astype(dtype) for _ in range(3))
    results = []
    for layer in (plain, fused):
        x, side = tensors(images, aside)
        if layer is plain:
            outputs = layer(x) + (side if shortcut else 0.0)
            outputs = nn.functional.relu(outputs) if relu else outputs
        else:
            outputs = batch_norm.batch_norm(library(dtype), x, layer, side if shortcut else None, relu=relu)
        outputs.backward(paddle.to_tensor(gradient))
        results.append([outputs, x.grad, layer.weight.grad, layer.bias.grad, layer._mean, layer._variance])
        results[-1] += [side.grad] if shortcut else []
    for number, (expected, ours) in enumerate(zip(*results)):
        # Paddle keeps epsilon and momentum in single precision, also for double precision.
        assert close(ours.numpy(), expected.numpy()) or (number == 1 and shape[0] * shape[2] * shape[3] < 16), number


@needs_compiler
def test_batch_norm_by_fixed_statistics_is_left_to_paddle():
    results = []
    for kernels in (None, KERNELS):
        paddle.seed(0)
        block = ConvBlock(1, 4, 3, norm="batch")
        block.norm[0]._use_global_stats = True
        use_kernels(block, kernels)
        results.append((block(paddle.ones([3, 1, 8, 8])).numpy(), block.norm[0]._mean.numpy()))
    assert close(*(outputs for outputs, _ in results))
    assert (results[1][1] == 0).all()  # which nothing moved


@needs_compiler
def test_a_watched_block_runs_layer_by_layer():
    block = ConvBlock(1, 4, 3, pool=2)
    use_kernels(block, KERNELS)
    images = paddle.randn([3, 1, 8, 8])
    fused, seen = block(images), []
    for layer in block.sublayers():
        layer.register_forward_post_hook(lambda layer, inputs, outputs: seen.append(type(layer).__name__))
    assert close(block(images).numpy(), fused.numpy())
    assert {"Conv2D", "Bias", "ReLU"} <= set(seen)


@needs_compiler
def test_views_and_slices_are_computed_from_their_own_values():
    images, weight = tensors(
        *(np.random.default_rng(0).standard_normal(size).astype("float32") for size in [(6, 3, 9, 8), (4, 3, 3, 3)])
    )
    for view in (images[2:5], images.transpose([0, 1, 3, 2]), images[:, :, ::2]):
        ours = convolve(library(), view, weight, padding=1)
        assert close(ours.numpy(), nn.functional.conv2d(view, weight, padding=1).numpy())


@needs_compiler
def test_a_graph_that_is_never_used_is_freed():
    """Were the outputs kept for the backward pass, they would hold their own graph forever."""
    images, weight = tensors(np.zeros((64, 4, 28, 28), "float32"), np.zeros((8, 4, 3, 3), "float32"))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if sys.platform == "linux" else 0

    convolve(library(), images, weight, padding=1, relu=True)
    before = resident()
    for _ in range(100):  # 1.6 MB of outputs each
        convolve(library(), images, weight, padding=1, relu=True)
    assert resident() - before < 80e6


@needs_compiler
def test_threads_of_python_may_use_the_kernel_at_once():
    shape = Shape(64, 3, 10, 10, 8, 3, 1, 2, True)
    arrays = draw(shape, "float32")
    expected, results = compiled(library(threads=3), shape, *arrays), []
    workers = [threading.Thread(target=lambda: results.append(compiled(library(threads=3), shape, *arrays))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 8
    for result in results:
        for name, array in expected.items():
            np.testing.assert_array_equal(result[name], array)


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_computes_too():
    code = """
import os, sys
import numpy as np
from mnist_paddle.kernels.check import problem
from mnist_paddle.kernels.library import Dense, Library, Norm, Shape
library, shape = Library(sys.argv[1], 3), Shape(64, 1, 8, 8, 4, 3, 1, 2, True)
assert problem(library, shape, "float32") is None
child = os.fork()
if child == 0:
    os._exit(0 if problem(library, shape, "float32") is None else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code, library().path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_a_copy_of_a_network_uses_the_kernel_too():
    model = MODELS["cnn"]()
    use_kernels(model, KERNELS)
    assert copy.deepcopy(model)[0].conv.kernels is KERNELS


def test_padding_of_the_kernel_size_or_more_is_left_to_paddle():
    layer = Conv2D(1, 2, 3, padding=3)
    layer.kernels = KERNELS
    images = paddle.randn([2, 1, 5, 5])
    assert layer.library(images) is None
    assert list(layer(images).shape) == [2, 2, 9, 9]


@pytest.mark.commands
class TestCompiling:
    """What happens around the compiler, each in a cache folder of its own."""

    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MNIST_PADDLE_CACHE", str(tmp_path / "cache"))
        self.folder, self.log = tmp_path / "cache" / "kernels", []
        compiler.key.cache_clear()
        yield
        compiler.key.cache_clear()

    def load(self):
        return compiler.load("float32", 1, self.log.append)

    @needs_compiler
    def test_a_library_is_compiled_once(self):
        assert problem(self.load(), SHAPES[0], "float32") is None
        assert [line.split(" with")[0] for line in self.log] == ["compiled the float32 kernel"]
        self.load()
        assert len(self.log) == 1

    @needs_compiler
    @pytest.mark.parametrize("content", [b"no library", None])
    def test_a_damaged_library_is_compiled_again(self, content):
        path = Path(self.load().path)
        whole = path.read_bytes()
        path.unlink()  # it is loaded
        path.write_bytes(whole[:5000] if content is None else content)
        assert problem(self.load(), SHAPES[0], "float32") is None
        assert len(self.log) == 2

    @needs_compiler
    def test_a_folder_that_others_can_write_to_is_not_trusted(self):
        self.load()
        self.folder.chmod(0o777)
        assert problem(self.load(), SHAPES[0], "float32") is None
        assert "the next run compiles it again" in self.log[-1]

    @needs_compiler
    def test_the_compiler_may_have_flags_and_there_may_be_no_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CC", f"{shlex.join(compiler.find_compiler())} -DUNUSED=1")
        monkeypatch.setattr(compiler, "cache_folder", lambda: Path("~") / "cache")
        monkeypatch.chdir(tmp_path)
        assert problem(self.load(), SHAPES[0], "float32") is None
        assert "there is no home folder" in self.log[-1]
        assert list(tmp_path.iterdir()) == []

    def test_without_a_compiler_plain_paddle_computes(self, monkeypatch):
        monkeypatch.setenv("PATH", str(self.folder))
        monkeypatch.delenv("CC", raising=False)
        assert self.load() is None
        assert self.log == []
        assert outputs_and_gradients("cnn", {}, Kernels(1, self.log.append), images=2)

    def refused(self, script, tmp_path, monkeypatch) -> str:
        """The only line of the log with a shell script as the compiler, whose library is not used."""
        path = tmp_path / "mycc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        assert self.load() is None
        assert len(self.log) == 1
        return self.log[0]

    @pytest.mark.skipif(os.name != "posix", reason="shell scripts as compilers")
    @pytest.mark.parametrize("script", ["echo 'fatal error: no such thing' >&2; exit 1", "exit 0", "kill -9 $$"])
    def test_a_broken_compiler_is_one_line_in_the_log(self, script, tmp_path, monkeypatch):
        line = self.refused(script, tmp_path, monkeypatch)
        assert "plain Paddle" in line
        assert "\n" not in line

    @needs_compiler
    def test_a_library_that_computes_something_else_is_not_used(self, tmp_path, monkeypatch):
        """Such as one of a compiler with a fault."""
        script = f"exec {shlex.join(compiler.find_compiler())} \"$@\" '-D__builtin_shuffle(a, b, index)=(a)'"
        assert "is not used" in self.refused(script, tmp_path, monkeypatch)


@needs_compiler
def test_the_results_agree_with_the_definition_for_images_of_one_color():
    shape = Shape(2, 1, 6, 6, 2, 3, 1, 2, True)
    arrays = [np.ones_like(array) for array in draw(shape, "float32")]
    ours, theirs = compiled(library(), shape, *arrays), by_definition(shape, *arrays)
    for name in ours:  # all values of a window are equal: the first counts
        assert close(ours[name], theirs[name]), name


@needs_compiler
def test_a_resumed_run_tells_when_it_is_computed_in_another_way(small, tmp_path):
    config = Config(model="cnn", batch_size=100, epochs=2, schedule="constant", output_dir=str(tmp_path / "run"))
    fit(dataclasses.replace(config, epochs=1), small, log=lambda text: None)
    lines = []
    resume(tmp_path / "run", small, log=lines.append, epochs=2, kernels="python")
    assert any("computed by the compiled kernel and now are by plain Paddle" in line for line in lines)


@needs_compiler
@pytest.mark.commands
def test_stopping_and_resuming_changes_no_bit(small, tmp_path):
    config = Config(model="resnet", model_args={"channels": [4, 8]}, batch_size=100, epochs=1, checkpoint_every=1, keep=100)
    whole = fit(dataclasses.replace(config, output_dir=str(tmp_path / "whole")), small, log=lambda text: None)
    for step in (2, 5):
        copied = tmp_path / str(step)
        shutil.copytree(tmp_path / "whole", copied)
        resumed = resume(copied / f"step_{step:08}.safetensors", small, log=lambda text: None)
        assert resumed["test_loss"] == whole["test_loss"]
        ours, theirs = ((folder / "last.safetensors") for folder in (copied, tmp_path / "whole"))
        for (name, array), (other, expected) in zip(load_file(ours).items(), load_file(theirs).items()):
            assert name == other
            np.testing.assert_array_equal(array, expected)
