/* 3 x 3 convolutions with padding 1 by Winograd's minimal filtering (Lavin and Gray 2015, arXiv 1509.09308), forward and backward.

   In one dimension two neighboring outputs of a kernel of 3 take 4 multiplications instead of 6: the 4 inputs, the kernel and the
   outputs are combined by sums, y = A'((G g) * (B' d)). In two dimensions a tile of 2 x 2 outputs takes 16 instead of 36. The last
   row or column of an odd side is a tile of one output whose third input is padding: 2 multiplications instead of 3.

   Every multiplication has a kind, 0 to 4 in each dimension, by the combination of the kernel that it takes. All multiplications of a
   pair of kinds, over all tiles and channels, are one matrix product. A vector holds neighboring channels of one pixel: images are
   brought into the layout [row, column, channel], channels rounded up to whole vectors.

   An input that is not finite spoils all outputs of its tiles: up to one pixel further than by the definition. */

#include "winograd.h"

#define MOST_IMAGES 16
#define CACHED (1 << 19) /* bytes of multiplications per block: the second level cache */
#if GROUP == 4
#define ROWS 12 /* of a product, times two vectors: they stay in registers */
#else
#define ROWS 6
#endif

/* The outputs that pooling uses; all where those would be odd and do not end at the padding. */
static Grid used_grid(const Task *t, int64_t images)
{
    int64_t h = t->z.hy * t->s->pool, w = t->z.wy * t->s->pool;
    return grid_of(h % 2 ? t->s->h : h, w % 2 ? t->s->w : w, images);
}

/* Whether a convolution is computed this way: not where much of the vectors would be empty. */
int winograd_fits(const Shape *s)
{
    int64_t ci = vectors(s->ci) * LANES, co = vectors(s->co) * LANES;
    return s->k == 3 && s->padding == 1 && 2 * ci <= 3 * s->ci && 2 * co <= 3 * s->co;
}

int64_t winograd_index_size(const Shape *s, const Sizes *z)
{
    return s->n * z->hy * z->wy * vectors(s->co) * LANES;
}

/* Between an image [c, h, w] and pixels [h, w, channel] whose rows are `width` apart: into them, or from them with `back`. */
INLINE void exchange(REAL *image, vec *pixels, int64_t c, int64_t h, int64_t w, int64_t width, const int back)
{
    int64_t size = h * w, each = vectors(c), count = size < LANES ? size : LANES;
    for (int64_t first = 0; first < c; first += LANES)
        for (int64_t next = 0; next < size; next += LANES) {
            /* The last vectors of an image end with it and have some pixels for a second time. */
            int64_t start = next + count > size ? size - count : next, y = start / w, x = start % w;
            int64_t channels = c - first < LANES ? c - first : LANES;
            REAL *at = image + first * size + start;
            vec rows[LANES], *pixel = pixels + (y * width + x) * each + first / LANES;
            for (int i = 0; i < LANES; i++)
                rows[i] = (vec){0};
            for (int i = 0; i < channels && !back; i++)
                count == LANES ? (void)(rows[i] = load(at + i * size)) : (void)memcpy(&rows[i], at + i * size, count * sizeof(REAL));
            if (!back)
                transpose(rows);
            for (int i = 0; i < count; i++, pixel += each) {
                if (back)
                    rows[i] = *pixel;
                else
                    *pixel = rows[i];
                if (++x == w)
                    x = 0, pixel += (width - w) * each;
            }
            if (back)
                transpose(rows);
            for (int i = 0; i < channels && back; i++)
                count == LANES ? store(at + i * size, rows[i]) : (void)memcpy(at + i * size, &rows[i], count * sizeof(REAL));
        }
}
static void pack(const REAL *image, vec *pixels, int64_t c, int64_t h, int64_t w, int64_t width)
{
    exchange((REAL *)image, pixels, c, h, w, width, 0);
}
static void unpack(REAL *image, vec *pixels, int64_t c, int64_t h, int64_t w)
{
    exchange(image, pixels, c, h, w, w, 1);
}

/* out[r, v] = sum over i < inner of left[r, i] * right[i, v] for `rows` r and `wide` v; `each` vectors a row of right and out. Left's
   rows are `stride` apart; with `turned` it is [i, r]. */
