/* sandbox_calls.c - which system calls are refused, and which are known to be needed. */
#include "base/sandbox_calls.h"

const char *const sandbox_denied[] = {
    /* other programs and other processes */
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
    "pidfd_getfd", "pidfd_open", "kcmp",
    /* other worlds */
    "unshare", "setns", "chroot", "pivot_root", "mount", "umount", "umount2", "mount_setattr", "move_mount",
    "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "swapon", "swapoff", "quotactl",
    "quotactl_fd", "open_by_handle_at", "name_to_handle_at", "mknod", "mknodat",
    /* the machine */
    "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
    "query_module", "get_kernel_syms", "acct", "syslog", "sethostname", "setdomainname", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "modify_ldt", "nfsservctl", "vhangup", "uselib",
    "ustat", "sysfs", "_sysctl", "lookup_dcookie", "fanotify_init",
    /* the kernel's rarer parts, where its errors are */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup",
    "io_submit", "io_getevents", "io_pgetevents", "io_cancel", "io_destroy", "keyctl", "add_key", "request_key",
    "personality", "remap_file_pages", "move_pages", "migrate_pages", "mbind", "set_mempolicy",
    "set_mempolicy_home_node", "vmsplice", "tee", "memfd_secret", "secretmem", NULL};

const char *const sandbox_denied_users[] = {
    "setuid",   "setgid",    "setreuid", "setregid",    "setresuid",          "setresgid", "setfsuid",
    "setfsgid", "setgroups", "capset",   "setpriority", "sched_setscheduler", NULL};

const char *const sandbox_denied_forks[] = {"fork", "vfork", NULL};

const char *const sandbox_allowed_common[] = {
    /* what is open, and what is there */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "_llseek", "close", "close_range", "open", "openat", "openat2", "stat", "lstat", "fstat", "stat64", "lstat64",
    "fstat64", "fstatat64", "newfstatat", "statx", "statfs", "fstatfs", "statfs64", "fstatfs64", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "dup", "dup2", "dup3", "fcntl",
    "fcntl64", "ioctl", "pipe", "pipe2", "eventfd", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "flock", "fsync", "fdatasync", "sync_file_range", "ftruncate", "ftruncate64", "fallocate", "fadvise64",
    "fadvise64_64", "copy_file_range", "sendfile", "sendfile64", "memfd_create", "umask",
    /* waiting */
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "futex", "futex_time64", "futex_waitv",
    "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "restart_syscall", "sched_yield", "pause",
    /* memory and threads */
    "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mlock", "mlock2", "munlock",
    "membarrier", "brk", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "arch_prctl",
    "set_thread_area", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler", "getcpu",
    "exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "rt_sigpending",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_sigsuspend", "sigaltstack", "tgkill", "tkill",
    /* time, chance, ourselves */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "gettimeofday", "time", "times",
    "getrandom", "getpid", "gettid", "getppid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid", "getgid",
    "getegid", "getresuid", "getresgid", "getgroups", "capget", "uname", "sysinfo", "getrusage", "getrlimit",
    "ugetrlimit", "prlimit64", "getpriority", "prctl",
    /* sockets that are there; the log's */
    "socketpair", "connect", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg",
    "recvmmsg_time64", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", NULL};

static const char *const files[] = {"mkdir",      "mkdirat",   "unlink", "unlinkat",  "rmdir",     "rename",
                                    "renameat",   "renameat2", "link",   "linkat",    "chmod",     "fchmod",
                                    "fchmodat",   "fchown",    "utime",  "utimensat", "futimesat", "truncate",
                                    "truncate64", "creat",     "semget", "semop",     "semctl",    NULL};
static const char *const server[] = {"accept", "accept4", "listen", "alarm", "setitimer", NULL};
static const char *const client[] = {"bind", "getitimer", NULL};
static const char *const parent[] = {"wait4", "waitid", NULL};

const SandboxGroup sandbox_groups[] = {
    {SANDBOX_FILES, files},
    {SANDBOX_SERVER, server},
    {SANDBOX_CLIENT, client},
    {SANDBOX_PARENT, parent},
};
const size_t sandbox_group_count = G_N_ELEMENTS(sandbox_groups);
