/* lmdb_file.c - reading files of the Lightning database.
 *
 * Not by its library, which wants a path, and maps the file, so that one that is cut short, or is no database behind
 * its first page, ends the process: here a descriptor is enough, and nothing in a file is believed. A file is a B+tree
 * of pages; pages are never changed but replaced, and two pages at its begin name the root after the last transaction
 * and after the one before, so that a change made in place (postmap does that) is seen whole or not at all. The pages
 * that a transaction gave up may be used anew by the one after the next: a search during which either of the first two
 * pages changed is made again. */
#include "table/lmdb_file.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/source.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAGIC 0xBEEFC0DEU
#define VERSION 1
#define NO_PAGE SIZE_MAX
#define DEPTH_MAX 32
#define ATTEMPTS 100
#define PAGE_SIZE_MAX 65536

enum { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_META = 0x08, PAGE_KINDS = 0x6f };
enum { NODE_BIG = 0x01, NODE_KINDS = 0x07 };

/* Numbers are in the order and of the size of the machine that wrote them, which is this one. */
typedef struct {
    size_t number;
    guint16 unused;
    guint16 flags;
    guint16 lower, upper; /* of the free space between the nodes' offsets and the nodes */
} Header;

typedef struct {
    guint32 page_size; /* in the first of the two */
    guint16 flags, depth;
    size_t branches, leaves, overflows, entries, root;
} Tree;

typedef struct {
    Header header;
    guint32 magic, version;
    size_t address, map_size;
    Tree trees[2]; /* of free pages, and of what is kept */
    size_t last_page;
    size_t transaction;
} Meta;

/* How the file begins: as it is now. */
typedef struct {
    Meta metas[2];
} Begin;

typedef struct {
    guint16 low, high; /* of a leaf: the value's length; of a branch, with flags: the page below */
    guint16 flags;
    guint16 key_len;
} Node;

typedef struct {
    const char *key;
    const char *data; /* what follows the key, within the page */
    size_t key_len;
    size_t data_len; /* of a leaf; it may be elsewhere */
    size_t below;    /* of a branch */
    bool is_big;
} Entry;

struct LmdbFile {
    char *path;
    int fd;
    size_t page_size;
};

/* A page in memory. */
typedef struct {
    char *octets;
    Header header;
    guint count; /* of nodes */
} Page;

static bool fail_format(const LmdbFile *file, GError **error)
{
    return fail(error, "%s: it is no LMDB file, or damaged", file->path);
}

static bool read_at(const LmdbFile *file, void *data, size_t len, size_t page, size_t offset, GError **error)
{
    if (page > (size_t)(G_MAXINT64 / PAGE_SIZE_MAX) - 1)
        return fail_format(file, error);
    if (fd_pread_all(file->fd, data, len, (off_t)(page * file->page_size + offset)))
        return true;
    return errno ? fail_errno(error, "%s", file->path) : fail_format(file, error);
}

static bool read_begin(const LmdbFile *file, Begin *begin, GError **error)
{
    memset(begin, 0, sizeof *begin);
    return read_at(file, &begin->metas[0], sizeof(Meta), 0, 0, error) &&
           read_at(file, &begin->metas[1], sizeof(Meta), 1, 0, error);
}

static bool is_meta(const LmdbFile *file, const Meta *meta)
{
    return (meta->header.flags & PAGE_KINDS) == PAGE_META && meta->magic == MAGIC && meta->version == VERSION &&
           meta->trees[0].page_size == file->page_size && meta->trees[1].flags == 0;
}

/* The younger one. NULL: error. */
static const Meta *choose(const LmdbFile *file, const Begin *begin, GError **error)
{
    const Meta *meta = &begin->metas[begin->metas[0].transaction < begin->metas[1].transaction];

    if (is_meta(file, &begin->metas[0]) && is_meta(file, &begin->metas[1]))
        return meta;
    fail_format(file, error);
    return NULL;
}

/* The size of the pages stands in the first one. */
static bool find_page_size(LmdbFile *file, GError **error)
{
    Meta meta;
    Begin begin;

    if (!read_at(file, &meta, sizeof meta, 0, 0, error))
        return false;
    file->page_size = meta.trees[0].page_size;
    if (meta.magic != MAGIC || file->page_size < 256 || file->page_size > PAGE_SIZE_MAX ||
        (file->page_size & (file->page_size - 1)) != 0)
        return fail_format(file, error);
    return read_begin(file, &begin, error) && choose(file, &begin, error);
}

