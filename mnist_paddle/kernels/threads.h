/* A few threads that work on the blocks of one task together. */

#include <stdint.h>

#define MOST_THREADS 64

typedef void (*Work)(void *task, int64_t block, int thread);

/* work(task, block, thread) for every block, by up to `threads` threads, numbered from 0: the caller and others.

   Which thread takes which block is left to chance, so a block must write where no other block writes; the result is then always
   the same. */
void run(Work work, void *task, int64_t blocks, int64_t threads);
