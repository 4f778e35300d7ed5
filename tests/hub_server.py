# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A stand-in for the Hub: as much of its HTTP interface as it takes to push a model and to load it or a data set."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

# What the Hub keeps in large-file storage instead of git.
LARGE_FILES = (".safetensors",)


@dataclass
class HubRepository:
    """What was pushed to one repository."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    # Paths that the Hub has, but cannot give.
    broken: set[str] = field(default_factory=set)

    @property
    def revision(self) -> str:
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """What the stand-in holds."""

    url: str
    repositories: dict[str, HubRepository] = field(default_factory=dict)
    large_objects: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)
    # What was fetched: path in its repository, and from which byte on.
    fetched: list[tuple[str, int]] = field(default_factory=list)
    # The connection breaks when so many bytes of a path were sent, once.
    breaks_after: dict[str, int] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Stays silent."""

    def do_POST(self) -> None:
        self.hub.tokens.add(self.headers.get("Authorization"))
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/repos/create":
            name = "/".join(filter(None, (json.loads(body)["organization"], json.loads(body)["name"])))
            self.hub.repositories.setdefault(name, HubRepository())
            self._answer({"url": f"{self.hub.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE_FILES) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**entry, "actions": {"upload": {"href": f"{self.hub.url}/large/{entry['oid']}"}}}
                for entry in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif path.startswith("/api/models/") and path.endswith("/commit/main"):
            name = path.removeprefix("/api/models/").removesuffix("/commit/main")
            self._commit(name, [json.loads(line) for line in body.splitlines()])
        elif path.startswith("/api/datasets/") and "/paths-info/" in path:
            name = path.removeprefix("/api/datasets/").split("/paths-info/")[0]
            entries = {entry["path"]: entry for entry in self._tree(name, "", is_recursive=True)}
            self._answer([entries[path] for path in parse_qs(body.decode())["paths"] if path in entries])
        else:
            self._answer({"error": f"unknown path {path}"}, 404)

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.large_objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
        url = f"{self.hub.url}/{name}/commit/{repository.revision}"
        self._answer({"commitUrl": url, "commitOid": repository.revision})

    def do_PUT(self) -> None:
        body = self._body()
        oid = self.path.rsplit("/", 1)[-1]
        is_whole = hashlib.sha256(body).hexdigest() == oid
        if is_whole:
            self.hub.large_objects[oid] = body
        self._answer({}, 200 if is_whole else 400)

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def _get(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "spaces":
            # A Space's files; held here as the repository `spaces/NAME`.
            parts = ["/".join(parts[:2]), *parts[2:]]
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            self._describe("/".join(parts[2:4]), parts[4:])
            return
        name, kind, path = "/".join(parts[:2]), parts[2:3], "/".join(parts[4:])
        repository = self.hub.repositories.get(name)
        if repository is None or kind not in (["resolve"], ["raw"]) or path not in repository.files:
            code = "RepoNotFound" if repository is None else "EntryNotFound"
            self._answer({"error": code}, 404, {"X-Error-Code": code})
            return
        if path in repository.broken:
            self._answer({"error": "storage"}, 403)
            return
        content = repository.files[path]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": repository.revision}
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        status = 200
        if first:
            status, headers = 206, {**headers, "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        if self.command == "HEAD":
            self._answer(content, status, headers)
            return
        self.hub.fetched.append((path, first))
        self._answer(content[first:], status, headers, self.hub.breaks_after.pop(path, None))

    def _describe(self, name: str, rest: list[str]) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._answer({"error": "RepoNotFound"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["tree"]:
            folder = "/".join(rest[2:])
            is_recursive = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() in ("1", "true")
            entries = self._tree(name, folder, is_recursive)
            missing = bool(folder) and not entries
            headers = {"X-Error-Code": "EntryNotFound"} if missing else {}
            self._answer({"error": "EntryNotFound"} if missing else entries, 404 if missing else 200, headers)
        else:
            siblings = [{"rfilename": path, "size": len(content)} for path, content in repository.files.items()]
            self._answer({"id": name, "modelId": name, "sha": repository.revision, "siblings": siblings, "tags": []})

    def _tree(self, name: str, folder: str, is_recursive: bool) -> list[dict[str, Any]]:
        """The folders and files inside a folder, with those inside of these or without."""
        beginning = f"{folder}/" if folder else ""
        files = self.hub.repositories[name].files
        inside = [path.removeprefix(beginning) for path in files if path.startswith(beginning)]
        folders = {parent.as_posix() for path in inside for parent in Path(path).parents} - {"."}
        found = [{"type": "directory", "path": beginning + path, "oid": "0"} for path in sorted(folders)]
        found += [
            {"type": "file", "path": beginning + path, "size": len(files[beginning + path]), "oid": "0"}
            for path in inside
        ]
        depth = beginning.count("/")
        return [entry for entry in found if is_recursive or entry["path"].count("/") == depth]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(
        self,
        content: Any,
        status: int = 200,
        headers: dict[str, str] | None = None,
        breaks_after: int | None = None,
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:breaks_after])
            self.close_connection = breaks_after is not None


def hub_environment(hub: Hub, cache: Path) -> dict[str, str]:
    """The environment of another process that talks to the stand-in instead of the Hub."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def use_hub(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points this process, which is offline otherwise, at the stand-in until the test's end."""
    for name, value in (
        ("HF_HUB_OFFLINE", False),
        ("HF_HUB_DISABLE_XET", True),
        ("ENDPOINT", hub.url),
        ("HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"),
        ("HF_HUB_CACHE", str(cache)),
    ):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: False)
    monkeypatch.setenv("HF_TOKEN", "hf_token_of_the_test")


@contextmanager
def local_hub() -> Iterator[Hub]:
    """Runs the stand-in on a free port of this machine; point `HF_ENDPOINT` at its `url`."""
    hub = Hub(url="")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
