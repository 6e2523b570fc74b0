// The writing side of kn_trace.
#ifndef KNI_BASE_TRACE_H
#define KNI_BASE_TRACE_H

#include "kernels/base.h"

// Adds an entry; a NULL trace takes it silently. `reason` is a format; `admits` may be NULL. Returns false without memory.
bool kni_trace_add(kn_trace *trace, const char *stage, const char *subject, bool accepted,
                   const char *rule, const char *admits, const char *reason, ...) KN_PRINTF(7, 8);

// Appends copies of all of `from`'s entries to `trace`; either may be NULL.
bool kni_trace_append(kn_trace *trace, const kn_trace *from);

#endif
