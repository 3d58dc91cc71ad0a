"""A server that speaks as much of the Hub's API as an upload and a download of one repository need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Files = dict[str, dict[str, bytes]]
"""Content of files by repository and name."""

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(files: Files) -> Iterator[str]:
    """Serve repositories, and yield the address; uploads are added to `files`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(files))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(files: Files) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        @property
        def _here(self) -> str:
            return f"http://{self.headers['Host']}"

        def do_HEAD(self) -> None:
            self._file(body=False)

        def do_GET(self) -> None:
            self._file(body=True)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/api/repos/create":
                name = json.loads(body)
                repo = "/".join(filter(None, (name.get("organization"), name["name"])))
                if repo.startswith("closed/"):
                    self._json({"error": "You don't have the rights to create a model here"}, 403)
                    return
                files.setdefault(repo, {})
                self._json({"url": f"{self._here}/{repo}", "name": repo, "id": repo})
            elif self.path == "/api/validate-yaml":
                self._json({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                given = json.loads(body)["files"]
                plain = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in given]
                self._json({"files": plain, "commitOid": _COMMIT})
            elif "/commit/" in self.path:
                repo = self.path.removeprefix("/api/models/").partition("/commit/")[0]
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        files[repo][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                where = {"commitUrl": f"{self._here}/{repo}/commit/{_COMMIT}", "commitOid": _COMMIT}
                self._json(where | {"success": True})
            else:
                self._json({"error": f"no such path: {self.path}"}, 404)

        def _file(self, *, body: bool) -> None:
            repo, _, name = self.path.lstrip("/").partition("/resolve/")
            content = files.get(repo, {}).get(name.partition("/")[2])
            if content is None:
                code = "EntryNotFound" if repo in files else "RepoNotFound"
                self._json({"error": code}, 404, {"X-Error-Code": code})
                return
            self.send_response(200)
            etag = hashlib.sha256(content).hexdigest()
            for key, value in {"ETag": f'"{etag}"', "X-Repo-Commit": _COMMIT, "Content-Length": len(content)}.items():
                self.send_header(key, str(value))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _json(self, answer: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", "Content-Length": len(text), **(more or {})}.items():
                self.send_header(key, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

    return Handler
