/* Connections: accepted, read, written, closed; and who closed them. One request at a time on each. */
#include "zoo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static struct connection *unused, *first, *newest;
static uint32_t last_number;
static int poller;
static char *body;
static size_t body_bytes;

/* The body of every answer; of an endless one the chunk that is sent again and again. */
void prepare_connections(int epoll) {
    poller = epoll;
    size_t data = (size_t)(config.endless ? config.chunk_bytes : config.body_bytes);
    if ((body = malloc(data + 32)) == NULL) exit(1);
    size_t frame = config.endless ? (size_t)sprintf(body, "%zx\r\n", data) : 0;
    memset(body + frame, 'x', data);
    if (config.endless) memcpy(body + frame + data, "\r\n", 2);
    else if (data == 3) memcpy(body, "ok\n", 3);
    body_bytes = config.endless ? frame + data + 2 : data;
}

bool is_endless(const struct connection *connection) {
    return config.endless > 0 && (connection->request + 1) % (size_t)config.endless == 0;
}

static void watch(struct connection *connection, bool output) {
    struct epoll_event event = {.events = EPOLLIN | (output ? EPOLLOUT : 0), .data.ptr = connection};
    if (connection->watching_output != output) epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
    connection->watching_output = output;
}

static struct connection *open_connection(int fd) {
    struct connection *connection = unused;
    if (connection != NULL) unused = connection->after;
    else if ((connection = malloc(sizeof *connection)) == NULL) exit(1);
    memset(connection, 0, offsetof(struct connection, head));
    connection->fd = fd;
    connection->number = ++last_number;
    connection->idle_since_ns = now_ns();
    connection->most_open_before = header.most_open;
    connection->before = newest, connection->after = NULL;
    *(newest ? &newest->after : &first) = connection;
    newest = connection;
    header.accepted++;
    if (++header.open > header.most_open) header.most_open = header.open;
    return connection;
}

void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *connection = open_connection(fd);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        if (config.idle_us > 0)
            add_timer(connection->idle_since_ns + (int64_t)(config.idle_us * 1000), IDLE_CLOSE, connection);
    }
    if (errno == EMFILE || errno == ENFILE) {
        perror("zoo: accept");
        exit(1);
    }
}

static void close_connection(struct connection *connection) {
    close(connection->fd);
    *(connection->before ? &connection->before->after : &first) = connection->after;
    *(connection->after ? &connection->after->before : &newest) = connection->before;
    header.open--;
    connection->number = 0;
    connection->after = unused;
    unused = connection;
}

/* How the request under way ended without an answer; one that was meant to hang stays so. */
static void give_up(struct connection *connection, enum outcome outcome) {
    struct record *record = connection->busy ? record_at(connection->request) : NULL;
    if (record == NULL || record->status == NEVER_ANSWERED) return;
    record->status = outcome;
    record->answered_ns = now_ns();
}

static void left_by_client(struct connection *connection) {
    give_up(connection, CLIENT_LEFT);
    header.closed_by_client++;
    close_connection(connection);
}

static void close_by_server(struct connection *connection) {
    header.closed_by_server++;
    close_connection(connection);
}

void reset_connection(struct connection *connection, enum outcome outcome) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    give_up(connection, outcome);
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    header.reset_by_server++;
    close_by_server(connection);
}

static void answered(struct connection *connection) {
    record_at(connection->request)->status = record_at(connection->request)->planned_status;
    connection->busy = false;
    connection->answers++;
    connection->idle_since_ns = now_ns();
    if (!connection->last) return;
    /* The next request may have arrived: a close alone would send a reset then, and the end of the stream not at all. */
    shutdown(connection->fd, SHUT_WR);
    close_by_server(connection);
}

void writable(struct connection *connection) {
    struct iovec parts[2] = {
        {connection->head + connection->head_sent, connection->head_bytes - connection->head_sent},
        {body + connection->body_sent, connection->body_bytes - connection->body_sent},
    };
    size_t left = parts[0].iov_len + parts[1].iov_len;
    if (!connection->busy || left == 0) return;
    /* Read before the write: the client may have the answer, and its own reading, before the write returns. */
    if (!connection->streaming) record_at(connection->request)->answered_ns = now_ns();
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return left_by_client(connection);
    size_t taken = sent < 0 ? 0 : (size_t)sent, of_head = taken < parts[0].iov_len ? taken : parts[0].iov_len;
    header.bytes_sent += taken;
    connection->head_sent += of_head;
    connection->body_sent += taken - of_head;
    watch(connection, taken < left);
    if (taken == left && !connection->streaming) answered(connection);
}

