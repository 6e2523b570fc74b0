# kernels_add_package(): one line of CMake for a kernel author. See docs/packages.md.
