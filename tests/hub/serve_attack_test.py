"""serve_attack_test.py PROGRAM BUILD: requests that no client would send, and trees that lead astray."""

import os
import pathlib
import random
import shutil
import socket
import sys
import tempfile
import unittest

from server import Server, commit_of, write_ref

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
SECRET = b"the-secret-outside"
FILES = {"README.md": "hello\n", "build/v/a.so": b"code"}
ROUNDS = 3000


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="kernels-serve-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        (cls.work / "secret").write_bytes(SECRET)
        cls.top = cls.work / "served"
        ref = write_ref(cls.top, "kernels/acme/relu/branches/main", FILES)
        write_ref(cls.top, "models/acme/m/branches/main", FILES)
        write_ref(cls.top, "kernels/acme/relu/branches/main", {".git/config": SECRET, "build/.hidden": SECRET, "build/back\\slash": SECRET})
        write_ref(cls.top, ".hidden/relu/branches/main", {"a": SECRET})
        write_ref(cls.top, "kernels/.acme/relu/branches/main", {"a": SECRET})
        (cls.top / "secret").write_bytes(SECRET)  # beneath what is served, but in no repository
        (cls.top / "kernels/secret").write_bytes(SECRET)
        for name, to in (("up", "../../../../../../secret"), ("absolute", str(cls.work / "secret")), ("root", "/"), ("self", "."),
                         ("parent", ".."), ("dir", "build"), ("loop", "loop"), ("nowhere", "none"), ("proc", "/proc/self/environ"),
                         ("magic", "/proc/self/root")):
            (ref / name).symlink_to(to)
        (ref / "good").symlink_to("build/v/a.so")
        (ref / "other").symlink_to("../../../../../models/acme/m/branches/main/README.md")
        os.mkfifo(ref / "fifo")
        sock = socket.socket(socket.AF_UNIX)
        cls.addClassCleanup(sock.close)
        sock.bind(str(ref / "socket"))
        (cls.top / "kernels/evil").symlink_to(cls.work)
        (cls.work / "relu/branches/main").mkdir(parents=True)
        (cls.work / "relu/branches/main/a").write_bytes(SECRET)
        (cls.top / "kernels/acme/linked").symlink_to(cls.work / "relu")
        (ref / os.fsdecode(b"bad\xff")).write_bytes(SECRET)
        (ref / "new\nline").write_bytes(SECRET)
        cls.server = Server(PROGRAM, cls.top)
        cls.addClassCleanup(cls.server.stop)  # checks the sanitizers' word
        cls.served = {**FILES, "good": b"code", "other": "hello\n"}

    def raw(self, data, seconds=30):
        """What comes back for these bytes, until the server closes or all was answered."""
        with socket.create_connection((self.server.host, self.server.port), timeout=seconds) as sock:
            got = b""
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while part := sock.recv(1 << 16):
                    got += part
            except TimeoutError:
                raise
            except OSError:  # it closed in the middle
                pass
        self.assertNotIn(SECRET, got)
        return got

    def is_alive(self):
        answer = self.server.ask("/api/kernels/acme/relu")
        self.assertEqual((answer.status, answer.json["sha"]), (200, commit_of(self.served)))


class Trees(Case):
    def test_what_is_listed(self):
        paths = [e["path"] for e in self.server.ask("/api/kernels/acme/relu/tree/main?recursive=true").json]
        self.assertEqual(paths, ["README.md", "build", "build/v", "build/v/a.so", "good", "other"])
        self.assertEqual(self.server.ask("/kernels/acme/relu/resolve/main/good").body, b"code")
        self.assertEqual(self.server.ask("/kernels/acme/relu/resolve/main/other").body, b"hello\n")

    def test_links(self):
        for name in ("up", "absolute", "root", "root/etc/passwd", "self", "self/README.md", "parent", "dir/v/a.so", "loop", "nowhere", "proc",
                     "fifo", "socket", ".git/config", "build/.hidden", "build/back%5Cslash", "bad%FF", "new%0Aline", ".git", "magic/etc/passwd"):
            answer = self.server.ask(f"/kernels/acme/relu/resolve/main/{name}")
            self.assertEqual((answer.status, answer.code), (404, "EntryNotFound"), name)
        for repo in ("evil/relu", "acme/linked", ".acme/relu", "acme/secret", "evil/served"):
            self.assertEqual(self.server.ask(f"/api/kernels/{repo}/refs").code, "RepoNotFound", repo)
        self.assertEqual(self.server.ask("/api/organizations/evil/overview").status, 404)

    def test_link_changed_to_lead_out(self):
        """Between the listing and the look."""
        ref = write_ref(self.top, "kernels/acme/swap/branches/main", {"a": "inside"})
        path = f"/kernels/acme/swap/resolve/{commit_of({'a': 'inside'})}/a"
        self.assertEqual(self.server.ask("/api/kernels/acme/swap").json["sha"], commit_of({"a": "inside"}))
        (ref / "a").unlink()
        (ref / "a").symlink_to(self.work / "secret")
        self.assertEqual(self.server.ask(path).code, "RevisionNotFound")
        ref.rename(ref.with_name("aside"))
        ref.symlink_to(self.work / "relu/branches/main")
        self.assertEqual(self.server.ask("/kernels/acme/swap/resolve/main/a").code, "RevisionNotFound")

    def test_deep(self):
        write_ref(self.top, "kernels/acme/deep/branches/main", {"/".join(["d"] * 60) + "/a": "a"})
        answer = self.server.ask("/api/kernels/acme/deep")
        self.assertEqual((answer.status, answer.code), (500, None))