LmdbFile *lmdb_file_open(const char *path, GError **error)
{
    g_autoptr(LmdbFile) file = g_new0(LmdbFile, 1);

    file->path = g_strdup(path);
    file->fd = source_open(path);
    if (file->fd < 0) {
        fail_errno(error, "open database %s", path);
        return NULL;
    }
    if (find_page_size(file, error))
        return g_steal_pointer(&file);
    g_prefix_error(error, "open database ");
    return NULL;
}

void lmdb_file_free(LmdbFile *file)
{
    if (!file)
        return;
    fd_clear(&file->fd);
    g_free(file->path);
    g_free(file);
}

static bool read_page(const LmdbFile *file, const Meta *meta, size_t number, Page *page, GError **error)
{
    if (number > meta->last_page)
        return fail_format(file, error);
    if (!read_at(file, page->octets, file->page_size, number, 0, error))
        return false;
    memcpy(&page->header, page->octets, sizeof page->header);
    guint kind = page->header.flags & PAGE_KINDS;
    if (page->header.number != number || (kind != PAGE_BRANCH && kind != PAGE_LEAF) ||
        page->header.lower < sizeof(Header) || page->header.lower > page->header.upper ||
        page->header.upper > file->page_size)
        return fail_format(file, error);
    page->count = (guint)(page->header.lower - sizeof(Header)) / sizeof(guint16);
    return page->count > 0 || fail_format(file, error);
}

static bool read_entry(const LmdbFile *file, const Page *page, guint index, Entry *entry, GError **error)
{
    Node node;
    guint16 offset;

    memcpy(&offset, page->octets + sizeof(Header) + index * sizeof offset, sizeof offset);
    if (offset < page->header.upper || offset + sizeof node > file->page_size)
        return fail_format(file, error);
    memcpy(&node, page->octets + offset, sizeof node);
    size_t rest = file->page_size - offset - sizeof node;
    *entry = (Entry){.key = page->octets + offset + sizeof node, .key_len = node.key_len};
    if (entry->key_len > rest)
        return fail_format(file, error);
    rest -= entry->key_len;
    entry->data = entry->key + entry->key_len;
    if ((page->header.flags & PAGE_KINDS) == PAGE_BRANCH) {
        entry->below = (size_t)node.low | (size_t)node.high << 16;
        if (sizeof(size_t) > 4)
            entry->below |= (size_t)((guint64)node.flags << 32);
        return true;
    }
    entry->data_len = (size_t)node.low | (size_t)node.high << 16;
    entry->is_big = (node.flags & NODE_KINDS) == NODE_BIG;
    if ((node.flags & NODE_KINDS & ~NODE_BIG) || (entry->is_big ? sizeof(size_t) : entry->data_len) > rest)
        return fail_format(file, error);
    return true;
}

static char *without_nul(const char *text, size_t len)
{
    return g_strndup(text, len); /* ends at the first NUL, wherever it is */
}

/* A long value has pages of its own. NULL: error. */
static char *read_value(const LmdbFile *file, const Meta *meta, const Entry *entry, GError **error)
{
    Header header;
    size_t number;

    if (!entry->is_big)
        return without_nul(entry->data, entry->data_len);
    memcpy(&number, entry->data, sizeof number);
    if (number > meta->last_page || entry->data_len / file->page_size > meta->last_page - number) {
        fail_format(file, error);
        return NULL;
    }
    if (!read_at(file, &header, sizeof header, number, 0, error))
        return NULL;
    if ((header.flags & PAGE_KINDS) != PAGE_OVERFLOW || header.number != number) {
        fail_format(file, error);
        return NULL;
    }
    g_autofree char *value = g_try_malloc(entry->data_len + 1);
    if (!value) {
        fail(error, "%s: no memory for a value of %zu octets", file->path, entry->data_len);
        return NULL;
    }
    if (!read_at(file, value, entry->data_len, number, sizeof header, error))
        return NULL;
    value[entry->data_len] = '\0';
    return g_steal_pointer(&value);
}

static int compare(const char *key, size_t len, const Entry *entry)
{
    int order = memcmp(key, entry->key, MIN(len, entry->key_len));

    return order != 0 ? order : (len > entry->key_len) - (len < entry->key_len);
}

/* The last entry that is not greater than the key; the first of a branch stands for all that are less. *ret_found: it
 * is that key. */
static bool search_page(const LmdbFile *file, const Page *page, const char *key, size_t len, Entry *ret_entry,
                        bool *ret_found, GError **error)
{
    bool is_branch = (page->header.flags & PAGE_KINDS) == PAGE_BRANCH;
    guint low = is_branch ? 1 : 0, high = page->count;

    *ret_found = false;
    if (is_branch && !read_entry(file, page, 0, ret_entry, error))
        return false;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        Entry entry;

        if (!read_entry(file, page, middle, &entry, error))
            return false;
        int order = compare(key, len, &entry);
        if (order < 0) {
            high = middle;
            continue;
        }
        *ret_entry = entry;
        *ret_found = order == 0;
        if (order == 0)
            break;
        low = middle + 1;
    }
    return true;
}

