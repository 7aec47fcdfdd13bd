"""Objects over HTTP: a chat room with the standard library's server, and nothing else.

Each room is an object: its messages are its state. The web server is synchronous, so it uses `outlast.sync`; its
threads share one engine. A room forgets its messages a quiet minute after the last one.

Prints:

    POST /lobby  -> {"said": 1}
    POST /lobby  -> {"said": 2}
    POST /lobby  -> 422 a message needs text
    GET /lobby  -> {"messages": [{"who": "ann", "text": "hello"}, {"who": "bob", "text": "hi ann"}]}
    GET /attic  -> {"messages": []}
    after a restart: {"messages": [{"who": "ann", "text": "hello"}, {"who": "bob", "text": "hi ann"}]}
"""

import json
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from outlast import Object, alarm, handler, minutes, sync


@dataclass
class Message:
    who: str
    text: str


class Room(Object, name="chat.Room"):
    messages: list[Message] = field(default_factory=list)

    @handler
    async def say(self, message: Message) -> int:
        if not message.text:
            raise ValueError("a message needs text")
        self.messages.append(message)
        del self.messages[:-100]
        self.schedule_alarm("forget", minutes(1))
        return len(self.messages)

    @handler(read_only=True)
    async def recent(self) -> list[Message]:
        return self.messages

    @alarm
    async def forget(self) -> None:
        self.messages.clear()


class Chat(BaseHTTPRequestHandler):
    engine: sync.Engine

    def do_GET(self) -> None:
        room = self.engine.object(Room, self.path.strip("/"))
        self.answer(200, {"messages": [asdict(message) for message in room.recent()]})

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        room = self.engine.object(Room, self.path.strip("/"))
        try:
            self.answer(200, {"said": room.say(Message(said["who"], said["text"]))})
        except ValueError as error:
            self.answer(422, str(error))

    def answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

    def log_message(self, *_: Any) -> None: ...


def ask(address: str, path: str, said: dict[str, str] | None = None) -> str:
    data = None if said is None else json.dumps(said).encode()
    try:
        with urllib.request.urlopen(f"{address}{path}", data) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.read().decode()}"


def main(url: str) -> None:
    with sync.Engine(url, queues={"default": 1}) as engine, ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        Chat.engine = engine
        for room in ("lobby", "attic"):
            engine.delete_object(engine.object(Room, room))
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for said in ({"who": "ann", "text": "hello"}, {"who": "bob", "text": "hi ann"}, {"who": "bob", "text": ""}):
            print("POST /lobby  ->", ask(address, "/lobby", said))
        for path in ("/lobby", "/attic"):
            print(f"GET {path}  ->", ask(address, path))
        server.shutdown()

    with sync.Engine(url, queues={"default": 1}) as engine:
        messages = [asdict(message) for message in engine.object(Room, "lobby").recent()]
        print("after a restart:", json.dumps({"messages": messages}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
