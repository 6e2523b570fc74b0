"""An installed copy of a build, in a place where it was not installed to, and what it takes to build against it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile


def run(*command, **options):
    """Runs a command; its output is in the error when it fails."""
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Installed:
    """The prefix has been moved after the installation: nothing may depend on where it was."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="kernels-install-"))
        run("cmake", "--install", self.build, "--prefix", self.work / "first")
        self.prefix = self.work / "prefix with blank"
        (self.work / "first").rename(self.prefix)
        self.libdir = next(self.prefix.glob("**/libkernels.so")).parent
        self.env = dict(os.environ,
                        PKG_CONFIG_PATH=str(self.libdir / "pkgconfig"),
                        CMAKE_PREFIX_PATH=str(self.prefix),
                        LD_LIBRARY_PATH=str(self.libdir),
                        PATH=f"{self.prefix / 'bin'}:{os.environ['PATH']}")
        # No hub but one that a test names, and nothing of the user's cache.
        for name in list(self.env):
            if name.startswith(("KERNELS_", "HF_", "HUGGING")) or name.lower() in ("local_kernels", "http_proxy", "all_proxy"):
                del self.env[name]
        nobody = "http://127.0.0.1:9"
        self.env |= {"HF_ENDPOINT": nobody, "KERNELS_TRUSTED_ENDPOINTS": nobody, "HF_HOME": str(self.work / "cache"),
                     "XDG_STATE_HOME": str(self.work / "state")}

    def remove(self):
        shutil.rmtree(self.work)

    def flags(self):
        """What pkg-config says, as a shell would split it."""
        return shlex.split(run("pkg-config", "--cflags", "--libs", "libkernels", env=self.env))

    def compile(self, source, program, compiler="cc", standard="-std=c11"):
        run(compiler, standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", program, source,
            *self.flags(), "-lm")

    def cmake(self, source, build, *arguments):
        """Configures and builds a project that finds the installed copy, without LD_LIBRARY_PATH."""
        env = {k: v for k, v in self.env.items() if k != "LD_LIBRARY_PATH"}
        run("cmake", "-G", "Ninja", "-S", source, "-B", build, *arguments, env=env)
        run("cmake", "--build", build, env=env)
