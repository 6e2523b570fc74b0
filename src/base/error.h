// The short forms of what almost every function returns.
#ifndef KNI_BASE_ERROR_H
#define KNI_BASE_ERROR_H

#include "kernels/base.h"

// "out of memory", without allocating. Inline, so that a reader of one file (clang-tidy) knows that it is no success.
static inline kn_status kni_no_memory(kn_error *err)
{
    if (err && err->status == KN_OK)
        err->status = KN_ERR_NO_MEMORY;
    return KN_ERR_NO_MEMORY;
}

// "<subject>: <what>: <the text of errno>". Gives KN_ERR_NOT_FOUND for what is absent, KN_ERR_NO_MEMORY, else KN_ERR_IO.
kn_status kni_error_errno(kn_error *err, int number, const char *subject, const char *what);

// Moves what `from` says to `to` (which keeps an earlier error) and leaves `from` empty. Returns its status.
kn_status kni_error_move(kn_error *to, kn_error *from);

#endif
