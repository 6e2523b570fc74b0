#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "kernelize/plan.h"

// A table of the first header that had it ends here: what came later is zero in older hosts.
#define SIZE_MIN (offsetof(kn_host, user) + sizeof(((kn_host *)0)->user))

kn_status kni_host_read(const kn_host *given, kn_host *host, kn_error *err)
{
    memset(host, 0, sizeof(*host));
    if (!given || given->struct_size < SIZE_MIN)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kernelize: a host table with its struct_size is required");
    memcpy(host, given, given->struct_size < sizeof(*host) ? given->struct_size : sizeof(*host));
    const bool required[] = {host->walk,  host->describe, host->path,
                             host->state, host->prepare,  host->commit};
    static const char *const names[] = {"walk", "describe", "path", "state", "prepare", "commit"};
    for (size_t i = 0; i < KN_LEN(required); ++i)
        if (!required[i])
            return kn_error_set(err, KN_ERR_INVALID, "kernelize: the host table lacks its entry %s",
                                names[i]);
    return KN_OK;
}

kn_status kni_plan_append_path(kn_plan *plan, const kn_host *host, void *module, kn_error *err)
{
    kni_buf *paths = &plan->paths;
    size_t room = 128;
    for (;;) {
        if (!kni_buf_reserve(paths, room))
            return kni_no_memory(err);
        const size_t length = host->path(host->user, module, paths->data + paths->size, room);
        if (length < room && kni_text_is_clean(paths->data + paths->size, length)) {
            paths->size += length + 1;
            return KN_OK;
        }
        if (length < room) {
            char *raw = kni_strndup(paths->data + paths->size, length);
            if (!raw)
                return kni_no_memory(err);
            kni_text_append_clean(paths, raw, length);
            kni_buf_append(paths, "", 1);
            kni_free(raw);
            return paths->failed ? kni_no_memory(err) : KN_OK;
        }
        room = length + 1;
    }
}

const char *kni_foreign_text(kn_host_state state)
{
    return state == KN_HOST_FOREIGN_SINCE
               ? "a forward of its own was set on the module after it was kernelized"
               : "a forward of its own was set on the module";
}
