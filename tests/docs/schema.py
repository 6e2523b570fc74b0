"""schema.py BUILD_DIR: what the programs print as JSON is what docs/plan.schema.json says."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import jsonschema  # Debian's python3-jsonschema

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs/plan.schema.json").read_text())

MAPPING = """
[[kernel]]
layer = "SiluAndMul"
device = "cuda"
capability = [75, 89]
mode = "INFERENCE|TORCH_COMPILE"
repo_id = "kernels-community/activation"
version = ">=0.0.4,<0.1.0"

[[kernel]]
layer = "RMSNorm"
device = "metal"
repo_id = "kernels-community/norm"
"""


class Schema(unittest.TestCase):
    def explain(self, mapping, *options):
        done = subprocess.run([BUILD / "bin/kernels", "explain", mapping, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        plan = json.loads(done.stdout)
        jsonschema.validate(plan, SCHEMA)
        return [layer["outcome"] for layer in plan["layers"]]

    def test_schema_itself(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate({"layers": [{"layer": "RMSNorm"}]}, SCHEMA)

    def test_outcomes(self):
        with tempfile.TemporaryDirectory() as directory:
            mapping = pathlib.Path(directory) / "kernels.toml"
            mapping.write_text(MAPPING)
            for outcomes, options in (
                (["reference", "fallback"], ["--device=cuda:8.6", "--no-resolve"]),
                (["error", "fallback"], ["--device=cuda:8.6"]),
                (["fallback", "reference"], ["--device=mps", "--no-resolve"]),
                (["error", "error"], ["--device=cpu", "--use-fallback=no"]),
            ):
                with self.subTest(options=options):
                    self.assertEqual(self.explain(mapping, *options), outcomes)

    def test_kernels(self):
        self.assertEqual(self.explain(BUILD / "packages/llama.toml"), ["kernel"] * 3)

    def test_plans_of_models(self):
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "plan.json"
            done = subprocess.run([BUILD / "bin/docs_plan", BUILD / "packages/llama.toml", file], stdout=subprocess.PIPE, check=True)
            printed, written = json.loads(done.stdout), json.loads(file.read_text())
        for plan in printed, written:
            jsonschema.validate(plan, SCHEMA)
        outcomes = ["kernel", "fallback"]
        self.assertEqual([module["outcome"] for module in printed["modules"]], outcomes)
        self.assertEqual([written["decisions"][decision]["outcome"] for _, decision, _ in written["modules"]], outcomes)
        self.assertEqual(set(written) - set(printed), {"request", "mapping", "decisions"})
        del written["mapping"]
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(written, SCHEMA)


unittest.main(verbosity=2)
