/* The images of a batch, out of order in the data set, as normalized numbers. */

#include "vectors.h"

/* out[i] = value of each pixel of images[indices[i]]; images [?, size] of bytes, values [256], out [count, size].
   A table and not a product: the values are NumPy's to the bit, with whatever instructions this is compiled. */
void gather(const uint8_t *images, const int64_t *indices, const REAL *values, REAL *out, int64_t count, int64_t size)
{
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *image = images + indices[i] * size;
        for (int64_t pixel = 0; pixel < size; pixel++)
            out[i * size + pixel] = values[image[pixel]];
    }
}
