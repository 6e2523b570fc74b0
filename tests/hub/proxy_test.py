"""The fault-making proxy itself: each fault as a plain HTTP client sees it."""

import gzip
import hashlib
import http.client
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse

import faults
from faults import Rule
from proxy import Proxy

DATA = os.urandom(3 << 20)
COMMIT = "1" * 40
ETAG = '"' + hashlib.sha256(DATA).hexdigest() + '"'
TREE = [{"type": "file", "path": f"build/v/{i}", "oid": f"{i:040x}", "size": i,
         "lfs": {"oid": f"{i:064x}", "size": i, "pointerSize": 1}} for i in range(5)]
REFS = {"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}], "tags": [], "converts": []}
JSON = {"tree": TREE, "refs": REFS, "info": {"id": "a/b", "sha": COMMIT}}


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        name = path.rsplit("/", 1)[1]
        start, status = 0, 200
        body = json.dumps(JSON[name]).encode() if name in JSON else DATA
        if given := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(given[1]), 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("Content-Type", "application/json" if name in JSON else "application/octet-stream")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if name not in JSON:
            self.send_header("ETag", ETAG)
            self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start:])

    do_HEAD = do_GET


class Got:
    """What a client has of an answer; error: the exception that ended it."""

    def __init__(self, proxy, target, method="GET", connection=None, **headers):
        url = urllib.parse.urlsplit(proxy.url)
        self.connection = connection or http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        self.status, self.headers, self.body, self.error = 0, {}, b"", None
        start = time.monotonic()
        try:
            self.connection.request(method, target, headers=headers)
            answer = self.connection.getresponse()
            self.status, self.headers = answer.status, answer.headers
            self.body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.error = error
            self.body = getattr(error, "partial", b"")
        self.seconds = time.monotonic() - start
        if connection is None:
            self.connection.close()

    def json(self):
        return json.loads(self.body)


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        http.server.ThreadingHTTPServer.handle_error = lambda *_: None  # clients that went away
        cls.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        cls.port = cls.origin.server_address[1]
        threading.Thread(target=cls.origin.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.origin.shutdown()
        cls.origin.server_close()

    def proxy(self, *rules, **options):
        proxy = Proxy(self.port, [rule if isinstance(rule, Rule) else Rule(rule) for rule in rules], **options)
        self.addCleanup(proxy.close)
        return proxy

    def test_nothing_goes_wrong(self):
        proxy = self.proxy()
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        for _ in range(3):
            got = Got(proxy, "/x/resolve/main/f", connection=connection)
            self.assertEqual((got.status, got.body), (200, DATA))
        connection.close()
        self.assertEqual(Got(proxy, "/f", "HEAD").headers["Content-Length"], str(len(DATA)))
        part = Got(proxy, "/f", Range="bytes=100-")
        self.assertEqual((part.status, part.body), (206, DATA[100:]))
        self.assertEqual([e.connection for e in proxy.log], [1, 1, 1, 2, 3])
        self.assertEqual([e.sent for e in proxy.requests("resolve")], [len(DATA)] * 3)
        self.assertEqual(proxy.requests(method="HEAD")[0].header("host"), f"127.0.0.1:{proxy.port}")

    def test_bodies(self):
        n = len(DATA)
        rows = [  # fault, bytes that arrive, what ended it, length announced
            (faults.Cut(1000), DATA[:1000], http.client.IncompleteRead, n),
            (faults.Cut(0), b"", http.client.IncompleteRead, n),
            (faults.Reset(1 << 20), None, ConnectionResetError, n),
            (faults.Reset(-1), b"", ConnectionResetError, None),
            (faults.Short(7), DATA[:-7], None, n - 7),
            (faults.Long(5), DATA + b"xxxxx", None, n + 5),
            (faults.Long(5, is_announced=0), DATA + b"xxxxx", None, None),
            (faults.Wrong(3), DATA[:3] + bytes([DATA[3] ^ 1]) + DATA[4:], None, n),
            (faults.Chunked(), DATA, None, None),
            (faults.Stall(5, seconds=0.3), DATA, None, n),
            (faults.Stall(-1, seconds=0.3), DATA, None, n),
            (faults.Slow(1 << 20, seconds=0.1), DATA, None, n),
        ]
        for fault, body, error, length in rows:
            with self.subTest(fault):
                got = Got(self.proxy(fault), "/f")
                self.assertEqual(type(got.error), error or type(None), got.error)
                if body is not None:
                    self.assertTrue(got.body == body, f"{len(got.body)} bytes")
                self.assertEqual(got.headers.get("Content-Length"), None if length is None else str(length))
                if isinstance(fault, (faults.Stall, faults.Slow)):
                    self.assertGreaterEqual(got.seconds, 0.3)

    def test_a_client_that_goes_ends_a_stall(self):
        proxy = self.proxy(faults.Stall(10))
        with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
            sock.sendall(b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(100)
        deadline = time.monotonic() + 20
        while not (proxy.log and proxy.log[0].ended) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertFalse(proxy.log[0].is_whole)

    def test_heads(self):
        rows = [
            (faults.Status(429, retry_after="3", rate_limit='"api";r=0;t=3'), 429, {"Retry-After": "3", "RateLimit": '"api";r=0;t=3'}),
            (faults.Status(503), 503, {"Retry-After": None}),
            (faults.Status(404, error_code="RepoNotFound"), 404, {"X-Error-Code": "RepoNotFound"}),
            (faults.Header("ETag", '"../../evil"'), 200, {"ETag": '"../../evil"', "X-Repo-Commit": COMMIT}),
            (faults.Header("X-Repo-Commit"), 200, {"X-Repo-Commit": None}),
            (faults.Etag(), 200, {"ETag": "W/" + ETAG}),
            (faults.Etag("{}"), 200, {"ETag": ETAG.strip('"')}),
            (faults.Gzip(), 200, {"Content-Encoding": "gzip"}),
        ]
        for fault, status, headers in rows:
            for method in ("GET", "HEAD"):
                with self.subTest(fault, method=method):
                    got = Got(self.proxy(fault), "/f", method)
                    self.assertEqual((got.status, got.error), (status, None))
                    self.assertEqual({k: got.headers.get(k) for k in headers}, headers)
        self.assertEqual(gzip.decompress(Got(self.proxy(faults.Gzip()), "/f").body), DATA)

    def test_ranges(self):
        self.assertEqual(Got(self.proxy(faults.IgnoreRange()), "/f", Range="bytes=100-").status, 200)
        got = Got(self.proxy(faults.BadContentRange("bytes 0-9/10")), "/f", Range="bytes=100-")
        self.assertEqual((got.status, got.headers["Content-Range"]), (206, "bytes 0-9/10"))

    def test_redirects(self):
        target = "/a/resolve/main/f"
        for to, status, pattern in (("relative", 307, "/-/hop/a/resolve/main/f"), ("absolute", 307, r"http://127.0.0.1:\d+/-/hop/a/.*"),
                                    ("cross", 302, r"http://localhost:\d+/-/hop/a/resolve/main/f\?Signature=secret")):
            with self.subTest(to):
                proxy = self.proxy(faults.Redirect(to))
                got = Got(proxy, target)
                self.assertEqual(got.status, status)
                self.assertRegex(got.headers["Location"], rf"\A{pattern}\Z")
                self.assertEqual([got.headers[h] for h in ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit")],
                                 [ETAG, str(len(DATA)), COMMIT])
                url = urllib.parse.urlsplit(got.headers["Location"])
                self.assertTrue(Got(proxy, url.path + ("?" + url.query if url.query else "")).body == DATA)
        proxy = self.proxy(faults.Redirect("endless"))
        for n in range(1, 30):
            target = Got(proxy, target).headers["Location"]
            self.assertEqual(target, f"/-/hop{n}/a/resolve/main/f")
        self.assertEqual(Got(self.proxy(faults.Redirect("file:///etc/passwd#{target}")), "/f").headers["Location"],
                         "file:///etc/passwd#/f")

    def test_json(self):
        def tree(fault):
            return Got(self.proxy(fault), "/api/tree").json()
        self.assertEqual(tree(faults.TreePath("../evil"))[0]["path"], "../evil")
        self.assertEqual({(e["oid"], e["lfs"]["oid"]) for e in tree(faults.TreeOid("../evil"))}, {("../evil", "../evil")})
        self.assertEqual({e["lfs"]["oid"] for e in tree(faults.MaskedLfs())}, {"*" * 64})
        self.assertEqual([e["type"] for e in tree(faults.BothKinds()) if e["path"] == "build/v/0"], ["file", "directory"])
        self.assertEqual(len([e for e in tree(faults.TwiceListed()) if e["path"] == "build/v/0"]), 2)
        self.assertEqual(Got(self.proxy(faults.Commit("../evil")), "/refs").json()["branches"][0]["targetCommit"], "../evil")
        self.assertEqual(Got(self.proxy(faults.Commit("../evil")), "/info").json()["sha"], "../evil")
        huge = Got(self.proxy(faults.HugeJson(5 << 20)), "/tree")
        self.assertEqual((len(huge.body) > 5 << 20, huge.json()), (True, TREE))
        self.assertTrue(Got(self.proxy(faults.DeepJson(1000)), "/tree").body.startswith(b'{"a":' * 1000 + b"["))

    def follow(self, proxy, most):
        url, entries, pages = "/tree?recursive=true", [], 0
        while url and pages < most:
            got = Got(proxy, url)
            entries, pages = entries + got.json(), pages + 1
            link = re.fullmatch(r'<(.*)>; rel="next"', got.headers.get("Link", ""))
            url = link and link[1].removeprefix(proxy.url)
        return entries, pages

    def test_pages(self):
        self.assertEqual(self.follow(self.proxy(faults.Pages(2)), 10), (TREE, 3))
        entries, pages = self.follow(self.proxy(faults.Pages(2, "endless")), 30)
        self.assertEqual((pages, len({e["path"] for e in entries})), (30, len(entries)))
        self.assertEqual(self.follow(self.proxy(faults.Pages(2, "repeated")), 4), (TREE[:2] * 4, 4))
        self.assertEqual(Got(self.proxy(faults.Pages(2, "http://else:1/x")), "/tree").headers["Link"], '<http://else:1/x>; rel="next"')

    def test_rules(self):
        proxy = self.proxy(Rule(faults.Status(500), method="GET", path="/f$", first=2, after=1, every=2))
        self.assertEqual([Got(proxy, "/f").status for _ in range(6)], [200, 500, 200, 500, 200, 200])
        self.assertEqual((Got(proxy, "/g").status, proxy.rules[0].hits), (200, 2))
        proxy.clear()
        rule = proxy.add(faults.Wrong())
        proxy.add(faults.Cut(10))  # both at once
        self.assertEqual(Got(proxy, "/f").body, bytes([DATA[0] ^ 1]) + DATA[1:10])
        self.assertEqual((rule.hits, proxy.log[0].faults), (1, ["Cut", "Wrong"]))
        parsed = Rule.parse("Cut bytes=12 path=/resolve/ first=2 method=GET")
        self.assertEqual((parsed.fault, parsed.path, parsed.first, parsed.method), (faults.Cut(12), "/resolve/", 2, "GET"))
        with self.assertRaisesRegex(ValueError, "no fault 'Nothing'; accepted: BadContentRange, "):
            Rule.parse("Nothing")

    def test_latency(self):
        """At least the round trips; bandwidth is far above one packet a round trip."""
        proxy = self.proxy(round_trip_ms=100)
        first = Got(proxy, "/x", "HEAD", http.client.HTTPConnection("127.0.0.1", proxy.port))
        self.assertGreaterEqual(first.seconds, 0.2)  # the connection's and the request's
        second = Got(proxy, "/f", connection=first.connection)
        first.connection.close()
        self.assertGreaterEqual(second.seconds, 0.1)
        self.assertLess(second.seconds, 2)
        self.assertTrue(second.body == DATA)
        self.assertIsInstance(Got(self.proxy(faults.Reset(-1), round_trip_ms=10), "/f").error, ConnectionResetError)
        self.assertEqual(len(Got(self.proxy(faults.Cut(10), round_trip_ms=10), "/f").body), 10)

    def test_bandwidth(self):
        got = Got(self.proxy(bytes_per_second=10 << 20), "/f")
        self.assertGreaterEqual(got.seconds, 0.29)
        self.assertTrue(got.body == DATA)

    def test_command_line(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proxy.py")
        with subprocess.Popen([sys.executable, path, str(self.port), "--rule", "Cut bytes=5", "--log"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().strip()
            self.assertEqual(len(Got(type("Proxy", (), {"url": url}), "/f").body), 5)
            process.terminate()
            self.assertRegex(process.communicate(timeout=20)[1], r"\A1 GET /f 200 5 bytes 0\.\d+ s Cut\n\Z")
            self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