static TableResult search(const LmdbFile *file, const Meta *meta, const char *key, size_t len, char **ret_value,
                          GError **error)
{
    g_autofree char *octets = g_malloc(file->page_size);
    Page page = {.octets = octets};
    size_t number = meta->trees[1].root;

    if (number == NO_PAGE)
        return TABLE_ABSENT;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        Entry entry;
        bool found;

        if (!read_page(file, meta, number, &page, error) || !search_page(file, &page, key, len, &entry, &found, error))
            return TABLE_FAILED;
        if ((page.header.flags & PAGE_KINDS) == PAGE_BRANCH) {
            number = entry.below;
            continue;
        }
        if (!found)
            return TABLE_ABSENT;
        *ret_value = read_value(file, meta, &entry, error);
        return *ret_value ? TABLE_FOUND : TABLE_FAILED;
    }
    fail_format(file, error);
    return TABLE_FAILED;
}

static TableResult search_both(const LmdbFile *file, const Begin *begin, const char *key, size_t len, char **ret_value,
                               GError **error)
{
    const Meta *meta = choose(file, begin, error);
    TableResult result = meta ? search(file, meta, key, len + 1, ret_value, error) : TABLE_FAILED;

    return result == TABLE_ABSENT ? search(file, meta, key, len, ret_value, error) : result;
}

TableResult lmdb_file_get(const LmdbFile *file, const char *key, char **ret_value, GError **error)
{
    size_t len = strlen(key);

    if (len == 0 || len > LMDB_KEY_MAX)
        return TABLE_ABSENT;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        g_autoptr(GError) why = NULL;
        g_autofree char *value = NULL;
        Begin before, after;

        if (!read_begin(file, &before, error))
            return TABLE_FAILED;
        TableResult result = search_both(file, &before, key, len, &value, &why);
        if (!read_begin(file, &after, error))
            return TABLE_FAILED;
        if (memcmp(&before, &after, sizeof before) != 0)
            continue;
        if (result == TABLE_FOUND)
            *ret_value = g_steal_pointer(&value);
        if (result == TABLE_FAILED)
            g_propagate_prefixed_error(error, g_steal_pointer(&why), "error reading ");
        return result;
    }
    fail(error, "error reading %s: it changes without a pause", file->path);
    return TABLE_FAILED;
}

typedef struct {
    const LmdbFile *file;
    const Meta *meta;
    TableEach *each;
    void *context;
    bool stopped;
    guint64 pages; /* that may still be read: in a file that is damaged they may form a ring */
} Walk;

static bool walk_page(Walk *walk, size_t number, int depth, GError **error)
{
    const LmdbFile *file = walk->file;
    g_autofree char *octets = g_malloc(file->page_size);
    Page page = {.octets = octets};
    Entry entry;

    if (depth > DEPTH_MAX || walk->pages-- == 0)
        return fail_format(file, error);
    if (!read_page(file, walk->meta, number, &page, error))
        return false;
    for (guint i = 0; i < page.count && !walk->stopped; i++) {
        if (!read_entry(file, &page, i, &entry, error))
            return false;
        if ((page.header.flags & PAGE_KINDS) == PAGE_BRANCH) {
            if (!walk_page(walk, entry.below, depth + 1, error))
                return false;
            continue;
        }
        g_autofree char *key = without_nul(entry.key, entry.key_len);
        g_autofree char *value = read_value(file, walk->meta, &entry, error);
        if (!value)
            return false;
        walk->stopped = !walk->each(walk->context, key, value);
    }
    return true;
}

bool lmdb_file_walk(const LmdbFile *file, TableEach *each, void *context, GError **error)
{
    Begin before, after;
    struct stat status;

    if (fstat(file->fd, &status) < 0)
        return fail_errno(error, "error reading %s", file->path);
    Walk walk = {
        .file = file, .each = each, .context = context, .pages = (guint64)status.st_size / file->page_size + 1};
    bool is_good = read_begin(file, &before, error) && (walk.meta = choose(file, &before, error)) &&
                   (walk.meta->trees[1].root == NO_PAGE || walk_page(&walk, walk.meta->trees[1].root, 0, error)) &&
                   read_begin(file, &after, error);

    if (!is_good)
        g_prefix_error(error, "error reading ");
    else if (!walk.stopped && memcmp(&before, &after, sizeof before) != 0)
        is_good = fail(error, "error reading %s: it has changed meanwhile", file->path);
    return is_good;
}
