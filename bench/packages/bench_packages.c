// How fast the functions of the first-party packages are, as a share of the copy rate: the time of a copy that reads and
// writes as many bytes as the call, over the time of the call. Copy and call take turns, use the same memory and the same
// number of threads (both by kna_parallel), and each counts with its shortest time. What is smaller than a cache stays in it.
//
//   bench_packages [f32|bf16|f16]…     without arguments: f32 bf16
#include <kernels/author.h>
#include <kernels/context.h>
#include <time.h>

typedef struct function {
    const char *package, *name, *variant; // variant: what a fixed argument chooses, for the reader
    const char *args;                     // one letter each, see make_arg
} function;

static const function functions[] = {
    {"activation", "silu", "", "yx"},
    {"activation", "silu_backward", "", "yxx"},
    {"activation", "silu_and_mul", "", "yX"},
    {"activation", "silu_and_mul_backward", "", "YxX"},
    {"activation", "gelu", "", "yx"},
    {"activation", "gelu_backward", "", "yxx"},
    {"activation", "gelu_and_mul", "", "yX"},
    {"activation", "gelu_and_mul_backward", "", "YxX"},
    {"activation", "gelu_tanh", "", "yx"},
    {"activation", "gelu_tanh_backward", "", "yxx"},
    {"activation", "gelu_tanh_and_mul", "", "yX"},
    {"activation", "gelu_tanh_and_mul_backward", "", "YxX"},
    {"activation", "quick_gelu", "", "yx"},
    {"activation", "quick_gelu_backward", "", "yxx"},
    {"activation", "quick_gelu_and_mul", "", "yX"},
    {"activation", "quick_gelu_and_mul_backward", "", "YxX"},
    {"activation", "fast_gelu", "", "yx"},
    {"activation", "fast_gelu_backward", "", "yxx"},
    {"activation", "fast_gelu_and_mul", "", "yX"},
    {"activation", "fast_gelu_and_mul_backward", "", "YxX"},
    {"normalization", "rms_norm", "", "yxweo"},
    {"normalization", "rms_norm_scale_cast", "", "yxweo"},
    {"normalization", "rms_norm_backward", "", "ydxxweo"},
    {"normalization", "fused_add_rms_norm", "", "yyxxweo"},
    {"normalization", "fused_add_rms_norm_scale_cast", "", "yyxxweo"},
    {"normalization", "layer_norm", "", "yxwwe"},
    {"normalization", "layer_norm_backward", "", "yddxxwe"},
    {"rotary", "rotary_pos_emb", "halves", "QKqkcc1h"},
    {"rotary", "rotary_pos_emb", "interleaved", "QKqkcc1i"},
    {"rotary", "rotary_pos_emb_backward", "halves", "QKqkcc1h"},
    {"rotary", "rotary_pos_emb_backward", "interleaved", "QKqkcc1i"},
    {"rotary", "rotary_positions", "halves", "QKqkpt1h"},
    {"rotary", "rotary_positions", "interleaved", "QKqkpt1i"},
    {"rotary", "rotary_positions_backward", "halves", "QKqkpt1h"},
    {"rotary", "rotary_positions_backward", "interleaved", "QKqkpt1i"},
};

static const struct type {
    const char *name;
    DLDataType dtype;
} types[] = {{"f32", {kDLFloat, 32, 1}}, {"bf16", {kDLBfloat, 16, 1}}, {"f16", {kDLFloat, 16, 1}}};

static const int64_t all_rows[] = {1, 64, 4096}, all_columns[] = {576, 4096, 14336};

enum {
    ROWS_MOST = 4096,
    COLUMNS_MOST = 14336,
    HEAD_MOST = 128,
    ARENA_SIZE = ROWS_MOST * COLUMNS_MOST / 1024 * 20 * 1024 + (1 << 20), // a gated gradient in f32
    LINE = 64,
    ARGS_MOST = 8,
    THREADS_MOST = 2,
    PASSES = 3,
    ROUNDS_LEAST = 1, // of a pass
    ROUNDS_MOST = 1000,
    PATTERN_SIZE = 1 << 20,
};
static const double ROUNDS_S = 0.02,
                    TURN_S = 20e-6; // of a pass, by one thread; of one turn at least

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_packages: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The memory of all calls: inputs first, then outputs, so that a copy of the first half of the bytes to the second half
// never writes what it reads. Angles and positions have their own, since a copy would leave other numbers in them.
static char *arena;
static float angles[ROWS_MOST * HEAD_MOST];
static int64_t positions[ROWS_MOST];
static char pattern[PATTERN_SIZE];

