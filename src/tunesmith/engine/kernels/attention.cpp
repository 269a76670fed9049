// Attention over a forest of segments: a token sees its own segment up to itself, and all tokens of the segment's ancestors.
//
// One unit of work is one segment and one key head. The keys it sees, gathered from the root of its path on, become
// float32 matrices that fit the second-level cache; the query heads of that key head pass over them in blocks of rows,
// skipping what lies in the future. The forward pass keeps the logarithm of each row's normaliser, the backward pass
// computes the probabilities again (Dao et al. 2022, "FlashAttention", arXiv:2205.14135, section 3.1).
// An index into a path is a position, so causality and sliding windows are comparisons of indices.

#include "numbers.h"

namespace {

constexpr int64_t TILE_ROWS = 8, TILE_COLUMNS = 2 * LANES, BLOCK = 32;

inline int64_t round_up(int64_t value) { return (value + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS; }

// c (ROWS x 32) = or += a (ROWS x depth) b (depth x 32); an element of a is found by its two strides.
template <int64_t ROWS>
inline void multiply_tile(const float *a, int64_t row_stride, int64_t step, const float *b, int64_t b_stride, float *c,
                          int64_t c_stride, int64_t depth, bool add) {
    Vector left[ROWS], right[ROWS];
    for (int64_t r = 0; r < ROWS; ++r) {
        left[r] = add ? *reinterpret_cast<const Vector *>(c + r * c_stride) : Vector{};
        right[r] = add ? *reinterpret_cast<const Vector *>(c + r * c_stride + LANES) : Vector{};
    }
    for (int64_t k = 0; k < depth; ++k) {
        Vector first = *reinterpret_cast<const Vector *>(b + k * b_stride);
        Vector second = *reinterpret_cast<const Vector *>(b + k * b_stride + LANES);
        for (int64_t r = 0; r < ROWS; ++r) {
            float factor = a[r * row_stride + k * step];
            left[r] += factor * first;
            right[r] += factor * second;
        }
    }
    for (int64_t r = 0; r < ROWS; ++r) {
        *reinterpret_cast<Vector *>(c + r * c_stride) = left[r];
        *reinterpret_cast<Vector *>(c + r * c_stride + LANES) = right[r];
    }
}

// c (rows x columns) = or += a b; columns a multiple of 32.
inline void multiply(const float *a, int64_t row_stride, int64_t step, const float *b, int64_t b_stride, float *c,
                     int64_t c_stride, int64_t rows, int64_t columns, int64_t depth, bool add) {
    for (int64_t column = 0; column < columns; column += TILE_COLUMNS) {
        int64_t row = 0;
        for (; row + TILE_ROWS <= rows; row += TILE_ROWS)
            multiply_tile<TILE_ROWS>(a + row * row_stride, row_stride, step, b + column, b_stride, c + row * c_stride + column,
                                     c_stride, depth, add);
        for (; row < rows; ++row)
            multiply_tile<1>(a + row * row_stride, row_stride, step, b + column, b_stride, c + row * c_stride + column, c_stride,
                             depth, add);
    }
}

// The forest as the kernels see it: the path of segment s is the ranges `first[s] … first[s + 1]`, its own tokens last.
struct Forest {
    const int64_t *first, *start, *length;
    int64_t segments, tokens;

    int64_t own_range(int64_t segment) const { return first[segment + 1] - 1; }
    int64_t path_length(int64_t segment) const {
        int64_t sum = 0;
        for (int64_t r = first[segment]; r < first[segment + 1]; ++r) sum += length[r];
        return sum;
    }
};

struct Shape {
    int64_t heads, kv_heads, dim, window;  // window 0: none
    float scaling;
};

// Rows of a path's keys or values, (path, padded) and, where asked for, transposed, (dim, padded path).
template <typename T>
void gather(const T *head, const Forest &forest, int64_t segment, int64_t dim, float *rows, int64_t row_stride, float *columns,
            int64_t column_stride) {
    int64_t place = 0;
    for (int64_t r = forest.first[segment]; r < forest.first[segment + 1]; ++r)
        for (int64_t i = 0; i < forest.length[r]; ++i, ++place) {
            const T *from = head + (forest.start[r] + i) * dim;
            if (rows) {
#pragma omp simd
                for (int64_t d = 0; d < dim; ++d) rows[place * row_stride + d] = read(from[d]);
            }
            if (columns)
                for (int64_t d = 0; d < dim; ++d) columns[d * column_stride + place] = read(from[d]);
        }
}

// The keys a block of query rows may see: [low, high) of the path, and for single rows.
struct Sight {
    int64_t before, window;  // tokens of ancestors
    int64_t high(int64_t row) const { return before + row + 1; }
    int64_t low(int64_t row) const { return window ? std::max<int64_t>(0, high(row) - window) : 0; }
};

// Scratch memory of a thread, float32, reused from unit to unit.
struct Scratch {
    std::vector<float> memory;
    size_t used = 0;
    void reserve(size_t count) {
        used = 0;
        if (memory.size() < count) memory.resize(count);
    }
    float *take(size_t count, bool zero = false) {
        float *place = memory.data() + used;
        used += count;
        if (zero) std::memset(place, 0, count * sizeof(float));
        return place;
    }
};

template <typename T>
void forward_unit(const T *query, const T *keys, const T *values, T *out, float *normaliser, const Forest &forest,
                  const Shape &shape, int64_t segment, int64_t kv_head, Scratch &scratch) {
    int64_t dim = shape.dim, padded_dim = round_up(dim), path = forest.path_length(segment), padded = round_up(path);
    int64_t start = forest.start[forest.own_range(segment)], length = forest.length[forest.own_range(segment)];
    scratch.reserve(dim * padded + path * padded_dim + BLOCK * (padded + padded_dim + dim));
    float *key_columns = scratch.take(dim * padded, true), *value_rows = scratch.take(path * padded_dim, true);
    float *p = scratch.take(BLOCK * padded), *o = scratch.take(BLOCK * padded_dim), *q = scratch.take(BLOCK * dim);
    gather(keys + kv_head * forest.tokens * dim, forest, segment, dim, nullptr, 0, key_columns, padded);
    gather(values + kv_head * forest.tokens * dim, forest, segment, dim, value_rows, padded_dim, nullptr, 0);
    int64_t group = shape.heads / shape.kv_heads;
    Sight sight{path - length, shape.window};
    for (int64_t g = 0; g < group; ++g) {
        int64_t head = kv_head * group + g;
        for (int64_t row = 0; row < length; row += BLOCK) {
            int64_t rows = std::min(BLOCK, length - row), low = sight.low(row), high = sight.high(row + rows - 1);
            int64_t from = low / TILE_COLUMNS * TILE_COLUMNS, columns = round_up(high) - from;
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t d = 0; d < dim; ++d)
                    q[r * dim + d] = read(query[(head * forest.tokens + start + row + r) * dim + d]) * shape.scaling;
            multiply(q, dim, 1, key_columns + from, padded, p, padded, rows, columns, dim, false);
            for (int64_t r = 0; r < rows; ++r) {
                float *line = p + r * padded - from, highest = -INFINITY, sum = 0.0f;
                int64_t first = sight.low(row + r), last = sight.high(row + r);
#pragma omp simd reduction(max : highest)
                for (int64_t j = first; j < last; ++j) highest = std::max(highest, line[j]);
#pragma omp simd reduction(+ : sum)
                for (int64_t j = first; j < last; ++j) {
                    line[j] = exponential(line[j] - highest);
                    sum += line[j];
                }
                float factor = 1.0f / sum;
#pragma omp simd
                for (int64_t j = first; j < last; ++j) line[j] *= factor;
                std::fill(line + from, line + first, 0.0f);
                std::fill(line + last, line + from + columns, 0.0f);
                normaliser[head * forest.tokens + start + row + r] = highest + std::log(sum);
            }
            multiply(p, padded, 1, value_rows + from * padded_dim, padded_dim, o, padded_dim, rows, padded_dim, high - from, false);
            for (int64_t r = 0; r < rows; ++r) {
                T *to = out + ((start + row + r) * shape.heads + head) * dim;
                for (int64_t d = 0; d < dim; ++d) write(to[d], o[r * padded_dim + d]);
            }
        }
    }
}

// Gradients of a unit: of its queries, and into `dk`, `dv` (path, padded dim) of all keys and values it sees.
template <typename T>
void backward_unit(const T *grad, const T *query, const T *keys, const T *values, const T *out, const float *normaliser, T *dquery,
                   const Forest &forest, const Shape &shape, int64_t segment, int64_t kv_head, Scratch &scratch, float *&dk,
                   float *&dv) {
    int64_t dim = shape.dim, padded_dim = round_up(dim), path = forest.path_length(segment), padded = round_up(path);
    int64_t start = forest.start[forest.own_range(segment)], length = forest.length[forest.own_range(segment)];
    scratch.reserve(2 * dim * padded + 3 * path * padded_dim + BLOCK * (2 * padded + 3 * padded_dim));
    float *key_columns = scratch.take(dim * padded, true), *value_columns = scratch.take(dim * padded, true);
    float *key_rows = scratch.take(path * padded_dim, true);
    dk = scratch.take(path * padded_dim, true), dv = scratch.take(path * padded_dim, true);
    float *p = scratch.take(BLOCK * padded), *ds = scratch.take(BLOCK * padded);
    float *q = scratch.take(BLOCK * padded_dim, true), *d_out = scratch.take(BLOCK * padded_dim, true);
    float *dq = scratch.take(BLOCK * padded_dim);
    gather(keys + kv_head * forest.tokens * dim, forest, segment, dim, key_rows, padded_dim, key_columns, padded);
    gather(values + kv_head * forest.tokens * dim, forest, segment, dim, nullptr, 0, value_columns, padded);
    int64_t group = shape.heads / shape.kv_heads;
    Sight sight{path - length, shape.window};
    for (int64_t g = 0; g < group; ++g) {
        int64_t head = kv_head * group + g;
        for (int64_t row = 0; row < length; row += BLOCK) {
            int64_t rows = std::min(BLOCK, length - row), low = sight.low(row), high = sight.high(row + rows - 1);
            int64_t from = low / TILE_COLUMNS * TILE_COLUMNS, columns = round_up(high) - from;
            float delta[BLOCK];
            for (int64_t r = 0; r < rows; ++r) {
                int64_t token = start + row + r;
                const T *from_query = query + (head * forest.tokens + token) * dim;
                const T *from_grad = grad + (token * shape.heads + head) * dim, *from_out = out + (token * shape.heads + head) * dim;
                float sum = 0.0f;
                for (int64_t d = 0; d < dim; ++d) {
                    q[r * padded_dim + d] = read(from_query[d]) * shape.scaling;
                    d_out[r * padded_dim + d] = read(from_grad[d]);
                    sum += read(from_grad[d]) * read(from_out[d]);
                }
                delta[r] = sum;
            }
            multiply(q, padded_dim, 1, key_columns + from, padded, p, padded, rows, columns, dim, false);
            multiply(d_out, padded_dim, 1, value_columns + from, padded, ds, padded, rows, columns, dim, false);
            for (int64_t r = 0; r < rows; ++r) {
                float *line = p + r * padded - from, *slope = ds + r * padded - from;
                float shift = normaliser[head * forest.tokens + start + row + r];
                int64_t first = sight.low(row + r), last = sight.high(row + r);
#pragma omp simd
                for (int64_t j = first; j < last; ++j) {
                    line[j] = exponential(line[j] - shift);
                    slope[j] = line[j] * (slope[j] - delta[r]);
                }
                std::fill(line + from, line + first, 0.0f);
                std::fill(line + last, line + from + columns, 0.0f);
                std::fill(slope + from, slope + first, 0.0f);
                std::fill(slope + last, slope + from + columns, 0.0f);
            }
            multiply(ds, padded, 1, key_rows + from * padded_dim, padded_dim, dq, padded_dim, rows, padded_dim, high - from, false);
            multiply(ds, 1, padded, q, padded_dim, dk + from * padded_dim, padded_dim, high - from, padded_dim, rows, true);
            multiply(p, 1, padded, d_out, padded_dim, dv + from * padded_dim, padded_dim, high - from, padded_dim, rows, true);
            for (int64_t r = 0; r < rows; ++r) {
                T *to = dquery + (head * forest.tokens + start + row + r) * dim;
                for (int64_t d = 0; d < dim; ++d) write(to[d], dq[r * padded_dim + d] * shape.scaling);
            }
        }
    }
}

template <typename T>
void attention_forward(const T *query, const T *keys, const T *values, T *out, float *normaliser, Forest forest, Shape shape,
                       int64_t threads) {
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        Scratch scratch;
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t segment = 0; segment < forest.segments; ++segment)
            for (int64_t head = 0; head < shape.kv_heads; ++head)
                forward_unit(query, keys, values, out, normaliser, forest, shape, segment, head, scratch);
    }
}