INLINE void product_tile(const REAL *left, int64_t stride, const vec *right, vec *out, int64_t inner, int64_t each, const int turned,
                         const int rows, const int wide)
{
    vec sums[ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++)
            sums[r][v] = (vec){0};
    for (int64_t i = 0; i < inner; i++) {
        vec value[2];
        for (int v = 0; v < wide; v++)
            value[v] = right[i * each + v];
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < wide; v++)
                sums[r][v] += left[turned ? i * stride + r : r * stride + i] * value[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++)
            out[r * each + v] = sums[r][v];
}

INLINE void product(const REAL *left, int64_t stride, const vec *right, vec *out, int64_t rows, int64_t inner, int64_t each,
                    const int turned)
{
#define PRODUCT(count)                                                                                                         \
    case count:                                                                                                                \
        if (wide == 2)                                                                                                         \
            product_tile(left + first, stride, right + v, out + r * each + v, inner, each, turned, count, 2);                  \
        else                                                                                                                   \
            product_tile(left + first, stride, right + v, out + r * each + v, inner, each, turned, count, 1);                  \
        break;
    for (int64_t v = 0, wide; v < each; v += wide) {
        wide = each - v < 2 ? 1 : 2;
        for (int64_t r = 0, count; r < rows; r += count) {
            int64_t first = turned ? r : r * stride;
            count = next_tile(rows - r, ROWS);
            switch (count) {
                PRODUCT(1) PRODUCT(2) PRODUCT(3) PRODUCT(4) PRODUCT(5) PRODUCT(6)
#if ROWS == 12
                PRODUCT(7) PRODUCT(8) PRODUCT(9) PRODUCT(10) PRODUCT(11) PRODUCT(12)
#endif
            }
        }
    }
}

/* All multiplications of all kinds. */
static void products(const Task *t, const Grid *g, const vec *in, vec *out, int64_t inner, int64_t outer)
{
    for (int64_t a = 0; a < KINDS; a++)
        for (int64_t b = 0; b < KINDS; b++)
            product((const REAL *)(in + g->at[a][b] * vectors(inner)), vectors(inner) * LANES,
                    (vec *)t->packed + (a * KINDS + b) * inner * vectors(outer), out + g->at[a][b] * vectors(outer),
                    g->images * g->rows[a] * g->columns[b], inner, vectors(outer), 0);
}

/* Where a thread works: one image with its border, one image of the output, pooled; multiplications; see weight_gradients. */
typedef struct {
    vec *image, *plane, *result, *in, *out, *sums, *gradients;
} Place;

static int64_t padded(const Shape *s) { return (s->h + 2) * (s->w + 2); }

/* Set t->each to the vectors that a thread needs, and give this thread's. `all`: what the backward pass needs. */
static Place place(Task *t, int thread, int all)
{
    const Shape *s = t->s;
    int64_t ci = vectors(s->ci), co = vectors(s->co), both = ci > co ? ci : co, count = grid_of(s->h, s->w, t->together).total;
    vec *first = t->scratch ? t->scratch + thread * t->each : NULL;
    int64_t sizes[] = {padded(s) * ci, all ? padded(s) * co * t->together : 0, s->h * s->w * both, s->h * s->w * co, count * ci,
                       count * co, all ? KINDS * KINDS * ROWS * co : 0};
    vec *at[7];
    int64_t used = 0;
    for (int i = 0; i < 7; i++)
        at[i] = first ? first + used : NULL, used += sizes[i];
    if (!first)
        t->each = used;
    else if (!t->ready[thread])
        memset(first, 0, (sizes[0] + sizes[1]) * sizeof(vec)), t->ready[thread] = 1;
    return (Place){.image = at[0], .gradients = at[1], .plane = at[2], .result = at[3], .in = at[4], .out = at[5], .sums = at[6]};
}

