// A URL, a newline, a Location: either is refused or becomes a text that reads as itself.
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "fuzz.h"
#include "hub/url.h"

static void check(const kni_url *url)
{
    kni_url again;
    FUZZ_CHECK(kni_url_parse(url->text, "again", &again, NULL) == KN_OK);
    FUZZ_CHECK(strcmp(again.text, url->text) == 0 && kni_url_same_origin(url, &again));
    FUZZ_CHECK(kni_text_is_clean(url->text, strlen(url->text)) && !strpbrk(url->text, " \\#"));
    FUZZ_CHECK(url->port > 0 && url->port < 65536 && *url->host && !strpbrk(url->host, "/@?"));
    kni_url_dispose(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = kni_strndup((const char *)data, size);
    char *location = strchr(text, '\n');
    kni_url url, next;
    kn_error err = KN_ERROR_INIT;

    if (location)
        *location++ = '\0';
    char *shown = kni_url_for_people(text);
    FUZZ_CHECK(shown && kni_text_is_clean(shown, strlen(shown)) && !strpbrk(shown, "?#"));
    const kn_status st = kni_url_parse(text, "input", &url, &err);
    FUZZ_CHECK(st == err.status && (st == KN_OK) == (url.text != NULL));
    if (st == KN_OK) {
        check(&url);
        if (location && kni_url_join(&url, location, &next, &err) == KN_OK) {
            check(&next);
            kni_url_dispose(&next);
        }
    }
    kni_url_dispose(&url);
    kn_error_dispose(&err);
    kni_free(shown);
    kni_free(text);
    return 0;
}
