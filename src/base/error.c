#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/str.h"

const char *kn_error_text(const kn_error *err)
{
    if (!err)
        return kn_status_text(KN_OK);
    return err->text ? err->text : kn_status_text(err->status);
}

// The formatted text, sanitized; NULL without memory.
static char *format_clean(const char *prefix_format, va_list args, const char *rest)
{
    kni_buf raw = KNI_BUF_ANY, clean = KNI_BUF_ANY;
    kni_buf_vprintf(&raw, prefix_format, args);
    if (rest) {
        kni_buf_puts(&raw, ": ");
        kni_buf_puts(&raw, rest);
    }
    if (raw.failed)
        clean.failed = true;
    else
        kni_text_append_clean(&clean, kni_buf_text(&raw), raw.size);
    kni_buf_dispose(&raw);
    return kni_buf_take(&clean);
}

kn_status kn_error_set(kn_error *err, kn_status status, const char *format, ...)
{
    if (!err || err->status != KN_OK)
        return status;
    va_list args;
    va_start(args, format);
    err->text = format_clean(format, args, NULL);
    va_end(args);
    err->status = status;
    return status;
}

void kn_error_prefix(kn_error *err, const char *format, ...)
{
    if (!err || err->status == KN_OK)
        return;
    va_list args;
    va_start(args, format);
    char *text = format_clean(format, args, kn_error_text(err));
    va_end(args);
    if (!text)
        return; // the error without its place is better than none
    kni_free(err->text);
    err->text = text;
}

void kn_error_dispose(kn_error *err)
{
    if (!err)
        return;
    kni_free(err->text);
    *err = KN_ERROR_INIT;
}

kn_status kni_error_errno(kn_error *err, int number, const char *subject, const char *what)
{
    if (number == ENOMEM)
        return kni_no_memory(err);
    const char *text =
        strerrordesc_np(number); // unlike strerror fit for threads, and never translated
    return kn_error_set(err, number == ENOENT || number == ENOTDIR ? KN_ERR_NOT_FOUND : KN_ERR_IO,
                        "%s: %s: %s", subject, what, text ? text : "unknown error");
}

kn_status kni_error_move(kn_error *to, kn_error *from)
{
    const kn_status status = from->status;
    if (to && to->status == KN_OK && status != KN_OK) {
        *to = *from;
        *from = KN_ERROR_INIT;
    } else {
        kn_error_dispose(from);
    }
    return status;
}
