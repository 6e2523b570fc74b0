#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

bool kni_buf_reserve(kni_buf *buf, size_t extra)
{
    if (buf->failed)
        return false;
    if (extra > buf->max || buf->size > buf->max - extra) {
        buf->failed = buf->too_long = true;
        return false;
    }
    void *data = buf->data;
    if (!kni_grow(&data, &buf->capacity, buf->size + extra + 1, 1)) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    return true;
}

void kni_buf_append(kni_buf *buf, const void *data, size_t size)
{
    if (!kni_buf_reserve(buf, size))
        return;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void kni_buf_puts(kni_buf *buf, const char *text)
{
    kni_buf_append(buf, text, strlen(text));
}

void kni_buf_vprintf(kni_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int size = vsnprintf(NULL, 0, format, args);
    if (size < 0)
        buf->failed = true;
    else if (kni_buf_reserve(buf, (size_t)size)) {
        vsnprintf(buf->data + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void kni_buf_printf(kni_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kni_buf_vprintf(buf, format, args);
    va_end(args);
}

const char *kni_buf_text(const kni_buf *buf)
{
    return buf->data ? buf->data : "";
}

char *kni_buf_take(kni_buf *buf)
{
    char *text = NULL;
    if (!buf->failed)
        text = buf->data ? buf->data : kni_strdup("");
    else
        kni_free(buf->data);
    *buf = KNI_BUF(buf->max);
    return text;
}

void kni_buf_dispose(kni_buf *buf)
{
    kni_free(buf->data);
    *buf = KNI_BUF(buf->max);
}