// Numbers from -3 to 3 of one type.
static void fill_pattern(const struct type *type)
{
    uint32_t state = 1;
    const size_t size = type->dtype.bits / 8u;
    for (size_t i = 0; i < PATTERN_SIZE / size; ++i) {
        state = state * 1664525u + 1013904223u;
        const float value = (float)(state >> 8) * (6.0f / 16777216.0f) - 3.0f;
        const uint16_t half =
            type->dtype.code == kDLBfloat ? kna_f32_to_bf16(value) : kna_f32_to_f16(value);
        memcpy(pattern + i * size, size == 4 ? (const void *)&value : (const void *)&half, size);
    }
}

static void fill_arena(int64_t n_bytes)
{
    for (int64_t at = 0; at < n_bytes; at += PATTERN_SIZE)
        memcpy(arena + at, pattern,
               (size_t)(n_bytes - at < PATTERN_SIZE ? n_bytes - at : PATTERN_SIZE));
}

// One call with its tensors.
typedef struct call {
    const kn_function *function;
    kn_value args[ARGS_MOST];
    int32_t n_args;
    DLTensor tensors[ARGS_MOST];
    int64_t shapes[ARGS_MOST][4], strides[ARGS_MOST][4];
    int64_t n_bytes;     // read and written
    int64_t used, heads; // of the arena; where the columns of q begin
    const struct type *type;
    int64_t n_rows, n_cols;
} call;

static DLTensor *add_tensor(call *c, int32_t i, int32_t ndim, void *data, DLDataType dtype)
{
    c->tensors[i] = (DLTensor){.data = data,
                               .device = {kDLCPU, 0},
                               .ndim = ndim,
                               .dtype = dtype,
                               .shape = c->shapes[i],
                               .strides = c->strides[i]};
    c->args[i] = kn_tensor(&c->tensors[i]);
    return &c->tensors[i];
}

static void add_matrix(call *c, int32_t i, int64_t n_rows, int64_t n_cols)
{
    const int64_t n_bytes = n_rows * n_cols * (c->type->dtype.bits / 8);
    add_tensor(c, i, 2, arena + c->used, c->type->dtype);
    c->shapes[i][0] = n_rows;
    c->shapes[i][1] = c->strides[i][0] = n_cols;
    c->strides[i][1] = 1;
    c->used += (n_bytes + LINE - 1) / LINE * LINE;
    c->n_bytes += n_bytes;
}

static void add_vector(call *c, int32_t i, int64_t n)
{
    add_matrix(c, i, 1, n);
    c->tensors[i].ndim = 1;
    c->shapes[i][0] = n;
    c->strides[i][0] = 1;
}

static int64_t head_size(const call *c)
{
    return c->n_cols < 1024 ? HEAD_MOST / 2 : HEAD_MOST;
}

// Three quarters of a row's heads are q, the rest is k, as in a projection of a Llama model: [1, heads, rows, d].
static void add_heads(call *c, int32_t i, bool is_q)
{
    const int64_t d = head_size(c), n = c->n_cols / d;
    const int64_t n_q = n - n / 4, size = c->type->dtype.bits / 8;
    if (is_q) {
        c->heads = c->used;
        c->used += c->n_rows * c->n_cols * size;
        c->n_bytes += c->n_rows * c->n_cols * size;
    }
    add_tensor(c, i, 4, arena + c->heads + (is_q ? 0 : n_q * d * size), c->type->dtype);
    const int64_t shape[4] = {1, is_q ? n_q : n - n_q, c->n_rows, d};
    const int64_t strides[4] = {c->n_rows * c->n_cols, d, c->n_cols, 1};
    memcpy(c->shapes[i], shape, sizeof(shape));
    memcpy(c->strides[i], strides, sizeof(strides));
}

static void add_angles(call *c, int32_t i)
{
    const int64_t d = head_size(c);
    const int64_t shape[3] = {1, c->n_rows, d}, strides[3] = {c->n_rows * d, d, 1};
    add_tensor(c, i, 3, angles, (DLDataType){kDLFloat, 32, 1});
    memcpy(c->shapes[i], shape, sizeof(shape));
    memcpy(c->strides[i], strides, sizeof(strides));
    c->n_bytes += c->n_rows * d * 4;
}

static void add_positions(call *c, int32_t i)
{
    add_tensor(c, i, 2, positions, (DLDataType){kDLInt, 64, 1});
    c->shapes[i][0] = 1;
    c->shapes[i][1] = c->strides[i][0] = c->n_rows;
    c->strides[i][1] = 1;
    c->n_bytes += c->n_rows * 8;
}

