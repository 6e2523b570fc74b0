// The arguments that a kernel gets, forward and backward; and that a call takes no memory.
#include "layer/values.h"
#include "support/fail_alloc.h"

static void assert_tensor(const TVMFFIAny *arg, const DLTensor *t)
{
    assert_int_equal(arg->type_index, kTVMFFIDLTensorPtr);
    assert_int_equal(arg->zero_padding, 0);
    const DLTensor *got = arg->v_ptr;
    assert_ptr_equal(got->data, t->data);
    assert_int_equal(got->byte_offset, t->byte_offset);
    assert_int_equal(got->ndim, t->ndim);
    assert_non_null(got->strides);
    int64_t stride = 1;
    for (int32_t i = t->ndim - 1; i >= 0; --i) {
        assert_int_equal(got->shape[i], t->shape[i]);
        assert_int_equal(got->strides[i], t->strides ? t->strides[i] : stride);
        stride *= t->shape[i];
    }
}

static void test_forward(void **state)
{
    (void)state;
    kn_layer *layer =
        parse_layer(KN_LAYER_SPEC(.signature = "(x: f32 rows[..., h], mask?: bool [h], n: int = 7, "
                                               "scale: float = 2, on: bool = true) "
                                               "-> (y: like x)",
                                  .members = "weight?: f32 [h], eps: float = 1e-6, bias?: f32 [h]",
                                  .forward = "f(y, x, mask, n, scale, on, self.weight, self.eps, "
                                             "self.bias, -3, 0.5e-1, true, none, x)"));
    call c;
    kni_call_frame frame;
    memset(&frame, 0x5a, sizeof(frame));
    read_call(&c, "f32[2, 4]{8, 1}; none; int -1; int 3", "none; int 1; f32[4]", "f32[2, 4]+8");
    c.inputs.values[2].zero = 99; // rubbish of the caller's
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, NULL), KN_FITS);
    assert_int_equal(frame.n_args, 14);
    assert_int_equal(frame.n_tensors, 2); // y and bias came without strides
    assert_tensor(&frame.args[0], &c.outputs.tensors[0]);
    assert_tensor(&frame.args[1], &c.inputs.tensors[0]);
    assert_ptr_equal(frame.args[1].v_ptr, &c.inputs.tensors[0]); // had its strides: passed as it is
    assert_int_equal(frame.args[2].type_index, kTVMFFINone);
    assert_int_equal(frame.args[2].v_int64, 0);
    assert_int_equal(frame.args[3].type_index, kTVMFFIInt);
    assert_int_equal(frame.args[3].zero_padding, 0);
    assert_int_equal(frame.args[3].v_int64, -1);
    assert_int_equal(frame.args[4].type_index, kTVMFFIFloat); // an int became a float
    assert_true(frame.args[4].v_float64 == 3.0);
    assert_int_equal(frame.args[5].type_index, kTVMFFIBool); // the default
    assert_int_equal(frame.args[5].v_int64, 1);
    assert_int_equal(frame.args[6].type_index, kTVMFFINone);
    assert_int_equal(frame.args[7].type_index, kTVMFFIFloat);
    assert_true(frame.args[7].v_float64 == 1.0);
    assert_tensor(&frame.args[8], &c.members.tensors[2]);
    assert_int_equal(frame.args[9].v_int64, -3);
    assert_true(frame.args[10].v_float64 == 0.05);
    assert_int_equal(frame.args[11].type_index, kTVMFFIBool);
    assert_int_equal(frame.args[12].type_index, kTVMFFINone);
    assert_ptr_equal(frame.args[13].v_ptr, &c.inputs.tensors[0]);

    // Refused: nothing to call with, and the reason.
    kn_mismatch m;
    c.args.outputs = NULL;
    c.args.n_outputs = 0;
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, &m), KN_MISMATCH_COUNT);
    assert_int_equal(m.list, KN_PARAM_OUTPUT);
    assert_int_equal(m.wanted, 1);
    assert_int_equal(frame.n_args, 0);
    read_call(&c, "f16[2, 4]", "", "f32[2, 4]");
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, &m), KN_MISMATCH_DTYPE);
    assert_int_equal(frame.n_args, 0);
    kn_layer_unref(layer);
}

