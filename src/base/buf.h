// A growing buffer of bytes with a ceiling: what reads a file or builds a text.
//
// A buffer that fails to grow (no memory, or beyond its ceiling) is `failed` and takes nothing more; it is asked once at the
// end, so that a writer of many pieces has one check.
#ifndef KNI_BASE_BUF_H
#define KNI_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/base.h"

typedef struct kni_buf {
    char *data; // a zero follows the last byte; NULL while empty
    size_t size;
    size_t capacity;
    size_t max;    // refuses to grow past it
    bool failed;   // the content is not whole
    bool too_long; // … because of the ceiling, not of memory
} kni_buf;

#define KNI_BUF(max_) ((kni_buf){.max = (max_)})
#define KNI_BUF_ANY KNI_BUF((size_t)1 << 40)

bool kni_buf_reserve(kni_buf *buf, size_t extra); // room for `extra` more bytes at data + size
void kni_buf_append(kni_buf *buf, const void *data, size_t size);
void kni_buf_puts(kni_buf *buf, const char *text);
void kni_buf_printf(kni_buf *buf, const char *format, ...) KN_PRINTF(2, 3);
void kni_buf_vprintf(kni_buf *buf, const char *format, va_list args) KN_PRINTF(2, 0);
const char *kni_buf_text(const kni_buf *buf); // "" while empty
char *kni_buf_take(
    kni_buf *buf); // the content as the caller's string; NULL when failed; leaves the buffer empty
void kni_buf_dispose(kni_buf *buf);

#endif
