/* What happens to a request: decided completely when it arrives, so that no lateness of this process adds up. */
#include "zoo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t requests;
static int64_t free_ns[4096];           /* when each worker is free */
static int64_t *starts;                 /* ring: when service begins for those that wait, ascending */
static size_t starts_first, starts_count;
static double excess;                   /* of the limiter, in requests */
static int64_t admitted_ns;
static double resets_left;

static int64_t ns(double us) { return llround(us * 1000); }

static void set_origin(int64_t now) {
    header.origin_ns = now;
    if (config.reset_at_us >= 0) add_timer(now + ns(config.reset_at_us), RESET_SOME, NULL);
}

void start_behaviour(void) {
    seed_random((uint64_t)config.seed);
    if (config.queue >= 0 && (starts = calloc((size_t)config.queue + 1, sizeof *starts)) == NULL) {
        perror("zoo: queue");
        exit(1);
    }
    if (config.origin == START) set_origin(now_ns());
}

/* The law of the service time, for a service that begins then. */
static double draw_us(int64_t begun_ns) {
    double since_us = (double)(begun_ns - header.origin_ns) / 1000;
    switch ((enum law)config.law) {
    case LOGNORMAL: return config.median_us * exp(config.sigma * normal());
    case HYPEREXPONENTIAL: return exponential(uniform() < config.share ? config.slow_us : config.service_us);
    case SLOW_SHARE: return uniform() < config.share ? config.slow_us : config.service_us;
    case SLOW_START:
        if (since_us >= config.slow_for_us) return config.service_us;
        return config.slow_us + (config.service_us - config.slow_us) * since_us / config.slow_for_us;
    case PHASES:
        return fmod(since_us, config.first_us + config.second_us) < config.first_us ? config.first_service_us
                                                                                    : config.second_service_us;
    default: return config.service_us;
    }
}

/* The pause that contains t or comes next: its beginning, or INT64_MAX. */
static int64_t pause_ns(int64_t t_ns) {
    if (config.pause_every_us <= 0 || config.pause_us <= 0) return INT64_MAX;
    int64_t every = ns(config.pause_every_us), length = ns(config.pause_us);
    int64_t first = header.origin_ns + ns(config.pause_after_us >= 0 ? config.pause_after_us : config.pause_every_us);
    int64_t index = t_ns < first + length ? 0 : (t_ns - first - length) / every + 1;
    return config.pauses > 0 && index >= config.pauses ? INT64_MAX : first + index * every;
}

/* When `work_ns` that begin at t are done: work stands still in a pause. */
static int64_t worked_ns(int64_t t_ns, int64_t work_ns) {
    for (;;) {
        int64_t pause = pause_ns(t_ns);
        if (t_ns < pause && work_ns <= pause - t_ns) return t_ns + work_ns;
        if (t_ns < pause) work_ns -= pause - t_ns;
        t_ns = pause + ns(config.pause_us);
    }
}

/* As nginx's limit_req with nodelay, without its rounding to milliseconds. */
static bool over_limit(int64_t now) {
    if (config.rate_per_s <= 0) return false;
    double would_be = excess - config.rate_per_s * (double)(now - admitted_ns) / 1e9 + 1;
    if (admitted_ns == 0 || would_be < 0) would_be = 0;
    if (would_be > config.burst) return true;
    excess = would_be, admitted_ns = now;
    return false;
}

/* Index of the worker that is free first. */
static size_t first_free(void) {
    size_t best = 0;
    for (size_t i = 1; i < (size_t)config.workers; i++)
        if (free_ns[i] < free_ns[best]) best = i;
    return best;
}

/* Whether all workers are busy and the queue is full. */
static bool queue_is_full(int64_t now) {
    if (config.queue < 0) return false;
    size_t room = (size_t)config.queue + 1;
    while (starts_count > 0 && starts[starts_first] <= now) starts_first = (starts_first + 1) % room, starts_count--;
    return free_ns[first_free()] > now && starts_count >= (size_t)config.queue;
}

/* A first-in-first-out queue before k workers: service begins when a worker is free, in the order of arrival. */
static void plan_service(struct record *record, int64_t now) {
    size_t worker = config.workers > 0 ? first_free() : 0;
    int64_t begun = config.workers > 0 && free_ns[worker] > now ? free_ns[worker] : now;
    begun = worked_ns(begun, 0);
    record->begun_ns = begun;
    record->planned_ns = worked_ns(begun, ns(draw_us(begun)));
    free_ns[worker] = record->planned_ns;
    if (config.queue >= 0 && begun > now)
        starts[(starts_first + starts_count++) % ((size_t)config.queue + 1)] = begun;
}

static void plan(struct record *record, int64_t now) {
    record->begun_ns = record->planned_ns = now;
    record->planned_status = 200;
    if (over_limit(now)) record->planned_status = (int32_t)config.limit_status;
    else if (config.fail_share > 0 && uniform() < config.fail_share) {
        record->planned_status = (int32_t)config.fail_status;
        record->planned_ns += ns(config.fail_us);
    } else if (queue_is_full(now)) record->planned_status = (int32_t)config.full_status;
    else plan_service(record, now);
}

static bool hangs(const struct connection *connection) {
    if ((double)connection->answers < config.hang_after) return false;
    return connection->number == config.hang_connection
        || (config.hang_every > 0 && connection->number % (uint32_t)config.hang_every == 0);
}

void arrive(struct connection *connection, int64_t now) {
    struct record *record = record_at(connection->request);
    requests++;
    if (header.origin_ns == 0) set_origin(now);
    record->arrived_ns = record->begun_ns = record->planned_ns = now;
    if (resets_left > 0 || (config.reset_every > 0 && requests % (uint64_t)config.reset_every == 0)) {
        resets_left -= resets_left > 0;
        record->planned_status = RESET;
        reset_connection(connection, RESET);
    } else if (hangs(connection)) {
        connection->hung = true;
        record->planned_status = record->status = NEVER_ANSWERED;
    } else {
        plan(record, now);
        if (record->planned_ns > now) add_timer(record->planned_ns, ANSWER, connection);
        else answer(connection, record->planned_status);
    }
}

static bool reset_some(struct connection *connection) {
    if (resets_left > 0 && connection->busy == (config.reset_which == BUSY)) {
        resets_left--;
        reset_connection(connection, RESET);
    }
    return resets_left > 0;
}

void due(const struct timer *timer) {
    struct connection *connection = timer->connection;
    if (timer->kind == RESET_SOME) {
        resets_left = config.reset_connections;
        each_connection(reset_some);
        /* Of busy ones the rest are reset as soon as they send a request; of idle ones there are no more. */
        if (config.reset_which == IDLE) resets_left = 0;
    } else if (connection->number != timer->number) return; /* it was closed meanwhile */
    else if (timer->kind == ANSWER) answer(connection, record_at(connection->request)->planned_status);
    else if (timer->kind == CHUNK) send_chunk(connection);
    else close_if_idle(connection);
}
