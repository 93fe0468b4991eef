/* Batch normalization of images in training, then a shortcut is added and ReLU applied, forward and backward. A block of the work
   is one channel.

   Arrays are contiguous: images [n, channels, pixels], the others [channels]. Sums over a row are taken in vectors, sums over rows
   in double. `statistics` holds mean and 1 / standard deviation, [channels, 2], from the forward for the backward pass. */

#include "threads.h"
#include "vectors.h"

#include <math.h>

typedef struct {
    int64_t n, channels, pixels, relu, threads;
    double epsilon, momentum;
} Norm;

typedef struct {
    const REAL *images, *weight, *bias, *shortcut, *gradient;
    REAL *outputs, *statistics, *mean, *variance, *image_gradient, *weight_gradient, *bias_gradient, *shortcut_gradient;
    const Norm *s;
} Task;

/* Sums over the images of one channel: of (x - shift) ^ power. */
INLINE double sum_of(const REAL *images, const Norm *s, REAL shift, const int power)
{
    double sum = 0;
    for (int64_t n = 0; n < s->n; n++) {
        const REAL *row = images + n * s->channels * s->pixels;
        vec sums = {0};
        int64_t i = 0;
        for (; i + LANES <= s->pixels; i += LANES) {
            vec value = load(row + i) - shift;
            sums += power == 2 ? value * value : value;
        }
        REAL rest = 0;
        for (; i < s->pixels; i++)
            rest += power == 2 ? (row[i] - shift) * (row[i] - shift) : row[i] - shift;
        sum += (double)total(sums) + (double)rest;
    }
    return sum;
}

static void forward_channel(void *task, int64_t c, int thread)
{
    Task *t = task;
    const Norm *s = t->s;
    const REAL *images = t->images + c * s->pixels;
    double count = (double)s->n * (double)s->pixels;
    REAL mean = (REAL)(sum_of(images, s, 0, 1) / count);
    double variance = sum_of(images, s, mean, 2) / count;
    REAL inverse = (REAL)(1 / sqrt(variance + s->epsilon));
    REAL scale = inverse * t->weight[c], bias = t->bias[c];
    (void)thread;
    t->statistics[2 * c] = mean, t->statistics[2 * c + 1] = inverse;
    t->mean[c] = (REAL)(t->mean[c] * s->momentum + mean * (1 - s->momentum));
    t->variance[c] = (REAL)(t->variance[c] * s->momentum + variance * (1 - s->momentum));
    for (int64_t n = 0; n < s->n; n++) {
        int64_t start = (n * s->channels + c) * s->pixels, i = 0;
        const REAL *row = t->images + start, *shortcut = t->shortcut ? t->shortcut + start : NULL;
        REAL *out = t->outputs + start;
        for (; i + LANES <= s->pixels; i += LANES) {
            vec value = (load(row + i) - mean) * scale + bias;
            value = shortcut ? value + load(shortcut + i) : value;
            store(out + i, s->relu ? choose(value <= 0, (vec){0}, value) : value); /* NaN stays */
        }
        for (; i < s->pixels; i++) {
            REAL value = (row[i] - mean) * scale + bias + (shortcut ? shortcut[i] : 0);
            out[i] = s->relu && value <= 0 ? 0 : value;
        }
    }
}

/* Outputs, `statistics`, and the running mean and variance, which are updated. `shortcut` may be NULL. */
int norm_forward(const REAL *images, const REAL *weight, const REAL *bias, const REAL *shortcut, REAL *outputs, REAL *statistics,
                 REAL *mean, REAL *variance, const Norm *s)
{
    Task t = {.images = images, .weight = weight, .bias = bias, .shortcut = shortcut, .outputs = outputs};
    t.statistics = statistics;
    t.mean = mean, t.variance = variance, t.s = s;
    run(forward_channel, &t, s->channels, s->threads);
    return 0;
}

/* The gradient before ReLU: 0 where the value was not above 0. */
INLINE vec before_relu(const Task *t, vec value, const REAL *shortcut, vec gradient)
{
    value = shortcut ? value + load(shortcut) : value;
    return t->s->relu ? choose(value <= 0, (vec){0}, gradient) : gradient;
}

INLINE REAL before_relu_1(const Task *t, REAL value, const REAL *shortcut, REAL gradient)
{
    value = shortcut ? value + *shortcut : value;
    return t->s->relu && value <= 0 ? 0 : gradient;
}

static void backward_channel(void *task, int64_t c, int thread)
{
    Task *t = task;
    const Norm *s = t->s;
    REAL mean = t->statistics[2 * c], inverse = t->statistics[2 * c + 1], scale = inverse * t->weight[c], bias = t->bias[c];
    double sum = 0, product = 0, count = (double)s->n * (double)s->pixels;
    (void)thread;
#define SHORTCUT(i) (t->shortcut ? t->shortcut + start + (i) : NULL)
    for (int64_t n = 0; n < s->n; n++) {
        int64_t start = (n * s->channels + c) * s->pixels, i = 0;
        const REAL *row = t->images + start, *gradient = t->gradient + start;
        vec sums = {0}, products = {0};
        for (; i + LANES <= s->pixels; i += LANES) {
            vec value = load(row + i) - mean, g = before_relu(t, value * scale + bias, SHORTCUT(i), load(gradient + i));
            sums += g, products += g * value;
        }
        REAL rest = 0, rest_product = 0;
        for (; i < s->pixels; i++) {
            REAL value = row[i] - mean, g = before_relu_1(t, value * scale + bias, SHORTCUT(i), gradient[i]);
            rest += g, rest_product += g * value;
        }
        sum += (double)total(sums) + (double)rest, product += (double)total(products) + (double)rest_product;
    }
    t->weight_gradient[c] = (REAL)(product * inverse), t->bias_gradient[c] = (REAL)sum;
    REAL mean_gradient = (REAL)(sum / count), slope = (REAL)(product / count * inverse * inverse);
    for (int64_t n = 0; n < s->n; n++) {
        int64_t start = (n * s->channels + c) * s->pixels, i = 0;
        const REAL *row = t->images + start, *gradient = t->gradient + start;
        REAL *out = t->image_gradient + start, *aside = t->shortcut ? t->shortcut_gradient + start : NULL;
        for (; i + LANES <= s->pixels; i += LANES) {
            vec value = load(row + i) - mean, g = before_relu(t, value * scale + bias, SHORTCUT(i), load(gradient + i));
            store(out + i, (g - mean_gradient - value * slope) * scale);
            if (aside)
                store(aside + i, g);
        }
        for (; i < s->pixels; i++) {
            REAL value = row[i] - mean, g = before_relu_1(t, value * scale + bias, SHORTCUT(i), gradient[i]);
            out[i] = (g - mean_gradient - value * slope) * scale;
            if (aside)
                aside[i] = g;
        }
    }
}

/* Gradients of the images, weight, bias and shortcut (NULL: none) from that of the outputs. */
int norm_backward(const REAL *images, const REAL *weight, const REAL *bias, const REAL *shortcut, const REAL *statistics,
                  const REAL *gradient, REAL *image_gradient, REAL *weight_gradient, REAL *bias_gradient, REAL *shortcut_gradient,
                  const Norm *s)
{
    Task t = {.images = images, .weight = weight, .bias = bias, .shortcut = shortcut, .statistics = (REAL *)statistics};
    t.gradient = gradient, t.image_gradient = image_gradient, t.weight_gradient = weight_gradient;
    t.bias_gradient = bias_gradient, t.shortcut_gradient = shortcut_gradient, t.s = s;
    run(backward_channel, &t, s->channels, s->threads);
    return 0;
}
