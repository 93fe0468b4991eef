/* Fully connected layers, each with ReLU or nothing after it, and softmax cross entropy: outputs, losses and gradients of a batch.

   A task of the first part takes some images through all layers and back: threads wait for each other twice, however many layers
   there are. The gradients of weights are sums over all images, and so the second part.

   Arrays are contiguous: images [n, first size], labels [n], weights [before, after], outputs [n, classes]. */

#include "product.h"
#include "threads.h"

#include <math.h>

#define FINE 0
#define NO_MEMORY 1
#define NOT_FINITE 2
#define NO_LABEL 3

typedef struct {
    const REAL *weight;
    REAL *weight_gradient;
    const REAL *bias;
    REAL *bias_gradient;
    int64_t before, after, relu;
} Layer;

/* What a batch needs of a layer besides its arrays. */
typedef struct {
    REAL *values, *gradient; /* of the outputs [n, after]; the gradient of layers before ReLU */
    REAL *turned;            /* the transposed weight, for the gradient of the layer before */
    const REAL *weight, *bias, *padded; /* with columns for a whole vector; the gradient too */
    REAL *own;                          /* memory of these three, where the layer has fewer */
} Room;

typedef struct {
    const Layer *layers;
    Room *rooms;
    int64_t count, n, add, threads;
    const REAL *images;
    const int64_t *labels;
    REAL *losses;
    double scale; /* of the sum of the losses */
} Pass;

static const REAL *inputs_of(const Pass *p, int64_t layer) { return layer ? p->rooms[layer - 1].values : p->images; }

/* BLOCK images through one layer. */
static void forward(const Pass *p, int64_t block, int64_t layer)
{
    const Layer *l = &p->layers[layer];
    const Room *room = &p->rooms[layer];
    Product product = {.a = inputs_of(p, layer), .b = room->weight, .bias = room->bias, .c = room->values, .m = p->n};
    product.k = l->before, product.n = padded(l->after), product.width = l->after, product.row = l->before, product.column = 1;
    product.relu = l->relu;
    product_rows(&product, block);
}

/* The gradient of the layer before, from that of this one. */
static void backward(const Pass *p, int64_t block, int64_t layer)
{
    const Layer *l = &p->layers[layer];
    const Room *room = &p->rooms[layer], *below = &p->rooms[layer - 1];
    Product product = {.a = room->gradient, .b = room->turned, .c = below->gradient, .m = p->n, .k = l->after};
    product.n = padded(l->before), product.width = l->before, product.row = l->after, product.column = 1;
    product_rows(&product, block);
}

/* The gradient before ReLU: 0 where its value is. */
static void through_relu(const Pass *p, int64_t block, int64_t layer)
{
    int64_t after = p->layers[layer].after, end = (block + 1) * BLOCK < p->n ? (block + 1) * BLOCK : p->n;
    const Room *room = &p->rooms[layer];
    for (int64_t i = block * BLOCK * after; i < end * after && p->layers[layer].relu; i++)
        room->gradient[i] = room->values[i] == 0 ? 0 : room->gradient[i];
}

/* Softmax and cross entropy of one image; NaN where a score is not finite. */
static REAL loss_of(const REAL *scores, REAL *gradient, int64_t classes, int64_t label, double scale)
{
    double most = scores[0], sum = 0, zero = 0;
    for (int64_t i = 0; i < classes; i++)
        most = scores[i] > most ? scores[i] : most, zero += 0 * (double)scores[i];
    for (int64_t i = 0; i < classes; i++)
        sum += gradient[i] = (REAL)exp(scores[i] - most);
    for (int64_t i = 0; i < classes; i++)
        gradient[i] = (REAL)(scale * (gradient[i] / sum - (i == label)));
    return (REAL)(log(sum) + most - scores[label] + zero);
}

static void images_block(void *task, int64_t block, int thread)
{
    Pass *p = task;
    const Room *last = &p->rooms[p->count - 1];
    int64_t end = (block + 1) * BLOCK < p->n ? (block + 1) * BLOCK : p->n, classes = p->layers[p->count - 1].after;
    (void)thread;
    for (int64_t layer = 0; layer < p->count; layer++)
        forward(p, block, layer);
    for (int64_t i = block * BLOCK; i < end; i++)
        p->losses[i] = loss_of(last->values + i * classes, last->gradient + i * classes, classes, p->labels[i], p->scale);
    through_relu(p, block, p->count - 1);
    for (int64_t layer = p->count - 1; layer > 0; layer--)
        backward(p, block, layer), through_relu(p, block, layer - 1);
}

