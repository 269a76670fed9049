// What the kernels share: numbers of the two compute types, read and written as float32, and an exponential.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <omp.h>

namespace {


struct bf16 {
    uint16_t bits;
};

inline float read(float value) { return value; }

inline float read(bf16 value) {
    uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void write(float &place, float value) { place = value; }

inline void write(bf16 &place, float value) {  // round to nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    place.bits = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded);
}

// e^x to about one unit in the last place of float32 (Cephes' reduction and polynomial), without branches, so that
// compilers vectorise it. Below -87 it gives about 1e-38.
inline float exponential(float x) {
    float clamped = std::min(std::max(x, -87.0f), 88.0f);
    float n = std::floor(clamped * 1.44269504088896341f + 0.5f);
    float r = clamped - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, 4);
    float result = p * scale;
    return x != x ? x : result;
}

constexpr int64_t LANES = 16;

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));

inline Vector read_vector(const float *place) { return *reinterpret_cast<const Vector *>(place); }

inline Vector read_vector(const bf16 *place) {
    typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
    typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
    Words words = __builtin_convertvector(*reinterpret_cast<const Halves *>(place), Words) << 16;
    Vector result;
    std::memcpy(&result, &words, sizeof result);
    return result;
}

inline float sum_of(Vector value) {
    typedef float Eight __attribute__((vector_size(32)));
    typedef float Four __attribute__((vector_size(16)));
    Eight eight[2];
    std::memcpy(eight, &value, sizeof value);
    eight[0] += eight[1];
    Four four[2];
    std::memcpy(four, eight, sizeof four);
    four[0] += four[1];
    return (four[0][0] + four[0][2]) + (four[0][1] + four[0][3]);
}

}  // namespace