static bool is_output(char letter)
{
    return strchr("yYdQK", letter) != NULL;
}

static void make_arg(call *c, int32_t i, char letter)
{
    switch (letter) {
    case 'x': // [rows, columns]
    case 'y':
        add_matrix(c, i, c->n_rows, c->n_cols);
        break;
    case 'X': // the same with both halves
    case 'Y':
        add_matrix(c, i, c->n_rows, 2 * c->n_cols);
        break;
    case 'w': // weight or bias
    case 'd': // and its gradient
        add_vector(c, i, c->n_cols);
        break;
    case 'q':
    case 'Q':
    case 'k':
    case 'K':
        add_heads(c, i, letter == 'q' || letter == 'Q');
        break;
    case 'c':
        add_angles(c, i);
        break;
    case 'p':
        add_positions(c, i);
        break;
    case 'e': // eps
        c->args[i] = kn_float(1e-5);
        break;
    case 'o': // offset of the weight
        c->args[i] = kn_float(0.0);
        break;
    case 't': // theta
        c->args[i] = kn_float(10000.0);
        break;
    case '1': // unsqueeze_dim
        c->args[i] = kn_int(1);
        break;
    default: // 'h', 'i': halves or interleaved
        c->args[i] = kn_bool(letter == 'i');
    }
}

static void make_call(call *c, const char *letters, const kn_function *f, const struct type *type,
                      int64_t n_rows, int64_t n_cols)
{
    *c = (call){.function = f, .type = type, .n_rows = n_rows, .n_cols = n_cols};
    c->n_args = (int32_t)strlen(letters);
    for (int outputs = 0; outputs < 2; ++outputs)
        for (int32_t i = 0; i < c->n_args; ++i)
            if (is_output(letters[i]) == outputs)
                make_arg(c, i, letters[i]);
    if (c->used > ARENA_SIZE)
        die("the arena is too small");
}

static void copy_body(void *user, int64_t begin, int64_t end)
{
    const int64_t half = *(const int64_t *)user;
    const int64_t first = begin * LINE, last = end * LINE < half ? end * LINE : half;
    memcpy(arena + (half + LINE - 1) / LINE * LINE + first, arena + first, (size_t)(last - first));
}

static void copy(const call *c)
{
    int64_t half = c->n_bytes / 2;
    kna_parallel((half + LINE - 1) / LINE, c->n_bytes, copy_body, &half);
}

static void run(const call *c)
{
    kn_error err = KN_ERROR_INIT;
    if (kn_function_call(c->function, c->args, c->n_args, NULL, &err) != KN_OK)
        die(kn_error_text(&err));
}

// Seconds of one of `n` runs in a row.
static double turn(void (*what)(const call *), const call *c, int64_t n)
{
    const double begin = now_s();
    for (int64_t i = 0; i < n; ++i)
        what(c);
    return (now_s() - begin) / (double)n;
}

// How many in a row make a turn that a clock can measure.
static int64_t turns_of(void (*what)(const call *), const call *c)
{
    int64_t n = 1;
    turn(what, c, 1); // the first is slower: it takes pages, threads, caches
    while (turn(what, c, n) * (double)n < TURN_S)
        n *= 2;
    return n;
}

// Of one function, shape and number of threads; 0 turns: not measured yet.
typedef struct figure {
    int64_t n_calls, n_copies;
    double call_s, copy_s;
} figure;

static void measure(figure *f, const call *c, double rounds_s)
{
    if (f->n_calls == 0)
        *f = (figure){turns_of(run, c), turns_of(copy, c), 1e9, 1e9};
    const double begin = now_s();
    for (int i = 0; i < ROUNDS_MOST && (i < ROUNDS_LEAST || now_s() - begin < rounds_s); ++i) {
        const double a = turn(run, c, f->n_calls), b = turn(copy, c, f->n_copies);
        f->call_s = a < f->call_s ? a : f->call_s;
        f->copy_s = b < f->copy_s ? b : f->copy_s;
    }
}

static void measure_threads(figure figures[THREADS_MOST], const call *c)
{
#if defined(_OPENMP)
    for (int i = 0; i < THREADS_MOST; ++i) {
        omp_set_num_threads(i + 1);
        measure(&figures[i], c, ROUNDS_S * (i + 1)); // two must be free at once
    }
#else
    measure(&figures[0], c, ROUNDS_S);
#endif
}

