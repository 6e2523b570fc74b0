#include "hub/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

// The first is what every distribution has; Debian and its children build the other two beside it.
static const char *const sonames[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"};

static struct {
    pthread_mutex_t lock;
    kni_curl table;
    const kni_curl *ready; // set last, read without the lock
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

// The name of a function that the library lacks; NULL when it has all.
static const char *fill(kni_curl *table, void *library)
{
    const char *missing = NULL;
    void *
        symbol; // through memcpy, as ISO C has no other way from an object's to a function's address
#define FILL(name)                                                                                 \
    symbol = dlsym(library, "curl_" #name);                                                        \
    if (!symbol)                                                                                   \
        missing = "curl_" #name;                                                                   \
    memcpy(&table->name, &symbol, sizeof(symbol));
    KNI_CURL_LIST(FILL)
#undef FILL
    return missing;
}

static kn_status open_library(kni_curl *table, kn_error *err)
{
    kni_buf why = KNI_BUF(2000);
    void *library = NULL;
    for (size_t i = 0; i < KN_LEN(sonames) && !library; ++i) {
        // Never unloaded: threads and exit handlers of its TLS library may still be in it.
        library = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!library && why.size == 0)
            kni_buf_puts(&why, dlerror());
    }
    if (!library) {
        kn_error_set(err, KN_ERR_UNSUPPORTED,
                     "the hub needs libcurl, which cannot be opened (%s): install the package "
                     "libcurl4 (Debian, Ubuntu) or libcurl (Fedora, RHEL, SUSE, Arch, Alpine), or "
                     "work offline (HF_HUB_OFFLINE=1)",
                     kni_buf_text(&why));
        kni_buf_dispose(&why);
        return KN_ERR_UNSUPPORTED;
    }
    kni_buf_dispose(&why);
    const char *missing = fill(table, library);
    void *symbol = dlsym(library, "curl_global_init");
    if (!symbol)
        missing = "curl_global_init";
    if (missing)
        return kn_error_set(err, KN_ERR_UNSUPPORTED,
                            "the hub needs libcurl 7.66 or newer: the one that is installed has no "
                            "%s",
                            missing);
    __typeof__(curl_global_init) *init;
    memcpy(&init, &symbol, sizeof(symbol));
    const CURLcode code = init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        return kn_error_set(err, KN_ERR_UNSUPPORTED, "libcurl cannot be initialised: %s",
                            table->easy_strerror(code));
    return KN_OK;
}

kn_status kni_curl_get(const kni_curl **out, kn_error *err)
{
    kn_status st = KN_OK;
    *out = __atomic_load_n(&state.ready, __ATOMIC_ACQUIRE);
    if (*out)
        return KN_OK;
    pthread_mutex_lock(&state.lock);
    if (!state.ready) {
        st = open_library(&state.table, err);
        if (st == KN_OK)
            __atomic_store_n(&state.ready, &state.table, __ATOMIC_RELEASE);
    }
    *out = st == KN_OK ? &state.table : NULL;
    pthread_mutex_unlock(&state.lock);
    return st;
}
