"""What `wandb sync` and `r2cmn dashboard` send, recorded by a small local server in place of W&B's."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.slow

PROJECT = {"id": "p", "name": "r2cmn", "entity": {"id": "e", "name": "somebody"}}


class StandIn(BaseHTTPRequestHandler):
    """Answers what `wandb sync` asks, and keeps in `self.server.kept` what it is given."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self._body()
        if "/graphql" in self.path:
            asked = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])[1]
            given = asked.get("variables") or {}
            self.server.kept.setdefault(name, []).append(given)
            self._send({"data": self._answer(name, given)})
            return
        for name, file in (json.loads(body).get("files") or {}).items() if "file_stream" in self.path else ():
            if name == "wandb-history.jsonl":
                rows = [json.loads(line) for line in file["content"]]
                self.server.rows[file["offset"] : file["offset"] + len(rows)] = rows
            if name == "wandb-summary.json":
                self.server.kept["summary"] = json.loads(file["content"][-1])
        self._send({})

    def do_PUT(self):
        self._body()
        self._send({})

    def _body(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, name, given):
        rows = self.server.rows
        if name == "RunResumeStatus":
            bucket = {"id": "b", "name": given["name"], "summaryMetrics": "{}", "displayName": "n", "logLineCount": 0,
                      "historyLineCount": len(rows), "eventsLineCount": 0, "eventsTail": "[]", "config": "{}",
                      "historyTail": json.dumps([json.dumps(rows[-1])] if rows else []), "tags": [],
                      "wandbConfig": '{"t": 1}'}  # fmt: skip
            return {"model": {**PROJECT, "bucket": bucket if "UpsertBucket" in self.server.kept else None}}
        if name == "UpsertBucket":
            bucket = {"id": "b", "name": given["name"], "displayName": "n", "config": "{}", "project": PROJECT,
                      "historyLineCount": len(rows)}  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": not rows}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.server.address}/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":  # there is one of these bytes already, so none are sent
            sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        if name in ("GetDefaultEntity", "Viewer"):
            viewer = {"id": "v", "entity": "somebody", "username": "u", "email": "", "flags": "{}"}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        if name == "UpsertView2":
            return {"upsertView": {"view": {"id": "v", "name": given["name"]}, "inserted": True}}
        return {}


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.kept, server.rows = {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def run(server, home, *arguments):
    """Run a command of somebody whose W&B is the server."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=home,
        env={**clean, "HOME": str(home), "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.address},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_folders_of_a_continued_run_are_uploaded_as_one_run(offline, wandb_runs, server, tmp_path):
    kept = wandb_runs(offline)
    run(server, tmp_path, "wandb", "sync", *(str(each.folder) for each in kept))
    assert {made["name"] for made in server.kept["UpsertBucket"]} == {kept[0].id}
    first = server.kept["UpsertBucket"][0]
    assert (first["groupName"], first["jobType"], first["displayName"]) == ("sweep_1", "train", "#0 a")
    assert first["tags"] == ["memory=none"]
    assert [row["_step"] for row in server.rows] == [0, 1, 2, 3]
    assert [row["trainer/global_step"] for row in server.rows] == [3, 3, 3, 3]
    assert server.kept["summary"]["objective"] == 0.5
    files = [file for asked in server.kept["CreateRunFiles"] for file in asked["files"]]
    assert sum(file.startswith("media/table/val/reports") for file in files) == 2
    kinds = [made["input"]["artifactTypeName"] for made in server.kept["CreateArtifact"]]
    assert sorted(kinds) == ["model", "predictions", "run_table", "run_table"]


def test_the_dashboard_is_saved_as_a_view_of_the_project(server, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="pip install 'r2cmn[dashboard]'")
    said = run(server, tmp_path, "r2cmn", "dashboard", "--project", "p", "--group", "sweep_1")
    (view,) = server.kept["UpsertView2"]
    assert (view["entityName"], view["projectName"], view["type"]) == ("somebody", "p", "project-view")
    assert "val/BLEU_4 by N, memory vectors" in view["spec"]
    assert said.startswith(f"{server.address}/somebody/p?nw=")
