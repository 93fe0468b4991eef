/* Convolution with stride 1, bias, ReLU and max pooling, forward and backward. compiler.py builds it, convolution.py calls it.

   A matrix product needs every k x k patch copied first; copying takes longer than multiplying. Here nothing is copied k times.
   LANES images at a time are brought into the layout [channel, row, column, image]: one vector holds one pixel of LANES images.
   Every weight is then one multiplication of a whole vector, whatever the kernel and the size of the image, and the sums of
   GROUP output channels by up to COLUMNS neighboring pixels stay in registers until they are complete.

   Arrays are contiguous: images [n, ci, h, w], weights [co, ci, k, k], outputs [n, co, h', w']. REAL is float or double.
   Functions return 0, or 1 where memory is missing. */

#include "convolution.h"

#define COLUMNS 7 /* divides 28, 14 and 7 */
#define TAPS 6    /* 5 x 5 weights are five times 5, and registers are left for their places */

static Sizes sizes_of(const Shape *s)
{
    Sizes z;
    z.ci = (s->ci + GROUP - 1) / GROUP * GROUP, z.co = (s->co + GROUP - 1) / GROUP * GROUP;
    z.hp = s->h + 2 * s->padding, z.wp = s->w + 2 * s->padding;
    z.ho = z.hp - s->k + 1, z.wo = z.wp - s->k + 1;
    z.edge = s->k - 1 - s->padding;
    z.hq = z.ho + 2 * z.edge, z.wq = z.wo + 2 * z.edge;
    z.hy = z.ho / s->pool, z.wy = z.wo / s->pool, z.taps = s->k * s->k;
    return z;
}

/* Images [lanes, c, h, w] -> vectors [c, h + 2 * edge, w + 2 * edge], whose border stays as it is. Missing images count as 0. */
static void pack(const REAL *images, vec *out, int64_t lanes, int64_t c, int64_t h, int64_t w, int64_t edge)
{
    int64_t width = w + 2 * edge, size = c * h * w, x = 0, y = 0;
    vec rows[LANES], *to = out + edge * width + edge;
    for (int64_t start = 0; start < size; start += LANES) {
        int64_t count = size - start < LANES ? size - start : LANES;
        for (int lane = 0; lane < LANES; lane++) {
            rows[lane] = (vec){0};
            if (lane < lanes && count == LANES)
                rows[lane] = load(images + lane * size + start);
            else if (lane < lanes)
                memcpy(&rows[lane], images + lane * size + start, count * sizeof(REAL));
        }
        transpose(rows);
        for (int i = 0; i < count; i++) {
            to[x++] = rows[i];
            if (x < w)
                continue;
            x = 0, to += width;
            if (++y == h)
                y = 0, to += 2 * edge * width;
        }
    }
}

/* Vectors [size] -> images [lanes, size]. */
static void unpack(const vec *in, REAL *images, int64_t lanes, int64_t size)
{
    vec rows[LANES];
    for (int64_t start = 0; start < size; start += LANES) {
        int64_t count = size - start < LANES ? size - start : LANES;
        for (int i = 0; i < LANES; i++)
            rows[i] = i < count ? in[start + i] : (vec){0};
        transpose(rows);
        for (int lane = 0; lane < lanes; lane++)
            memcpy(images + lane * size + start, &rows[lane], count * sizeof(REAL));
    }
}

/* Weights [co, ci, k, k] -> [group of co, ci, k, k, GROUP]; `swap` exchanges the channels and turns the kernel, for the backward pass. */
static void pack_weights(const REAL *weights, REAL *out, int64_t co, int64_t ci, int64_t taps, int swap)
{
    int64_t outer = swap ? ci : co, inner = swap ? co : ci;
    memset(out, 0, (outer + GROUP - 1) / GROUP * GROUP * inner * taps * sizeof(REAL));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++)
            for (int64_t t = 0; t < taps; t++)
                out[((o / GROUP * inner + i) * taps + t) * GROUP + o % GROUP] =
                    swap ? weights[(i * ci + o) * taps + taps - 1 - t] : weights[(o * ci + i) * taps + t];
}

/* sums[c][x] = sum over channels, ky, kx of weights[channel, ky, kx, c] * in[channel, ky, x + kx], for GROUP c and `columns` x. */
INLINE void tile(const vec *in, const REAL *weights, vec *out, int64_t channels, int64_t k, int64_t plane, int64_t width,
                 int64_t out_plane, const int columns)
{
    vec sums[GROUP][COLUMNS];
    for (int c = 0; c < GROUP; c++)
        for (int x = 0; x < columns; x++)
            sums[c][x] = (vec){0};
    for (int64_t i = 0; i < channels; i++)
        for (int64_t ky = 0; ky < k; ky++) {
            const vec *row = in + i * plane + ky * width;
            for (int64_t kx = 0; kx < k; kx++, weights += GROUP)
                for (int x = 0; x < columns; x++) {
                    vec value = row[x + kx];
                    for (int c = 0; c < GROUP; c++)
                        sums[c][x] += weights[c] * value;
                }
        }
    for (int c = 0; c < GROUP; c++)
        for (int x = 0; x < columns; x++)
            out[c * out_plane + x] = sums[c][x];
}

