/* feedback.h - how many deliveries at once a destination bears: learned from how they end (SCHEDULER_README). No I/O
 * here.
 *
 * A delivery that reached the destination makes room for 1/window more, one that failed to takes 1/window away. When as
 * many have failed in a row as a window holds (a cohort), concurrency_failed_cohort_limit times, the destination is
 * dead for a while. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    int initial;      /* initial_destination_concurrency */
    int limit;        /* ..._destination_concurrency_limit; 0: none */
    int cohort_limit; /* ..._destination_concurrency_failed_cohort_limit; 0: never dead */
} FeedbackLimits;

typedef struct {
    double window;  /* deliveries at once, 1 or more */
    double cohorts; /* failed in a row */
    guint busy;     /* under way */
} Feedback;

void feedback_init(Feedback *feedback, const FeedbackLimits *limits);
bool feedback_may_start(const Feedback *feedback);
/* A delivery began; one ended (busy counts). feedback_failed() returns whether the destination is dead now; then the
 * window begins anew. */
void feedback_started(Feedback *feedback);
void feedback_ended(Feedback *feedback); /* in a way that says nothing about the destination */
void feedback_succeeded(Feedback *feedback, const FeedbackLimits *limits);
bool feedback_failed(Feedback *feedback, const FeedbackLimits *limits);