static void test_no_dimensions(void **state)
{
    (void)state;
    kn_layer *layer =
        parse_layer(KN_LAYER_SPEC(.signature = "(x: f32 []) -> (y: like x)", .forward = "f(y, x)"));
    call c;
    kni_call_frame frame;
    read_call(&c, "f32[]", NULL, "f32[]");
    c.inputs.tensors[0].shape = NULL; // as DLPack allows
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, NULL), KN_FITS);
    assert_non_null(((const DLTensor *)frame.args[1].v_ptr)->strides);
    kn_layer_unref(layer);
}

// ---- backward -----------------------------------------------------------------------------------------------------

#define NORM                                                                                       \
    .signature =                                                                                   \
        "(x: f32|f16 rows[..., h], n: int) -> (y: promote(x, weight) [..., h], r: like x)",        \
    .members = "weight: f32|f16 [h], bias?: f32 [h]", .forward = "f(y, r, x, self.weight)",        \
    .backward_signature = "(dy, dr?: x.dtype rows[..., h]) -> "                                    \
                          "(dx may alias dr, d.weight?: f32 [h], d.bias)",                         \
    .backward = "g(dx, d.weight, d.bias, dy, dr, x, y, self.weight, n)"

static const struct {
    const char *name, *inputs, *members, *outputs, *grads_in, *grads_out;
    kn_mismatch_reason reason;
    const char *sentence;
} backward_rows[] = {
    {"all", "f16[3, 4]; int 1", "f32[4]; f32[4]", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; f16[3, 4]{9, 1}", "f16[3, 4]; f32[4]; f32[4]", KN_FITS, NULL},
    {"what is optional is none", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", "f16[3, 4]; none; none", KN_FITS, NULL},
    {"the gradient is written over", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; f16[3, 4]{9, 1}@1000", "f16[3, 4]{9, 1}@1000; none; none", KN_FITS, NULL},
    {"no results are saved", "f16[3, 4]; int 1", "f32[4]; none", NULL, "f32[3, 4]; none",
     "f16[3, 4]; none; none", KN_MISMATCH_COUNT, "0 results, accepted 2"},
    {"no gradients to write", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", NULL, KN_MISMATCH_COUNT, "0 gradients, accepted 3"},
    {"gradient of what is none", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", "f16[3, 4]; none; f32[4]", KN_MISMATCH_KIND,
     "gradient d.bias: a tensor, accepted none: bias is none"},
    {"gradient of another dtype", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f16[3, 4]; none", "f16[3, 4]; none; none", KN_MISMATCH_DTYPE,
     "gradient dy: dtype f16, accepted f32, the result type of x (f16) and weight (f32)"},
    {"expanded gradient", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]{0, 0}; none", "f16[3, 4]; none; none", KN_MISMATCH_LAYOUT,
     "gradient dy: shape [3, 4] with strides [0, 0], accepted contiguous ones"},
    {"missing gradient", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]", "none; none",
     "f16[3, 4]; none; none", KN_MISMATCH_KIND, "gradient dy: none, accepted a tensor"},
    {"missing result", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", "none; none; none", KN_MISMATCH_KIND,
     "gradient dx: none, accepted a tensor"},
    {"gradients overlap", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]@1000; none", "f16[3, 4]; f32[4]@1000; none", KN_MISMATCH_OVERLAP,
     "gradient d.weight: overlaps the gradient dy, accepted memory of its own"},
    {"gradients in one place", "f16[3, 4]; int 1", "f32[4]; f32[4]", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", "f16[3, 4]; f32[4]@1000; f32[4]@1000", KN_MISMATCH_OVERLAP,
     "gradient d.bias: overlaps the gradient d.weight, accepted memory of its own"},
    {"too few gradients", "f16[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]", "f32[3, 4]",
     "f16[3, 4]; none; none", KN_MISMATCH_COUNT, "1 gradients, accepted 2"},
    {"forward that does not fit", "f64[3, 4]; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]",
     "f32[3, 4]; none", "f16[3, 4]; none; none", KN_MISMATCH_DTYPE,
     "argument x: dtype f64, accepted f16|f32"},
};

static void test_backward(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(NORM));
    for (size_t i = 0; i < KN_LEN(backward_rows); ++i) {
        call c;
        values in, out;
        kni_call_frame frame;
        kn_mismatch m;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", backward_rows[i].name);
        read_call(&c, backward_rows[i].inputs, backward_rows[i].members, backward_rows[i].outputs);
        read_values(&in, backward_rows[i].grads_in, 4);
        read_values(&out, backward_rows[i].grads_out, 5);
        const kni_backward_args args = {
            .forward = c.args,
            .grads_in = in.values,
            .grads_out = backward_rows[i].grads_out ? out.values : NULL,
            .n_grads_in = in.n,
            .n_grads_out = out.n,
        };
        const kn_mismatch_reason reason = kni_layer_prepare_backward(layer, &args, &frame, &m);
        if (reason != KN_FITS) {
            assert_int_equal(kni_mismatch_describe_backward(layer, &args, &m, &err),
                             KN_ERR_ARGUMENTS);
            assert_string_equal(kn_error_text(&err), backward_rows[i].sentence);
            assert_int_equal(frame.n_args, 0);
        } else {
            assert_int_equal(frame.n_args, 9);
            assert_tensor(&frame.args[0], &out.tensors[0]);
            assert_tensor(&frame.args[3], &in.tensors[0]);
            assert_tensor(&frame.args[6], &c.outputs.tensors[0]);
            assert_int_equal(frame.args[1].type_index, out.values[1].type);
            assert_int_equal(frame.args[4].type_index, in.values[1].type);
            assert_int_equal(frame.args[8].v_int64, 1);
        }
        assert_int_equal(reason, backward_rows[i].reason);
        kn_error_dispose(&err);
    }
    kn_layer_unref(layer);
}