void answer(struct connection *connection, int status) {
    bool closes = config.close_after > 0 && (double)connection->answers + 1 >= config.close_after;
    connection->last = closes || connection->client_closes || config.http10;
    connection->streaming = is_endless(connection) && !connection->head_only;
    if (connection->streaming) record_at(connection->request)->status = NEVER_ANSWERED;
    if (connection->websocket) write_echo(connection);
    else write_head(connection, status, body_bytes);
    connection->head_sent = connection->body_sent = 0;
    connection->body_bytes = connection->head_only || connection->websocket ? 0 : body_bytes;
    if (connection->streaming)
        add_timer(now_ns() + (int64_t)(config.chunk_every_us * 1000), CHUNK, connection);
    writable(connection);
}

void send_chunk(struct connection *connection) {
    /* A client that reads too slowly gets the next chunk later, not more of them. */
    if (connection->body_sent == connection->body_bytes) connection->body_sent = 0;
    add_timer(now_ns() + (int64_t)(config.chunk_every_us * 1000), CHUNK, connection);
    writable(connection);
}

void close_if_idle(struct connection *connection) {
    int64_t now = now_ns(), idle = (int64_t)(config.idle_us * 1000), due = connection->idle_since_ns + idle;
    char byte;
    /* What has arrived and was not read yet is read first: closing would answer a request with a reset. */
    bool unread = recv(connection->fd, &byte, 1, MSG_PEEK) >= 0;
    if (connection->busy || connection->read > 0 || connection->head_done || unread)
        add_timer(now + idle, IDLE_CLOSE, connection);
    else if (due > now) add_timer(due, IDLE_CLOSE, connection);
    else close_by_server(connection);
}

/* Write the record for a GET /_record; the connection that asked is as if it had never been. */
static void observe(struct connection *connection) {
    if (header.most_open > connection->most_open_before) header.most_open--;
    if (connection->number == last_number) last_number--;
    header.accepted--;
    header.open--;
    bool written = write_record();
    char text[128];
    int bytes = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                         written ? "200 OK" : "500 Internal Server Error");
    if (send(connection->fd, text, (size_t)bytes, MSG_NOSIGNAL) < 0) perror("zoo: answer to /_record");
    header.open++;
    close_connection(connection);
}

static void refuse_malformed(struct connection *connection) {
    static const char TEXT[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    header.malformed++;
    if (send(connection->fd, TEXT, sizeof TEXT - 1, MSG_NOSIGNAL) < 0) perror("zoo: answer to a malformed request");
    close_by_server(connection);
}

static void pipelined(struct connection *connection) {
    header.pipelined++;
    reset_connection(connection, PIPELINED);
}

/* A request is complete; `more` when bytes follow it. */
static void begin(struct connection *connection, bool more) {
    int64_t now = now_ns();
    if (is_observer(connection)) return observe(connection);
    if (!connection->websocket && connection->key[0] != '\0') return shake_hands(connection);
    connection->request = new_record();
    connection->busy = true;
    struct record *record = record_at(connection->request);
    record->connection = connection->number;
    record->path = path_hash(connection);
    if (!more) return arrive(connection, now);
    record->arrived_ns = record->begun_ns = record->planned_ns = now;
    record->planned_status = PIPELINED;
    pipelined(connection);
}

void readable(struct connection *connection) {
    static char data[65536];
    ssize_t bytes = recv(connection->fd, data, sizeof data, 0);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (bytes <= 0) return left_by_client(connection);
    /* A client says good-bye on WebSocket: it may stop waiting for the message under way. */
    if (connection->websocket && connection->read == 0 && is_close(data)) return left_by_client(connection);
    if (connection->busy) return pipelined(connection);
    size_t used;
    int state = connection->websocket ? read_message(connection, data, (size_t)bytes, &used)
                                      : read_request(connection, data, (size_t)bytes, &used);
    if (state < 0) refuse_malformed(connection);
    else if (state > 0) begin(connection, used < (size_t)bytes);
}

void each_connection(bool (*visit)(struct connection *)) {
    for (struct connection *connection = first, *after; connection != NULL; connection = after) {
        after = connection->after;
        if (!visit(connection)) return;
    }
}
