"""Arrays and images as text that a page holds."""

from __future__ import annotations

import numpy as np
import pytest
from report_page import pixels_of, unpacked

from mosaic.view.report.encoding import packed, picture_of, shares


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_a_packed_array_is_read_back_little_endian(dtype: str) -> None:
    values = np.array([[0, 1, 2], [100, 200, 255]], dtype)
    for array in (values, values[:, ::-1], values.T):
        assert unpacked(packed(array)).tolist() == array.ravel().tolist()
    kinds = {
        "uint8": "Uint8Array",
        "uint16": "Uint16Array",
        "int16": "Int16Array",
        "int32": "Int32Array",
        "float32": "Float32Array",
    }
    assert packed(values)["type"] == kinds[dtype]


def test_a_type_that_javascript_has_no_array_for_is_an_error() -> None:
    with pytest.raises(KeyError, match="float64"):
        packed(np.zeros(2))


def test_shares_are_clamped_parts_of_65535() -> None:
    assert unpacked(shares(np.array([-1, 0, 0.5, 1, 3]))).tolist() == [0, 0, 32768, 65535, 65535]


def test_a_picture_has_the_levels_of_the_image_clamped_to_its_range() -> None:
    grey = np.array([[[-3.0, -1.0, 0.0, 1.0, 2.0]]])
    assert pixels_of(picture_of(grey, -1, 1)).tolist() == [[0, 0, 128, 255, 255]]
    colour = np.stack([np.zeros((2, 3)), np.ones((2, 3)), np.full((2, 3), 0.2)])
    assert pixels_of(picture_of(colour, 0, 1)).tolist() == [[[0, 255, 51]] * 3] * 2
