/* privileged.c - the part of virtual that stays root. It has no threads and reads no message: of a delivery it sees the
 * recipient's address, which tables turn into a path and a user. What is dangerous with a stranger's mail is done by
 * children that are that user and nobody else.
 *
 * Each recipient goes to a child as a packet of its own, with the connection to the queue manager and the message's
 * descriptor: the child reports, and the message's lock lives until the last child is done with it. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/protection.h"
#include "delivery/child.h"
#include "delivery/frame.h"
#include "delivery/privileged_packet.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 20 /* with a socket; who is dismissed ends soon */
#define PENDING_MAX 50  /* connections whose request has not come yet */
#define REQUEST_MS 10000

typedef struct {
    Work *work; /* connection and, once it came, request and message */
    gint64 deadline;
} Pending;

/* A packet that a child's socket had no room for. */
typedef struct {
    VirtualChild *child;
    GString *packet;
    int connection, message_fd; /* own copies */
} Unsent;

typedef struct {
    ServiceProcess *process;
    Mailboxes *mailboxes;
    VirtualOptions options;
    int resolution;
    uid_t owner; /* $mail_owner: reports on recipients that have no mailbox */
    gid_t owner_group;
    GPtrArray *children; /* of VirtualChild */
    GQueue pending, unsent;
    bool accepting;
    gint64 stop_ms;
} Root;

static VirtualChild *find_child(Root *root, uid_t uid, gid_t gid)
{
    g_autoptr(GError) error = NULL;
    VirtualChild *oldest = NULL;
    guint with_socket = 0;

    for (guint i = 0; i < root->children->len; i++) {
        VirtualChild *child = g_ptr_array_index(root->children, i);
        if (child->socket < 0)
            continue;
        if (child->uid == uid && child->gid == gid)
            return child;
        with_socket++;
        if (!oldest || child->used_ms < oldest->used_ms)
            oldest = child;
    }
    if (with_socket >= CHILDREN_MAX)
        virtual_child_dismiss(oldest);
    VirtualChild *child = virtual_child_start(root->process, &root->options, root->resolution, uid, gid, &error);
    if (child)
        g_ptr_array_add(root->children, child);
    else
        log_warning("%s", error->message);
    return child;
}

/* Tries to send. False: no room. Everything else is done with: a child that is gone makes the queue manager see its
 * connection end. */
static bool send_packet(const VirtualChild *child, const GString *packet, int connection, int message_fd)
{
    const int fds[] = {connection, message_fd};

    if (child->socket < 0 || fd_send(child->socket, packet->str, packet->len, fds, 2))
        return true;
    if (errno == EAGAIN || errno == ENOBUFS)
        return false;
    log_warning("to the process of user id %u: %s", child->uid, g_strerror(errno));
    return true;
}

static void unsent_free(Unsent *unsent)
{
    fd_clear(&unsent->connection);
    fd_clear(&unsent->message_fd);
    g_string_free(unsent->packet, TRUE);
    g_free(unsent);
}

static void pass_on(Root *root, const Work *work, const DeliveryRecipient *recipient)
{
    g_autoptr(DeliveryRequest) request = delivery_request_new();
    Mailbox mailbox = {.uid = root->owner, .gid = root->owner_group};
    MailboxResult result = mailbox_find(root->mailboxes, recipient->address, &mailbox);
    VirtualChild *child = find_child(root, mailbox.uid, mailbox.gid);

    request->id = g_strdup(work->request->id);
    request->transport = g_strdup(work->request->transport);
    request->nexthop = g_strdup(work->request->nexthop);
    request->again = work->request->again;
    request->active_us = work->request->active_us;
    delivery_request_add(request, recipient->number, recipient->address);
    g_autoptr(GString) packet = privileged_packet(request, result, mailbox.path);
    mailbox_clear(&mailbox);
    if (!child)
        return; /* the connection ends without a report: the queue manager tries again later */
    child->used_ms = clock_ms();
    if (send_packet(child, packet, work->connection, work->message_fd))
        return;
    Unsent *unsent = g_new0(Unsent, 1);
    *unsent = (Unsent){.child = child, .packet = g_steal_pointer(&packet)};
    unsent->connection = dup(work->connection);
    unsent->message_fd = dup(work->message_fd);
    if (unsent->connection < 0 || unsent->message_fd < 0)
        unsent_free(unsent);
    else
        g_queue_push_tail(&root->unsent, unsent);
}

static void serve(Root *root, Work *work)
{
    for (guint i = 0; i < work->request->recipients->len; i++)
        pass_on(root, work, &g_array_index(work->request->recipients, DeliveryRecipient, i));
    work_free(work);
}

/* True: nothing is left to wait for. */
static bool try_receive(Root *root, Work *work)
{
    if (frame_receive(work, 0)) {
        serve(root, work);
        return true;
    }
    if (errno == EAGAIN)
        return false;
    work_free(work);
    return true;
}

static void accept_one(Root *root, int listener)
{
    const struct timeval limit = {.tv_sec = REQUEST_MS / 1000};
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* for the children's reports */
    Work *work = g_new0(Work, 1);
    *work = (Work){.connection = fd, .message_fd = -1};
    if (try_receive(root, work))
        return;
    Pending *pending = g_new0(Pending, 1);
    *pending = (Pending){work, clock_ms() + REQUEST_MS};
    g_queue_push_tail(&root->pending, pending);
}

