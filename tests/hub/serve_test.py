"""serve_test.py PROGRAM BUILD: what `kernels serve` answers, rule by rule, and what it withstands."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from server import Server, commit_of, write_ref

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
LARGE = os.urandom(3 << 20)
FILES = {"README.md": "# relu\n", "build/v1/metadata.json": '{"name": "relu"}\n', "build/v1/relu.so": b"\x7fELF small",
         "build/v1/weights.bin": LARGE, "build.txt": "sorts between\n", "build/v2/a b#c.py": "pass\n", "empty": b"",
         "build/v1/\u00e9.txt": "not ASCII\n"}
EXECUTABLE = "build/v2/a b#c.py"
TAGGED = {"README.md": "tagged\n"}
MODEL = {"config.json": "{}\n", "model.so": b"code"}


def blob(data):
    data = data.encode() if isinstance(data, str) else data
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def pointer(data):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n"


class Case(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-serve-"))
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        cls.fill(cls.top)
        cls.server = Server(PROGRAM, cls.top, *cls.options)
        cls.addClassCleanup(cls.server.stop)
        cls.ask = cls.server.ask

    @classmethod
    def fill(cls, top):
        main = write_ref(top, "kernels/acme/relu/branches/main", FILES)
        (main / EXECUTABLE).chmod(0o755)
        (main / "nothing/in/it").mkdir(parents=True)
        write_ref(top, "kernels/acme/relu/branches/v1", FILES)
        write_ref(top, "kernels/acme/relu/branches/feature%2Fx", TAGGED)
        write_ref(top, "kernels/acme/relu/tags/v1.0.0", TAGGED)
        write_ref(top, "kernels/acme/relu/pulls/1", {"README.md": "changed\n"})
        write_ref(top, "kernels/acme/relu/converts/onnx", {"README.md": "converted\n"})
        write_ref(top, "models/acme/relu/branches/main", MODEL)

    def missing(self, path, code, commit=None, **headers):
        """404, told in the headers too, also to HEAD."""
        got, head = self.ask(path, **headers), self.ask(path, "HEAD", **headers)
        self.assertEqual((got.status, got.code, got["X-Repo-Commit"]), (404, code, commit), path)
        self.assertTrue(got["X-Error-Message"], path)
        self.assertEqual(list(got.json), ["error"])
        self.assertEqual((head.status, head.code, head["X-Repo-Commit"], head.body), (404, code, commit, b""), path)
        self.assertEqual(head["X-Error-Message"], got["X-Error-Message"])
        return got


class Refs(Case):
    def test_refs(self):
        main, tagged = commit_of(FILES), commit_of(TAGGED)
        expected = {
            "branches": [{"name": "feature/x", "ref": "refs/heads/feature/x", "targetCommit": tagged},
                         {"name": "main", "ref": "refs/heads/main", "targetCommit": main},
                         {"name": "v1", "ref": "refs/heads/v1", "targetCommit": main}],
            "tags": [{"name": "v1.0.0", "ref": "refs/tags/v1.0.0", "targetCommit": tagged}],
            "converts": [{"name": "onnx", "ref": "refs/convert/onnx", "targetCommit": commit_of({"README.md": "converted\n"})}]}
        self.assertEqual(self.ask("/api/kernels/acme/relu/refs").json, expected)
        expected["pullRequests"] = [{"name": "1", "ref": "refs/pr/1", "targetCommit": commit_of({"README.md": "changed\n"})}]
        for query in ("include_prs=1", "include_prs=True", "include_prs=true&x=y"):
            self.assertEqual(self.ask(f"/api/kernels/acme/relu/refs?{query}").json, expected)

    def test_what_is_no_repository(self):
        for path in ("/api/kernels/acme/gelu/refs", "/api/kernels/other/relu", "/api/models/acme/gelu/revision/main",
                     "/api/kernels/ACME/relu/refs", "/kernels/acme/gelu/resolve/main/README.md", "/acme/gelu/resolve/main/x"):
            self.missing(path, "RepoNotFound")
        for path in ("/", "/api", "/api/kernels", "/api/kernels/acme", "/acme/relu", "/api/datasets/acme/relu/refs",
                     "/api/kernels/acme/relu/commits/main", "/api/kernels/acme/relu/refs/x", "/api/kernels/acme/relu/revision",
                     "/api/agent-harnesses", "/api/telemetry/x", "/api/users/acme/overview", "/robots.txt",
                     "/kernels/acme/relu/blob/main/README.md", "/api/kernels/acme/relu/xet-read-token/main"):
            self.missing(path, None)

    def test_revisions(self):
        main, tagged = commit_of(FILES), commit_of(TAGGED)
        for revision, commit in (("main", main), ("refs%2Fheads%2Fmain", main), ("v1.0.0", tagged), ("feature%2Fx", tagged),
                                 ("refs%2Ftags%2Fv1.0.0", tagged), ("refs%2fheads%2ffeature%2fx", tagged), (main, main),
                                 (main[:7], main), (tagged[:39], tagged), ("refs%2Fpr%2F1", commit_of({"README.md": "changed\n"})),
                                 ("refs%2Fconvert%2Fonnx", commit_of({"README.md": "converted\n"})), ("%6dain", main)):
            with self.subTest(revision):
                info = self.ask(f"/api/kernels/acme/relu/revision/{revision}")
                self.assertEqual((info.status, info.json["sha"]), (200, commit))
                head = self.ask(f"/kernels/acme/relu/resolve/{revision}/README.md", "HEAD")
                self.assertEqual((head.status, head["X-Repo-Commit"]), (200, commit))
        for revision in ("nope", main[:6], main.upper(), "0" * 40, "1234567", "refs%2Fheads%2Fv1.0.0", "refs%2Ftags%2Fmain", "1",
                         "onnx", "refs", "feature", "..", "%2e%2e", "main%2F", "refs%2Fheads%2F", "feature%252Fx", main + "0",
                         "branches%2Fmain", "-", "%0d%0aX-Evil:%201", "x" * 300):
            for path in (f"/api/kernels/acme/relu/revision/{revision}", f"/api/kernels/acme/relu/tree/{revision}",
                         f"/kernels/acme/relu/resolve/{revision}/README.md"):
                self.assertNotIn("X-Evil", self.missing(path, "RevisionNotFound").headers)

    def test_info(self):
        info = self.ask("/api/kernels/acme/relu").json
        self.assertEqual((info["id"], info["author"], info["sha"], info["private"], info["gated"], info["repoType"],
                          info["trustedPublisher"]), ("acme/relu", "acme", commit_of(FILES), False, False, "kernel", True))
        self.assertRegex(info["lastModified"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertNotIn("siblings", info)
        model = self.ask("/api/models/acme/relu").json
        self.assertEqual(model["siblings"], [{"rfilename": "config.json"}, {"rfilename": "model.so"}])
        self.assertEqual((model["id"], model["sha"]), ("acme/relu", commit_of(MODEL)))
        blobs = self.ask("/api/models/acme/relu/revision/main?blobs=true").json["siblings"]
        self.assertEqual(blobs, [
            {"rfilename": "config.json", "size": 3, "blobId": blob("{}\n")},
            {"rfilename": "model.so", "size": 4, "blobId": blob(pointer(b"code")),
             "lfs": {"sha256": sha256(b"code"), "size": 4, "pointerSize": len(pointer(b"code"))}}])

    def test_owners(self):
        for asked in ("acme", "ACME", "%61cme"):
            got = self.ask(f"/api/organizations/{asked}/overview").json
            self.assertEqual((got["name"], got["fullname"], got["trustedKernelPublisher"]), ("acme", "acme", True))
        for asked in ("nobody", "..", "%2e", "ac%00me", "acme%2Frelu", "local"):
            self.assertIn(self.ask(f"/api/organizations/{asked}/overview").status, (400, 404))
        self.assertEqual(self.ask("/api/whoami-v2").status, 401)


class Listings(Case):
    options = ("--page-size=3", "--large", "100000")

    def pages(self, path):
        """All entries of a listing, and how many pages there were."""
        entries, pages = [], 0
        while path:
            answer = self.ask(path)
            self.assertEqual(answer.status, 200, path)
            entries, pages, link = entries + answer.json, pages + 1, answer["Link"]
            self.assertTrue(1 <= len(answer.json) <= 3)
            path = None
            if link:
                self.assertRegex(link, rf'\A<{self.server.url}/api/kernels/acme/relu/tree/[0-9a-f]{{40}}[^>]*>; rel="next"\Z')
                path = link[1 + len(self.server.url):link.index(">")]
        return entries, pages

    def test_recursive(self):
        entries, pages = self.pages("/api/kernels/acme/relu/tree/main?recursive=true&expand=false")
        self.assertEqual(pages, 4)
        self.assertEqual({e["path"] for e in entries if e["type"] == "file"}, set(FILES))
        self.assertEqual([e["path"] for e in entries if e["type"] == "directory"], ["build", "build/v1", "build/v2"])
        for e in entries:
            if e["type"] == "directory":
                self.assertEqual((e["size"], "lfs" in e), (0, False))
                continue
            data = FILES[e["path"]]
            self.assertEqual(e["size"], len(data.encode() if isinstance(data, str) else data))
            if e["path"] in ("build/v1/relu.so", "build/v1/weights.bin"):
                self.assertEqual(e["lfs"], {"oid": sha256(data), "size": len(data), "pointerSize": len(pointer(data))})
                self.assertEqual(e["oid"], blob(pointer(data)))
            else:
                self.assertEqual((e["oid"], "lfs" in e), (blob(data), False), e)

    @unittest.skipUnless(shutil.which("git"), "there is no git")
    def test_hashes_are_those_of_git(self):
        with tempfile.TemporaryDirectory() as work:
            write_ref(work, ".", {p: pointer(d) if p.endswith((".so", ".bin")) else d for p, d in FILES.items()})
            (pathlib.Path(work) / EXECUTABLE).chmod(0o755)
            for words in (["init", "-q"], ["add", "-A"]):
                subprocess.run(["git", *words], cwd=work, check=True, capture_output=True)
            tree = subprocess.run(["git", "write-tree"], cwd=work, check=True, capture_output=True, text=True).stdout.strip()
            lines = subprocess.run(["git", "ls-tree", "-rtz", tree], cwd=work, check=True, capture_output=True).stdout
        expected = {}
        for line in lines.decode().rstrip("\0").split("\0"):
            meta, path = line.split("\t", 1)
            expected[path] = meta.split()[2]
        entries, _ = self.pages("/api/kernels/acme/relu/tree/main?recursive=1")
        self.assertEqual({e["path"]: e["oid"] for e in entries}, expected)

    def test_places(self):
        top = ["README.md", "build", "build.txt", "empty"]
        v1 = ["build/v1/metadata.json", "build/v1/relu.so", "build/v1/weights.bin", "build/v1/\u00e9.txt"]
        for query, paths in (("", top), ("?recursive=false&expand=false", top), ("?recursive=False", top),
                             ("/?recursive=FALSE", top), ("/build", ["build/v1", "build/v2"]), ("/build%2Fv1", v1),
                             ("/build/v1", v1), ("/build/v1/", v1), ("/build%2fv1?recursive=TRUE", v1),
                             ("/build/v2?recursive=True", ["build/v2/a b#c.py"])):
            entries, _ = self.pages(f"/api/kernels/acme/relu/tree/main{query}")
            self.assertEqual(sorted(e["path"] for e in entries), sorted(paths), query)
        for path in ("nope", "build/v3", "README.md", "buil", "build%2F%2Fv1", ".", "..", "build/../build", "build%2F..", "build.",
                     "%2Fbuild", "build%2Fv1%2F", "Build", "%0d%0aX-Evil:1"):
            self.missing(f"/api/kernels/acme/relu/tree/main/{path}", "EntryNotFound", commit_of(FILES))

    def test_expand(self):
        entries, _ = self.pages("/api/kernels/acme/relu/tree/main?recursive=true&expand=True")
        for e in entries:
            self.assertEqual(e["lastCommit"]["id"], commit_of(FILES))

    def test_limits(self):
        base = "/api/kernels/acme/relu/tree/main?recursive=true"
        self.assertEqual(len(self.ask(f"{base}&limit=2").json), 2)
        for bad in ("limit=0", "limit=4", "limit=x", "cursor=-1", "cursor=12", "cursor=99999999999999999999", "cursor=", "limit=1x"):
            self.assertEqual(self.ask(f"{base}&{bad}").status, 400, bad)

    def test_paths_info(self):
        def paths(body, kind, **headers):
            return self.ask("/api/kernels/acme/relu/paths-info/main", "POST", body, Content_Type=kind, **headers)
        form = "application/x-www-form-urlencoded"
        for body, kind in (("paths=README.md&paths=build%2Fv1&paths=nope&expand=False", form), ("paths=README.md&paths=build/v1", None),
                           ('{"paths": ["README.md", "build/v1", "nope", 3]}', "application/json"),
                           ('{"paths": ["[[[[[[[[[[\\"[", "README.md", "build/v1"]}', "application/json"),
                           ('{"paths": ["README.md", "build/v1"], "expand": false}', "application/json; charset=utf-8")):
            answer = paths(body, kind) if kind else self.ask("/api/kernels/acme/relu/paths-info/main", "POST", body)
            self.assertEqual(answer.status, 200, body)
            self.assertEqual([(e["type"], e["path"]) for e in answer.json], [("file", "README.md"), ("directory", "build/v1")], body)
        self.assertEqual(paths("paths=a+b%23c.py&paths=build/v2/a+b%23c.py", form).json[0]["path"], "build/v2/a b#c.py")
        self.assertIn("lastCommit", paths("expand=True&paths=empty", form).json[0])
        for body, kind in (("", form), ("nothing=here", form), ("%zz=1", form), ("{", "application/json"), ("[]", "application/json"),
                           ('{"paths": 3}', "application/json"), ('{"paths": [], "paths": []}', "application/json"),
                           ("[" * 100000, "application/json"), ('{"paths": ["\\"", ' + "[" * 9 + "]" * 9 + "]}", "application/json"), ("paths=empty&" * 20000, form)):
            self.assertEqual(paths(body, kind).status, 400, body[:40])
        self.assertEqual(paths("paths=x", form).json, [])
        self.assertEqual(self.ask("/api/kernels/acme/relu/paths-info/main").status, 405)
        self.assertEqual(self.ask("/api/kernels/acme/relu/paths-info/nope", "POST", "paths=x").code, "RevisionNotFound")


class Files(Case):
    path = "/kernels/acme/relu/resolve/main/"

    def test_whole(self):
        with_large = {"build/v1/relu.so", "build/v1/weights.bin"}
        for name, data in FILES.items():
            with self.subTest(name):
                data = data.encode() if isinstance(data, str) else data
                url = self.path + name.replace(" ", "%20").replace("#", "%23").replace("\u00e9", "%C3%A9")
                got, head = self.ask(url), self.ask(url, "HEAD")
                self.assertEqual((got.status, got.body), (200, data))
                self.assertEqual(got["ETag"], f'"{sha256(data) if name in with_large else blob(data)}"')
                self.assertEqual(got["X-Repo-Commit"], commit_of(FILES))
                self.assertEqual((got["Content-Length"], got["Accept-Ranges"]), (str(len(data)), "bytes"))
                self.assertTrue(got["Content-Type"])
                for name in ("Content-Encoding", "Transfer-Encoding", "X-Xet-Hash", "Link", "Location"):
                    self.assertIsNone(got[name])
                self.assertEqual((head.status, head.body), (200, b""))
                for name in ("ETag", "X-Repo-Commit", "Content-Length", "Accept-Ranges", "Content-Type"):
                    self.assertEqual(head[name], got[name], name)
        self.assertEqual(self.ask("/acme/relu/resolve/main/config.json").body, b"{}\n")
        self.assertEqual(self.ask(self.path + "build%2Fv1/metadata.json?download=true").status, 200)
        self.assertEqual(self.ask(self.path + "empty", Range="bytes=0-").status, 416)

    def test_ranges(self):
        url, n = self.path + "build/v1/weights.bin", len(LARGE)
        for asked, begin, end in (("bytes=0-0", 0, 1), ("bytes=0-", 0, n), ("bytes=100-199", 100, 200), (f"bytes={n - 1}-", n - 1, n),
                                  ("bytes=5-99999999", 5, n), ("bytes=-7", n - 7, n), (f"bytes=-{n + 5}", 0, n),
                                  ("bytes=5-99999999999999999999999999", 5, n), ("bytes=00005-0009", 5, 10)):
            got = self.ask(url, Range=asked)
            self.assertEqual((got.status, got["Content-Range"]), (206, f"bytes {begin}-{end - 1}/{n}"), asked)
            self.assertEqual((got.body, got["Content-Length"]), (LARGE[begin:end], str(end - begin)), asked)
            self.assertEqual(got["ETag"], f'"{sha256(LARGE)}"')
        for asked in (f"bytes={n}-", f"bytes={n}-{n + 5}", "bytes=-0", "bytes=99999999999999999999-"):
            got = self.ask(url, Range=asked)
            self.assertEqual((got.status, got["Content-Range"], got.body), (416, f"bytes */{n}", b""), asked)
        for asked in ("bytes=5-3", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=1", "bytes 1-2", "bytes=+1-2",
                      "bytes=0x1-2", "bytes= 1-2", ""):
            got = self.ask(url, Range=asked)
            self.assertEqual((got.status, len(got.body)), (200, n), asked)
        head = self.ask(url, "HEAD", Range="bytes=1-2")
        self.assertEqual((head.status, head["Content-Length"]), (200, str(n)))

    def test_conditions(self):
        url, etag = self.path + "README.md", f'"{blob(FILES["README.md"])}"'
        for asked, status in ((etag, 304), (f'"x", {etag}', 304), ("*", 304), ('"x"', 200), (etag.strip('"'), 200)):
            got = self.ask(url, If_None_Match=asked)
            self.assertEqual((got.status, got["ETag"], len(got.body)), (status, etag, 0 if status == 304 else 7))
        self.assertEqual(self.ask(url, If_Range=etag, Range="bytes=0-1").status, 206)
        self.assertEqual(self.ask(url, If_Range='"other"', Range="bytes=0-1").status, 200)

    def test_missing(self):
        for name in ("nope", "build", "build/v1", "build/v1/", "README.md/x", "", "Readme.md", ".", "build/v1/../v1/metadata.json",
                     "%2e%2e/main/README.md", "README.md%2F", "%2FREADME.md", "build//v1/metadata.json"):
            if name:
                self.missing(self.path + name, "EntryNotFound", commit_of(FILES))
        for method in ("PUT", "POST", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND"):
            self.assertEqual(self.ask(self.path + "README.md", method).status, 405, method)

    def test_one_connection(self):
        """Bodies and their lengths agree, or the next answer would be garbled."""
        connection = self.server.connect()
        for _ in range(3):
            for path, method, status in ((self.path + "README.md", "HEAD", 200), (self.path + "nope", "HEAD", 404),
                                         (self.path + "nope", "GET", 404), (self.path + "empty", "GET", 200),
                                         ("/api/kernels/acme/relu/refs", "HEAD", 200), (self.path + "README.md", "GET", 200)):
                self.assertEqual(self.server.ask_on(connection, path, method).status, status)
        self.assertEqual(self.server.ask_on(connection, self.path + "empty", Range="bytes=0-").status, 416)
        self.assertEqual(self.server.ask_on(connection, self.path + "README.md").body, b"# relu\n")
        connection.close()


if __name__ == "__main__":
    unittest.main()
