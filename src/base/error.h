// The short forms of what almost every function returns.
#ifndef KNI_BASE_ERROR_H
#define KNI_BASE_ERROR_H

#include "kernels/base.h"

// "out of memory", without allocating. Returns KN_ERR_NO_MEMORY.
kn_status kni_no_memory(kn_error *err);

// Moves what `from` says to `to` (which keeps an earlier error) and leaves `from` empty. Returns its status.
kn_status kni_error_move(kn_error *to, kn_error *from);

#endif
