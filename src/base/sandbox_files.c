/* sandbox_files.c - Landlock, by its system calls: no library for it is older than this page, and what the kernel here
 * knows may be more than what its headers did where this was built, or less. */
#include "base/sandbox_files.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL_CREATE 444
#define CALL_ADD 445
#define CALL_RESTRICT 446
#define ONLY_VERSION 1U /* flag of CALL_CREATE */
#define RULE_BENEATH 1
#define RULE_PORT 2

/* Before 2 nothing could be renamed from one directory into another. */
enum { VERSION_MIN = 2, VERSION_TRUNCATE = 3, VERSION_NET = 4, VERSION_SCOPE = 6 };

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_CHAR = 1 << 6,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SOCK = 1 << 9,
    FS_MAKE_FIFO = 1 << 10,
    FS_MAKE_BLOCK = 1 << 11,
    FS_MAKE_SYM = 1 << 12,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
};
#define FS_ALL (FS_REFER * 2 - 1)
#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_CHANGE                                                                                                      \
    (FS_READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE)
enum { NET_BIND = 1 << 0, NET_CONNECT = 1 << 1 };
enum { SCOPE_ABSTRACT_SOCKETS = 1 << 0, SCOPE_SIGNALS = 1 << 1 };

typedef struct {
    uint64_t files, net, scopes;
} Ruleset;
typedef struct {
    uint64_t allowed;
    int32_t directory;
} __attribute__((packed)) BeneathRule;
typedef struct {
    uint64_t allowed, port;
} PortRule;

/* What was wished for. */
typedef struct {
    int fd;
    SandboxAccess access;
} Directory;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below: tables are opened by threads as well */
static bool entered;
static GArray *directories;
static guint16 ports[64];
static guint port_count;
static bool any_port, asks_library;

int sandbox_landlock_version(void)
{
    long version = syscall(CALL_CREATE, NULL, 0, ONLY_VERSION);

    return version >= VERSION_MIN ? (int)version : 0;
}

char *sandbox_lacks(void)
{
#ifdef SANITIZED
    return NULL;
#else
    static const struct {
        int since;
        const char *what;
    } later[] = {{VERSION_TRUNCATE, "truncating files"},
                 {VERSION_NET, "TCP ports"},
                 {VERSION_SCOPE, "signals to others and their abstract sockets"}};
    int version = sandbox_landlock_version();
    g_autoptr(GString) list = g_string_new(NULL);

    if (version == 0)
        return g_strdup("this kernel has no Landlock (2 or later): files are protected by their modes alone");
    for (size_t i = 0; i < G_N_ELEMENTS(later); i++)
        if (version < later[i].since)
            g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "", later[i].what);
    return list->len > 0 ? g_strdup_printf("this kernel's Landlock (%d) cannot forbid: %s", version, list->str) : NULL;
#endif
}

static int open_nearest(const char *path, SandboxAccess access)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 || errno != ENOENT || access != SANDBOX_WRITE)
        return fd;
    g_autofree char *above = g_path_get_dirname(path);
    return strcmp(above, "/") == 0 || strcmp(above, ".") == 0 ? -1 : open_nearest(above, access);
}

/* Under the lock, as the next one. */
static void add_directory(const char *path, SandboxAccess access)
{
    const Directory directory = {open_nearest(path, access), access};

    if (directory.fd < 0)
        return;
    if (!directories)
        directories = g_array_new(FALSE, FALSE, sizeof(Directory));
    g_array_append_val(directories, directory);
}

static void add_wished_port(guint16 port)
{
    for (guint i = 0; i < port_count; i++)
        if (ports[i] == port)
            return;
    if (port == SANDBOX_ANY_PORT || port_count == G_N_ELEMENTS(ports))
        any_port = true;
    else
        ports[port_count++] = port;
}

void sandbox_will_use(const char *directory, SandboxAccess access)
{
    pthread_mutex_lock(&lock);
    if (*directory && !entered)
        add_directory(directory, access);
    pthread_mutex_unlock(&lock);
}

