// The model against transformers on the same file: greedy tokens and a sample of the logits at each step. Without an argument
// a few steps; "long" the whole comparison; "kernels" as second argument: with the first-party packages of this build.

#include "model.h"

#include "support.h"
#include <cblas.h>
#include <kernels/kernels.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Sums of 576 to 1536 products in another order, 30 layers deep: measured are 1.4e-4 on logits of up to 35.
static const double TOLERANCE = 1e-3;

static bool is_long;
static bool with_kernels;

static llama_weights weights;

static int read_weights(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    gguf_file *file = open_model();
    openblas_set_num_threads(2);
    if (llama_weights_read(file, &weights, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    gguf_close(file);
    return 0;
}

static int dispose_weights(void **state)
{
    (void)state;
    llama_weights_dispose(&weights);
    return 0;
}

static int32_t *ids_of(const json_t *array)
{
    int32_t *ids = calloc(json_array_size(array), sizeof(*ids));
    assert_non_null(ids);
    for (size_t i = 0; i < json_array_size(array); ++i)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

// The sample: the largest logit, then every `every`th. Returns the largest difference.
static double compare_logits(const json_t *sample, size_t every, const float *logits)
{
    double largest = 0;
    float best = logits[0];
    for (int64_t i = 1; i < weights.config.n_vocab; ++i)
        best = logits[i] > best ? logits[i] : best;
    assert_int_equal(json_array_size(sample), 1 + (size_t)weights.config.n_vocab / every);
    for (size_t i = 0; i < json_array_size(sample); ++i) {
        const double came = i == 0 ? (double)best : (double)logits[(i - 1) * every];
        const double d = fabs(came - json_number_value(json_array_get(sample, i)));
        assert_true(isfinite(d));
        largest = d > largest ? d : largest;
    }
    return largest;
}

#define CHECK(call)                                                                                \
    do {                                                                                           \
        if ((call) != KN_OK)                                                                       \
            fail_msg("%s", kn_error_text(&err));                                                   \
    } while (0)

// Binds this build's packages to every extensible layer of the model; all must take.
static kn_context *kernelize(llama_model *model)
{
    kn_error err = KN_ERROR_INIT;
    kn_context *context = NULL;
    kn_mapping *mapping = NULL;
    kn_plan *plan = NULL;
    const kn_entry entries[] = {
        {.struct_size = sizeof(kn_entry),
         .layer = "RMSNorm",
         .device = "cpu",
         .path = LLAMA_TEST_PACKAGES "/normalization"},
        {.struct_size = sizeof(kn_entry),
         .layer = "SiluAndMul",
         .device = "cpu",
         .path = LLAMA_TEST_PACKAGES "/activation"},
        {.struct_size = sizeof(kn_entry),
         .layer = "rotary_pos_emb",
         .device = "cpu",
         .path = LLAMA_TEST_PACKAGES "/rotary"},
    };
    CHECK(kn_context_open(NULL, &context, &err));
    CHECK(kn_mapping_with(NULL, entries, KN_LEN(entries), &mapping, &err));
    CHECK(kn_kernelize(context, llama_model_root(model),
                       KN_KERNELIZE_OPTIONS(.mode = KN_MODE_INFERENCE, .mapping = mapping,
                                            .fallback = KN_FALLBACK_NONE),
                       &plan, &err));
    assert_int_equal(kn_plan_outcome_count(plan, KN_OUTCOME_KERNEL),
                     (size_t)(4 * weights.config.n_layers + 1));
    kn_plan_free(plan);
    kn_mapping_unref(mapping);
    return context;
}

static double run_reference(llama_model *model, const json_t *reference, size_t every)
{
    kn_error err = KN_ERROR_INIT;
    const json_t *steps = json_object_get(reference, "steps");
    const json_t *prompt = json_object_get(reference, "prompt");
    const json_t *tokens = json_object_get(reference, "tokens");
    int32_t *ids = ids_of(prompt), *wanted = ids_of(tokens);
    int64_t n = (int64_t)json_array_size(prompt);
    const int32_t *next = ids;
    double largest = 0;
    llama_model_reset(model);
    for (size_t i = 0; i < json_array_size(steps); ++i) {
        const float *logits;
        int32_t id;
        CHECK(llama_model_forward(model, next, n, &logits, &err));
        const double d = compare_logits(json_array_get(steps, i), every, logits);
        largest = d > largest ? d : largest;
        CHECK(llama_greedy(logits, weights.config.n_vocab, &id, &err));
        assert_int_equal(id, wanted[i]);
        next = &wanted[i];
        n = 1;
    }
    free(ids);
    free(wanted);
    return largest;
}

static void test_reference(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    llama_model *model = NULL;
    json_t *fixture = read_fixture("generation.json"), *reference;
    const size_t every = (size_t)json_integer_value(json_object_get(fixture, "every"));
    size_t i;
    CHECK(llama_model_new(&weights, 1024, &model, &err));
    kn_context *context = with_kernels ? kernelize(model) : NULL;
    const json_t *list = json_object_get(fixture, is_long ? "long" : "quick");
    assert_true(json_array_size(list) > 0);
    json_array_foreach(list, i, reference)
    {
        const double largest = run_reference(model, reference, every);
        print_message("  prompt of %zu tokens, %zu steps: largest difference of the logits %.2g\n",
                      json_array_size(json_object_get(reference, "prompt")),
                      json_array_size(json_object_get(reference, "steps")), largest);
        assert_true(largest <= TOLERANCE);
    }
    llama_model_free(model);
    kn_context_close(context);
    json_decref(fixture);
}

// Token by token or at once, across the boundary of batches: the same logits.
static void test_batches(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    llama_model *model = NULL;
    enum { N = 131, HEAD = 3 };
    int32_t ids[N];
    const float *logits;
    for (int32_t i = 0; i < N; ++i)
        ids[i] = 1000 + 37 * i;
    float *first = malloc((size_t)weights.config.n_vocab * sizeof(float));
    assert_non_null(first);
    CHECK(llama_model_new(&weights, N, &model, &err));
    CHECK(llama_model_forward(model, ids, N, &logits, &err));
    memcpy(first, logits, (size_t)weights.config.n_vocab * sizeof(float));
    llama_model_reset(model);
    CHECK(llama_model_forward(model, ids, N - HEAD, &logits, &err));
    for (int32_t i = N - HEAD; i < N; ++i)
        CHECK(llama_model_forward(model, ids + i, 1, &logits, &err));
    for (int64_t i = 0; i < weights.config.n_vocab; ++i)
        assert_true(fabsf(first[i] - logits[i]) <= (float)TOLERANCE);
    free(first);

    assert_failure(llama_model_forward(model, ids, 1, &logits, &err), &err, KN_ERR_INVALID,
                   "accepted are 1 to 0", NULL);
    llama_model_reset(model);
    ids[1] = (int32_t)weights.config.n_vocab;
    assert_failure(llama_model_forward(model, ids, 2, &logits, &err), &err, KN_ERR_INVALID,
                   "token 49152", "accepted are 0 to 49151");
    llama_model_free(model);
    model = NULL;
    assert_failure(llama_model_new(&weights, 8193, &model, &err), &err, KN_ERR_INVALID,
                   "8193 tokens", "1 to 8192");
    assert_null(model);
}

static void test_greedy(void **state)
{
    (void)state;
    kn_error err = KN_ERROR_INIT;
    int32_t id = -1;
    const float ties[] = {-1.0f, 3.0f, 3.0f, -INFINITY}, broken[] = {1.0f, NAN};
    assert_int_equal(llama_greedy(ties, 4, &id, &err), KN_OK);
    assert_int_equal(id, 1);
    assert_failure(llama_greedy(broken, 2, &id, &err), &err, KN_ERR_FORMAT, "token 1",
                   "not a number");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_greedy),
    };
    is_long = argc > 1 && strcmp(argv[1], "long") == 0;
    with_kernels = argc > 2 && strcmp(argv[2], "kernels") == 0;
    return cmocka_run_group_tests(tests, read_weights, dispose_weights);
}
