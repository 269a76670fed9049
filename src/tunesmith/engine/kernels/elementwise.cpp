// Fused element-wise kernels for the CPU: what lies between the matrix products of a decoder layer.
//
// Plain C functions over contiguous rows, called through ctypes (native.py). Numbers are read and written in the model's
// compute type (float32 or bfloat16) and computed in float32. Work is cut into rows, each handled by one thread, so results
// do not depend on the number of threads, but for sums over rows (`rms_norm_backward`'s weight gradient), which are added
// up thread by thread in a fixed order.

#include "numbers.h"

namespace {

struct Both {
    float value, slope;
};

struct Silu {
    static inline Both both(float x) {
        float s = 1.0f / (1.0f + exponential(-x));
        return {x * s, s * (1.0f + x * (1.0f - s))};
    }
};

struct GeluTanh {  // Hendrycks and Gimpel 2016, the tanh approximation
    static constexpr float c = 0.7978845608028654f, a = 0.044715f;
    static inline Both both(float x) {
        float t = 1.0f - 2.0f / (1.0f + exponential(2.0f * c * (x + a * x * x * x)));
        return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * c * (1.0f + 3.0f * a * x * x)};
    }
};

// y = x / sqrt(mean(x^2) + eps) * (weight + offset); keeps 1 / sqrt(...) of every row.
template <typename T>
void rms_norm_forward(const T *x, const T *weight, T *y, float *scale, int64_t rows, int64_t size, float eps, float offset,
                      int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        const T *in = x + row * size;
        T *out = y + row * size;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; ++i) sum += read(in[i]) * read(in[i]);
        float factor = 1.0f / std::sqrt(sum / static_cast<float>(size) + eps);
        scale[row] = factor;
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) write(out[i], read(in[i]) * factor * (read(weight[i]) + offset));
    }
}

// dx = scale * (g - xhat * mean(g * xhat)), g = dy * (weight + offset), xhat = x * scale; dweight = sum over rows of dy * xhat.
template <typename T>
void rms_norm_backward(const T *dy, const T *x, const T *weight, const float *scale, T *dx, float *dweight, int64_t rows,
                       int64_t size, float offset, int64_t threads) {
    std::vector<float> partial(dweight ? static_cast<size_t>(threads) * size : 0, 0.0f);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        float *mine = dweight ? partial.data() + static_cast<size_t>(omp_get_thread_num()) * size : nullptr;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; ++row) {
            const T *in = x + row * size, *grad = dy + row * size;
            T *out = dx + row * size;
            float factor = scale[row], dot = 0.0f;
#pragma omp simd reduction(+ : dot)
            for (int64_t i = 0; i < size; ++i) dot += read(grad[i]) * (read(weight[i]) + offset) * read(in[i]);
            float mean = dot * factor * factor / static_cast<float>(size);
#pragma omp simd
            for (int64_t i = 0; i < size; ++i)
                write(out[i], factor * (read(grad[i]) * (read(weight[i]) + offset) - read(in[i]) * mean));
            if (mine) {
#pragma omp simd
                for (int64_t i = 0; i < size; ++i) mine[i] += read(grad[i]) * read(in[i]) * factor;
            }
        }
    }
    if (!dweight) return;
    for (int64_t i = 0; i < size; ++i) {
        float sum = 0.0f;
        for (int64_t thread = 0; thread < threads; ++thread) sum += partial[static_cast<size_t>(thread) * size + i];
        dweight[i] = sum;
    }
}

// out = act(gate) * up; a row of gate_up is [gate | up].
template <typename T, typename Act>
void gated_forward(const T *gate_up, T *out, int64_t rows, int64_t size, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        const T *gate = gate_up + row * 2 * size, *up = gate + size;
        T *to = out + row * size;
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) write(to[i], Act::both(read(gate[i])).value * read(up[i]));
    }
}

// Writes [dgate | dup] and the forward's result again.
template <typename T, typename Act>
void gated_backward(const T *dout, const T *gate_up, T *dgate_up, T *product, int64_t rows, int64_t size, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        const T *gate = gate_up + row * 2 * size, *up = gate + size, *grad = dout + row * size;
        T *dgate = dgate_up + row * 2 * size, *dup = dgate + size, *to = product + row * size;
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) {
            float u = read(up[i]), d = read(grad[i]);
            Both act = Act::both(read(gate[i]));
            write(dgate[i], d * u * act.slope);
            write(dup[i], d * act.value);
            write(to[i], act.value * u);
        }
    }
}

// One head turned forwards (sign 1) or back (sign -1). The two halves of its first `rotated` entries form the pairs
// (transformers' rotate_half); the rest is copied.
template <typename T>
inline void rotate(const T *in, T *out, const T *cosine, const T *sine, int64_t dim, int64_t rotated, float sign) {
    int64_t half = rotated / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
        float a = read(in[i]), b = read(in[half + i]);
        write(out[i], a * read(cosine[i]) - sign * b * read(sine[i]));
        write(out[half + i], b * read(cosine[half + i]) + sign * a * read(sine[half + i]));
    }
    for (int64_t i = rotated; i < dim; ++i) out[i] = in[i];
}

