"""What can go wrong between a client and a hub: each fault is a class, a rule says which requests meet it."""

import dataclasses
import gzip
import json
import re
import urllib.parse

from wire import Answer


class Fault:
    """Nothing goes wrong. A fault replaces one of the three."""

    def ask(self, request, proxy):
        """Before the origin is asked: may change the request, or return the answer in the origin's place."""

    def answer(self, request, answer, proxy):
        """When the origin has answered: may change the answer."""

    send = None  # send(sender, answer): in the place of sender.send_all(answer)

    @property
    def name(self):
        return type(self).__name__


@dataclasses.dataclass
class Rule:
    """A fault for the requests of a method whose target matches: the first `first` of them after `after`, each `every`th."""

    fault: Fault
    path: str = ""  # a regular expression, searched for in the target as it was sent
    method: str = ""  # "": any
    first: int = 0  # 0: all
    after: int = 0
    every: int = 1
    seen: int = 0
    hits: int = 0

    def meets(self, request):
        if (self.method and request.method != self.method) or not re.search(self.path, request.target):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.seen - self.after - 1) % self.every or (self.first and self.hits >= self.first):
            return False
        self.hits += 1
        return True

    @classmethod
    def parse(cls, text):
        """"Cut bytes=1000 path=/resolve/ first=2": the fault, then what it and the rule take."""
        name, *pairs = text.split()
        given = dict(pair.split("=", 1) for pair in pairs)
        kinds = {kind.__name__: kind for kind in Fault.__subclasses__()}
        if name not in kinds:
            raise ValueError(f"no fault {name!r}; accepted: {', '.join(sorted(kinds))}")
        own = {f.name: f.type for f in dataclasses.fields(kinds[name])} if dataclasses.is_dataclass(kinds[name]) else {}
        fault = kinds[name](**{k: own[k](v) for k, v in given.items() if k in own})
        rest = {k: v if k in ("path", "method") else int(v) for k, v in given.items() if k not in own}
        return cls(fault, **rest)


# The body on its way. `bytes` counts from the body's start.


@dataclasses.dataclass
class Cut(Fault):
    """The whole length is announced, the connection ends early."""

    bytes: int = 1000

    def send(self, sender, answer):
        sender.send_all(answer, limit=self.bytes)
        sender.close()


@dataclasses.dataclass
class Reset(Fault):
    """As Cut, by RST. bytes < 0: in the place of an answer."""

    bytes: int = 1000

    def send(self, sender, answer):
        if self.bytes >= 0:
            sender.send_all(answer, limit=self.bytes)
        sender.reset()


@dataclasses.dataclass
class Stall(Fault):
    """Nothing more comes for a while, then the rest. bytes < 0: not even the head."""

    bytes: int = 1000
    seconds: float = 3600

    def send(self, sender, answer):
        if self.bytes < 0:
            sender.wait(self.seconds)
        sender.send_all(answer, pause_at=self.bytes, pause_seconds=self.seconds)


@dataclasses.dataclass
class Slow(Fault):
    """A few bytes at a time."""

    bytes: int = 1
    seconds: float = 0.1

    def send(self, sender, answer):
        sender.send_all(answer, piece=self.bytes, piece_seconds=self.seconds)


@dataclasses.dataclass
class Short(Fault):
    """A body that is too short, its own length announced."""

    missing: int = 1

    def answer(self, request, answer, proxy):
        if request.method != "HEAD":
            answer.replace_body(answer.load()[:-self.missing or None])


@dataclasses.dataclass
class Long(Fault):
    """A body that does not end where it should. is_announced=0: after the announced length, with the connection's end."""

    extra: int = 1000
    is_announced: int = 1

    def answer(self, request, answer, proxy):
        if request.method != "HEAD":
            answer.replace_body(answer.load() + b"x" * self.extra)
            if not self.is_announced:
                answer.set("Content-Length", None)
                answer.set("Connection", "close")


@dataclasses.dataclass
class Wrong(Fault):
    """Other bytes of the same size: one bit in one of them."""

    at: int = 0

    def answer(self, request, answer, proxy):
        if request.method != "HEAD" and answer.load():
            body = bytearray(answer.body)
            body[self.at % len(body)] ^= 1
            answer.replace_body(bytes(body))


