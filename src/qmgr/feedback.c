/* feedback.c - concurrency of a destination. */
#include "qmgr/feedback.h"

#define ROUNDING 1e-6

static double upper_limit(const FeedbackLimits *limits)
{
    return limits->limit > 0 ? limits->limit : G_MAXINT;
}

void feedback_init(Feedback *feedback, const FeedbackLimits *limits)
{
    *feedback = (Feedback){.window = CLAMP(limits->initial, 1.0, upper_limit(limits))};
}

bool feedback_may_start(const Feedback *feedback)
{
    return feedback->busy + 1 <= feedback->window + ROUNDING;
}

void feedback_started(Feedback *feedback)
{
    feedback->busy++;
}

void feedback_ended(Feedback *feedback)
{
    g_assert(feedback->busy > 0);
    feedback->busy--;
}

void feedback_succeeded(Feedback *feedback, const FeedbackLimits *limits)
{
    bool was_full = !feedback_may_start(feedback); /* else nothing was learned about a wider window */

    feedback_ended(feedback);
    feedback->cohorts = 0;
    if (was_full)
        feedback->window = MIN(feedback->window + 1 / feedback->window, upper_limit(limits));
}

bool feedback_failed(Feedback *feedback, const FeedbackLimits *limits)
{
    feedback_ended(feedback);
    feedback->cohorts += 1 / feedback->window;
    if (limits->cohort_limit > 0 && feedback->cohorts + ROUNDING >= limits->cohort_limit) {
        guint busy = feedback->busy;
        feedback_init(feedback, limits);
        feedback->busy = busy;
        return true;
    }
    feedback->window = MAX(feedback->window - 1 / feedback->window, 1.0);
    return false;
}
