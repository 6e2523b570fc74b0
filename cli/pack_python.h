// The Python side of a package: __init__.py and layers.py, for hosts that load packages from Python.
#ifndef CLI_PACK_PYTHON_H
#define CLI_PACK_PYTHON_H

#include <kernels/package.h>

// Writes both into dir, from the layers of a package that was opened.
kn_status cli_pack_python(const kn_package *package, const char *dir, kn_error *err);

#endif