class Gzip(Fault):
    """Compressed, though nobody asked for it."""

    def answer(self, request, answer, proxy):
        if answer.status == 200:
            answer.set("Content-Encoding", "gzip")
            if request.method != "HEAD":
                answer.replace_body(gzip.compress(answer.load(), 1))


class Chunked(Fault):
    """Without a length."""

    def send(self, sender, answer):
        sender.send_chunked(answer)


# The head.


@dataclasses.dataclass
class Status(Fault):
    """An answer of this status in the place of the origin's."""

    status: int = 503
    body: str = '{"error":"no, said the proxy"}'
    retry_after: str = ""
    rate_limit: str = ""  # '"api";r=0;t=2'
    error_code: str = ""

    def ask(self, request, proxy):
        answer = Answer.made(self.status, "As Told", self.body, ("Content-Type", "application/json"))
        for name, value in (("Retry-After", self.retry_after), ("RateLimit", self.rate_limit),
                            ("X-Error-Code", self.error_code)):
            if value:
                answer.set(name, value)
        return answer


@dataclasses.dataclass
class Header(Fault):
    """A header with another value; without one: no such header. HEADER is "ETag", "X-Repo-Commit", "X-Linked-Size", …"""

    header: str = "ETag"
    value: str = ""

    def answer(self, request, answer, proxy):
        answer.set(self.header, self.value or None)


@dataclasses.dataclass
class Etag(Fault):
    """The origin's ETag written otherwise: "W/{}" with its quotes is weak, "{bare}" has none."""

    form: str = 'W/"{}"'

    def answer(self, request, answer, proxy):
        if answer.header("ETag"):
            answer.set("ETag", self.form.format(answer.header("ETag").removeprefix("W/").strip('"')))


class IgnoreRange(Fault):
    """Always the whole file."""

    def ask(self, request, proxy):
        request.set("Range", None)


@dataclasses.dataclass
class BadContentRange(Fault):
    """A part that says it is another one."""

    value: str = "bytes 0-0/1"

    def answer(self, request, answer, proxy):
        if answer.status == 206:
            answer.set("Content-Range", self.value)


@dataclasses.dataclass
class Redirect(Fault):
    """To the same file under /-/hop/…. to: relative, absolute, cross (another host name, as a CDN's signed link, with the linked
    headers), plain (from https to http), endless (to a redirect again), or a URL with {target} in it."""

    to: str = "relative"
    status: int = 307

    def ask(self, request, proxy):
        hop = re.match(r"/-/hop(\d*)(/.*)", request.target)
        if hop and self.to != "endless":
            return None
        n, target = (int(hop[1] or 0) + 1, hop[2]) if hop else (1, request.target)
        scheme, host = "https" if proxy.is_tls else "http", request.header("Host", f"127.0.0.1:{proxy.port}")
        other = ("localhost" if host.startswith("127.") else "127.0.0.1") + f":{proxy.port}"
        location = {
            "relative": f"/-/hop{target}", "absolute": f"{scheme}://{host}/-/hop{target}",
            "cross": f"{scheme}://{other}/-/hop{target}{'&' if '?' in target else '?'}Signature=secret",
            "plain": f"http://{host}/-/hop{target}", "endless": f"/-/hop{n}{target}",
        }.get(self.to) or self.to.format(target=target)
        answer = Answer.made(302 if self.to == "cross" else self.status, "Found", b"", ("Location", location))
        if "/resolve/" in target:
            known = proxy.ask_origin("HEAD", target, [h for h in request.headers if h[0].lower() != "range"])
            for name, source in (("X-Repo-Commit", "X-Repo-Commit"), ("X-Linked-Etag", "ETag"), ("X-Linked-Size", "Content-Length")):
                answer.set(name, known.header(source))
        return answer


# The JSON of the API.


@dataclasses.dataclass
class Json(Fault):
    """edit(value, request) changes the value in place, or returns another one."""

    edit: object = None

    def answer(self, request, answer, proxy):
        if answer.status == 200 and "json" in answer.header("Content-Type", ""):
            value = json.loads(answer.load())
            other = self.edit(value, request)
            answer.replace_body(json.dumps(value if other is None else other).encode())


