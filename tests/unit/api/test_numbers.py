"""Numbers in queries: what is none is refused, however it is written."""

import pytest

from forerun.api.numbers import positive_number, whole_number
from forerun.errors import InvalidInput

NONE = ["0", "11", "x", "-1", "1.5", "٣", "²", " 3", "3\n", "000000000000000000011", "9" * 5000]


def test_what_is_not_given_has_its_default():
    assert whole_number({}, "MaxItems", 50, 10) == 50
    assert whole_number({"MaxItems": ""}, "MaxItems", 50, 10) == 50
    assert positive_number({}, "Since", 0.5) == 0.5


def test_numbers_are_read():
    assert [whole_number({"N": text}, "N", 0, 10) for text in ("1", "10", "003")] == [1, 10, 3]
    assert [positive_number({"N": text}, "N", 0) for text in ("0", "1.25")] == [0, 1.25]


@pytest.mark.parametrize("text", NONE, ids=[each[:24].encode().hex() for each in NONE])
def test_what_is_no_such_number_is_refused_by_name(text):
    with pytest.raises(InvalidInput, match="MaxItems must be a number from 1 to 10, not "):
        whole_number({"MaxItems": text}, "MaxItems", 50, 10)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "٣", "1.", "9" * 5000], ids=range(7))
def test_what_is_no_positive_number_is_refused_by_name(text):
    with pytest.raises(InvalidInput, match="Since must be a positive number, not "):
        positive_number({"Since": text}, "Since", 0.0)
