/* policy_reply_fuzz.c - a policy server's reply from any octets, in two portions: an action is one line without NUL,
 * bounded, and the same however the octets come. */
#include "policy/policy_reply.h"

#include <stdint.h>
#include <string.h>

static PolicyReplyStatus add_all(PolicyReply *reply, const char *data, size_t len, size_t cut, size_t *ret_used)
{
    size_t first = 0, second = 0;
    PolicyReplyStatus status = policy_reply_add(reply, data, cut, &first);

    if (status == POLICY_REPLY_MORE)
        status = policy_reply_add(reply, data + cut, len - cut, &second);
    *ret_used = first + second;
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut = size > 0 ? data[0] % size : 0, used, used_at_once;
    PolicyReply reply, at_once;

    policy_reply_init(&reply);
    policy_reply_init(&at_once);
    PolicyReplyStatus status = add_all(&reply, (const char *)data, size, cut, &used);
    g_assert(add_all(&at_once, (const char *)data, size, 0, &used_at_once) == status && used == used_at_once);
    g_assert(used <= size && used <= POLICY_REPLY_MAX + 1);
    g_assert(g_strcmp0(reply.action, at_once.action) == 0);
    g_assert(!reply.action || (!strchr(reply.action, '\n') && strlen(reply.action) < POLICY_REPLY_MAX));
    g_assert(status != POLICY_REPLY_WHOLE || (reply.action && used >= 2 && memcmp(data + used - 2, "\n\n", 2) == 0));
    g_assert(status != POLICY_REPLY_MORE || used == size);
    for (int trouble = POLICY_REPLY_IS_BAD; trouble <= POLICY_REPLY_TIMED_OUT; trouble++)
        g_free(policy_reply_trouble(&reply, (PolicyReplyTrouble)trouble, "x"));
    policy_reply_clear(&reply);
    policy_reply_clear(&at_once);
    return 0;
}
