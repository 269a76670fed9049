// Attention of one new token for each of several sequences over what is cached of them.

#include "numbers.h"

#include <type_traits>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

// A static cache (slots, kv_heads, tokens, dim): a token's numbers lie together, slots and heads are found by their strides.
template <typename T>
struct Cache {
    T *keys, *values;
    int64_t slot_stride, head_stride, dim;
};

// Ask for BYTES of memory that are read soon.
template <int64_t BYTES>
inline void fetch(const char *from) {
    for (int64_t i = 0; i < BYTES; i += 64) __builtin_prefetch(from + i, 0, 2);
}

// scores[h * count + j] = q[h] . key[j] for HEADS heads at once, so that each key is read once.
template <typename T, int CHUNKS, int HEADS>
void score_keys(const float *q, const T *key, int64_t count, float *scores, const char *ahead) {
    constexpr int64_t dim = CHUNKS * LANES;
    Vector queries[HEADS][CHUNKS];
    for (int h = 0; h < HEADS; ++h)
        for (int c = 0; c < CHUNKS; ++c) queries[h][c] = read_vector(q + h * dim + c * LANES);
    for (int64_t j = 0; j < count; ++j) {
        fetch<dim * sizeof(T)>(ahead + j * dim * sizeof(T));
        Vector sums[HEADS] = {};
        for (int c = 0; c < CHUNKS; ++c) {
            Vector at = read_vector(key + j * dim + c * LANES);
            for (int h = 0; h < HEADS; ++h) sums[h] += queries[h][c] * at;
        }
        for (int h = 0; h < HEADS; ++h) scores[h * count + j] = sum_of(sums[h]);
    }
}

// mixed[h] = sum over j of scores[h * count + j] value[j]; meanwhile what is needed next is fetched from `ahead` on.
template <typename T, int CHUNKS, int HEADS>
void mix_values(const float *scores, const T *value, int64_t count, float *mixed, const char *ahead) {
    constexpr int64_t dim = CHUNKS * LANES;
    Vector sums[HEADS][CHUNKS] = {};
    for (int64_t j = 0; j < count; ++j) {
        fetch<dim * sizeof(T)>(ahead + j * dim * sizeof(T));
        for (int c = 0; c < CHUNKS; ++c) {
            Vector at = read_vector(value + j * dim + c * LANES);
            for (int h = 0; h < HEADS; ++h) sums[h][c] += scores[h * count + j] * at;
        }
    }
    for (int h = 0; h < HEADS; ++h)
        for (int c = 0; c < CHUNKS; ++c) *reinterpret_cast<Vector *>(mixed + h * dim + c * LANES) = sums[h][c];
}

#ifdef __AVX512BF16__

inline __m512 halves(__m512 a, __m512 b) {  // of 4 + 4 quarters, their sums two by two
    return _mm512_shuffle_f32x4(a, b, 0x88) + _mm512_shuffle_f32x4(a, b, 0xdd);
}

// The sums of 16 vectors, in order.
inline __m512 sums_of(const __m512 *rows) {
    __m512 twos[8], fours[4];
    for (int i = 0; i < 8; ++i)
        twos[i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]) + _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    for (int i = 0; i < 4; ++i) {
        __m512d a = _mm512_castps_pd(twos[2 * i]), b = _mm512_castps_pd(twos[2 * i + 1]);
        fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)) + _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    return halves(halves(fours[0], fours[1]), halves(fours[2], fours[3]));
}

