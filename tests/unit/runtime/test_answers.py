import decimal
import json
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.runtime.answers import Marshaller, read_event
from forerun.runtime.faults import Fault

Point = namedtuple("Point", "x y")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_comes_back(value):
    if _has_surrogate(value):
        return
    for ascii_only in (True, False):
        assert read_event(Marshaller(ascii_only=ascii_only).encode(value)) == value


def _has_surrogate(value):
    return any("\ud800" <= char <= "\udfff" for char in json.dumps(value, ensure_ascii=False))


@given(st.lists(st.decimals(allow_nan=False) | st.text(), min_size=1))
def test_decimals_keep_their_digits(values):
    if _has_surrogate([value for value in values if isinstance(value, str)]):
        return
    text = Marshaller(ascii_only=False).encode(values).decode()
    back = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    assert back == [str(value) for value in values]


@pytest.mark.parametrize(
    ("value", "ascii_text", "text"),
    [
        ("é", '"\\u00e9"', '"é"'),
        ({"p": [Point(1, (2,))]}, '{"p": [{"x": 1, "y": [2]}]}', None),
        ({b"k": b"v"}, '{"k": "v"}', None),
        (decimal.Decimal("NaN"), "NaN", None),
        (float("-inf"), "-Infinity", None),
        ([bytearray(b"x")], '["x"]', None),
    ],
)
def test_the_dialect(value, ascii_text, text):
    assert Marshaller(ascii_only=True).encode(value).decode() == ascii_text
    assert Marshaller(ascii_only=False).encode(value).decode() == (text or ascii_text)


def loop():
    cycle = [Point(1, 2)]
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1}, "Object of type set is not JSON serializable"),
        ([b"\xff"], "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (loop(), "Circular reference detected"),
        ("\ud800", "'utf-8' codec can't encode"),
    ],
)
def test_what_cannot_be_encoded_is_a_marshal_error(value, message):
    with pytest.raises(Fault) as caught:
        Marshaller(ascii_only=False).result(value)
    assert caught.value.error_type == "Runtime.MarshalError"
    assert caught.value.message.startswith("Unable to marshal response: " + message)


def test_deep_nesting_is_an_error_and_not_a_crash():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Fault):
        Marshaller(ascii_only=False).result(value)
    with pytest.raises(Fault):
        read_event(b"[" * 100_000)
