/* Loaded into processes with LD_PRELOAD: writes down, in order, what they write to the files of one database, and when
 * they sync them. The environment names the database (OUTLAST_CHAOS_DATABASE) and the log (OUTLAST_CHAOS_WRITES), which
 * all processes share: each record is one appending write.
 *
 * A write is told after it was done; a sync is told before and after. So whatever stands before the beginning of a sync
 * had been written by then, and it is on the disk once that sync's end stands there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 65536
enum kind { WRITE = 1, TRUNCATE = 2, SYNC_BEGINS = 3, SYNC_ENDS = 4, UNLINK = 5 };

struct record {
    uint64_t at_ns;
    uint32_t kind;
    uint32_t file; /* 1: the database, 2: its write-ahead log, 3: its rollback journal */
    uint32_t process;
    uint32_t length;
    uint64_t offset;
};

static const char *const ends[] = {"", "-wal", "-journal"};
static unsigned char files[FILES_MAX]; /* By descriptor: which file of the database it is; 0: none. */
static const char *database;
static int log_fd = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("OUTLAST_CHAOS_WRITES");
    database = getenv("OUTLAST_CHAOS_DATABASE");
    if (!path || !database) return;
    REAL(int, "open", const char *, int, ...);
    log_fd = real(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static uint32_t file_of(const char *path)
{
    if (log_fd < 0 || !path) return 0;
    size_t length = strlen(database);
    if (strncmp(path, database, length)) return 0;
    for (uint32_t i = 0; i < 3; i++)
        if (!strcmp(path + length, ends[i])) return i + 1;
    return 0;
}

static uint32_t file_at(int fd) { return fd >= 0 && fd < FILES_MAX ? files[fd] : 0; }

static void tell(uint32_t kind, uint32_t file, uint64_t offset, const void *data, uint32_t length)
{
    int kept = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct record record = {(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, kind, file, (uint32_t)getpid(),
                            length, offset};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)data, data ? length : 0}};
    ssize_t whole = (ssize_t)(sizeof record + parts[1].iov_len);
    if (writev(log_fd, parts, 2) != whole) abort(); /* Half a log proves nothing. */
    errno = kept;
}

static int opened(int fd, const char *path)
{
    if (fd >= 0 && fd < FILES_MAX) files[fd] = (unsigned char)file_of(path);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        REAL(int, #name, const char *, int, ...); \
        return opened(real(path, flags, mode), path); \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < FILES_MAX) files[fd] = 0;
    return real(fd);
}

ssize_t write(int fd, const void *data, size_t length)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    uint32_t file = file_at(fd);
    if (!file) return real(fd, data, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, data, length);
    if (done > 0) tell(WRITE, file, (uint64_t)offset, data, (uint32_t)done);
    return done;
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t length, type offset) \
    { \
        REAL(ssize_t, #name, int, const void *, size_t, type); \
        ssize_t done = real(fd, data, length, offset); \
        if (done > 0 && file_at(fd)) tell(WRITE, file_at(fd), (uint64_t)offset, data, (uint32_t)done); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE_TO(name, type) \
    int name(int fd, type length) \
    { \
        REAL(int, #name, int, type); \
        int done = real(fd, length); \
        if (!done && file_at(fd)) tell(TRUNCATE, file_at(fd), (uint64_t)length, NULL, 0); \
        return done; \
    }
TRUNCATE_TO(ftruncate, off_t)
TRUNCATE_TO(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int fd) \
    { \
        REAL(int, #name, int); \
        uint32_t file = file_at(fd); \
        if (file) tell(SYNC_BEGINS, file, 0, NULL, 0); \
        int done = real(fd); \
        if (file && !done) tell(SYNC_ENDS, file, 0, NULL, 0); \
        return done; \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    int done = real(path);
    if (!done && file_of(path)) tell(UNLINK, file_of(path), 0, NULL, 0);
    return done;
}
