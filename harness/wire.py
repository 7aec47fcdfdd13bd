"""The little of Postgres's wire protocol that tells what a connection is asked, and when it has answered.

Only lengths and a few types are read; whatever is not understood is passed on as it is.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
_CANCEL_REQUEST = 80877102
_HEAD_BYTES = 5


class Frames:
    """Cuts a stream of bytes into messages: type and whole bytes. The first ones of a client have no type.

    Args:
        untyped: Whether the stream begins with messages without a type, as a client's does.
    """

    def __init__(self, *, untyped: bool) -> None:
        self._held = b""
        self._untyped = untyped

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The messages that are whole by now."""
        self._held += data
        while True:
            head = 4 if self._untyped else _HEAD_BYTES
            if len(self._held) < head:
                return
            (length,) = struct.unpack("!I", self._held[head - 4 : head])
            length += head - 4
            if len(self._held) < length:
                return
            whole, self._held = self._held[:length], self._held[length:]
            kind = b"" if self._untyped else whole[:1]
            if self._untyped and not is_request(whole):
                self._untyped = False
            yield kind, whole


def is_request(message: bytes) -> bool:
    """Whether a message without a type asks for encryption, and the real first message is still to come."""
    (code,) = struct.unpack("!I", message[4:8])
    return code in (_SSL_REQUEST, _GSS_REQUEST)


def parameters(message: bytes) -> dict[str, str]:
    """What a client's first message says of itself, such as its `application_name`."""
    (code,) = struct.unpack("!I", message[4:8])
    if code == _CANCEL_REQUEST:
        return {}
    words = message[8:].split(b"\0")
    return {name.decode(): value.decode() for name, value in zip(words[::2], words[1::2], strict=False) if name}


@dataclass
class Question:
    """What a client has asked and the server has not answered whole.

    Attributes:
        label: Which of the marked statements it runs; None: none of them.
        data: Its bytes.
    """

    label: str | None = None
    data: bytes = b""


@dataclass
class Talk:
    """Follows one client's side of a connection: which statement each question runs.

    A question ends with Sync, or is a simple query.

    Args:
        marked: Labels by the statement's text.
    """

    marked: Mapping[str, str]
    _prepared: dict[bytes, str | None] = field(default_factory=dict)
    _question: Question = field(default_factory=Question)

    def hear(self, kind: bytes, message: bytes) -> Question | None:
        """One message of the client. The question, once it is whole."""
        question = self._question
        question.data += message
        body = message[_HEAD_BYTES:]
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = self.marked.get(text.decode())
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            question.label = self._prepared.get(name, question.label)
        elif kind == b"Q":
            question.label = self.marked.get(body.rstrip(b"\0").decode())
        if kind in (b"S", b"Q", b""):
            self._question = Question()
            return question
        return None
