// Attention of one new token for each of several sequences over what is cached of them.

#include "numbers.h"

namespace {

// A static cache (slots, kv_heads, tokens, dim): a token's numbers lie together, slots and heads are found by their strides.
template <typename T>
struct Cache {
    const T *keys, *values;
    int64_t slot_stride, head_stride, dim;
};

// scores[h * count + j] = q[h] . key[j] for HEADS heads at once, so that each key is read once.
template <typename T, int CHUNKS, int HEADS>
void score_keys(const float *q, const T *key, int64_t count, float *scores) {
    constexpr int64_t dim = CHUNKS * LANES;
    Vector queries[HEADS][CHUNKS];
    for (int h = 0; h < HEADS; ++h)
        for (int c = 0; c < CHUNKS; ++c) queries[h][c] = read_vector(q + h * dim + c * LANES);
    for (int64_t j = 0; j < count; ++j) {
        Vector sums[HEADS] = {};
        for (int c = 0; c < CHUNKS; ++c) {
            Vector at = read_vector(key + j * dim + c * LANES);
            for (int h = 0; h < HEADS; ++h) sums[h] += queries[h][c] * at;
        }
        for (int h = 0; h < HEADS; ++h) scores[h * count + j] = sum_of(sums[h]);
    }
}

// mixed[h] = sum over j of scores[h * count + j] value[j].
template <typename T, int CHUNKS, int HEADS>
void mix_values(const float *scores, const T *value, int64_t count, float *mixed) {
    constexpr int64_t dim = CHUNKS * LANES;
    Vector sums[HEADS][CHUNKS] = {};
    for (int64_t j = 0; j < count; ++j)
        for (int c = 0; c < CHUNKS; ++c) {
            Vector at = read_vector(value + j * dim + c * LANES);
            for (int h = 0; h < HEADS; ++h) sums[h][c] += scores[h * count + j] * at;
        }
    for (int h = 0; h < HEADS; ++h)
        for (int c = 0; c < CHUNKS; ++c) *reinterpret_cast<Vector *>(mixed + h * dim + c * LANES) = sums[h][c];
}

inline void softmax(float *line, int64_t count, float softcap) {
    float highest = -INFINITY, sum = 0.0f;
    if (softcap > 0.0f)
        for (int64_t j = 0; j < count; ++j) line[j] = softcap * std::tanh(line[j] / softcap);
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < count; ++j) highest = std::max(highest, line[j]);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; ++j) {
        line[j] = exponential(line[j] - highest);
        sum += line[j];
    }
    for (int64_t j = 0; j < count; ++j) line[j] /= sum;
}

// The query heads of one key head: `count` keys from `from` on.
template <typename T, int CHUNKS>
void decode_unit(const T *query, const Cache<T> &cache, int64_t slot, int64_t head, T *out, int64_t group, int64_t from,
                 int64_t count, float scaling, float softcap, std::vector<float> &memory) {
    constexpr int64_t dim = CHUNKS * LANES;
    const T *key = cache.keys + slot * cache.slot_stride + head * cache.head_stride + from * dim;
    const T *value = cache.values + slot * cache.slot_stride + head * cache.head_stride + from * dim;
    memory.resize(group * (2 * dim + count));
    float *q = memory.data(), *mixed = q + group * dim, *scores = mixed + group * dim;
    for (int64_t i = 0; i < group * dim; ++i) q[i] = read(query[i]) * scaling;
    int64_t g = 0;
    for (; g + 3 <= group; g += 3) score_keys<T, CHUNKS, 3>(q + g * dim, key, count, scores + g * count);
    for (; g < group; ++g) score_keys<T, CHUNKS, 1>(q + g * dim, key, count, scores + g * count);
    for (g = 0; g < group; ++g) softmax(scores + g * count, count, softcap);
    for (g = 0; g + 3 <= group; g += 3) mix_values<T, CHUNKS, 3>(scores + g * count, value, count, mixed + g * dim);
    for (; g < group; ++g) mix_values<T, CHUNKS, 1>(scores + g * count, value, count, mixed + g * dim);
    for (int64_t i = 0; i < group * dim; ++i) write(out[i], mixed[i]);
}

// Sequence b attends to the cached tokens `first[b] … last[b]` of slot `slots[b]`; query and out are (batch, heads, dim).
template <typename T, int CHUNKS>
void decode_attention(const T *query, Cache<T> cache, T *out, const int64_t *slots, const int64_t *first, const int64_t *last,
                      int64_t batch, int64_t heads, int64_t kv_heads, float scaling, float softcap, int64_t threads) {
    int64_t group = heads / kv_heads;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        std::vector<float> memory;
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t b = 0; b < batch; ++b)
            for (int64_t head = 0; head < kv_heads; ++head) {
                int64_t row = (b * heads + head * group) * cache.dim;
                decode_unit<T, CHUNKS>(query + row, cache, slots[b], head, out + row, group, first[b], last[b] - first[b], scaling,
                                       softcap, memory);
            }
    }
}

}  // namespace

// The head sizes listed in decode_attention.py.
#define DECODING(T, TYPE)                                                                                                  \
    void decode_attention_##TYPE(const T *query, const T *keys, const T *values, T *out, const int64_t *slots,             \
                                 const int64_t *first, const int64_t *last, int64_t batch, int64_t heads,                  \
                                 int64_t kv_heads, int64_t dim, int64_t slot_stride, int64_t head_stride, float scaling,   \
                                 float softcap, int64_t threads) {                                                         \
        Cache<T> cache{keys, values, slot_stride, head_stride, dim};                                                       \
        auto run = [&](auto decode) {                                                                                      \
            decode(query, cache, out, slots, first, last, batch, heads, kv_heads, scaling, softcap, threads);              \
        };                                                                                                                 \
        if (dim == 32) run(decode_attention<T, 2>);                                                                        \
        if (dim == 64) run(decode_attention<T, 4>);                                                                        \
        if (dim == 80) run(decode_attention<T, 5>);                                                                        \
        if (dim == 96) run(decode_attention<T, 6>);                                                                        \
        if (dim == 128) run(decode_attention<T, 8>);                                                                       \
        if (dim == 256) run(decode_attention<T, 16>);                                                                      \
    }

extern "C" {
DECODING(float, float32)
DECODING(bf16, bfloat16)
}
