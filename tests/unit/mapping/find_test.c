// Selection: against a model that is written down as the rules are said, and by the examples of the documentation.
#include "support/cmocka.h"

#include "kernels/mapping.h"

#define F KN_MODE_FALLBACK
#define T KN_MODE_TRAINING
#define I KN_MODE_INFERENCE
#define C KN_MODE_TORCH_COMPILE

// The model: all live tables in a list, nothing shared, nothing sorted.
typedef struct model_table {
    int layer;
    kn_device_type device;
    int64_t min, max;
    bool bounded;
    int order;
    int call;
    int n_modes;
    kn_mode modes[6];
    int references[6];
} model_table;

typedef struct model {
    model_table tables[512];
    int count;
    int next_order;
    int calls;
} model;

static void model_add(model *m, int layer, kn_device_type device, kn_range range, kn_mode mode,
                      int reference)
{
    const int64_t min = range.given ? range.min : 0;
    const int64_t max = range.given ? range.max : KN_CAPABILITY_MAX;
    model_table *table = NULL;
    for (int i = 0; i < m->count; ++i) {
        model_table *t = &m->tables[i];
        if (t->layer != layer || t->device != device || t->min != min || t->max != max)
            continue;
        table = t;
        if (t->call != m->calls)
            t->n_modes = 0; // of an earlier call: replaced as a whole
    }
    if (!table)
        table = &m->tables[m->count++];
    const int n = table->call == m->calls ? table->n_modes : 0;
    table->layer = layer;
    table->device = device;
    table->min = min;
    table->max = max;
    table->bounded = min > 0 || max < KN_CAPABILITY_MAX;
    table->order = m->next_order++;
    table->call = m->calls;
    table->modes[n] = mode;
    table->references[n] = reference;
    table->n_modes = n + 1;
}

static bool model_has(const model *m, int layer, kn_device_type device, kn_range range,
                      kn_mode mode)
{
    const int64_t min = range.given ? range.min : 0;
    const int64_t max = range.given ? range.max : KN_CAPABILITY_MAX;
    for (int i = 0; i < m->count; ++i) {
        const model_table *t = &m->tables[i];
        for (int j = 0; j < t->n_modes; ++j)
            if (t->call == m->calls && t->layer == layer && t->device == device && t->min == min &&
                t->max == max && t->modes[j] == mode)
                return true;
    }
    return false;
}

