// The target of a request to `kernels serve`: refused with a reason, or parts that are encoded and decoded alike; and forms, whose
// end is reached.
#include <string.h>

#include "cli/serve/target.h"
#include "fuzz.h"

static void check_round_trip(const char *text)
{
    char *encoded = serve_encode(text);
    char *decoded = serve_decode(encoded, NULL);
    FUZZ_CHECK(decoded && strcmp(decoded, text) == 0);
    FUZZ_CHECK(
        strspn(encoded, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%") ==
        strlen(encoded));
    free(encoded);
    free(decoded);
}

static void check_form(const char *text)
{
    const char *at = text, *before = NULL;
    char *key, *value;
    while (serve_form_next(&at, &key, &value)) {
        FUZZ_CHECK(key && value && at > text && at != before);
        before = at;
        free(key);
        free(value);
    }
    FUZZ_CHECK(!key && !value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    serve_target target;
    const char *why = NULL;
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    const bool is_good = serve_target_parse(text, &target, &why);
    FUZZ_CHECK(is_good == (why == NULL));
    FUZZ_CHECK(target.count <= SERVE_SEGMENTS_MAX);
    size_t total = 0;
    for (size_t i = 0; is_good && i < target.count; ++i) {
        check_round_trip(target.segments[i]);
        total += strlen(target.segments[i]) + (i > 0);
    }
    if (is_good) {
        char *rest = serve_target_rest(&target, 0), *value = serve_query(&target, "a");
        FUZZ_CHECK(strlen(rest) == total && total <= SERVE_TARGET_SIZE_MAX);
        FUZZ_CHECK(value || !serve_query_flag(&target, "a"));
        free(rest);
        free(value);
    }
    check_form(text);
    serve_target_dispose(&target);
    free(text);
    return 0;
}
