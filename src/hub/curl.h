// libcurl, opened when the first request is made: a program that never asks a hub loads none of it.
//
// The process may use libcurl itself: the library is initialised once (which libcurl counts), nothing of its global state is set,
// and it stays loaded.
#ifndef KNI_HUB_CURL_H
#define KNI_HUB_CURL_H

#define CURL_DISABLE_DEPRECATION // one old option is set where the new one is unknown
#include <curl/curl.h>

#include "kernels/base.h"

#define KNI_CURL_LIST(X)                                                                           \
    X(easy_init)                                                                                   \
    X(easy_cleanup)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(easy_strerror)                                                                               \
    X(multi_init)                                                                                  \
    X(multi_cleanup)                                                                               \
    X(multi_setopt)                                                                                \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_perform)                                                                               \
    X(multi_poll)                                                                                  \
    X(multi_info_read)                                                                             \
    X(multi_strerror)                                                                              \
    X(slist_append)                                                                                \
    X(slist_free_all)

typedef struct kni_curl {
#define KNI_CURL_MEMBER(name) __typeof__(curl_##name) *name;
    KNI_CURL_LIST(KNI_CURL_MEMBER)
#undef KNI_CURL_MEMBER
} kni_curl;

// The functions, valid for ever. Error: KN_ERR_UNSUPPORTED (what was tried, which packages to install); asked again the next time.
// Threads: any.
kn_status kni_curl_get(const kni_curl **out, kn_error *err);

#endif