/* One row of `count` output pixels of GROUP channels: in tiles as equal as possible. */
static void convolve_row(const vec *in, const REAL *weights, vec *out, int64_t channels, int64_t k, int64_t plane, int64_t width,
                         int64_t out_plane, int64_t count)
{
#define TILE(columns)                                                                                      \
    case columns:                                                                                          \
        tile(in + x, weights, out + x, channels, k, plane, width, out_plane, columns);                     \
        break;
    for (int64_t x = 0, columns; x < count; x += columns) {
        columns = next_tile(count - x, COLUMNS);
        switch (columns) {
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7)
        }
    }
}

/* sums[c][t] += sum over pixels of gradient[c, y, x] * in[y, x + places[t]], for GROUP c and `taps` places. */
INLINE void weight_tile(const vec *in, const vec *gradient, vec *out, int64_t h, int64_t w, int64_t width, int64_t grad_width,
                        int64_t grad_plane, int64_t out_plane, const int64_t *places, const int taps)
{
    vec sums[GROUP][TAPS];
    for (int c = 0; c < GROUP; c++)
        for (int t = 0; t < taps; t++)
            sums[c][t] = out[c * out_plane + t];
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            vec value[GROUP];
            for (int c = 0; c < GROUP; c++)
                value[c] = gradient[c * grad_plane + y * grad_width + x];
            for (int t = 0; t < taps; t++) {
                vec pixel = in[y * width + x + places[t]];
                for (int c = 0; c < GROUP; c++)
                    sums[c][t] += value[c] * pixel;
            }
        }
    for (int c = 0; c < GROUP; c++)
        for (int t = 0; t < taps; t++)
            out[c * out_plane + t] = sums[c][t];
}

/* The gradients of all k * k weights from one input channel to GROUP output channels: in tiles as equal as possible. */
static void weight_tiles(const vec *in, const vec *gradient, vec *out, int64_t h, int64_t w, int64_t width, int64_t grad_width,
                         int64_t grad_plane, int64_t out_plane, int64_t k)
{
#define WEIGHTS(taps)                                                                                                  \
    case taps:                                                                                                         \
        weight_tile(in, gradient, out + first, h, w, width, grad_width, grad_plane, out_plane, places, taps);          \
        break;
    for (int64_t first = 0, taps; first < k * k; first += taps) {
        int64_t places[TAPS];
        taps = next_tile(k * k - first, TAPS);
        for (int64_t t = 0; t < taps; t++)
            places[t] = (first + t) / k * width + (first + t) % k;
        switch (taps) {
            WEIGHTS(1) WEIGHTS(2) WEIGHTS(3) WEIGHTS(4) WEIGHTS(5) WEIGHTS(6)
        }
    }
}

/* The maxima of one row of windows of one channel, and where in the window they are. The first of equal values; NaN is a maximum. */
static void pool_row(const vec *rows, int64_t width, int64_t pool, int64_t count, vec *out, uint8_t *indices)
{
    for (int64_t x = 0; x < count; x++) {
        vec most = rows[x * pool];
        ivec index = {0};
        for (int64_t d = 1; d < pool * pool; d++) {
            vec value = rows[d / pool * width + x * pool + d % pool];
            ivec better = (value > most) | (value != value);
            most = choose(better, value, most);
            index = (better & ((ivec){0} + (INTEGER)d)) | (~better & index);
        }
        out[x] = most;
        bytes small = __builtin_convertvector(index, bytes);
        memcpy(indices + x * LANES, &small, LANES);
    }
}

/* The size in bytes of the indices: uint8 [blocks, co rounded up, h', w', LANES]; 0 where the backward pass needs none. */
int64_t index_size(const Shape *s)
{
    Sizes z = sizes_of(s);
    if (s->pool == 1 && !s->relu)
        return 0;
    return winograd_fits(s) ? winograd_index_size(s, &z) : (s->n + LANES - 1) / LANES * LANES * z.co * z.hy * z.wy;
}

/* Add the bias (NULL: none) to one channel, and apply ReLU: NaN stays, and an output of 0 has the index OFF. */
static void finish(vec *values, uint8_t *indices, int64_t count, const REAL *bias, int64_t relu)
{
    for (int64_t i = 0; i < count && bias; i++)
        values[i] += *bias;
    for (int64_t i = 0; i < count && relu; i++) {
        ivec off = values[i] <= 0;
        values[i] = choose(off, (vec){0}, values[i]);
        bytes index, small = __builtin_convertvector(off, bytes);
        memcpy(&index, indices + i * LANES, LANES);
        index |= small;
        memcpy(indices + i * LANES, &index, LANES);
    }
}