static void look_at_pending(Root *root)
{
    for (guint count = root->pending.length; count > 0; count--) {
        Pending *pending = g_queue_pop_head(&root->pending);
        if (try_receive(root, pending->work)) {
            g_free(pending);
        } else if (pending->deadline <= clock_ms()) {
            work_free(pending->work);
            g_free(pending);
        } else {
            g_queue_push_tail(&root->pending, pending);
        }
    }
}

static void send_unsent(Root *root)
{
    for (guint count = root->unsent.length; count > 0; count--) {
        Unsent *unsent = g_queue_pop_head(&root->unsent);
        if (send_packet(unsent->child, unsent->packet, unsent->connection, unsent->message_fd))
            unsent_free(unsent);
        else
            g_queue_push_tail(&root->unsent, unsent);
    }
}

static void drop_unsent_of(Root *root, const VirtualChild *child)
{
    for (guint count = root->unsent.length; count > 0; count--) {
        Unsent *unsent = g_queue_pop_head(&root->unsent);
        if (unsent->child == child)
            unsent_free(unsent);
        else
            g_queue_push_tail(&root->unsent, unsent);
    }
}

static void reap(Root *root)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (guint i = root->children->len; i > 0; i--) {
            VirtualChild *child = g_ptr_array_index(root->children, i - 1);
            if (child->pid != pid)
                continue;
            if (WIFSIGNALED(status))
                log_warning("process %d of user id %u was killed by signal %d", (int)pid, child->uid, WTERMSIG(status));
            else if (WEXITSTATUS(status) != 0)
                log_warning("process %d of user id %u: exit status %d", (int)pid, child->uid, WEXITSTATUS(status));
            drop_unsent_of(root, child);
            g_ptr_array_remove_index_fast(root->children, i - 1);
        }
    }
}

static void dismiss_all(Root *root)
{
    for (guint i = 0; i < root->children->len; i++)
        virtual_child_dismiss(g_ptr_array_index(root->children, i));
}

static void take_orders(Root *root)
{
    bool ordered = false;
    ServiceOrder order;

    while ((order = service_next_order(root->process)) != SERVICE_ORDER_NONE) {
        ordered = true;
        if (order == SERVICE_ORDER_DRAIN || order == SERVICE_ORDER_STOP)
            root->accepting = false;
        if (order == SERVICE_ORDER_STOP)
            root->stop_ms = MIN(root->stop_ms, clock_ms() + FRAME_STOP_MS);
    }
    if (!ordered && root->unsent.length == 0)
        dismiss_all(root); /* there may be a new log, of which they do not know */
}

static bool may_accept(const Root *root)
{
    return root->accepting && root->unsent.length == 0 && root->pending.length < PENDING_MAX;
}

static void run(Root *root)
{
    GArray *listeners = root->process->listeners;
    g_autoptr(GArray) set = g_array_new(FALSE, FALSE, sizeof(struct pollfd));

    while (root->accepting || ((root->children->len > 0 || root->unsent.length > 0) && clock_ms() < root->stop_ms)) {
        g_array_set_size(set, 0);
        g_array_append_vals(set, &(struct pollfd){.fd = root->process->control, .events = POLLIN}, 1);
        for (guint i = 0; i < listeners->len; i++) {
            struct pollfd at = {.fd = may_accept(root) ? g_array_index(listeners, int, i) : -1, .events = POLLIN};
            g_array_append_val(set, at);
        }
        for (guint i = 0; i < root->children->len; i++) { /* nothing ever comes from them but their end */
            const VirtualChild *child = g_ptr_array_index(root->children, i);
            struct pollfd at = {.fd = child->socket, .events = root->unsent.length > 0 ? POLLOUT : 0};
            g_array_append_val(set, at);
        }
        /* Dismissed children end unseen, connections wait for requests: looked at now and then. */
        bool idle = root->accepting && root->pending.length == 0;
        if (poll((struct pollfd *)(void *)set->data, set->len, idle ? 1000 : 20) < 0)
            continue;
        struct pollfd *at = (struct pollfd *)(void *)set->data;
        if (at[0].revents)
            take_orders(root);
        reap(root);
        send_unsent(root);
        look_at_pending(root);
        for (guint i = 0; i < listeners->len; i++)
            if (at[i + 1].revents && may_accept(root))
                accept_one(root, g_array_index(listeners, int, i));
        if (!root->accepting && root->unsent.length == 0 && root->pending.length == 0)
            dismiss_all(root);
    }
}

static void free_child(void *child)
{
    virtual_child_free(child);
}

static bool find_owner(Root *root, const char *name, GError **error)
{
    const struct passwd *user = getpwnam(name);

    if (!user || user->pw_uid == 0)
        return fail(error, "mail_owner: %s: %s", name, user ? "is root" : "no such user");
    root->owner = user->pw_uid;
    root->owner_group = user->pw_gid;
    return true;
}

int virtual_run_as_root(ServiceProcess *process, const Config *config)
{
    g_autoptr(GError) error = NULL;
    Root root = {.process = process,
                 .options = virtual_options(config),
                 .accepting = true,
                 .stop_ms = CLOCK_NEVER,
                 .resolution = (int)config_int(config, "delay_logging_resolution_limit")};

    root.mailboxes = mailboxes_open(config, &error);
    if (!root.mailboxes || !find_owner(&root, config_string(config, "mail_owner"), &error) ||
        !protect_root_part(config, &error)) {
        log_fatal("%s", error->message);
        return 1;
    }
    root.children = g_ptr_array_new_with_free_func(free_child);
    service_ready(process);
    run(&root);
    g_ptr_array_unref(root.children);
    return 0;
}
