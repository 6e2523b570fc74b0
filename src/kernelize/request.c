#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/str.h"
#include "kernelize/decide.h"

// "cuda", "cuda:1".
static kn_status parse_device(kni_request *request, const char *text, kn_error *err)
{
    kni_span rest = kni_span_of(text), type;
    char name[32];
    int64_t index = -1;
    request->device_index = -1;
    if (!kni_span_cut(&rest, ':', &type) || type.size >= sizeof(name))
        return kn_error_set(err, KN_ERR_INVALID,
                            "device '%s': a device type is expected, as in cuda or cuda:1", text);
    memcpy(name, type.data, type.size);
    name[type.size] = '\0';
    if (kn_device_type_parse(name, &request->device, NULL) != KN_OK)
        return kn_error_set(err, KN_ERR_INVALID,
                            "Unsupported device type '%s'. Supported device types are: cpu, cuda, "
                            "mps (or metal), neuron, npu, rocm, tpu, xpu",
                            name);
    if (rest.data && !kni_span_to_int(rest, INT32_MAX, &index))
        return kn_error_set(err, KN_ERR_INVALID,
                            "device '%s': after the colon an index is expected, as in %s:1; "
                            "another machine is described by "
                            "the context's device or KERNELS_DEVICE",
                            text, name);
    request->device_index = (int32_t)index;
    return KN_OK;
}

static bool is_disabled(void)
{
    static const char *const off[] = {"", "0", "false", "no", "off"};
    const char *value = getenv("DISABLE_KERNEL_MAPPING");
    for (size_t i = 0; value && i < KN_LEN(off); ++i)
        if (strcasecmp(value, off[i]) == 0)
            return false;
    return value != NULL;
}

static kn_status check_fallback(kni_request *request, uint32_t fallback, kn_error *err)
{
    if (fallback & ~(uint32_t)(KN_FALLBACK_ALL | KN_FALLBACK_NONE))
        return kn_error_set(err, KN_ERR_INVALID, "kernelize: fallback set 0x%x has unknown members",
                            fallback);
    if ((fallback & KN_FALLBACK_NONE) && fallback != KN_FALLBACK_NONE)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kernelize: KN_FALLBACK_NONE stands alone, it came as 0x%x", fallback);
    request->fallback = fallback == 0 ? KN_FALLBACK_DEFAULT : fallback & KN_FALLBACK_ALL;
    return KN_OK;
}

static kn_status check_list(const char *const *list, size_t n, const char *what, kn_error *err)
{
    if (n > 0 && !list)
        return kn_error_set(err, KN_ERR_INVALID, "kernelize: %zu %s, but the list is NULL", n,
                            what);
    for (size_t i = 0; i < n; ++i)
        if (!list[i])
            return kn_error_set(err, KN_ERR_INVALID, "kernelize: %s[%zu] is NULL", what, i);
    return KN_OK;
}

kn_status kni_request_init(kni_request *request, kn_context *ctx, const kn_kernelize_options *opts,
                           kn_error *err)
{
    memset(request, 0, sizeof(*request));
    request->device_index = -1;
    if (!opts || opts->struct_size < sizeof(size_t))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kernelize: options are required: the mode must be given");
    kn_kernelize_options *all = &request->options;
    memcpy(all, opts, opts->struct_size < sizeof(*all) ? opts->struct_size : sizeof(*all));
    request->mode = all->mode;
    kn_status st = kn_mode_check_request(all->mode, err);
    if (st == KN_OK)
        st = check_fallback(request, all->fallback, err);
    if (st == KN_OK && (all->flags & ~(uint32_t)(KN_KERNELIZE_DRY_RUN | KN_KERNELIZE_NO_RESOLVE)))
        st = kn_error_set(err, KN_ERR_INVALID, "kernelize: unknown flags 0x%x", all->flags);
    if (st == KN_OK && all->device)
        st = parse_device(request, all->device, err);
    if (st == KN_OK)
        st = check_list(all->layers, all->n_layers, "layers", err);
    if (st == KN_OK)
        st = check_list(all->paths, all->n_paths, "paths", err);
    if (st != KN_OK)
        return st;
    request->disabled = is_disabled();
    request->mapping = all->mapping ? kn_mapping_ref(all->mapping) : kn_context_mapping(ctx);
    return KN_OK;
}

void kni_request_dispose(kni_request *request)
{
    kn_mapping_unref(request->mapping);
    request->mapping = NULL;
}
