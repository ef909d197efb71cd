/* A binary heap of timers: earliest first, of equal ones the one that was added first. */
#include "zoo.h"

#include <stdio.h>
#include <stdlib.h>

static struct timer *heap;
static size_t size, room;
static uint64_t order;

static bool earlier(const struct timer *a, const struct timer *b) {
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

void add_timer(int64_t at_ns, enum timer_kind kind, struct connection *connection) {
    if (size == room) {
        room = room ? 2 * room : 4096;
        if ((heap = realloc(heap, room * sizeof *heap)) == NULL) {
            perror("zoo: timers");
            exit(1);
        }
    }
    struct timer timer = {at_ns, order++, kind, connection ? connection->number : 0, connection};
    size_t i = size++;
    for (; i > 0 && earlier(&timer, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = timer;
}

int64_t next_timer_ns(void) { return size ? heap[0].at_ns : INT64_MAX; }

struct timer pop_timer(void) {
    struct timer top = heap[0], last = heap[--size];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= size) break;
        if (child + 1 < size && earlier(&heap[child + 1], &heap[child])) child++;
        if (!earlier(&heap[child], &last)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}
