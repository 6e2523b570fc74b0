"""`kernels download` when the hub is busy, away, somebody else, or not to be believed: one line that says so and names it."""

import time
import unittest

import faults
import hub
from certificates import Authority
from proxy import Proxy

FILE = "/resolve/.*/activation.so"


class Outage(hub.Case):
    def test_statuses_that_pass(self):
        once = (faults.Status(429, retry_after="1"), faults.Status(429, rate_limit='"api";r=0;t=1'), faults.Status(503))
        rows = [(fault, "metadata.json") for fault in once] + [(once[i % 3], path) for i, path in
                                                               enumerate((FILE, "/refs|/revision/", "/tree/", "/organizations/"))]
        for fault, path in rows + [(faults.Status(500), FILE), (faults.Status(408), "/tree/")]:
            with self.fault(fault, path=path, first=1) as rule:
                start = time.monotonic()
            self.succeeds()
            if rule.fault.status == 429 and rule.hits:
                self.assertGreaterEqual(time.monotonic() - start, 1)

    def test_statuses_that_stay(self):
        everything = {"path": "."}
        rows = [  # fault, where, status, what is said
            (faults.Status(503), {"path": FILE, "method": "GET"}, 2, "503"),
            (faults.Status(429, retry_after="100000"), {"path": FILE}, 2, "429|rate limit"),
            (faults.Status(404, error_code="RepoNotFound"), everything, 1, "no such|not found|there is no"),
            (faults.Status(401, "{}"), everything, None, "token|HF_TOKEN|log in|access"),
            (faults.Status(403, error_code="GatedRepo"), everything, None, "token|HF_TOKEN|log in|access"),
        ]
        for fault, where, status, says in rows:
            with self.fault(fault, **where):
                start = time.monotonic()
                self.refused(status=status, says=says)
                self.assertLess(time.monotonic() - start, 60)

    def test_no_such_host(self):
        self.client.environment["HF_ENDPOINT"] = "http://no-such-host.invalid"
        self.refused(says="no-such-host.invalid", recovers=False)

    def test_nobody_listens(self):
        with Proxy(self.server.port) as proxy:
            url = proxy.url
        self.client.environment["HF_ENDPOINT"] = url
        self.refused(says=url.removeprefix("http://"), recovers=False)

    def test_not_a_hub(self):
        for fault in (faults.Status(200, "<html>Log in to the network of this hotel</html>"), faults.Status(200, ""),
                      faults.Status(404, "nothing")):
            with self.fault(fault) as rule:
                self.refused()
                self.assertGreaterEqual(rule.hits, 1)

    def test_tls(self):
        authority, other = Authority(self.dir / "tls"), Authority(self.dir / "other", "another authority")
        rows = [(authority.sign(), authority.file, None), (authority.sign(), other.file, "certificate"), (authority.sign(), None, "certificate"),
                (authority.sign("DNS:elsewhere.invalid", stem="name"), authority.file, "certificate|host|name"),
                (authority.sign(days=-1, stem="old"), authority.file, "certificate|expired")]
        for certificate, known, says in rows:
            with self.subTest(f"{certificate} {known}"), Proxy(self.server.port, tls=certificate) as proxy:
                self.client = hub.Client(self.dir / f"{certificate[0].stem}-{known and known.parent.name}", proxy.url,
                                         SSL_CERT_FILE=known and str(known))
                if says:
                    self.refused(says=says, recovers=False)
                    self.assertEqual(proxy.log, [])
                else:
                    self.succeeds()
        # https that is none, and http that is none
        self.client = hub.Client(self.dir / "plain", self.proxy.url.replace("http:", "https:"))
        self.refused(says="(?i)tls|ssl", recovers=False)
        with Proxy(self.server.port, tls=authority.sign()) as proxy:
            self.client = hub.Client(self.dir / "encrypted", proxy.url.replace("https:", "http:"))
            self.refused(recovers=False)


if __name__ == "__main__":
    unittest.main()
