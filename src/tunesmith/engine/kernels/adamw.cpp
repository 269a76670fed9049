// The update of weights whose float32 masters are kept in two halves (adamw.py), in one pass over memory.
//
// Every number is worked on by itself, so results do not depend on the number of threads; sums of squares are taken in
// blocks of fixed size for the same reason.

#include "numbers.h"

namespace {

constexpr int64_t BLOCK = 4096;  // as in adamw.py

// The master's bits are (high << 16) + low, low being signed.
inline float join(uint16_t high, int16_t low) {
    uint32_t bits = (static_cast<uint32_t>(high) << 16) + static_cast<uint32_t>(static_cast<int32_t>(low));
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void split(float value, uint16_t &high, int16_t &low) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    high = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    low = static_cast<int16_t>(bits & 0xffffu);
}

// A float32 number without the last 8 of its 24 significant bits but for rounding: bits are (high << 16) | (low << 8).
inline float widen(uint16_t high, uint8_t low) {
    uint32_t bits = (static_cast<uint32_t>(high) << 16) | (static_cast<uint32_t>(low) << 8);
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void narrow(float value, uint16_t &high, uint8_t &low) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits += 0x80u;
    high = static_cast<uint16_t>(bits >> 16);
    low = static_cast<uint8_t>(bits >> 8);
}

// Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2. `first`: there are no moments yet, and what lies there is not read.
template <typename T>
void adamw(uint16_t *high, int16_t *low, bf16 *mean, uint16_t *square_high, uint8_t *square_low, const T *gradient, int64_t count,
           int64_t first, float scale, float keep, float share, float keep_square, float share_square, float step_size, float root,
           float eps, int64_t threads) {
#pragma omp parallel for simd num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t i = 0; i < count; ++i) {
        float g = read(gradient[i]) * scale;
        float m = first ? 0.0f : read(mean[i]), v = first ? 0.0f : widen(square_high[i], square_low[i]);
        m += share * (g - m);
        v = keep_square * v + share_square * g * g;
        float weight = join(high[i], low[i]) * keep;
        weight -= step_size * m / (std::sqrt(v) / root + eps);
        split(weight, high[i], low[i]);
        write(mean[i], m);
        narrow(v, square_high[i], square_low[i]);
    }
}

// Of each block of numbers the sum of their squares.
template <typename T>
void square_sums(const T *x, float *sums, int64_t count, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t end = std::min(start + BLOCK, count);
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < end; ++i) sum += read(x[i]) * read(x[i]);
        sums[start / BLOCK] = sum;
    }
}

}  // namespace

#define KERNELS(T, TYPE)                                                                                                   \
    void adamw_##TYPE(uint16_t *high, int16_t *low, bf16 *mean, uint16_t *square_high, uint8_t *square_low,               \
                      const T *gradient, int64_t count, int64_t first, float scale, float keep, float share,               \
                      float keep_square, float share_square, float step_size, float root, float eps, int64_t threads) {    \
        adamw<T>(high, low, mean, square_high, square_low, gradient, count, first, scale, keep, share, keep_square,        \
                 share_square, step_size, root, eps, threads);                                                             \
    }                                                                                                                      \
    void square_sums_##TYPE(const T *x, float *sums, int64_t count, int64_t threads) {                                     \
        square_sums<T>(x, sums, count, threads);                                                                           \
    }

extern "C" {
KERNELS(float, float32)
KERNELS(bf16, bfloat16)
}
