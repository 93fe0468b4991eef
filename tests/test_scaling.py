import numpy as np
import pytest

from mnist_paddle.benchmarks import speed
from mnist_paddle.benchmarks.scaling import Compute, CostModel, Network, fit_compute, fit_network

# 10 us and 1 GB/s; 4 MB over 4 ranks: 6 messages of 1 MB, each 10 us + 1 ms.
CABLE = Network(10e-6, 1e9)


def test_a_ring_passes_every_part_around_twice():
    assert CABLE.exchange(4, 4e6) == pytest.approx(6 * (10e-6 + 1e-3))
    assert CABLE.exchange(1, 4e6) == 0
    np.testing.assert_allclose(CABLE.exchange([1, 2], 2e6), [0, 2 * (10e-6 + 1e-3)])


def test_fits_find_the_numbers_that_made_the_measurements():
    sizes = 4.0 ** np.arange(1, 12)
    for ranks in (2, 3, 8):
        network = fit_network(ranks, sizes, CABLE.exchange(ranks, sizes))
        assert (network.latency, network.bandwidth) == (pytest.approx(10e-6), pytest.approx(1e9))
    compute = fit_compute([8, 32, 128], [0.001 + 8e-4, 0.001 + 32e-4, 0.001 + 128e-4])
    assert (compute.step, compute.image) == (pytest.approx(0.001), pytest.approx(1e-4))


def test_no_fit_gives_a_negative_cost():
    assert fit_network(2, [4, 1e6], [1e-9, 1.0]).latency >= 0
    assert fit_compute([8, 16], [1.0, 0.5]).image > 0


def test_efficiency_and_throughput_worked_by_hand():
    model = CostModel(Compute(0.001, 1e-4), CABLE, 1e6)  # 64 images: 7.4 ms
    exchange = 2 * (10e-6 + 0.5e-3)  # 1 MB over 2 ranks: 1.02 ms
    assert model.efficiency(2, 64) == pytest.approx(7.4e-3 / (7.4e-3 + exchange))
    assert model.throughput(2, 64) == pytest.approx(128 / (7.4e-3 + exchange))
    assert model.efficiency(1, 64) == 1


@pytest.mark.parametrize("ranks", [2, 16, 1024])
def test_the_smallest_batch_is_the_first_that_is_efficient_enough(ranks):
    model = CostModel(Compute(0.001, 1e-4), CABLE, 1e6)
    batch = int(model.smallest_batch(ranks))
    assert model.efficiency(ranks, batch) >= 0.8 - 1e-9
    assert batch == 1 or model.efficiency(ranks, batch - 1) < 0.8 - 1e-9


@pytest.mark.parametrize(("kind", "base"), [("train", "plain Paddle"), ("loader", "paddle.io.DataLoader, fastest form")])
def test_ratios_are_to_what_the_document_compares_with(kind, base, monkeypatch):
    names = list(speed.IMPLEMENTATIONS[kind])
    monkeypatch.setattr(speed, "measure", lambda kind, name: 100.0 * (1 + names.index(name)))
    rows = speed.compare(kind, 1)
    assert list(rows) == names
    assert [name for name in names if rows[name]["ratio"] == 1] == [base]
    assert rows["reader async" if kind == "loader" else "mnist_paddle"]["ratio"] == 2.5 - (kind == "train") * 0.5
