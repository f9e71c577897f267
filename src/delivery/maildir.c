/* maildir.c - delivery into a Maildir. */
#include "delivery/maildir.h"
#include "base/fail.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE 65536

FAIL_DEFINE_DOMAIN(maildir_error)

/* With errno. */
static bool maildir_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool maildir_fail(GError **error, const char *format, ...)
{
    int why = errno;
    MaildirError code = why == ENOSPC   ? MAILDIR_ERROR_FULL
                        : why == EDQUOT ? MAILDIR_ERROR_QUOTA
                        : why == EFBIG  ? MAILDIR_ERROR_TOO_LARGE
                                        : MAILDIR_ERROR_SYSTEM;
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, MAILDIR_ERROR, (gint)code, "%s: %s", text, g_strerror(why));
    return false;
}

static bool sync_path(int parent, const char *path)
{
    auto_fd fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0;
}

/* Makes path (it ends in '/') with all parents that are missing, and syncs each directory that got a new entry. */
static bool make_path(const char *path, GError **error)
{
    g_autofree char *part = g_strdup(path);

    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (slash[-1] != '/' && mkdir(part, 0700) == 0) {
            g_autofree char *parent = g_path_get_dirname(part);
            if (!sync_path(AT_FDCWD, parent))
                return maildir_fail(error, "sync directory %s", parent);
        } else if (slash[-1] != '/' && errno != EEXIST) {
            return maildir_fail(error, "create directory %s", part);
        }
        *slash = '/';
    }
    return true;
}

static int open_maildir(const char *path, GError **error)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool made = false;

    if (fd < 0 && errno == ENOENT) {
        if (!make_path(path, error))
            return -1;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) {
        maildir_fail(error, "open maildir %s", path);
        return -1;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (faccessat(fd, parts[i], F_OK, 0) == 0) /* mkdirat() would wait for those that make files in there */
            continue;
        if (mkdirat(fd, parts[i], 0700) == 0) {
            made = true;
        } else if (errno != EEXIST) {
            maildir_fail(error, "create maildir directory %s%s", path, parts[i]);
            return -1;
        }
    }
    if (made && fsync(fd) < 0) {
        maildir_fail(error, "sync maildir %s", path);
        return -1;
    }
    return fd_steal(&fd);
}

/* What all attempts of this message for this recipient have in common, whatever the host's name was then. */
static char *name_prefix(const MaildirMail *mail)
{
    const MessageKey *key = spool_message_key(mail->message);
    g_autofree char *text = message_key_to_text(key);

    return g_strdup_printf("%" G_GUINT64_FORMAT ".G%sR%u.", key->arrival_ns / 1000000000, text, mail->number);
}

static char *file_name(const char *prefix, const char *host)
{
    g_autoptr(GString) name = g_string_new(prefix);

    for (const char *at = host; *at && name->len < 200; at++) {
        if (*at == '/' || *at == ':') /* not allowed in names, or in names of Maildirs */
            g_string_append_printf(name, "\\%03o", (unsigned char)*at);
        else
            g_string_append_c(name, *at);
    }
    return g_string_free(g_steal_pointer(&name), FALSE);
}

