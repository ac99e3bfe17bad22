"""
Every fault that is injected, and the state that it must lead to.

The tests in ``tests/faults`` take their expectations from here, one test for each row; the page
``docs/reference/faults.md`` is printed from here (``python scripts/make_docs.py``). So a row is what is tested, and
what is tested is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from switchover.errors import ErrorCode, ErrorType

_NETWORK = ErrorType.NETWORK_ERROR
_TIMEOUT = ErrorType.TIMEOUT_ERROR
_UNAVAILABLE = ErrorType.SERVICE_UNAVAILABLE
_BUSINESS = ErrorType.BUSINESS_ERROR
_SYSTEM = ErrorType.SYSTEM_ERROR


@dataclass(frozen=True, slots=True)
class Row:
    """
    One fault.

    Attributes:
        key: Names the test, and how the fault is made.
        fault: For people.
        kind: None: the task completes, and ``says`` tells why.
        says: A part of the message; of a fault that does no harm: what happens instead.
        retryable: Whether the same step may succeed when nothing but time passes.
    """

    key: str
    fault: str
    kind: ErrorType | None
    says: str
    code: ErrorCode = ErrorCode.TARGET_UNAVAILABLE
    retryable: bool = True


def _health(key: str, fault: str, kind: ErrorType | None, says: str) -> Row:
    return Row(key, fault, kind, says, ErrorCode.HEALTH_CHECK_FAILED)


def _refusal(key: str, fault: str, says: str, *, kind: ErrorType = _BUSINESS, retryable: bool = True) -> Row:
    return Row(key, fault, kind, says, ErrorCode.TARGET_ERROR, retryable)


HEALTH: Sequence[Row] = (
    _health("refused", "the connection is refused", _NETWORK, "could not be connected to"),
    _health("RESET", "the connection is reset in the middle of the request", _NETWORK, "broke off"),
    _health("CLOSE", "the connection is closed without an answer", _NETWORK, "broke off: Server disconnected"),
    _health("HALF_CLOSE", "only the way back is closed", _NETWORK, "broke off: Server disconnected"),
    _health("CUT_MIDWAY", "the connection is reset in the middle of the answer", _NETWORK, "broke off"),
    _health("HANG", "the connection is accepted, and nothing ever comes", _TIMEOUT, "gave no answer within"),
    _health("DRIP", "head and body come one byte at a time", _TIMEOUT, "gave no answer within"),
    _health("/headers", "one header that never ends", _TIMEOUT, "gave no answer within"),
    _health("/drip", "a body that never ends, one byte at a time", _TIMEOUT, "gave no answer within"),
    _health("GARBAGE", "bytes that are no HTTP", _NETWORK, "answered what is no HTTP"),
    _health("/many-headers", "headers without end", _NETWORK, "answered what is no HTTP: Too many headers"),
    _health("/100-mb", "a body of 100 MB", _BUSINESS, "with more than 65536 bytes"),
    _health("/huge", "a body without end", _BUSINESS, "with more than 65536 bytes"),
    _health("bomb", "100 KB that unpack to 100 MB", _BUSINESS, "with more than 65536 bytes"),
    _health("packed", "a body that is not packed as it says", _NETWORK, "Can not decode content-encoding"),
    _health("old version", "the old version", _BUSINESS, "answered version 41"),
    _health("no version", "no version", _BUSINESS, "answered without 'version'"),
    _health("null version", "null as the version", _BUSINESS, "answered version null"),
    _health("not JSON", "a page in place of JSON", _BUSINESS, "no JSON: <html>login</html>"),
    _health("half JSON", "half a JSON object", _BUSINESS, "no JSON"),
    _health("nothing", "an empty body", _BUSINESS, "no JSON: nothing"),
    _health("not UTF-8", "a body that is not UTF-8", _BUSINESS, "no JSON"),
    _health("nested", "JSON, nested 30,000 deep", _BUSINESS, "no JSON"),
    _health("list", "JSON that is no object", _BUSINESS, "JSON that is no object: [42]"),
    _health("/half", "fewer bytes than Content-Length says", _NETWORK, "broke off"),
    _health("short length", "more bytes than Content-Length says", _NETWORK, "answered what is no HTTP"),
    _health("bad length", "a Content-Length that is no number", _NETWORK, "answered what is no HTTP"),
    _health("two lengths", "two lengths that differ", _NETWORK, "answered what is no HTTP"),
    _health("100", "100 Continue, and then the answer", None, "the answer counts"),
    _health("103", "103 Early Hints, and then the answer", None, "the answer counts"),
    _health("101", "101 Switching Protocols", _BUSINESS, "answered 101"),
    _health("204", "204 No Content", _BUSINESS, "no JSON: nothing"),
    _health("304", "304 Not Modified", _BUSINESS, "answered 304"),
    _health("404", "404 Not Found, with the right version in it", _BUSINESS, "answered 404"),
    _health("500", "500, with the right version in it", _BUSINESS, "answered 500"),
    _health("503", "503 Service Unavailable", _UNAVAILABLE, "answered 503"),
    _health("/loop", "a redirect to itself", _BUSINESS, "a redirect to /loop, which is not followed"),
    _health(
        "redirect",
        "a redirect to the metadata service of the cloud",
        _BUSINESS,
        "a redirect to http://169.254.169.254/latest, which is not followed",
    ),
    _health("no such name", "the name cannot be resolved", _NETWORK, "the name could not be resolved"),
    _health(
        "led away",
        "the name resolves to an address outside the allow-list",
        _NETWORK,
        "169.254.169.254 of green.test is outside the endpoint allow-list",
    ),
    _health("expired", "a certificate that has expired", _NETWORK, "certificate has expired"),
    _health("wrong name", "a certificate for somebody else", _NETWORK, "certificate is not valid for '127.0.0.1'"),
    _health("self-signed", "a certificate that nobody else has signed", _NETWORK, "self-signed certificate"),
    _health("plain", "no TLS where https was asked for", _NETWORK, "could not be connected to"),
    _health("flapping", "every second request fails, each time in another way", None, "the first good round passes"),
)

HTTP: Sequence[Row] = (
    Row("refused", "the connection is refused", _NETWORK, "Connect call failed"),
    Row("RESET", "the connection is reset in the middle of the write", _NETWORK, "Connection reset by peer"),
    Row("CLOSE", "the connection is closed without an answer to the write", _NETWORK, "Server disconnected"),
    Row("HALF_CLOSE", "only the way back is closed", _NETWORK, "Server disconnected"),
    Row("HANG", "nothing ever answers the write", _TIMEOUT, "no complete answer within"),
    Row("DRIP", "the answer comes one byte at a time", _TIMEOUT, "no complete answer within"),
    Row("GARBAGE", "bytes that are no HTTP", _NETWORK, "answered what is no HTTP"),
    Row(
        "CUT_ANSWER",
        "the write is applied, and the connection is cut before the answer",
        _NETWORK,
        "Connection reset by peer",
    ),
    Row(
        "CUT_MIDWAY",
        "the write is applied, and the connection is cut in the answer",
        _NETWORK,
        "Connection reset by peer",
    ),
    Row("kept alive", "a connection that was kept alive is closed as the write is sent", None, "it is sent again"),
    Row("/headers", "one header that never ends", _TIMEOUT, "no complete answer within"),
    Row("/many-headers", "headers without end", _NETWORK, "answered what is no HTTP: Too many headers"),
    _refusal("/100-mb", "a value of 100 MB", "answered more than 16777216 bytes"),
    _refusal("/huge", "a value without end", "answered more than 16777216 bytes"),
    _refusal("bomb", "100 KB that unpack to 100 MB", "answered more than 16777216 bytes"),
    Row("packed", "a value that is not packed as it says", _NETWORK, "Can not decode content-encoding"),
    Row("/half", "fewer bytes than Content-Length says", _NETWORK, "not completed"),
    Row("short length", "more bytes than Content-Length says", _NETWORK, "answered what is no HTTP"),
    _refusal("101", "101 Switching Protocols", "answered 101"),
    _refusal("401", "401 Unauthorized", "answered 401: who are you"),
    _refusal("500", "500 to the write", "answered 500: boom"),
    Row("503", "503 to the write", _UNAVAILABLE, "answered 503: busy"),
    Row("429", "429 Too Many Requests", _UNAVAILABLE, "answered 429"),
    _refusal("/loop", "a redirect to itself", "a redirect to /loop, which is not followed"),
    _refusal(
        "redirect",
        "a redirect to the metadata service of the cloud",
        "a redirect to http://169.254.169.254/latest, which is not followed",
    ),
    Row(
        "409", "409: the server holds a newer generation", _BUSINESS, "generation 9", ErrorCode.STALE_GENERATION, False
    ),
    Row(
        "newer",
        "what is read carries a newer generation",
        _BUSINESS,
        "generation 9",
        ErrorCode.STALE_GENERATION,
        False,
    ),
    _refusal("no number", "a generation that is no number", "which is no number"),
    _refusal("long number", "a generation of 5,000 digits", "which is no number"),
    Row("no such name", "the name cannot be resolved", _NETWORK, "Name or service not known"),
    Row(
        "forbidden",
        "an address outside the allow-list",
        _NETWORK,
        "169.254.169.254 is outside the endpoint allow-list",
        ErrorCode.ENDPOINT_NOT_ALLOWED,
        False,
    ),
    Row("expired", "a certificate that has expired", _NETWORK, "certificate has expired"),
    Row("wrong name", "a certificate for somebody else", _NETWORK, "certificate is not valid for '127.0.0.1'"),
    Row("self-signed", "a certificate that nobody else has signed", _NETWORK, "self-signed certificate"),
)

REDIS: Sequence[Row] = (
    Row("refused", "the connection is refused", _NETWORK, "Connect call failed"),
    Row("RESET", "every connection is reset", _NETWORK, "Connection reset by peer"),
    Row("CLOSE", "every connection is closed without an answer", _NETWORK, "Connection closed by server"),
    Row("HALF_CLOSE", "only the way back is closed", _NETWORK, "Connection closed by server"),
    Row("HANG", "nothing ever answers", _TIMEOUT, "Timeout reading"),
    Row("DRIP", "the answer comes one byte at a time", _TIMEOUT, "Timeout reading"),
    Row("GARBAGE", "bytes that are no Redis", _NETWORK, "Protocol Error"),
    Row("CUT_ANSWER", "every connection is cut before its answer, again and again", _NETWORK, "Connection reset"),
    Row(
        "cut once",
        "the write is applied, and the connection is cut before the answer",
        None,
        "the write is sent again, under the same generation",
    ),
    Row("readonly", "the server has become a replica", _UNAVAILABLE, "read only replica"),
    Row("oom", "the server has no memory left", _UNAVAILABLE, "used memory > 'maxmemory'"),
    Row("misconf", "the server cannot save to its disk (MISCONF)", _UNAVAILABLE, "MISCONF"),
    Row("loading", "the server is loading its data", _UNAVAILABLE, "loading the dataset in memory"),
    Row("busy", "the server is busy with a script", _UNAVAILABLE, "BUSY"),
    Row("noreplicas", "the server has too few replicas to write", _UNAVAILABLE, "NOREPLICAS"),
    Row("masterdown", "the server's master is gone", _UNAVAILABLE, "Link with MASTER is down"),
    Row("clusterdown", "the server's cluster is down", _UNAVAILABLE, "cluster is down"),
    Row("maxclients", "the server has as many clients as it takes", _UNAVAILABLE, "max number of clients"),
    _refusal("moved", "the key belongs to another node of a cluster", "MOVED 3999"),
    _refusal("noauth", "the server has a password now", "Authentication required"),
    _refusal("noperm", "the user may not use the commands", "no permissions to run"),
    _refusal("wrongtype", "the key holds something of another type", "WRONGTYPE"),
    _refusal("no number", "a generation that is no number", "which is no number", retryable=False),
    _refusal("long number", "a generation of 5,000 digits", "which is no number", retryable=False),
    Row("newer", "a newer generation is there", _BUSINESS, "generation 9", ErrorCode.STALE_GENERATION, False),
    Row("script flush", "the server has forgotten our scripts", None, "they are sent again"),
    Row(
        "restarted",
        "the server is restarted in the middle of the plan",
        None,
        "the connections are made anew, and what was written is there",
    ),
    Row(
        "forgetful",
        "the same, with a server that keeps nothing on disk",
        _BUSINESS,
        "answered without 'version'",
        ErrorCode.HEALTH_CHECK_FAILED,
    ),
    Row(
        "self-signed",
        "rediss:// with a certificate that nobody else has signed",
        _NETWORK,
        "certificate verify failed",
    ),
    Row(
        "forbidden",
        "an address outside the allow-list",
        _NETWORK,
        "169.254.169.254 is outside the endpoint allow-list",
        ErrorCode.ENDPOINT_NOT_ALLOWED,
        False,
    ),
)

FILE: Sequence[Row] = (
    Row("full", "the disk is full", _SYSTEM, "No space left on device"),
    _refusal("read-only", "the file system is read-only", "Read-only file system", kind=_SYSTEM),
    _refusal("missing", "the directory is missing", "No such file or directory", kind=_SYSTEM),
    _refusal("directory", "a directory is in place of the file", "it is a directory", kind=_SYSTEM),
    _refusal("no directory", "a file is in place of the directory", "Not a directory", kind=_SYSTEM),
    _refusal("pipe", "a pipe is in place of the file", "it is no file", kind=_SYSTEM),
    _refusal("malformed", "the file is no JSON", "it cannot be changed: it is no JSON", retryable=False),
    _refusal("empty", "the file is empty", "it is no JSON object", retryable=False),
    _refusal("list", "the file is JSON, and no object", "it is no JSON object", retryable=False),
    _refusal("not UTF-8", "the file is not UTF-8", "can't decode byte", retryable=False),
    _refusal("nested", "the file is nested 100,000 deep", "it is nested too deeply", retryable=False),
    _refusal("text", "the key holds a text, and a field is to be written", "it is no JSON object", retryable=False),
    _refusal("generations", "the generations beside it are no JSON", "generations beside it", retryable=False),
    Row("link", "the file is a symbolic link", None, "what it leads to is replaced, and the link stays"),
    _refusal("dangling", "a symbolic link into nowhere", "No such file or directory", kind=_SYSTEM),
    _refusal("loop", "a symbolic link to itself", "Too many levels of symbolic links", kind=_SYSTEM),
    _refusal(
        "link of a key",
        "the file of a key is a symbolic link out of the directory",
        "it is a symbolic link, which is not followed here",
        retryable=False,
    ),
    Row("foreign", "another program writes between our reading and our writing", None, "what it wrote stays"),
    Row(
        "locked",
        "another process keeps the lock",
        _TIMEOUT,
        "another process has held its lock",
    ),
    Row("newer", "a newer generation is there", _BUSINESS, "generation 9", ErrorCode.STALE_GENERATION, False),
)


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One fault of the store, and what happens then; for people."""

    key: str
    fault: str
    happens: str