/* Pooling, bias and ReLU of one image: pixels [h, w, channel] -> [h', w', channel], and indices of the same order. */
static void finish(const Task *t, const vec *pixels, vec *out, uint8_t *indices, int64_t width)
{
    int64_t pool = t->s->pool, each = vectors(t->s->co);
    for (int64_t v = 0; v < each; v++) {
        vec bias = {0};
        for (int64_t lane = 0; lane < LANES && v * LANES + lane < t->s->co && t->bias; lane++)
            bias[lane] = t->bias[v * LANES + lane];
        for (int64_t i = 0; i < t->z.hy * t->z.wy; i++) {
            const vec *window = pixels + (i / t->z.wy * pool * width + i % t->z.wy * pool) * each + v;
            vec most = *window;
            ivec index = {0};
            for (int64_t d = 1; d < pool * pool; d++) { /* the first of equal values; NaN is a maximum */
                vec value = window[(d / pool * width + d % pool) * each];
                ivec better = (value > most) | (value != value);
                most = choose(better, value, most);
                index = (better & ((ivec){0} + (INTEGER)d)) | (~better & index);
            }
            most = t->bias ? most + bias : most;
            if (t->s->relu) {
                ivec off = most <= 0;
                most = choose(off, (vec){0}, most), index |= off;
            }
            out[i * each + v] = most;
            bytes small = __builtin_convertvector(index, bytes);
            if (indices)
                memcpy(indices + (i * each + v) * LANES, &small, LANES);
        }
    }
}

static uint8_t *indices_of(const Task *t, int64_t image)
{
    return t->needs_indices ? t->indices + image * winograd_index_size(t->s, &t->z) / t->s->n : NULL;
}

static void forward_block(void *task, int64_t block, int thread)
{
    Task *t = task;
    const Shape *s = t->s;
    int64_t first = block * t->together, rest = s->n - first, image_size = s->ci * s->h * s->w, size = s->co * t->z.hy * t->z.wy;
    Place at = place(t, thread, 0);
    Grid g = used_grid(t, rest < t->together ? rest : t->together);
    for (int64_t i = 0; i < g.images; i++) {
        pack(t->images + (first + i) * image_size, at.image + (s->w + 3) * vectors(s->ci), s->ci, s->h, s->w, s->w + 2);
        combine_inputs(&g, i, at.image, s->w + 2, at.in, vectors(s->ci));
    }
    products(t, &g, at.in, at.out, s->ci, s->co);
    for (int64_t i = 0; i < g.images; i++) {
        combine_outputs(&g, i, at.plane, s->w, at.out, vectors(s->co));
        int plain = s->pool == 1 && !s->relu && !t->bias;
        if (!plain)
            finish(t, at.plane, at.result, indices_of(t, first + i), s->w);
        unpack(t->outputs + (first + i) * size, plain ? at.plane : at.result, s->co, t->z.hy, t->z.wy);
    }
}

/* The gradient of the convolution's output, with a border, from that of the outputs. Adds the gradient of the bias. */
static void unpool(const Task *t, const vec *in, const uint8_t *indices, vec *out, vec *biases)
{
    int64_t pool = t->s->pool, each = vectors(t->s->co), width = t->s->w + 2;
    for (int64_t i = 0; i < t->z.hy * t->z.wy; i++)
        for (int64_t v = 0; v < each; v++) {
            vec *window = out + ((i / t->z.wy * pool + 1) * width + i % t->z.wy * pool + 1) * each + v, value = in[i * each + v];
            ivec index = {0};
            if (indices) {
                bytes small;
                memcpy(&small, indices + (i * each + v) * LANES, LANES);
                index = __builtin_convertvector(small, ivec);
                value = choose(index == OFF, (vec){0}, value);
            }
            biases[v] += value;
            for (int64_t d = 0; d < pool * pool; d++)
                window[(d / pool * width + d % pool) * each] = choose(index == (INTEGER)d, value, (vec){0});
        }
}

/* The gradients of the weights of one block: partial[tap, in, out]. */
static void weight_gradients(const Task *t, const Grid *g, const Place *at, vec *partial)
{
    int64_t ci = t->s->ci, each = vectors(t->s->co);
    for (int64_t c = 0, rows; c < ci; c += rows) {
        rows = next_tile(ci - c, ROWS);
        for (int64_t kind = 0; kind < KINDS * KINDS; kind++) {
            int64_t a = kind / KINDS, b = kind % KINDS, start = g->at[a][b];
            product((const REAL *)(at->in + start * vectors(ci)) + c, vectors(ci) * LANES, at->out + start * each,
                    at->sums + kind * rows * each, rows, g->images * g->rows[a] * g->columns[b], each, 1);
        }
        combine_sums(at->sums, partial + c * each, rows * each, ci * each);
    }
}

