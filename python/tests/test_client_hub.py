"""huggingface_hub, unmodified, on one cache with this package: each uses what the other downloaded. More: tests/hub/clients."""

import pytest

pytest.importorskip("huggingface_hub")
pytest.importorskip("numpy")

ACTIVATION = "kernels-community/activation"
LOAD = f"import kernels; module = kernels.get_kernel('{ACTIVATION}', version=1, backend='cpu'); print(module.__file__)\n"
USE = ("import numpy as np\nx, y = np.ones((3, 8), np.float32), np.empty((3, 4), np.float32)\nmodule.silu_and_mul(y, x)\n"
       "assert np.allclose(y, 1 / (1 + np.exp(-1))), y\n")  # fmt: skip
FETCH = f"import huggingface_hub as h\nprint(h.snapshot_download('{ACTIVATION}', repo_type='kernel', revision='v1'))\n"


def test_their_scan_finds_nothing_corrupt(run_python):
    run_python(LOAD + USE + "kernels.get_kernel('kernels-test/py-silu', trust_remote_code=True)\nkernels.get_kernel_variants("
               "'kernels-community/rotary')\nkernels.has_kernel('kernels-community/normalization', version='>=0.0.3')")  # fmt: skip
    done = run_python("""
import huggingface_hub
info = huggingface_hub.scan_cache_dir()
assert not info.warnings, info.warnings
print(sorted((repo.repo_type, repo.repo_id, len(repo.revisions), repo.nb_files > 0) for repo in info.repos))
""")
    for repo in (ACTIVATION, "kernels-test/py-silu"):
        assert f"('kernel', '{repo}', 1, True)" in done.stdout, done.stdout


@pytest.mark.parametrize("symlinks", [True, False])
def test_what_they_downloaded_is_used_offline(run_python, symlinks):
    """Their cache says nothing of who is trusted: offline it takes consent, or one use online, which is remembered."""
    env = {} if symlinks else {"HF_HUB_DISABLE_SYMLINKS": "1"}
    snapshot = run_python(FETCH, env=env).stdout.strip()
    offline = env | {"HF_HUB_OFFLINE": "1"}
    refused = run_python(LOAD, env=offline, status=None)
    assert "UntrustedError" in refused.stderr and "one use online" in refused.stderr, refused.stderr
    consenting = LOAD.replace("version=1", "version=1, trust_remote_code=True")
    done = run_python(consenting + USE, env=offline)
    assert done.stdout.startswith(snapshot), (done.stdout, snapshot)
    run_python(LOAD + USE, env=env)
    assert run_python(LOAD + USE, env=offline).stdout == done.stdout


def test_what_we_downloaded_is_used_offline_by_them(run_python):
    ours = run_python(LOAD + USE).stdout.strip()
    variant = ours.split("/build/")[1].split("/")[0]
    done = run_python(
        f"import huggingface_hub as h\nprint(h.snapshot_download('{ACTIVATION}', repo_type='kernel', revision='v1', local_files_only=True,"
        f" allow_patterns=['build/{variant}/*']))", env={"HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert ours.startswith(done.stdout.strip())


def test_what_they_remove_is_gone(run_python):
    run_python(LOAD)
    run_python("import huggingface_hub as h\ninfo = h.scan_cache_dir()\n(repo,) = info.repos\n"
               "info.delete_revisions(*[revision.commit_hash for revision in repo.revisions]).execute()")  # fmt: skip
    done = run_python(LOAD, env={"HF_HUB_OFFLINE": "1"}, status=None)
    assert done.returncode != 0 and ACTIVATION in done.stderr, done.stderr
    run_python(LOAD + USE)
