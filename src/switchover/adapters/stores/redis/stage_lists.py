"""The names of stages, by the number of their list: most tasks of a plan have the same, and a row holds the number."""

from switchover.adapters.stores.codec import decode_json, encode_json
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.values import StageNames


class StageLists:
    """
    The lists that are known.

    A list is written when it is met first, outside of any commit: it tells nothing by itself, and is never changed.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._key = f"{server.address.prefix}:stage_lists"
        self._numbers: dict[tuple[str, ...], int] = {}
        self._names: StageNames = {}

    async def number(self, names: tuple[str, ...]) -> int:
        """Of this list; a new one is written."""
        number = self._numbers.get(names)
        if number is None:
            text = encode_json(names)
            number = int(await self._server.write("keeping the names of stages", "stage_list", text))
            self._remember(number, tuple(decode_json(text)))
            self._numbers[names] = number
        return number

    async def names(self, numbers: set[int]) -> StageNames:
        """The lists, at least those of these numbers; a number without a list is left out."""
        if not numbers <= self._names.keys():
            found = await self._server.command("reading the names of stages", "HGETALL", self._key)
            for number, text in zip(found[::2], found[1::2], strict=True):
                self._remember(int(number), tuple(decode_json(text)))
        return self._names

    def _remember(self, number: int, names: tuple[str, ...]) -> None:
        self._names[number] = names
        self._numbers.setdefault(names, number)
