/* Loaded into a process before the C library: of its syncs, every n-th fails as on a disk with a fault. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>

static atomic_int every;
static atomic_int seen;
static atomic_int failed;

void fail_syncs(int n) { atomic_store(&every, n); }

int failed_syncs(void) { return atomic_load(&failed); }

static int fails(void)
{
    int n = atomic_load(&every);
    if (n == 0 || atomic_fetch_add(&seen, 1) % n != n - 1)
        return 0;
    atomic_fetch_add(&failed, 1);
    errno = EIO;
    return 1;
}

static int synced(const char *name, int descriptor)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return fails() ? -1 : real(descriptor);
}

int fsync(int descriptor) { return synced("fsync", descriptor); }

int fdatasync(int descriptor) { return synced("fdatasync", descriptor); }
