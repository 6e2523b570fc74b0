// Calls that fit and calls that do not: reason, place and sentence of each.
#include "layer/values.h"

#define GLU "(x: f32|f16|bf16 rows[..., 2*d]) -> (y: x.dtype [..., d])"
#define NORM "(hidden_states as x: f32|f16 rows[..., h]) -> (y: promote(x, weight) [..., h])"
#define WEIGHT "weight: f32|f16|bf16 [h], eps: float = 1e-6"
#define ROTARY                                                                                     \
    "(q: f32|f16 strided[b, s, hq, d], k: q.dtype strided[b, s, hk, d], cos: f32 [b|1, s, d]) "    \
    "-> (q_out: like q, k_out: like k)"
#define SHARED                                                                                     \
    "(x: f32 rows[n, d], r: f32 [n, d]) -> (y: like x may alias x, s: f32 [n, d] may alias r)"
#define SCALARS                                                                                    \
    "(x: f32 [d], i: int = 3, e: float = 0.5, b: bool = false, one: int == 1 = 1, m?: bool [d]) "  \
    "-> (y: like x)"

// `sentence` NULL: the call fits.
static const struct {
    const char *signature, *members, *inputs, *member_values, *outputs;
    kn_mismatch_reason reason;
    kn_param_list list;
    uint32_t index;
    int32_t dim;
    const char *sentence;
} rows[] = {
    // Fits.
    {GLU, NULL, "f32[3, 8]", NULL, NULL, KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[3, 8]", NULL, "f32[3, 4]", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "bf16[8]", NULL, "bf16[4]", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[2, 3, 8]{300, 100, 1}", NULL, "f32[2, 3, 4]{12, 4, 1}", KN_FITS, 0, 0, -1,
     NULL},
    {GLU, NULL, "f32[2, 3, 8]{0, 0, 1}", NULL, NULL, KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[2, 1, 8]{100, 7, 1}", NULL, NULL, KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[1, 2, 8]{7, 100, 1}", NULL, "f32[1, 2, 4]{99, 4, 1}", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[0, 8]{5, 5}@0", NULL, "f32[0, 4]{9, 9}@0", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[3, 0]@0", NULL, "f32[3, 0]@0", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[3, 8] cuda:1", NULL, "f32[3, 4] cuda:1", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[4611686018427387904, 4611686018427387904, 0]", NULL, NULL, KN_FITS, 0, 0, -1,
     NULL},
    {NORM, WEIGHT, "f16[3, 8]", "f16[8]; float 1e-5", "f16[3, 8]", KN_FITS, 0, 0, -1, NULL},
    {NORM, WEIGHT, "f16[3, 8]", "f32[8]; int 1", "f32[3, 8]", KN_FITS, 0, 0, -1, NULL},
    {NORM, WEIGHT, "f16[3, 8]", "f32[8]", "f32[3, 8]", KN_FITS, 0, 0, -1, NULL},
    {NORM, WEIGHT, "f16[3, 8]", "f32[8]; none", "f32[3, 8]", KN_FITS, 0, 0, -1, NULL},
    {ROTARY, NULL, "f32[2, 5, 4, 8]{160, 8, 40, 1}; f32[2, 5, 1, 8]; f32[1, 5, 8]", NULL,
     "f32[2, 5, 4, 8]{160, 8, 40, 1}; f32[2, 5, 1, 8]", KN_FITS, 0, 0, -1, NULL},
    {ROTARY, NULL, "f32[2, 5, 4, 8]; f32[2, 5, 1, 8]; f32[2, 5, 8]", NULL, NULL, KN_FITS, 0, 0, -1,
     NULL},
    {SHARED, NULL, "f32[2, 3]{9, 1}@1000; f32[2, 3]@2000", NULL,
     "f32[2, 3]{9, 1}@1000; f32[2, 3]@2000", KN_FITS, 0, 0, -1, NULL},
    {SHARED, NULL, "f32[2, 3]{9, 1}@1000; f32[2, 3]@2000", NULL,
     "f32[2, 3]@3000; f32[2, 3]{3, 1}@2000", KN_FITS, 0, 0, -1, NULL},
    {SCALARS, NULL, "f32[4]", NULL, NULL, KN_FITS, 0, 0, -1, NULL},
    {SCALARS, NULL, "f32[4]; int 1; int 2; bool 1; int 1; bool[4]", NULL, "f32[4]", KN_FITS, 0, 0,
     -1, NULL},
    {SCALARS, NULL, "f32[4]; int 1; float 2; bool 0; int 1; none", NULL, NULL, KN_FITS, 0, 0, -1,
     NULL},
    {"(x: f32 [d+1], z: f32 [2*d-1]) -> (y: f32 [3*d+2])", NULL, "f32[5]; f32[7]", NULL, "f32[14]",
     KN_FITS, 0, 0, -1, NULL},
    {"(x: f32 []) -> (y: f32 [])", NULL, "f32[]", NULL, "f32[]", KN_FITS, 0, 0, -1, NULL},
    {"(x: f32 [b, ..., d]) -> (y: f32 [d, ..., b])", NULL, "f32[2, 7, 8, 3]", NULL,
     "f32[3, 7, 8, 2]", KN_FITS, 0, 0, -1, NULL},
    {"(x: any [d]) -> (y: like x)", NULL, "f8_e5m2[4]", NULL, "f8_e5m2[4]", KN_FITS, 0, 0, -1,
     NULL},
    {"(m?: f32 [d], x: f32 [d]) -> (y: like x)", NULL, "none; f32[4]", NULL, "f32[4]", KN_FITS, 0,
     0, -1, NULL},
    {"(x: f32 strided[n, d]) -> (y: f32 [n, d])", NULL, "f32[2, 3]{-5, 1}+20", NULL, NULL, KN_FITS,
     0, 0, -1, NULL},

    // Numbers of arguments.
    {GLU, NULL, "", NULL, NULL, KN_MISMATCH_COUNT, KN_PARAM_INPUT, 0, -1,
     "0 arguments, accepted 1"},
    {GLU, NULL, "f32[8]; f32[8]", NULL, NULL, KN_MISMATCH_COUNT, KN_PARAM_INPUT, 0, -1,
     "2 arguments, accepted 1"},
    {GLU, NULL, "f32[8]", NULL, "f32[4]; f32[4]", KN_MISMATCH_COUNT, KN_PARAM_OUTPUT, 0, -1,
     "2 results, accepted 1"},
    {SCALARS, NULL, "", NULL, NULL, KN_MISMATCH_COUNT, KN_PARAM_INPUT, 0, -1,
     "0 arguments, accepted 1 to 6"},
    {GLU, NULL, "f32[8]", "f32[4]", NULL, KN_MISMATCH_COUNT, KN_PARAM_MEMBER, 0, -1,
     "1 members, accepted 0"},

    // Kinds.
    {GLU, NULL, "int 3", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 0, -1,
     "argument x: an int, accepted a tensor"},
    {GLU, NULL, "none", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 0, -1,
     "argument x: none, accepted a tensor"},
    {GLU, NULL, "f32[8]", NULL, "none", KN_MISMATCH_KIND, KN_PARAM_OUTPUT, 0, -1,
     "result y: none, accepted a tensor"},
    {SCALARS, NULL, "f32[4]; bool 1", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 1, -1,
     "argument i: a bool, accepted an int"},
    {SCALARS, NULL, "f32[4]; float 1", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 1, -1,
     "argument i: a float, accepted an int"},
    {SCALARS, NULL, "f32[4]; none", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 1, -1,
     "argument i: none, accepted an int"},
    {SCALARS, NULL, "f32[4]; int 1; bool 1", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 2, -1,
     "argument e: a bool, accepted a float or an int"},
    {SCALARS, NULL, "f32[4]; int 1; int 1; int 1", NULL, NULL, KN_MISMATCH_KIND, KN_PARAM_INPUT, 3,
     -1, "argument b: an int, accepted a bool"},
    {SCALARS, NULL, "f32[4]; int 1; int 1; bool 1; int 1; int 1", NULL, NULL, KN_MISMATCH_KIND,
     KN_PARAM_INPUT, 5, -1, "argument m: an int, accepted a tensor or none"},
    {NORM, WEIGHT, "f16[3, 8]", "int 1; float 1", NULL, KN_MISMATCH_KIND, KN_PARAM_MEMBER, 0, -1,
     "member weight: an int, accepted a tensor"},

    // Dtypes.
    {GLU, NULL, "f64[8]", NULL, NULL, KN_MISMATCH_DTYPE, KN_PARAM_INPUT, 0, -1,
     "argument x: dtype f64, accepted f16|bf16|f32"},
    {GLU, NULL, "c64[8]", NULL, NULL, KN_MISMATCH_DTYPE, KN_PARAM_INPUT, 0, -1,
     "argument x: dtype of code 5, 64 bits, 1 lanes, accepted f16|bf16|f32"},
    {GLU, NULL, "f32[8]", NULL, "f16[4]", KN_MISMATCH_DTYPE, KN_PARAM_OUTPUT, 0, -1,
     "result y: dtype f16, accepted f32, that of x"},
    {NORM, WEIGHT, "f16[3, 8]", "f32[8]", "f16[3, 8]", KN_MISMATCH_DTYPE, KN_PARAM_OUTPUT, 0, -1,
     "result y: dtype f16, accepted f32, the result type of hidden_states (f16) and weight (f32)"},
    {ROTARY, NULL, "f32[2, 5, 4, 8]; f16[2, 5, 1, 8]; f32[2, 5, 8]", NULL, NULL, KN_MISMATCH_DTYPE,
     KN_PARAM_INPUT, 1, -1, "argument k: dtype f16, accepted f32, that of q"},
    {ROTARY, NULL, "f32[2, 5, 4, 8]; f32[2, 5, 1, 8]; f32[2, 5, 8]", NULL,
     "f16[2, 5, 4, 8]; f32[2, 5, 1, 8]", KN_MISMATCH_DTYPE, KN_PARAM_OUTPUT, 0, -1,
     "result q_out: dtype f16, accepted f32, that of q"},
    {"(x: any [d], z: any [d]) -> (y: promote(x, z) [d])", NULL, "f16[4]; f8_e5m2[4]", NULL,
     "f16[4]", KN_MISMATCH_DTYPE, KN_PARAM_OUTPUT, 0, -1,
     "result y: dtype f16, accepted dtypes that promote, not x (f16) and z (f8_e5m2)"},

    // Ranks.
    {NORM, WEIGHT, "f32[]", "f32[8]", NULL, KN_MISMATCH_RANK, KN_PARAM_INPUT, 0, -1,
     "argument hidden_states: shape [] has 0 dimensions, accepted 1 or more: f32|f16 rows[..., h]"},
    {NORM, WEIGHT, "f32[8]", "f32[1, 8]", NULL, KN_MISMATCH_RANK, KN_PARAM_MEMBER, 0, -1,
     "member weight: shape [1, 8] has 2 dimensions, accepted 1: f32|f16|bf16 [h]"},
    {GLU, NULL, "f32[1, 1, 1, 1, 1, 1, 1, 1, 8]", NULL, NULL, KN_MISMATCH_RANK, KN_PARAM_INPUT, 0,
     -1, "argument x: 9 dimensions, accepted 0 to 8"},
    {GLU, NULL, "f32[3, 8]", NULL, "f32[4]", KN_MISMATCH_RANK, KN_PARAM_OUTPUT, 0, -1,
     "result y: shape [4] has 1 dimensions, accepted 2: x.dtype [..., d]"},
    {SCALARS, NULL, "f32[4]", NULL, "f32[4, 1]", KN_MISMATCH_RANK, KN_PARAM_OUTPUT, 0, -1,
     "result y: shape [4, 1] has 2 dimensions, accepted 1: like x"},

    // Shapes.
    {GLU, NULL, "f32[3, 5]", NULL, NULL, KN_MISMATCH_SHAPE, KN_PARAM_INPUT, 0, 1,
     "argument x: shape [3, 5], dimension 1 is 5, accepted 2*d: a multiple of 2"},
    {GLU, NULL, "f32[3, -2]", NULL, NULL, KN_MISMATCH_SHAPE, KN_PARAM_INPUT, 0, 1,
     "argument x: shape [3, -2], dimension 1 is -2, accepted 0 or more"},
    {GLU, NULL, "f32[3, 8]", NULL, "f32[3, 8]", KN_MISMATCH_SHAPE, KN_PARAM_OUTPUT, 0, 1,
     "result y: shape [3, 8], dimension 1 is 8, accepted d: 4"},
    {GLU, NULL, "f32[3, 8]", NULL, "f32[2, 4]", KN_MISMATCH_SHAPE, KN_PARAM_OUTPUT, 0, 0,
     "result y: shape [2, 4], dimension 0 is 2, accepted 3 as '...' before it"},
    {NORM, WEIGHT, "f32[3, 8]", "f32[4]", NULL, KN_MISMATCH_SHAPE, KN_PARAM_MEMBER, 0, 0,
     "member weight: shape [4], dimension 0 is 4, accepted h: 8"},
    {ROTARY, NULL, "f32[2, 5, 4, 8]; f32[2, 5, 1, 8]; f32[3, 5, 8]", NULL, NULL, KN_MISMATCH_SHAPE,
     KN_PARAM_INPUT, 2, 0, "argument cos: shape [3, 5, 8], dimension 0 is 3, accepted b: 2 or 1"},
    {SCALARS, NULL, "f32[4]", NULL, "f32[5]", KN_MISMATCH_SHAPE, KN_PARAM_OUTPUT, 0, 0,
     "result y: shape [5], dimension 0 is 5, accepted 4 as in x"},
    {"(x: f32 [d+2]) -> (y: f32 [d])", NULL, "f32[1]", NULL, NULL, KN_MISMATCH_SHAPE,
     KN_PARAM_INPUT, 0, 0, "argument x: shape [1], dimension 0 is 1, accepted d+2: 2 or more"},
    {"(x: f32 [2*d+2]) -> (y: f32 [d])", NULL, "f32[0]", NULL, NULL, KN_MISMATCH_SHAPE,
     KN_PARAM_INPUT, 0, 0,
     "argument x: shape [0], dimension 0 is 0, accepted 2*d+2 with d 0 or more"},
    {"(x: f32 [2*d-1]) -> (y: f32 [d])", NULL, "f32[4]", NULL, NULL, KN_MISMATCH_SHAPE,
     KN_PARAM_INPUT, 0, 0,
     "argument x: shape [4], dimension 0 is 4, accepted 2*d-1 with d 0 or more"},
    {"(x: f32 [3]) -> (y: like x)", NULL, "f32[4]", NULL, NULL, KN_MISMATCH_SHAPE, KN_PARAM_INPUT,
     0, 0, "argument x: shape [4], dimension 0 is 4, accepted 3"},
    {"(x: f32 [2147483647*d, d]) -> (y: like x)", NULL, "f32[0, 9223372036854775807]", NULL, NULL,
     KN_MISMATCH_SHAPE, KN_PARAM_INPUT, 0, 0,
     "argument x: shape [0, 9223372036854775807], dimension 0 is 0, accepted 2147483647*d: a "
     "multiple of 2147483647"},

    // Layouts.
    {GLU, NULL, "f32[3, 8]{1, 3}", NULL, NULL, KN_MISMATCH_LAYOUT, KN_PARAM_INPUT, 0, 1,
     "argument x: shape [3, 8] with strides [1, 3], accepted rows: the last dimension contiguous, "
     "one stride for "
     "all others"},
    {GLU, NULL, "f32[2, 3, 8]{8, 16, 1}", NULL, NULL, KN_MISMATCH_LAYOUT, KN_PARAM_INPUT, 0, 0,
     NULL},
    {GLU, NULL, "f32[3, 8]", NULL, "f32[3, 4]{8, 1}", KN_MISMATCH_LAYOUT, KN_PARAM_OUTPUT, 0, 0,
     "result y: shape [3, 4] with strides [8, 1], accepted contiguous ones"},
    {ROTARY, NULL, "f32[2, 5, 4, 8]{160, 32, 1, 4}; f32[2, 5, 1, 8]; f32[2, 5, 8]", NULL, NULL,
     KN_MISMATCH_LAYOUT, KN_PARAM_INPUT, 0, 3,
     "argument q: shape [2, 5, 4, 8] with strides [160, 32, 1, 4], accepted strided: the last "
     "dimension "
     "contiguous"},
    {ROTARY, NULL, "f32[2, 5, 4, 8]{160, 8, 40, 1}; f32[2, 5, 1, 8]; f32[1, 5, 8]", NULL,
     "f32[2, 5, 4, 8]; f32[2, 5, 1, 8]", KN_MISMATCH_LAYOUT, KN_PARAM_OUTPUT, 0, 1,
     "result q_out: shape [2, 5, 4, 8] with strides [160, 32, 8, 1], accepted [160, 8, 40, 1], "
     "those of a new "
     "tensor like q"},
    {SHARED, NULL, "f32[2, 3]{9, 1}@1000; f32[2, 3]@2000", NULL,
     "f32[2, 3]{9, 1}@3000; f32[2, 3]@2000", KN_MISMATCH_LAYOUT, KN_PARAM_OUTPUT, 0, 0, NULL},
    {SHARED, NULL, "f32[2, 3]{9, 1}@1000; f32[2, 3]@2000", NULL,
     "f32[2, 3]@3000; f32[2, 3]{4, 1}@2000", KN_MISMATCH_LAYOUT, KN_PARAM_OUTPUT, 1, 0, NULL},

    // Devices.
    {GLU, NULL, "f32[8]", NULL, "f32[4] cuda:0", KN_MISMATCH_DEVICE, KN_PARAM_OUTPUT, 0, -1,
     "result y: on cuda:0, accepted cpu, where the tensors before it are"},
    {GLU, NULL, "f32[8] cuda:0", NULL, "f32[4] cuda:1", KN_MISMATCH_DEVICE, KN_PARAM_OUTPUT, 0, -1,
     "result y: on cuda:1, accepted cuda:0, where the tensors before it are"},

    // Data.
    {GLU, NULL, "f32[3, 8]@0", NULL, NULL, KN_MISMATCH_DATA, KN_PARAM_INPUT, 0, -1,
     "argument x: no data behind shape [3, 8], accepted a pointer to its elements"},

    // Values.
    {SCALARS, NULL, "f32[4]; int 1; int 1; bool 1; int 2", NULL, NULL, KN_MISMATCH_VALUE,
     KN_PARAM_INPUT, 4, -1, "argument one: 2, accepted 1"},
    {"(x: f32 [d], e: float == 0.5, b: bool == true) -> (y: like x)", NULL,
     "f32[4]; float 0.25; bool 1", NULL, NULL, KN_MISMATCH_VALUE, KN_PARAM_INPUT, 1, -1,
     "argument e: 0.25, accepted 0.5"},
    {"(x: f32 [d], e: float == 2, b: bool == true) -> (y: like x)", NULL, "f32[4]; int 2; bool 0",
     NULL, NULL, KN_MISMATCH_VALUE, KN_PARAM_INPUT, 2, -1, "argument b: false, accepted true"},

    // Members.
    {NORM, WEIGHT, "f32[3, 8]", "none; float 1", NULL, KN_MISMATCH_MEMBER, KN_PARAM_MEMBER, 0, -1,
     "member weight: the module has none, accepted f32|f16|bf16 [h]"},
    {NORM, WEIGHT, "f32[3, 8]", "", NULL, KN_MISMATCH_MEMBER, KN_PARAM_MEMBER, 0, -1, NULL},
    {"(x: f32 [d]) -> (y: like x)", "n: int", "f32[3]", "none", NULL, KN_MISMATCH_MEMBER,
     KN_PARAM_MEMBER, 0, -1, "member n: the module has none, accepted int"},

    // Overlaps.
    {GLU, NULL, "f32[3, 8]@1000", NULL, "f32[3, 4]@1000", KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0,
     -1, "result y: overlaps the argument x, accepted memory of its own"},
    {GLU, NULL, "f32[3, 8]@1000", NULL, "f32[3, 4]@105f", KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0,
     -1, NULL},
    {GLU, NULL, "f32[3, 8]@1000", NULL, "f32[3, 4]@1060", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[3, 8]@1030", NULL, "f32[3, 4]@1000", KN_FITS, 0, 0, -1, NULL},
    {GLU, NULL, "f32[3, 8]@102f", NULL, "f32[3, 4]@1000", KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0,
     -1, NULL},
    {GLU, NULL, "f32[3, 8]@1030", NULL, "f32[3, 4]@1000+1", KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0,
     -1, NULL},
    {GLU, NULL, "f32[3, 8]{16, 1}@1000", NULL, "f32[3, 4]@1090", KN_MISMATCH_OVERLAP,
     KN_PARAM_OUTPUT, 0, -1, NULL},
    {GLU, NULL, "f32[3, 8]{16, 1}@1000", NULL, "f32[3, 4]@10a0", KN_FITS, 0, 0, -1, NULL},
    {"(x: f32 strided[n, d]) -> (y: f32 [n, d])", NULL, "f32[2, 3]{-5, 1}@1014", NULL,
     "f32[2, 3]@1008", KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0, -1, NULL},
    {NORM, WEIGHT, "f32[3, 8]", "f32[8]@1000", "f32[3, 8]@1000", KN_MISMATCH_OVERLAP,
     KN_PARAM_OUTPUT, 0, -1, "result y: overlaps the member weight, accepted memory of its own"},
    {SHARED, NULL, "f32[2, 3]@1000; f32[2, 3]@2000", NULL, "f32[2, 3]@1004; f32[2, 3]@2000",
     KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0, -1,
     "result y: overlaps the argument x, accepted memory of its own or exactly x"},
    {SHARED, NULL, "f32[2, 3]@1000; f32[2, 3]@1000", NULL, "f32[2, 3]@1000; f32[2, 3]@3000",
     KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 0, -1, NULL},
    {SHARED, NULL, "f32[2, 3]@1000; f32[2, 3]@2000", NULL, "f32[2, 3]@3000; f32[2, 3]@3000",
     KN_MISMATCH_OVERLAP, KN_PARAM_OUTPUT, 1, -1,
     "result s: overlaps the result y, accepted memory of its own or exactly r"},

    // Overflows.
    {GLU, NULL, "f32[4294967296, 4294967296]", NULL, NULL, KN_MISMATCH_OVERFLOW, KN_PARAM_INPUT, 0,
     -1, "argument x: its size overflows, accepted what fits into memory"},
    {GLU, NULL, "f32[4611686018427387904, 2]{0, 1}", NULL, NULL, KN_MISMATCH_OVERFLOW,
     KN_PARAM_INPUT, 0, -1, NULL},
    {GLU, NULL, "f32[3, 2]{4611686018427387904, 1}", NULL, NULL, KN_MISMATCH_OVERFLOW,
     KN_PARAM_INPUT, 0, -1, NULL},
    {GLU, NULL, "f32[3, 2]@fffffffffffffff8", NULL, NULL, KN_MISMATCH_OVERFLOW, KN_PARAM_INPUT, 0,
     -1, NULL},
    {GLU, NULL, "f32[3, 2]+18446744073709551615", NULL, NULL, KN_MISMATCH_OVERFLOW, KN_PARAM_INPUT,
     0, -1, NULL},
};

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        call c;
        kn_mismatch m;
        kn_error err = KN_ERROR_INIT;
        kn_layer *layer =
            parse_layer(KN_LAYER_SPEC(.signature = rows[i].signature, .members = rows[i].members));
        print_message("  %s: %s, %s -> %s\n", kn_mismatch_reason_text(rows[i].reason),
                      rows[i].inputs, rows[i].member_values ? rows[i].member_values : "-",
                      rows[i].outputs ? rows[i].outputs : "-");
        read_call(&c, rows[i].inputs, rows[i].member_values, rows[i].outputs);
        memset(&m, 0x5a, sizeof(m));
        const kn_mismatch_reason reason = kn_layer_check(layer, &c.args, &m);
        if (reason != KN_FITS)
            kn_mismatch_describe(layer, &c.args, &m, &err);
        if (reason != rows[i].reason)
            fail_msg("%s: %s", kn_mismatch_reason_text(reason), kn_error_text(&err));
        assert_int_equal(m.reason, reason);
        assert_int_equal(m.dim, rows[i].dim);
        assert_int_equal(m.list, rows[i].list);
        assert_int_equal(m.index, rows[i].index);
        if (rows[i].sentence)
            assert_string_equal(kn_error_text(&err), rows[i].sentence);
        assert_int_equal(err.status, reason == KN_FITS ? KN_OK : KN_ERR_ARGUMENTS);
        assert_int_equal(kn_layer_check(layer, &c.args, NULL), reason);
        kn_error_dispose(&err);
        kn_layer_unref(layer);
    }
}