class Requests(Case):
    def test_paths(self):
        up = ["..", "%2e%2e", ".%2e", "%2E.", "..%2f", "%2e%2e%2f", "..%5c", "..\\", "%c0%ae%c0%ae", "..;", "..%00", "%252e%252e", "....//"]
        places = ["/{}/secret", "/api/{}/secret", "/api/kernels/{}/secret/refs", "/api/kernels/acme/{}/refs", "/kernels/{}/{}/resolve/main/secret",
                  "/kernels/acme/{}/resolve/main/a", "/kernels/acme/relu/resolve/{}/a", "/kernels/acme/relu/resolve/main/{}/{}/{}/{}/{}/secret",
                  "/kernels/acme/relu/resolve/main/build/{}/{}/{}/{}/{}/{}/secret", "/{}/{}/resolve/main/secret",
                  "/api/kernels/acme/relu/tree/main/{}", "/api/kernels/acme/relu/tree/{}", "/api/organizations/{}/overview",
                  "/kernels/acme/relu/resolve/main/{}%2f{}%2f{}%2f{}%2f{}%2fsecret", "/kernels/acme/relu/resolve/main//{}secret",
                  "/api/kernels/acme/relu/revision/{}"]
        for place in places:
            for step in up:
                path = place.replace("{}", step)
                got = self.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                self.assertRegex(got, rb"\AHTTP/1\.1 40[04] ", path)
        self.is_alive()

    def test_encodings(self):
        for path in ("/%", "/%4", "/%zz", "/%g0", "/a%00b", "/%00", "/kernels/acme/relu/resolve/main/README.md%00.so", "/a%2", "/%%30", "/%-1"):
            self.assertEqual(self.server.ask(path).status, 400, path)
        for target in ("README.md", "*", "?", "ftp://localhost/", "http:/x", "\\\\server\\share", "kernels/acme"):
            got = self.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            self.assertRegex(got, rb"\AHTTP/1\.1 40[04] ", target)
        got = self.raw(b"GET http://localhost/kernels/acme/relu/resolve/main/README.md HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertTrue(got.endswith(b"\r\n\r\nhello\n"), got)

    def test_sizes(self):
        for path, statuses in (("/" + "a" * 9000, (400,)), ("/a" * 60, (404,)), ("/a" * 100, (400,)), ("/" * 5000, (400,)),
                               ("/api/kernels/acme/relu/tree/main?" + "x=y&" * 1500, (200, 400, 413, 414, 431)), ("/" + "a" * 100_000, (400, 414, 413, 431)),
                               ("/api/kernels/" + "a" * 4000 + "/relu/refs", (404,)), ("/kernels/acme/relu/resolve/main/" + "a/" * 55 + "a", (404,))):
            got = self.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            self.assertIn(int(got.split(b" ", 2)[1]) if got else statuses[-1], statuses, path[:60])
        got = self.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n")
        self.assertRegex(got, rb"\A(HTTP/1\.1 4\d\d |\Z)")
        self.is_alive()

    def test_headers_cannot_be_added(self):
        evil = "%0d%0aX-Evil:%201%0d%0a%0d%0aHTTP/1.1%20200%20OK"
        for path in (f"/kernels/acme/relu/resolve/main/{evil}", f"/api/kernels/acme/relu/tree/main/{evil}", f"/api/kernels/{evil}/x",
                     f"/api/organizations/{evil}/overview", f"/api/kernels/acme/relu/revision/{evil}"):
            head = self.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()).split(b"\r\n\r\n", 1)[0]
            self.assertNotIn(b"\nX-Evil", head)
            self.assertEqual(head.count(b"HTTP/1.1 "), 1 + head.count(b"??HTTP/1.1 "))

    def test_bodies(self):
        big = b"x" * (4 << 20)
        post = b"POST /api/kernels/acme/relu/paths-info/main HTTP/1.1\r\nHost: localhost\r\n"
        for data, status in ((post + b"Content-Length: 99999999999\r\n\r\n" + big, b"413"), (post + b"Content-Length: -1\r\n\r\nx", b"400"),
                             (post + b"Content-Length: 99999999999999999999999\r\n\r\nx", b"4"),
                             (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
                             (post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx", b"4"),
                             (b"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n" + big, b"405"),
                             (b"POST /api/repos/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", b"404")):
            got = self.raw(data)
            if got:  # a connection may be reset before the answer could be read
                self.assertTrue(got.startswith(b"HTTP/1.1 " + status), (data[:90], got[:80]))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        self.assertNotIn(b" 200 ", self.raw(post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 40 + b"0\r\n\r\n")[:20])
        got = self.raw(post + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                       b"14\r\n{\"paths\":[\"README.md\r\n3\r\n\"]}\r\n0\r\n\r\n")
        self.assertIn(b'"path":"README.md"', got)
        self.is_alive()

    def test_hosts(self):
        for lines in (b"", b"Host:\r\n", b"Host: evil.org\r\n", b"Host: localhost/../x\r\n", b"Host: a@localhost\r\n", b"Host: \xff\r\n"):
            got = self.raw(b"GET /api/kernels/acme/relu HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
            self.assertRegex(got, rb"\AHTTP/1\.1 4(00|21) ", lines)

    def test_half_a_request(self):
        """Clients that stop in the middle hold nobody up."""
        held = []
        for data in (b"", b"GET", b"GET /api/kernels/acme/relu HTTP/1.1\r\nHost: loc",
                     b"POST /api/kernels/acme/relu/paths-info/main HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npaths="):
            for _ in range(50):
                sock = socket.create_connection((self.server.host, self.server.port))
                sock.sendall(data)
                held.append(sock)
        self.is_alive()
        for sock in held:
            sock.close()
        self.is_alive()

    def test_random(self):
        """Parts of requests, put together and damaged at random: never the secret, and the server lives."""
        seed = int(os.environ.get("SEED", "1"))
        chance = random.Random(seed)
        parts = ["/", "//", "api", "kernels", "models", "acme", "relu", "m", "refs", "tree", "resolve", "revision", "main", "..", ".", "%2e%2e", "%2F",
                 "%00", "%", "secret", "README.md", "build", "paths-info", "organizations", "overview", "?recursive=true", "&limit=1", "&cursor=9", "#",
                 "?", "=", "\xff", "%ff", commit_of(self.served)[:9], "refs%2Fheads%2Fmain", "*", "\\", "~", "evil", "up"]
        headers = ["Range: bytes=0-1", "Range: bytes=-", "Range: bytes=9-", "If-None-Match: *", "Content-Length: 3", "Authorization: Bearer x",
                   "Transfer-Encoding: chunked", "Expect: 100-continue", "Host: evil", "Content-Type: application/json", "X:", ": x", "\0", "Cookie: ==;;"]
        for _ in range(ROUNDS):
            words = [chance.choice(["GET", "HEAD", "POST", "PUT", "get", "\0"]), "".join(
                ("/" if chance.random() < 0.7 else "") + chance.choice(parts) for _ in range(chance.randrange(1, 12))), "HTTP/1.1"]
            lines = [" ".join(words), "Host: localhost", "Connection: close", *chance.sample(headers, chance.randrange(0, 4))]
            data = bytearray("\r\n".join([*lines, "", ""]).encode("latin-1") + b"3\r\nabc\r\n0\r\n\r\n")
            for _ in range(chance.choice([0, 0, 1, 3])):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                self.raw(bytes(data), 10)
            except TimeoutError:
                self.fail(f"seed {seed}: no end after {bytes(data)}")
        self.is_alive()


if __name__ == "__main__":
    unittest.main()
