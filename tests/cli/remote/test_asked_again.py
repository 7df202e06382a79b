"""A write whose answer is lost is asked for again, with a peer that answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from distributor.cli.remote.server import Server
from distributor.errors import RefusedError, UnreachableError
from distributor.views.base import View

GOES_ON = (409, b'{"what": "it is being worked on", "where": "", "mend": "", "retryable": true}')
NO = (409, b'{"what": "somebody said no", "where": "", "mend": "", "retryable": false}')
DONE = (200, b'{"done": true}')
LOST = None
Answer = tuple[int, bytes] | None
Peer = Callable[..., tuple[Server, list[str]]]


class Told(View):
    """What the peer answers."""

    done: bool


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Makes a server that answers so, one after the other, the last one for ever; it notes the idempotency keys."""
    made: list[tuple[HTTPServer, threading.Thread]] = []

    def make(*answers: Answer) -> tuple[Server, list[str]]:
        left, keys = list(answers), list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                keys.append(self.headers["idempotency-key"])
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer is None:
                    self.connection.close()
                    return
                self.send_response(answer[0])
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        http = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        made.append((http, thread))
        return Server(f"http://127.0.0.1:{http.server_port}", "key"), keys

    yield make
    for http, thread in made:
        http.shutdown()
        thread.join()
        http.server_close()


def test_until_it_is_done(peer: Peer) -> None:
    server, keys = peer(LOST, GOES_ON, DONE)
    with server:
        assert server.done(Told, "/v1/x", reason="r").done
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_what_was_refused_is_not(peer: Peer) -> None:
    server, keys = peer(NO)
    with server, pytest.raises(RefusedError, match="somebody said no"):
        server.done(Told, "/v1/x", reason="r")
    assert len(keys) == 1


@pytest.mark.parametrize("answer", [LOST, GOES_ON], ids=["lost", "goes on"])
def test_without_an_answer_nobody_says_that_it_was_not_done(peer: Peer, answer: Answer) -> None:
    server, _ = peer(answer)
    with server, pytest.raises(UnreachableError, match="Look first whether it was done"):
        server.done(Told, "/v1/x", reason="r")
