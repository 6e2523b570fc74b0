// The TOML wrapper alone: any bytes give a tree or an error.
#include "base/toml.h"
#include "fuzz.h"

static void visit(const kni_toml *node, unsigned depth)
{
    FUZZ_CHECK(depth <= 32 && node->line > 0);
    for (size_t i = 0; i < node->n_children; ++i)
        visit(&node->children[i], depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_toml *document;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_toml_parse((const char *)data, size, "input", &document, &err);
    FUZZ_CHECK((st == KN_OK) == (document != NULL) && st == err.status);
    if (document)
        visit(document, 0);
    kni_toml_free(document);
    kn_error_dispose(&err);
    return 0;
}
