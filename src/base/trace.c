#include "base/trace.h"

#include <stdarg.h>

#include "base/alloc.h"
#include "base/str.h"

// The strings of an entry lie in one block that `stage` points to.
struct kn_trace {
    kn_trace_entry *entries;
    size_t count;
    size_t capacity;
    char *text; // of all entries, made when asked for; dropped when one is added
};

kn_trace *kn_trace_new(void)
{
    return kni_calloc(1, sizeof(kn_trace));
}

void kn_trace_free(kn_trace *trace)
{
    if (!trace)
        return;
    for (size_t i = 0; i < trace->count; ++i)
        kni_free((void *)(uintptr_t)trace->entries[i].stage);
    kni_free(trace->entries);
    kni_free(trace->text);
    kni_free(trace);
}

static void append_field(kni_buf *block, const char *text)
{
    if (text)
        kni_text_append_clean(block, text, kni_span_of(text).size);
    kni_buf_append(block, "", 1);
}

static const char *next_field(const char *field)
{
    return field + kni_span_of(field).size + 1;
}

// Takes a block of five strings, each with its zero.
static bool push(kn_trace *trace, kni_buf *block, bool accepted)
{
    void *entries = trace->entries;
    if (block->failed ||
        !kni_grow(&entries, &trace->capacity, trace->count + 1, sizeof(kn_trace_entry))) {
        kni_buf_dispose(block);
        return false;
    }
    trace->entries = entries;
    kn_trace_entry *entry = &trace->entries[trace->count++];
    entry->stage = kni_buf_take(block);
    entry->subject = next_field(entry->stage);
    entry->rule = next_field(entry->subject);
    entry->reason = next_field(entry->rule);
    entry->admits = next_field(entry->reason);
    entry->accepted = accepted;
    kni_free(trace->text);
    trace->text = NULL;
    return true;
}

bool kni_trace_add(kn_trace *trace, const char *stage, const char *subject, bool accepted,
                   const char *rule, const char *admits, const char *reason, ...)
{
    if (!trace)
        return true;
    kni_buf text = KNI_BUF_ANY, block = KNI_BUF_ANY;
    va_list args;
    va_start(args, reason);
    kni_buf_vprintf(&text, reason, args);
    va_end(args);
    append_field(&block, stage);
    append_field(&block, subject);
    append_field(&block, rule);
    append_field(&block, kni_buf_text(&text));
    append_field(&block, admits);
    block.failed |= text.failed;
    kni_buf_dispose(&text);
    return push(trace, &block, accepted);
}

bool kni_trace_append(kn_trace *trace, const kn_trace *from)
{
    if (!trace || !from)
        return true;
    for (size_t i = 0; i < from->count; ++i) {
        const kn_trace_entry *e = &from->entries[i];
        if (!kni_trace_add(trace, e->stage, e->subject, e->accepted, e->rule, e->admits, "%s",
                           e->reason))
            return false;
    }
    return true;
}

size_t kn_trace_count(const kn_trace *trace)
{
    return trace ? trace->count : 0;
}

kn_trace_entry kn_trace_get(const kn_trace *trace, size_t index)
{
    if (!trace || index >= trace->count)
        return (kn_trace_entry){"", "", "", "", "", false, {0}};
    return trace->entries[index];
}

const char *kn_trace_text(kn_trace *trace)
{
    if (!trace || trace->count == 0)
        return "";
    if (!trace->text) {
        kni_buf text = KNI_BUF_ANY;
        for (size_t i = 0; i < trace->count; ++i) {
            const kn_trace_entry *e = &trace->entries[i];
            kni_buf_printf(&text, "%s%s %s: %s%s", i ? "\n" : "", e->stage, e->subject,
                           e->accepted ? "" : "refused: ", e->reason);
            if (e->admits[0])
                kni_buf_printf(&text, " (would be admitted by %s)", e->admits);
        }
        trace->text = kni_buf_take(&text);
    }
    return trace->text ? trace->text : "";
}
