"""`kernels info` and `kernels check`."""

import json
import unittest

from command import GPU, GPU_LAYERS, VARIANT, Case


class Info(Case):
    def test_package_and_variant(self):
        package = self.packed()
        for path in (package, package / "build", package / "build" / VARIANT):
            found = self.run_json("info", path)
            self.assertEqual(found["path"], str(path))
            self.assertEqual(len(found["variants"]), 1)
            variant = found["variants"][0]
            self.assertRegex(variant.pop("id"), "^_copy_")
            self.assertEqual(variant, {
                "name": "copy", "version": 3, "license": "NOASSERTION", "backend": "cpu", "archs": [],
                "python_depends": [], "cpu_features": [], "library": "copy.so", "has_digests": True, "variant": VARIANT,
                "error": None,
                "layers": [{"name": "Copy", "inputs": [{"name": "x", "type": "f32|f16 [..., d]", "optional": False}],
                            "members": [], "outputs": [{"name": "y", "type": "like x", "optional": False}],
                            "function": "good", "has_backward": True, "can_torch_compile": True, "autocast": None}]})
        text = self.run_program("info", package).stdout
        self.assertIn("    Copy(x: f32|f16 [..., d]), backward, torch.compile\n", text)

    def test_members(self):
        layers = {"Norm": {"signature": "(x: f32 [..., d]) -> (y: like x)", "members": "weight: f32 [d], eps: float = 1e-6",
                           "forward": "good(y, x)", "autocast": "f32"}}
        self.run_program(*self.pack_args(layers), "--no-run")
        (layer,) = self.run_json("info", self.dir / "package")["variants"][0]["layers"]
        self.assertEqual(layer, {
            "name": "Norm", "inputs": [{"name": "x", "type": "f32 [..., d]", "optional": False}],
            "members": [{"name": "weight", "type": "f32 [d]", "optional": False},
                        {"name": "eps", "type": "float", "optional": True}],
            "outputs": [{"name": "y", "type": "like x", "optional": False}],
            "function": "good", "has_backward": False, "can_torch_compile": False, "autocast": "f32"})
        self.assertIn("    Norm(x: f32 [..., d]), no backward\n", self.run_program("info", self.dir / "package").stdout)

    def test_broken_variant(self):
        package = self.packed()
        broken = package / "build" / "tvm-ffi01-cpu-sparc-linux"
        broken.mkdir()
        (broken / "metadata.json").write_text('{"version": "\\u001b[31m"}')
        found = self.run_json("info", package, status=1)
        errors = {v["variant"]: v["error"] for v in found["variants"]}
        self.assertIsNone(errors[VARIANT])
        self.assertIn("version", errors[broken.name])
        text = self.run_program("info", package, status=1).stdout
        self.assertIn("cannot be read: ", text)
        self.assertNotIn("\033", text)

    def test_metadata_is_made_harmless(self):
        variant = self.dir / VARIANT
        variant.mkdir()
        (variant / "metadata.json").write_text(json.dumps({"license": "\033]0;title\007", "id": "a\nb\u202ec"}))
        done = self.run_program("info", variant)
        for evil in ("\033", "\007", "\u202e", "a\nb"):
            self.assertNotIn(evil, done.stdout)
        self.assertNotIn("\u202e", self.run_program("info", variant, "--json").stdout)

    def test_no_package(self):
        self.fails("info", self.dir / "none", status=2, says="none")
        self.fails("info", self.dir, status=2, says="holds no build variant")