// Keys and values of a segment with descendants get gradients from several units: `is_shared` (tokens) marks them; each
// thread adds up its own part, and the parts are added in the order of the threads, whose units are dealt out in turn.
template <typename T>
void attention_backward(const T *grad, const T *query, const T *keys, const T *values, const T *out, const float *normaliser,
                        T *dquery, T *dkeys, T *dvalues, const uint8_t *is_shared, int64_t any_shared, Forest forest, Shape shape,
                        int64_t threads) {
    int64_t dim = shape.dim, padded_dim = round_up(dim), size = shape.kv_heads * forest.tokens * dim;
    std::vector<float> parts(any_shared ? static_cast<size_t>(threads) * 2 * size : 0, 0.0f);
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
        Scratch scratch;
        float *part = any_shared ? parts.data() + static_cast<size_t>(omp_get_thread_num()) * 2 * size : nullptr;
#pragma omp for collapse(2) schedule(static, 1)
        for (int64_t segment = 0; segment < forest.segments; ++segment)
            for (int64_t head = 0; head < shape.kv_heads; ++head) {
                float *dk, *dv;
                backward_unit(grad, query, keys, values, out, normaliser, dquery, forest, shape, segment, head, scratch, dk, dv);
                for (int64_t r = forest.first[segment]; r < forest.first[segment + 1]; ++r)
                    for (int64_t i = 0; i < forest.length[r]; ++i, dk += padded_dim, dv += padded_dim) {
                        int64_t token = forest.start[r] + i, place = (head * forest.tokens + token) * dim;
                        if (any_shared && is_shared[token])
                            for (int64_t d = 0; d < dim; ++d) part[place + d] += dk[d], part[size + place + d] += dv[d];
                        else
                            for (int64_t d = 0; d < dim; ++d) write(dkeys[place + d], dk[d]), write(dvalues[place + d], dv[d]);
                    }
            }
    }
    if (!any_shared) return;
    for (int64_t head = 0; head < shape.kv_heads; ++head)
        for (int64_t token = 0; token < forest.tokens; ++token) {
            if (!is_shared[token]) continue;
            for (int64_t d = 0, place = (head * forest.tokens + token) * dim; d < dim; ++d, ++place) {
                float key = 0.0f, value = 0.0f;
                for (int64_t t = 0; t < threads; ++t) key += parts[t * 2 * size + place], value += parts[(t * 2 + 1) * size + place];
                write(dkeys[place], key), write(dvalues[place], value);
            }
        }
}

}  // namespace

