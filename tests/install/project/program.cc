// The headers from C++, and an error through the library.
#include <kernels/kernels.h>

#include <cstdio>

int main()
{
    kn_error err = KN_ERROR_INIT;
    kn_context_options options = KN_CONTEXT_OPTIONS_INIT;
    kn_context *ctx = nullptr;
    options.device = "abacus";
    const kn_status st = kn_context_open(&options, &ctx, &err);
    std::printf("libkernels %s: %s\n", kn_version(), kn_status_text(st));
    kn_context_close(ctx);
    kn_error_dispose(&err);
    return 0;
}
