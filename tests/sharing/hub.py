"""A stand-in for the hub on the loopback interface: the routes that huggingface_hub calls to push and to download."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Repository:
    def __init__(self, private):
        self.private = private
        self.files = {}
        self.commits = []

    def sha(self):
        digests = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in self.files.items())
        return hashlib.sha1(repr(digests).encode()).hexdigest()


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {}
        self.objects = {}
        self.requests = []
        self.unknown = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content, status=200, **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers.setdefault("Content-Type", "application/json")
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code="RepoNotFound"):
        self.answer({"error": "not found"}, 404, X_Error_Code=code, X_Error_Message="not found")

    def route(self):
        path, content = self.path.partition("?")[0], self.body()
        self.server.requests.append((self.command, path))
        for method, pattern, handle in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                return handle(self, content, **found.groupdict())
        self.server.unknown.append((self.command, self.path))
        return self.missing("EntryNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = route

    # ---- push --------------------------------------------------------------------------------------------------------

    def create(self, content):
        given = json.loads(content)
        name = f"{given.get('organization') or 'me'}/{given['name']}"
        url = f"{self.server.address}/{name}"
        if name in self.server.repositories:
            return self.answer({"error": "exists", "url": url}, 409)
        private = given.get("private") or given.get("visibility") == "private"
        self.server.repositories[name] = Repository(bool(private))
        return self.answer({"url": url, "name": name, "id": name})

    def preupload(self, content, repo):
        files = json.loads(content)["files"]
        modes = {True: "lfs", False: "regular"}
        self.answer({"files": [
            {"path": f["path"], "uploadMode": modes[f["path"].endswith(".safetensors")], "shouldIgnore": False}
            for f in files
        ]})  # fmt: skip

    def batch(self, content, repo):
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.server.address}/objects/{each['oid']}"}}}
            for each in json.loads(content)["objects"]
        ]
        self.answer({"transfer": "basic", "objects": objects})

    def put(self, content, oid):
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.answer(b"")

    def commit(self, content, repo):
        repository = self.server.repositories[repo]
        lines = [json.loads(line) for line in content.splitlines() if line.strip()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.server.objects[value["oid"]]
        repository.commits.append([line["key"] for line in lines])
        sha = repository.sha()
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.server.address}/{repo}/commit/{sha}"})

    # ---- download ----------------------------------------------------------------------------------------------------

    def info(self, content, repo, revision=None):
        if (repository := self.server.repositories.get(repo)) is None:
            return self.missing()
        names = [{"rfilename": name} for name in sorted(repository.files)]
        return self.answer(
            {"id": repo, "modelId": repo, "sha": repository.sha(), "private": repository.private, "siblings": names}
        )

    def tree(self, content, repo, revision):
        repository = self.server.repositories[repo]
        self.answer([
            {"type": "file", "path": name, "size": len(value), "oid": hashlib.sha1(value).hexdigest()}
            for name, value in sorted(repository.files.items())
        ])  # fmt: skip

    def resolve(self, content, repo, revision, file):
        repository = self.server.repositories.get(repo)
        if repository is None or file not in repository.files:
            return self.missing("EntryNotFound" if repository else "RepoNotFound")
        value = repository.files[file]
        tag = hashlib.sha256(value).hexdigest()
        return self.answer(value, ETag=f'"{tag}"', X_Repo_Commit=repository.sha(), Accept_Ranges="none")


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = [
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", lambda self, content: self.answer({"errors": [], "warnings": []})),
    ("POST", rf"/api/models/{REPO}/preupload/main", Handler.preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/objects/(?P<oid>\w+)", Handler.put),
    ("POST", rf"/api/models/{REPO}/commit/main", Handler.commit),
    ("GET", rf"/api/models/{REPO}", Handler.info),
    ("GET", rf"/api/models/{REPO}/revision/(?P<revision>\w+)", Handler.info),
    ("GET", rf"/api/models/{REPO}/tree/(?P<revision>\w+)", Handler.tree),
    ("HEAD", rf"/{REPO}/resolve/(?P<revision>\w+)/(?P<file>[\w.-]+)", Handler.resolve),
    ("GET", rf"/{REPO}/resolve/(?P<revision>\w+)/(?P<file>[\w.-]+)", Handler.resolve),
]


@contextmanager
def serve():
    """Run a hub in a thread."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
