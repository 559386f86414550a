"""A server on loopback that speaks as much of the hub's HTTP interface as a download needs."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT, OLDER = "a" * 40, "b" * 40
_PORTS: set[int] = set()


@dataclass
class Hub:
    """What the server has and how it behaves.

    repos: name → revision (a commit) → folder; of datasets "datasets/" and the name. branches: of
    every repo. refuse: status → what it answers with every request, with the code that the hub puts
    into a header; gated: the same, where a file is asked for. cuts: a file that is cut off after so
    many bytes, each once.
    """

    repos: dict[str, dict[str, Path]]
    branches: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "old": OLDER})
    token: str | None = None
    refuse: tuple[int, str] | None = None
    gated: tuple[int, str] | None = None
    cuts: dict[str, list[int]] = field(default_factory=dict)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def sent(self, name: str) -> list[str | None]:
        """The ranges of the GET requests for a file, in order."""
        return [span for method, path, span in self.seen if method == "GET" and path.endswith(name)]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = _on_a_new_port(hub)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _on_a_new_port(hub: Hub) -> ThreadingHTTPServer:
    """The libraries remember, by its address, what a hub has: no two tests share one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    if server.server_port in _PORTS:
        other = _on_a_new_port(hub)  # while this one still holds its port
        server.server_close()
        return other
    _PORTS.add(server.server_port)
    return server


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length).decode()
            path = unquote(urlsplit(self.path).path)
            hub.seen.append((self.command, path, self.headers.get("Range")))
            if hub.refuse is not None:
                return self._error(*hub.refuse)
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._error(401, "RepoNotFound")
            api = re.fullmatch(
                r"/api/(?:models/|(datasets/))([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(.+))?",
                path,
            )
            file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            found = api or file
            repo = (found[1] or "") + found[2] if found else ""
            if found is None or repo not in hub.repos:
                return self._error(404, "RepoNotFound")
            asked = (api[4] if api else file[3]) or "main"  # type: ignore[index]
            commit, inside = _revision(hub, asked)
            folder = hub.repos[repo].get(commit)
            if folder is None:
                return self._error(404, "RevisionNotFound")
            if api is None:
                if hub.gated is not None:
                    return self._error(*hub.gated)
                return self._file(folder, commit, file[4], body=body)  # type: ignore[index]
            if api[3] == "tree":
                if inside and not (folder / inside).is_dir():
                    return self._error(404, "EntryNotFound")
                deep = "recursive=true" in urlsplit(self.path).query.lower()
                return self._json(_tree(folder, inside, deep=deep))
            if api[3] == "paths-info":
                paths = parse_qs(sent).get("paths", [])
                return self._json([_entry(folder, folder / name) for name in paths
                                   if (folder / name).exists()])  # fmt: skip
            return self._json(_info(found[2], commit, folder))

        def _error(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, values: object) -> None:
            content = json.dumps(values).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _file(self, folder: Path, commit: str, name: str, *, body: bool) -> None:
            path = folder / name
            if not path.is_file():
                return self._error(404, "EntryNotFound")
            content = path.read_bytes()
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            start = int(span[1]) if span else 0
            if span and span[2]:
                content = content[: int(span[2]) + 1]
            whole = path.stat().st_size
            self.send_response(206 if span else 200)
            self.send_header("ETag", f'"{sha1(path.read_bytes()).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            if span:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{whole}")
            self.end_headers()
            if not body:
                return None
            if stops := hub.cuts.get(name):
                stop = stops.pop(0)
                self.wfile.write(content[start:stop])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return None
            self.wfile.write(content[start:])
            return None

    return Handler


def _info(repo: str, commit: str, folder: Path) -> dict[str, object]:
    files = [{"rfilename": name, "size": size} for name, size in _sizes(folder).items()]
    return {"id": repo, "modelId": repo, "sha": commit, "siblings": files, "tags": []}


def _revision(hub: Hub, asked: str) -> tuple[str, str]:
    """The commit that an address names, and the folder behind it; a branch may have slashes."""
    for name in sorted(hub.branches, key=len, reverse=True):
        if asked == name or asked.startswith(f"{name}/"):
            return hub.branches[name], asked[len(name) + 1 :]
    commit, _, inside = asked.partition("/")
    return commit, inside


def _tree(folder: Path, inside: str = "", *, deep: bool = True) -> list[dict[str, object]]:
    found = (folder / inside).rglob("*") if deep else (folder / inside).iterdir()
    return [_entry(folder, path) for path in sorted(found)]


def _entry(folder: Path, path: Path) -> dict[str, object]:
    name = path.relative_to(folder).as_posix()
    oid = sha1(name.encode()).hexdigest()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": oid}
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": oid}


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
