/* shim.c - stands between the programs under test and the system (LD_PRELOAD): records what they do to files, in one order
 * for all processes, and makes calls fail. shim.py compiles it and is the other side.
 *
 * $GATEPOST_FAULT_SHIM names a file that all map: a header, then records. Each call that changes a file system is made and
 * recorded under one lock, so the order of the records is the order in which things happened. Not recorded: mapped memory,
 * modes, owners and times. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CREATE = 1, MKDIR, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MARK };
enum { FAIL_WRITE = 1, FAIL_SYNC = 2, FAIL_CREATE = 4, FAIL_SYNC_FILE = 8 }; /* bits of Header.calls */

typedef struct {
    int lock; /* pid of the holder; 0: free */
    uint32_t recording, overflow;
    uint32_t calls, error; /* which calls fail, and with what; 0: none does */
    uint32_t failed;       /* how many did */
    char below[256];       /* only on files whose path begins so */
    char mark[64];         /* octets sent to a socket are recorded when they hold this; "": never */
    uint64_t size, used;   /* of all, header included */
} Header;

typedef struct {
    uint32_t len, kind; /* of the whole record, padded to 8 */
    uint64_t directory, directory2, inode;
    int64_t offset;
    uint32_t name_len, name2_len, data_len, pid;
} Record;

static Header *shared;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("GATEPOST_FAULT_SHIM");
    struct stat status;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *at = fstat(fd, &status) == 0 ? mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                                       : MAP_FAILED;
    close(fd);
    if (at != MAP_FAILED)
        shared = at;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* ---- recording ---- */

