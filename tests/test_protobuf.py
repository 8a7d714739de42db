"""Protobuf by field number, held against Google's own classes for the same message."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from hypothesis import example, given
from hypothesis import strategies as st

from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS, Limits
from mutewatch.protobuf import SCALARS, messages_of, parse_field, parse_protobuf
from mutewatch.protobuf_places import PlacedFloat, PlacedInt, placed_protobuf, zeroed

# A message with one field of every type, as the signature would write it.
TYPES = {**{name: name for name in SCALARS if name != "enum"}, "string": "string", "bytes": "bytes"}
MAP = messages_of(
    {
        "All": {
            **{f"a_{name}": f"{name} {number}" for number, name in enumerate(TYPES, 1)},
            "inner": "All 100",
            "many": "repeated double 101",
        }
    }
)


def google_class() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="all.proto", package="test", syntax="proto2")
    message = file.message_type.add(name="All")
    for name, field in MAP["All"].values():
        label = FieldDescriptorProto.LABEL_REPEATED if field.is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
        kind = "MESSAGE" if field.type == "All" else field.type.upper()
        added = message.field.add(name=name, number=field.number, label=label)
        added.type = getattr(FieldDescriptorProto, f"TYPE_{kind}")
        if kind == "MESSAGE":
            added.type_name = ".test.All"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.All"))


GOOGLE = google_class()
RANGES = {"32": (-(2**31), 2**31 - 1), "64": (-(2**63), 2**63 - 1)}


def values_of(name: str) -> st.SearchStrategy[object]:
    if name == "bool":
        return st.booleans()
    if name == "double":
        return st.floats(allow_nan=False)
    if name == "float":
        return st.floats(allow_nan=False, width=32)
    if name == "string":
        return st.text(max_size=20)
    if name == "bytes":
        return st.binary(max_size=20)
    low, high = RANGES[name[-2:]]
    unsigned = name.startswith(("uint", "fixed"))
    return st.integers(0, 2 * high + 1) if unsigned else st.integers(low, high)


FLAT = st.fixed_dictionaries({}, optional={f"a_{name}": values_of(name) for name in TYPES})


@given(FLAT, st.none() | FLAT, st.lists(st.floats(allow_nan=False), max_size=4))
def test_every_type_reads_as_googles_own_classes_wrote_it(
    flat: dict[str, object], inner: dict[str, object] | None, many: list[float]
) -> None:
    message = GOOGLE(**flat, many=many)
    if inner is not None:
        message.inner.CopyFrom(GOOGLE(**inner))
    expected = flat | ({} if inner is None else {"inner": inner}) | ({"many": many} if many else {})
    assert parse_protobuf(message.SerializeToString(), "All", MAP, DEFAULT_LIMITS) == expected


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_refuse(data: bytes) -> None:
    try:
        found = parse_protobuf(data, "All", MAP, DEFAULT_LIMITS)
    except DecodeError as error:
        assert str(error).startswith("protobuf: ")
    else:
        assert found.keys() <= {name for name, _ in MAP["All"].values()}


def test_zero_is_a_reading_and_what_is_not_on_the_wire_is_absent() -> None:
    one = messages_of({"M": {"a": "uint64 1"}})
    assert parse_protobuf(bytes.fromhex("0800"), "M", one, DEFAULT_LIMITS) == {"a": 0}
    assert parse_protobuf(b"", "M", one, DEFAULT_LIMITS) == {}


@pytest.mark.parametrize(
    ("data", "limits", "fault"),
    [
        (b"\x0a\x05ab", DEFAULT_LIMITS, "4 bytes that are not of its wire format"),
        (b"\x09" + bytes(8), DEFAULT_LIMITS, r"field 1 \(a\): wire type 1 instead of 0"),
        (b"\x12\x01\xff", DEFAULT_LIMITS, r"field 2 \(b\): not UTF-8"),
        (b"\x08\x01" * 4, Limits(json_nodes=3), "more than 3 fields"),
        (b"\x1a\x04\x1a\x02\x1a\x00", Limits(json_depth=3), "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field(data: bytes, limits: Limits, fault: str) -> None:
    messages = messages_of({"M": {"a": "uint64 1", "b": "string 2", "c": "M 3"}})
    with pytest.raises(DecodeError, match=fault):
        parse_protobuf(data, "M", messages, limits)


@pytest.mark.parametrize("text", ["uint64", "1 uint64", "uint64 0", "many uint64 1", "uint64 1 ", ""])
def test_a_field_is_a_type_and_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a protobuf field"):
        parse_field(text)


def numbers_in(value: object) -> list[PlacedInt | PlacedFloat]:
    if isinstance(value, dict | list):
        return [one for item in (value.values() if isinstance(value, dict) else value) for one in numbers_in(item)]
    return [value] if isinstance(value, PlacedInt | PlacedFloat) else []


@given(
    st.fixed_dictionaries({}, optional={name: values_of(name) for name in TYPES}), st.lists(st.floats(allow_nan=False))
)
def test_each_number_knows_its_bytes_and_can_be_zeroed_in_its_place(
    given: dict[str, object], many: list[float]
) -> None:
    fields = {f"a_{name}": value for name, value in given.items()}
    message = GOOGLE(**fields, many=many, inner=GOOGLE(**fields))
    data = message.SerializeToString()
    found = placed_protobuf(data, "All", MAP, DEFAULT_LIMITS)
    assert found == parse_protobuf(data, "All", MAP, DEFAULT_LIMITS)
    without = zeroed(data, (number.place for number in numbers_in(found)))
    assert len(without) == len(data)
    left = GOOGLE()
    left.ParseFromString(without)
    assert not any(numbers_in(placed_protobuf(without, "All", MAP, DEFAULT_LIMITS)))
    for name in TYPES:
        if name in given:
            is_number = name not in ("bool", "string", "bytes")
            assert getattr(left, f"a_{name}") == getattr(left.inner, f"a_{name}") == (0 if is_number else given[name])
    assert list(left.many) == [0] * len(many)


ODD_VARINTS = st.builds(
    lambda high, last: bytes(byte | 128 for byte in high) + bytes([last]),
    st.lists(st.sampled_from([0, 1, 0x09, 0x31, 127]), max_size=11),
    st.sampled_from([0, 1, 2, 0x10, 127]),
)


@given(st.binary(max_size=60) | st.lists(ODD_VARINTS | st.binary(max_size=8), max_size=8).map(b"".join))
@example(bytes.fromhex("b180808010 0000000000000000"))  # a number of 30 bits
@example(b"r\x01\xd1")  # a text that is none
def test_of_any_bytes_it_reads_what_the_library_reads_or_nothing(data: bytes) -> None:
    try:
        found = placed_protobuf(data, "All", MAP, DEFAULT_LIMITS)
    except DecodeError:
        return
    assert str(found) == str(parse_protobuf(data, "All", MAP, DEFAULT_LIMITS))  # not a number is not itself


def test_of_a_message_that_stands_there_twice_all_is_read_and_a_number_that_does_is_refused() -> None:
    first, second = GOOGLE(many=[1.5]), GOOGLE(many=[2.5], a_int32=7)
    twice = GOOGLE(inner=first).SerializeToString() + GOOGLE(inner=second).SerializeToString()
    assert parse_protobuf(twice, "All", MAP, DEFAULT_LIMITS) == {"inner": {"many": [1.5, 2.5], "a_int32": 7}}
    assert placed_protobuf(twice, "All", MAP, DEFAULT_LIMITS) == {"inner": {"many": [1.5, 2.5], "a_int32": 7}}
    number = GOOGLE(a_int32=7).SerializeToString()
    assert parse_protobuf(2 * number, "All", MAP, DEFAULT_LIMITS) == {"a_int32": 7}
    with pytest.raises(DecodeError, match="twice"):
        placed_protobuf(2 * number, "All", MAP, DEFAULT_LIMITS)