// Every reason has a row above.
static void test_every_reason_is_tested(void **state)
{
    (void)state;
    for (int reason = 0; reason <= KN_MISMATCH_OVERFLOW;
         ++reason) { // the guard's own: others are a host's
        size_t n = 0;
        for (size_t i = 0; i < KN_LEN(rows); ++i)
            n += rows[i].reason == (kn_mismatch_reason)reason;
        print_message("  %s: %zu\n", kn_mismatch_reason_text((kn_mismatch_reason)reason), n);
        assert_true(n > 0);
    }
    assert_string_equal(kn_mismatch_reason_text(KN_MISMATCH_REASONS), "unknown reason");
}

static void test_device_that_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *inputs, *sentence;
        int32_t type;
    } devices[] = {
        {"f32[8]", NULL, kDLCPU},
        {"f32[8] cuda:3", NULL, kDLCUDA},
        {"f32[8] cuda:3", "argument x: on cuda:3, accepted cpu", kDLCPU},
        {"f32[8]", "argument x: on cpu, accepted cuda", kDLCUDA},
        {"f32[8]", "argument x: on cpu, accepted device type 99", 99},
    };
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(.signature = GLU));
    for (size_t i = 0; i < KN_LEN(devices); ++i) {
        call c;
        kn_mismatch m;
        kn_error err = KN_ERROR_INIT;
        read_call(&c, devices[i].inputs, NULL, NULL);
        c.args.dl_device_type = devices[i].type;
        const kn_mismatch_reason reason = kn_layer_check(layer, &c.args, &m);
        assert_int_equal(reason, devices[i].sentence ? KN_MISMATCH_DEVICE : KN_FITS);
        if (devices[i].sentence) {
            kn_mismatch_describe(layer, &c.args, &m, &err);
            assert_string_equal(kn_error_text(&err), devices[i].sentence);
        }
        kn_error_dispose(&err);
    }
    kn_layer_unref(layer);
}

