/* Threads of the compiled kernel at work, for the thread sanitizer; built with the files of mnist_paddle/kernels. */

#include "threads.h"

#include <pthread.h>
#include <stdio.h>

static void add(void *task, int64_t block, int thread)
{
    (void)thread;
    ((int64_t *)task)[block] += block;
}

static void *tasks(void *unused)
{
    int64_t sums[100] = {0};
    (void)unused;
    for (int i = 0; i < 300; i++)
        run(add, sums, i % 100, 1 + i % 5);
    for (int64_t block = 0; block < 99; block++)
        if (sums[block] != block * (300 / 100) * (99 - block))
            return "a block was lost or done twice";
    return NULL;
}

int main(void)
{
    pthread_t others[3];
    void *problem, *problems[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&others[i], NULL, tasks, NULL);
    problem = tasks(NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(others[i], &problems[i]);
        problem = problem ? problem : problems[i];
    }
    if (problem)
        puts(problem);
    return problem != NULL;
}
