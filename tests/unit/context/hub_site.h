// A context over a hub of a test's own: a server, what it serves, a cache.
#ifndef TEST_HUB_SITE_H
#define TEST_HUB_SITE_H

#include "hub/hub_world.h"
#include "support/package_dir.h"

#include "base/str.h"
#include "context/context.h"

#define LAYERS                                                                                     \
    ", \"library\": \"kernel.so\", \"layers\": {\"Scale\": {\"signature\": \"(x: f32 [...], "      \
    "factor: float = 2.0) -> (y: like x)\", \"forward\": \"scale(y, x, factor)\"}}"
#define CUDA_LAYERS ", \"backend\": {\"type\": \"cuda\"}" LAYERS

enum { KEPT_MAX = 256 };

typedef struct site {
    hub_world world;
    package_dir dir;
    char *kept[KEPT_MAX]; // what the server answers
    size_t n_kept;
    kn_context *ctx;
} site;

static const char *keep(site *s, kni_buf *text)
{
    assert_true(s->n_kept < KEPT_MAX);
    assert_false(text->failed);
    s->kept[s->n_kept] = kni_buf_take(text);
    assert_non_null(s->kept[s->n_kept]);
    return s->kept[s->n_kept++];
}

static const char *keep_path(site *s, const char *format, const char *id, const char *rest)
{
    kni_buf text = KNI_BUF_ANY;
    kni_buf_printf(&text, format, id, rest);
    return keep(s, &text);
}

// Everything of s->dir as a commit of o/<name>, to which main and v1.0 point.
static inline void serve(site *s, const char *name, const char *commit)
{
    kni_names files;
    kni_buf tree = KNI_BUF_ANY, refs = KNI_BUF_ANY;
    assert_int_equal(kni_tree_list(s->dir.root, &files, NULL), KN_OK);
    for (size_t i = 0; i < files.count; ++i) {
        kni_buf bytes = KNI_BUF_ANY, path = KNI_BUF_ANY;
        char local[PACKAGE_PATH_MAX], blob[KNI_SHA256_SIZE];
        const bool is_large = kni_span_ends(kni_span_of(files.names[i]), ".so");
        if (strcmp(files.names[i], "canary") == 0)
            continue;
        package_read(package_path(s->dir.root, files.names[i], local), &bytes);
        assert_int_equal(
            kni_blob_hash_bytes(is_large ? 64 : 40, bytes.data, bytes.size, blob, NULL), KN_OK);
        kni_buf_printf(
            &tree, "%s{\"type\": \"file\", \"path\": \"%s\", \"size\": %zu, \"oid\": \"%s\"",
            tree.size ? ", " : "[", files.names[i], bytes.size, is_large ? WORLD_D : blob);
        if (is_large)
            kni_buf_printf(&tree,
                           ", \"lfs\": {\"oid\": \"%s\", \"size\": %zu, \"pointerSize\": 130}",
                           blob, bytes.size);
        kni_buf_puts(&tree, "}");
        kni_buf_printf(&path, "/kernels/o/%s/resolve/%s/%s", name, commit, files.names[i]);
        const size_t size = bytes.size;
        const char *at = keep(s, &path), *body = keep(s, &bytes);
        http_server_add(s->world.server,
                        (http_reply){.path = at, .body = body, .size = size, .times = -1});
    }
    kni_buf_puts(&tree, "]");
    kni_buf_printf(&refs,
                   "{\"branches\": [{\"name\": \"main\", \"targetCommit\": \"%s\"}], \"tags\": "
                   "[{\"name\": \"v1.0\", \"targetCommit\": \"%s\"}], \"converts\": []}",
                   commit, commit);
    kni_buf tree_path = KNI_BUF_ANY;
    kni_buf_printf(&tree_path, "/api/kernels/o/%s/tree/%s/build?recursive=true&expand=false", name,
                   commit);
    hub_world_answer(&s->world, keep(s, &tree_path), keep(s, &tree));
    hub_world_answer(&s->world, keep_path(s, "/api/kernels/o/%s/refs%s", name, ""), keep(s, &refs));
    kni_names_free(&files);
}

static inline void open_context(site *s, uint32_t flags)
{
    char cache[4096], state[4096];
    kn_error err = KN_ERROR_INIT;
    const char *endpoint = http_server_url(s->world.server, "127.0.0.1", "");
    kn_context_close(s->ctx);
    s->ctx = NULL;
    snprintf(cache, sizeof(cache), "%s/cache", s->world.dir);
    snprintf(state, sizeof(state), "%s/state", s->world.dir);
    const kn_hub_options hub = {.struct_size = sizeof(hub),
                                .endpoint = endpoint,
                                .token = "",
                                .cache_dir = cache,
                                .state_dir = state,
                                .trusted_endpoints = &endpoint,
                                .n_trusted_endpoints = 1,
                                .flags = flags ? flags : KN_HUB_ONLINE};
    if (kn_context_open(KN_CONTEXT_OPTIONS(.hub = &hub, .device = "cpu,cuda:9.0@12.8",
                                           .log = hub_world_log, .log_user = &s->world,
                                           .log_level = KN_LOG_INFO),
                        &s->ctx, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    kni_http_set_second(kn_context_hub(s->ctx)->http, 2);
}

static inline void site_init(site *s)
{
    *s = (site){.n_kept = 0};
    unsetenv("LOCAL_KERNELS");
    hub_world_init(&s->world);
    hub_world_answer(&s->world, "/api/organizations/o/overview", WORLD_TRUSTED);
    package_root(&s->dir);
    package_set_canary(&s->dir);
}

static inline void site_dispose(site *s)
{
    kn_context_close(s->ctx);
    hub_world_dispose(&s->world);
    package_remove(&s->dir);
    for (size_t i = 0; i < s->n_kept; ++i)
        kni_free(s->kept[i]);
}

static inline void add_variant(site *s, const char *variant, const char *fixture,
                               const char *members)
{
    char dir[PACKAGE_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/build/%s", s->dir.root, variant);
    package_copy_library(dir, fixture, "kernel.so");
    package_seal(dir, members);
}

static inline kn_kernel *get(site *s, kn_kernel_options opts)
{
    kn_kernel *kernel = NULL;
    kn_error err = KN_ERROR_INIT;
    opts.struct_size = sizeof(opts);
    if (kn_context_get_kernel(s->ctx, &opts, &kernel, NULL, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    return kernel;
}

static inline void refused(site *s, kn_kernel_options opts, kn_status status, const char *says)
{
    kn_kernel *kernel = NULL;
    kn_error err = KN_ERROR_INIT;
    opts.struct_size = sizeof(opts);
    const kn_status st = kn_context_get_kernel(s->ctx, &opts, &kernel, NULL, &err);
    if (st != status || !strstr(kn_error_text(&err), says))
        fail_msg("status %d: '%s' lacks '%s'", (int)st, kn_error_text(&err), says);
    assert_null(kernel);
    kn_error_dispose(&err);
}

static inline size_t requests(site *s)
{
    return http_server_count(s->world.server);
}

#endif
