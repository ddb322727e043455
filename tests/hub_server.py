"""A stand-in for the Hugging Face Hub on loopback: one model, in the Hub's own API and file routes, to fetch and to
upload."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_with(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder` as the model `name`; yields the endpoint and the list of files that were fetched. What is uploaded
    is served, too, but written nowhere."""
    fetched: list[str] = []
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_POST(self) -> None:
            path, sent = self.path.split("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
            if "Bearer" not in self.headers.get("Authorization", ""):
                return self._send(b"{}", True, {}, status=401)
            if path == "/api/repos/create":
                answer: dict[str, object] = {"url": f"http://{self.headers['Host']}/{name}"}
            elif path == "/api/validate-yaml":
                answer = {"errors": [], "warnings": []}
            elif path == f"/api/models/{name}/preupload/main":
                asked = [file["path"] for file in json.loads(sent)["files"]]
                answer = {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in asked]}
            elif path == f"/api/models/{name}/commit/main":
                lines = [json.loads(line) for line in sent.splitlines()]
                uploaded = [line["value"] for line in lines if line["key"] == "file"]
                files.update({file["path"]: base64.b64decode(file["content"]) for file in uploaded})
                answer = {"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
            else:
                return self._send(b"{}", True, {"X-Error-Code": "RepoNotFound"}, status=404)
            return self._send(json.dumps(answer).encode(), True, {})

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith(f"/api/models/{name}/tree/"):
                entries = [{"type": "file", "path": n, "size": len(b), "oid": _oid(b)} for n, b in files.items()]
                return self._send(json.dumps(entries).encode(), body, {})
            if path.startswith(f"/api/models/{name}/commits/"):
                commit = {"id": COMMIT, "title": "", "message": "", "authors": [], "date": "2024-01-01T00:00:00.000Z"}
                return self._send(json.dumps([commit]).encode(), body, {})
            if path.startswith(f"/api/models/{name}"):
                info = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0}
                info["siblings"] = [{"rfilename": n} for n in files]
                return self._send(json.dumps(info).encode(), body, {})
            data = files.get(path.rsplit("/", 1)[-1]) if path.startswith(f"/{name}/resolve/") else None
            if data is None:
                return self._send(b"{}", body, {"X-Error-Code": "RepoNotFound"}, status=404)
            if body:
                fetched.append(path.rsplit("/", 1)[-1])
            return self._send(data, body, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT})

        def _send(self, data: bytes, body: bool, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: the tests look at `fetched`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        thread.join()


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
