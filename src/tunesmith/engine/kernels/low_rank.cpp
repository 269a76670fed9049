// The thin products of low-rank adapters in bfloat16, with AVX512-BF16's dot products of pairs, added up in float32.
//
// A general matrix product spends its time on such shapes (some hundred rows, a rank of 16) on packing, on a kernel compiled for
// each new number of rows, and on a pass of its own to add the result to the wide product's. Work is cut so that every number
// is computed by one thread in one order: results do not depend on the number of threads.

#include "numbers.h"

#if defined(__AVX512BF16__) && defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__)
#include <immintrin.h>
#define HAS_PAIRS 1

namespace {

constexpr int64_t ROWS = 8;  // tokens computed together

inline __m512bh pairs(const uint32_t *place) { return (__m512bh)_mm512_loadu_si512(place); }

inline __m512bh everywhere(const bf16 *place) {  // the pair at `place` in all 16 lanes
    int32_t pair;
    std::memcpy(&pair, place, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
}

inline __m512 widen(const bf16 *place) {
    __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(place));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

inline void narrow(bf16 *place, __m512 value) {
    __m256bh halves = _mm512_cvtneps_pbh(value);
    std::memcpy(place, &halves, 32);
}

inline bf16 scaled(bf16 value, float scale) {
    bf16 result;
    write(result, read(value) * scale);
    return result;
}

// Lay out `scale` times a matrix m(i, j) = m[i * step_i + j * step_j] as pairs along j: (j / 2, i, 2). Rows of pairs j0 to j1.
void lay_out(const bf16 *m, int64_t step_i, int64_t step_j, float scale, int64_t count_i, int64_t j0, int64_t j1, uint32_t *to) {
    for (int64_t j = j0; j < j1; ++j)
        for (int64_t i = 0; i < count_i; ++i) {
            const bf16 *place = m + i * step_i + 2 * j * step_j;
            uint32_t low = scaled(place[0], scale).bits, high = scaled(place[step_j], scale).bits;
            to[j * count_i + i] = low | (high << 16);
        }
}

template <int COUNT>
inline void down_rows(const bf16 *x, int64_t step, const uint32_t *laid, int64_t size, int64_t rank, int64_t column, bf16 *u,
                      int64_t step_u) {
    __m512 sums[COUNT];
    for (int i = 0; i < COUNT; ++i) sums[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < size / 2; ++k) {
        __m512bh weights = pairs(laid + k * rank + column);
#pragma GCC unroll 16
        for (int i = 0; i < COUNT; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], everywhere(x + i * step + 2 * k), weights);
    }
    for (int i = 0; i < COUNT; ++i) narrow(u + i * step_u + column, sums[i]);
}

// u (rows, rank) = x (rows, size) times scale * a, where a(r, k) = a[r * step_r + k * step_k].
void down(const bf16 *x, int64_t step_x, const bf16 *a, int64_t step_r, int64_t step_k, float scale, bf16 *u, int64_t step_u,
          int64_t rows, int64_t size, int64_t rank, int64_t threads) {
    std::vector<uint32_t> laid(size / 2 * rank);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
#pragma omp for schedule(static)
        for (int64_t block = 0; block < size / 32; ++block) lay_out(a, step_r, step_k, scale, rank, block * 16, block * 16 + 16, laid.data());
#pragma omp for schedule(static)
        for (int64_t block = 0; block < (rows + ROWS - 1) / ROWS; ++block)
            for (int64_t column = 0; column < rank; column += 16) {
                int64_t row = block * ROWS;
                if (row + ROWS <= rows)
                    down_rows<ROWS>(x + row * step_x, step_x, laid.data(), size, rank, column, u + row * step_u, step_u);
                else
                    for (; row < rows; ++row) down_rows<1>(x + row * step_x, step_x, laid.data(), size, rank, column, u + row * step_u, step_u);
            }
    }
}

template <int COUNT>
inline void up_rows(bf16 *y, int64_t step_y, const bf16 *u, int64_t step_u, const uint32_t *laid, int64_t size, int64_t rank) {
    for (int64_t n = 0; n < size; n += 32) {
        __m512 left[COUNT], right[COUNT];
        for (int i = 0; i < COUNT; ++i) left[i] = widen(y + i * step_y + n), right[i] = widen(y + i * step_y + n + 16);
        for (int64_t r = 0; r < rank / 2; ++r) {
            __m512bh first = pairs(laid + r * size + n), second = pairs(laid + r * size + n + 16);
#pragma GCC unroll 16
            for (int i = 0; i < COUNT; ++i) {
                __m512bh value = everywhere(u + i * step_u + 2 * r);
                left[i] = _mm512_dpbf16_ps(left[i], value, first), right[i] = _mm512_dpbf16_ps(right[i], value, second);
            }
        }
        for (int i = 0; i < COUNT; ++i) narrow(y + i * step_y + n, left[i]), narrow(y + i * step_y + n + 16, right[i]);
    }
}

