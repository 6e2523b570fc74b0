#include "hub/blob_hash.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/error.h"

static kn_status hash_failed(kn_error *err)
{
    return kn_error_set(err, KN_ERR_UNSUPPORTED,
                        "blob: this OpenSSL computes no SHA-1 or SHA-256: its configuration "
                        "(openssl.cnf) must offer both");
}

kn_status kni_blob_hash_begin(kni_blob_hash *hash, size_t n_digits, uint64_t size, kn_error *err)
{
    char header[32];
    if (!hash->context)
        hash->context = EVP_MD_CTX_new();
    if (!hash->context)
        return kni_no_memory(err);
    const bool is_git = n_digits == KNI_SHA1_SIZE - 1;
    if (EVP_DigestInit_ex(hash->context, is_git ? EVP_sha1() : EVP_sha256(), NULL) != 1)
        return hash_failed(err);
    if (!is_git)
        return KN_OK;
    const int length = snprintf(header, sizeof(header), "blob %llu", (unsigned long long)size);
    return kni_blob_hash_add(hash, header, (size_t)length + 1, err); // its zero is hashed too
}

kn_status kni_blob_hash_add(kni_blob_hash *hash, const void *data, size_t size, kn_error *err)
{
    return EVP_DigestUpdate(hash->context, data, size) == 1 ? KN_OK : hash_failed(err);
}

kn_status kni_blob_hash_end(kni_blob_hash *hash, char blob[KNI_SHA256_SIZE], kn_error *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_DigestFinal_ex(hash->context, bytes, &size) != 1 || 2 * size >= KNI_SHA256_SIZE)
        return hash_failed(err);
    for (unsigned i = 0; i < size; ++i) {
        blob[2 * i] = digits[bytes[i] >> 4];
        blob[2 * i + 1] = digits[bytes[i] & 15];
    }
    blob[2 * size] = '\0';
    return KN_OK;
}

void kni_blob_hash_dispose(kni_blob_hash *hash)
{
    EVP_MD_CTX_free(hash->context);
    hash->context = NULL;
}

kn_status kni_blob_hash_bytes(size_t n_digits, const void *data, size_t size,
                              char blob[KNI_SHA256_SIZE], kn_error *err)
{
    kni_blob_hash hash = {NULL};
    kn_status st = kni_blob_hash_begin(&hash, n_digits, size, err);
    if (st == KN_OK)
        st = kni_blob_hash_add(&hash, data, size, err);
    if (st == KN_OK)
        st = kni_blob_hash_end(&hash, blob, err);
    kni_blob_hash_dispose(&hash);
    return st;
}
