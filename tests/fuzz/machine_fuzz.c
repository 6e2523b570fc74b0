// The text of a machine: whatever it says, there is a machine or one line of error; and what a machine writes is read alike.
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernels/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kn_machine *machine = NULL, *again = NULL;
    char *text = malloc(size + 1), *written = NULL, *written_again = NULL;
    FUZZ_CHECK(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    const kn_status st = kn_machine_parse(text, &machine, &err);
    free(text);
    if (st != KN_OK) {
        FUZZ_CHECK(!machine && st == KN_ERR_INVALID && !strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    FUZZ_CHECK(kn_machine_device_count(machine, KN_DEVICE_CPU) == 1);
    FUZZ_CHECK(kn_machine_text(machine, &written, NULL) == KN_OK);
    FUZZ_CHECK(kn_machine_parse(written, &again, NULL) == KN_OK);
    FUZZ_CHECK(kn_machine_text(again, &written_again, NULL) == KN_OK);
    FUZZ_CHECK(strcmp(written, written_again) == 0);
    for (int type = KN_DEVICE_CPU; type <= KN_DEVICE_TPU; ++type)
        FUZZ_CHECK(kn_machine_device_count(machine, (kn_device_type)type) ==
                   kn_machine_device_count(again, (kn_device_type)type));
    kn_string_free(written);
    kn_string_free(written_again);
    kn_machine_unref(machine);
    kn_machine_unref(again);
    return 0;
}
