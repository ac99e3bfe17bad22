"""
The generations beside the values: the same shape as the values, with numbers in their place.

``{"acme": {"gateway": 4}}`` beside a map with fields, ``{"acme": 4}`` beside one without, ``4`` beside the file of one
key. The empty name is ours: with a number, it is the generation of the key itself when the key has fields too; with 0
it says that Switchover made the object (or the file) around the values, and takes it away again with the last of them.
"""

from typing import cast

import orjson

Slot = int | dict[str, int] | None
"""What is noted for one key: one generation, one per field, or nothing."""

OWN = ""


def generation_of(slot: Slot, field: str | None) -> int:
    """The generation of a key (``field`` None) or of one of its fields; 0 when none is noted."""
    if slot is None:
        return 0
    if isinstance(slot, int):
        return slot if field is None else 0
    return slot.get(OWN if field is None else field, 0)


def with_generation(slot: Slot, field: str | None, generation: int) -> Slot:
    """The slot with this noted."""
    if field is None:
        return {**slot, OWN: generation} if isinstance(slot, dict) else generation
    return {**_fields(slot), field: generation}


def is_ours(slot: Slot) -> bool:
    """Whether Switchover made what holds the fields."""
    return isinstance(slot, dict) and slot.get(OWN) == 0


def as_ours(slot: Slot) -> Slot:
    """Note that Switchover makes what holds the fields, unless the key has a generation of its own."""
    fields = _fields(slot)
    return {OWN: 0, **fields}


def not_ours(slot: Slot) -> Slot:
    """Forget it again."""
    if is_ours(slot):
        return {name: number for name, number in _fields(slot).items() if name != OWN}
    return slot


def _fields(slot: Slot) -> dict[str, int]:
    if slot is None:
        return {}
    return {OWN: slot} if isinstance(slot, int) else slot


def read_slot(value: object) -> Slot:
    """Check; raises ValueError."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        if all(isinstance(number, int) and not isinstance(number, bool) for number in fields.values()):
            return cast("dict[str, int]", fields)
    msg = f"{value!r} is no generation"
    raise ValueError(msg)


class GenerationMap:
    """The generations of a map file: a slot per key."""

    def __init__(self, content: bytes | None) -> None:
        """Raises ValueError when the content is something else."""
        found: object = {} if content is None else orjson.loads(content)
        if not isinstance(found, dict):
            msg = "it is no JSON object"
            raise ValueError(msg)  # noqa: TRY004  # the content is wrong, not the caller
        slots = cast("dict[str, object]", found)
        self._slots: dict[str, Slot] = {key: read_slot(slot) for key, slot in slots.items()}

    def get(self, key: str) -> Slot:
        """What is noted for a key."""
        return self._slots.get(key)

    def set(self, key: str, slot: Slot) -> None:
        """Note it."""
        if slot is None:
            self._slots.pop(key, None)
        else:
            self._slots[key] = slot

    def content(self) -> bytes:
        """As it lies in the file."""
        return orjson.dumps(self._slots) + b"\n"
