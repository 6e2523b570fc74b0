// metadata.json: whatever it says, it is understood, or there is one line of error that begins with the file.
#include <string.h>

#include "fuzz.h"
#include "package/metadata.h"

static void look_at(const kni_metadata *metadata)
{
    FUZZ_CHECK(metadata->name && metadata->id && metadata->license && metadata->backend);
    FUZZ_CHECK(metadata->version >= -1);
    FUZZ_CHECK(!kni_digest_block_leaves_out(metadata->library));
    for (size_t i = 0; i < metadata->n_layers; ++i) {
        const kni_metadata_layer *layer = &metadata->layers[i];
        FUZZ_CHECK(layer->name[0] && layer->layer && layer->autocast);
        FUZZ_CHECK(kn_layer_function(layer->layer, false) != NULL);
        for (size_t t = 0; t < layer->n_tolerances; ++t)
            FUZZ_CHECK(layer->tolerances[t].value > 0);
    }
    const kni_digest_block *block = &metadata->digest;
    for (size_t i = 0; i < block->n_files; ++i) {
        FUZZ_CHECK(i == 0 || strcmp(block->files[i - 1].path, block->files[i].path) < 0);
        FUZZ_CHECK(kni_digest_block_find(block, block->files[i].path) == &block->files[i].digest);
        FUZZ_CHECK(kni_path_check_relative(block->files[i].path, "", NULL) == KN_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kn_error err = KN_ERROR_INIT;
    kni_metadata metadata;
    if (kni_metadata_parse((const char *)data, size, "f", &metadata, &err) != KN_OK) {
        FUZZ_CHECK(err.status == KN_ERR_FORMAT);
        FUZZ_CHECK(strncmp(kn_error_text(&err), "f:", 2) == 0);
        FUZZ_CHECK(!strchr(kn_error_text(&err), '\n'));
        kn_error_dispose(&err);
        return 0;
    }
    look_at(&metadata);
    kni_metadata_dispose(&metadata);
    return 0;
}
