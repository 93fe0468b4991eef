/* A fully connected layer with ReLU, forward and backward: three matrix products with few rows.

   Arrays are contiguous: inputs [n, from], weights [from, to], bias [to], outputs [n, to]. */

#include "product.h"
#include "threads.h"

static void product_block(void *task, int64_t block, int thread)
{
    (void)thread;
    product_rows(task, block);
}

/* Returns 1 where memory is missing. */
static int multiply(Product p, int64_t threads)
{
    REAL *b = NULL, *bias = NULL;
    p.width = p.n;
    if (p.n < LANES) { /* copies with a whole vector of columns */
        b = numbers(p.k * LANES), bias = numbers(LANES);
        if (b && bias) {
            pad_rows(p.b, b, p.k, p.n);
            if (p.bias)
                pad_rows(p.bias, bias, 1, p.n);
            p.b = b, p.bias = p.bias ? bias : NULL, p.n = LANES;
        }
    }
    int failed = p.n < LANES;
    if (!failed)
        run(product_block, &p, (p.m + BLOCK - 1) / BLOCK, threads);
    free(b), free(bias);
    return failed;
}

int dense_forward(const REAL *inputs, const REAL *weights, const REAL *bias, REAL *outputs, int64_t n, int64_t from, int64_t to,
                  int64_t relu, int64_t threads)
{
    Product p = {.a = inputs, .b = weights, .bias = bias, .c = outputs, .m = n, .k = from, .n = to, .row = from, .column = 1};
    p.relu = relu;
    return multiply(p, threads);
}

/* `outputs` is NULL without ReLU, `input_gradient` where it is not needed. */
int dense_backward(const REAL *inputs, const REAL *weights, const REAL *outputs, const REAL *gradient, REAL *input_gradient,
                   REAL *weight_gradient, REAL *bias_gradient, int64_t n, int64_t from, int64_t to, int64_t threads)
{
    REAL *masked = outputs ? numbers(n * to) : NULL, *turned = input_gradient ? numbers(from * to) : NULL;
    int failed = (outputs && !masked) || (input_gradient && !turned);
    if (!failed) {
        for (int64_t i = 0; i < n * to && masked; i++)
            masked[i] = outputs[i] == 0 ? 0 : gradient[i];
        gradient = masked ? masked : gradient;
        memset(bias_gradient, 0, to * sizeof(REAL));
        for (int64_t i = 0; i < n; i++)
            for (int64_t o = 0; o < to; o++)
                bias_gradient[o] += gradient[i * to + o];
        Product p = {.a = inputs, .b = gradient, .c = weight_gradient, .m = from, .k = n, .n = to, .row = 1, .column = from};
        failed = multiply(p, threads);
    }
    if (!failed && input_gradient) {
        turn(weights, turned, 0, from, to, from);
        Product p = {.a = gradient, .b = turned, .c = input_gradient, .m = n, .k = to, .n = from, .row = to, .column = 1};
        failed = multiply(p, threads);
    }
    free(masked), free(turned);
    return failed;
}
