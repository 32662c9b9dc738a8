"""Folders of pictures: found by domain and class, read in colour at one size, refused where something is missing."""

import numpy as np
import pytest
from PIL import Image

from mlrisk.data.image_folders import domain_index, find_image_domains, read_pictures
from mlrisk.errors import BadInput, DataUnavailable


@pytest.fixture
def pictures(tmp_path):
    """Two domains, three classes of which the second domain lacks one; shade and mode by domain."""
    for domain, mode, classes in (("photo", "RGB", ("cat", "dog", "owl")), ("sketch", "L", ("cat", "owl"))):
        for place, name in enumerate(classes):
            folder = tmp_path / domain / name
            folder.mkdir(parents=True)
            for number in range(2):
                shade = 40 * place + 10 * number
                colour = (shade, 0, 255) if mode == "RGB" else shade
                Image.new(mode, (12, 8), colour).save(folder / f"{number}.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "README.txt").write_text("not a domain")
    return tmp_path


def test_domains_and_classes_by_name(pictures):
    found = find_image_domains(pictures)
    assert [domain.name for domain in found.domains] == ["photo", "sketch"]
    assert found.class_names == ("cat", "dog", "owl")
    assert found.domains[0].labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.domains[1].labels.tolist() == [0, 0, 2, 2]
    assert domain_index(found, "sketch") == 1


def test_pictures_are_in_colour_and_of_one_size(pictures):
    photo, sketch = find_image_domains(pictures).domains
    pixels = read_pictures(photo.files, 6)
    assert pixels.shape == (6, 6, 6, 3)
    np.testing.assert_array_equal(pixels[3], np.broadcast_to([50, 0, 255], (6, 6, 3)))
    np.testing.assert_array_equal(read_pictures(sketch.files, 4)[1], np.full((4, 4, 3), 10))


def test_what_is_missing_gets_one_line(pictures):
    with pytest.raises(DataUnavailable, match="none does not exist"):
        find_image_domains(pictures / "none")
    with pytest.raises(BadInput, match="has 0 domains"):
        find_image_domains(pictures / "photo" / "cat")
    with pytest.raises(BadInput, match="test_domain: 'clipart' is not one of photo, sketch"):
        domain_index(find_image_domains(pictures), "clipart")
    with pytest.raises(BadInput, match="size: 0 is not a positive"):
        read_pictures([], 0)
    (pictures / "photo" / "cat" / "0.png").write_bytes(b"damaged")
    with pytest.raises(DataUnavailable, match=r"0\.png is missing or damaged"):
        read_pictures(find_image_domains(pictures).domains[0].files, 4)
    for file in (pictures / "sketch" / "owl").iterdir():
        file.unlink()
    with pytest.raises(BadInput, match="domain sketch has 2 pictures of 1 classes"):
        find_image_domains(pictures)
