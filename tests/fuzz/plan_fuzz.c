// The file of a plan: whatever it says, there is a plan or one line of error; and what was read is written and read again alike.
#include <string.h>

#include "fuzz.h"
#include "kernelize/plan_file.h"

static char *text_of(kn_plan *plan)
{
    char *text = NULL;
    FUZZ_CHECK(kni_plan_file_text(plan, &text, NULL) == KN_OK);
    return text;
}

static void look_at(kn_plan *plan)
{
    kn_mapping *mapping = NULL;
    for (size_t i = 0; i < kn_plan_count(plan); ++i) {
        kn_record record = {.struct_size = sizeof(record)};
        FUZZ_CHECK(kn_plan_get(plan, i, &record, NULL) == KN_OK);
        FUZZ_CHECK(record.outcome != KN_OUTCOME_KERNEL ||
                   (record.layer[0] && record.repository[0] && record.layer_name[0]));
        FUZZ_CHECK(record.capability >= -1 && record.device_index >= 0);
    }
    FUZZ_CHECK(kn_plan_mapping(plan, &mapping, NULL) == KN_OK);
    kn_mapping_unref(mapping);
    FUZZ_CHECK(strlen(kn_plan_digest(plan)) == 64);
    kn_plan_text(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kn_plan *plan = NULL, *again = NULL;
    if (kni_plan_parse((const char *)data, size, "f", &plan, &err) != KN_OK) {
        FUZZ_CHECK(!plan && strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    look_at(plan);
    char *text = text_of(plan);
    FUZZ_CHECK(kni_plan_parse(text, strlen(text), "g", &again, NULL) == KN_OK);
    char *text_again = text_of(again);
    FUZZ_CHECK(strcmp(text, text_again) == 0);
    FUZZ_CHECK(strcmp(kn_plan_digest(plan), kn_plan_digest(again)) == 0);
    kn_string_free(text);
    kn_string_free(text_again);
    kn_plan_free(plan);
    kn_plan_free(again);
    return 0;
}
