/* The backward pass of a convolution with max pooling: only one pixel of a window has a gradient, and none where ReLU is off.

   That is a quarter or an eighth of the pixels, but others in every image, so a vector can't hold one pixel of several images here.
   It holds the channels of one pixel: [row, column, channel], channels rounded up to whole vectors. A gradient `g` at (y, x) of
   output channel c means, for every tap, weight_gradient[c, ky, kx] += g * images[y + ky, x + kx] and
   image_gradient[y + ky, x + kx] += g * weights[c, ky, kx], with the k * channels numbers of a row side by side.
   The course's second convolution, backward, 64 images, two threads: 2.9 -> 1.4 ms. */

#include "convolution.h"

#define MOST 8 /* vectors of a row that are kept in registers */

typedef struct {
    int64_t place; /* of the gradient's first tap, in vectors */
    REAL value;
} Entry;

INLINE int64_t channel_vectors(const Task *t) { return (t->s->ci + LANES - 1) / LANES; }
INLINE int64_t entry_vectors(const Task *t) { return (t->z.hy * t->z.wy * sizeof(Entry) + BYTES - 1) / BYTES; }

int64_t pooled_scratch(const Task *t)
{
    return (2 * t->z.hp * t->z.wp + t->s->co * t->z.taps) * channel_vectors(t) + entry_vectors(t);
}

/* Weights [co, ci, k, k] -> [co, k, k, channel]. */
void pooled_weights(Task *t)
{
    int64_t ci = t->s->ci, taps = t->z.taps, width = channel_vectors(t) * LANES;
    memset(t->packed, 0, t->s->co * taps * width * sizeof(REAL));
    for (int64_t o = 0; o < t->s->co; o++)
        for (int64_t i = 0; i < ci; i++)
            for (int64_t tap = 0; tap < taps; tap++)
                t->packed[(o * taps + tap) * width + i] = t->weights[(o * ci + i) * taps + tap];
}

/* Between an image [c, h, w] and vectors [h + 2 * edge, w + 2 * edge, channel]: into them, or from them with `back`. */
INLINE void exchange(const Task *t, REAL *image, vec *pixels, const int back)
{
    const Shape *s = t->s;
    int64_t size = s->h * s->w, each = channel_vectors(t);
    vec rows[LANES];
    for (int64_t first = 0; first < s->ci; first += LANES)
        for (int64_t start = 0; start < size; start += LANES) {
            int64_t count = size - start < LANES ? size - start : LANES;
            int64_t channels = s->ci - first < LANES ? s->ci - first : LANES;
            REAL *at = image + first * size + start;
            vec *to = pixels + first / LANES;
            for (int i = 0; i < LANES; i++)
                rows[i] = (vec){0};
            for (int c = 0; c < channels && !back; c++)
                memcpy(&rows[c], at + c * size, count * sizeof(REAL));
            if (!back)
                transpose(rows);
            for (int i = 0; i < count; i++) {
                int64_t y = (start + i) / s->w + s->padding, x = (start + i) % s->w + s->padding;
                vec *pixel = to + (y * t->z.wp + x) * each;
                if (back)
                    rows[i] = *pixel;
                else
                    *pixel = rows[i];
            }
            if (back)
                transpose(rows);
            for (int c = 0; c < channels && back; c++)
                memcpy(at + c * size, &rows[c], count * sizeof(REAL));
        }
}

/* The gradients of one channel of one image, column by column: neighbors in a row of taps would wait for each other. */
static int64_t list(const Task *t, const REAL *gradient, const uint8_t *indices, Entry *entries)
{
    int64_t count = 0, pool = t->s->pool, each = channel_vectors(t);
    for (int64_t x = 0; x < t->z.wy; x++)
        for (int64_t y = 0; y < t->z.hy; y++) {
            int64_t index = indices[(y * t->z.wy + x) * LANES];
            REAL value = gradient[y * t->z.wy + x];
            entries[count].place = ((y * pool + index / pool) * t->z.wp + x * pool + index % pool) * each;
            entries[count].value = value;
            count += index != OFF && value != 0;
        }
    return count;
}

