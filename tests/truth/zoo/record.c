/* The record, in blocks that never move, written on demand; and the one clock of all its times. */
#include "zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK 65536
#define BLOCKS 4096

struct header header = {.magic = "VOLLYZOO", .version = 1, .record_bytes = sizeof(struct record)};
static struct record *blocks[BLOCKS];
static size_t used;
static int64_t offset_ns;

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The reading with the shortest interval around it: being preempted between the clocks would be a wrong offset. */
static int64_t measure_offset(void) {
    int64_t best = INT64_MAX, offset = 0;
    for (int i = 0; i < 20; i++) {
        int64_t before = read_clock(CLOCK_MONOTONIC), wall = read_clock(CLOCK_REALTIME);
        int64_t after = read_clock(CLOCK_MONOTONIC);
        if (after - before < best) best = after - before, offset = wall - (before + after) / 2;
    }
    return offset;
}

void set_clock(void) { offset_ns = measure_offset(); }

int64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC) + offset_ns; }

int64_t monotonic_ns(int64_t at_ns) { return at_ns - offset_ns; }

size_t new_record(void) {
    if (used == (size_t)BLOCK * BLOCKS) {
        fprintf(stderr, "zoo: the record is full\n");
        exit(1);
    }
    if (used % BLOCK == 0 && (blocks[used / BLOCK] = calloc(BLOCK, sizeof(struct record))) == NULL) {
        perror("zoo: record");
        exit(1);
    }
    return used++;
}

struct record *record_at(size_t index) { return &blocks[index / BLOCK][index % BLOCK]; }

bool write_record(void) {
    if (config.record == NULL) return false;
    char path[4096];
    if (snprintf(path, sizeof path, "%s.new", config.record) >= (int)sizeof path) return false;
    FILE *file = fopen(path, "wb");
    if (file == NULL) return false;
    header.requests = used;
    header.clock_step_ns = measure_offset() - offset_ns;
    fwrite(&header, sizeof header, 1, file);
    for (size_t begin = 0; begin < used; begin += BLOCK)
        fwrite(blocks[begin / BLOCK], sizeof(struct record), used - begin < BLOCK ? used - begin : BLOCK, file);
    bool failed = ferror(file) != 0;
    return fclose(file) == 0 && !failed && rename(path, config.record) == 0;
}