// Headers that no framework makes.
static void test_hostile_headers(void **state)
{
    (void)state;
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(.signature = GLU));
    call c;
    kn_mismatch m;
    kn_error err = KN_ERROR_INIT;
    read_call(&c, "f32[3, 8]", NULL, NULL);
    c.inputs.tensors[0].ndim = -1;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_RANK);
    kn_mismatch_describe(layer, &c.args, &m, &err);
    assert_string_equal(kn_error_text(&err), "argument x: -1 dimensions, accepted 0 to 8");
    kn_error_dispose(&err);

    read_call(&c, "f32[3, 8]", NULL, NULL);
    c.inputs.tensors[0].shape = NULL;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_SHAPE);
    kn_mismatch_describe(layer, &c.args, &m, &err);
    assert_string_equal(kn_error_text(&err),
                        "argument x: 2 dimensions without a shape, accepted one with a shape");
    kn_error_dispose(&err);

    read_call(&c, "f32[3, 8]", NULL, NULL);
    c.inputs.values[0].as.tensor = NULL;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_KIND);
    c.inputs.values[0].type = 70;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_KIND);
    kn_mismatch_describe(layer, &c.args, &m, &err);
    assert_string_equal(kn_error_text(&err), "argument x: a value of type 70, accepted a tensor");
    kn_error_dispose(&err);

    read_call(&c, "f32[3, 8]", NULL, NULL);
    c.inputs.tensors[0].dtype.lanes = 4;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_DTYPE);
    c.inputs.tensors[0].dtype = (DLDataType){200, 32, 1};
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_DTYPE);
    c.inputs.tensors[0].dtype = (DLDataType){kDLFloat, 33, 1};
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_DTYPE);

    c.args.inputs = NULL;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_COUNT);
    c.args.n_inputs = -1;
    assert_int_equal(kn_layer_check(layer, &c.args, &m), KN_MISMATCH_COUNT);
    kn_layer_unref(layer);
}