STORE: Sequence[StoreRow] = (
    StoreRow(
        "commit",
        "any one commit fails: the store is not reached, locked, takes the commit back, or its disk is full",
        "the same commit is tried again until it is in; the same events in the same order, only later",
    ),
    StoreRow(
        "lost",
        "any one commit is durable, and its answer is lost",
        "the store is asked what became of it; nothing is done twice, and the work goes on",
    ),
    StoreRow("chance", "a third of all calls, whatever they are, fail at random", "the same"),
    StoreRow("slow", "every commit takes 30 s", "the same; what became ready meanwhile shares the next commit"),
    StoreRow(
        "long",
        "the store is away for long",
        "running stages end and wait, nothing is started, heartbeats do not pile up; the process says so, and goes on "
        "by itself when the store is back",
    ),
    StoreRow(
        "deadline",
        "a step needs its pre-image recorded, and the store is away for longer than the step's deadline",
        "nothing is written to the target before that is durable; the time does not count, and the step goes on",
    ),
    StoreRow("events", "events cannot be read for a while", "whoever follows them waits, and misses nothing"),
    StoreRow(
        "request",
        "a request is made while the store is away",
        "it is answered when it is durable; after some ten seconds with STORE_UNAVAILABLE, and it takes effect when "
        "the store is back",
    ),
    StoreRow(
        "start",
        "the store is away when a process starts",
        "STORE_UNAVAILABLE; nothing is held back, so the next start succeeds",
    ),
    StoreRow(
        "conflict",
        "another process has taken the store over",
        "STORE_CONFLICT: this process starts and writes nothing more; the work goes on over there",
    ),
    StoreRow(
        "locked",
        "SQLite: another program keeps the database locked",
        "looking at plans and tasks goes on; the work waits until the lock is gone",
    ),
    StoreRow("full", "SQLite: the disk is full", "the work waits until there is room"),
)
