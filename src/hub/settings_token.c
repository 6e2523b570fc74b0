#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "hub/environ.h"
#include "hub/settings_parts.h"

#define TOKEN_MAX 8192

struct kni_token {
    pthread_mutex_t lock; // over the rest
    char *path;           // of the file that is yet to be read; NULL: it was, or it is not to be
    char *text;           // NULL: none
    char *source;
};

// Without line ends and the blanks around it. *out NULL: nothing is left. It is never part of a message.
static kn_status clean(const char *text, const char *source, char **out, kn_error *err)
{
    kni_buf token = KNI_BUF_ANY;
    kn_status st = KN_OK;

    *out = NULL;
    for (const char *p = text; *p; ++p)
        if (*p != '\r' && *p != '\n' && !(token.size == 0 && (*p == ' ' || *p == '\t')))
            kni_buf_append(&token, p, 1);
    if (token.failed) {
        st = kni_no_memory(err);
        goto done;
    }
    while (token.size && (token.data[token.size - 1] == ' ' || token.data[token.size - 1] == '\t'))
        token.data[--token.size] = '\0';
    if (token.size > TOKEN_MAX) {
        st = kn_error_set(err, KN_ERR_INVALID, "%s: a token of %zu bytes, at most %d are accepted",
                          source, token.size, TOKEN_MAX);
        goto done;
    }
    for (size_t i = 0; i < token.size; ++i) {
        if (token.data[i] <= ' ' || token.data[i] > '~') { // else it could add a header of its own
            st = kn_error_set(err, KN_ERR_INVALID,
                              "%s: no token: printable ASCII characters without spaces are "
                              "accepted",
                              source);
            goto done;
        }
    }
    if (token.size) {
        *out = kni_buf_take(&token);
        if (!*out)
            st = kni_no_memory(err);
    }
done:
    kni_buf_dispose(&token);
    return st;
}

static kn_status take(kni_token *token, const char *text, const char *source, kn_error *err)
{
    kn_status st = clean(text, source, &token->text, err);
    if (st != KN_OK || !token->text)
        return st;
    token->source = kni_strdup(source);
    return token->source ? KN_OK : kni_no_memory(err);
}

kn_status kni_settings_read_token(kni_settings *out, const kn_hub_options *opts, char *token_path,
                                  kn_error *err)
{
    kn_status st = KN_OK;
    kni_token *token = kni_calloc(1, sizeof(*token));
    if (!token) {
        st = kni_no_memory(err);
        goto done;
    }
    pthread_mutex_init(&token->lock, NULL); // the default kind cannot fail on Linux
    out->token = token;
    if (opts->token) {
        st = take(token, opts->token, "kn_hub_options.token", err);
        goto done;
    }
    if (kni_env_is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        goto done;
    // The first of the two that is set counts, though there be blanks alone in it: then the file does.
    const char *name = kni_env("HF_TOKEN") ? "HF_TOKEN" : "HUGGING_FACE_HUB_TOKEN";
    const char *value = kni_env(name);
    if (value)
        st = take(token, value, name, err);
    if (st == KN_OK && !token->text) {
        token->path = token_path;
        token_path = NULL;
    }
done:
    kni_free(token_path);
    return st;
}

// A file that is not there is no token; one that cannot be read is an error, since going on without would say "no such repository".
static kn_status read_file(kni_token *token, kn_error *err)
{
    kni_buf text = KNI_BUF((size_t)TOKEN_MAX * 2), source = KNI_BUF_ANY;
    kn_error own = KN_ERROR_INIT;
    kn_status st = kni_file_read(&text, token->path, &own);

    if (st == KN_ERR_NOT_FOUND) {
        st = KN_OK;
        goto done;
    }
    if (st != KN_OK) {
        kn_error_prefix(&own, "the token file (HF_TOKEN or HF_HUB_DISABLE_IMPLICIT_TOKEN=1 takes "
                              "its place)");
        st = kni_error_move(err, &own);
        goto done;
    }
    kni_buf_puts(&source, "the file ");
    kni_buf_puts(&source, token->path);
    if (source.failed)
        st = kni_no_memory(err);
    else if (text.size && memchr(text.data, '\0', text.size))
        st = kn_error_set(err, KN_ERR_INVALID, "%s holds no token, but a zero byte", source.data);
    else
        st = take(token, kni_buf_text(&text), source.data, err);
done:
    kn_error_dispose(&own);
    kni_buf_dispose(&text);
    kni_buf_dispose(&source);
    return st;
}

kn_status kni_settings_token(const kni_settings *settings, const char **token, const char **source,
                             kn_error *err)
{
    kni_token *all = settings->token;
    kn_status st = KN_OK;

    pthread_mutex_lock(&all->lock);
    if (all->path) {
        st = read_file(all, err);
        if (st == KN_OK) { // after an error the next call looks again
            kni_free(all->path);
            all->path = NULL;
        } else {
            kni_free(all->text);
            all->text = NULL;
        }
    }
    *token = all->text;
    *source = all->source;
    pthread_mutex_unlock(&all->lock);
    return st;
}

void kni_token_free(kni_token *token)
{
    if (!token)
        return;
    pthread_mutex_destroy(&token->lock);
    kni_free(token->path);
    kni_free(token->text);
    kni_free(token->source);
    kni_free(token);
}