static void print(const function *of, const call *c, int n_threads, const figure *f)
{
    printf("{\"bench\": \"packages\", \"package\": \"%s\", \"function\": \"%s%s%s\", "
           "\"dtype\": \"%s\", \"rows\": %lld, \"columns\": %lld, \"threads\": %d, "
           "\"bytes\": %lld, \"call_us\": %.3f, \"copy_us\": %.3f, \"copy_gb_per_s\": %.2f, "
           "\"share\": %.3f}\n",
           of->package, of->name, *of->variant ? ", " : "", of->variant, c->type->name,
           (long long)c->n_rows, (long long)c->n_cols, n_threads, (long long)c->n_bytes,
           f->call_s * 1e6, f->copy_s * 1e6, (double)c->n_bytes / f->copy_s * 1e-9,
           f->copy_s / f->call_s);
    fflush(stdout);
}

static const kn_function *get_function(kn_context *ctx, const function *f)
{
    char path[4096];
    kn_error err = KN_ERROR_INIT;
    kn_kernel *kernel = NULL;
    const kn_function *out = NULL;
    snprintf(path, sizeof(path), KN_BENCH_PACKAGES "/%s", f->package);
    if (kn_context_get_kernel(ctx, KN_KERNEL_OPTIONS(.path = path), &kernel, NULL, &err) != KN_OK ||
        kn_kernel_function(kernel, f->name, &out, &err) != KN_OK)
        die(kn_error_text(&err));
    return out;
}

// Passes over everything, so that what else the machine does for a moment spoils no figure for good. The last one prints.
static void measure_type(kn_context *ctx, const struct type *type)
{
    static call c;
    static figure figures[KN_LEN(functions)][KN_LEN(all_rows)][KN_LEN(all_columns)][THREADS_MOST];
    memset(figures, 0, sizeof(figures));
    fill_pattern(type);
    for (int pass = 1; pass <= PASSES; ++pass)
        for (size_t at = 0; at < KN_LEN(functions) * KN_LEN(all_rows) * KN_LEN(all_columns); ++at) {
            const size_t column = at % KN_LEN(all_columns);
            const size_t row = at / KN_LEN(all_columns) % KN_LEN(all_rows);
            const size_t i = at / KN_LEN(all_columns) / KN_LEN(all_rows);
            figure *figures_here = figures[i][row][column];
            make_call(&c, functions[i].args, get_function(ctx, &functions[i]), type, all_rows[row],
                      all_columns[column]);
            fill_arena(c.used); // outputs of other calls would be odd inputs: denormal numbers
            measure_threads(figures_here, &c);
            for (int n = 0; pass == PASSES && n < THREADS_MOST; ++n)
                if (figures_here[n].n_calls)
                    print(&functions[i], &c, n + 1, &figures_here[n]);
        }
}

// OpenMP reads its variables before main. Threads that spin while they wait take a busy machine from the one that they wait
// for, and a turn then measures the scheduler: here they sleep, for the copy as for the call.
static void sleep_between_calls(char **argv)
{
    if (getenv("OMP_WAIT_POLICY"))
        return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) != 0 || execv("/proc/self/exe", argv) != 0)
        die("cannot set OMP_WAIT_POLICY");
}

int main(int argc, char **argv)
{
    sleep_between_calls(argv);
    kn_context *ctx = NULL;
    const char *defaults[] = {"f32", "bf16"};
    const char *const *names = argc > 1 ? (const char *const *)argv + 1 : defaults;
    const size_t n_names = argc > 1 ? (size_t)argc - 1 : KN_LEN(defaults);
    if (getenv("KERNELS_NUM_THREADS"))
        die("KERNELS_NUM_THREADS is set: unset it, the number of threads changes here");
    arena = aligned_alloc(LINE, ARENA_SIZE);
    if (!arena || kn_context_open(NULL, &ctx, NULL) != KN_OK)
        die("cannot begin");
    for (size_t i = 0; i < KN_LEN(angles); ++i)
        angles[i] = 0.5f + (float)(i % 7) / 16.0f;
    for (size_t i = 0; i < KN_LEN(positions); ++i)
        positions[i] = (int64_t)i;
    for (size_t i = 0; i < n_names; ++i) {
        size_t t = 0;
        while (t < KN_LEN(types) && strcmp(types[t].name, names[i]) != 0)
            ++t;
        if (t == KN_LEN(types))
            die("usage: bench_packages [f32|bf16|f16]...");
        measure_type(ctx, &types[t]);
    }
    kn_context_close(ctx);
    free(arena);
    return 0;
}
