#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/answer.h"
#include "hub/http_answer.h"
#include "hub/url.h"

static kn_status status_of(kni_http_kind kind)
{
    switch (kind) {
    case KNI_HTTP_REPO_NOT_FOUND:
    case KNI_HTTP_REVISION_NOT_FOUND:
    case KNI_HTTP_ENTRY_NOT_FOUND:
    case KNI_HTTP_NOT_FOUND:
        return KN_ERR_NOT_FOUND;
    case KNI_HTTP_GATED:
    case KNI_HTTP_DISABLED:
    case KNI_HTTP_UNAUTHORIZED:
    case KNI_HTTP_FORBIDDEN:
        return KN_ERR_DENIED;
    default:
        return KN_ERR_NETWORK;
    }
}

static const char *what_failed(kni_http_kind kind)
{
    switch (kind) {
    case KNI_HTTP_REPO_NOT_FOUND:
        return "there is no such repository";
    case KNI_HTTP_REVISION_NOT_FOUND:
        return "the repository has no such revision";
    case KNI_HTTP_ENTRY_NOT_FOUND:
        return "the revision has no such file";
    case KNI_HTTP_NOT_FOUND:
        return "there is nothing at this address";
    case KNI_HTTP_GATED:
        return "the repository is gated";
    case KNI_HTTP_DISABLED:
        return "the repository is disabled";
    case KNI_HTTP_UNAUTHORIZED:
        return "the repository is missing or private, or the token is not valid";
    case KNI_HTTP_FORBIDDEN:
        return "access is forbidden";
    case KNI_HTTP_RATE_LIMITED:
        return "too many requests";
    case KNI_HTTP_BAD_RANGE:
        return "the server has no such range of the file";
    case KNI_HTTP_SERVER:
        return "the server failed";
    default:
        return "the server refused the request";
    }
}

#define LOG_IN "set HF_TOKEN or log in (\"hf auth login\")"

static void put_advice(kni_buf *out, kni_http_kind kind, const kni_failure *failure)
{
    const char *source = failure->token_source;
    if (!source && failure->has_token && status_of(kind) == KN_ERR_DENIED) {
        kni_buf_puts(out, ": the token was not sent, as it belongs to the endpoint alone and goes "
                          "over https or to this machine");
        return;
    }
    switch (kind) {
    case KNI_HTTP_REPO_NOT_FOUND:
    case KNI_HTTP_NOT_FOUND:
        if (source)
            kni_buf_printf(out,
                           ": check the name; a private one needs a token that may read it "
                           "(the one from %s was sent)",
                           source);
        else if (kind == KNI_HTTP_REPO_NOT_FOUND)
            kni_buf_puts(out, ": check the name; for a private one " LOG_IN);
        else
            kni_buf_puts(out, ": check that the endpoint (HF_ENDPOINT) is a hub");
        break;
    case KNI_HTTP_UNAUTHORIZED:
        if (source)
            kni_buf_printf(out,
                           ": check the name, and that the token from %s is valid and may "
                           "read it",
                           source);
        else
            kni_buf_puts(out, ": check the name; for a private one " LOG_IN);
        break;
    case KNI_HTTP_GATED:
        if (source)
            kni_buf_printf(out,
                           ": ask for access on its page with the account of the token from "
                           "%s, which may need the right to read gated repositories",
                           source);
        else
            kni_buf_puts(out, ": ask for access on its page, then " LOG_IN);
        break;
    case KNI_HTTP_FORBIDDEN:
        if (source)
            kni_buf_printf(out, ": check what the token from %s may read", source);
        else
            kni_buf_puts(out, ": " LOG_IN);
        break;
    case KNI_HTTP_RATE_LIMITED:
        if (!source && !failure->has_token)
            kni_buf_puts(out, ": requests with a token have a higher limit: " LOG_IN);
        break;
    default:
        break;
    }
}

static void put_wait(kni_buf *out, const kni_head *head, const kni_failure *failure)
{
    if (head->quota >= 0 && head->window > 0)
        kni_buf_printf(out, ", at most %lld in %lld s", (long long)head->quota,
                       (long long)head->window);
    if (failure->wait_s < 0)
        return;
    const time_t then = (time_t)(failure->now + failure->wait_s);
    struct tm tm;
    kni_buf_printf(out, ": try again in %lld s", (long long)failure->wait_s);
    if (failure->wait_s <= 366 * 86400 && gmtime_r(&then, &tm))
        kni_buf_printf(out, " (%04d-%02d-%02d %02d:%02d:%02d UTC)", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

kn_status kni_head_fail(const kni_head *head, const kni_failure *failure, kn_error *err)
{
    const kni_http_kind kind = kni_head_kind(head);
    char *url = kni_url_for_people(failure->url);
    char *body = head->message ? kni_strdup(head->message)
                               : kni_error_body(failure->body, failure->body_size);
    kni_buf text = KNI_BUF(8192);
    kn_status st = status_of(kind);

    if (!url || !body) {
        st = kni_no_memory(err);
        goto done;
    }
    kni_buf_printf(&text, "%s %s: %s (status %ld", failure->method, url, what_failed(kind),
                   head->status);
    if (head->request_id)
        kni_buf_printf(&text, ", request %s", head->request_id);
    kni_buf_puts(&text, ")");
    if (failure->n_tries > 1)
        kni_buf_printf(&text, " %u times", failure->n_tries);
    if (kind == KNI_HTTP_RATE_LIMITED || kind == KNI_HTTP_SERVER)
        put_wait(&text, head, failure);
    if (*body)
        kni_buf_printf(&text, ": the server says \"%s\"", body);
    put_advice(&text, kind, failure);
    if (text.failed && !text.too_long)
        st = kni_no_memory(err);
    else
        kn_error_set(err, st, "%s", kni_buf_text(&text));
done:
    kni_buf_dispose(&text);
    kni_free(body);
    kni_free(url);
    return st;
}
