/* Vectors of the processor's own width. REAL is float or double; INTEGER has the same size. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef REAL
#define REAL float
#define INTEGER int32_t
#endif
#if defined(__AVX512F__) /* 32 registers of 64 bytes */
#define BYTES 64
#define GROUP 4
#elif defined(__AVX__) /* 16 registers of 32 bytes */
#define BYTES 32
#define GROUP 2
#elif defined(__aarch64__) /* 32 registers of 16 bytes */
#define BYTES 16
#define GROUP 4
#else
#define BYTES 16
#define GROUP 2
#endif
#define LANES ((int)(BYTES / sizeof(REAL)))
#define INLINE static inline __attribute__((always_inline))

typedef REAL vec __attribute__((vector_size(BYTES)));
typedef INTEGER ivec __attribute__((vector_size(BYTES)));
typedef uint8_t bytes __attribute__((vector_size(BYTES / sizeof(REAL))));

/* result[i] = (a, b)[index[i]] */
INLINE vec shuffle(vec a, vec b, ivec index)
{
#ifdef __clang__
    vec result;
    for (int lane = 0; lane < LANES; lane++)
        result[lane] = index[lane] < LANES ? a[index[lane]] : b[index[lane] - LANES];
    return result;
#else
    return __builtin_shuffle(a, b, index);
#endif
}

INLINE vec load(const REAL *from)
{
    vec value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(REAL *to, vec value)
{
    memcpy(to, &value, sizeof value);
}

INLINE vec choose(ivec condition, vec yes, vec no)
{
    return (vec)((condition & (ivec)yes) | (~condition & (ivec)no));
}

INLINE REAL total(vec values)
{
    REAL sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += values[lane];
    return sum;
}

/* Transpose LANES vectors in place: exchange blocks of 1 x 1, 2 x 2, 4 x 4, ... across the diagonal. */
INLINE void transpose(vec *rows)
{
#pragma GCC unroll 4
    for (int size = 1; size < LANES; size *= 2) {
        ivec first, second;
#pragma GCC unroll 16
        for (int lane = 0; lane < LANES; lane++) {
            first[lane] = lane & size ? LANES + lane - size : lane;
            second[lane] = lane & size ? LANES + lane : lane + size;
        }
#pragma GCC unroll 16
        for (int row = 0; row < LANES; row++)
            if (!(row & size)) {
                vec upper = rows[row], lower = rows[row + size];
                rows[row] = shuffle(upper, lower, first);
                rows[row + size] = shuffle(upper, lower, second);
            }
    }
}

/* The next of several tiles as equal as possible that have at most `most` of what is left. */
INLINE int64_t next_tile(int64_t rest, int64_t most)
{
    int64_t tiles = (rest + most - 1) / most;
    return (rest + tiles - 1) / tiles;
}

/* Memory for `count` numbers, aligned like vectors; NULL where there is none. */
INLINE void *numbers(int64_t count)
{
    return aligned_alloc(BYTES, ((size_t)count / LANES + 1) * BYTES);
}