static kn_found model_find(const model *m, int layer, kn_device_type device, int64_t capability,
                           kn_mode mode, kn_mode *mode_used, int *reference)
{
    const kn_mode inference[] = {I, I | C, T, T | C, F}, inference_compile[] = {I | C, T | C, F},
                  training[] = {T, T | C, F}, training_compile[] = {T | C, F};
    const kn_mode *chain = mode == I         ? inference
                           : mode == (I | C) ? inference_compile
                           : mode == T       ? training
                                             : training_compile;
    const int n_chain = mode == I ? 5 : mode == (T | C) ? 2 : 3;
    bool has_layer = false, has_device = false;
    const model_table *best = NULL;
    for (int i = 0; i < m->count; ++i) {
        const model_table *t = &m->tables[i];
        if (t->layer != layer)
            continue;
        has_layer = true;
        if (t->device != device)
            continue;
        has_device = true;
        if (t->bounded && (capability < t->min || capability > t->max))
            continue;
        if (!best || t->max - t->min < best->max - best->min ||
            (t->max - t->min == best->max - best->min && t->order > best->order))
            best = t;
    }
    if (!has_layer)
        return KN_FOUND_NO_LAYER;
    if (!has_device)
        return KN_FOUND_NO_DEVICE;
    if (!best)
        return KN_FOUND_NO_PROPERTIES;
    for (int i = 0; i < n_chain; ++i)
        for (int j = 0; j < best->n_modes; ++j)
            if (best->modes[j] == chain[i]) {
                *mode_used = chain[i];
                *reference = best->references[j];
                return KN_FOUND;
            }
    return KN_FOUND_NO_MODE;
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static const kn_range ranges[] = {{0, 0, 0, 0},   {80, 89, 1, 0},
                                  {75, 89, 1, 0}, {90, KN_CAPABILITY_MAX, 1, 0},
                                  {81, 90, 1, 0}, {0, KN_CAPABILITY_MAX, 1, 0},
                                  {85, 85, 1, 0}, {76, 85, 1, 0},
                                  {0, 0, 1, 0},   {0, 100, 1, 0}};
static const kn_device_type devices[] = {KN_DEVICE_CUDA, KN_DEVICE_ROCM, KN_DEVICE_MPS};
static const kn_mode modes[] = {F, I, I | C, T, T | C};
static const char *const layers[] = {"A", "B", "Some Layer", "never"};

// Every question of a small world.
static void check_all(const kn_mapping *mapping, const model *m, int *outcomes)
{
    static const int64_t capabilities[] = {-1, 0,  1,  75,  76,  80,  85,
                                           86, 89, 90, 100, 101, 121, INT64_MAX};
    for (int layer = 0; layer < (int)KN_LEN(layers); ++layer)
        for (size_t d = 0; d < KN_LEN(devices); ++d)
            for (size_t c = 0; c < KN_LEN(capabilities); ++c)
                for (size_t k = 1; k < KN_LEN(modes); ++k) {
                    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
                    kn_mode mode = 0;
                    int reference = -1;
                    const kn_found found = model_find(m, layer, devices[d], capabilities[c],
                                                      modes[k], &mode, &reference);
                    assert_int_equal(kn_mapping_find(mapping, layers[layer], devices[d],
                                                     capabilities[c], modes[k], &answer, NULL,
                                                     NULL),
                                     KN_OK);
                    assert_int_equal(answer.found, found);
                    assert_int_equal(answer.mode, mode);
                    ++outcomes[found];
                    if (found == KN_FOUND)
                        assert_int_equal(atoi(answer.reference->revision), reference);
                    else
                        assert_null(answer.reference);
                }
}

// One call with a few random entries, on both sides.
static kn_mapping *register_random(const kn_mapping *base, model *m, uint64_t *random,
                                   int *reference)
{
    kn_entry entries[8];
    char revisions[8][16];
    size_t n = 0;
    ++m->calls;
    const size_t wanted = 1 + next_random(random) % KN_LEN(entries);
    while (n < wanted) {
        const int layer = (int)(next_random(random) % 3);
        const kn_device_type device = devices[next_random(random) % KN_LEN(devices)];
        const kn_range range =
            device == KN_DEVICE_MPS ? ranges[0] : ranges[next_random(random) % KN_LEN(ranges)];
        const kn_mode mode = modes[next_random(random) % KN_LEN(modes)];
        if (model_has(m, layer, device, range, mode))
            break; // twice in one call is an error
        model_add(m, layer, device, range, mode, ++*reference);
        snprintf(revisions[n], sizeof(revisions[n]), "%d", *reference);
        entries[n] = (kn_entry){.struct_size = sizeof(kn_entry),
                                .layer = layers[layer],
                                .device = kn_device_type_name(device),
                                .capability = range,
                                .mode = mode,
                                .repo_id = "o/n",
                                .revision = revisions[n]};
        ++n;
    }
    kn_mapping *out = NULL;
    kn_error err = KN_ERROR_INIT;
    if (kn_mapping_with(base, entries, n, &out, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    return out;
}

static size_t count_rows(const model *m)
{
    size_t n = 0;
    for (int i = 0; i < m->count; ++i)
        n += (size_t)m->tables[i].n_modes;
    return n;
}

// Order of registration: tables by order, their modes as given.
static void check_rows(const kn_mapping *mapping, const model *m)
{
    int last = -1;
    size_t index = 0;
    assert_int_equal(kn_mapping_count(mapping), count_rows(m));
    while (index < kn_mapping_count(mapping)) {
        const model_table *next = NULL;
        for (int i = 0; i < m->count; ++i)
            if (m->tables[i].order > last && (!next || m->tables[i].order < next->order))
                next = &m->tables[i];
        assert_non_null(next);
        last = next->order;
        for (int j = 0; j < next->n_modes; ++j) {
            kn_mapping_row row = KN_MAPPING_ROW_INIT;
            assert_int_equal(kn_mapping_row_get(mapping, index++, &row, NULL), KN_OK);
            assert_string_equal(row.layer, layers[next->layer]);
            assert_int_equal(row.device, next->device);
            assert_int_equal(row.mode, next->modes[j]);
            assert_true(row.capability.min == next->min && row.capability.max == next->max);
            assert_int_equal(row.capability.given, next->bounded);
            assert_int_equal(atoi(row.reference->revision), next->references[j]);
        }
    }
}

#define N_VALUES 24

static void test_model(void **state)
{
    int outcomes[5] = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        uint64_t random = seed;
        int reference = 0;
        kn_mapping *values[N_VALUES];
        model *models = calloc(N_VALUES, sizeof(*models));
        for (int v = 0; v < N_VALUES; ++v) {
            const size_t from =
                next_random(&random) % (unsigned)(v + 1); // an earlier value, or none
            if (from < (size_t)v)
                models[v] = models[from];
            values[v] = register_random(from < (size_t)v ? values[from] : NULL, &models[v], &random,
                                        &reference);
        }
        for (int v = 0; v < N_VALUES;
             ++v) { // nothing changed in a value that others were made from
            check_all(values[v], &models[v], outcomes);
            check_rows(values[v], &models[v]);
        }
        for (int v = 0; v < N_VALUES; ++v) { // and freeing one leaves the others whole
            kn_mapping_unref(values[v]);
            if (v + 1 < N_VALUES)
                check_rows(values[v + 1], &models[v + 1]);
        }
        free(models);
    }
    for (int i = 0; i < 5; ++i)
        assert_true(outcomes[i] > 1000);
}

// join: as if the tables of the second had been registered over the first, in their order.
static void test_join_model(void **state)
{
    int outcomes[5] = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        uint64_t random = seed * 977;
        int reference = 0;
        model *m = calloc(3, sizeof(*m));
        kn_mapping *sides[2] = {NULL, NULL}, *joined = NULL, *again = NULL;
        for (int side = 0; side < 2; ++side)
            for (int call = 0; call < 6; ++call) {
                kn_mapping *next = register_random(sides[side], &m[side], &random, &reference);
                kn_mapping_unref(sides[side]);
                sides[side] = next;
            }
        m[2] = m[0];
        for (int last = -1;;) {
            const model_table *next = NULL;
            for (int i = 0; i < m[1].count; ++i)
                if (m[1].tables[i].order > last && (!next || m[1].tables[i].order < next->order))
                    next = &m[1].tables[i];
            if (!next)
                break;
            last = next->order;
            ++m[2].calls;
            for (int j = 0; j < next->n_modes; ++j)
                model_add(&m[2], next->layer, next->device, (kn_range){next->min, next->max, 1, 0},
                          next->modes[j], next->references[j]);
        }
        assert_int_equal(kn_mapping_join(sides[0], sides[1], &joined, NULL), KN_OK);
        check_all(joined, &m[2], outcomes);
        check_rows(joined, &m[2]);
        check_rows(sides[0], &m[0]);
        check_rows(sides[1], &m[1]);
        kn_mapping_unref(sides[0]);
        kn_mapping_unref(sides[1]);
        check_rows(joined, &m[2]);
        for (int i = 0; i < 100; ++i) { // ranks do not grow without end
            assert_int_equal(kn_mapping_join(joined, joined, &again, NULL), KN_OK);
            kn_mapping_unref(joined);
            joined = again;
        }
        check_rows(joined, &m[2]);
        kn_mapping_unref(joined);
        free(m);
    }
}

// The examples of the documentation: two intervals, the narrower one; modes with and without fallback.
static void test_examples(void **state)
{
    static const kn_entry entries[] = {
        {.struct_size = sizeof(kn_entry),
         .layer = "A",
         .device = "cuda",
         .repo_id = "k/a",
         .capability = {80, 89, 1, 0}},
        {.struct_size = sizeof(kn_entry),
         .layer = "A",
         .device = "cuda",
         .repo_id = "k/b",
         .capability = {75, 89, 1, 0}},
        {.struct_size = sizeof(kn_entry),
         .layer = "A",
         .device = "cuda",
         .repo_id = "k/hopper",
         .capability = {90, KN_CAPABILITY_MAX, 1, 0}},
        {.struct_size = sizeof(kn_entry),
         .layer = "M",
         .device = "cuda",
         .repo_id = "k/inference",
         .mode = I},
        {.struct_size = sizeof(kn_entry),
         .layer = "M",
         .device = "cuda",
         .repo_id = "k/training",
         .mode = T | C},
        {.struct_size = sizeof(kn_entry),
         .layer = "F",
         .device = "cuda",
         .repo_id = "k/fallback",
         .mode = F},
        {.struct_size = sizeof(kn_entry),
         .layer = "F",
         .device = "cuda",
         .repo_id = "k/inference",
         .mode = I},
        {.struct_size = sizeof(kn_entry),
         .layer = "F",
         .device = "cuda",
         .repo_id = "k/training",
         .mode = T},
    };
    static const struct {
        const char *layer;
        kn_device_type device;
        int64_t capability;
        kn_mode mode;
        kn_found found;
        const char *repo_id;
        const char *trace; // NULL: not looked at
    } rows[] = {
        {"A", KN_DEVICE_CUDA, 86, I, KN_FOUND, "k/a",
         "mapping cuda, capability 80 to 89: the device is of capability 86\n"
         "mapping cuda, capability 75 to 89: refused: capability 80 to 89 is narrower\n"
         "mapping cuda, capability 90 and above: refused: the device is of capability 86 (would be "
         "admitted by a device in this interval)\n"
         "mode INFERENCE: refused: the interval is registered for FALLBACK (would be admitted by "
         "an "
         "entry for this mode)\n"
         "mode INFERENCE|TORCH_COMPILE: refused: the interval is registered for FALLBACK (would be "
         "admitted by an entry for this mode)\n"
         "mode TRAINING: refused: the interval is registered for FALLBACK (would be admitted by an "
         "entry for this mode)\n"
         "mode TRAINING|TORCH_COMPILE: refused: the interval is registered for FALLBACK (would be "
         "admitted by an entry for this mode)\n"
         "mode FALLBACK: `k/a` (revision: main), layer `A`"},
        {"A", KN_DEVICE_CUDA, 75, T, KN_FOUND, "k/b", NULL},
        {"A", KN_DEVICE_CUDA, 120, T, KN_FOUND, "k/hopper", NULL},
        {"A", KN_DEVICE_CUDA, 70, T, KN_FOUND_NO_PROPERTIES, NULL,
         "would be admitted by a device in"},
        {"A", KN_DEVICE_CUDA, -1, T, KN_FOUND_NO_PROPERTIES, NULL,
         "the device is of unknown capability (would be admitted by a device whose capability is "
         "known)"},
        {"A", KN_DEVICE_CPU, 3, T, KN_FOUND_NO_DEVICE, NULL,
         "mapping A: refused: registered for cuda, not for cpu (would be admitted by an entry for "
         "this device type)"},
        {"a", KN_DEVICE_CUDA, 86, T, KN_FOUND_NO_LAYER, NULL,
         "mapping a: refused: no kernel is registered for it (would be admitted by an entry for "
         "this "
         "layer name)"},
        {"", KN_DEVICE_CUDA, 86, T, KN_FOUND_NO_LAYER, NULL, NULL},
        {"M", KN_DEVICE_CUDA, 86, I, KN_FOUND, "k/inference", NULL},
        {"M", KN_DEVICE_CUDA, -1, I | C, KN_FOUND, "k/training", NULL},
        {"M", KN_DEVICE_CUDA, 86, T, KN_FOUND, "k/training",
         "mode TRAINING|TORCH_COMPILE: `k/training` (revision: main), layer `M`"},
        {"F", KN_DEVICE_CUDA, 86, I | C, KN_FOUND, "k/fallback", NULL},
        {"F", KN_DEVICE_CUDA, 86, T | C, KN_FOUND, "k/fallback", NULL},
        {"F", KN_DEVICE_CUDA, 86, T, KN_FOUND, "k/training", NULL},
    };
    kn_mapping *mapping = NULL;
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, entries, KN_LEN(entries), &mapping, NULL), KN_OK);
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
        kn_trace *trace = kn_trace_new();
        print_message("  %s %d %u\n", rows[i].layer, (int)rows[i].capability, rows[i].mode);
        assert_int_equal(kn_mapping_find(mapping, rows[i].layer, rows[i].device, rows[i].capability,
                                         rows[i].mode, &answer, trace, NULL),
                         KN_OK);
        assert_int_equal(answer.found, rows[i].found);
        if (rows[i].repo_id)
            assert_string_equal(answer.reference->repo_id, rows[i].repo_id);
        if (rows[i].trace && !strstr(kn_trace_text(trace), rows[i].trace))
            fail_msg("\"%s\" has no \"%s\"", kn_trace_text(trace), rows[i].trace);
        assert_true(kn_trace_count(trace) > 0);
        kn_trace_free(trace);
    }
    kn_mapping_unref(mapping);
}

