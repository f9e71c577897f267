/* new_file.c - a file that takes the place of another. */
#include "table/new_file.h"
#include "base/fail.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int new_file_begin(NewFile *file, const char *path, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0) {
        fail_errno(error, "open database %s", path);
        return -1;
    }
    file->path = g_strdup(path);
    file->temporary = g_steal_pointer(&temporary);
    return fd;
}

static bool take_permissions(int fd, const char *model_path, const char *replaced, GError **error)
{
    struct stat model;

    if ((!model_path || stat(model_path, &model) < 0) && stat(replaced, &model) < 0)
        return fchmod(fd, 0644) == 0 || fail_errno(error, "chmod");
    if (fchmod(fd, model.st_mode & 0777 & ~0111U) < 0)
        return fail_errno(error, "change permissions of %s", replaced);
    if (geteuid() == 0 && fchown(fd, model.st_uid, model.st_gid) < 0)
        return fail_errno(error, "change owner of %s", replaced);
    return true;
}

bool new_file_commit(NewFile *file, const char *model_path, GError **error)
{
    auto_fd fd = open(file->temporary, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return fail_errno(error, "open database %s", file->temporary);
    if (!take_permissions(fd, model_path, file->path, error))
        return false;
    if (fsync(fd) < 0)
        return fail_errno(error, "sync %s", file->temporary);
    if (rename(file->temporary, file->path) < 0)
        return fail_errno(error, "rename %s to %s", file->temporary, file->path);
    g_clear_pointer(&file->temporary, g_free);
    return true;
}

void new_file_clear(NewFile *file)
{
    if (file->temporary)
        unlink(file->temporary);
    g_clear_pointer(&file->temporary, g_free);
    g_clear_pointer(&file->path, g_free);
}
