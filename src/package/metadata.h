// metadata.json of every era: what a build variant says of itself. docs/packages.md lists the keys.
#ifndef KNI_PACKAGE_METADATA_H
#define KNI_PACKAGE_METADATA_H

#include "kernels/layer.h"
#include "package/digest_block.h"

#define KNI_METADATA_MAX ((size_t)8 << 20) // bytes; a digest block of 10 000 files has 1 MiB

typedef struct kni_tolerance {
    DLDataType dtype;
    double value;
} kni_tolerance;

typedef struct kni_metadata_layer {
    char *name;
    kn_layer *layer;
    bool can_torch_compile;
    char *autocast; // "" when not declared
    kni_tolerance *tolerances;
    size_t n_tolerances;
} kni_metadata_layer;

typedef struct kni_metadata {
    char *name; // strings are "" where the file says nothing
    char *id;
    char *license;
    char *backend;
    char *library;
    int64_t version; // -1
    kni_names archs;
    kni_names depends;
    kni_names features;
    kni_metadata_layer *layers; // in the file's order
    size_t n_layers;
    kni_digest_block digest;
} kni_metadata;

// `name` (a path) begins every error. *out is filled on success alone.
kn_status kni_metadata_parse(const char *text, size_t size, const char *name, kni_metadata *out,
                             kn_error *err);
void kni_metadata_dispose(kni_metadata *metadata);

// The key "layers", in metadata_layers.c. On failure what is filled already stays in `out`, to be disposed with it.
kn_status kni_metadata_layers_parse(const json_t *layers, const char *name, kni_metadata *out,
                                    kn_error *err);
void kni_metadata_layers_dispose(kni_metadata *metadata);

#endif