@dataclasses.dataclass
class TreePath(Fault):
    """The first file of a listing has this path."""

    value: str = "../../../../evil"

    def answer(self, request, answer, proxy):
        Json(lambda tree, _: files(tree)[0].update(path=self.value)).answer(request, answer, proxy)


@dataclasses.dataclass
class TreeOid(Fault):
    """All files of a listing have this object id, also the LFS one."""

    value: str = "../../../../evil"

    def answer(self, request, answer, proxy):
        def edit(tree, _):
            for entry in files(tree):
                entry["oid"] = self.value
                if "lfs" in entry:
                    entry["lfs"]["oid"] = self.value
        Json(edit).answer(request, answer, proxy)


@dataclasses.dataclass
class Commit(Fault):
    """The commit of a refs or info answer: "targetCommit" of every ref, "sha"."""

    value: str = "../../../../evil"

    def answer(self, request, answer, proxy):
        def edit(value, _):
            for kind in ("branches", "tags"):
                for ref in value.get(kind, ()):
                    ref["targetCommit"] = self.value
            if "sha" in value:
                value["sha"] = self.value
        Json(edit).answer(request, answer, proxy)


class MaskedLfs(Fault):
    """Hashes of LFS files as an anonymous listing of a gated repository shows them."""

    def answer(self, request, answer, proxy):
        def edit(tree, _):
            for entry in files(tree):
                if "lfs" in entry:
                    entry["lfs"]["oid"] = "*" * 64
        Json(edit).answer(request, answer, proxy)


class BothKinds(Fault):
    """The first file's path is a directory's too."""

    def answer(self, request, answer, proxy):
        Json(lambda tree, _: tree + [{"type": "directory", "path": files(tree)[0]["path"], "oid": "0" * 40, "size": 0}]
             ).answer(request, answer, proxy)


class TwiceListed(Fault):
    """The first file comes again, with another object id."""

    def answer(self, request, answer, proxy):
        Json(lambda tree, _: tree + [dict(files(tree)[0], oid="1" * 40)]).answer(request, answer, proxy)


@dataclasses.dataclass
class HugeJson(Fault):
    """Spaces in front of the value."""

    bytes: int = 256 << 20

    def send(self, sender, answer):
        sender.send_padding(answer, b" ", self.bytes)


@dataclasses.dataclass
class DeepJson(Fault):
    """The value, nested."""

    depth: int = 100000

    def answer(self, request, answer, proxy):
        answer.replace_body(b'{"a":' * self.depth + answer.load() + b"}" * self.depth)


@dataclasses.dataclass
class Pages(Fault):
    """A listing in pages of `entries`. next: right; endless (there is always another page, with paths of its own);
    repeated (a page names itself); or the URL of the next page, for another origin."""

    entries: int = 2
    next: str = "right"

    def ask(self, request, proxy):
        path, _, query = request.target.partition("?")
        pairs = urllib.parse.parse_qsl(query)
        request.page = int(dict(pairs).get("page", 0))
        request.page_url = (f"{'https' if proxy.is_tls else 'http'}://{request.header('Host')}{path}?"
                            + urllib.parse.urlencode([p for p in pairs if p[0] != "page"]))
        request.target = path + "?" + urllib.parse.urlencode([p for p in pairs if p[0] != "page"])

    def answer(self, request, answer, proxy):
        if answer.status != 200:
            return
        tree = json.loads(answer.load())
        start = request.page * self.entries
        more = start + self.entries < len(tree)
        if self.next == "endless" and start >= len(tree):
            start = 0
            tree = [dict(entry, path=f"page{request.page}/{entry['path']}") for entry in tree[:self.entries]]
        number = request.page if self.next == "repeated" else request.page + 1
        url = self.next if ":" in self.next else f"{request.page_url}&page={number}"
        if more or self.next != "right":
            answer.set("Link", f'<{url}>; rel="next"')
        answer.replace_body(json.dumps(tree[start:start + self.entries]).encode())


def files(tree):
    return [entry for entry in tree if entry.get("type") == "file"]
