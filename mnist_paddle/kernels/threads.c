/* The threads of threads.h. Idle ones first look for work again and again, since the next task often comes within microseconds and
   waking a thread takes longer than some tasks; then they sleep. They have all signals blocked, which are meant for Python. */

#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define SPINS 5000 /* about 0.1 ms */

static struct {
    pthread_mutex_t busy, lock;
    pthread_cond_t begun;
    atomic_ullong ticket; /* number of the task (24 bits), its threads (8), blocks that nobody has taken (32) */
    atomic_llong done;    /* blocks */
    atomic_int sleeping;
    int count; /* threads besides the caller */
    unsigned control;
    Work work;
    void *task;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .begun = PTHREAD_COND_INITIALIZER};

/* How this thread rounds and treats tiny numbers: all threads of a task do as its caller does. */
static inline unsigned control(void)
{
#ifdef __SSE__
    return __builtin_ia32_stmxcsr();
#else
    return 0;
#endif
}

static inline void set_control(unsigned value)
{
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(value);
#else
    (void)value;
#endif
}

static inline void pause_briefly(void)
{
#ifdef __SSE__
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t blocks_for(int thread, uint64_t ticket)
{
    return thread < (int)(ticket >> 32 & 255) ? ticket & UINT32_MAX : 0;
}

static void take_blocks(int thread)
{
    uint64_t ticket = atomic_load(&pool.ticket);
    while (blocks_for(thread, ticket)) {
        if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket - 1))
            continue; /* `ticket` is now what it was changed to */
        set_control(pool.control);
        pool.work(pool.task, (int64_t)(ticket & UINT32_MAX) - 1, thread);
        atomic_fetch_add(&pool.done, 1);
        ticket = atomic_load(&pool.ticket);
    }
}

static void *idle(void *number)
{
    int thread = (int)(intptr_t)number;
    for (;;) {
        for (int spin = 0; spin < SPINS && !blocks_for(thread, atomic_load(&pool.ticket)); spin++)
            spin % 32 == 31 ? (void)sched_yield() : pause_briefly(); /* whoever prepares the next batch needs a core too */
        if (!blocks_for(thread, atomic_load(&pool.ticket))) {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleeping, 1);
            while (!blocks_for(thread, atomic_load(&pool.ticket)))
                pthread_cond_wait(&pool.begun, &pool.lock);
            atomic_fetch_sub(&pool.sleeping, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        take_blocks(thread);
    }
    return NULL;
}

/* A child process has only the thread that forked. */
static void forget_threads(void)
{
    pthread_mutex_init(&pool.busy, NULL), pthread_mutex_init(&pool.lock, NULL), pthread_cond_init(&pool.begun, NULL);
    atomic_store(&pool.sleeping, 0), atomic_store(&pool.ticket, 0), pool.count = 0;
}

/* Start threads until there are so many with the caller; the system may allow fewer. */
static void start_threads(int threads)
{
    static int prepared;
    if (!prepared++)
        pthread_atfork(NULL, NULL, forget_threads);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pthread_t thread; pool.count + 1 < threads; pool.count++) {
        if (pthread_create(&thread, NULL, idle, (void *)(intptr_t)(pool.count + 1)))
            break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void run(Work work, void *task, int64_t blocks, int64_t threads)
{
    threads = threads < blocks ? threads : blocks;
    if (threads < 2 || blocks > UINT32_MAX || pthread_mutex_trylock(&pool.busy)) {
        for (int64_t block = 0; block < blocks; block++)
            work(task, block, 0);
        return;
    }
    start_threads((int)threads);
    pool.work = work, pool.task = task, pool.control = control();
    atomic_store(&pool.done, 0);
    uint64_t number = (atomic_load(&pool.ticket) >> 40) + 1;
    atomic_store(&pool.ticket, number << 40 | (uint64_t)threads << 32 | (uint64_t)blocks);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.begun);
        pthread_mutex_unlock(&pool.lock);
    }
    take_blocks(0);
    for (int64_t spin = 0; atomic_load(&pool.done) < blocks; spin++)
        spin < SPINS ? pause_briefly() : (void)sched_yield();
    pthread_mutex_unlock(&pool.busy);
}
