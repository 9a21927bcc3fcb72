"""The order and the pixels of the image versions that attacks query."""

import numpy as np

from dpbench.attacks.toolbox.augmented import augmented


def slow(image, down, right, mirrored):
    """Moves one channel pixel by pixel, repeating the edge."""
    height, width = image.shape
    source = np.array([[row[width - 1 - c] for c in range(width)] for row in image])
    source = source if mirrored else image
    moved = np.empty_like(image)
    for r in range(height):
        for c in range(width):
            row = min(max(r - down, 0), height - 1)
            moved[r, c] = source[row, min(max(c - right, 0), width - 1)]
    return moved


def test_the_first_is_the_image_itself_and_the_second_its_mirror():
    images = np.random.default_rng(0).random((3, 2, 4, 5)).astype(np.float32)
    first, second = augmented(images, 2)
    assert first is None
    assert np.array_equal(second, images[:, :, :, ::-1])


def test_shifts_come_in_rings_each_plain_and_mirrored():
    images = np.random.default_rng(1).random((3, 2, 4, 5)).astype(np.float32)
    ring = [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1) if (d, r) != (0, 0)]
    expected = [(d, r, mirrored) for d, r in ring for mirrored in (False, True)]
    versions = list(augmented(images, 18))
    assert len(versions) == 18
    for version, (down, right, mirrored) in zip(versions[2:], expected, strict=True):
        for i in range(3):
            for channel in range(2):
                moved = slow(images[i, channel], down, right, mirrored)
                assert np.array_equal(version[i, channel], moved)


def test_without_mirror_images_the_shifts_keep_their_order():
    images = np.random.default_rng(3).random((3, 1, 5, 5)).astype(np.float32)
    plain = list(augmented(images, 9, mirrored=False))
    both = list(augmented(images, 18))
    assert plain[0] is None
    for version, known in zip(plain[1:], both[2::2], strict=True):
        assert np.array_equal(version, known)


def test_162_versions_reach_shifts_of_four_and_are_all_different():
    images = np.random.default_rng(2).random((1, 1, 10, 10)).astype(np.float32)
    versions = [images if v is None else v for v in augmented(images, 162)]
    assert len({v.tobytes() for v in versions}) == 162
    assert np.array_equal(versions[-2], slow(images[0, 0], 4, 4, False)[None, None])


def test_one_query_needs_no_image():
    assert list(augmented(np.zeros((5, 3)), 1)) == [None]
