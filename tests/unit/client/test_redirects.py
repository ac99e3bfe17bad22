"""The token is for the server that was named, and for no other."""

from collections import defaultdict

import pytest

from switchover.client import connect
from switchover.domain.task import PlanId
from switchover.errors import ServerError
from tests.support.faulty_http import faulty_server, respond


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_an_error_and_is_not_followed(status: int) -> None:
    async with faulty_server() as elsewhere, faulty_server() as server:
        moved = respond("", f"{status} Elsewhere", headers=f"Location: {elsewhere.url}/api/v1/plans\r\n")
        server.pages = defaultdict(lambda: lambda _: moved)
        async with connect(server.url, token="swo_" + "x" * 43) as client:
            with pytest.raises(ServerError, match=f"answered {status}"):
                await client.store.load_plan(PlanId(1))
            with pytest.raises(ServerError, match=f"answered {status}"):
                await client.facade.pause_task_by_tenant("a")
            with pytest.raises(ServerError, match=f"answered {status}"):
                async for _ in client.events(1, follow=False):
                    pass
    assert server.heads
    assert not elsewhere.heads