// A sentence about a refusal that is not of this call says only what is sure.
static void test_describe_strange_refusals(void **state)
{
    (void)state;
    static const kn_mismatch strange[] = {
        {.reason = KN_MISMATCH_SHAPE, .list = KN_PARAM_INPUT, .index = 0, .dim = 7},
        {.reason = KN_MISMATCH_DTYPE, .list = KN_PARAM_INPUT, .index = 9, .dim = -1},
        {.reason = KN_MISMATCH_DTYPE, .list = (kn_param_list)9, .index = 0, .dim = -1},
        {.reason = KN_MISMATCH_LAYOUT, .list = KN_PARAM_OUTPUT, .index = 0, .dim = -1},
        {.reason = (kn_mismatch_reason)77, .list = KN_PARAM_OUTPUT, .index = 0, .dim = -1},
    };
    kn_layer *layer = parse_layer(KN_LAYER_SPEC(.signature = GLU));
    call c;
    read_call(&c, "f32[8]", NULL, NULL);
    for (size_t i = 0; i < KN_LEN(strange); ++i) {
        kn_error err = KN_ERROR_INIT;
        char text[80];
        snprintf(text, sizeof(text), "the arguments do not fit: %s",
                 kn_mismatch_reason_text(strange[i].reason));
        assert_int_equal(kn_mismatch_describe(layer, &c.args, &strange[i], &err), KN_ERR_ARGUMENTS);
        assert_string_equal(kn_error_text(&err), text);
        kn_error_dispose(&err);
    }
    kn_layer_unref(layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_every_reason_is_tested),
        cmocka_unit_test(test_device_that_is_asked_for),
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_describe_strange_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
