/* What the files of the convolution share. */

#include "threads.h"
#include "vectors.h"

#define OFF 255 /* the index where ReLU is off: more than any window has, for pool is at most 15 */

typedef struct {
    int64_t n, ci, h, w, co, k, padding, pool, relu, threads;
} Shape;

/* The size of a layer's buffers, in vectors; channels are rounded up to whole groups. */
typedef struct {
    int64_t ci, co, hp, wp;     /* channels; the padded input */
    int64_t ho, wo, hq, wq;     /* the output before pooling; its padded gradient */
    int64_t hy, wy, taps, edge; /* the output; k * k; the padding of the gradient */
} Sizes;

/* One call: its arrays and, per thread, where it works. */
typedef struct {
    const REAL *images, *weights, *bias, *gradient;
    REAL *outputs, *image_gradient, *weight_gradient, *bias_gradient;
    uint8_t *indices;
    const Shape *s;
    Sizes z;
    REAL *packed;        /* weights, as pack_weights orders them */
    vec *scratch;        /* `each` vectors per thread */
    int64_t each, blocks;
    char ready[MOST_THREADS]; /* whether a thread has set the borders in its scratch to 0 */
    REAL *partial;       /* per block, the gradients of the weights and of the bias */
    int64_t together, needs_indices; /* of winograd.c: images per block */
} Task;

/* backward_block for convolutions with pooling, of more than a few input channels: see pooled.c. */
int64_t pooled_scratch(const Task *t);
void pooled_weights(Task *t);
void pooled_block(void *task, int64_t block, int thread);

/* All of a 3 x 3 convolution with padding 1: see winograd.c. */
int winograd_fits(const Shape *s);
int64_t winograd_index_size(const Shape *s, const Sizes *z);
int winograd_forward(Task *t);
int winograd_backward(Task *t);
