// A plan over a hub that has moved on: its kernels are those of the commits that it names.
#include "context/hub_site.h"

#include "kernelize/module.h"
#include "kernels/kernelize.h"

#define OPTIONS(...) KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .device = "cpu", __VA_ARGS__)

static kn_status own_forward(kn_module *self, const kn_value *v, int32_t n, void *user,
                             kn_error *err)
{
    (void)self, (void)v, (void)n, (void)user, (void)err;
    return KN_OK;
}

static kn_module *make_model(void)
{
    kn_class *cls = NULL;
    kn_module *module = NULL;
    assert_int_equal(
        kn_class_new(KN_CLASS_OPTIONS(.name = "C", .layer = "L", .forward = own_forward), &cls,
                     NULL),
        KN_OK);
    assert_int_equal(kn_module_new(NULL, "model", cls, &module, NULL), KN_OK);
    kn_class_unref(cls);
    return module;
}

static kn_record record_of(const kn_plan *plan)
{
    kn_record record = {.struct_size = sizeof(record)};
    assert_int_equal(kn_plan_get(plan, 0, &record, NULL), KN_OK);
    return record;
}

static void expect(kn_status st, kn_status wanted, kn_error *err, const char *part)
{
    if (st != wanted || (part && !strstr(kn_error_text(err), part)))
        fail_msg("%s: '%s' lacks '%s'", kn_status_text(st), kn_error_text(err), part ? part : "");
    kn_error_dispose(err);
}

// What is written of a wish: a commit, its publisher's consent, and sums where they were asked for.
static void test_pins(void **state)
{
    static const struct {
        const char *name;
        kn_entry entry;
        bool is_local; // LOCAL_KERNELS has it
        const char *pinned;
    } rows[] = {
        {"main", {.repo_id = "o/n"}, false, "repo_id = \"o/n\"\nrevision = \"" WORLD_A "\"\n"},
        {"a version",
         {.repo_id = "o/n", .version = "~=1.0", .trust_remote_code = 1},
         false,
         "repo_id = \"o/n\"\nrevision = \"" WORLD_A "\"\nlayer_name = \"Scale\"\n"
         "trust_remote_code = true\n"},
        {"a tag",
         {.repo_id = "o/n", .revision = "v1.0"},
         false,
         "repo_id = \"o/n\"\nrevision = \"" WORLD_A "\"\n"},
        {"a directory in its place",
         {.repo_id = "o/n", .version = "~=1.0"},
         true,
         "repo_id = \"o/n\"\nversion = \"~=1.0\"\n"},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        site s;
        kn_error err = KN_ERROR_INIT;
        kn_mapping *map = NULL, *pinned = NULL;
        kn_plan *plan = NULL;
        char *text = NULL, local[PACKAGE_PATH_MAX];
        print_message("  %s\n", rows[i].name);
        site_init(&s);
        add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
        serve(&s, "n", WORLD_A);
        open_context(&s, 0);
        if (rows[i].is_local) {
            snprintf(local, sizeof(local), "o/n=%s", s.dir.root);
            setenv("LOCAL_KERNELS", local, 1);
        }
        kn_entry entry = rows[i].entry;
        entry.struct_size = sizeof(entry);
        entry.layer = "L";
        entry.device = "cpu";
        entry.layer_name = "Scale";
        kn_module *model = make_model();
        expect(kn_mapping_with(NULL, &entry, 1, &map, &err), KN_OK, &err, NULL);
        expect(kn_kernelize(s.ctx, model, OPTIONS(.mapping = map), &plan, &err), KN_OK, &err, NULL);
        expect(kn_plan_mapping(plan, &pinned, &err), KN_OK, &err, NULL);
        expect(kn_mapping_text(pinned, &text, &err), KN_OK, &err, NULL);
        if (!strstr(text, rows[i].pinned))
            fail_msg("'%s' is not in '%s'", rows[i].pinned, text);
        expect(kn_plan_apply(s.ctx, plan, model, NULL, &err), KN_OK, &err, NULL);
        if (rows[i].is_local) { // the hub's own is another kernel than the directory's
            unsetenv("LOCAL_KERNELS");
            expect(kn_plan_apply(s.ctx, plan, model, NULL, &err), KN_ERR_CONFLICT, &err,
                   "the plan has layer `L` by o/n, layer `Scale`");
        }
        kn_string_free(text);
        kn_plan_free(plan);
        kn_mapping_unref(pinned);
        kn_mapping_unref(map);
        kn_module_free(model);
        site_dispose(&s);
    }
}

