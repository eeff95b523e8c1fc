"""A stand-in for W&B's server: answers what its client asks to start, resume and finish a run, and remembers it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = {"id": "e", "name": "someone"}


class Server:
    """What the client sent.

    asked: GraphQL operation -> the variables of each call. streams: bodies sent to file_stream. files: uploaded names.
    """

    def __init__(self) -> None:
        self.asked: dict[str, list[dict[str, Any]]] = {}
        self.streams: list[dict[str, Any]] = []
        self.files: list[str] = []
        self.url = ""
        self.config = "{}"

    def lines(self, file: str) -> list[dict[str, Any]]:
        """All lines of one of the run's files, in order."""
        sent = [s["files"][file] for s in self.streams if file in s.get("files", {})]
        return [json.loads(line) for part in sent for line in part["content"]]

    def _bucket(self, name: str) -> dict[str, Any]:
        history = self.lines("wandb-history.jsonl")
        return {
            "id": "r", "name": name, "displayName": name, "description": None, "config": self.config, "tags": [],
            "sweepName": None, "notes": None, "logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]",
            "historyLineCount": len(history), "historyTail": json.dumps([json.dumps(h) for h in history[-1:]]),
            "summaryMetrics": json.dumps(next(iter(self.lines("wandb-summary.json")[-1:]), {})),
            "wandbConfig": '{"t": 1}', "project": {"id": "p", "name": "d2m", "entity": ENTITY},
        }  # fmt: skip

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query."""
        before = self.asked.setdefault(operation, [])
        before.append(given)
        if operation == "Viewer":
            return {
                "viewer": {**ENTITY, "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
            }
        if operation == "RunResumeStatus":
            bucket = self._bucket(given["name"]) if "UpsertBucket" in self.asked else None
            return {"model": {"id": "p", "name": "d2m", "entity": ENTITY, "bucket": bucket}}
        if operation == "UpsertBucket":
            self.config = given.get("config") or self.config
            return {"upsertBucket": {"bucket": self._bucket(given["name"]), "inserted": len(before) == 1}}
        if operation == "CreateRunFiles":
            files = [{"name": n, "uploadUrl": f"{self.url}/upload/{n}"} for n in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        return {}


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A server on a free local port, until the block ends."""
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            out: dict[str, Any] = {}
            if self.path == "/graphql":
                query = json.loads(body)
                out = {"data": told.answer(query["operationName"], query.get("variables") or {})}
            elif self.path.endswith("/file_stream"):
                told.streams.append(json.loads(body))
            elif self.path.startswith("/upload/"):
                told.files.append(self.path.removeprefix("/upload/"))
            text = json.dumps(out).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_GET = do_POST

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield told
        finally:
            server.shutdown()