// The same as `score_keys` in bfloat16, products and all: 16 keys at a time, so that their sums are taken together.
template <int WIDE>
void score_keys_bf16(const bf16 *q, const bf16 *key, int64_t count, int64_t heads, float *scores, const char *ahead) {
    constexpr int64_t dim = WIDE * 2 * LANES;
    for (int64_t j = 0; j < count; j += LANES) {
        int64_t here = std::min<int64_t>(LANES, count - j);
        __mmask16 mask = static_cast<__mmask16>((1u << here) - 1);
        for (int64_t i = 0; i < here; ++i) fetch<dim * sizeof(bf16)>(ahead + (j + i) * dim * sizeof(bf16));
        for (int64_t h = 0; h < heads; ++h) {
            __m512 rows[LANES];
            for (int64_t i = 0; i < LANES; ++i) {
                const bf16 *at = key + (j + std::min(i, here - 1)) * dim;
                __m512 sum = _mm512_setzero_ps();
                for (int w = 0; w < WIDE; ++w)
                    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_loadu_si512(q + h * dim + w * 2 * LANES)),
                                           reinterpret_cast<__m512bh>(_mm512_loadu_si512(at + w * 2 * LANES)));
                rows[i] = sum;
            }
            _mm512_mask_storeu_ps(scores + h * count + j, mask, sums_of(rows));
        }
    }
}

#endif

inline void softmax(float *line, int64_t count, float scaling, float softcap) {
    float highest = -INFINITY, sum = 0.0f;
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) line[j] *= scaling;
    if (softcap > 0.0f)
        for (int64_t j = 0; j < count; ++j) line[j] = softcap * std::tanh(line[j] / softcap);
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < count; ++j) highest = std::max(highest, line[j]);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; ++j) {
        line[j] = exponential(line[j] - highest);
        sum += line[j];
    }
    float factor = 1.0f / sum;
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) line[j] *= factor;
}

// The scores of all heads of a group.
template <typename T, int CHUNKS>
void score_group(const float *q, const T *key, int64_t count, int64_t group, float *scores, const char *ahead) {
    constexpr int64_t dim = CHUNKS * LANES;
#ifdef __AVX512BF16__
    if constexpr (std::is_same_v<T, bf16> && CHUNKS % 2 == 0) {
        std::vector<bf16> narrow(group * dim);  // exact: q comes from this type, or is rounded once
        for (int64_t i = 0; i < group * dim; ++i) write(narrow[i], q[i]);
        return score_keys_bf16<CHUNKS / 2>(narrow.data(), key, count, group, scores, ahead);
    }
#endif
    int64_t g = 0;
    for (; g + 3 <= group; g += 3) score_keys<T, CHUNKS, 3>(q + g * dim, key, count, scores + g * count, ahead);
    for (; g < group; ++g) score_keys<T, CHUNKS, 1>(q + g * dim, key, count, scores + g * count, ahead);
}

// How to attend, and the part of the cache that the same thread attends to next.
struct Attending {
    float scaling, softcap;
    const char *next;
};

// The query heads `q` of one key head over `count` keys from `from` on; `room` is for group * (dim + count) numbers.
template <typename T, int CHUNKS>
void attend(const float *q, const Cache<T> &cache, int64_t slot, int64_t head, T *out, int64_t group, int64_t from, int64_t count,
            const Attending &how, float *room) {
    constexpr int64_t dim = CHUNKS * LANES;
    const T *key = cache.keys + slot * cache.slot_stride + head * cache.head_stride + from * dim;
    const T *value = cache.values + slot * cache.slot_stride + head * cache.head_stride + from * dim;
    float *mixed = room, *scores = mixed + group * dim;
    score_group<T, CHUNKS>(q, key, count, group, scores, reinterpret_cast<const char *>(value));
    int64_t g = 0;
    for (g = 0; g < group; ++g) softmax(scores + g * count, count, how.scaling, how.softcap);
    for (g = 0; g + 3 <= group; g += 3)
        mix_values<T, CHUNKS, 3>(scores + g * count, value, count, mixed + g * dim, how.next);
    for (; g < group; ++g) mix_values<T, CHUNKS, 1>(scores + g * count, value, count, mixed + g * dim, how.next);
    for (int64_t i = 0; i < group * dim; ++i) write(out[i], mixed[i]);
}

// Where the keys lie that a thread attends to after `unit`, with all threads taking turns.
template <typename T>
const char *next_keys(const Cache<T> &cache, int64_t unit, int64_t kv_heads, const int64_t *slots, const int64_t *first, int64_t units) {
    int64_t next = std::min(unit + omp_get_num_threads(), units - 1), b = next / kv_heads, head = next % kv_heads;
    return reinterpret_cast<const char *>(cache.keys + slots[b] * cache.slot_stride + head * cache.head_stride + first[b] * cache.dim);
}

