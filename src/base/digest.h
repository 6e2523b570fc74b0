// SHA-2 by OpenSSL and base64.
#ifndef KNI_BASE_DIGEST_H
#define KNI_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "kernels/base.h"

typedef enum kni_digest_algorithm {
    KNI_SHA256,
    KNI_SHA512,
} kni_digest_algorithm;

typedef struct kni_digest {
    kni_digest_algorithm algorithm;
    uint8_t bytes[64]; // 32 used for SHA-256
} kni_digest;

size_t kni_digest_size(kni_digest_algorithm algorithm);
bool kni_digest_algorithm_parse(const char *text, kni_digest_algorithm *out); // "sha256", "sha512"
kn_status kni_digest_bytes(kni_digest_algorithm algorithm, const void *data, size_t size,
                           kni_digest *out, kn_error *err);
// Of an open file, from its beginning; `name` begins the errors.
kn_status kni_digest_fd(kni_digest_algorithm algorithm, int fd, const char *name, kni_digest *out,
                        kn_error *err);
bool kni_digest_equal(const kni_digest *a, const kni_digest *b);
void kni_digest_hex(const kni_digest *digest, char out[129]);
// Of 64 lower-case hexadecimal digits (SHA-256); false for other text.
bool kni_digest_from_hex(const char *text, kni_digest *out);
void kni_digest_base64(const kni_digest *digest, char out[89]);
// Standard alphabet with padding; false when the text is not the whole, canonical base64 of a digest of that algorithm.
bool kni_digest_from_base64(const char *text, kni_digest_algorithm algorithm, kni_digest *out);

#endif
