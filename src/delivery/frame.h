/* frame.h - what all agents' processes do alike: take deliveries from a socket, serve each on a thread, obey orders. */
#pragma once
#include "base/service.h"
#include "delivery/agents.h"
#include "delivery/pool.h"

typedef struct {
    const Agent *agent;
    const void *state;
    AttemptOptions options;
} Frame;

/* Runs a process that owns its uid for good. Returns when told to and done, or when told to stop and too late. */
int frame_run(const Frame *frame, ServiceProcess *process);

/* A delivery's first packet from the queue manager, with the message. wait_ms: how long to wait for it; 0: not at all.
 * Sets the work's request and message_fd. False: there is none (yet: EAGAIN), or it is no request (EBADMSG, logged). */
bool frame_receive(Work *work, int wait_ms);

int frame_threads(const ServiceProcess *process); /* maxproc, or what stands for no limit */
#define FRAME_STOP_MS 4500                        /* how long deliveries may go on after an order to stop */