// Each request that kernelize makes for an entry says who asks; no file does.
static void test_user_agent(void **state)
{
    static const struct {
        const char *agent, *begins; // begins NULL: refused
    } rows[] = {
        {NULL, "libkernels/"},
        {"mine/1; you/2", "mine/1; you/2; libkernels/"},
        {"m\u00fcne/1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        site s;
        kn_error err = KN_ERROR_INIT;
        kn_mapping *map = NULL, *pinned = NULL;
        kn_plan *plan = NULL;
        char *text = NULL, line[200];
        print_message("  %s\n", rows[i].agent ? rows[i].agent : "(none)");
        site_init(&s);
        add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
        serve(&s, "n", WORLD_A);
        open_context(&s, 0);
        const kn_entry entry = {.struct_size = sizeof(entry),
                                .layer = "L",
                                .device = "cpu",
                                .repo_id = "o/n",
                                .layer_name = "Scale",
                                .user_agent = rows[i].agent};
        kn_module *model = make_model();
        expect(kn_mapping_with(NULL, &entry, 1, &map, &err), KN_OK, &err, NULL);
        if (!rows[i].begins) {
            expect(kn_kernelize(s.ctx, model, OPTIONS(.mapping = map), NULL, &err), KN_ERR_INVALID,
                   &err, "printable ASCII");
            assert_int_equal(requests(&s), 0);
        } else {
            expect(kn_kernelize(s.ctx, model, OPTIONS(.mapping = map), &plan, &err), KN_OK, &err,
                   NULL);
            snprintf(line, sizeof(line), "\r\nUser-Agent: %s", rows[i].begins);
            assert_true(requests(&s) >= 5);
            for (size_t r = 0; r < requests(&s); ++r)
                if (!strstr(http_server_request(s.world.server, r), line))
                    fail_msg("'%s' lacks '%s'", http_server_request(s.world.server, r), line);
            expect(kn_plan_mapping(plan, &pinned, &err), KN_OK, &err, NULL);
            expect(kn_mapping_text(pinned, &text, &err), KN_OK, &err, NULL);
            assert_null(strstr(text, "mine"));
        }
        kn_string_free(text);
        kn_plan_free(plan);
        kn_mapping_unref(pinned);
        kn_mapping_unref(map);
        kn_module_free(model);
        site_dispose(&s);
    }
}

// Everything that pointed to a commit points to another: the server answers from what is kept.
static void move_refs(site *s, const char *from, const char *to)
{
    for (size_t i = 0; i < s->n_kept; ++i)
        for (char *at = strstr(s->kept[i], "\"targetCommit\""); at; at = strstr(at + 1, from))
            if (strncmp(at, from, strlen(from)) == 0)
                memcpy(at, to, strlen(to));
}

// main and the tag point elsewhere by now.
static void test_moved_on(void **state)
{
    (void)state;
    site s;
    kn_error err = KN_ERROR_INIT;
    kn_mapping *map = NULL;
    kn_plan *plan = NULL, *read = NULL, *done = NULL;
    char path[PACKAGE_PATH_MAX];
    site_init(&s);
    snprintf(path, sizeof(path), "%s/plan.json", s.world.dir);
    add_variant(&s, PACKAGE_VARIANT, "good.so", LAYERS);
    serve(&s, "n", WORLD_A);
    open_context(&s, 0);
    kn_module *model = make_model();
    const kn_entry entry = {.struct_size = sizeof(entry),
                            .layer = "L",
                            .device = "cpu",
                            .repo_id = "o/n",
                            .layer_name = "Scale"};
    expect(kn_mapping_with(NULL, &entry, 1, &map, &err), KN_OK, &err, NULL);
    expect(kn_kernelize(s.ctx, model, OPTIONS(.mapping = map, .flags = KN_KERNELIZE_DRY_RUN), &plan,
                        &err),
           KN_OK, &err, NULL);
    expect(kn_plan_write(plan, path, &err), KN_OK, &err, NULL);
    add_variant(&s, PACKAGE_VARIANT, "good_2.so", LAYERS);
    serve(&s, "n", WORLD_B);
    move_refs(&s, WORLD_A, WORLD_B);
    open_context(&s, 0);
    kn_plan *fresh = NULL;
    expect(kn_kernelize(s.ctx, model, OPTIONS(.mapping = map, .flags = KN_KERNELIZE_DRY_RUN),
                        &fresh, &err),
           KN_OK, &err, NULL);
    assert_string_equal(record_of(fresh).revision, WORLD_B);
    expect(kn_plan_read(path, &read, &err), KN_OK, &err, NULL);
    expect(kn_plan_apply(s.ctx, read, model, &done, &err), KN_OK, &err, NULL);
    assert_string_equal(record_of(done).revision, WORLD_A);
    assert_true(kn_module_is_kernelized(model));
    kn_plan_free(plan);
    kn_plan_free(fresh);
    kn_plan_free(read);
    kn_plan_free(done);
    kn_module_free(model);
    kn_mapping_unref(map);
    site_dispose(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_user_agent),
        cmocka_unit_test(test_moved_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
