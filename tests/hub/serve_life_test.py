"""serve_life_test.py PROGRAM BUILD: what `kernels serve` is told to serve, how that changes under it, its start and its end."""

import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from server import Server, commit_of, write_ref

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
MAIN = "kernels/acme/relu/branches/main"
VARIANT = "tvm-ffi01-cpu-x86_64-linux"
METADATA = '{"name": "relu2", "id": "_relu2_1", "version": 1, "backend": {"type": "cpu"}}'


class Case(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-serve-"))
        self.addCleanup(shutil.rmtree, self.top, ignore_errors=True)

    def serve(self, *args, **options):
        server = Server(PROGRAM, *(args or [self.top]), **options)
        self.addCleanup(server.kill)
        return server

    def fails(self, *args, says, program=PROGRAM, **options):
        done = subprocess.run([program, "serve", *map(str, args)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              timeout=60, **options)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Akernels: serve: .*\n\Z")
        self.assertIn(says, done.stderr)


class Words(Case):
    def test_wrong_use(self):
        write_ref(self.top, MAIN, {"a": "a"})
        empty = self.top / "empty"
        empty.mkdir()
        home = write_ref(self.top, "home", {".ssh/key": "secret", "mail/x": "private"})
        for args, says in (
                ([], "DIR... is missing"), ([self.top, "--frobnicate"], "unknown option '--frobnicate'; accepted: DIR..., --help"),
                ([self.top / "nowhere"], "nowhere: No such file"), ([self.top / MAIN / "a"], "Not a directory"),
                ([empty], "expected a tree with kernels/ or models/ in it, or a package"), ([home], "home: expected a tree"),
                ([self.top, "--port", "65536"], "--port '65536': expected a number from 0 to 65535"),
                ([self.top, "--port", "x"], "--port 'x'"), ([self.top, "--page-size=0"], "--page-size '0'"),
                ([self.top, "--page-size=1001"], "from 1 to 1000"), ([self.top, "--large", "-1"], "--large '-1'"),
                ([self.top, "--host", "example.org"], "--host 'example.org' is no address"),
                ([self.top, "--host", "192.0.2.1", "--port=0"], "cannot listen on 192.0.2.1, port 0"),
                ([self.top, "--token="], "the token is empty"), ([self.top, "--token", "a b"], "a character that no header may have"),
                ([self.top, "--token", "a", "--token-file", "b"], "exclude each other"),
                ([self.top, "--token-file", self.top / "none"], "none: No such file"),
                ([self.top, "--token-file", os.devnull], "the token is empty"),
                ([self.top, "--url", "ftp://x"], "expected http://HOST or https://HOST"),
                ([self.top, "--url", "http://x/y"], "expected http://HOST"), ([self.top, "--url", "http://"], "expected http://HOST"),
                ([self.top, "--access-log", self.top / "no" / "log"], "cannot be written"),
                ([self.top, "--port=0", "--ready-file", self.top / "no" / "ready"], "--ready-file"),
                ([self.top, "--port=0", "--ready-file", empty], "--ready-file")):
            with self.subTest(args):
                self.fails(*args, says=says)

    def test_port_is_taken(self):
        write_ref(self.top, MAIN, {"a": "a"})
        first = self.serve()
        self.fails(self.top, "--port", first.port, says=f"cannot listen on 127.0.0.1, port {first.port}: Address already in use")
        connection = first.connect()
        self.assertEqual(first.ask_on(connection, "/api/kernels/acme/relu").status, 200)
        first.stop()
        connection.close()
        self.serve(port=first.port).stop()  # at once, though a connection of the first was open

    def test_program_is_not_there(self):
        alone = self.top / "bin"
        alone.mkdir()
        shutil.copy(PROGRAM, alone)
        env = {**os.environ, "PATH": str(self.top), "LD_LIBRARY_PATH": str(BUILD / "lib")}
        self.fails(self.top, program=alone / "kernels", env=env,
                   says="kernels-serve cannot be run: No such file or directory; expected it beside this program or in PATH")
        beside = pathlib.Path(PROGRAM).resolve().parent / "kernels-serve"
        (self.top / "kernels-serve").symlink_to(beside)  # now it is in PATH
        self.fails(self.top / "nowhere", program=alone / "kernels", env=env, says="nowhere")

    def test_only_who_serves_needs_the_library(self):
        needed = subprocess.run(["readelf", "-dW", PROGRAM], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("microhttpd", needed)

    def test_addresses(self):
        write_ref(self.top, MAIN, {"a": "a"})
        for host, url in (("::1", r"http://\[::1\]:\d+"), ("127.0.0.2", r"http://127\.0\.0\.2:\d+"),
                          ("localhost", r"http://127\.0\.0\.1:\d+")):
            try:
                socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
            except OSError:
                continue  # not on this machine
            server = self.serve(self.top, "--host", host)
            self.assertRegex(server.url, rf"\A{url}\Z")
            self.assertEqual(server.ask("/api/kernels/acme/relu").status, 200)
            out, err = server.stop()
            self.assertEqual((out, err), (f"serving {server.url}\n", ""))
        out, err = self.serve(self.top, "--host", "0.0.0.0").stop()
        self.assertIn("there is no --token", err)
        self.assertEqual(self.serve(self.top, "--host", "0.0.0.0", "--token", "t").stop()[1], "")

    def test_names(self):
        """On loopback a web page of elsewhere, whose name was made to point here, reads nothing."""
        write_ref(self.top, MAIN, {str(i): "a" for i in range(5)})
        server, path = self.serve(self.top, "--url", "https://kernels.example.org/", "--page-size=2"), "/api/kernels/acme/relu/tree/main"
        for host, status in (("127.0.0.1", 200), (f"localhost:{server.port}", 200), ("LOCALHOST", 200), ("[::1]:80", 200), ("127.1.2.3", 200),
                             ("kernels.example.org", 200), ("Kernels.Example.org", 200), ("evil.example.org", 421), ("127.0.0.1.evil.org", 421),
                             ("localhost.evil.org:8090", 421), ("kernels.example.org.evil", 421), ("", 421), ("127.0.0.1\t/x", 421), (":80", 421),
                             ("[::1", 421), ("10.0.0.1", 421), ("x" * 3000, 421), ("[::2]", 421), ("0.0.0.0", 421)):
            self.assertEqual(server.ask(path, Host=host).status, status, host)
        self.assertTrue(server.ask(path)["Link"].startswith("<https://kernels.example.org/api/kernels/"))
        everywhere = self.serve(self.top, "--host", "0.0.0.0", "--page-size=2")
        got = everywhere.ask(path, Host="mirror.example.org:99")
        self.assertEqual(got.status, 200)
        self.assertTrue(got["Link"].startswith("<http://mirror.example.org:99/api/kernels/"))


class Packages(Case):
    def test_package(self):
        package = self.top / "relu2"
        files = {f"build/{VARIANT}/metadata.json": METADATA, f"build/{VARIANT}/relu2.so": b"code", "CARD.md": "card"}
        write_ref(package, ".", files)
        (package / "kernels").mkdir()
        variants = self.top / "bare"
        write_ref(variants, VARIANT, {"metadata.json": METADATA})
        write_ref(self.top / "tree", MAIN, {"a": "a"})
        server = self.serve(self.top / "tree", package, variants)
        refs = server.ask("/api/kernels/local/relu2/refs").json
        self.assertEqual(refs["branches"], [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit_of(files)}])
        self.assertEqual(server.ask("/kernels/local/relu2/resolve/main/CARD.md").body, b"card")
        self.assertEqual([e["path"] for e in server.ask("/api/kernels/local/bare/tree/main?recursive=true").json],
                         ["build", f"build/{VARIANT}", f"build/{VARIANT}/metadata.json"])
        self.assertEqual(server.ask(f"/kernels/local/bare/resolve/main/build/{VARIANT}/metadata.json").body, METADATA.encode())
        self.assertEqual(server.ask("/api/organizations/local/overview").json["name"], "local")
        self.assertEqual(server.ask("/api/models/local/relu2").code, "RepoNotFound")
        self.assertEqual(server.ask("/api/kernels/acme/relu").status, 200)
        write_ref(package, ".", {"CARD.md": "other"})
        self.assertEqual(server.ask("/api/kernels/local/relu2").json["sha"], commit_of({**files, "CARD.md": "other"}))

    def test_what_is_no_package(self):
        one = write_ref(self.top, f"a/relu2/build/{VARIANT}", {"metadata.json": METADATA})
        write_ref(self.top, f"b/relu2/build/{VARIANT}", {"metadata.json": METADATA})
        write_ref(self.top, f"-odd-/build/{VARIANT}", {"metadata.json": METADATA})
        self.fails(one, says="is one build variant; expected the package it belongs to")
        self.fails(self.top / "a/relu2", self.top / "b/relu2", says="would both be local/relu2")
        self.fails(self.top / "-odd-", says="'-odd-' cannot be the name of a repository")

    def test_several_trees(self):
        write_ref(self.top, f"a/{MAIN}", {"which": "first"})
        write_ref(self.top, f"b/{MAIN}", {"which": "second"})
        write_ref(self.top, "b/models/other/m/branches/main", {"which": "model"})
        server = self.serve(self.top / "a", self.top / "b", "--publisher", "Other", "--publisher=third")
        self.assertEqual(server.ask("/kernels/acme/relu/resolve/main/which").body, b"first")
        self.assertEqual(server.ask("/other/m/resolve/main/which").body, b"model")
        self.assertFalse(server.ask("/api/kernels/acme/relu").json["trustedPublisher"])
        for owner, trusted in (("acme", False), ("other", True)):
            self.assertEqual(server.ask(f"/api/organizations/{owner}/overview").json["trustedKernelPublisher"], trusted)
        self.assertEqual(server.ask("/api/organizations/third/overview").status, 404)


class Changes(Case):
    def sha(self, server, revision="main"):
        answer = server.ask(f"/api/kernels/acme/relu/revision/{revision}")
        return answer.json["sha"] if answer.status == 200 else answer.code

    def test_content_is_the_commit(self):
        """A running server sees what changes, at once."""
        files = {"a": "1", "d/b": "2"}
        ref = write_ref(self.top, MAIN, files)
        server = self.serve()
        seen = [self.sha(server)]
        self.assertEqual(seen, [commit_of(files)])

        def changed(**change):
            files.update({k.replace("_", "/"): v for k, v in change.items()})
            for path in [p for p, data in files.items() if data is None]:
                del files[path]
                (ref / path).unlink()
            write_ref(self.top, MAIN, files)
            self.assertEqual(self.sha(server), commit_of(files))
            self.assertNotIn(commit_of(files), seen)
            for old in seen:
                self.assertEqual(self.sha(server, old), "RevisionNotFound")
                self.assertEqual(server.ask(f"/kernels/acme/relu/resolve/{old}/a").code, "RevisionNotFound")
            self.assertEqual(server.ask(f"/kernels/acme/relu/resolve/{commit_of(files)}/a").body, files["a"].encode())
            seen.append(commit_of(files))
        changed(a="x")  # of the same size
        changed(d_b="longer")
        changed(c="new")
        changed(e_f="deep")
        changed(d_b=None)  # the last of its directory

        before = (ref / "a").stat()
        (ref / "a").write_text("y", encoding="ascii")
        os.utime(ref / "a", ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time of change as far as it can be set
        self.assertEqual(self.sha(server), commit_of({**files, "a": "y"}))
        other = write_ref(self.top, "other", {"a": "swapped"})
        ref.rename(self.top / "gone")
        other.rename(ref)
        self.assertEqual(self.sha(server), commit_of({"a": "swapped"}))

    def test_refs_come_and_go(self):
        write_ref(self.top, MAIN, {"a": "1"})
        server = self.serve()
        self.assertEqual(self.sha(server, "v1.0"), "RevisionNotFound")
        write_ref(self.top, "kernels/acme/relu/tags/v1.0", {"a": "2"})
        self.assertEqual(self.sha(server, "v1.0"), commit_of({"a": "2"}))
        self.assertEqual(self.sha(server, commit_of({"a": "2"})[:8]), commit_of({"a": "2"}))
        for odd in (".hidden", "a.lock", "b.tmp", "0" * 40, "-x", "a%2F%2Fb", "%2Fa", "a%2F..%2Fb", "a%2F.b", "a b", "a~1", "%zz", "a%00b", "a@{b", "@",
                    "a%2Fb.lock%2Fc", "a\\b"):
            write_ref(self.top, f"kernels/acme/relu/tags/{odd}", {"a": "3"})
        (self.top / "kernels/acme/relu/tags/link").symlink_to("v1.0")
        (self.top / "kernels/acme/relu/tags/out").symlink_to("/")
        (self.top / "kernels/acme/relu/tags/file").write_text("no directory", encoding="ascii")
        self.assertEqual([t["name"] for t in server.ask("/api/kernels/acme/relu/refs").json["tags"]], ["link", "v1.0"])
        shutil.rmtree(self.top / "kernels/acme/relu/tags/v1.0")
        self.assertEqual(server.ask("/api/kernels/acme/relu/refs").json["tags"], [])
        self.assertEqual(self.sha(server, commit_of({"a": "2"})), "RevisionNotFound")
        self.assertEqual(server.ask("/api/kernels/acme/gelu").code, "RepoNotFound")
        write_ref(self.top, "kernels/acme/gelu/tags/v2", {"a": "2"})
        self.assertEqual(server.ask("/api/kernels/acme/gelu").json["sha"], commit_of({"a": "2"}))  # without main, what there is
        shutil.rmtree(self.top / "kernels/acme/gelu")
        self.assertEqual(server.ask("/api/kernels/acme/gelu").code, "RepoNotFound")
        (self.top / "kernels/acme/bare").mkdir()
        self.assertEqual(server.ask("/api/kernels/acme/bare").code, "RevisionNotFound")
        self.assertEqual(server.ask("/api/kernels/acme/bare/refs").json, {"branches": [], "tags": [], "converts": []})

    def test_pages_belong_together(self):
        files = {str(i): str(i) for i in range(9)}
        write_ref(self.top, MAIN, files)
        server = self.serve(self.top, "--page-size=4")
        link = server.ask("/api/kernels/acme/relu/tree/main")["Link"]
        self.assertIn(f"/tree/{commit_of(files)}?", link)
        write_ref(self.top, MAIN, {"new": "file"})
        self.assertEqual(server.ask(link[1:link.index(">")].removeprefix(server.url)).code, "RevisionNotFound")

    def test_short_commits(self):
        """Two commits that begin alike: the short form names neither, a longer one does."""
        found = {}
        for i in itertools.count():
            commit = commit_of({"a": str(i)})
            if commit[:7] in found:
                first, second = found[commit[:7]], (i, commit)
                break
            found[commit[:7]] = (i, commit)
        for name, (i, _) in (("main", first), ("v1", second)):
            write_ref(self.top, f"kernels/acme/relu/branches/{name}", {"a": str(i)})
        server = self.serve()
        answer = server.ask(f"/api/kernels/acme/relu/revision/{first[1][:7]}")
        self.assertEqual((answer.status, answer.code), (404, "RevisionNotFound"))
        self.assertIn("more than one commit begins with", answer["X-Error-Message"])
        for _, commit in (first, second):
            self.assertEqual(self.sha(server, commit[:39]), commit)
            self.assertEqual(self.sha(server, commit), commit)

    def test_while_files_change(self):
        """Whatever is read belongs to its commit, byte for byte."""
        write_ref(self.top, MAIN, {"a": "0" * 1000})
        server, stop = self.serve(), threading.Event()

        def write():
            for i in itertools.count():
                if stop.is_set():
                    return
                aside = self.top / "aside"
                aside.write_text(str(i % 10) * 1000, encoding="ascii")
                aside.rename(self.top / MAIN / "a")
                time.sleep(0.002)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = set()
            for _ in range(300):
                answer = server.ask("/kernels/acme/relu/resolve/main/a")
                self.assertIn(answer.status, (200, 503))
                if answer.status == 200:
                    self.assertEqual(answer["X-Repo-Commit"], commit_of({"a": answer.body}))
                    seen.add(answer.body)
        finally:
            stop.set()
            writer.join()
        self.assertGreater(len(seen), 1)

    def test_unreadable(self):
        ref = write_ref(self.top, MAIN, {"a": "a", "b": "b"})
        (ref / "a").chmod(0)
        self.top.chmod(0o755)
        server = self.serve(self.top, user=65534 if os.geteuid() == 0 else None)
        answer = server.ask("/api/kernels/acme/relu")
        self.assertEqual((answer.status, answer.code), (500, None))
        self.assertNotIn(str(self.top), answer.body.decode())
        self.assertIn("Permission denied", server.stop()[1])


class Tokens(Case):
    def test_token(self):
        write_ref(self.top, MAIN, {"a": "a"})
        secret = self.top / "secret"
        secret.write_text("  s3cret-token \nsecond line\n", encoding="ascii")
        log = self.top / "log"
        server = self.serve(self.top, "--token-file", secret, "--access-log", log)
        paths = ["/", "/api/kernels/acme/relu", "/api/kernels/acme/relu/refs", "/kernels/acme/relu/resolve/main/a", "/api/whoami-v2",
                 "/api/organizations/acme/overview", "/api/kernels/no/no", "/%zz"]
        for path in paths:
            for header, says in ((None, "asks for a token"), ("Bearer wrong", "Invalid credentials in Authorization header"),
                                 ("Bearer s3cret-toke", "Invalid credentials"), ("Bearer s3cret-token2", "Invalid credentials"),
                                 ("Basic s3cret-token", "Invalid credentials"), ("s3cret-token", "Invalid credentials"), ("Bearer", "Invalid"),
                                 ("Bearer ", "Invalid credentials")):
                for method in ("GET", "HEAD", "POST", "PUT"):
                    answer = server.ask(path, method, **({"Authorization": header} if header else {}))
                    self.assertEqual(answer.status, 401, (path, header, method))
                    self.assertIn(says, answer["X-Error-Message"])
                    self.assertEqual(answer["WWW-Authenticate"], "Bearer")
        for header in ("Bearer s3cret-token", "bearer s3cret-token", "Bearer  s3cret-token"):
            self.assertEqual(server.ask(paths[3], Authorization=header).body, b"a")
        self.assertEqual(server.ask("/api/whoami-v2", Authorization="Bearer s3cret-token").json["name"], "reader")
        server.stop()
        self.assertNotIn("s3cret", log.read_text(encoding="ascii"))


class Log(Case):
    def test_lines(self):
        write_ref(self.top, MAIN, {"a": "abc"})
        log = self.top / "log"
        log.write_text("an older line\n", encoding="ascii")
        server = self.serve(self.top, "--access-log", log)
        server.ask("/kernels/acme/relu/resolve/main/a", User_Agent='odd "agent" \\ \x1b[31m')
        server.ask("/kernels/acme/relu/resolve/main/a", "HEAD")
        server.ask("/api/nothing?q=%22")
        with socket.create_connection((server.host, server.port)) as raw:
            raw.sendall(b'GET /\x1b[31m"\\\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
            while raw.recv(4096):
                pass
        server.stop()
        first, *lines = log.read_text(encoding="ascii").splitlines()
        self.assertEqual(first, "an older line")
        shapes = [r'"GET /kernels/acme/relu/resolve/main/a" 200 3 \d+\.\d "odd \\x22agent\\x22 \\x5c \\x1b\[31m"',
                  r'"HEAD /kernels/acme/relu/resolve/main/a" 200 0 \d+\.\d "-"', r'"GET /api/nothing\?q=%22" 404 \d+ \d+\.\d "-"',
                  r'"GET /\\x1b\[31m\\x22\\x5c\\xff" 404 \d+ \d+\.\d "-"']
        self.assertEqual(len(lines), len(shapes), lines)
        for shape in shapes:  # connections end in any order
            whole = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z 127\.0\.0\.1:\d+ {shape}"
            self.assertEqual(len([line for line in lines if re.fullmatch(whole, line)]), 1, (shape, lines))

    def test_standard_output(self):
        write_ref(self.top, MAIN, {"a": "abc"})
        server = self.serve(self.top, "--access-log=-")
        server.ask("/kernels/acme/relu/resolve/main/a")
        out = server.stop()[0].splitlines()
        self.assertEqual(out[0], f"serving {server.url}")
        self.assertIn('"GET /kernels/acme/relu/resolve/main/a" 200 3 ', out[1])


class End(Case):
    def slow(self, server, size):
        """A download that has begun and of which most is still to be read."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((server.host, server.port))
        raw.sendall(b"GET /kernels/acme/relu/resolve/main/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += raw.recv(100)
        self.assertIn(b"200 OK", head)
        return raw, size - len(head.split(b"\r\n\r\n", 1)[1])

    def test_signals(self):
        write_ref(self.top, MAIN, {"a": "a"})
        for number in (signal.SIGINT, signal.SIGTERM):
            server = self.serve()
            idle = server.connect()
            server.ask_on(idle, "/api/kernels/acme/relu")  # stays open, and holds nothing up
            self.assertEqual(server.stop(number), (f"serving {server.url}\n", ""))
            idle.close()

    def test_answers_end(self):
        data = os.urandom(32 << 20)
        write_ref(self.top, MAIN, {"big": data})
        server = self.serve()
        raw, left = self.slow(server, len(data))
        server.process.send_signal(signal.SIGTERM)
        while True:  # until it listens no more
            try:
                socket.create_connection((server.host, server.port)).close()
                time.sleep(0.01)
            except ConnectionRefusedError:
                break
        got = 0
        while part := raw.recv(1 << 16):
            got += len(part)
        raw.close()
        self.assertEqual(got, left)
        self.assertEqual(server.process.communicate(timeout=60)[1], "")
        self.assertEqual(server.process.returncode, 0)

    def test_second_signal(self):
        write_ref(self.top, MAIN, {"big": os.urandom(32 << 20)})
        log = self.top / "log"
        server = self.serve(self.top, "--access-log", log)
        raw, _ = self.slow(server, 0)
        server.process.send_signal(signal.SIGINT)
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        raw.close()
        self.assertEqual(server.process.communicate()[1], "kernels: serve: answers that were cut off: 1\n")
        self.assertEqual(server.process.returncode, 0)
        self.assertRegex(log.read_text(encoding="ascii"), r'main/big" 200 33554432 cut ')

    def test_ready_file_of_an_earlier_run(self):
        write_ref(self.top, MAIN, {"a": "a"})
        ready = self.top / "ready"
        ready.write_text("http://127.0.0.1:1\n", encoding="ascii")
        server = subprocess.Popen([PROGRAM, "serve", self.top, "--port=0", "--ready-file", ready], stdout=subprocess.PIPE, text=True)
        line = server.stdout.readline()
        self.assertEqual(line, "serving " + ready.read_text(encoding="ascii"))
        self.assertNotEqual(line, "serving http://127.0.0.1:1\n")
        server.terminate()
        server.communicate()
        self.assertEqual(server.returncode, 0)

    def test_output_that_cannot_be_written(self):
        write_ref(self.top, MAIN, {"a": "a"})
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([PROGRAM, "serve", self.top, "--port=0"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the output cannot be written: No space left", done.stderr)


class Many(Case):
    def test_connections(self):
        """Hundreds at a time, open together, each with its own answer."""
        files = {str(i): os.urandom(100_000) for i in range(8)}
        write_ref(self.top, MAIN, files)
        server, count = self.serve(), 400
        ready, failures = threading.Barrier(count), []

        def ask(i):
            try:
                connection = server.connect()
                connection.connect()
                ready.wait(60)
                for turn in range(3):
                    name = str((i + turn) % len(files))
                    answer = server.ask_on(connection, f"/kernels/acme/relu/resolve/main/{name}")
                    assert answer.status == 200 and answer.body == files[name]
                connection.close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
        threading.stack_size(256 << 10)
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_many_files(self):
        """More than a page of them, in more than a hundred refs."""
        files = {f"build/v{i % 3}/{i}.py": str(i) for i in range(1200)}
        write_ref(self.top, MAIN, files)
        for i in range(120):
            write_ref(self.top, f"kernels/acme/relu/tags/v0.{i}", {"a": str(i)})
        server = self.serve()
        self.assertEqual(len(server.ask("/api/kernels/acme/relu/refs").json["tags"]), 120)
        first = server.ask("/api/kernels/acme/relu/tree/main?recursive=true")
        link = first["Link"]
        second = server.ask(link[1:link.index(">")].removeprefix(server.url))
        self.assertEqual((len(first.json), len(second.json), second["Link"]), (1000, 204, None))
        self.assertEqual(len({e["path"] for e in first.json + second.json}), 1204)


if __name__ == "__main__":
    unittest.main()