void sandbox_will_connect(guint16 port)
{
    pthread_mutex_lock(&lock);
    if (!entered)
        add_wished_port(port);
    pthread_mutex_unlock(&lock);
}

void sandbox_will_ask_library(void)
{
    static const char *const places[] = {"/etc", "/usr/lib", "/usr/share", "/lib", "/lib64", "/run/systemd/resolve"};

    pthread_mutex_lock(&lock);
    if (!entered && !asks_library) {
        asks_library = any_port = true;
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
            add_directory(places[i], SANDBOX_READ);
    }
    pthread_mutex_unlock(&lock);
}

void sandbox_forget(void)
{
    for (guint i = 0; directories && i < directories->len; i++)
        close(g_array_index(directories, Directory, i).fd);
    g_clear_pointer(&directories, g_array_unref);
    port_count = 0;
    any_port = asks_library = false;
}

static void end_wishes(void)
{
    sandbox_forget();
    entered = true;
}

#ifndef SANITIZED
static bool add_beneath(int ruleset, int fd, uint64_t allowed)
{
    const BeneathRule rule = {allowed, fd};

    return syscall(CALL_ADD, ruleset, RULE_BENEATH, &rule, 0) == 0;
}

static bool add_directories(int ruleset, uint64_t handled)
{
    static const uint64_t rights[] = {
        [SANDBOX_LIST] = FS_READ_DIR, [SANDBOX_READ] = FS_READ, [SANDBOX_WRITE] = FS_CHANGE};
    bool done = true;

    for (guint i = 0; directories && i < directories->len; i++) {
        const Directory *directory = &g_array_index(directories, Directory, i);
        done &= add_beneath(ruleset, directory->fd, rights[directory->access] & handled);
    }
    auto_fd null = open("/dev/null", O_PATH | O_CLOEXEC); /* these two are files, but nobody replaces them */
    auto_fd random = open("/dev/urandom", O_PATH | O_CLOEXEC);
    return done && (null < 0 || add_beneath(ruleset, null, (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE) & handled)) &&
           (random < 0 || add_beneath(ruleset, random, FS_READ_FILE & handled));
}

static bool add_port(int ruleset, guint16 port, uint64_t allowed)
{
    const PortRule rule = {allowed, port};

    return syscall(CALL_ADD, ruleset, RULE_PORT, &rule, 0) == 0;
}

static bool add_ports(int ruleset)
{
    bool done = any_port || add_port(ruleset, 0, NET_BIND); /* an address of ours, as a client, with any port */

    for (guint i = 0; !any_port && i < port_count; i++)
        done &= add_port(ruleset, ports[i], NET_CONNECT);
    return done;
}

bool sandbox_files_enter(GError **error)
{
    int version = sandbox_landlock_version();
    bool has_net = version >= VERSION_NET && !any_port;
    const Ruleset attributes = {
        .files = version >= VERSION_TRUNCATE ? FS_ALL | FS_TRUNCATE : FS_ALL,
        .net = has_net ? NET_BIND | NET_CONNECT : 0,
        .scopes = version >= VERSION_SCOPE ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0,
    };
    size_t size = version >= VERSION_SCOPE ? sizeof attributes
                  : version >= VERSION_NET ? offsetof(Ruleset, scopes)
                                           : offsetof(Ruleset, net);

    if (version == 0) {
        end_wishes();
        return true;
    }
    auto_fd ruleset = (int)syscall(CALL_CREATE, &attributes, size, 0);
    bool done = ruleset >= 0 && add_directories(ruleset, attributes.files) && (!has_net || add_ports(ruleset)) &&
                syscall(CALL_RESTRICT, ruleset, 0) == 0;
    if (!done)
        fail_errno(error, "Landlock (service_sandbox = off does without)");
    end_wishes();
    return done;
}
#else
bool sandbox_files_enter(GError **error) /* the sanitizers read and write what they like */
{
    end_wishes();
    return true;
}
#endif
