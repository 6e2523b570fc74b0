// The JSON reader alone: any bytes give a value or an error, and a value written out reads as the same value.
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_json_parse((const char *)data, size, "input", &value, &err);
    FUZZ_CHECK((st == KN_OK) == (value != NULL) && st == err.status);
    kn_error_dispose(&err);
    if (value) {
        char *text = kni_json_text(value);
        FUZZ_CHECK(text && kni_json_parse(text, strlen(text), "text", &again, &err) == KN_OK);
        char *second = kni_json_text(again); // 15 digits of a real: texts are compared, not values
        FUZZ_CHECK(second && strcmp(text, second) == 0);
        kni_free(text);
        kni_free(second);
        json_decref(again);
    }
    json_decref(value);
    return 0;
}
