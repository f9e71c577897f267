/* cyrus.c - exchanges with libsasl2. */
#include "sasl/cyrus.h"
#include "base/clock.h"
#include "base/log.h"
#include "sasl/cyrus_library.h"
#include "sasl/private.h"
#include "sasl/saslauthd.h"

#include <sasl/saslutil.h>
#include <string.h>

#define STACK_OCTETS (64 * 1024) /* that a call may have used */

typedef struct {
    SaslServer base;
    Gate *gate;
    Account *account;
} Cyrus;

/* An exchange here; its task and the session's exchange share it. What changes is under the lock of base, but for what
 * the task alone has. */
typedef struct {
    Cyrus *server;
    guint64 number, log_number;
    const SaslPolicy *policy;
    char *mechanism;
    TaskRef task;
    bool is_over;      /* nobody waits any more */
    bool has_response; /* that the library has not got: response, or that there is none */
    char *response;    /* base64 */
    gint64 deadline;   /* for it */

    sasl_conn_t *connection; /* the task's alone from here on */
    sasl_callback_t callbacks[2];
    bool was_asked; /* saslauthd, and it did not say yes: what came of it */
    SaslauthdAnswer said;
    gint64 until;
} Job;

static void job_clear(gpointer data)
{
    Job *job = data;

    if (job->connection)
        sasl_dispose(&job->connection);
    sasl_forget(job->response);
    g_free(job->mechanism);
    if (job->server->account)
        account_return(job->server->account, CYRUS_EXCHANGE_OCTETS);
}

static void job_release(void *job)
{
    g_atomic_rc_box_release_full(job, job_clear);
}

/* --- in the task's thread, behind the gate --- */

/* Overwrites what calls have left on the stack. */
static void __attribute__((noinline)) wipe_stack(void)
{
    char stack[STACK_OCTETS];

    explicit_bzero(stack, sizeof stack);
}

/* SASL_CB_SERVER_USERDB_CHECKPASS: asked before all methods of pwcheck_method. Anything but SASL_OK means that these
 * are asked. */
static int check_password(sasl_conn_t *connection, void *context, const char *user, const char *password,
                          unsigned password_len, struct propctx *properties)
{
    const CyrusLibrary *library = cyrus_library();
    Job *job = context;
    const SaslauthdLogin login = {.user = user,
                                  .service = library->options.service,
                                  .realm = library->options.realm,
                                  .password = password,
                                  .password_len = password_len};
    g_autoptr(GError) error = NULL;

    if (!library->saslauthd)
        return SASL_FAIL;
    job->said = saslauthd_ask(library->saslauthd, &login, job->until, &error);
    job->was_asked = true;
    if (error)
        log_warning("SASL authentication failure: %s", error->message);
    return job->said == SASLAUTHD_YES ? SASL_OK : SASL_FAIL;
}

static int make_connection(Job *job)
{
    job->callbacks[0] =
        (sasl_callback_t){SASL_CB_SERVER_USERDB_CHECKPASS, (int (*)(void))(void (*)(void))check_password, job};
    job->callbacks[1] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
    return cyrus_connect(job->callbacks, job->policy, &job->connection);
}

/* Returns a code of the library. */
static int make_step(Job *job, const char *response, const char **ret_out, unsigned *ret_len)
{
    size_t max = response ? strlen(response) : 0;
    g_autofree char *data = g_malloc(max + 1);
    bool begins = !job->connection;
    unsigned len = 0;
    int code = max > 0 ? sasl_decode64(response, (unsigned)max, data, (unsigned)max + 1, &len) : SASL_OK;

    data[len] = '\0';
    if (code == SASL_CONTINUE) /* an end is missing: not what the word means elsewhere */
        return CYRUS_BAD_BASE64;
    if (code == SASL_OK && begins)
        code = make_connection(job);
    if (code == SASL_OK)
        code = begins
                   ? sasl_server_start(job->connection, job->mechanism, response ? data : NULL, len, ret_out, ret_len)
                   : sasl_server_step(job->connection, data, len, ret_out, ret_len);
    explicit_bzero(data, max + 1);
    return code;
}

static char *user_of(const Job *job)
{
    const void *name = NULL;

    return job->connection && sasl_getprop(job->connection, SASL_USERNAME, &name) == SASL_OK && name
               ? sasl_harmless(name, SASL_LINE_MAX)
               : NULL;
}