// Sequence b attends to the cached tokens `first[b] … last[b]` of slot `slots[b]`; query and out are (batch, heads, dim).
template <typename T, int CHUNKS>
void decode_attention(const T *query, Cache<T> cache, T *out, const int64_t *slots, const int64_t *first, const int64_t *last,
                      int64_t batch, int64_t heads, int64_t kv_heads, float scaling, float softcap, int64_t threads) {
    int64_t group = heads / kv_heads, units = batch * kv_heads;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        std::vector<float> memory;
#pragma omp for schedule(static, 1)
        for (int64_t unit = 0; unit < units; ++unit) {
            int64_t b = unit / kv_heads, head = unit % kv_heads;
            int64_t row = (b * heads + head * group) * cache.dim, count = last[b] - first[b];
            memory.resize(group * (2 * cache.dim + count));
            float *q = memory.data();
            for (int64_t i = 0; i < group * cache.dim; ++i) q[i] = read(query[row + i]);
            attend<T, CHUNKS>(q, cache, slots[b], head, out + row, group, first[b], count,
                              {scaling, softcap, next_keys(cache, unit, kv_heads, slots, first, units)}, q + group * cache.dim);
        }
    }
}

// What a layer does to the projections of the new tokens before they attend.
template <typename T>
struct Turning {
    const T *cosine, *sine;  // (batch, rotated)
    int64_t rotated;
    const T *query_norm, *key_norm;  // null for none
    float eps, offset;
};

// One head, normalised and turned (elementwise.cpp: rms_norm_forward, rotate).
template <typename T, typename Out>
void turn(const T *in, Out *out, const Turning<T> &how, const T *norm, int64_t b, int64_t dim) {
    float at[256];
    float sum = 0.0f, factor = 1.0f;
    for (int64_t i = 0; i < dim; ++i) at[i] = read(in[i]);
    if (norm) {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < dim; ++i) sum += at[i] * at[i];
        factor = 1.0f / std::sqrt(sum / static_cast<float>(dim) + how.eps);
        for (int64_t i = 0; i < dim; ++i) at[i] *= factor * (read(norm[i]) + how.offset);
    }
    const T *cosine = how.cosine + b * how.rotated, *sine = how.sine + b * how.rotated;
    int64_t half = how.rotated / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
        write(out[i], at[i] * read(cosine[i]) - at[half + i] * read(sine[i]));
        write(out[half + i], at[half + i] * read(cosine[half + i]) + at[i] * read(sine[half + i]));
    }
    for (int64_t i = how.rotated; i < dim; ++i) write(out[i], at[i]);
}

// From the projections (batch, heads + 2 kv_heads, dim) of one new token each: turn queries and keys, write keys and values
// into the cache as token `last[b] - 1` of slot `slots[b]`, and attend.
template <typename T, int CHUNKS>
void decode_rows(const T *rows, const Turning<T> &how, Cache<T> cache, T *out, const int64_t *slots, const int64_t *first,
                 const int64_t *last, int64_t batch, int64_t heads, int64_t kv_heads, float scaling, int64_t threads) {
    constexpr int64_t dim = CHUNKS * LANES;
    int64_t group = heads / kv_heads, units = batch * kv_heads;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        std::vector<float> memory;
#pragma omp for schedule(static, 1)
        for (int64_t unit = 0; unit < units; ++unit) {
            int64_t b = unit / kv_heads, head = unit % kv_heads, count = last[b] - first[b];
            const T *row = rows + b * (heads + 2 * kv_heads) * dim, *query = row + head * group * dim;
            int64_t place = slots[b] * cache.slot_stride + head * cache.head_stride + (last[b] - 1) * dim;
            turn(row + (heads + head) * dim, cache.keys + place, how, how.key_norm, b, dim);
            std::memcpy(cache.values + place, row + (heads + kv_heads + head) * dim, dim * sizeof(T));
            memory.resize(group * (2 * dim + count));
            float *q = memory.data();
            for (int64_t g = 0; g < group; ++g) turn(query + g * dim, q + g * dim, how, how.query_norm, b, dim);
            attend<T, CHUNKS>(q, cache, slots[b], head, out + (b * heads + head * group) * dim, group, first[b], count,
                              {scaling, 0.0f, next_keys(cache, unit, kv_heads, slots, first, units)}, q + group * dim);
        }
    }
}

