#include "base/log.h"

#include <stdarg.h>

#include "base/alloc.h"
#include "base/str.h"

void kni_log_write(const kni_log *log, kn_log_level level, const char *format, ...)
{
    if (!log->fn || level < log->level)
        return;
    kni_buf raw = KNI_BUF_ANY, clean = KNI_BUF_ANY;
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(&raw, format, args);
    va_end(args);
    kni_text_append_clean(&clean, kni_buf_text(&raw), raw.size);
    if (!raw.failed && !clean.failed)
        log->fn(log->user, level, kni_buf_text(&clean));
    kni_buf_dispose(&raw);
    kni_buf_dispose(&clean);
}
