// A mapping file: whatever it says, there is a mapping or one line of error; and what was read is written and read again alike.
#include <string.h>

#include "fuzz.h"
#include "kernels/mapping.h"

static char *text_of(const kn_mapping *mapping)
{
    char *text = NULL;
    FUZZ_CHECK(kn_mapping_text(mapping, &text, NULL) == KN_OK);
    return text;
}

static void look_up(const kn_mapping *mapping)
{
    static const int64_t capabilities[] = {-1, 0, 86, KN_CAPABILITY_MAX};
    for (size_t i = 0; i < kn_mapping_count(mapping) && i < 8; ++i)
        for (size_t j = 0; j < KN_LEN(capabilities); ++j) {
            kn_mapping_row row = KN_MAPPING_ROW_INIT;
            kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
            kn_trace *trace = kn_trace_new();
            FUZZ_CHECK(kn_mapping_row_get(mapping, i, &row, NULL) == KN_OK);
            FUZZ_CHECK(kn_mapping_find(mapping, row.layer, row.device, capabilities[j],
                                       KN_MODE_INFERENCE, &answer, trace, NULL) == KN_OK);
            FUZZ_CHECK(answer.found != KN_FOUND_NO_LAYER && answer.found != KN_FOUND_NO_DEVICE);
            FUZZ_CHECK((answer.found == KN_FOUND) == (answer.reference != NULL));
            FUZZ_CHECK(kn_trace_count(trace) > 0);
            kn_trace_free(trace);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *mapping = NULL, *again = NULL, *twice = NULL;
    if (kn_mapping_parse((const char *)data, size, "f", "/dir", &mapping, &err) != KN_OK) {
        FUZZ_CHECK(!mapping && strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    char *text = text_of(mapping);
    FUZZ_CHECK(kn_mapping_parse(text, strlen(text), "g", NULL, &again, NULL) == KN_OK);
    FUZZ_CHECK(kn_mapping_join(again, mapping, &twice, NULL) == KN_OK);
    char *text_again = text_of(again), *text_twice = text_of(twice);
    FUZZ_CHECK(strcmp(text, text_again) == 0 && strcmp(text, text_twice) == 0);
    look_up(twice);
    kn_string_free(text);
    kn_string_free(text_again);
    kn_string_free(text_twice);
    kn_mapping_unref(mapping);
    kn_mapping_unref(again);
    kn_mapping_unref(twice);
    return 0;
}