static void backward_block(void *task, int64_t block, int thread)
{
    Task *t = task;
    const Shape *s = t->s;
    int64_t first = block * t->together, rest = s->n - first, ci = vectors(s->ci), co = vectors(s->co), width = s->w + 2;
    int64_t image = s->ci * s->h * s->w, size = s->co * t->z.hy * t->z.wy;
    Place at = place(t, thread, 1);
    vec *partial = (vec *)t->partial + block * (9 * s->ci + 1) * co, *biases = partial + 9 * s->ci * co;
    Grid used = used_grid(t, rest < t->together ? rest : t->together), all = grid_of(s->h, s->w, used.images);
    memset(biases, 0, co * sizeof(vec));
    for (int64_t i = 0; i < used.images; i++) {
        vec *gradient = at.gradients + i * padded(s) * co;
        pack(t->images + (first + i) * image, at.image + (width + 1) * ci, s->ci, s->h, s->w, width);
        combine_inputs(&used, i, at.image, width, at.in, ci);
        pack(t->gradient + (first + i) * size, at.result, s->co, t->z.hy, t->z.wy, t->z.wy);
        unpool(t, at.result, indices_of(t, first + i), gradient, biases);
        combine_gradients(&used, i, gradient + (width + 1) * co, width, at.out, co);
    }
    weight_gradients(t, &used, &at, partial);
    if (!t->image_gradient)
        return;
    for (int64_t i = 0; i < all.images; i++)
        combine_inputs(&all, i, at.gradients + i * padded(s) * co, width, at.out, co);
    products(t, &all, at.out, at.in, s->co, s->ci);
    for (int64_t i = 0; i < all.images; i++) {
        combine_outputs(&all, i, at.plane, s->w, at.in, ci);
        unpack(t->image_gradient + (first + i) * image, at.plane, s->ci, s->h, s->w);
    }
}

/* Add up the blocks' gradients, in order whichever thread had them: those of one input channel, or, after these, of the bias. */
static void add_blocks(void *task, int64_t channel, int thread)
{
    Task *t = task;
    int64_t ci = t->s->ci, co = t->s->co, each = vectors(co), of_bias = channel == ci;
    (void)thread;
    for (int64_t tap = 0; tap < (of_bias ? 1 : 9); tap++)
        for (int64_t v = 0; v < each; v++) {
            vec sum = {0}, *from = (vec *)t->partial + ((of_bias ? 9 * ci : tap * ci + channel)) * each + v;
            for (int64_t block = 0; block < t->blocks; block++)
                sum += from[block * (9 * ci + 1) * each];
            for (int64_t lane = 0; lane < LANES && v * LANES + lane < co; lane++) {
                int64_t o = v * LANES + lane;
                *(of_bias ? t->bias_gradient + o : t->weight_gradient + (o * ci + channel) * 9 + tap) = sum[lane];
            }
        }
}

/* Either pass. How many images a block has depends on sizes only, so that results do not depend on the threads. */
static int run_all(Task *t, int back)
{
    const Shape *s = t->s;
    int64_t ci = vectors(s->ci), co = vectors(s->co), one = grid_of(s->h, s->w, 1).total * (ci + co) * BYTES;
    for (t->together = 1; t->together < MOST_IMAGES && 2 * t->together * one <= CACHED;)
        t->together *= 2;
    t->blocks = (s->n + t->together - 1) / t->together, t->needs_indices = s->pool > 1 || s->relu;
    t->packed = numbers(KINDS * KINDS * (back ? s->co * ci : s->ci * co) * LANES);
    t->scratch = NULL;
    place(t, 0, back);
    t->scratch = numbers(s->threads * t->each * LANES);
    t->partial = back ? numbers(t->blocks * (9 * s->ci + 1) * co * LANES) : NULL;
    int failed = !t->packed || !t->scratch || (back && !t->partial);
    if (!failed) {
        if (!back)
            run(forward_weights, t, s->ci, s->threads);
        else if (t->image_gradient)
            run(backward_weights, t, s->co, s->threads);
        run(back ? backward_block : forward_block, t, t->blocks, s->threads);
        if (back)
            run(add_blocks, t, s->ci + (t->bias_gradient != NULL), s->threads);
    }
    free(t->packed), free(t->scratch), free(t->partial);
    return failed;
}

int winograd_forward(Task *t) { return run_all(t, 0); }
int winograd_backward(Task *t) { return run_all(t, 1); }
