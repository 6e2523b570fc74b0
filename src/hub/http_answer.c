#include "hub/http_answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#define VALUE_MAX 1024 // of a text that is shown or becomes a name
#define URL_VALUE_MAX 16384
#define NUMBER_MAX ((int64_t)1 << 60)

void kni_head_init(kni_head *head)
{
    *head = (kni_head){.content_length = -1,
                       .linked_size = -1,
                       .range_start = -1,
                       .range_total = -1,
                       .retry_after = -1,
                       .retry_date = -1,
                       .date = -1,
                       .remaining = -1,
                       .reset = -1,
                       .quota = -1,
                       .window = -1};
}

void kni_head_dispose(kni_head *head)
{
    kni_free(head->etag);
    kni_free(head->linked_etag);
    kni_free(head->commit);
    kni_free(head->link);
    kni_free(head->location);
    kni_free(head->message);
    kni_free(head->request_id);
    kni_free(head->warnings);
    kni_head_init(head);
}

int64_t kni_http_date(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    char month[4];
    int end = 0;
    if (strlen(text) != 29 ||
        sscanf(text, "%*3c, %2d %3c %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6)
        return -1;
    month[3] = '\0';
    const char *found = strstr(months, month);
    if (end != 29 || !found || (found - months) % 3 || tm.tm_year < 1970 || tm.tm_mday < 1 ||
        tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
        tm.tm_sec < 0 || tm.tm_sec > 60)
        return -1;
    tm.tm_mon = (int)((found - months) / 3);
    tm.tm_year -= 1900;
    return timegm(&tm);
}

// A number, else -1.
static int64_t number(kni_span span)
{
    int64_t value;
    return kni_span_to_int(kni_span_trim(span), NUMBER_MAX, &value) ? value : -1;
}

static void set_number(int64_t *slot, int64_t value)
{
    if (*slot < 0)
        *slot = value;
}

// Keeps a value, the first that came; one that is too long, or holds a control character, is none.
static bool set_text(char **slot, kni_span value, size_t max)
{
    if (*slot || value.size == 0 || value.size > max)
        return true;
    for (size_t i = 0; i < value.size; ++i)
        if ((unsigned char)value.data[i] < 0x20 && value.data[i] != '\t')
            return true;
    *slot = kni_strndup(value.data, value.size);
    return *slot != NULL;
}

static bool append_text(char **slot, kni_span value, size_t max, const char *separator)
{
    const size_t size = *slot ? strlen(*slot) : 0;
    if (size == 0)
        return set_text(slot, value, max);
    char *next = NULL;
    if (!set_text(&next, value, max))
        return false;
    if (!next || size + strlen(separator) + value.size > max) {
        kni_free(next);
        return true;
    }
    kni_buf joined = KNI_BUF_ANY;
    kni_buf_printf(&joined, "%s%s%s", *slot, separator, next);
    kni_free(next);
    kni_free(*slot);
    *slot = kni_buf_take(&joined);
    return *slot != NULL;
}

// Without the mark of a weak one and the quotes.
static kni_span etag_value(kni_span value)
{
    if (kni_span_starts(value, "W/"))
        value = (kni_span){value.data + 2, value.size - 2};
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
        value = (kni_span){value.data + 1, value.size - 2};
    return value;
}

static kni_http_kind code_kind(kni_span value)
{
    static const struct {
        const char *code;
        kni_http_kind kind;
    } rows[] = {
        {"RepoNotFound", KNI_HTTP_REPO_NOT_FOUND},
        {"RevisionNotFound", KNI_HTTP_REVISION_NOT_FOUND},
        {"EntryNotFound", KNI_HTTP_ENTRY_NOT_FOUND},
        {"GatedRepo", KNI_HTTP_GATED},
    };
    for (size_t i = 0; i < KN_LEN(rows); ++i)
        if (kni_span_is(value, rows[i].code))
            return rows[i].kind;
    return KNI_HTTP_OK;
}

// "bytes 5-9/10", "bytes */10"
static void read_range(kni_head *head, kni_span value)
{
    kni_span start, end;
    if (!kni_span_starts(value, "bytes ") || head->range_total >= 0)
        return;
    value = kni_span_trim((kni_span){value.data + 6, value.size - 6});
    if (!kni_span_cut(&value, '/', &end) || !kni_span_cut(&end, '-', &start))
        return;
    set_number(&head->range_start, number(start));
    set_number(&head->range_total, number(value));
}

// The parameter of `"api";r=0;t=295`.
static int64_t parameter(kni_span value, const char *name)
{
    kni_span part;
    while (kni_span_cut(&value, ';', &part)) {
        part = kni_span_trim(part);
        if (kni_span_starts(part, name))
            return number((kni_span){part.data + 2, part.size - 2});
    }
    return -1;
}

static void read_retry_after(kni_head *head, kni_span value)
{
    char text[32];
    if (head->retry_after >= 0 || head->retry_date >= 0)
        return;
    head->retry_after = number(value);
    if (head->retry_after < 0 && value.size < sizeof(text)) {
        memcpy(text, value.data, value.size);
        text[value.size] = '\0';
        head->retry_date = kni_http_date(text);
    }
}

static void read_date(kni_head *head, kni_span value)
{
    char text[32] = "";
    if (value.size < sizeof(text))
        memcpy(text, value.data, value.size);
    set_number(&head->date, kni_http_date(text));
}

static bool same_ignoring_case(kni_span span, const char *text)
{
    return span.size == strlen(text) && strncasecmp(span.data, text, span.size) == 0;
}

// A coding that was not asked for: no body is taken then, and an answer that needs one is an error.
static kn_status look_at_coding(kni_head *head, const char *name, kni_span value, kn_error *err)
{
    if (value.size == 0 || same_ignoring_case(value, "identity"))
        return KN_OK;
    head->is_encoded = true;
    if (head->status < 200 || head->status >= 300)
        return KN_OK; // what failed is said by its status
    return kn_error_set(err, KN_ERR_FORMAT,
                        "the answer has %s: %.*s, which was not asked for: a proxy or mirror that "
                        "changes bodies cannot be used",
                        name, (int)(value.size > 100 ? 100 : value.size), value.data);
}

static kn_status add_field(kni_head *head, kni_span name, kni_span value, kn_error *err)
{
    bool ok = true;
    if (same_ignoring_case(name, "etag"))
        ok = set_text(&head->etag, etag_value(value), VALUE_MAX);
    else if (same_ignoring_case(name, "x-linked-etag"))
        ok = set_text(&head->linked_etag, etag_value(value), VALUE_MAX);
    else if (same_ignoring_case(name, "x-linked-size"))
        set_number(&head->linked_size, number(value));
    else if (same_ignoring_case(name, "x-repo-commit"))
        ok = set_text(&head->commit, value, VALUE_MAX);
    else if (same_ignoring_case(name, "link"))
        ok = append_text(&head->link, value, URL_VALUE_MAX, ", ");
    else if (same_ignoring_case(name, "location"))
        ok = set_text(&head->location, value, URL_VALUE_MAX);
    else if (same_ignoring_case(name, "content-length"))
        set_number(&head->content_length, number(value));
    else if (same_ignoring_case(name, "content-range"))
        read_range(head, value);
    else if (same_ignoring_case(name, "x-error-code"))
        head->code = head->code == KNI_HTTP_OK ? code_kind(value) : head->code;
    else if (same_ignoring_case(name, "x-error-message"))
        ok = set_text(&head->message, value, VALUE_MAX);
    else if (same_ignoring_case(name, "x-request-id") ||
             same_ignoring_case(name, "x-amzn-trace-id") || same_ignoring_case(name, "x-amz-cf-id"))
        ok = set_text(&head->request_id, value, 100);
    else if (same_ignoring_case(name, "x-hf-warning"))
        ok = append_text(&head->warnings, value, URL_VALUE_MAX, "\n");
    else if (same_ignoring_case(name, "retry-after"))
        read_retry_after(head, value);
    else if (same_ignoring_case(name, "date"))
        read_date(head, value);
    else if (same_ignoring_case(name, "ratelimit")) {
        set_number(&head->remaining, parameter(value, "r="));
        set_number(&head->reset, parameter(value, "t="));
    } else if (same_ignoring_case(name, "ratelimit-policy")) {
        set_number(&head->quota, parameter(value, "q="));
        set_number(&head->window, parameter(value, "w="));
    } else if (same_ignoring_case(name, "content-encoding")) {
        return look_at_coding(head, "Content-Encoding", value, err);
    } else if (same_ignoring_case(name, "transfer-encoding")) {
        head->is_chunked = same_ignoring_case(value, "chunked");
        if (!head->is_chunked)
            return look_at_coding(head, "Transfer-Encoding", value, err);
    }
    return ok ? KN_OK : kni_no_memory(err);
}

// "HTTP/1.1 200 OK": the status; -1 when it is no status line.
static long status_line(kni_span line)
{
    if (!kni_span_starts(line, "HTTP/"))
        return -1;
    const char *space = memchr(line.data, ' ', line.size);
    if (!space || line.data + line.size - space < 4)
        return -1;
    const int64_t status = number((kni_span){space + 1, 3});
    return status >= 100 ? (long)status : -1;
}

kn_status kni_head_add(kni_head *head, const char *line, size_t size, kn_error *err)
{
    kni_span rest = {line, size}, name;
    while (rest.size && (rest.data[rest.size - 1] == '\n' || rest.data[rest.size - 1] == '\r'))
        --rest.size;
    if (++head->n_lines > KNI_HEAD_LINES_MAX || (head->n_bytes += size) > KNI_HEAD_BYTES_MAX)
        return kn_error_set(err, KN_ERR_FORMAT,
                            "the answer has too many header lines: at most %d of %zu bytes in all "
                            "are accepted",
                            KNI_HEAD_LINES_MAX, KNI_HEAD_BYTES_MAX);
    if (head->is_done && head->status >= 200)
        return KN_OK; // a trailer
    const long status = head->n_lines == 1 || head->is_done ? status_line(rest) : 0;
    if (status > 0) { // the first, or after an interim answer
        const size_t n_lines = head->n_lines, n_bytes = head->n_bytes;
        kni_head_dispose(head);
        head->n_lines = n_lines;
        head->n_bytes = n_bytes;
        head->status = status;
        return KN_OK;
    }
    if (status < 0)
        return kn_error_set(err, KN_ERR_FORMAT, "the answer does not begin with an HTTP status");
    if (rest.size == 0) {
        head->is_done = true;
        return KN_OK;
    }
    if (!kni_span_cut(&rest, ':', &name) || !rest.data)
        return KN_OK; // no header: skipped, as libcurl does
    while (rest.size && (rest.data[0] == ' ' || rest.data[0] == '\t'))
        rest = (kni_span){rest.data + 1, rest.size - 1};
    return add_field(head, name, kni_span_trim(rest), err);
}

kni_http_kind kni_head_kind(const kni_head *head)
{
    const long status = head->status;
    if (status >= 200 && status < 400)
        return KNI_HTTP_OK;
    if (head->code != KNI_HTTP_OK)
        return head->code;
    if (kni_string_equal(head->message, "Access to this resource is disabled."))
        return KNI_HTTP_DISABLED;
    switch (status) {
    case 401:
        return KNI_HTTP_UNAUTHORIZED;
    case 403:
        return KNI_HTTP_FORBIDDEN;
    case 404:
        return KNI_HTTP_NOT_FOUND;
    case 408:
        return KNI_HTTP_SERVER;
    case 416:
        return KNI_HTTP_BAD_RANGE;
    case 429:
        return KNI_HTTP_RATE_LIMITED;
    default:
        return status >= 500 ? KNI_HTTP_SERVER : KNI_HTTP_OTHER;
    }
}

static bool replace(char **slot, const char *text)
{
    if (!text)
        return true;
    char *copy = kni_strdup(text);
    if (!copy)
        return false;
    kni_free(*slot);
    *slot = copy;
    return true;
}

kn_status kni_answer_add(kni_http_answer *answer, kni_linked *linked, const kni_head *head,
                         kn_error *err)
{
    const bool is_redirect = head->status >= 300 && head->status < 400;
    answer->status = head->status;
    answer->kind = kni_head_kind(head);
    bool ok = replace(&answer->link, head->link) && replace(&answer->message, head->message);
    if (!answer->commit)
        ok = ok && replace(&answer->commit, head->commit);
    if (!linked->etag) {
        ok = ok && replace(&answer->etag, head->linked_etag ? head->linked_etag : head->etag);
        linked->etag = head->linked_etag != NULL;
    }
    if (!linked->size) {
        if (head->linked_size >= 0)
            answer->size = head->linked_size;
        else if (head->status == 206)
            answer->size = head->range_total;
        else if (!is_redirect)
            answer->size = head->content_length;
        linked->size = head->linked_size >= 0;
    }
    return ok ? KN_OK : kni_no_memory(err);
}
