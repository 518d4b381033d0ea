"""A Hub on loopback, in memory: enough of Hugging Face's protocol for its own client.

    python tests/hub/hub_server.py 8123 &
    HF_ENDPOINT=http://127.0.0.1:8123 HF_TOKEN=hf_alice gvtzoo publish model.zip alice/my-model

Tokens are ``hf_alice`` (user alice, member of lab) and ``hf_bob`` (user bob).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

USERS = {"hf_alice": ("alice", ("lab",)), "hf_bob": ("bob", ())}
LFS_SUFFIXES = (".pt", ".onnx", ".safetensors", ".npy", ".tif", ".png")
LICENSES = ("bsd-3-clause", "mit", "apache-2.0", "gpl-3.0", "cc-by-4.0", "cc0-1.0", "other")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class File:
    content: bytes
    is_lfs: bool

    @property
    def oid(self) -> str:
        """What the client compares its own files by."""
        return sha256(self.content) if self.is_lfs else git_oid(self.content)

    def entry(self, path: str) -> dict:
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.is_lfs:
            oid = sha256(self.content)
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\n"
            entry["oid"] = git_oid(pointer.encode())
            entry["lfs"] = {"oid": oid, "size": len(self.content), "pointerSize": len(pointer)}
        return entry


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, File]) -> str:
        name = hashlib.sha1(f"{len(self.commits)} {id(self)}".encode()).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        known = {**{name: name for name in self.commits}, **self.tags, **self.branches}
        return known.get(revision)


@dataclass
class Fault:
    """What goes wrong with requests like ``"GET .*weights"``, `times` times."""

    pattern: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the answer, then the connection ends
    corrupt: bool = False
    before: Callable[[], None] | None = None  # called first, such as an event's wait
    after: bool = False  # the request is done first, only its answer is lost
    times: int = 1


class Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.served_files: dict[str, bytes] = {}  # plain downloads, by path
        self.lock = threading.RLock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def fail(self, pattern: str, status: int = 0, **settings) -> Fault:
        fault = Fault(pattern, status, **settings)
        self.faults.append(fault)
        return fault

    def seen(self, pattern: str) -> list[str]:
        return [request for request in self.requests if re.search(pattern, request)]

    def handle_error(self, request, client_address) -> None:
        """Clients that leave are no error."""


ROUTES: list[tuple[str, re.Pattern[str], str]] = []


def route(method: str, pattern: str):
    def add(function):
        ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return add


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._read_chunks()
        else:
            self.body = self.rfile.read(length)
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        request = f"{self.command} {path} {self.headers.get('Range', '')}".strip()
        self.fault = None
        with self.server.lock:
            self.server.requests.append(request)
            for fault in self.server.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    self.fault = fault
                    break
        try:
            if self.fault and self.fault.before:
                self.fault.before()
            if self.fault and self.fault.status and not self.fault.after:
                raise Refusal(self.fault.status, "injected")
            self._route(path)
        except Refusal as problem:
            self._refuse(problem)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _route(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, name in ROUTES:
            match = pattern.fullmatch(path)
            if wanted == method and match:
                getattr(self, name)(**match.groupdict())
                return
        raise Refusal(404, f"no such address: {self.command} {path}")

    def _refuse(self, problem: Refusal) -> None:
        headers = dict(self.fault.headers) if self.fault else {}
        if problem.code:
            headers["X-Error-Code"] = problem.code
        if problem.message:
            headers["X-Error-Message"] = problem.message
        body = json.dumps({"error": problem.message}).encode()
        self._send(problem.status, body, {"Content-Type": "application/json", **headers})

    def _json(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self._send(status, body, {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        fault = self.fault
        if fault and fault.after and fault.status:
            status, body = fault.status, b"{}"
        if fault and fault.corrupt:
            body = bytes(255 - byte for byte in body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.cut_after is not None:
            self.wfile.write(body[: fault.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    # Who asks, and what for

    @property
    def user(self) -> str | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        token = header.removeprefix("Bearer ")
        if token not in USERS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return USERS[token][0]

    def _names(self) -> tuple[str, ...]:
        user = self.user
        if user is None:
            return ()
        return (user, *USERS[self.headers["Authorization"].removeprefix("Bearer ")][1])

    def _readable(self, repo: str) -> Repository:
        names = self._names()
        repository = self.server.repositories.get(repo)
        if repository is None or (repository.private and repo.split("/")[0] not in names):
            if not names:
                raise Refusal(401, "Invalid username or password.")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return repository

    def _writable(self, repo: str) -> Repository:
        repository = self._readable(repo)
        if repo.split("/")[0] not in self._names():
            raise Refusal(403, "You have no right to write here")
        return repository

    def _revision(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(unquote(revision))
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Account and repositories

    @route("GET", r"/api/whoami-v2")
    def whoami(self) -> None:
        names = self._names()
        if not names:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"name": name, "type": "org"} for name in names[1:]]
        self._json({"type": "user", "name": names[0], "orgs": orgs, "auth": {"type": "access"}})

    @route("POST", r"/api/repos/create")
    def create(self) -> None:
        wanted = json.loads(self.body)
        names = self._names()
        if not names:
            raise Refusal(401, "Invalid username or password.")
        owner = wanted.get("organization") or names[0]
        if owner not in names:
            raise Refusal(403, f"You don't have the rights to create a model under {owner}")
        repo = f"{owner}/{wanted['name']}"
        with self.server.lock:
            if repo in self.server.repositories:
                message = "You already created this model repo"
                self._json({"error": message, "url": f"{self.server.address}/{repo}"}, 409)
                return
            is_private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            repository = self.server.repositories[repo] = Repository(is_private)
            repository.commit("main", {".gitattributes": File(b"*.pt filter=lfs\n", False)})
        self._json({"url": f"{self.server.address}/{repo}", "name": repo, "id": repo})

    @route("GET", rf"/api/models/{REPO}(/revision/(?P<revision>[^/]+))?")
    def info(self, repo: str, revision: str | None) -> None:
        repository = self._readable(repo)
        commit = self._revision(repository, revision or "main")
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        self._json(
            {
                "id": repo,
                "modelId": repo,
                "sha": commit,
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "siblings": siblings,
                "tags": [],
            }
        )

    @route("GET", rf"/api/models/{REPO}/refs")
    def refs(self, repo: str) -> None:
        repository = self._readable(repo)

        def described(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit}
                for name, commit in names.items()
            ]

        branches = described("heads", repository.branches)
        tags = described("tags", repository.tags)
        self._json({"branches": branches, "converts": [], "tags": tags})

    @route("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.*))?")
    def tree(self, repo: str, revision: str, folder: str | None) -> None:
        repository = self._readable(repo)
        files = repository.commits[self._revision(repository, revision)]
        start = f"{folder.strip('/')}/" if folder else ""
        self._json([file.entry(path) for path, file in files.items() if path.startswith(start)])

    @route("POST", rf"/api/models/{REPO}/tag/(?P<revision>[^/]+)")
    def tag(self, repo: str, revision: str) -> None:
        repository = self._writable(repo)
        name = json.loads(self.body)["tag"]
        commit = self._revision(repository, revision)
        with self.server.lock:
            if name in repository.tags:
                raise Refusal(409, f"Tag {name} exists already")
            repository.tags[name] = commit
        self._json({})

    # Uploads

    @route("POST", r"/api/validate-yaml")
    def validate(self) -> None:
        problems = card_problems(json.loads(self.body)["content"])
        errors = [{"message": problem} for problem in problems]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    @route("POST", rf"/api/models/{REPO}/preupload/(?P<revision>[^/]+)")
    def preupload(self, repo: str, revision: str) -> None:
        repository = self._writable(repo)
        there = repository.commits[self._revision(repository, revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            if path in there:
                answer["oid"] = there[path].oid
            answers.append(answer)
        self._json({"files": answers})

    @route("POST", rf"/{REPO}\.git/info/lfs/objects/batch")
    def batch(self, repo: str) -> None:
        self._writable(repo)
        answers = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server.objects:
                href = f"{self.server.address}/lfs-upload/{wanted['oid']}"
                answer["actions"] = {"upload": {"href": href, "header": {}}}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    @route("PUT", r"/lfs-upload/(?P<oid>[0-9a-f]{64})")
    def put(self, oid: str) -> None:
        if sha256(self.body) != oid:
            raise Refusal(400, "the content does not have this SHA-256")
        self.server.objects[oid] = self.body
        self._json({})

    @route("POST", rf"/api/models/{REPO}/commit/(?P<revision>[^/]+)")
    def commit(self, repo: str, revision: str) -> None:
        repository = self._writable(repo)
        lines = [json.loads(line) for line in self.body.splitlines()]
        with self.server.lock:
            parent = self._revision(repository, revision)
            files = dict(repository.commits[parent])
            for line in lines:
                self._apply(line["key"], line["value"], files, parent)
            name = repository.commit(revision, files)
        url = f"{self.server.address}/{repo}/commit/{name}"
        self._json({"success": True, "commitOid": name, "commitUrl": url, "hookOutput": ""})

    def _apply(self, key: str, value: dict, files: dict[str, File], parent: str) -> None:
        if key == "header" and value.get("parentCommit", parent) != parent:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        if key == "file":
            files[value["path"]] = File(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] not in self.server.objects:
                raise Refusal(400, f"LFS object {value['oid']} was not uploaded")
            files[value["path"]] = File(self.server.objects[value["oid"]], True)
        elif key == "deletedFile" and files.pop(value["path"], None) is None:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")

    # Downloads

    @route("GET", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, repo: str, revision: str, path: str) -> None:
        repository = self._readable(repo)
        if repository.gated and repo.split("/")[0] not in self._names():
            raise Refusal(403 if self._names() else 401, "Access is restricted", "GatedRepo")
        commit = self._revision(repository, revision)
        file = repository.commits[commit].get(path)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{file.oid}"'}
        if not file.is_lfs:
            self._content(file.content, headers)
            return
        headers |= {
            "X-Linked-Etag": f'"{file.oid}"',
            "X-Linked-Size": str(len(file.content)),
            # Large files come from another host, which is to see no token.
            "Location": f"{self.server.address.replace('127.0.0.1', 'localhost')}/cdn/{file.oid}",
        }
        self._send(302, b"", headers)

    @route("GET", r"/cdn/(?P<oid>[0-9a-f]{64})")
    def cdn(self, oid: str) -> None:
        if oid not in self.server.objects:
            raise Refusal(404)
        if "Authorization" in self.headers:
            raise Refusal(400, "the token was sent to another host")
        self._content(self.server.objects[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    @route("GET", r"/files/(?P<name>.+)")
    def plain(self, name: str) -> None:
        if name not in self.server.served_files:
            raise Refusal(404)
        self._content(self.server.served_files[name], {})

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if match is None:
            self._send(200, content, headers)
            return
        start, end = int(match[1]), int(match[2] or len(content) - 1)
        if start >= len(content):
            raise Refusal(416)
        span = f"bytes {start}-{end}/{len(content)}"
        self._send(206, content[start : end + 1], {**headers, "Content-Range": span})


def card_problems(card: str) -> list[str]:
    """What the Hub would object to in a card's metadata."""
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    if match is None:
        return ["there is no metadata"]
    data = yaml.safe_load(match[1])
    problems = []
    if data.get("license", "other") not in LICENSES:
        problems.append(f'"license" must be one of {LICENSES}')
    if data.get("license") == "other" and not data.get("license_name"):
        problems.append('"license_name" is needed')
    if data.get("pipeline_tag") != "image-to-image":
        problems.append('"pipeline_tag" is unknown')
    for key in ("base_model", "datasets"):
        value = data.get(key, [])
        ids = [value] if isinstance(value, str) else value
        problems += [f'"{key}": {i} is no id' for i in ids if not HUB_ID.fullmatch(i)]
    for model in data.get("model-index", []):
        for result in model["results"]:
            if {"task", "dataset", "metrics"} - set(result):
                problems.append('"model-index" is incomplete')
    return problems


if __name__ == "__main__":
    with HubServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(f"HF_ENDPOINT={server.address}", flush=True)
        threading.Event().wait()