static bool is_temporary(int code)
{
    static const int codes[] = {SASL_FAIL, SASL_NOMEM, SASL_TRYAGAIN, SASL_UNAVAIL, SASL_CONFIGERR};

    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

static SaslAnswer answer_to(const Job *job, int code, const char *out, unsigned len)
{
    SaslAnswer answer = {.user = code == SASL_CONTINUE ? NULL : user_of(job)};

    if (code == SASL_OK && answer.user && *answer.user) {
        answer.status = SASL_DONE;
        return answer;
    }
    if (code == SASL_CONTINUE) {
        answer.status = SASL_CHALLENGE;
        answer.text = g_base64_encode((const guchar *)(out ? out : ""), out ? len : 0);
        return answer;
    }
    if (job->was_asked && code == SASL_NOMECH) /* nobody but saslauthd was to be asked */
        code = job->said == SASLAUTHD_NO ? SASL_BADAUTH : SASL_FAIL;
    if (code == SASL_NOUSER) /* which is nobody's business */
        code = SASL_BADAUTH;
    answer.status = is_temporary(code) || code == SASL_OK ? SASL_TEMPORARY : SASL_FAILED;
    answer.text = g_strdup(code == CYRUS_BAD_BASE64 ? "another step is needed in authentication"
                                                    : sasl_errstring(code == SASL_OK ? SASL_FAIL : code, NULL, NULL));
    return answer;
}

static SaslAnswer ask(Job *job, char *response)
{
    const char *out = NULL;
    unsigned len = 0;

    log_set_number(job->log_number);
    int code = make_step(job, response, &out, &len);
    SaslAnswer answer = answer_to(job, code, out, len);
    sasl_forget(response);
    if (answer.status != SASL_CHALLENGE)
        sasl_dispose(&job->connection);
    wipe_stack();
    log_set_number(0);
    return answer;
}

/* Tells the session. True: the exchange goes on. */
static bool tell(Job *job, SaslAnswer *answer)
{
    SaslServer *base = &job->server->base;
    bool goes_on = answer->status == SASL_CHALLENGE;

    pthread_mutex_lock(&base->lock);
    sasl_give(base, job->number, answer);
    pthread_mutex_unlock(&base->lock);
    sasl_answer_clear(answer);
    return goes_on;
}

static Step run_job(void *data, TaskRef self, unsigned reasons)
{
    Job *job = data;
    pthread_mutex_t *lock = &job->server->base.lock;
    bool has_place = reasons & WAKE_GATE;
    char *response = NULL;

    pthread_mutex_lock(lock);
    bool is_over = job->is_over, has_work = job->has_response;
    job->until = job->deadline;
    if (has_work && has_place && !is_over) {
        response = g_steal_pointer(&job->response);
        job->has_response = false;
    }
    pthread_mutex_unlock(lock);
    if (is_over)
        return step_end();
    if (!has_work)
        return step_park(0, CLOCK_NEVER);
    if (has_place) {
        SaslAnswer answer = ask(job, response);
        return tell(job, &answer) ? step_park(0, CLOCK_NEVER) : step_end();
    }
    if (clock_ms() < job->until)
        return step_gate(job->server->gate, job->until);
    SaslAnswer late = {.status = SASL_TEMPORARY, .text = g_strdup(sasl_errstring(SASL_UNAVAIL, NULL, NULL))};
    tell(job, &late);
    return step_end();
}

/* --- the back end --- */

static SaslKnowledge look(SaslServer *base)
{
    return SASL_KNOWN;
}

static void take_response(Job *job, const char *response)
{
    job->response = g_strdup(response);
    job->has_response = true;
    job->deadline = clock_ms() + SASL_TIME_MS;
}

static void start(SaslServer *base, SaslExchange *exchange, const SaslStart *start)
{
    Cyrus *server = (Cyrus *)base;
    Job *job = g_atomic_rc_box_new0(Job);

    job->server = server;
    account_take_anyway(server->account, CYRUS_EXCHANGE_OCTETS);
    job->number = exchange->number;
    job->log_number = start->number;
    job->policy = start->policy;
    job->mechanism = g_strdup(start->mechanism);
    take_response(job, start->response);
    exchange->part = job;
    job->task = sched_add(base->sched, -1, run_job, job_release, g_atomic_rc_box_acquire(job));
}

static void next(SaslServer *base, SaslExchange *exchange, const char *response)
{
    Job *job = exchange->part;

    take_response(job, response);
    sched_wake(base->sched, job->task, WAKE_ANSWER);
}

static void cancel(SaslServer *base, SaslExchange *exchange, bool hangs)
{
    Job *job = exchange->part;

    if (!job)
        return;
    job->is_over = true;
    sched_wake(base->sched, job->task, WAKE_ANSWER);
}

static void free_server(SaslServer *base)
{
    ((Cyrus *)base)->account = NULL; /* may be gone, as its tasks are */
    sasl_clear(base);
    g_free(base);
}

SaslServer *sasl_new_cyrus(Sched *sched, Account *account)
{
    static const SaslBackend backend = {.no_mechanism = "no mechanism available",
                                        .knows_policy = true,
                                        .response_max = G_MAXINT / 2,
                                        .look = look,
                                        .start = start,
                                        .next = next,
                                        .cancel = cancel,
                                        .release = job_release,
                                        .free = free_server};
    Cyrus *server = g_new0(Cyrus, 1);

    sasl_init(&server->base, &backend, sched);
    server->base.mechanisms = g_ptr_array_ref(cyrus_library()->mechanisms);
    server->gate = sched_gate_new(sched, CYRUS_PLACES);
    server->account = account;
    return &server->base;
}
