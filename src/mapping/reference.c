#include "mapping/reference.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

typedef struct held {
    kn_reference reference; // first: what a mapping points to
    kn_object object;
} held;

// `owner/name` (version: >=1), layer `X`
static void append_text(kni_buf *out, const kni_reference_parts *p)
{
    kni_buf_puts(out, "`");
    kni_buf_puts(out, p->repo_id ? p->repo_id : p->path ? p->path_written : p->label);
    if (p->lock) {
        kni_buf_puts(out, "` (lock: ");
        kni_buf_puts(out, p->lock);
        kni_buf_puts(out, ")");
    } else if (p->version) {
        kni_buf_puts(out, "` (version: ");
        kni_buf_puts(out, p->version);
        kni_buf_puts(out, ")");
    } else if (p->version_branch >= 0) {
        kni_buf_printf(out, "` (version: %" PRId64 ")", p->version_branch);
    } else if (p->repo_id) {
        kni_buf_puts(out, "` (revision: ");
        kni_buf_puts(out, p->revision ? p->revision : "main");
        kni_buf_puts(out, ")");
    } else {
        kni_buf_puts(out, "`");
    }
    kni_buf_puts(out, ", layer `");
    kni_buf_puts(out, p->layer_name);
    kni_buf_puts(out, "`");
}

static size_t room(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *place(char **at, const char *text)
{
    const size_t size = room(text);
    if (!size)
        return NULL;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

kn_reference *kni_reference_new(const kni_reference_parts *p)
{
    held *made = NULL;
    kni_buf text = KNI_BUF_ANY;
    append_text(&text, p);
    if (text.failed)
        goto done;
    made = kni_alloc(sizeof(*made) + room(p->repo_id) + room(p->path) + room(p->path_written) +
                     room(p->revision) + room(p->version) + room(p->layer_name) + room(p->lock) +
                     room(p->sums) + room(p->label) + room(p->user_agent) + text.size + 1);
    if (!made)
        goto done;
    char *at = (char *)(made + 1);
    made->object = p->object;
    made->reference = (kn_reference){
        .struct_size = sizeof(made->reference),
        .kind = p->kind,
        .trust_remote_code = p->trust_remote_code,
        .repo_id = place(&at, p->repo_id),
        .path = place(&at, p->path),
        .path_written = place(&at, p->path_written),
        .revision = place(&at, p->revision),
        .version = place(&at, p->version),
        .version_branch = p->version_branch,
        .layer_name = place(&at, p->layer_name),
        .lock = place(&at, p->lock),
        .sums = place(&at, p->sums),
        .text = place(&at, text.data),
        .object = p->object.data,
        .label = place(&at, p->label),
        .user_agent = place(&at, p->user_agent),
    };
    if (p->object.data)
        p->object.retain(p->object.data);
done:
    kni_buf_dispose(&text);
    return made ? &made->reference : NULL;
}

kn_object kni_reference_object(const kn_reference *reference)
{
    return ((const held *)(const void *)reference)->object;
}

void kni_reference_free(kn_reference *reference)
{
    if (!reference)
        return;
    if (reference->object)
        ((held *)(void *)reference)->object.release(reference->object);
    kni_free(reference);
}