class Check(Case):
    def verdict(self, package, *args, status, **options):
        found = self.run_json("check", package, *args, status=status, **options)
        self.assertEqual(found["usable"], status == 0)
        return {v["variant"]: v for v in found["variants"]}

    def test_runs_here(self):
        package = self.packed()
        verdict = self.verdict(package, status=0)[VARIANT]
        self.assertEqual((verdict["runs"], verdict["digests"], verdict["device"], verdict["reason"]),
                         (True, "right", "cpu:0", None))
        self.assertTrue(all(step["accepted"] for step in verdict["trace"]))
        self.assertIn(f"runs    {VARIANT} on cpu:0, digests: right\n", self.run_program("check", package).stdout)

    def test_other_devices(self):
        package = self.packed()
        rows = [("cuda:9.0", "is for cpu, the device is cuda"), ("rocm:gfx90a,cuda:8.0", "is for cpu"),
                ("cpu:armv8.2" if "x86_64" in VARIANT else "cpu:x86-64-v2", "this machine is")]
        for device, reason in rows:
            with self.subTest(device):
                verdict = self.verdict(package, "--device", device, status=1)[VARIANT]
                self.assertFalse(verdict["runs"])
                self.assertEqual(verdict["digests"], "right")
                self.assertIn(reason, verdict["reason"])
        self.verdict(package, "--device", "cuda:9.0,cpu", status=0)
        self.fails("check", package, "--device", "toaster", status=2, says="--device: ")

    def test_code_for_gpus(self):
        self.run_program(*self.pack_args(GPU_LAYERS, library=GPU), "--backend", "cu128")
        package, variant = self.dir / "package", VARIANT.replace("cpu", "cu128")
        verdict = self.verdict(package, "--device", "cuda:9.0", status=0)[variant]
        self.assertEqual((verdict["runs"], verdict["digests"], verdict["device"]), (True, "right", "cuda:0"))
        # What is told is about the device of the right kind, whose capability is wrong.
        verdict = self.verdict(package, "--device", "cuda:7.5,rocm:gfx90a", status=1)[variant]
        self.assertEqual((verdict["device"], verdict["digests"]), ("cuda:0", "right"))
        self.assertIn("no code for sm_75", verdict["reason"])
        verdict = self.verdict(package, status=1, env={"KERNELS_DEVICE": "cpu"})[variant]
        self.assertEqual(verdict["reason"], "is for cuda, the device is cpu")

    def test_the_environment_counts(self):
        package = self.packed()
        self.run_program("check", package, env={"KERNELS_DEVICE": "cuda:9.0"})  # which has a CPU, too
        self.fails("check", package, status=2, says="KERNELS_DEVICE", env={"KERNELS_DEVICE": "toaster"})

    def test_damage(self):
        for name, change in (("layers.py", lambda p: p.write_text("")), ("copy.so", lambda p: p.unlink()),
                             ("more.py", lambda p: p.write_text(""))):
            with self.subTest(name):
                package = self.packed(name + "-package")
                change(package / "build" / VARIANT / name)
                verdict = self.verdict(package, status=1)[VARIANT]
                self.assertFalse(verdict["runs"])
                self.assertEqual(verdict["digests"], "wrong")
                self.assertIn(name, verdict["reason"])
                self.assertIn("refused ", self.run_program("check", package, status=1).stdout)

    def test_no_digests(self):
        package = self.packed()
        path = package / "build" / VARIANT / "metadata.json"
        metadata = json.loads(path.read_text())
        del metadata["digest"]
        path.write_text(json.dumps(metadata))
        self.assertEqual(self.verdict(package, status=0)[VARIANT]["digests"], "none")

    def test_one_of_many(self):
        package = self.packed()
        torch = package / "build" / f"torch29-cxx11-{VARIANT[len('tvm-ffi01-'):]}"
        torch.mkdir()
        (torch / "metadata.json").write_text("{}")
        (package / "build" / "nonsense").mkdir()
        verdicts = self.verdict(package, status=0)
        self.assertIn("is for PyTorch", verdicts[torch.name]["reason"])
        self.assertFalse(verdicts["nonsense"]["runs"])
        self.assertTrue(verdicts[VARIANT]["runs"])

    def test_feature_that_is_not_here(self):
        package = self.packed("package", "--cpu-feature", "no_such_feature")
        self.assertIn("no_such_feature", self.verdict(package, status=1)[VARIANT]["reason"])


if __name__ == "__main__":
    unittest.main()