// y (rows, size) += u (rows, rank) times scale * b, where b(n, r) = b[n * step_n + r * step_r].
void up(bf16 *y, int64_t step_y, const bf16 *u, int64_t step_u, const bf16 *b, int64_t step_n, int64_t step_r, float scale,
        int64_t rows, int64_t size, int64_t rank, int64_t threads) {
    std::vector<uint32_t> laid(size * rank / 2);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rank / 2; ++r) lay_out(b, step_n, step_r, scale, size, r, r + 1, laid.data());
#pragma omp for schedule(static)
        for (int64_t block = 0; block < (rows + ROWS - 1) / ROWS; ++block) {
            int64_t row = block * ROWS;
            if (row + ROWS <= rows)
                up_rows<ROWS>(y + row * step_y, step_y, u + row * step_u, step_u, laid.data(), size, rank);
            else
                for (; row < rows; ++row) up_rows<1>(y + row * step_y, step_y, u + row * step_u, step_u, laid.data(), size, rank);
        }
    }
}

inline __m512bh two_rows(const bf16 *first, const bf16 *second) {  // pairs of what stands below each other
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(first)));
    __m512i high = second ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(second))) : _mm512_setzero_si512();
    return (__m512bh)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// g(r, n) = scale * sum over rows of u(row, r) * z(row, n), written to g[r * step_r + n * step_n].
void gradient(const bf16 *u, int64_t step_u, const bf16 *z, int64_t step_z, bf16 *g, int64_t step_r, int64_t step_n, float scale,
              int64_t rows, int64_t rank, int64_t size, int64_t threads) {
    int64_t row_pairs = (rows + 1) / 2;
    std::vector<bf16> laid(row_pairs * rank * 2);  // (rows / 2, rank, 2)
    for (int64_t t = 0; t < 2 * row_pairs; ++t)
        for (int64_t r = 0; r < rank; ++r) laid[((t / 2) * rank + r) * 2 + t % 2] = t < rows ? u[t * step_u + r] : bf16{0};
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t n = 0; n < size; n += 16)
        for (int64_t r = 0; r < rank; r += 16) {
            __m512 sums[16];
            for (int i = 0; i < 16; ++i) sums[i] = _mm512_setzero_ps();
            for (int64_t t = 0; t < row_pairs; ++t) {
                const bf16 *place = z + 2 * t * step_z + n;
                __m512bh values = two_rows(place, 2 * t + 1 < rows ? place + step_z : nullptr);
                const bf16 *weights = laid.data() + (t * rank + r) * 2;
#pragma GCC unroll 16
                for (int i = 0; i < 16; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], values, everywhere(weights + 2 * i));
            }
            for (int i = 0; i < 16; ++i) {
                float lanes[16];
                _mm512_storeu_ps(lanes, sums[i]);
                for (int lane = 0; lane < 16; ++lane) write(g[(r + i) * step_r + (n + lane) * step_n], lanes[lane] * scale);
            }
        }
}

}  // namespace
#endif

extern "C" {
#ifdef HAS_PAIRS
int64_t has_low_rank() { return 1; }

void low_rank_down_bfloat16(const bf16 *x, int64_t step_x, const bf16 *a, int64_t step_r, int64_t step_k, float scale, bf16 *u,
                            int64_t step_u, int64_t rows, int64_t size, int64_t rank, int64_t threads) {
    down(x, step_x, a, step_r, step_k, scale, u, step_u, rows, size, rank, threads);
}

void low_rank_up_bfloat16(bf16 *y, int64_t step_y, const bf16 *u, int64_t step_u, const bf16 *b, int64_t step_n, int64_t step_r,
                          float scale, int64_t rows, int64_t size, int64_t rank, int64_t threads) {
    up(y, step_y, u, step_u, b, step_n, step_r, scale, rows, size, rank, threads);
}

void low_rank_gradient_bfloat16(const bf16 *u, int64_t step_u, const bf16 *z, int64_t step_z, bf16 *g, int64_t step_r, int64_t step_n,
                                float scale, int64_t rows, int64_t rank, int64_t size, int64_t threads) {
    gradient(u, step_u, z, step_z, g, step_r, step_n, scale, rows, rank, size, threads);
}
#else
int64_t has_low_rank() { return 0; }
#endif
}
