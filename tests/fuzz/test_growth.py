"""
Twice the input takes about twice the memory and twice the work, at every door.

Work is counted in calls of functions, not in seconds, so that the machine's load does not matter.
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType

import pytest

from tests.fuzz import doors

Door = Callable[[bytes], None]
Shape = Callable[[int], bytes]

LARGER = 1.35
"""How much more than twice twice the input may take; something quadratic takes four times."""

_TENANT = '{"tenantId": "t%d", "deployUnitId": 2, "deployUnitVersion": 42}'


def _json_tenants(number: int) -> bytes:
    return ("[" + ",".join(_TENANT % index for index in range(number)) + "]").encode()


def _yaml_tenants(number: int) -> bytes:
    return ("spec:\n  tenants:\n" + "".join(f"  - {_TENANT % index}\n" for index in range(number))).encode()


def _the_same_tenant(number: int) -> bytes:
    return ("[" + ",".join([_TENANT % 1] * number) + "]").encode()


def _unknown_fields(number: int) -> bytes:
    fields = ",".join(f'"field{index}": {index}' for index in range(number))
    return f'[{{"tenantId": "a", "deployUnitId": 1, "deployUnitVersion": 1, {fields}}}]'.encode()


def _wrong_endpoints(number: int) -> bytes:
    ends = ",".join(['{"value": "http://[::1", "targetIp": "999"}'] * number)
    return f'[{{"tenantId": "a", "deployUnitId": 1, "deployUnitVersion": 1, "networkEndpoints": [{ends}]}}]'.encode()


def _placeholders(number: int) -> bytes:
    return b"{tenantId}/{deployUnitName}-" * number


def _open_braces(number: int) -> bytes:
    return b"{" * number


def _catalogue(number: int) -> bytes:
    stage = '{"name": "s%d", "steps": [{"healthCheck": {}}]}'
    return ("[" + ",".join(stage % index for index in range(number)) + "]").encode()


def _csv(number: int) -> bytes:
    return b"tenantId,deployUnitId,deployUnitVersion\n" + b"".join(b"t%d,2,42\n" % index for index in range(number))


def _health_body(number: int) -> bytes:
    items = ",".join(f'"k{index}": [{{"version": {index}}}]' for index in range(number))
    return f"$.k1[0].version\n42\n{{{items}}}".encode()


def _address(number: int) -> bytes:
    return b"http://user:secret@127.0.0.1/" + b"a=b&token=c;" * number


def _secrets(number: int) -> bytes:
    return b"http://a:eyJabcdefgh-token-bearer 'b swo_" * number


GROWING: tuple[tuple[str, Door, Shape, int], ...] = (
    ("tenants in JSON", doors.plan, _json_tenants, 300),
    ("tenants in YAML", doors.plan, _yaml_tenants, 100),
    ("one tenant again and again", doors.documents, _the_same_tenant, 300),
    ("unknown fields", doors.documents, _unknown_fields, 300),
    ("wrong endpoints", doors.documents, _wrong_endpoints, 300),
    ("placeholders", doors.templates, _placeholders, 500),
    ("braces that are not closed", doors.templates, _open_braces, 2_000),
    ("stages", doors.templates, _catalogue, 100),
    ("lines of a table", doors.tenants, _csv, 300),
    ("a body of an instance", doors.health, _health_body, 2_000),
    ("a long address", doors.addresses, _address, 200),
    ("what looks like secrets", doors.addresses, _secrets, 200),
)


def _work(door: Door, data: bytes) -> int:
    """Calls of functions, Python's and C's, that the door makes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        if event in {"call", "c_call"}:
            calls += 1

    gc.disable()  # a collection may call finalizers of others
    sys.setprofile(count)
    try:
        door(data)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def _memory(door: Door, data: bytes) -> int:
    """The most that was held at once, in bytes."""
    tracemalloc.start()
    try:
        door(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("what", "door", "shape", "number"), GROWING, ids=[case[0] for case in GROWING])
def test_twice_the_input_takes_twice_the_work_and_the_memory(what: str, door: Door, shape: Shape, number: int) -> None:
    small, large = shape(number), shape(2 * number)
    door(large)  # caches and imports are filled before anything is counted
    door(small)
    size = len(large) / len(small)
    assert _work(door, large) <= _work(door, small) * size * LARGER
    assert _memory(door, large) <= _memory(door, small) * size * LARGER


def test_something_quadratic_is_found() -> None:
    """A check that cannot fail proves nothing."""

    def pairs(data: bytes) -> None:
        for index in range(len(data)):
            data.count(b"x", index, index + 1)
            for other in range(index):
                len(str(other))

    assert _work(pairs, b"x" * 200) > _work(pairs, b"x" * 100) * 2 * LARGER
