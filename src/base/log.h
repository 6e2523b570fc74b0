// Where log lines go: one sink that a context holds.
#ifndef KNI_BASE_LOG_H
#define KNI_BASE_LOG_H

#include "kernels/base.h"

typedef struct kni_log {
    kn_log_fn fn; // NULL: nobody listens
    void *user;
    kn_log_level level; // least level that is passed on
} kni_log;

// Formats, sanitizes and passes one line on; nothing is formatted when nobody listens. Never under a lock.
void kni_log_write(const kni_log *log, kn_log_level level, const char *format, ...) KN_PRINTF(3, 4);

#endif