static int64_t in_size(const Task *t) { return t->s->ci * t->z.hp * t->z.wp; }
static int64_t out_size(const Task *t) { return t->z.co * t->z.hy * t->z.wy; }
static int64_t lanes_of(const Task *t, int64_t block)
{
    int64_t rest = t->s->n - block * LANES;
    return rest < LANES ? rest : LANES;
}

static void forward_block(void *task, int64_t block, int thread)
{
    Task *t = task;
    const Shape *s = t->s;
    const Sizes *z = &t->z;
    int64_t out_plane = z->hy * z->wy, used = z->wy * s->pool, lanes = lanes_of(t, block);
    vec *in = t->scratch + thread * t->each, *out = in + in_size(t), *rows = out + out_size(t);
    uint8_t *places = t->indices + block * out_size(t) * LANES;
    if (!t->ready[thread])
        memset(in, 0, in_size(t) * sizeof(vec));
    t->ready[thread] = 1;
    pack(t->images + block * LANES * s->ci * s->h * s->w, in, lanes, s->ci, s->h, s->w, s->padding);
    if (s->pool == 1 && s->relu)
        memset(places, 0, out_size(t) * LANES);
    for (int64_t c = 0; c < z->co; c += GROUP)
        for (int64_t y = 0; y < z->hy; y++) {
            const REAL *group = t->packed + c * s->ci * z->taps;
            vec *to = out + c * out_plane + y * z->wy;
            if (s->pool == 1) {
                convolve_row(in + y * z->wp, group, to, s->ci, s->k, z->hp * z->wp, z->wp, out_plane, z->wo);
                continue;
            }
            for (int64_t row = 0; row < s->pool; row++)
                convolve_row(in + (y * s->pool + row) * z->wp, group, rows + row * used, s->ci, s->k, z->hp * z->wp, z->wp,
                             s->pool * used, used);
            for (int i = 0; i < GROUP; i++)
                pool_row(rows + i * s->pool * used, used, s->pool, z->wy, to + i * out_plane,
                         places + ((c + i) * out_plane + y * z->wy) * LANES);
        }
    for (int64_t c = 0; c < s->co; c++)
        finish(out + c * out_plane, places + c * out_plane * LANES, out_plane, t->bias ? t->bias + c : NULL, s->relu);
    unpack(out, t->outputs + block * LANES * s->co * out_plane, lanes, s->co * out_plane);
}

/* Outputs and, with pooling or ReLU, indices: where in its window each maximum is, OFF where ReLU is off. `bias` may be NULL. */
int forward(const REAL *images, const REAL *weights, const REAL *bias, REAL *outputs, uint8_t *indices, const Shape *s)
{
    Task t = {.images = images, .bias = bias, .outputs = outputs, .indices = indices, .s = s, .z = sizes_of(s)};
    t.weights = weights;
    if (winograd_fits(s))
        return winograd_forward(&t);
    t.blocks = (s->n + LANES - 1) / LANES;
    t.each = in_size(&t) + out_size(&t) + GROUP * s->pool * s->pool * t.z.wy;
    t.packed = numbers(t.z.co * s->ci * t.z.taps), t.scratch = numbers(s->threads * t.each * LANES);
    int failed = !t.packed || !t.scratch;
    if (!failed) {
        pack_weights(weights, t.packed, s->co, s->ci, t.z.taps, 0);
        run(forward_block, &t, t.blocks, s->threads);
    }
    free(t.packed), free(t.scratch);
    return failed;
}

/* The gradient of the convolution's output, padded, from that of the outputs [co, h', w']. Adds the gradient of the bias. */
static void unpool(const vec *in, const uint8_t *indices, vec *out, vec *biases, const Sizes *z, int64_t pool, int64_t co)
{
    for (int64_t row = 0; row < co * z->hy; row++) {
        vec *to = out + (row / z->hy * z->hq + row % z->hy * pool + z->edge) * z->wq + z->edge;
        for (int64_t x = 0; x < z->wy; x++) {
            vec value = in[row * z->wy + x];
            ivec index = {0};
            if (indices) {
                bytes small;
                memcpy(&small, indices + (row * z->wy + x) * LANES, LANES);
                index = __builtin_convertvector(small, ivec);
                value = choose(index == OFF, (vec){0}, value);
            }
            biases[row / z->hy] += value;
            for (int64_t d = 0; d < pool * pool; d++)
                to[d / pool * z->wq + x * pool + d % pool] = choose(index == (INTEGER)d, value, (vec){0});
        }
    }
}