// Rotary position embedding of the first heads, the others copied: from token-major rows to head-major (heads, tokens, dim)
// and forwards, or from there to rows and back.
template <typename T, bool FORWARDS>
void rotary(const T *from, T *to, const T *cosine, const T *sine, int64_t tokens, int64_t num_rotated, int64_t num_heads,
            int64_t dim, int64_t rotated, int64_t stride, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t token = 0; token < tokens; ++token)
        for (int64_t head = 0; head < num_heads; ++head) {
            int64_t in_rows = token * stride + head * dim, in_heads = (head * tokens + token) * dim;
            const T *in = from + (FORWARDS ? in_rows : in_heads);
            T *out = to + (FORWARDS ? in_heads : in_rows);
            if (head < num_rotated)
                rotate(in, out, cosine + token * rotated, sine + token * rotated, dim, rotated, FORWARDS ? 1.0f : -1.0f);
            else
                std::memcpy(out, in, dim * sizeof(T));
        }
}

// Nats of each row's label, and in place of the logits their gradient (softmax minus one-hot) times `weight`.
template <typename T>
void cross_entropy(T *logits, const int64_t *labels, float *nats, int64_t rows, int64_t size, float weight, int64_t needs_grad,
                   int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        T *in = logits + row * size;
        float highest = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : highest)
        for (int64_t i = 0; i < size; ++i) highest = std::max(highest, read(in[i]));
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; ++i) sum += exponential(read(in[i]) - highest);
        float label = read(in[labels[row]]) - highest, factor = 1.0f / sum;
        nats[row] = std::log(sum) - label;
        if (!needs_grad) continue;
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) write(in[i], exponential(read(in[i]) - highest) * factor * weight);
        write(in[labels[row]], (exponential(label) * factor - 1.0f) * weight);
    }
}

// Place of the highest number in each row, the first of several; of NaN there is none, which gives 0.
template <typename T>
void argmax(const T *rows, int64_t *places, int64_t count, int64_t size, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < count; ++row) {
        const T *in = rows + row * size;
        float highest = -INFINITY;
#pragma omp simd reduction(max : highest)
        for (int64_t i = 0; i < size; ++i) highest = std::max(highest, read(in[i]));
        int64_t place = 0;
        while (place < size && read(in[place]) != highest) ++place;
        places[row] = place < size ? place : 0;
    }
}

}  // namespace

#define GATED(NAME, ACT, TAG, T, TYPE)                                                                                     \
    void gated_forward_##TAG##_##TYPE(const T *gate_up, T *out, int64_t rows, int64_t size, int64_t threads) {                 \
        gated_forward<T, ACT>(gate_up, out, rows, size, threads);                                                          \
    }                                                                                                                      \
    void gated_backward_##TAG##_##TYPE(const T *dout, const T *gate_up, T *dgate_up, T *product, int64_t rows,             \
                                       int64_t size, int64_t threads) {                                                        \
        gated_backward<T, ACT>(dout, gate_up, dgate_up, product, rows, size, threads);                                     \
    }

#define KERNELS(T, TYPE)                                                                                                   \
    void rms_norm_forward_##TYPE(const T *x, const T *weight, T *y, float *scale, int64_t rows, int64_t size, float eps,   \
                                 float offset, int64_t threads) {                                                              \
        rms_norm_forward<T>(x, weight, y, scale, rows, size, eps, offset, threads);                                        \
    }                                                                                                                      \
    void rms_norm_backward_##TYPE(const T *dy, const T *x, const T *weight, const float *scale, T *dx, float *dweight,     \
                                  int64_t rows, int64_t size, float offset, int64_t threads) {                                 \
        rms_norm_backward<T>(dy, x, weight, scale, dx, dweight, rows, size, offset, threads);                              \
    }                                                                                                                      \
    GATED(gated, Silu, silu, T, TYPE)                                                                                      \
    GATED(gated, GeluTanh, gelu_tanh, T, TYPE)                                                                             \
    void rotary_forward_##TYPE(const T *rows, T *heads, const T *cosine, const T *sine, int64_t tokens,                    \
                               int64_t num_rotated, int64_t num_heads, int64_t dim, int64_t rotated, int64_t stride,       \
                               int64_t threads) {                                                                              \
        rotary<T, true>(rows, heads, cosine, sine, tokens, num_rotated, num_heads, dim, rotated, stride, threads);       \
    }                                                                                                                      \
    void rotary_backward_##TYPE(const T *heads, T *rows, const T *cosine, const T *sine, int64_t tokens,                   \
                                int64_t num_rotated, int64_t num_heads, int64_t dim, int64_t rotated, int64_t stride,      \
                                int64_t threads) {                                                                             \
        rotary<T, false>(heads, rows, cosine, sine, tokens, num_rotated, num_heads, dim, rotated, stride, threads);      \
    }                                                                                                                      \
    void cross_entropy_##TYPE(T *logits, const int64_t *labels, float *nats, int64_t rows, int64_t size, float weight,     \
                              int64_t needs_grad, int64_t threads) {                                                               \
        cross_entropy<T>(logits, labels, nats, rows, size, weight, needs_grad, threads);                                   \
    }                                                                                                                      \
    void argmax_##TYPE(const T *rows, int64_t *places, int64_t count, int64_t size, int64_t threads) {                     \
        argmax<T>(rows, places, count, size, threads);                                                                     \
    }

extern "C" {
KERNELS(float, float32)
KERNELS(bf16, bfloat16)
}