// x += more (if there is any), then y = norm(x) as in elementwise.cpp.
template <typename T>
void add_norm(T *x, const T *more, const T *weight, T *y, int64_t rows, int64_t size, float eps, float offset, int64_t threads) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
        T *in = x + row * size, *out = y + row * size;
        const T *add = more ? more + row * size : nullptr;
        float sum = 0.0f;
        if (add) {
#pragma omp simd
            for (int64_t i = 0; i < size; ++i) write(in[i], read(in[i]) + read(add[i]));
        }
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; ++i) sum += read(in[i]) * read(in[i]);
        float factor = 1.0f / std::sqrt(sum / static_cast<float>(size) + eps);
#pragma omp simd
        for (int64_t i = 0; i < size; ++i) write(out[i], read(in[i]) * factor * (read(weight[i]) + offset));
    }
}

}  // namespace

// The head sizes listed in decode_attention.py.
#define FOR_HEAD_SIZE(FUNCTION)                \
    if (dim == 32) run(FUNCTION<T_, 2>);       \
    if (dim == 64) run(FUNCTION<T_, 4>);       \
    if (dim == 80) run(FUNCTION<T_, 5>);       \
    if (dim == 96) run(FUNCTION<T_, 6>);       \
    if (dim == 128) run(FUNCTION<T_, 8>);      \
    if (dim == 256) run(FUNCTION<T_, 16>);

#define DECODING(T, TYPE)                                                                                                  \
    void decode_attention_##TYPE(const T *query, T *keys, T *values, T *out, const int64_t *slots, const int64_t *first,   \
                                 const int64_t *last, int64_t batch, int64_t heads, int64_t kv_heads, int64_t dim,         \
                                 int64_t slot_stride, int64_t head_stride, float scaling, float softcap,                   \
                                 int64_t threads) {                                                                        \
        using T_ = T;                                                                                                      \
        Cache<T> cache{keys, values, slot_stride, head_stride, dim};                                                       \
        auto run = [&](auto decode) {                                                                                      \
            decode(query, cache, out, slots, first, last, batch, heads, kv_heads, scaling, softcap, threads);              \
        };                                                                                                                 \
        FOR_HEAD_SIZE(decode_attention)                                                                                    \
    }                                                                                                                      \
    void decode_rows_##TYPE(const T *rows, T *keys, T *values, T *out, const T *cosine, const T *sine,                     \
                            const T *query_norm, const T *key_norm, const int64_t *slots, const int64_t *first,            \
                            const int64_t *last, int64_t batch, int64_t heads, int64_t kv_heads, int64_t dim,              \
                            int64_t rotated, int64_t slot_stride, int64_t head_stride, float eps, float offset,            \
                            float scaling, int64_t threads) {                                                              \
        using T_ = T;                                                                                                      \
        Cache<T> cache{keys, values, slot_stride, head_stride, dim};                                                       \
        Turning<T> how{cosine, sine, rotated, query_norm, key_norm, eps, offset};                                          \
        auto run = [&](auto decode) {                                                                                      \
            decode(rows, how, cache, out, slots, first, last, batch, heads, kv_heads, scaling, threads);                   \
        };                                                                                                                 \
        FOR_HEAD_SIZE(decode_rows)                                                                                         \
    }                                                                                                                      \
    void add_norm_##TYPE(T *x, const T *more, const T *weight, T *y, int64_t rows, int64_t size, float eps, float offset,  \
                         int64_t threads) {                                                                                \
        add_norm<T>(x, more, weight, y, rows, size, eps, offset, threads);                                                 \
    }

extern "C" {
DECODING(float, float32)
DECODING(bf16, bfloat16)
}