#define ATTENTION(T, TYPE)                                                                                                   \
    void attention_forward_##TYPE(const T *query, const T *keys, const T *values, T *out, float *normaliser,                 \
                                  const int64_t *first, const int64_t *start, const int64_t *length, int64_t segments,       \
                                  int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim, int64_t window,              \
                                  float scaling, int64_t threads) {                                                          \
        attention_forward<T>(query, keys, values, out, normaliser, {first, start, length, segments, tokens},                 \
                             {heads, kv_heads, dim, window, scaling}, threads);                                              \
    }                                                                                                                        \
    void attention_backward_##TYPE(const T *grad, const T *query, const T *keys, const T *values, const T *out,              \
                                   const float *normaliser, T *dquery, T *dkeys, T *dvalues, const uint8_t *is_shared,       \
                                   int64_t any_shared, const int64_t *first, const int64_t *start, const int64_t *length,    \
                                   int64_t segments, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim,           \
                                   int64_t window, float scaling, int64_t threads) {                                         \
        attention_backward<T>(grad, query, keys, values, out, normaliser, dquery, dkeys, dvalues, is_shared, any_shared,     \
                              {first, start, length, segments, tokens}, {heads, kv_heads, dim, window, scaling}, threads);   \
    }

extern "C" {
ATTENTION(float, float32)
ATTENTION(bf16, bfloat16)
}
