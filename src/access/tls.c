/* tls.c - restrictions about TLS and the client's certificate (TLS_README). */
#include "access/private.h"

Verdict reject_plaintext_session(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = {.code = config_int(evaluation->access->config, "plaintext_reject_code"),
                       .dsn = "4.7.1",
                       .text = "Session encryption is required"};

    return evaluation->facts->tls ? VERDICT_NEXT : refuse(evaluation, &refusal);
}

/* Who holds the key to a certificate that we know by its fingerprint needs no authority to say who it is. */
Verdict permit_tls_clientcerts(Evaluation *evaluation, const Rule *rule)
{
    const TlsFacts *tls = evaluation->facts->tls;

    if (!tls || tls->peer == TLS_PEER_NONE)
        return VERDICT_NEXT;
    const char *const prints[] = {tls->cert_fingerprint, tls->key_fingerprint};
    for (size_t i = 0; i < G_N_ELEMENTS(prints); i++) {
        g_autofree char *value = NULL;
        TableResult result = tables_lookup(evaluation->access->clientcerts, prints[i], &value);
        if (result == TABLE_FAILED)
            return refuse_for_lookup(evaluation, evaluation->what);
        if (result == TABLE_FOUND)
            return VERDICT_OK;
    }
    return VERDICT_NEXT;
}

Verdict permit_tls_all_clientcerts(Evaluation *evaluation, const Rule *rule)
{
    const TlsFacts *tls = evaluation->facts->tls;

    return tls && tls->peer >= TLS_PEER_TRUSTED ? VERDICT_OK : permit_tls_clientcerts(evaluation, rule);
}
