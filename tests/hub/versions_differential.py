"""Versions and specifiers as the library reads them, against Python's packaging, on random cases.

usage: versions_differential.py ORACLE [SEED [CASES]]

The generator stays near the corners: few numbers, all spellings, versions that differ in one place, specifiers made of the very
versions they are asked about, and broken ones. A failure prints the case and the seed.
"""

import random
import subprocess
import sys

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

CASES = 60000
NUMBERS = ["0", "0", "1", "1", "2", "3", "9", "10", "11", "00", "01", "010", "9" * 19, "1" + "0" * 19,
           "18446744073709551615", "18446744073709551616", "1" * 30, "1" * 29 + "2"]
PRES = ["a", "b", "c", "rc", "alpha", "beta", "pre", "preview", "A", "RC", "Alpha", "pReview"]
POSTS = ["post", "rev", "r", "POST", "Rev", "R"]
LOCALS = ["a", "b", "abc", "1", "2", "10", "01", "0", "1a", "a1", "ABC", "ubuntu", "u", "9" * 25]
BLANKS = [" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u3000"]
OPERATORS = ["~=", "==", "!=", "<=", ">=", "<", ">", "==="]
JUNK = list("0129.-_+!v*abcdeprst,;)=<>~ ") + ["é", "ſ", "K", "٣", "\u200b", ".dev", ".*", "==", "post"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.chance = lambda p: self.random.random() < p
        self.pick = self.random.choice

    def separator(self):
        return self.pick(["", "", ".", "-", "_"])

    def number(self):
        return self.pick(NUMBERS)

    def suffix(self, words):
        return self.separator() + self.pick(words) + self.separator() + self.pick(["", self.number()])

    def parts(self):
        return {
            "v": self.pick(["", "", "", "v", "V"]),
            "epoch": self.number() + "!" if self.chance(0.15) else "",
            "release": ".".join(self.number() for _ in range(self.pick([1, 2, 2, 2, 3, 3, 4]))),
            "pre": self.suffix(PRES) if self.chance(0.35) else "",
            "post": ("-" + self.number() if self.chance(0.2) else self.suffix(POSTS)) if self.chance(0.3) else "",
            "dev": self.suffix(["dev", "DEV"]) if self.chance(0.25) else "",
            "local": "+" + self.pick([".", "-", "_"]).join(self.pick(LOCALS) for _ in range(self.pick([1, 1, 2, 3])))
            if self.chance(0.2) else "",
        }

    def near(self, parts):
        """Another version that differs in one part or two, or in how long its release is."""
        other, fresh = dict(parts), self.parts()
        for _ in range(self.pick([0, 1, 1, 2])):
            key = self.pick(list(parts))
            other[key] = self.pick(["", fresh[key]]) if key != "release" else fresh[key]
        if self.chance(0.3):
            release = other["release"].split(".")
            other["release"] = self.pick([
                other["release"] + ".0", other["release"] + ".1", ".".join(release[:-1]) or "1",
                ".".join(release[:-1] + [str(int(release[-1]) + 1)])])
        return other

    def text(self, parts):
        text = "".join(parts.values())
        if self.chance(0.05):
            text = self.spoil(text)
        if self.chance(0.05):
            text = self.pick(BLANKS) + text + self.pick(BLANKS)
        return text

    def spoil(self, text):
        for _ in range(self.pick([1, 1, 2])):
            at = self.random.randrange(len(text) + 1)
            text = self.pick([text[:at] + self.pick(JUNK) + text[at:], text[:at] + text[at + 1:]])
        return text

    def clause(self, parts):
        operator = self.pick(OPERATORS)
        keep = dict(parts)
        if operator not in ("==", "!=", "===") and self.chance(0.95):
            keep["local"] = ""
        text = "".join(keep.values())
        if operator in ("==", "!=") and self.chance(0.35) or self.chance(0.02):
            text = (keep["v"] + keep["epoch"] + keep["release"] if self.chance(0.9) else text) + ".*"
        blank = self.pick(BLANKS) if self.chance(0.15) else ""
        text = operator + blank + text
        return self.spoil(text) if self.chance(0.04) else text

    def case(self):
        base = self.parts()
        versions = [self.near(base) for _ in range(self.pick([1, 3, 4, 5, 6]))]
        if self.chance(0.2):
            versions.append(self.parts())
        clauses = [self.clause(self.near(self.pick(versions))) for _ in range(self.pick([0, 1, 1, 1, 1, 2, 2, 3]))]
        if self.chance(0.05):
            clauses.insert(0, self.pick(["", " ", "\xa0"]))
        comma = self.pick([",", ",", ", ", " ,", "\u2003,\n"])
        return comma.join(clauses), [self.text(v) for v in versions]


def parse(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def expected(text, texts):
    versions = [parse(t) for t in texts]
    try:
        specifier = SpecifierSet(text)
        bits = "".join("-" if v is None else str(int(specifier.contains(v, prereleases=True))) for v in versions)
        there = [i for i, v in enumerate(versions) if v is not None]
        admitted = list(specifier.filter(there, key=lambda i: versions[i]))
        asks = "P" if specifier.prereleases else "F"
    except (InvalidSpecifier, AssertionError):  # its ~= takes "poſt" for "post", and then fails
        asks, bits, admitted = "!", "".join("-" if v is None else "0" for v in versions), []
    chosen = max(admitted, key=lambda i: versions[i]) if admitted else -1  # of equal ones the first
    pairs = "".join(
        "-" if a is None or b is None else "<" if a < b else ">" if a > b else "="
        for i, a in enumerate(versions) for b in versions[i + 1:])
    return "\1".join([asks, bits, str(chosen), pairs, "\2".join("-" if v is None else str(v) for v in versions)])


def main():
    oracle = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    n = int(sys.argv[3]) if len(sys.argv) > 3 else CASES
    print(f"seed {seed}, {n} cases", flush=True)
    generator = Generator(seed)
    cases = [generator.case() for _ in range(n)]
    stdin = "".join(text + "\1" + "\2".join(texts) + "\0" for text, texts in cases)
    run = subprocess.run([oracle], input=stdin.encode(), stdout=subprocess.PIPE, check=True)
    answers = run.stdout.decode().split("\0")[:-1]
    if len(answers) != n:
        sys.exit(f"{len(answers)} answers to {n} cases")

    seen = {"no specifier": 0, "no version": 0, "admitted": 0, "refused": 0, "pre-release chosen": 0}
    n_wrong = 0
    for (text, texts), answer in zip(cases, answers):
        right = expected(text, texts)
        asks, bits, chosen, _, normal = right.split("\1")
        seen["no specifier"] += asks == "!"
        seen["no version"] += bits.count("-")
        seen["admitted"] += bits.count("1")
        seen["refused"] += asks != "!" and bits.count("0")
        seen["pre-release chosen"] += chosen != "-1" and Version(normal.split("\2")[int(chosen)]).is_prerelease
        if answer != right:
            n_wrong += 1
            if n_wrong <= 10:
                print(f"specifier {text!r}\n versions {texts!r}\n packaging {right!r}\n library   {answer!r}")
    print(seen)
    if n_wrong:
        sys.exit(f"{n_wrong} of {n} cases differ; seed {seed}")
    # The generator must reach what it is for.
    few = [what for what, times in seen.items() if times < n // 50]
    if few:
        sys.exit(f"the generator hardly gives: {', '.join(few)}")


if __name__ == "__main__":
    main()