/* The gradient of the bias, or of BLOCK rows of the weight. */
static void weights_block(void *task, int64_t block, int thread)
{
    Pass *p = task;
    int64_t layer = 0;
    (void)thread;
    for (int64_t blocks; block >= (blocks = 1 + (p->layers[layer].before + BLOCK - 1) / BLOCK); layer++)
        block -= blocks;
    const Layer *l = &p->layers[layer];
    const Room *room = &p->rooms[layer];
    if (block) {
        Product product = {.a = inputs_of(p, layer), .b = room->padded, .c = l->weight_gradient, .m = l->before, .k = p->n};
        product.n = padded(l->after), product.width = l->after, product.row = 1, product.column = l->before;
        product.add = p->add;
        product_rows(&product, block - 1);
        return;
    }
    if (!p->add)
        memset(l->bias_gradient, 0, l->after * sizeof(REAL));
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t o = 0; o < l->after; o++)
            l->bias_gradient[o] += room->gradient[i * l->after + o];
}

/* BLOCK columns of a transposed weight. */
static void turn_block(void *task, int64_t block, int thread)
{
    Pass *p = task;
    int64_t layer = 1;
    (void)thread;
    for (int64_t blocks; block >= (blocks = (p->layers[layer].before + BLOCK - 1) / BLOCK); layer++)
        block -= blocks;
    const Layer *l = &p->layers[layer];
    int64_t end = (block + 1) * BLOCK < l->before ? (block + 1) * BLOCK : l->before;
    turn(l->weight, p->rooms[layer].turned, block * BLOCK, end, l->after, padded(l->before));
}

/* The next `count` numbers of `memory`; NULL while they are only counted. */
static REAL *take(REAL *memory, int64_t *used, int64_t count)
{
    REAL *taken = memory ? memory + *used : NULL;
    *used += (count + LANES - 1) / LANES * LANES;
    return taken;
}

/* Divide `memory` among the layers; NULL: only count. Returns how many numbers that takes. */
static int64_t lay_out(const Pass *p, REAL *memory, REAL *outputs)
{
    int64_t used = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const Layer *l = &p->layers[i];
        Room *room = &p->rooms[i];
        int64_t wide = padded(l->after);
        room->values = i + 1 < p->count ? take(memory, &used, p->n * l->after) : outputs;
        room->gradient = take(memory, &used, p->n * l->after);
        room->turned = i ? take(memory, &used, l->after * padded(l->before)) : NULL;
        room->own = wide > l->after ? take(memory, &used, (l->before + 1 + p->n) * wide) : NULL;
        room->weight = room->own ? room->own : l->weight;
        room->bias = room->own ? room->own + l->before * wide : l->bias;
        room->padded = room->own ? room->own + (l->before + 1) * wide : room->gradient;
    }
    return used;
}

static int train(Pass *p)
{
    int64_t turned = 0, weights = 0;
    double sum = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const Layer *l = &p->layers[i];
        const Room *room = &p->rooms[i];
        int64_t blocks = (l->before + BLOCK - 1) / BLOCK;
        turned += i ? blocks : 0, weights += 1 + blocks;
        if (i && padded(l->before) > l->before)
            memset(room->turned, 0, l->after * padded(l->before) * sizeof(REAL));
        if (room->own)
            pad_rows(l->weight, room->own, l->before, l->after), pad_rows(l->bias, (REAL *)room->bias, 1, l->after);
    }
    run(turn_block, p, turned, turned > 100 ? p->threads : 1);
    run(images_block, p, (p->n + BLOCK - 1) / BLOCK, p->threads);
    for (int64_t i = 0; i < p->n; i++)
        sum += p->losses[i];
    if (!isfinite((REAL)(sum * p->scale)))
        return NOT_FINITE;
    for (int64_t i = 0; i < p->count; i++)
        if (p->rooms[i].own)
            pad_rows(p->rooms[i].gradient, (REAL *)p->rooms[i].padded, p->n, p->layers[i].after);
    run(weights_block, p, weights, p->threads);
    return FINE;
}

/* Outputs, the losses of all images, and the gradients of `scale` times their sum, added to what is there with `add`.
   Gradients are written only where the result is FINE. */
int classifier(const Layer *layers, int64_t count, const REAL *images, const int64_t *labels, REAL *outputs, REAL *losses, int64_t n,
               double scale, int64_t add, int64_t threads)
{
    for (int64_t i = 0; i < n; i++)
        if (labels[i] < 0 || labels[i] >= layers[count - 1].after)
            return NO_LABEL;
    Room *rooms = malloc(count * sizeof(Room));
    Pass p = {layers, rooms, count, n, add, threads, images, labels, losses, scale};
    REAL *memory = rooms ? numbers(lay_out(&p, NULL, outputs)) : NULL;
    int result = NO_MEMORY;
    if (memory) {
        lay_out(&p, memory, outputs);
        result = train(&p);
    }
    free(memory), free(rooms);
    return result;
}
