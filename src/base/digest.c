#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    READ_SIZE = 256 * 1024, // fits a second-level cache: the bytes are hashed while they are there
};

static const struct {
    const char *name, *openssl_name;
    size_t size;
} algorithms[] = {
    [KNI_SHA256] = {"sha256", "SHA2-256", 32},
    [KNI_SHA512] = {"sha512", "SHA2-512", 64},
};

// A fetch walks OpenSSL's providers; one serves the whole process.
static struct {
    pthread_mutex_t lock;
    EVP_MD *fetched[KN_LEN(algorithms)];
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const EVP_MD *get_md(kni_digest_algorithm algorithm)
{
    pthread_mutex_lock(&shared.lock);
    EVP_MD **md = &shared.fetched[algorithm];
    if (!*md)
        *md = EVP_MD_fetch(NULL, algorithms[algorithm].openssl_name, NULL);
    pthread_mutex_unlock(&shared.lock);
    return *md;
}

// OpenSSL says no more than that it failed; with an algorithm that it has, what fails is memory.
static kn_status openssl_failed(const EVP_MD *md, kni_digest_algorithm algorithm, const char *name,
                                kn_error *err)
{
    if (md)
        return kni_no_memory(err);
    return kn_error_set(err, KN_ERR_UNSUPPORTED, "%s: OpenSSL offers no %s here", name,
                        algorithms[algorithm].name);
}

static bool finish(EVP_MD_CTX *context, kni_digest_algorithm algorithm, kni_digest *out)
{
    unsigned size = 0;
    *out = (kni_digest){.algorithm = algorithm};
    return EVP_DigestFinal_ex(context, out->bytes, &size) == 1 &&
           size == kni_digest_size(algorithm);
}

size_t kni_digest_size(kni_digest_algorithm algorithm)
{
    return algorithms[algorithm].size;
}

bool kni_digest_algorithm_parse(const char *text, kni_digest_algorithm *out)
{
    for (size_t i = 0; i < KN_LEN(algorithms); ++i) {
        if (strcmp(text, algorithms[i].name) == 0) {
            *out = (kni_digest_algorithm)i;
            return true;
        }
    }
    return false;
}

kn_status kni_digest_bytes(kni_digest_algorithm algorithm, const void *data, size_t size,
                           kni_digest *out, kn_error *err)
{
    const EVP_MD *md = get_md(algorithm);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool good = md && context && EVP_DigestInit_ex2(context, md, NULL) == 1 &&
                      EVP_DigestUpdate(context, data, size) == 1 && finish(context, algorithm, out);
    EVP_MD_CTX_free(context);
    return good ? KN_OK : openssl_failed(md, algorithm, "digest", err);
}

kn_status kni_digest_fd(kni_digest_algorithm algorithm, int fd, const char *name, kni_digest *out,
                        kn_error *err)
{
    kn_status st = KN_OK;
    const EVP_MD *md = get_md(algorithm);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *buffer = kni_alloc(READ_SIZE);
    if (!buffer) {
        st = kni_no_memory(err);
        goto done;
    }
    bool good = md && context && EVP_DigestInit_ex2(context, md, NULL) == 1;
    for (off_t at = 0; good;) {
        const ssize_t n = pread(fd, buffer, READ_SIZE, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = kni_error_errno(err, errno, name, "cannot read");
            goto done;
        }
        if (n == 0)
            break;
        good = EVP_DigestUpdate(context, buffer, (size_t)n) == 1;
        at += n;
    }
    if (!good || !finish(context, algorithm, out))
        st = openssl_failed(md, algorithm, name, err);
done:
    kni_free(buffer);
    EVP_MD_CTX_free(context);
    return st;
}

bool kni_digest_equal(const kni_digest *a, const kni_digest *b)
{
    return a->algorithm == b->algorithm &&
           memcmp(a->bytes, b->bytes, kni_digest_size(a->algorithm)) == 0;
}

void kni_digest_hex(const kni_digest *digest, char out[129])
{
    static const char digits[] = "0123456789abcdef";
    const size_t size = kni_digest_size(digest->algorithm);
    for (size_t i = 0; i < size; ++i) {
        out[2 * i] = digits[digest->bytes[i] >> 4];
        out[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

void kni_digest_base64(const kni_digest *digest, char out[89])
{
    EVP_EncodeBlock((unsigned char *)out, digest->bytes, (int)kni_digest_size(digest->algorithm));
}

bool kni_digest_from_base64(const char *text, kni_digest_algorithm algorithm, kni_digest *out)
{
    const size_t size = kni_digest_size(algorithm);
    const size_t length = (size + 2) / 3 * 4;
    unsigned char bytes[66]; // the decoder writes whole groups of three
    char again[89];
    if (strlen(text) != length ||
        EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length) < 0)
        return false;
    kni_digest digest = {.algorithm = algorithm};
    memcpy(digest.bytes, bytes, size);
    kni_digest_base64(&digest, again); // the decoder forgives blanks and stray bits
    if (strcmp(text, again) != 0)
        return false;
    *out = digest;
    return true;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool kni_digest_from_hex(const char *text, kni_digest *out)
{
    const size_t size = kni_digest_size(KNI_SHA256);
    *out = (kni_digest){.algorithm = KNI_SHA256};
    if (strlen(text) != 2 * size)
        return false;
    for (size_t i = 0; i < size; ++i) {
        const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
