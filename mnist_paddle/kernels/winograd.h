/* Winograd's algorithm: what winograd.c needs of combine.c. */

#include "convolution.h"

#define KINDS 5

/* How many multiplications of each kind there are, and where they begin in [kind, kind, image, tile row, tile column]. */
typedef struct {
    int64_t h, w, images, rows[KINDS], columns[KINDS], at[KINDS][KINDS], total;
} Grid;

Grid grid_of(int64_t h, int64_t w, int64_t images);

INLINE int64_t vectors(int64_t channels) { return (channels + LANES - 1) / LANES; }

/* Pixels [row, column, channel], rows `width` apart, `each` vectors a pixel -> multiplications: of inputs with a border, of gradients.
   And back. */
void combine_inputs(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each);
void combine_gradients(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each);
void combine_outputs(const Grid *g, int64_t image, vec *pixels, int64_t width, vec *products, int64_t each);

/* t->packed from the weights: those of one input channel; for the backward pass of one output channel. */
void forward_weights(void *task, int64_t channel, int thread);
void backward_weights(void *task, int64_t channel, int thread);

/* From sums[kind, kind, i] the gradients of the weights: gradient[tap, i], taps `apart`. */
void combine_sums(const vec *sums, vec *gradient, int64_t count, int64_t apart);
