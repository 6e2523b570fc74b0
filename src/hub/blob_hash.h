// The hash that names a blob, while its bytes come in: git's SHA-1 over "blob <size>\0" and the content (40 digits), or the SHA-256
// of the content (64).
#ifndef KNI_HUB_BLOB_HASH_H
#define KNI_HUB_BLOB_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "hub/repo.h"
#include "kernels/base.h"

typedef struct kni_blob_hash {
    void *context; // OpenSSL's
} kni_blob_hash;

// n_digits: 40 or 64, the kind of name; size: of the whole content. Also begins anew.
// Error: KN_ERR_NO_MEMORY; KN_ERR_UNSUPPORTED (this OpenSSL lacks the algorithm).
kn_status kni_blob_hash_begin(kni_blob_hash *hash, size_t n_digits, uint64_t size, kn_error *err);
kn_status kni_blob_hash_add(kni_blob_hash *hash, const void *data, size_t size, kn_error *err);
kn_status kni_blob_hash_end(kni_blob_hash *hash, char blob[KNI_SHA256_SIZE], kn_error *err);
void kni_blob_hash_dispose(kni_blob_hash *hash); // fine on zeros

// The name of content that is in memory.
kn_status kni_blob_hash_bytes(size_t n_digits, const void *data, size_t size,
                              char blob[KNI_SHA256_SIZE], kn_error *err);

#endif