INLINE void weight_part(const Entry *entries, int64_t count, const vec *images, vec *sums, const int width)
{
    vec sum[MOST];
    for (int i = 0; i < width; i++)
        sum[i] = sums[i];
    for (int64_t e = 0; e < count; e++)
        for (int i = 0; i < width; i++)
            sum[i] += entries[e].value * images[entries[e].place + i];
    for (int i = 0; i < width; i++)
        sums[i] = sum[i];
}

INLINE void image_part(const Entry *entries, int64_t count, vec *images, const vec *weights, const int width)
{
    vec weight[MOST];
    for (int i = 0; i < width; i++)
        weight[i] = weights[i];
    for (int64_t e = 0; e < count; e++)
        for (int i = 0; i < width; i++)
            images[entries[e].place + i] += entries[e].value * weight[i];
}

/* All entries of a channel with one row of taps of `total` vectors; the gradient of the image only where it is needed. */
static void row(const Entry *entries, int64_t count, const vec *images, vec *sums, vec *image_gradient, const vec *weights,
                int64_t total)
{
#define PART(width)                                                                        \
    case width:                                                                            \
        weight_part(entries, count, images + i, sums + i, width);                          \
        if (image_gradient)                                                                \
            image_part(entries, count, image_gradient + i, weights + i, width);            \
        break;
    for (int64_t i = 0, width; i < total; i += width) {
        width = next_tile(total - i, MOST);
        switch (width) {
            PART(1) PART(2) PART(3) PART(4) PART(5) PART(6) PART(7) PART(8)
        }
    }
}

void pooled_block(void *task, int64_t block, int thread)
{
    Task *t = task;
    const Shape *s = t->s;
    int64_t each = channel_vectors(t), pixels = t->z.hp * t->z.wp * each, taps = t->z.taps * each, out = t->z.hy * t->z.wy;
    int64_t count = s->co * s->ci * t->z.taps, image_size = s->ci * s->h * s->w;
    vec *in = t->scratch + thread * t->each, *back = in + pixels, *sums = back + pixels;
    Entry *entries = (Entry *)(sums + s->co * taps);
    REAL *partial = t->partial + block * (count + s->co);
    memset(partial, 0, (count + s->co) * sizeof(REAL));
    memset(sums, 0, s->co * taps * sizeof(vec));
    memset(in, 0, pixels * sizeof(vec));
    for (int64_t lane = 0; lane < LANES && block * LANES + lane < s->n; lane++) {
        int64_t image = block * LANES + lane;
        exchange(t, (REAL *)t->images + image * image_size, in, 0);
        if (t->image_gradient)
            memset(back, 0, pixels * sizeof(vec));
        for (int64_t c = 0; c < s->co; c++) {
            const uint8_t *indices = t->indices + ((block * t->z.co + c) * out) * LANES + lane;
            int64_t found = list(t, t->gradient + (image * s->co + c) * out, indices, entries);
            for (int64_t e = 0; e < found; e++)
                partial[count + c] += entries[e].value;
            for (int64_t ky = 0; ky < s->k; ky++) {
                int64_t at = c * taps + ky * s->k * each, down = ky * t->z.wp * each;
                row(entries, found, in + down, sums + at, t->image_gradient ? back + down : NULL, (vec *)t->packed + at, s->k * each);
            }
        }
        if (t->image_gradient)
            exchange(t, t->image_gradient + image * image_size, back, 1);
    }
    for (int64_t o = 0; o < s->co; o++)
        for (int64_t i = 0; i < s->ci; i++)
            for (int64_t tap = 0; tap < t->z.taps; tap++)
                partial[(o * s->ci + i) * t->z.taps + tap] = sums[o * taps + tap * each + i / LANES][i % LANES];
}
