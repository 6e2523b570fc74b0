#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/fs.h"
#include "mapping/mapping.h"

// key = "value", for texts without control characters (mapping/entry.c admits no others). NULL: nothing.
static void append_string(kni_buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    kni_buf_printf(out, "%s = \"", key);
    while (*value) {
        const size_t plain = strcspn(value, "\"\\");
        kni_buf_append(out, value, plain);
        value += plain;
        if (*value)
            kni_buf_printf(out, "\\%c", *value++);
    }
    kni_buf_puts(out, "\"\n");
}

static void append_range(kni_buf *out, kn_range range)
{
    if (!range.given)
        return;
    kni_buf_printf(out, "capability = [%" PRId64, range.min);
    if (range.max < KN_CAPABILITY_MAX)
        kni_buf_printf(out, ", %" PRId64, range.max);
    kni_buf_puts(out, "]\n");
}

static kn_status refuse_host(const kni_mapping_row *row, const kn_reference *reference,
                             kn_error *err)
{
    return kn_error_set(err, KN_ERR_UNSUPPORTED,
                        "layer `%s` on %s: `%s` is a repository of the host's own, which no file "
                        "can name: accepted are repo_id and path",
                        row->layer->name, kn_device_type_name(row->slot->device), reference->label);
}

static void append_row(kni_buf *out, const kni_mapping_row *row)
{
    const struct kni_mode_row *mode = &row->slot->table->rows[row->mode];
    const kn_reference *reference = mode->reference;
    char text[KN_MODE_TEXT_SIZE];
    kni_buf_printf(out, "%s[[kernel]]\n", out->size ? "\n" : "");
    append_string(out, "layer", row->layer->name);
    append_string(out, "device", kn_device_type_name(row->slot->device));
    append_range(out, row->slot->range);
    if (mode->mode != KN_MODE_FALLBACK)
        append_string(out, "mode", kn_mode_text(mode->mode, text));
    append_string(out, "repo_id", reference->repo_id);
    append_string(out, "path", reference->path);
    append_string(out, "revision", reference->revision);
    append_string(out, "version", reference->version);
    if (reference->version_branch >= 0)
        kni_buf_printf(out, "version = %" PRId64 "\n", reference->version_branch);
    append_string(out, "lock", reference->lock);
    append_string(out, "sums", reference->sums);
    if (strcmp(reference->layer_name, row->layer->name) != 0)
        append_string(out, "layer_name", reference->layer_name);
    if (reference->trust_remote_code)
        kni_buf_puts(out, "trust_remote_code = true\n");
}

kn_status kn_mapping_text(const kn_mapping *mapping, char **out, kn_error *err)
{
    kni_buf text = KNI_BUF_ANY;
    const kni_mapping_row *rows = NULL;
    *out = NULL;
    kn_status st = kni_mapping_rows(mapping, &rows, err);
    for (size_t i = 0; st == KN_OK && i < kn_mapping_count(mapping); ++i) {
        const kn_reference *reference = rows[i].slot->table->rows[rows[i].mode].reference;
        if (reference->kind == KN_REFERENCE_HOST)
            st = refuse_host(&rows[i], reference, err);
        else
            append_row(&text, &rows[i]);
    }
    if (st == KN_OK) {
        *out = kni_buf_take(&text);
        st = *out ? KN_OK : kni_no_memory(err);
    }
    kni_buf_dispose(&text);
    return st;
}

kn_status kn_mapping_write(const kn_mapping *mapping, const char *path, kn_error *err)
{
    char *text = NULL;
    kn_status st = kn_mapping_text(mapping, &text, err);
    if (st == KN_OK)
        st = kni_file_write(path, text, strlen(text), err);
    kn_string_free(text);
    return st;
}
