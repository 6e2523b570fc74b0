// A kernel for tests on a GPU: y = silu(gate) * up where x is [gate, up], and its gradient. f32.
#include <tvm/ffi/c_api.h>
#include <tvm/ffi/extra/c_env_api.h>

static const DLTensor *tensor(const TVMFFIAny *args, int i)
{
    return static_cast<const DLTensor *>(args[i].v_ptr);
}

static cudaStream_t stream_of(const DLTensor *t)
{
    return static_cast<cudaStream_t>(
        TVMFFIEnvGetStream(t->device.device_type, t->device.device_id));
}

static float *data(const DLTensor *t)
{
    return reinterpret_cast<float *>(static_cast<char *>(t->data) + t->byte_offset);
}

static long numel(const DLTensor *t)
{
    long n = 1;
    for (int i = 0; i < t->ndim; ++i)
        n *= t->shape[i];
    return n;
}

__global__ void forward(float *y, const float *x, long n, long d, long stride)
{
    const long i = blockIdx.x * (long)blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const float *row = x + i / d * stride;
    const float gate = row[i % d];
    y[i] = gate / (1.0f + expf(-gate)) * row[d + i % d];
}

__global__ void backward(float *dx, const float *dy, const float *x, long n, long d, long stride)
{
    const long i = blockIdx.x * (long)blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const long r = i / d, c = i % d;
    const float gate = x[r * stride + c], up = x[r * stride + d + c];
    const float s = 1.0f / (1.0f + expf(-gate));
    dx[r * 2 * d + c] = dy[i] * up * s * (1.0f + gate * (1.0f - s));
    dx[r * 2 * d + d + c] = dy[i] * gate * s;
}

// The distance of rows: the last dimension is contiguous, the others fold into one.
static long row_stride(const DLTensor *x)
{
    return x->ndim > 1 ? x->strides[x->ndim - 2] : x->shape[0];
}

extern "C" __attribute__((visibility("default"))) int
__tvm_ffi_silu_and_mul(void *, const TVMFFIAny *args, int32_t, TVMFFIAny *)
{
    const DLTensor *y = tensor(args, 0), *x = tensor(args, 1);
    const long n = numel(y);
    if (n)
        forward<<<(n + 255) / 256, 256, 0, stream_of(x)>>>(data(y), data(x), n,
                                                           y->shape[y->ndim - 1], row_stride(x));
    return cudaGetLastError() == cudaSuccess ? 0 : -1;
}

extern "C" __attribute__((visibility("default"))) int
__tvm_ffi_silu_and_mul_backward(void *, const TVMFFIAny *args, int32_t, TVMFFIAny *)
{
    const DLTensor *dx = tensor(args, 0), *dy = tensor(args, 1), *x = tensor(args, 2);
    const long n = numel(dy);
    if (n)
        backward<<<(n + 255) / 256, 256, 0, stream_of(x)>>>(data(dx), data(dy), data(x), n,
                                                            dy->shape[dy->ndim - 1], row_stride(x));
    return cudaGetLastError() == cudaSuccess ? 0 : -1;
}
