// A specifier, then versions, one a line: any bytes are read or refused; a version's normalised text is the same version; the order
// is one; what is chosen is admitted and nothing better is.
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "fuzz.h"
#include "hub/version.h"

#define N_MAX 16

static kni_version *parse(const char *text)
{
    kni_version *version = NULL;
    FUZZ_CHECK(kni_version_parse(text, &version, NULL) == KN_OK);
    return version;
}

static void check_text(const kni_version *version)
{
    kni_version *again = parse(kni_version_text(version));
    FUZZ_CHECK(again && strcmp(kni_version_text(version), kni_version_text(again)) == 0);
    FUZZ_CHECK(kni_version_compare(version, again) == 0);
    FUZZ_CHECK(kni_version_is_prerelease(version) == kni_version_is_prerelease(again));
    kni_version_free(again);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void check_order(kni_version *const *versions, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < n; ++k) {
            if (!versions[i] || !versions[k])
                continue;
            const int order = sign(kni_version_compare(versions[i], versions[k]));
            FUZZ_CHECK(order == -sign(kni_version_compare(versions[k], versions[i])));
            for (size_t m = 0; order >= 0 && m < n; ++m)
                if (versions[m] && kni_version_compare(versions[k], versions[m]) >= 0)
                    FUZZ_CHECK(kni_version_compare(versions[i], versions[m]) >= 0);
        }
    }
}

static void check_choice(const char *text, kni_version *const *versions, size_t n)
{
    kni_specifier *specifier = NULL;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = kni_specifier_parse(text, &specifier, &err);

    FUZZ_CHECK((st == KN_OK) == (specifier != NULL) && st == err.status);
    FUZZ_CHECK(st == KN_OK || st == KN_ERR_INVALID);
    kn_error_dispose(&err);
    if (!specifier)
        return;
    const size_t best = kni_specifier_choose(specifier, (const kni_version *const *)versions, n);
    FUZZ_CHECK(best == n || kni_specifier_admits(specifier, versions[best]));
    const bool asks = kni_specifier_asks_prereleases(specifier);
    for (size_t i = 0; i < n; ++i) {
        if (!versions[i] || !kni_specifier_admits(specifier, versions[i]))
            continue;
        FUZZ_CHECK(best != n);
        const bool is_final = asks || !kni_version_is_prerelease(versions[i]);
        const bool best_is = asks || !kni_version_is_prerelease(versions[best]);
        FUZZ_CHECK(best_is > is_final ||
                   (best_is == is_final && kni_version_compare(versions[best], versions[i]) >= 0));
    }
    kni_specifier_free(specifier);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kni_version *versions[N_MAX];
    size_t n = 0;
    char *text = kni_strndup((const char *)data, size); // to the first zero
    FUZZ_CHECK(text);
    char *rest = text, *specifier = strsep(&rest, "\n");
    while (rest && n < N_MAX) {
        versions[n] = parse(strsep(&rest, "\n"));
        if (versions[n])
            check_text(versions[n]);
        ++n;
    }
    check_order(versions, n);
    check_choice(specifier, versions, n);
    for (size_t i = 0; i < n; ++i)
        kni_version_free(versions[i]);
    kni_free(text);
    return 0;
}
