/* The sums of Winograd's algorithm, see winograd.c: of inputs, weights and outputs, and of their gradients. */

#include "winograd.h"

typedef enum { INPUT, SPREAD, OUTPUT, KERNEL, KERNEL_GRADIENT } Way;

Grid grid_of(int64_t h, int64_t w, int64_t images)
{
    Grid g = {.h = h, .w = w, .images = images};
    for (int a = 0; a < KINDS; a++) {
        g.rows[a] = a == 4 ? h % 2 : h / 2 + (a ? 0 : h % 2);
        g.columns[a] = a == 4 ? w % 2 : w / 2 + (a ? 0 : w % 2);
    }
    for (int a = 0; a < KINDS; a++)
        for (int b = 0; b < KINDS; b++)
            g.at[a][b] = g.total, g.total += images * g.rows[a] * g.columns[b];
    return g;
}

/* How many numbers a step in one dimension takes and gives. */
INLINE int taken(const Way way) { return way == KERNEL ? 3 : way == KERNEL_GRADIENT ? KINDS : way == SPREAD ? 2 : 4; }
INLINE int given(const Way way) { return way == KERNEL ? KINDS : way == KERNEL_GRADIENT ? 3 : way == OUTPUT ? 2 : 4; }

/* In an odd tile the inputs, gradients or multiplications that it lacks are 0; then only the first two results differ from 0 or count,
   and the second multiplication is of kind 4. */
INLINE void step(const Way way, const vec *x, vec *y)
{
    vec ends;
    switch (way) {
    case INPUT:
        y[0] = x[0] - x[2], y[1] = x[1] + x[2], y[2] = x[2] - x[1], y[3] = x[1] - x[3];
        break;
    case SPREAD:
        y[0] = x[0], y[1] = x[0] + x[1], y[2] = x[0] - x[1], y[3] = -x[1];
        break;
    case OUTPUT:
        y[0] = x[0] + x[1] + x[2], y[1] = x[1] - x[2] - x[3];
        break;
    case KERNEL:
        ends = x[0] + x[2];
        y[0] = x[0], y[1] = (ends + x[1]) * (REAL)0.5, y[2] = (ends - x[1]) * (REAL)0.5, y[3] = x[2], y[4] = x[1];
        break;
    case KERNEL_GRADIENT:
        ends = (x[1] + x[2]) * (REAL)0.5;
        y[0] = x[0] + ends, y[1] = (x[1] - x[2]) * (REAL)0.5 + x[4], y[2] = ends + x[3];
    }
}

/* A step in both dimensions. */
INLINE void square(const Way way, vec x[KINDS][KINDS], vec y[KINDS][KINDS])
{
    vec rows[KINDS][KINDS];
    for (int i = 0; i < taken(way); i++)
        step(way, x[i], rows[i]);
    for (int j = 0; j < given(way); j++) {
        vec column[KINDS], result[KINDS];
        for (int i = 0; i < taken(way); i++)
            column[i] = rows[i][j];
        step(way, column, result);
        for (int i = 0; i < given(way); i++)
            y[i][j] = result[i];
    }
}

/* One tile of one image: from its pixels to its multiplications, or with OUTPUT from these to pixels. It has `tall` times `wide`
   multiplications: 4, or 2 where it is odd. */
INLINE void one_tile(const Way way, const int tall, const int wide, const Grid *g, int64_t image, int64_t ty, int64_t tx, vec *pixels,
                     int64_t width, vec *products, int64_t each)
{
    const int ny = way == INPUT ? tall : tall / 2, nx = way == INPUT ? wide : wide / 2;
    vec *first = pixels + (2 * ty * width + 2 * tx) * each, *at[4][4], x[KINDS][KINDS] = {{{0}}}, y[KINDS][KINDS];
    for (int i = 0; i < tall; i++)
        for (int j = 0; j < wide; j++) {
            int odd_y = tall == 2 && i, odd_x = wide == 2 && j, a = odd_y ? 4 : i, b = odd_x ? 4 : j;
            int64_t row = image * g->rows[a] + (odd_y ? 0 : ty);
            at[i][j] = products + (g->at[a][b] + row * g->columns[b] + (odd_x ? 0 : tx)) * each;
        }
    for (int64_t v = 0; v < each; v++) {
        for (int i = 0; i < (way == OUTPUT ? tall : ny); i++)
            for (int j = 0; j < (way == OUTPUT ? wide : nx); j++)
                x[i][j] = way == OUTPUT ? at[i][j][v] : first[(i * width + j) * each + v];
        square(way, x, y);
        for (int i = 0; i < (way == OUTPUT ? ny : tall); i++)
            for (int j = 0; j < (way == OUTPUT ? nx : wide); j++)
                *(way == OUTPUT ? first + (i * width + j) * each + v : at[i][j] + v) = y[i][j];
    }
}

INLINE void tiles(const Way way, const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each)
{
    for (int64_t ty = 0; ty < (g->h + 1) / 2; ty++)
        for (int64_t tx = 0; tx < (g->w + 1) / 2; tx++) {
            int tall = 2 * ty + 1 == g->h ? 2 : 4, wide = 2 * tx + 1 == g->w ? 2 : 4;
            if (tall + wide == 8)
                one_tile(way, 4, 4, g, image, ty, tx, pixels, width, products, each);
            else
                one_tile(way, tall, wide, g, image, ty, tx, pixels, width, products, each);
        }
}

void combine_inputs(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each)
{
    tiles(INPUT, g, image, pixels, width, products, each);
}
void combine_gradients(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each)
{
    tiles(SPREAD, g, image, pixels, width, products, each);
}
void combine_outputs(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each)
{
    tiles(OUTPUT, g, image, pixels, width, products, each);
}

/* The combinations of the weights [co, ci, 3, 3] for one input channel (backward: output channel): [kind, kind, in, out]. */
INLINE void combine_weights(const Task *t, int64_t in, const int swap)
{
    int64_t ci = t->s->ci, outer = swap ? ci : t->s->co, inner = swap ? t->s->co : ci, each = vectors(outer);
    for (int64_t v = 0; v < each; v++) {
        vec x[KINDS][KINDS], y[KINDS][KINDS];
        for (int tap = 0; tap < 9; tap++)
            for (int lane = 0; lane < LANES; lane++) {
                int64_t o = v * LANES + lane;
                const REAL *kernel = t->weights + (swap ? in * ci + o : o * ci + in) * 9;
                x[tap / 3][tap % 3][lane] = o >= outer ? 0 : kernel[swap ? 8 - tap : tap];
            }
        square(KERNEL, x, y);
        for (int64_t kind = 0; kind < KINDS * KINDS; kind++)
            ((vec *)t->packed)[(kind * inner + in) * each + v] = y[kind / KINDS][kind % KINDS];
    }
}
void forward_weights(void *task, int64_t channel, int thread)
{
    (void)thread;
    combine_weights(task, channel, 0);
}
void backward_weights(void *task, int64_t channel, int thread)
{
    (void)thread;
    combine_weights(task, channel, 1);
}

void combine_sums(const vec *sums, vec *gradient, int64_t count, int64_t apart)
{
    for (int64_t i = 0; i < count; i++) {
        vec x[KINDS][KINDS], y[KINDS][KINDS];
        for (int64_t kind = 0; kind < KINDS * KINDS; kind++)
            x[kind / KINDS][kind % KINDS] = sums[kind * count + i];
        square(KERNEL_GRADIENT, x, y);
        for (int64_t tap = 0; tap < 9; tap++)
            gradient[tap * apart + i] = y[tap / 3][tap % 3];
    }
}
