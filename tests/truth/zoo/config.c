/* Names, defaults and checks of the parameters. */
#include "zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config config = {.seed = 1, .spin_us = 30, .body_bytes = 3, .queue = -1, .full_status = 503,
                        .pause_after_us = -1, .limit_status = 429, .fail_status = 503, .announce = 1,
                        .reset_at_us = -1, .chunk_bytes = 16384, .chunk_every_us = 10000, .address = "127.0.0.1"};

struct key {
    const char *name;
    double *value;
    const char *words; /* the values that may be written as words: "first second ..." stand for 0, 1, ... */
};
#define NUMBER(field) {#field, &config.field, NULL}
static const struct key KEYS[] = {
    NUMBER(port), NUMBER(seed), NUMBER(spin_us), NUMBER(body_bytes),
    {"origin", &config.origin, "request start"},
    {"law", &config.law, "fixed lognormal hyperexponential slow-start slow-share phases"},
    NUMBER(service_us), NUMBER(median_us), NUMBER(sigma), NUMBER(share), NUMBER(slow_us), NUMBER(slow_for_us),
    NUMBER(first_us), NUMBER(first_service_us), NUMBER(second_us), NUMBER(second_service_us),
    NUMBER(workers), NUMBER(queue), NUMBER(full_status),
    NUMBER(pause_every_us), NUMBER(pause_us), NUMBER(pause_after_us), NUMBER(pauses),
    NUMBER(rate_per_s), NUMBER(burst), NUMBER(limit_status),
    NUMBER(fail_share), NUMBER(fail_status), NUMBER(fail_us),
    NUMBER(reset_every), NUMBER(reset_at_us), NUMBER(reset_connections),
    {"reset_which", &config.reset_which, "busy idle"},
    NUMBER(close_after), NUMBER(announce), NUMBER(http10), NUMBER(idle_us),
    NUMBER(hang_every), NUMBER(hang_connection), NUMBER(hang_after),
    NUMBER(endless), NUMBER(chunk_bytes), NUMBER(chunk_every_us),
};

struct behaviour {
    const char *name, *defaults, *required; /* required: "a b|c" is a, and b or c */
};
static const struct behaviour BEHAVIOURS[] = {
    {"fixed", "", "service_us"},
    {"one-at-a-time", "workers=1", "service_us"},
    {"workers", "", "workers service_us"},
    {"lognormal", "law=lognormal", "median_us sigma"},
    {"hyperexponential", "law=hyperexponential", "service_us slow_us share"},
    {"stall", "", "service_us pause_every_us pause_us"},
    {"slow-start", "law=slow-start", "service_us slow_us slow_for_us"},
    {"slow-share", "law=slow-share share=0.01", "service_us slow_us"},
    {"phases", "law=phases", "first_us first_service_us second_us second_service_us"},
    {"phases-pool", "law=phases", "first_us first_service_us second_us second_service_us workers queue"},
    {"shed", "limit_status=503", "rate_per_s|queue"},
    {"limit", "limit_status=429", "rate_per_s burst"},
    {"mix", "", "service_us fail_share"},
    {"reset-every", "", "reset_every"},
    {"reset-at", "reset_connections=2", "reset_at_us"},
    {"close-after", "", "close_after"},
    {"close-each", "close_after=1", ""},
    {"idle-close", "", "idle_us"},
    {"hang", "", "hang_every|hang_connection"},
    {"endless", "endless=1", ""},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void refuse(const char *what, const char *which) {
    fprintf(stderr, "zoo: %s: %s\n", what, which);
    exit(2);
}

static bool parse(const struct key *key, const char *text) {
    char *end;
    *key->value = strtod(text, &end);
    if (key->words == NULL) return end != text && *end == '\0' && *key->value >= 0 && *key->value < 1e15;
    int index = 0;
    for (const char *word = key->words; *word != '\0'; index++) {
        size_t length = strcspn(word, " ");
        if (strlen(text) == length && strncmp(word, text, length) == 0) return *key->value = index, true;
        word += length + strspn(word + length, " ");
    }
    return false;
}

static void assign(const char *pair) {
    size_t length = strcspn(pair, "=");
    if (pair[length] != '=') refuse("not of the form key=value", pair);
    if (strncmp(pair, "address=", 8) == 0) config.address = strdup(pair + 8);
    else if (strncmp(pair, "record=", 7) == 0) config.record = strdup(pair + 7);
    else {
        const struct key *key = KEYS;
        while (key < KEYS + COUNT(KEYS) && (strlen(key->name) != length || strncmp(key->name, pair, length) != 0))
            key++;
        if (key == KEYS + COUNT(KEYS)) refuse("no such parameter", pair);
        if (!parse(key, pair + length + 1)) refuse("not a value of this parameter", pair);
    }
}

static bool given(const char *name, size_t length, int words, char **word) {
    for (int i = 0; i < words; i++)
        if (strncmp(word[i], name, length) == 0 && word[i][length] == '=') return true;
    return false;
}

static void check_required(const struct behaviour *behaviour, int words, char **word) {
    for (const char *group = behaviour->required; *group != '\0';) {
        size_t length = strcspn(group, " ");
        bool found = false;
        for (const char *name = group; name < group + length; name += strcspn(name, "| ") + 1)
            found = found || given(name, strcspn(name, "| "), words, word);
        if (!found) refuse(behaviour->name, group);
        group += length + strspn(group + length, " ");
    }
}

static void check(void) {
    if (config.workers > 4096) refuse("at most 4096", "workers");
    if (config.queue >= 0 && config.workers < 1) refuse("a bounded queue needs workers", "queue");
    if (config.queue > 1e6) refuse("at most 1000000", "queue");
    if (config.spin_us > 50) refuse("at most 50", "spin_us");
    if (config.share > 1 || config.fail_share > 1) refuse("at most 1", "share");
    if (config.pause_every_us > 0 && config.pause_us >= config.pause_every_us)
        refuse("as long as the period", "pause_us");
    if (config.law == PHASES && config.first_us + config.second_us <= 0) refuse("both phases are empty", "phases");
    if (config.body_bytes > 1 << 20 || config.chunk_bytes > 1 << 20) refuse("at most 1 MiB", "body_bytes, chunk_bytes");
    if (config.endless && config.chunk_bytes < 1) refuse("at least 1", "chunk_bytes");
    if (config.endless && (config.http10 || config.rate_per_s || config.fail_share || config.queue >= 0))
        refuse("only 200 and chunked", "endless");
}

void configure(int words, char **word) {
    if (words < 1) refuse("usage", "zoo BEHAVIOUR key=value ...");
    const struct behaviour *behaviour = BEHAVIOURS;
    while (behaviour < BEHAVIOURS + COUNT(BEHAVIOURS) && strcmp(behaviour->name, word[0]) != 0) behaviour++;
    if (behaviour == BEHAVIOURS + COUNT(BEHAVIOURS)) refuse("no such behaviour", word[0]);
    char *defaults = strdup(behaviour->defaults);
    for (char *pair = strtok(defaults, " "); pair != NULL; pair = strtok(NULL, " ")) assign(pair);
    free(defaults);
    for (int i = 1; i < words; i++) assign(word[i]);
    check_required(behaviour, words - 1, word + 1);
    check();
}
