/* Shifts the wall clock of one process: preloaded, it adds to it what a file says, which may change at any time.

   The file holds three 64-bit numbers: nanoseconds to add; millionths by which the clock runs too fast; and since when
   it does, in nanoseconds of the monotonic clock. All other clocks stay as they are. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct shift {
    int64_t offset_ns, rate_ppm, since_ns;
};

static const volatile struct shift *shift;
static int (*real_gettime)(clockid_t, struct timespec *);

/* Follows a file from now on. Returns 0, or -1 when it cannot be read. */
int clock_shift_follow(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    void *mapped = mmap(NULL, sizeof(struct shift), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return -1;
    shift = mapped;
    return 0;
}

__attribute__((constructor)) static void follow_environment(void) {
    const char *path = getenv("CLOCK_SHIFT");
    if (path) clock_shift_follow(path);
}

static int read_clock(clockid_t clock, struct timespec *at) {
    if (!real_gettime) real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return real_gettime(clock, at);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = read_clock(clock, at);
    if (failed || !shift || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    int64_t ns = at->tv_sec * 1000000000LL + at->tv_nsec + shift->offset_ns;
    if (shift->rate_ppm) {
        struct timespec steady;
        read_clock(CLOCK_MONOTONIC, &steady);
        ns += (steady.tv_sec * 1000000000LL + steady.tv_nsec - shift->since_ns) / 1000000 * shift->rate_ppm;
    }
    at->tv_sec = ns / 1000000000LL;
    at->tv_nsec = ns % 1000000000LL;
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
