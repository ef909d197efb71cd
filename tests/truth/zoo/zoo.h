/* The zoo: a server of HTTP/1.1, and of WebSocket where a request asks for it, whose behaviour is a law and that records every request; see main.c. */
#ifndef ZOO_H
#define ZOO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the server did instead of answering; the numbers follow the generator contract. */
enum outcome { UNDER_WAY = 0, NEVER_ANSWERED = -2, RESET = -3, PIPELINED = -5, CLIENT_LEFT = -6 };

enum law { FIXED, LOGNORMAL, HYPEREXPONENTIAL, SLOW_START, SLOW_SHARE, PHASES };
enum origin { FIRST_REQUEST, START };
enum which { BUSY, IDLE };

/* The parameters, all as numbers; config.c has their names and defaults. */
struct config {
    double port, seed, spin_us, origin, body_bytes;
    double law, service_us, median_us, sigma, share, slow_us, slow_for_us;
    double first_us, first_service_us, second_us, second_service_us;
    double workers, queue, full_status;
    double pause_every_us, pause_us, pause_after_us, pauses;
    double rate_per_s, burst, limit_status;
    double fail_share, fail_status, fail_us;
    double reset_every, reset_at_us, reset_connections, reset_which;
    double close_after, announce, http10, idle_us;
    double hang_every, hang_connection, hang_after;
    double endless, chunk_bytes, chunk_every_us;
    const char *address, *record;
};
extern struct config config;
/* Fill `config` from `BEHAVIOUR key=value ...`; exit with status 2 and a message if that is not possible. */
void configure(int words, char **word);

/* One request. Times are ns since the Unix epoch; answered_ns is read just before the last byte is written. */
struct record {
    int64_t arrived_ns, begun_ns, planned_ns, answered_ns;
    int32_t status;
    uint32_t connection, path;
    int32_t planned_status;
};

/* What precedes the records in the file. */
struct header {
    char magic[8];
    uint32_t version, record_bytes;
    uint64_t requests, accepted, closed_by_server, reset_by_server, closed_by_client;
    uint64_t most_open, open, pipelined, malformed, bytes_sent;
    int64_t origin_ns, clock_step_ns;
};
extern struct header header;

/* Read wall minus monotonic clock, once: a clock step must not shift half a record. */
void set_clock(void);
/* ns since the Unix epoch by that reading and the monotonic clock; and the monotonic time of such a time. */
int64_t now_ns(void);
int64_t monotonic_ns(int64_t at_ns);
size_t new_record(void);
struct record *record_at(size_t index);
/* Write header and records to config.record, by rename; false when there is no such path or the disk refuses. */
bool write_record(void);

struct connection {
    int fd;
    uint32_t number; /* from 1, in the order of acceptance; 0: this structure is free */
    size_t request;  /* index of the record of the request under way */
    uint64_t answers, most_open_before;
    int64_t idle_since_ns;
    bool busy, hung, streaming, watching_output; /* busy: a request is under way */
    bool head_done, head_only, client_closes, last;
    bool websocket; /* requests are messages from now on */
    unsigned opcode;
    size_t message_bytes;
    size_t read, body_left; /* bytes of the head so far; bytes of the request's body still to come */
    size_t head_bytes, head_sent, body_bytes, body_sent; /* the answer that is being written */
    char head[256], message[200];
    char key[25]; /* of the handshake that the request under way asks for; "" when it is none */
    struct connection *before, *after; /* the open ones, in the order of acceptance */
    char input[8192];
};

enum timer_kind { ANSWER, IDLE_CLOSE, CHUNK, RESET_SOME };
struct timer {
    int64_t at_ns;
    uint64_t order;
    enum timer_kind kind;
    uint32_t number; /* the connection's; the timer is void when the structure serves another connection by now */
    struct connection *connection;
};
void add_timer(int64_t at_ns, enum timer_kind kind, struct connection *connection);
/* Time of the earliest timer, or INT64_MAX. */
int64_t next_timer_ns(void);
struct timer pop_timer(void);

void seed_random(uint64_t seed);
double uniform(void); /* in (0, 1) */
double normal(void);
double exponential(double mean);

/* http.c: Return 0 while the request is incomplete, 1 when it is complete, -1 when it cannot be served. */
int read_request(struct connection *connection, const char *data, size_t bytes, size_t *used);
bool is_observer(const struct connection *connection);
uint32_t path_hash(const struct connection *connection);
void write_head(struct connection *connection, int status, size_t body_bytes);

/* websocket.c: read_message() returns as read_request() does. */
void shake_hands(struct connection *connection);
bool is_close(const char *data);
int read_message(struct connection *connection, const char *data, size_t bytes, size_t *used);
/* Make the answer the message under way. */
void write_echo(struct connection *connection);

/* connections.c */
/* Return whether the body of the answer to the request under way never ends. */
bool is_endless(const struct connection *connection);
void prepare_connections(int epoll);
void accept_all(int listener);
void readable(struct connection *connection);
void writable(struct connection *connection);
/* Write the answer to the request under way, or the beginning of an endless one. */
void answer(struct connection *connection, int status);
void send_chunk(struct connection *connection);
/* Send RST; the request under way, if there is one, is recorded with `outcome`. */
void reset_connection(struct connection *connection, enum outcome outcome);
void close_if_idle(struct connection *connection);
/* Call `visit` for every open connection in the order of acceptance until it returns false. */
void each_connection(bool (*visit)(struct connection *));

/* behaviour.c */
void start_behaviour(void);
void arrive(struct connection *connection, int64_t now);
void due(const struct timer *timer);

#endif