static void take_lock(void)
{
    for (int spins = 1;; spins++) {
        int holder = 0;
        if (__atomic_compare_exchange_n(&shared->lock, &holder, getpid(), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
        if (spins % 1000 == 0 && kill(holder, 0) < 0 && errno == ESRCH) /* killed with the lock */
            __atomic_compare_exchange_n(&shared->lock, &holder, 0, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        usleep(20);
    }
}

/* Whether calls are recorded; the lock is held then, until end(). */
static int begin(void)
{
    if (!shared || !shared->recording)
        return 0;
    int saved = errno;
    take_lock();
    errno = saved;
    return 1;
}

static void end(int begun)
{
    if (begun)
        __atomic_store_n(&shared->lock, 0, __ATOMIC_RELEASE);
}

static void put(const Record *what, const char *name, const char *name2, const void *data)
{
    Record record = *what;
    char *at = (char *)shared + shared->used;

    record.name_len = name ? (uint32_t)strlen(name) : 0;
    record.name2_len = name2 ? (uint32_t)strlen(name2) : 0;
    record.pid = (uint32_t)getpid();
    size_t len = (sizeof record + record.name_len + record.name2_len + record.data_len + 7) / 8 * 8;
    if (shared->used + len > shared->size) {
        shared->overflow = 1;
        return;
    }
    record.len = (uint32_t)len;
    memcpy(at, &record, sizeof record);
    at += sizeof record;
    memcpy(at, name ? name : "", record.name_len);
    at += record.name_len;
    memcpy(at, name2 ? name2 : "", record.name2_len);
    at += record.name2_len;
    if (record.data_len)
        memcpy(at, data, record.data_len);
    shared->used += len;
}

static uint64_t inode_of(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) ? status.st_ino : 0;
}

/* The directory that a path's last component lies in, and that component. */
static uint64_t split(int at, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    struct stat status;

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        snprintf(parent, sizeof parent, ".");
    else
        snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return fstatat(at, parent, &status, 0) == 0 ? status.st_ino : 0;
}

static uint64_t inode_at(int at, const char *path)
{
    struct stat status;

    return fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_ino : 0;
}

static void record_data(int fd, const void *data, ssize_t len, off_t offset)
{
    uint64_t inode = inode_of(fd);

    if (inode == 0 || len <= 0)
        return;
    if (offset < 0)
        offset = lseek(fd, 0, SEEK_CUR) - len;
    put(&(Record){.kind = WRITE, .inode = inode, .offset = offset, .data_len = (uint32_t)len}, NULL, NULL, data);
}

/* Before it is sent: what has begun to leave may have arrived. */
static void record_sent(const void *data, size_t len)
{
    if (!shared || !shared->recording || !shared->mark[0] || !memmem(data, len, shared->mark, strlen(shared->mark)))
        return;
    int begun = begin();
    if (begun)
        put(&(Record){.kind = MARK, .data_len = (uint32_t)len}, NULL, NULL, data);
    end(begun);
}

/* ---- failing ---- */

static int is_below(int fd, int at, const char *path)
{
    char link[64], found[PATH_MAX];
    ssize_t len = 0;

    if (path && path[0] == '/') {
        snprintf(found, sizeof found, "%s", path);
    } else {
        snprintf(link, sizeof link, at == AT_FDCWD && fd < 0 ? "/proc/self/cwd" : "/proc/self/fd/%d", fd >= 0 ? fd : at);
        len = readlink(link, found, sizeof found - 1);
        found[len < 0 ? 0 : len] = '\0';
    }
    return strncmp(found, shared->below, strlen(shared->below)) == 0;
}

static int fails(uint32_t call, int fd, int at, const char *path)
{
    if (!shared || !(shared->calls & call))
        return 0;
    int saved = errno;
    int hit = (path || inode_of(fd)) && is_below(fd, at, path);
    errno = hit ? (int)shared->error : saved;
    if (hit)
        __atomic_add_fetch(&shared->failed, 1, __ATOMIC_RELAXED);
    return hit;
}

static int is_file(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* ---- the calls ---- */

ssize_t write(int fd, const void *data, size_t len)
{
    REAL(write);
    if (fails(FAIL_WRITE, fd, 0, NULL))
        return -1;
    struct stat status;
    if (shared && shared->recording && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
        record_sent(data, len);
    if (!shared || !shared->recording || !inode_of(fd))
        return real(fd, data, len);
    int begun = begin();
    ssize_t done = real(fd, data, len);
    int saved = errno;
    if (begun)
        record_data(fd, data, done, -1);
    end(begun);
    errno = saved;
    return done;
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t len, type offset) \
    { \
        REAL(name); \
        if (fails(FAIL_WRITE, fd, 0, NULL)) \
            return -1; \
        int begun = begin(); \
        ssize_t done = real(fd, data, len, offset); \
        int saved = errno; \
        if (begun) \
            record_data(fd, data, done, (off_t)offset); \
        end(begun); \
        errno = saved; \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(name, type) \
    int name(int fd, type size) \
    { \
        REAL(name); \
        int begun = begin(); \
        int done = real(fd, size); \
        if (begun && done == 0) \
            put(&(Record){.kind = TRUNCATE, .inode = inode_of(fd), .offset = (off_t)size}, NULL, NULL, NULL); \
        end(begun); \
        return done; \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define FSYNC(name) \
    int name(int fd) \
    { \
        REAL(name); \
        if (fails(FAIL_SYNC, fd, 0, NULL) || (is_file(fd) && fails(FAIL_SYNC_FILE, fd, 0, NULL))) \
            return -1; \
        int begun = begin(); \
        int done = real(fd); \
        if (begun && done == 0) \
            put(&(Record){.kind = SYNC, .inode = inode_of(fd)}, NULL, NULL, NULL); \
        end(begun); \
        return done; \
    }
FSYNC(fsync)
FSYNC(fdatasync)

static int open_recorded(int (*real)(int, const char *, int, ...), int at, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) && fails(FAIL_CREATE, -1, at, path))
        return -1;
    int begun = flags & (O_CREAT | O_TRUNC) ? begin() : 0;
    const char *name;
    uint64_t before = begun ? inode_at(at, path) : 0;
    int fd = real(at, path, flags, mode);
    int saved = errno;
    if (begun && fd >= 0 && !before) {
        uint64_t directory = split(at, path, &name);
        put(&(Record){.kind = CREATE, .directory = directory, .inode = inode_of(fd)}, name, NULL, NULL);
    } else if (begun && fd >= 0 && flags & O_TRUNC) {
        put(&(Record){.kind = TRUNCATE, .inode = inode_of(fd)}, NULL, NULL, NULL);
    }
    end(begun);
    errno = saved;
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        REAL(name); \
        va_list args; \
        va_start(args, flags); \
        mode_t mode = mode_of(flags, args); \
        va_end(args); \
        return open_recorded(real, at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(openat); \
        va_list args; \
        va_start(args, flags); \
        mode_t mode = mode_of(flags, args); \
        va_end(args); \
        return open_recorded(real, AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

static int rename_recorded(int at, const char *path, int at2, const char *path2, unsigned flags)
{
    REAL(renameat2);
    const char *name, *name2;
    int begun = begin();
    int done = real(at, path, at2, path2, flags);
    int saved = errno;
    if (begun && done == 0) {
        uint64_t directory = split(at, path, &name), directory2 = split(at2, path2, &name2);
        put(&(Record){.kind = RENAME, .directory = directory, .directory2 = directory2, .inode = inode_at(at2, path2)}, name,
            name2, NULL);
    }
    end(begun);
    errno = saved;
    return done;
}

int renameat2(int at, const char *path, int at2, const char *path2, unsigned flags)
{
    return rename_recorded(at, path, at2, path2, flags);
}

int renameat(int at, const char *path, int at2, const char *path2)
{
    return rename_recorded(at, path, at2, path2, 0);
}

int rename(const char *path, const char *path2)
{
    return rename_recorded(AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int linkat(int at, const char *path, int at2, const char *path2, int flags)
{
    REAL(linkat);
    const char *name2;
    int begun = begin();
    int done = real(at, path, at2, path2, flags);
    int saved = errno;
    if (begun && done == 0) {
        uint64_t directory2 = split(at2, path2, &name2);
        put(&(Record){.kind = LINK, .directory = directory2, .inode = inode_at(at2, path2)}, name2, NULL, NULL);
    }
    end(begun);
    errno = saved;
    return done;
}

int link(const char *path, const char *path2)
{
    return linkat(AT_FDCWD, path, AT_FDCWD, path2, 0);
}

int unlinkat(int at, const char *path, int flags)
{
    REAL(unlinkat);
    const char *name;
    int begun = begin();
    uint64_t directory = begun ? split(at, path, &name) : 0;
    int done = real(at, path, flags);
    int saved = errno;
    if (begun && done == 0)
        put(&(Record){.kind = UNLINK, .directory = directory}, name, NULL, NULL);
    end(begun);
    errno = saved;
    return done;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    REAL(mkdirat);
    const char *name;
    int begun = begin();
    int done = real(at, path, mode);
    int saved = errno;
    if (begun && done == 0) {
        uint64_t directory = split(at, path, &name);
        put(&(Record){.kind = MKDIR, .directory = directory, .inode = inode_at(at, path)}, name, NULL, NULL);
    }
    end(begun);
    errno = saved;
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    REAL(send);
    record_sent(data, len);
    return real(fd, data, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    for (size_t i = 0; i < message->msg_iovlen; i++)
        record_sent(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return real(fd, message, flags);
}
