/* One step of Adam for all tensors of a network; with decay, of AdamW. As Paddle computes it, up to rounding. */

#include "threads.h"
#include "vectors.h"

#include <math.h>

#define CHUNK 16384 /* numbers of a block */
#define ROOT(x) (sizeof(REAL) == sizeof(float) ? (REAL)sqrtf((float)(x)) : (REAL)sqrt((double)(x)))

typedef struct {
    REAL *values;
    const REAL *gradient;
    REAL *mean, *square, *power1, *power2; /* powers of the betas, one number each */
    int64_t size;
} Tensor;

typedef struct {
    double rate, beta1, beta2, epsilon, decay;
} Adam;

typedef struct {
    const Tensor *tensors;
    const Adam *s;
} Task;

static void step(const Tensor *t, const Adam *s, int64_t start, int64_t end)
{
    REAL *restrict values = t->values, *restrict mean = t->mean, *restrict square = t->square;
    const REAL *restrict gradient = t->gradient;
    REAL beta1 = (REAL)s->beta1, beta2 = (REAL)s->beta2, root = ROOT(1 - *t->power2);
    REAL rate = (REAL)s->rate * root / (1 - *t->power1), epsilon = (REAL)s->epsilon * root;
    REAL keep = 1 - (REAL)s->rate * (REAL)s->decay;
    for (int64_t i = start; i < end; i++) {
        REAL g = gradient[i];
        mean[i] = beta1 * mean[i] + (1 - beta1) * g;
        square[i] = beta2 * square[i] + (1 - beta2) * g * g;
        values[i] = values[i] * keep - rate * (mean[i] / (ROOT(square[i]) + epsilon));
    }
}

static void block_of(void *task, int64_t block, int thread)
{
    const Task *task_ = task;
    const Tensor *t = task_->tensors;
    (void)thread;
    for (int64_t blocks; block >= (blocks = (t->size + CHUNK - 1) / CHUNK); t++)
        block -= blocks;
    int64_t end = (block + 1) * CHUNK < t->size ? (block + 1) * CHUNK : t->size;
    step(t, task_->s, block * CHUNK, end);
}

void adam(const Tensor *tensors, int64_t count, const Adam *s, int64_t threads)
{
    Task task = {tensors, s};
    int64_t blocks = 0;
    for (int64_t i = 0; i < count; i++)
        blocks += (tensors[i].size + CHUNK - 1) / CHUNK;
    run(block_of, &task, blocks, blocks > count ? threads : 1); /* small tensors are faster than an agreement on them */
    for (int64_t i = 0; i < count; i++)
        *tensors[i].power1 *= (REAL)s->beta1, *tensors[i].power2 *= (REAL)s->beta2;
}
