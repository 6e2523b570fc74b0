#include "context/context.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"

static kn_status open_machine(const char *device, kn_machine **out, kn_error *err)
{
    kn_error why = KN_ERROR_INIT;
    if (device)
        return kn_machine_parse(device, out, err);
    const char *variable = secure_getenv("KERNELS_DEVICE");
    if (!variable || !variable[0])
        return kn_machine_probe(out, err);
    if (kn_machine_parse(variable, out, &why) == KN_OK)
        return KN_OK;
    kn_error_prefix(&why, "KERNELS_DEVICE");
    return kni_error_move(err, &why);
}

// The hub speaks through the context's log.
static kn_status open_hub(kn_context *ctx, const kn_hub_options *given, kn_error *err)
{
    kn_hub_options opts = KN_HUB_OPTIONS_INIT;
    if (given && given->struct_size == 0)
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_context_open: the hub's struct_size is 0: use KN_HUB_OPTIONS");
    if (given)
        memcpy(&opts, given, given->struct_size < sizeof(opts) ? given->struct_size : sizeof(opts));
    opts.struct_size = sizeof(opts);
    opts.log = ctx->log.fn;
    opts.log_user = ctx->log.user;
    opts.log_level = ctx->log.level;
    return kn_hub_open(&opts, &ctx->hub, err);
}

static kn_status fill(kn_context *ctx, const kn_context_options *opts, kn_error *err)
{
    ctx->log = (kni_log){opts->log, opts->log_user, opts->log_level};
    kn_status st = kn_mapping_with(NULL, NULL, 0, &ctx->empty, err);
    if (st == KN_OK)
        st = open_hub(ctx, opts->hub, err);
    if (st != KN_OK)
        return st;
    ctx->mapping = kn_mapping_ref(opts->mapping ? opts->mapping : ctx->empty);
    if (opts->tvm_ffi) {
        if (!kni_path_is_absolute(opts->tvm_ffi))
            return kn_error_set(err, KN_ERR_INVALID, "the path '%s' of libtvm_ffi is not absolute",
                                opts->tvm_ffi);
        ctx->tvm_ffi_path = kni_strdup(opts->tvm_ffi);
        if (!ctx->tvm_ffi_path)
            return kni_no_memory(err);
    }
    return open_machine(opts->device, &ctx->machine, err);
}

kn_status kn_context_open(const kn_context_options *opts, kn_context **out, kn_error *err)
{
    kn_context_options all = KN_CONTEXT_OPTIONS_INIT;
    if (!out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_context_open: out is NULL");
    *out = NULL;
    if (opts) {
        if (opts->struct_size == 0)
            return kn_error_set(err, KN_ERR_INVALID,
                                "kn_context_open: struct_size is 0: use KN_CONTEXT_OPTIONS");
        memcpy(&all, opts, opts->struct_size < sizeof(all) ? opts->struct_size : sizeof(all));
    }
    if (all.flags != 0)
        return kn_error_set(err, KN_ERR_INVALID, "kn_context_open: unknown flags 0x%x", all.flags);
    kn_context *ctx = kni_calloc(1, sizeof(*ctx));
    if (!ctx)
        return kni_no_memory(err);
    if (!kni_kept_init(&ctx->kept)) {
        kni_free(ctx);
        return kni_no_memory(err);
    }
    kni_refusals_init(&ctx->refusals);
    pthread_mutex_init(&ctx->lock, NULL); // the default kind cannot fail on Linux
    const kn_status st = fill(ctx, &all, err);
    if (st != KN_OK) {
        kn_context_close(ctx);
        return st;
    }
    *out = ctx;
    return KN_OK;
}

void kn_context_close(kn_context *ctx)
{
    if (!ctx)
        return;
    if (ctx->attachment)
        ctx->dispose_attachment(ctx->attachment);
    kni_kept_dispose(&ctx->kept);
    kni_refusals_dispose(&ctx->refusals);
    kn_mapping_unref(ctx->mapping);
    kn_mapping_unref(ctx->empty);
    kn_machine_unref(ctx->machine);
    kn_hub_close(ctx->hub);
    kni_free(ctx->tvm_ffi_path);
    pthread_mutex_destroy(&ctx->lock);
    kni_free(ctx);
}

void kn_context_forget(kn_context *ctx)
{
    kn_hub_forget(ctx->hub);
    kni_kept_forget(&ctx->kept);
}

kn_machine *kn_context_machine(kn_context *ctx)
{
    return ctx->machine;
}

kn_hub *kn_context_hub(kn_context *ctx)
{
    return ctx->hub;
}

kn_mapping *kn_context_mapping(kn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    kn_mapping *mapping = kn_mapping_ref(ctx->mapping);
    pthread_mutex_unlock(&ctx->lock);
    return mapping;
}

void kn_context_set_mapping(kn_context *ctx, const kn_mapping *mapping)
{
    kn_mapping *after = kn_mapping_ref(mapping ? mapping : ctx->empty);
    pthread_mutex_lock(&ctx->lock);
    kn_mapping *before = ctx->mapping;
    ctx->mapping = after;
    pthread_mutex_unlock(&ctx->lock);
    kn_mapping_unref(before);
}

const kni_log *kni_context_log(const kn_context *ctx)
{
    return &ctx->log;
}

void *kni_context_attachment(kn_context *ctx, void *(*make)(void),
                             void (*dispose)(void *attachment))
{
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->attachment) {
        ctx->attachment = make();
        ctx->dispose_attachment = dispose;
    }
    void *attachment = ctx->attachment;
    pthread_mutex_unlock(&ctx->lock);
    return attachment;
}

kn_status kni_context_tvm_ffi(kn_context *ctx, const kni_tvm_ffi **out, kn_error *err)
{
    kni_tvm_ffi opened;
    kn_status st = KN_OK;
    *out = NULL;
    pthread_mutex_lock(&ctx->lock);
    const bool is_open = ctx->tvm_ffi_is_open;
    pthread_mutex_unlock(&ctx->lock);
    if (!is_open) // several threads may come here: they get the same library
        st = kni_tvm_ffi_open(ctx->tvm_ffi_path, &opened, err);
    if (st != KN_OK)
        return st;
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->tvm_ffi_is_open)
        ctx->tvm_ffi = opened;
    ctx->tvm_ffi_is_open = true;
    pthread_mutex_unlock(&ctx->lock);
    *out = &ctx->tvm_ffi;
    return KN_OK;
}

kn_status kn_context_tvm_ffi(kn_context *ctx, kn_tvm_ffi *out, kn_error *err)
{
    const kni_tvm_ffi *opened = NULL;
    if (!ctx || !out || out->struct_size < sizeof(out->struct_size))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_context_tvm_ffi: a context and KN_TVM_FFI_INIT are required");
    const kn_status st = kni_context_tvm_ffi(ctx, &opened, err);
    if (st != KN_OK)
        return st;
    const kn_tvm_ffi all = {
        .struct_size = out->struct_size,
        .major = (int32_t)opened->version.major,
        .minor = (int32_t)opened->version.minor,
        .patch = (int32_t)opened->version.patch,
        .path = opened->path,
    };
    memcpy(out, &all, out->struct_size < sizeof(all) ? out->struct_size : sizeof(all));
    return KN_OK;
}
