/* Matrix products with few rows, for which a library's own product prepares longer than it multiplies. */

#include "vectors.h"

#define ROWS 4
#define WIDE (GROUP == 4 ? 7 : 3) /* vectors of a row: ROWS * WIDE sums stay in registers */
#define BLOCK 16                  /* rows of a task */
#define DEEP 64                   /* rows of b that all rows of a task use before the next ones: they stay in the cache */

/* c = a b + bias: a [m, k] with any strides, b [k, n] and c [m, width] contiguous. n is at least LANES: see `padded`. */
typedef struct {
    const REAL *a, *b, *bias;
    REAL *c;
    int64_t m, k, n, row, column; /* strides of a */
    int64_t width, relu, add;     /* columns of c that are kept; c += a b */
} Product;

/* Columns that b of a product must have. */
INLINE int64_t padded(int64_t columns) { return columns < LANES ? LANES : columns; }

/* A vector, or the `count` numbers that there are of it. */
INLINE vec load_some(const REAL *from, int64_t count)
{
    if (count >= LANES)
        return load(from);
    vec value = {0};
    memcpy(&value, from, count * sizeof(REAL));
    return value;
}

INLINE void store_some(REAL *to, vec value, int64_t count)
{
    if (count >= LANES)
        store(to, value);
    else
        memcpy(to, &value, count * sizeof(REAL));
}

/* ROWS rows by `count` vectors, for `depth` rows of b from `start` on; the last vector ends with the last column and may overlap the
   one before it, in the same tile. Only `valid` rows exist; they are computed as in a whole tile, so that a row is the same to the
   bit wherever it is in a batch. */
INLINE void tile(const Product *p, int64_t first, int64_t column, int64_t valid, int64_t start, const int count)
{
    vec sums[ROWS][WIDE];
    int64_t places[WIDE], rows[ROWS], depth = p->k - start < DEEP ? p->k - start : DEEP;
    const int begun = start || p->add, ends = start + depth == p->k;
    for (int v = 0; v < count; v++)
        places[v] = column + v * LANES < p->n - LANES ? column + v * LANES : p->n - LANES;
    for (int r = 0; r < ROWS; r++) {
        int64_t row = r < valid ? r : 0;
        rows[r] = row * p->row;
        for (int v = 0; v < count; v++) {
            const REAL *c = p->c + (first + row) * p->width + places[v];
            sums[r][v] = begun ? load_some(c, p->width) : p->bias ? load(p->bias + places[v]) : (vec){0};
        }
    }
    const REAL *a = p->a + first * p->row + start * p->column, *b = p->b + start * p->n;
    for (int64_t i = 0; i < depth; i++, a += p->column, b += p->n)
        for (int v = 0; v < count; v++) {
            vec value = load(b + places[v]);
            for (int r = 0; r < ROWS; r++)
                sums[r][v] += a[rows[r]] * value;
        }
    for (int r = 0; r < ROWS && r < valid; r++)
        for (int v = 0; v < count; v++) {
            vec value = p->relu && ends ? choose(sums[r][v] <= 0, (vec){0}, sums[r][v]) : sums[r][v]; /* NaN stays */
            store_some(p->c + (first + r) * p->width + places[v], value, p->width);
        }
}

INLINE void rows_of(const Product *p, int64_t first, int64_t valid, int64_t start)
{
#define TILE(count)                                      \
    case count:                                          \
        tile(p, first, column, valid, start, count);     \
        break;
    for (int64_t column = 0, count; column < p->n; column += count * LANES) {
        count = next_tile((p->n - column + LANES - 1) / LANES, WIDE);
        switch (count) {
            TILE(1) TILE(2) TILE(3)
#if GROUP == 4
            TILE(4) TILE(5) TILE(6) TILE(7)
#endif
        }
    }
#undef TILE
}

/* BLOCK rows of c, or as many as there are. */
static void product_rows(const Product *p, int64_t block)
{
    int64_t end = (block + 1) * BLOCK < p->m ? (block + 1) * BLOCK : p->m;
    for (int64_t start = 0; start < p->k; start += DEEP)
        for (int64_t first = block * BLOCK; first < end; first += ROWS)
            rows_of(p, first, end - first < ROWS ? end - first : ROWS, start);
}

/* Copies `rows` rows of `columns` numbers into rows of padded(columns), the rest 0. */
INLINE void pad_rows(const REAL *from, REAL *to, int64_t rows, int64_t columns)
{
    memset(to, 0, rows * padded(columns) * sizeof(REAL));
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * padded(columns), from + i * columns, columns * sizeof(REAL));
}

/* Rows `first` to `end` of a matrix [rows, columns] become columns of one [columns, rows]. */
INLINE void turn(const REAL *from, REAL *to, int64_t first, int64_t end, int64_t columns, int64_t rows)
{
    int64_t i = first;
    vec square[LANES];
    for (; i + LANES <= end; i += LANES) {
        int64_t o = 0;
        for (; o + LANES <= columns; o += LANES) {
            for (int r = 0; r < LANES; r++)
                square[r] = load(from + (i + r) * columns + o);
            transpose(square);
            for (int r = 0; r < LANES; r++)
                store(to + (o + r) * rows + i, square[r]);
        }
        for (; o < columns; o++)
            for (int r = 0; r < LANES; r++)
                to[o * rows + i + r] = from[(i + r) * columns + o];
    }
    for (; i < end; i++)
        for (int64_t o = 0; o < columns; o++)
            to[o * rows + i] = from[i * columns + o];
}
