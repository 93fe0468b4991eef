import numpy as np
import pytest
from digits import make_digits

from mnist_paddle import AUGMENTATIONS
from mnist_paddle.data.augment import COLUMNS, ROWS, warp

IMAGES = make_digits(20)[0]
MOVING = [name for name in AUGMENTATIONS if name != "none"]


def coordinates(rows, columns):
    """Both everywhere, for 20 images."""
    return [np.broadcast_to(array, (20, 28, 28)).astype(np.float32) for array in (rows, columns)]


def test_identity_coordinates_change_nothing():
    assert (warp(IMAGES, *coordinates(ROWS, COLUMNS)) == IMAGES).all()


def test_coordinates_one_row_below_shift_the_image_up_and_fill_with_black():
    moved = warp(IMAGES, *coordinates(ROWS + 1, COLUMNS))
    assert (moved[:, :-1] == IMAGES[:, 1:]).all()
    assert (moved[:, -1] == 0).all()


def test_halfway_between_two_pixels_is_their_mean():
    moved = warp(IMAGES, *coordinates(ROWS, COLUMNS + 0.5))
    expected = (IMAGES[:, :, :-1].astype(np.float32) + IMAGES[:, :, 1:]) / 2
    np.testing.assert_allclose(moved[:, :, :-1], expected, atol=1e-4)


def test_far_outside_is_black():
    assert (warp(IMAGES, *coordinates(ROWS + 500, COLUMNS - 900)) == 0).all()


@pytest.mark.parametrize("name", MOVING)
def test_equal_seeds_give_equal_coordinates_and_others_do_not(name):
    drawn = [AUGMENTATIONS[name](np.random.default_rng(seed), 20) for seed in (3, 3, 4)]
    assert all((drawn[0][axis] == drawn[1][axis]).all() for axis in (0, 1))
    assert (drawn[0][0] != drawn[2][0]).any()


@pytest.mark.parametrize("name", MOVING)
def test_every_image_is_transformed_slightly(name):
    rows, columns = AUGMENTATIONS[name](np.random.default_rng(0), 200)
    assert rows.dtype == columns.dtype == np.float32
    assert rows.shape == columns.shape == (200, 28, 28)
    away = np.abs(rows - ROWS)
    assert len(np.unique(rows[:, 14, 14])) > 3
    assert 0.2 < away.mean() < 4
    assert away[:, 14, 14].max() < 8