static void test_infer_backward(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(NORM));
    call c;
    values in;
    kn_tensor_type types[3];
    kn_mismatch m;
    read_call(&c, "f16[3, 4]{9, 1}; int 1", "f32[4]; none", "f32[3, 4]; f16[3, 4]");
    read_values(&in, "f32[3, 4]; none", 4);
    kni_backward_args args = {.forward = c.args, .grads_in = in.values, .n_grads_in = in.n};
    assert_int_equal(kni_layer_infer_backward(layer, &args, types, &m), KN_FITS);
    assert_int_equal(types[0].ndim, 2);
    assert_int_equal(types[0].strides[0], 4);
    assert_string_equal(kn_dtype_name(types[0].dtype), "f16");
    assert_string_equal(kn_dtype_name(types[1].dtype), "f32");
    assert_int_equal(types[1].shape[0], 4);
    assert_int_equal(types[2].ndim, -1); // there is no bias
    args.n_grads_in = 1;
    assert_int_equal(kni_layer_infer_backward(layer, &args, types, &m), KN_MISMATCH_COUNT);
    kn_layer_unref(layer);
}

// ---- memory -------------------------------------------------------------------------------------------------------

static void test_a_call_takes_no_memory(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(NORM));
    call c;
    values in, out;
    kni_call_frame frame;
    kn_mismatch m;
    kn_tensor_type types[3];
    read_call(&c, "f16[3, 4]; int 1", "f32[4]; f32[4]", "f32[3, 4]; f16[3, 4]");
    read_values(&in, "f32[3, 4]; f16[3, 4]", 4);
    read_values(&out, "f16[3, 4]; f32[4]; f32[4]", 5);
    const kni_backward_args args = {c.args, in.values, out.values, in.n, out.n};
    fail_alloc_install(FAIL_ALL, 1, true); // the first allocation and all after it fail
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_FITS);
    assert_int_equal(kn_layer_infer(layer, &c.args, types, &m), KN_FITS);
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, &m), KN_FITS);
    assert_int_equal(kni_layer_prepare_backward(layer, &args, &frame, &m), KN_FITS);
    c.inputs.tensors[0].dtype.bits = 64;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_DTYPE);
    assert_int_equal(kni_layer_prepare(layer, &c.args, &frame, &m), KN_MISMATCH_DTYPE);
    assert_false(fail_alloc_remove()); // none was asked for
    kn_layer_unref(layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_no_dimensions),
        cmocka_unit_test(test_backward),
        cmocka_unit_test(test_infer_backward),
        cmocka_unit_test(test_a_call_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