static void backward_block(void *task, int64_t block, int thread)
{
    Task *t = task;
    const Shape *s = t->s;
    const Sizes *z = &t->z;
    int64_t in_plane = z->hp * z->wp, out_plane = z->hy * z->wy, grad_plane = z->hq * z->wq, image = s->ci * s->h * s->w;
    int64_t lanes = lanes_of(t, block), first = block * LANES, count = s->co * s->ci * z->taps;
    vec *in = t->scratch + thread * t->each, *grad = in + in_size(t), *sums = grad + z->co * grad_plane;
    vec *biases = sums + z->co * s->ci * z->taps, *out = biases + z->co; /* the gradient of the outputs, then of the images */
    if (!t->ready[thread])
        memset(in, 0, (in_size(t) + z->co * grad_plane) * sizeof(vec));
    t->ready[thread] = 1;
    memset(sums, 0, (z->co * s->ci * z->taps + z->co) * sizeof(vec));
    pack(t->images + first * image, in, lanes, s->ci, s->h, s->w, s->padding);
    pack(t->gradient + first * s->co * out_plane, out, lanes, s->co, z->hy, z->wy, 0);
    unpool(out, index_size(s) ? t->indices + block * out_size(t) * LANES : NULL, grad, biases, z, s->pool, s->co);
    for (int64_t c = 0; c < z->co; c += GROUP)
        for (int64_t i = 0; i < s->ci; i++)
            weight_tiles(in + i * in_plane, grad + c * grad_plane + z->edge * (z->wq + 1), sums + (c * s->ci + i) * z->taps, z->ho,
                         z->wo, z->wp, z->wq, grad_plane, s->ci * z->taps, s->k);
    REAL *partial = t->partial + block * (count + s->co);
    for (int64_t i = 0; i < count; i++)
        partial[i] = total(sums[i]);
    for (int64_t c = 0; c < s->co; c++)
        partial[count + c] = total(biases[c]);
    if (!t->image_gradient)
        return;
    for (int64_t c = 0; c < z->ci; c += GROUP)
        for (int64_t y = 0; y < s->h; y++)
            convolve_row(grad + y * z->wq, t->packed + c * s->co * z->taps, out + (c * s->h + y) * s->w, s->co, s->k, grad_plane,
                         z->wq, s->h * s->w, s->w);
    unpack(out, t->image_gradient + first * image, lanes, image);
}

/* Gradients of the images, weights and bias from that of the outputs; `image_gradient` and `bias_gradient` may be NULL. */
int backward(const REAL *images, const REAL *weights, const uint8_t *indices, const REAL *gradient, REAL *image_gradient,
             REAL *weight_gradient, REAL *bias_gradient, const Shape *s)
{
    Task t = {.images = images, .weights = weights, .gradient = gradient, .image_gradient = image_gradient};
    t.indices = (uint8_t *)indices, t.s = s, t.z = sizes_of(s), t.blocks = (s->n + LANES - 1) / LANES;
    t.weight_gradient = weight_gradient, t.bias_gradient = bias_gradient;
    if (winograd_fits(s))
        return winograd_backward(&t);
    int64_t count = s->co * s->ci * t.z.taps, image = t.z.ci * s->h * s->w, output = out_size(&t);
    int pooled = s->pool > 1 && s->ci >= 4;
    t.each = in_size(&t) + t.z.co * (t.z.hq * t.z.wq + s->ci * t.z.taps + 1) + (image > output ? image : output);
    t.each = pooled ? pooled_scratch(&t) : t.each;
    t.packed = numbers((t.z.ci + LANES) * (s->co + GROUP) * t.z.taps), t.scratch = numbers(s->threads * t.each * LANES);
    t.partial = numbers(t.blocks * (count + s->co));
    int failed = !t.packed || !t.scratch || !t.partial;
    if (!failed) {
        if (pooled)
            pooled_weights(&t);
        else
            pack_weights(weights, t.packed, s->co, s->ci, t.z.taps, 1);
        run(pooled ? pooled_block : backward_block, &t, t.blocks, s->threads);
        memset(weight_gradient, 0, count * sizeof(REAL));
        for (int64_t block = 0; block < t.blocks; block++) /* in order, whichever thread had them */
            for (int64_t i = 0; i < count; i++)
                weight_gradient[i] += t.partial[block * (count + s->co) + i];
        for (int64_t c = 0; c < s->co && bias_gradient; c++) {
            bias_gradient[c] = 0;
            for (int64_t block = 0; block < t.blocks; block++)
                bias_gradient[c] += t.partial[block * (count + s->co) + count + c];
        }
    }
    free(t.packed), free(t.scratch), free(t.partial);
    return failed;
}