// Equal widths: the later registration, also when it replaced one that was there before the other; and the trace says so.
static void test_ties(void **state)
{
    kn_mapping *first = NULL, *second = NULL, *third = NULL;
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
    kn_trace *trace = kn_trace_new();
    const kn_entry *low = KN_ENTRY(.layer = "A", .device = "cuda", .repo_id = "k/low",
                                   .capability = KN_RANGE(80, 89));
    const kn_entry *high = KN_ENTRY(.layer = "A", .device = "cuda", .repo_id = "k/high",
                                    .capability = KN_RANGE(81, 90));
    (void)state;
    assert_int_equal(kn_mapping_with(NULL, low, 1, &first, NULL), KN_OK);
    assert_int_equal(kn_mapping_with(first, high, 1, &second, NULL), KN_OK);
    assert_int_equal(kn_mapping_with(second, low, 1, &third, NULL), KN_OK);
    assert_int_equal(kn_mapping_count(third), 2);
    assert_int_equal(kn_mapping_find(second, "A", KN_DEVICE_CUDA, 85, I, &answer, trace, NULL),
                     KN_OK);
    assert_string_equal(answer.reference->repo_id, "k/high");
    assert_non_null(strstr(kn_trace_text(trace),
                           "mapping cuda, capability 80 to 89: refused: capability 81 to 90 is as "
                           "narrow and was registered later"));
    assert_int_equal(kn_mapping_find(third, "A", KN_DEVICE_CUDA, 85, I, &answer, NULL, NULL),
                     KN_OK);
    assert_string_equal(answer.reference->repo_id, "k/low");
    kn_trace_free(trace);
    kn_mapping_unref(first);
    kn_mapping_unref(second);
    kn_mapping_unref(third);
}

static void test_wrong_use(void **state)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT, bare = {0};
    (void)state;
    assert_int_equal(kn_mapping_find(NULL, "A", KN_DEVICE_CPU, 1, I, &answer, NULL, NULL), KN_OK);
    assert_int_equal(answer.found, KN_FOUND_NO_LAYER);
    assert_int_equal(kn_mapping_find(NULL, "A", KN_DEVICE_CPU, 1, F, &answer, NULL, &err),
                     KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "can only be used to register kernel mappings"));
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_find(NULL, NULL, KN_DEVICE_CPU, 1, I, &answer, NULL, &err),
                     KN_ERR_INVALID);
    kn_error_dispose(&err);
    assert_int_equal(kn_mapping_find(NULL, "A", KN_DEVICE_CPU, 1, I, &bare, NULL, &err),
                     KN_ERR_INVALID);
    assert_non_null(strstr(kn_error_text(&err), "KN_MAPPING_ANSWER_INIT"));
    kn_error_dispose(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),     cmocka_unit_test(test_join_model),
        cmocka_unit_test(test_examples),  cmocka_unit_test(test_ties),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
