/* As much of HTTP/1.1 as the zoo needs: requests with or without Content-Length, none chunked. */
#include "zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The value of a header line if it has this name, else NULL. */
static const char *value_of(const char *line, const char *name) {
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0 || line[length] != ':') return NULL;
    line += length + 1;
    return line + strspn(line, " \t");
}

static bool parse_head(struct connection *connection) {
    const char *target = strchr(connection->input, ' ');
    const char *version = target ? strstr(target + 1, " HTTP/1.") : NULL;
    char *end = strstr(connection->input, "\r\n");
    if (version == NULL || version > end) return false;
    connection->head_only = strncmp(connection->input, "HEAD ", 5) == 0;
    connection->client_closes = version[8] == '0';
    connection->body_left = 0;
    connection->key[0] = '\0';
    for (const char *line = end + 2; *line != '\r'; line = strstr(line, "\r\n") + 2) {
        const char *value;
        if ((value = value_of(line, "content-length")) != NULL) connection->body_left = strtoull(value, NULL, 10);
        else if (value_of(line, "transfer-encoding") != NULL) return false;
        else if ((value = value_of(line, "sec-websocket-key")) != NULL)
            snprintf(connection->key, sizeof connection->key, "%s", value);
        else if ((value = value_of(line, "connection")) != NULL) {
            if (strncasecmp(value, "close", 5) == 0) connection->client_closes = true;
            if (strncasecmp(value, "keep-alive", 10) == 0) connection->client_closes = false;
        }
    }
    return true;
}

/* Take bytes of the head; the number taken, or -1 when it is too long or makes no sense. */
static ssize_t take_head(struct connection *connection, const char *data, size_t bytes) {
    size_t before = connection->read, room = sizeof connection->input - 1 - before;
    size_t taken = bytes < room ? bytes : room, from = before > 3 ? before - 3 : 0;
    memcpy(connection->input + before, data, taken);
    char *end = memmem(connection->input + from, before + taken - from, "\r\n\r\n", 4);
    connection->read = before + taken;
    if (end == NULL) return taken < bytes ? -1 : (ssize_t)taken;
    end[4] = '\0';
    connection->read = (size_t)(end + 4 - connection->input);
    connection->head_done = true;
    if (memchr(connection->input, '\0', connection->read) != NULL || !parse_head(connection)) return -1;
    return (ssize_t)(connection->read - before);
}

int read_request(struct connection *connection, const char *data, size_t bytes, size_t *used) {
    *used = 0;
    if (!connection->head_done) {
        ssize_t taken = take_head(connection, data, bytes);
        if (taken < 0) return -1;
        *used = (size_t)taken;
        if (!connection->head_done) return 0;
    }
    size_t body = bytes - *used < connection->body_left ? bytes - *used : connection->body_left;
    *used += body;
    connection->body_left -= body;
    if (connection->body_left > 0) return 0;
    connection->head_done = false;
    connection->read = 0;
    return 1;
}

static const char *target_of(const struct connection *connection, size_t *length) {
    const char *target = strchr(connection->input, ' ') + 1;
    *length = strcspn(target, " ?");
    return target;
}

bool is_observer(const struct connection *connection) {
    size_t length;
    if (connection->websocket) return false;
    const char *target = target_of(connection, &length);
    return length == 8 && memcmp(target, "/_record", 8) == 0;
}

/* FNV-1a of the path, 32 bits, without the query; of a message where requests are messages. */
uint32_t path_hash(const struct connection *connection) {
    size_t length = connection->message_bytes;
    const char *target = connection->websocket ? connection->message : target_of(connection, &length);
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)target[i]) * 16777619u;
    return hash;
}

void write_head(struct connection *connection, int status, size_t body_bytes) {
    bool announced = connection->last && (config.announce != 0 || connection->client_closes);
    char length[64] = "Transfer-Encoding: chunked\r\n";
    if (!is_endless(connection)) snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_bytes);
    connection->head_bytes = (size_t)snprintf(
        connection->head, sizeof connection->head, "HTTP/1.%c %d %s\r\n%s%s\r\n", config.http10 ? '0' : '1', status,
        status == 200 ? "OK" : "Refused", config.http10 ? "" : length, announced ? "Connection: close\r\n" : "");
}
