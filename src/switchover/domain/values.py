"""
Frozen values that are quick to make and to copy.

A frozen dataclass sets each of its fields through ``object.__setattr__``, because its own refuses, which makes a value
of a dozen fields three times as dear as an ordinary object; and values like tasks and events are what a stage
boundary is made of. So a value is put together as an instance of a *thawed* twin, a class with the same slots and
nothing that refuses, and then becomes what it is to be: Python allows an object to change its class when both have the
same slots. What anybody ever sees is frozen.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, cast

Value = TypeVar("Value")

new_list: Callable[[], list[Any]] = list
new_dict: Callable[[], dict[Any, Any]] = dict
"""Default factories of fields; ``list[int]`` is the clearer one, and takes six times as long to give a list."""


def quick(cls: type[Value]) -> type[Value]:
    """
    Give a frozen dataclass with slots a quick ``__init__``; otherwise it stays what it was.

    Raises:
        TypeError: The class has what this does without: a ``__post_init__``, a default factory, a base with slots.
    """
    own = _fields(cls)
    if hasattr(cls, "__post_init__") or any(field.default_factory is not MISSING for field in own):
        msg = f"{cls.__name__} has a __post_init__ or a default factory, so its __init__ cannot be replaced"
        raise TypeError(msg)
    names: dict[str, Any] = {"set": object.__setattr__, "cls": cls, "Thawed": _thawed(cls)}
    positional: list[str] = []
    keywords: list[str] = []
    for field in own:
        parameter = field.name
        if field.default is not MISSING:
            names[f"default_{field.name}"] = field.default
            parameter += f"=default_{field.name}"
        (keywords if field.kw_only else positional).append(parameter)
    parameters = ["self", *positional, *(["*", *keywords] if keywords else [])]
    made = _define(
        "__init__",
        f"def __init__({', '.join(parameters)}):",
        ["set(self, '__class__', Thawed)", *(f"self.{f.name} = {f.name}" for f in own), "self.__class__ = cls"],
        names,
    )
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = getattr(cls, "__init__").__annotations__  # noqa: B009  # not as an instance's method
    cls.__init__ = made  # type: ignore[method-assign]  # what this is for
    return cls


def evolver(cls: type[Value]) -> Callable[..., Value]:
    """
    Make a ``dataclasses.replace`` for one frozen class with slots that takes a tenth of the time.

    It does not run ``__init__``; a misspelt field is the caller's AttributeError.
    """
    body = ["copy = new(Thawed)"]
    body += [f"copy.{field.name} = value.{field.name}" for field in _fields(cls)]
    body += [
        "for name, changed in changes.items():",
        "    set(copy, name, changed)",
        "copy.__class__ = cls",
        "return copy",
    ]
    names: dict[str, Any] = {"new": object.__new__, "set": setattr, "cls": cls, "Thawed": _thawed(cls)}
    return cast("Callable[..., Value]", _define("evolve", "def evolve(value, **changes):", body, names))


def _fields(cls: type[Any]) -> tuple[Field[Any], ...]:
    return fields(cls)


def _thawed(cls: type[Any]) -> type[Any]:
    return type(f"Thawed{cls.__name__}", (), {"__slots__": tuple(field.name for field in _fields(cls))})


def _define(name: str, head: str, body: list[str], names: dict[str, Any]) -> Callable[..., Any]:
    source = "\n".join([head, *(f"    {line}" for line in body)])
    exec(source, names)  # noqa: S102  # our own text over the names of our own fields, as dataclasses does it
    made: Callable[..., Any] = names[name]
    return made
