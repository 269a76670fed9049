// Products of rows in bfloat16 with weights laid out beforehand, for processors with AVX512-BF16.
//
// A weight (out, in) becomes panels of COLUMNS outputs: for every pair of inputs the pairs of all COLUMNS weights side by
// side. A tile of up to MOST_ROWS rows times a panel stays in registers from the first input to the last. A thread takes a
// panel, which the tiles find in its second-level cache: while one panel is in use the next is fetched from memory.

#include "numbers.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

constexpr int64_t COLUMNS = 48, MOST_ROWS = 8, LINE = 64;
constexpr int VECTORS = COLUMNS / LANES;

void lay_out(const bf16 *weight, bf16 *packed, int64_t outs, int64_t ins, int64_t threads) {
    int64_t panels = (outs + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t panel = 0; panel < panels; ++panel)
        for (int64_t column = 0; column < COLUMNS; ++column) {
            int64_t out = panel * COLUMNS + column;
            bf16 *to = packed + panel * ins * COLUMNS + 2 * column;
            for (int64_t in = 0; in < ins; in += 2)
                for (int64_t i = 0; i < 2; ++i) to[in * COLUMNS + i] = out < outs ? weight[out * ins + in + i] : bf16{0};
        }
}

#ifdef __AVX512BF16__

inline void write_vector(bf16 *place, __m512 values, int64_t count) {
    __m256bh rounded = _mm512_cvtneps_pbh(values);
    __mmask16 mask = static_cast<__mmask16>(count >= LANES ? 0xffff : (1 << std::max<int64_t>(count, 0)) - 1);
    _mm256_mask_storeu_epi16(place, mask, reinterpret_cast<__m256i>(rounded));
}

// What to fetch while a tile is computed: `count` lines from `from` on.
struct Ahead {
    const char *from;
    int64_t count;
};

template <int ROWS>
void tile(const bf16 *x, const bf16 *panel, const float *bias, bf16 *y, int64_t ins, int64_t outs, int64_t columns, Ahead ahead) {
    __m512 sums[ROWS][VECTORS];
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) sums[r][v] = bias ? _mm512_loadu_ps(bias + v * LANES) : _mm512_setzero_ps();
    int64_t pairs = ins / 2, each = (ahead.count + pairs - 1) / pairs;
    const char *next = ahead.from;
    for (int64_t pair = 0; pair < pairs; ++pair) {
        for (int64_t i = 0; i < each; ++i, next += LINE) __builtin_prefetch(next, 0, 2);
        __m512bh weights[VECTORS];
        for (int v = 0; v < VECTORS; ++v)
            weights[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + pair * 2 * COLUMNS + v * 2 * LANES));
        for (int r = 0; r < ROWS; ++r) {
            int32_t both;
            std::memcpy(&both, x + r * ins + 2 * pair, 4);
            __m512bh row = reinterpret_cast<__m512bh>(_mm512_set1_epi32(both));
            for (int v = 0; v < VECTORS; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], row, weights[v]);
        }
    }
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) write_vector(y + r * outs + v * LANES, sums[r][v], columns - v * LANES);
}

void any_tile(int64_t rows, const bf16 *x, const bf16 *panel, const float *bias, bf16 *y, int64_t ins, int64_t outs,
              int64_t columns, Ahead ahead) {
    switch (rows) {
        case 1: return tile<1>(x, panel, bias, y, ins, outs, columns, ahead);
        case 2: return tile<2>(x, panel, bias, y, ins, outs, columns, ahead);
        case 3: return tile<3>(x, panel, bias, y, ins, outs, columns, ahead);
        case 4: return tile<4>(x, panel, bias, y, ins, outs, columns, ahead);
        case 5: return tile<5>(x, panel, bias, y, ins, outs, columns, ahead);
        case 6: return tile<6>(x, panel, bias, y, ins, outs, columns, ahead);
        case 7: return tile<7>(x, panel, bias, y, ins, outs, columns, ahead);
        default: return tile<8>(x, panel, bias, y, ins, outs, columns, ahead);
    }
}

void one_panel(const bf16 *x, const bf16 *packed, const bf16 *bias, bf16 *y, int64_t rows, int64_t ins, int64_t outs,
               int64_t panel, bool has_next) {
    int64_t start = panel * COLUMNS, columns = std::min(COLUMNS, outs - start);
    float wide[COLUMNS] = {};
    if (bias)
        for (int64_t i = 0; i < columns; ++i) wide[i] = read(bias[start + i]);
    const bf16 *here = packed + panel * ins * COLUMNS;
    int64_t tiles = (rows + MOST_ROWS - 1) / MOST_ROWS, row = 0;
    int64_t lines = has_next ? (ins * COLUMNS * 2 + LINE - 1) / LINE : 0, share = (lines + tiles - 1) / tiles;
    const char *next = reinterpret_cast<const char *>(here + ins * COLUMNS);
    for (int64_t t = 0; t < tiles; ++t) {
        int64_t count = (rows - row + tiles - t - 1) / (tiles - t);  // tiles of even sizes
        any_tile(count, x + row * ins, here, bias ? wide : nullptr, y + row * outs + start, ins, outs, columns,
                 {next + t * share * LINE, share});
        row += count;
    }
}

#endif

}  // namespace

extern "C" {

int64_t has_packed_product() {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

// packed has room for `outs` rounded up to COLUMNS times `ins`, an even number.
void lay_out_bfloat16(const bf16 *weight, bf16 *packed, int64_t outs, int64_t ins, int64_t threads) {
    lay_out(weight, packed, outs, ins, threads);
}

#ifdef __AVX512BF16__
// y (rows, outs) = x (rows, ins) times the weight, plus a bias (null for none).
void packed_product_bfloat16(const bf16 *x, const bf16 *packed, const bf16 *bias, bf16 *y, int64_t rows, int64_t ins, int64_t outs,
                             int64_t threads) {
    int64_t panels = (outs + COLUMNS - 1) / COLUMNS;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t first = panels * me / team, last = panels * (me + 1) / team;
        for (int64_t panel = first; panel < last; ++panel)
            one_panel(x, packed, bias, y, rows, ins, outs, panel, panel + 1 < last);
    }
}
#endif
}
