import numpy as np
import pytest

from mnist_paddle.benchmarks.ranks import draw, measured_table, predicted_table, report, show
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


# A step on one rank: 4 ms and 0.25 ms an image, so 20 ms for 64; two ranks need 25 ms, a quarter more.
BATCHES = {str(batch): 0.004 + 0.00025 * batch for batch in (8, 16, 32, 64, 128, 256)}
ALONE = {"step": 0.020, "input": 0.001, "compute": 0.019, "bytes": 4_000_000, "batches": BATCHES}
TWO = {
    "step": 0.025,
    "input": 0.001,
    "compute": 0.019,
    "bytes": 4_000_000,
    "exchange": {str(size): float(CABLE.exchange(2, size)) for size in (4, 1024, 65536, 4_000_000)},
}


@pytest.fixture
def measured():
    """The report of two rounds, the second twice as slow throughout."""
    slow = [{**run, "step": 2 * run["step"]} for run in (ALONE, TWO)]
    return report({1: [ALONE, ALONE, slow[0]], 2: [TWO, TWO, slow[1]]}, CABLE, 1)


def test_the_report_of_a_measurement_worked_by_hand(measured):
    row = measured["ranks"][2]
    assert [measured["ranks"][count]["images_per_second"] for count in (1, 2)] == [3200, 5120]
    assert row["times_one"] == 1.6
    assert row["rounds"] == [1.6, 1.6, 1.6], "a slow minute slows both"
    assert row["step_ms"] == {"compute": 19, "communication": 5, "input": 1}
    assert row["exchange_alone_ms"] == pytest.approx(2 * (0.01 + 2), abs=1e-3)  # 2 MB in 2 ms, twice
    assert measured["compute"] == {"step_ms": pytest.approx(4), "image_ms": pytest.approx(0.25)}
    assert measured["here"] == {"latency_us": pytest.approx(10), "gbit": pytest.approx(8)}
    assert measured["planned"]["ranks"][1]["efficiency"] == 1
    assert measured["planned"]["ranks"][2]["efficiency"] == pytest.approx(20 / 24.02, abs=1e-4)


def test_the_report_as_text_and_as_a_figure(measured, tmp_path):
    lines = show(measured).splitlines()
    assert lines[3].split()[:3] == ["2", "5,120", "1.60"]
    assert "(1.60 to 1.60 in 3 rounds)" in lines[4]
    assert "fitted: a step costs 4.00 ms plus 0.2500 ms per image on one rank" in lines
    assert "        a message between these ranks takes 10 us, then runs at 8.0 Gbit/s" in lines
    assert lines[-1].split()[0] == "1024"
    png = tmp_path / "scaling.png"
    draw(measured, png)
    assert png.read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_a_document_have_the_same_figures(measured):
    rows = measured_table(measured)
    assert rows[1] == ["1", "3,200", "1.00 (1.00 to 1.00)", "19.00", "0.00", "1.00", "0.00"]
    assert rows[2][:5] == ["2", "5,120", "1.60 (1.60 to 1.60)", "19.00", "5.00"]
    assert predicted_table(measured)[0][0] == "ranks (10 µs, 8 Gbit/s)"
    assert predicted_table(measured)[2][:3] == ["2", "5,329", "83.3 %"]  # 128 images in 24.02 ms


def test_one_rank_alone_is_reported_without_a_network():
    alone = report({1: [ALONE]}, CABLE, 4)
    assert alone["here"] is None
    assert "in 4 micro-batches" in show(alone)
    assert "a message between" not in show(alone)
