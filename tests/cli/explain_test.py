"""`kernels explain`: decisions, options, exit statuses, both outputs."""

import unittest

from command import GPU, GPU_LAYERS, VARIANT, Case

KEYS = {"layer": str, "device": str, "capability": (int, type(None)), "mode": str, "mode_used": (str, type(None)),
        "repository": (str, type(None)), "revision": (str, type(None)), "variant": (str, type(None)), "outcome": str,
        "reason": (str, type(None)), "trace": list}
LINUX_CPU = 'device = "cpu"\n'
HUB = '''
[[kernel]]
layer = "SiluAndMul"
device = "cuda"
capability = [75, 89]
repo_id = "kernels-community/activation"
version = ">=0.0.4,<0.1.0"

[[kernel]]
layer = "SiluAndMul"
device = "cuda"
capability = [90]
mode = "INFERENCE|TORCH_COMPILE"
repo_id = "kernels-community/newer"
layer_name = "Silu"
'''


class Explain(Case):
    def mapping(self, text):
        path = self.dir / "mapping.toml"
        path.write_text(text)
        return path

    def local(self, layer="Copy", more=""):
        return f'[[kernel]]\nlayer = "{layer}"\ndevice = "cpu"\npath = "package"\n{more}\n'

    def explain(self, path, *args, status=0, **options):
        found = self.run_json("explain", path, *args, status=status, **options)
        self.assertEqual(set(found), {"layers"})
        for record in found["layers"]:
            for key, kind in KEYS.items():
                self.assertIsInstance(record[key], kind, key)
                self.assertNotEqual(record[key], "", key)
            self.assertIn(record["outcome"], ("kernel", "reference", "fallback", "error"))
        return found["layers"]

    def test_kernel(self):
        self.packed()
        records = self.explain(self.mapping(self.local() + self.local("Other", 'layer_name = "Copy"')))
        self.assertEqual([r["layer"] for r in records], ["Copy", "Other"])
        for record in records:
            trace = record.pop("trace")
            self.assertGreater(record.pop("capability"), 0)
            self.assertEqual({k: record[k] for k in KEYS if k in record and k != "layer"}, {
                "device": "cpu", "mode": "INFERENCE", "mode_used": "FALLBACK", "repository": "package", "revision": None,
                "variant": VARIANT, "outcome": "kernel", "reason": None})
            self.assertEqual({"mapping", "mode", "resolve", "variant", "digest", "code", "layer"},
                             {step["stage"] for step in trace})

    def test_kernel_of_a_described_gpu(self):
        self.run_program(*self.pack_args(GPU_LAYERS, library=GPU), "--backend", "cu128")
        mapping = self.mapping('[[kernel]]\nlayer = "L"\ndevice = "cuda"\npath = "package"\n')
        (record,) = self.explain(mapping, "--device", "cuda:9.0")
        self.assertEqual((record["outcome"], record["device"], record["capability"], record["variant"]),
                         ("kernel", "cuda", 90, VARIANT.replace("cpu", "cu128")))
        rows = [("cuda:7.5", "code", "cuda", "no code for sm_75"), ("cuda:9.0@12.4", "variant", "version", "needs cuda 12.8")]
        for device, stage, rule, says in rows:
            with self.subTest(device):
                (record,) = self.explain(mapping, "--device", device, status=3)
                step = record["trace"][-1]
                self.assertEqual((record["outcome"], record["rule"], step["stage"], step["rule"], step["accepted"]),
                                 ("error", "CANNOT_LOAD", stage, rule, False))
                self.assertIn(says, record["reason"])
                self.assertEqual(record["admits"], step["admits"])
                (record,) = self.explain(mapping, "--device", device, "--use-fallback=all", status=1)
                self.assertEqual((record["outcome"], record["variant"]), ("fallback", None))

    def test_damaged_package(self):
        package = self.packed()
        (package / "build" / VARIANT / "layers.py").write_text("")
        (record,) = self.explain(self.mapping(self.local()), status=3)
        self.assertEqual((record["trace"][-1]["stage"], record["trace"][-1]["accepted"]), ("digest", False))
        self.assertIn("layers.py", record["reason"])

    def test_text(self):
        self.packed()
        text = self.run_program("explain", self.mapping(self.local())).stdout
        self.assertRegex(text, r"\ACopy on cpu, capability \d+, INFERENCE: kernel\n  repository: package, layer Copy, ")
        self.assertIn(f"    + variant  {VARIANT}: fits by name\n", text)
        self.assertIn("    - mode     INFERENCE: ", text)

    def test_references(self):
        mapping = self.mapping(HUB)
        rows = [
            ("cuda:8.6", "INFERENCE", 86, "FALLBACK", "kernels-community/activation"),
            ("cuda:9.0", "INFERENCE", 90, "INFERENCE|TORCH_COMPILE", "kernels-community/newer"),
            ("cuda:12.0@13.0", "INFERENCE|TORCH_COMPILE", 120, "INFERENCE|TORCH_COMPILE", "kernels-community/newer"),
        ]
        for device, mode, capability, used, repository in rows:
            with self.subTest(device):
                (record,) = self.explain(mapping, "--no-resolve", "--device", device, "--mode", mode)
                self.assertEqual((record["device"], record["capability"], record["mode"], record["mode_used"],
                                  record["repository"], record["outcome"], record["variant"], record["revision"]),
                                 ("cuda", capability, mode, used, repository, "reference", None, None))

    def test_fallbacks_and_errors(self):
        mapping = self.mapping(HUB)
        rows = [  # options, exit status by --use-fallback=yes, no, all
            (["--device", "cuda:7.0"], 1, 3, 1),  # no interval
            (["--device", "cuda:9.0", "--mode", "TRAINING"], 1, 3, 1),  # no mode
            (["--device", "rocm:gfx90a"], 1, 3, 1),  # no device
            (["--layer", "Unknown"], 1, 3, 1),  # no layer
            (["--device", "cuda:9.0"], 3, 3, 1),  # a hub reference cannot be loaded
            (["--device", "cuda:9.0", "--no-resolve"], 0, 0, 0),
        ]
        for options, *statuses in rows:
            for use, status in zip(("yes", "no", "all"), statuses):
                with self.subTest(options=options, use=use):
                    (record,) = self.explain(mapping, *options, "--use-fallback", use, status=status)
                    self.assertEqual(record["outcome"], {0: "reference", 1: "fallback", 3: "error"}[status])
                    self.assertEqual(record["reason"] is None, status == 0)
            self.run_program("explain", mapping, *options, status=statuses[0])

    def test_worst_record_decides(self):
        self.packed()
        mapping = self.mapping(self.local() + self.local("Missing", 'layer_name = "Nope"'))
        self.explain(mapping, status=3)
        self.explain(mapping, "--use-fallback=all", status=1)
        self.explain(mapping, "--layer", "Copy", status=0)
        records = self.explain(mapping, "--layer", "Missing", "--layer", "Copy", "--layer", "None", status=3)
        self.assertEqual([(r["layer"], r["outcome"]) for r in records],
                         [("Missing", "error"), ("Copy", "kernel"), ("None", "fallback")])

    def test_default_device(self):
        mapping = self.mapping(HUB + self.local())
        self.packed()
        records = self.explain(mapping, "--no-resolve", env={"KERNELS_DEVICE": "cuda:9.0,rocm:gfx90a"}, status=1)
        self.assertEqual({r["device"] for r in records}, {"cuda"})
        records = self.explain(mapping, "--no-resolve", env={"KERNELS_DEVICE": "rocm:gfx90a"}, status=1)
        self.assertEqual({r["device"] for r in records}, {"cpu"})
        records = self.explain(mapping, "--no-resolve", "--device", "rocm:gfx90a,cuda:8.0", status=1)
        self.assertEqual({r["device"] for r in records}, {"cuda"})

    def test_no_resolve_reads_nothing(self):
        (record,) = self.explain(self.mapping(self.local()), "--no-resolve")  # the package is not there
        self.assertEqual((record["outcome"], record["repository"]), ("reference", "package"))
        self.explain(self.mapping(self.local()), status=3)

    def test_disabled(self):
        self.packed()
        (record,) = self.explain(self.mapping(self.local()), env={"DISABLE_KERNEL_MAPPING": "1"}, status=1)
        self.assertEqual(record["outcome"], "fallback")

    def test_empty_mapping(self):
        self.assertEqual(self.explain(self.mapping("")), [])
        self.assertEqual(self.run_program("explain", self.mapping("")).stdout, "the mapping names no layer\n")

    def test_wrong_use(self):
        mapping = self.mapping(HUB)
        rows = [
            (["--mode", "FALLBACK"], "can only be used to register kernel mappings"),
            (["--mode", "TORCH_COMPILE"], "mode must contain"),
            (["--mode", "INFERENCE|TRAINING"], "mutually exclusive"),
            (["--mode", "FAST"], "--mode 'FAST'"),
            (["--device", "toaster"], "--device: "),
            (["--device", ""], "--device: "),
            (["--layer", ""], "explain: --layer ''"),
            (["--use-fallback", "maybe"], "accepted are yes, no and all"),
        ]
        for options, says in rows:
            with self.subTest(options):
                self.fails("explain", mapping, *options, status=2, says=says)
        self.fails("explain", self.dir / "none.toml", status=2, says="none.toml")
        self.fails("explain", self.mapping("[[kernel]]\nlayer = 1\n"), status=2, says="mapping.toml:2")


if __name__ == "__main__":
    unittest.main()
