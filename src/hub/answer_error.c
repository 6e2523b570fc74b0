#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "hub/answer.h"

enum {
    MESSAGE_MAX = 500, // bytes
    HTML_LOOK = 512,   // how far a page may be from saying what it is
};

// Adds a sentence to what is there, "; " between.
static void add_text(kni_buf *out, const char *text)
{
    if (!text || !text[0])
        return;
    if (out->size)
        kni_buf_puts(out, "; ");
    kni_buf_puts(out, text);
}

// What a JSON answer says, in the order of the places where hubs say it.
static void add_message(kni_buf *out, const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *errors = json_object_get(root, "errors");
    add_text(out, json_string_value(error));
    for (size_t i = 0; i < json_array_size(error) && out->size <= MESSAGE_MAX; ++i)
        add_text(out, json_string_value(json_array_get(error, i)));
    if (out->size == 0)
        add_text(out, json_string_value(json_object_get(root, "error_description")));
    const size_t n_errors = out->size == 0 ? json_array_size(errors) : 0;
    for (size_t i = 0; i < n_errors && out->size <= MESSAGE_MAX; ++i)
        add_text(out, json_string_value(json_object_get(json_array_get(errors, i), "message")));
}

static bool is_html(const char *text, size_t size)
{
    const size_t look = size < HTML_LOOK ? size : HTML_LOOK;
    for (size_t i = 0; i < look; ++i) {
        const size_t rest = size - i;
        if (text[i] == '<' && ((rest >= 5 && strncasecmp(text + i, "<html", 5) == 0) ||
                               (rest >= 14 && strncasecmp(text + i, "<!doctype html", 14) == 0)))
            return true;
    }
    return false;
}

// One line of clean text, at most MESSAGE_MAX bytes, cut between characters.
static char *one_line(const char *text, size_t size)
{
    kni_buf line = KNI_BUF_ANY, clean = KNI_BUF_ANY;
    for (size_t i = 0; i < size && line.size <= MESSAGE_MAX; ++i) {
        const bool is_blank = memchr(" \t\r\n", text[i], 4) != NULL;
        if (!is_blank)
            kni_buf_append(&line, text + i, 1);
        else if (line.size && line.data[line.size - 1] != ' ')
            kni_buf_puts(&line, " ");
    }
    const kni_span trimmed = kni_span_trim((kni_span){kni_buf_text(&line), line.size});
    kni_text_append_clean(&clean, trimmed.data, trimmed.size);
    if (clean.size > MESSAGE_MAX) {
        size_t end = MESSAGE_MAX - 3;
        while (end > 0 && ((unsigned char)clean.data[end] & 0xC0) == 0x80)
            --end;
        clean.size = end;
        kni_buf_puts(&clean, "…");
    }
    if (line.failed)
        clean.failed = true;
    kni_buf_dispose(&line);
    return kni_buf_take(&clean);
}

char *kni_error_body(const char *text, size_t size)
{
    json_t *root = NULL;
    kni_buf message = KNI_BUF_ANY;
    char *line = NULL;
    const kn_status st = kni_json_parse(text, size, "answer", &root, NULL);
    if (st == KN_ERR_NO_MEMORY)
        return NULL;
    add_message(&message, root);
    if (message.failed)
        goto done;
    if (message.size)
        line = one_line(message.data, message.size);
    else if (size == 0 || memchr(text, '\0', size) || is_html(text, size))
        line = kni_strdup(""); // nothing, no text, or a page for people
    else
        line = one_line(text, size);
done:
    json_decref(root);
    kni_buf_dispose(&message);
    return line;
}