/* 1: a file with this prefix is in the directory; 0: none; -1: errno. With unlink_it it is removed. */
static int find_file(int maildir, const char *directory, const char *prefix, bool unlink_it)
{
    int fd = openat(maildir, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int found = 0;

    if (!stream) {
        fd_clear(&fd);
        return -1;
    }
    while (found == 0 && (errno = 0, entry = readdir(stream)) != NULL)
        if (g_str_has_prefix(entry->d_name, prefix))
            found = unlink_it && unlinkat(fd, entry->d_name, 0) < 0 ? -1 : 1;
    if (!entry && errno != 0)
        found = -1;
    int saved = errno;
    closedir(stream);
    errno = saved;
    return found;
}

/* What an earlier attempt left. *ret_delivered: it got as far as new/, so the file is whole; its place is synced once
 * more, since that attempt may have ended before. */
static bool look_for_earlier(int maildir, const char *path, const char *prefix, bool *ret_delivered, GError **error)
{
    int in_new = find_file(maildir, "new", prefix, false);
    int in_cur = in_new == 0 ? find_file(maildir, "cur", prefix, false) : 0;

    if (in_new < 0 || in_cur < 0)
        return maildir_fail(error, "read maildir %s", path);
    *ret_delivered = in_new > 0 || in_cur > 0;
    if (*ret_delivered && (!sync_path(maildir, "new") || !sync_path(maildir, "cur")))
        return maildir_fail(error, "sync maildir %s", path);
    if (!*ret_delivered && find_file(maildir, "tmp", prefix, true) < 0)
        return maildir_fail(error, "clear tmp/ of maildir %s", path);
    return true;
}

static bool copy_content(const MaildirMail *mail, int file, const char *shown, GError **error)
{
    g_autofree char *buffer = g_malloc(BUFFER_SIZE);
    SpoolContent content = {.message = mail->message};
    g_autoptr(GError) why = NULL;
    size_t held = strlen(mail->headers);
    ssize_t count;

    if (mail->limit > 0 && held + spool_message_size(mail->message) > mail->limit) {
        errno = EFBIG;
        return maildir_fail(error, "write maildir file %s", shown);
    }
    if (held <= BUFFER_SIZE / 2) {
        memcpy(buffer, mail->headers, held);
    } else {
        if (!fd_write_all(file, mail->headers, held))
            return maildir_fail(error, "write maildir file %s", shown);
        held = 0;
    }
    do {
        count = spool_content_read(&content, buffer + held, BUFFER_SIZE - held, &why);
        if (count < 0) {
            bool corrupt = g_error_matches(why, SPOOL_ERROR, SPOOL_ERROR_CORRUPT);
            g_set_error_literal(error, MAILDIR_ERROR, corrupt ? MAILDIR_ERROR_CORRUPT : MAILDIR_ERROR_MESSAGE,
                                why->message);
            return false;
        }
        if (!fd_write_all(file, buffer, held + (size_t)count))
            return maildir_fail(error, "write maildir file %s", shown);
        held = 0;
    } while (count > 0);
    return true;
}

/* Never over another file: some file systems have no such rename, but all have link(). */
static bool move_into_new(int tmp, int new, const char *name)
{
    if (renameat2(tmp, name, new, name, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    return linkat(tmp, name, new, name, 0) == 0 && unlinkat(tmp, name, 0) == 0;
}

static bool write_file(int maildir, const char *path, const char *name, const MaildirMail *mail, GError **error)
{
    g_autofree char *shown = g_strconcat(path, "tmp/", name, NULL);
    auto_fd tmp = openat(maildir, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Opened before anything happens in it: a failed write-back is told to those who had it open then. */
    auto_fd new = openat(maildir, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tmp < 0 || new < 0)
        return maildir_fail(error, "open maildir %s", path);

    auto_fd file = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return maildir_fail(error, "create maildir file %s", shown);
    if (!copy_content(mail, file, shown, error)) {
        unlinkat(tmp, name, 0);
        return false;
    }
    /* A failed sync is final: the file is not used, whatever a second sync would say. */
    if (fsync(file) < 0 || !move_into_new(tmp, new, name)) {
        maildir_fail(error, "write maildir file %s", shown);
        unlinkat(tmp, name, 0);
        return false;
    }
    if (fsync(new) < 0) {
        maildir_fail(error, "sync %snew", path);
        unlinkat(new, name, 0); /* gone already: a reader has taken it, and the next attempt finds it in cur/ */
        return false;
    }
    return true;
}

bool maildir_deliver(const char *directory, const MaildirMail *mail, GError **error)
{
    g_autofree char *prefix = name_prefix(mail);
    g_autofree char *name = file_name(prefix, mail->host);
    auto_fd maildir = open_maildir(directory, error);
    bool delivered = false;

    if (maildir < 0 || (mail->again && !look_for_earlier(maildir, directory, prefix, &delivered, error)))
        return false;
    return delivered || write_file(maildir, directory, name, mail, error);
}
