/* param_rows.h - short names for the rows in params_*.c; no other file includes it. A row is
 *
 *     {name, type, support, default, min, max, words, since, help}
 */
#pragma once
#include "config/params.h"

#define STRING PARAM_STRING
#define RAW PARAM_RAW
#define HOSTNAME PARAM_HOSTNAME
#define BOOL PARAM_BOOL
#define INT PARAM_INT
#define TIME PARAM_TIME
#define WORDS PARAM_WORDS
#define ENUM PARAM_ENUM

#define SUPPORTED PARAM_SUPPORTED
#define UNSUPPORTED PARAM_UNSUPPORTED
#define PROTECTS PARAM_PROTECTS
#define NO_EFFECT PARAM_NO_EFFECT

extern const Param param_rows_smtpd[];
extern const size_t param_count_smtpd;
extern const Param param_rows_access[];
extern const size_t param_count_access;
extern const Param param_rows_proxy[];
extern const size_t param_count_proxy;
extern const Param param_rows_quarantine[];
extern const size_t param_count_quarantine;
extern const Param param_rows_milter[];
extern const size_t param_count_milter;
extern const Param param_rows_smtpd_tls[];
extern const size_t param_count_smtpd_tls;
extern const Param param_rows_tls[];
extern const size_t param_count_tls;
extern const Param param_rows_smtp[];
extern const size_t param_count_smtp;
extern const Param param_rows_smtp_tls[];
extern const size_t param_count_smtp_tls;
extern const Param param_rows_lmtp[];
extern const size_t param_count_lmtp;
extern const Param param_rows_queue[];
extern const size_t param_count_queue;
extern const Param param_rows_cleanup[];
extern const size_t param_count_cleanup;
extern const Param param_rows_route[];
extern const size_t param_count_route;
extern const Param param_rows_local[];
extern const size_t param_count_local;
extern const Param param_rows_virtual[];
extern const size_t param_count_virtual;
extern const Param param_rows_bounce[];
extern const size_t param_count_bounce;
extern const Param param_rows_verify[];
extern const size_t param_count_verify;
extern const Param param_rows_log[];
extern const size_t param_count_log;
extern const Param param_rows_process[];
extern const size_t param_count_process;
extern const Param param_rows_postscreen[];
extern const size_t param_count_postscreen;
