"""A certificate authority for one test, and what it signs, by openssl."""

import pathlib
import subprocess

LOCAL = "DNS:localhost,IP:127.0.0.1,IP:::1"


def _openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


class Authority:
    """`.file` is its certificate, for SSL_CERT_FILE."""

    def __init__(self, directory, name="a test's authority"):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.file, self.key = self.dir / "authority.pem", self.dir / "authority.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2, "-subj",
                 f"/CN={name}", "-keyout", self.key, "-out", self.file, "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def sign(self, names=LOCAL, days=1, stem="server"):
        """(certificate, key) of a server of these names. days < 0: expired that long ago."""
        request, key, file = (self.dir / f"{stem}.{end}" for end in ("csr", "key", "pem"))
        extensions = self.dir / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=server",
                 "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                 "-extfile", extensions, "-out", file)
        return file, key
