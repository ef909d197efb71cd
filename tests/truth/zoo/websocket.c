/* As much of WebSocket as the zoo needs: an echo of whole messages of at most 200 bytes, without extensions. */
#include "zoo.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { MASKED = 0x80, FINAL = 0x80, LONG = 126, MOST = 200, MASK_BYTES = 4, DIGEST_BYTES = 20 };
enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8 };

static uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

static void sha1_block(uint32_t state[5], const unsigned char block[64]) {
    uint32_t word[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    memcpy(word, block, 64);
    for (int i = 0; i < 16; i++) word[i] = be32toh(word[i]);
    for (int i = 16; i < 80; i++) word[i] = rotated(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotated(a, 5) + mixed + e + word[i];
        e = d, d = c, c = rotated(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* The digest of a text of 60 characters, which is what a handshake needs: one block, and one with the length alone. */
static void sha1_of_60(const char text[60], unsigned char digest[DIGEST_BYTES]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char first[64] = {0}, last[64] = {[62] = 60 * 8 >> 8, [63] = 60 * 8 & 0xff};
    memcpy(first, text, 60);
    first[60] = 0x80;
    sha1_block(state, first);
    sha1_block(state, last);
    for (int i = 0; i < 5; i++) state[i] = htobe32(state[i]);
    memcpy(digest, state, DIGEST_BYTES);
}

/* 28 characters of base64 for a digest. */
static void base64(const unsigned char digest[DIGEST_BYTES], char text[29]) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, digest, DIGEST_BYTES);
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)padded[3 * i] << 16 | (uint32_t)padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++) text[4 * i + j] = DIGITS[bits >> (18 - 6 * j) & 63];
    }
    text[27] = '=', text[28] = '\0';
}

void shake_hands(struct connection *connection) {
    char text[61], accept[29], response[160];
    unsigned char digest[DIGEST_BYTES];
    snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", connection->key);
    sha1_of_60(text, digest);
    base64(digest, accept);
    int bytes = snprintf(response, sizeof response, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    connection->websocket = true;
    if (send(connection->fd, response, (size_t)bytes, MSG_NOSIGNAL) < 0) perror("zoo: handshake");
}

bool is_close(const char *data) { return (data[0] & 0x0f) == CLOSE; }

int read_message(struct connection *connection, const char *data, size_t bytes, size_t *used) {
    unsigned char *frame = (unsigned char *)connection->input;
    size_t room = sizeof connection->input - connection->read, taken = bytes < room ? bytes : room;
    memcpy(frame + connection->read, data, taken);
    size_t have = connection->read + taken, before = connection->read;
    *used = taken;
    connection->read = have;
    if (have < 2) return 0;
    size_t length = frame[1] & 0x7f, head = 2 + MASK_BYTES;
    if (length == LONG) {
        head += 2;
        if (have < 4) return 0;
        length = (size_t)frame[2] << 8 | frame[3];
    }
    unsigned opcode = frame[0] & 0x0f;
    if (!(frame[0] & FINAL) || !(frame[1] & MASKED) || length > MOST || (opcode != TEXT && opcode != BINARY)) return -1;
    if (have < head + length) return 0;
    const unsigned char *mask = frame + head - MASK_BYTES;
    connection->opcode = opcode, connection->message_bytes = length;
    for (size_t i = 0; i < length; i++) connection->message[i] = (char)(frame[head + i] ^ mask[i % MASK_BYTES]);
    *used = head + length - before;
    connection->read = 0;
    return 1;
}

void write_echo(struct connection *connection) {
    size_t bytes = connection->message_bytes, head = bytes < LONG ? 2 : 4;
    connection->head[0] = (char)(FINAL | connection->opcode);
    connection->head[1] = (char)(bytes < LONG ? bytes : LONG);
    if (head == 4) connection->head[2] = (char)(bytes >> 8), connection->head[3] = (char)bytes;
    memcpy(connection->head + head, connection->message, bytes);
    connection->head_bytes = head + bytes;
}
