/* A server of known behaviour: zoo BEHAVIOUR key=value ...
 *
 * It prints its port, serves HTTP/1.1 from one thread, echoes messages over WebSocket to a client
 * that asks for it (a message is a request, its text is the path on record), and ends with SIGTERM, SIGINT or the end of
 * a pipe on its standard input. `record=PATH` is the file that it writes at its end and for every
 * GET /_record; zoo.py reads it.
 *
 * A behaviour is a name for some of the parts below; config.c lists the names and the parameters
 * that each one requires. Every behaviour can be combined with every other part.
 *
 * service time
 *   law=fixed             service_us
 *   law=lognormal         median_us, sigma
 *   law=hyperexponential  exponential with mean service_us or, with probability share, slow_us
 *   law=slow-share        service_us or, with probability share, slow_us
 *   law=slow-start        from slow_us down to service_us, linear over slow_for_us
 *   law=phases            first_service_us for first_us, second_service_us for second_us, in turn
 *   The law is evaluated at the time when service begins.
 * workers
 *   workers=0: any number of requests in parallel. workers=k: a FIFO queue in front of k workers.
 *   queue: the most requests that may wait; one more gets full_status at once.
 * pauses
 *   Work stands still for pause_us, every pause_every_us. The first pause is after pause_after_us
 *   (default: pause_every_us). `pauses` limits their number.
 * refusals
 *   rate_per_s, burst: as nginx's limit_req nodelay; requests above get limit_status at once.
 *   fail_share: this share gets fail_status after fail_us, without a worker.
 * connections
 *   reset_every: every n-th request gets RST instead of an answer.
 *   reset_at_us: RST once on reset_connections connections, oldest first. reset_which=busy takes
 *     those with a request under way, and if too few are, the next that send one; idle: the others.
 *   close_after: answers per connection. The last has `Connection: close` unless announce=0.
 *   http10: HTTP/1.0 answers that end with the connection.
 *   idle_us: FIN after this time without a request.
 *   hang_every, hang_connection: every n-th connection, or the n-th (from 1, in the order of
 *     acceptance), answers hang_after requests and then never again.
 *   endless: the body of every n-th answer never ends (1: all); chunk_bytes every chunk_every_us.
 *   body_bytes: length of every other body.
 *
 * Phases, pauses, slow start and reset_at_us count from the first request, or from the start with
 * origin=start. Bytes that arrive while a request is under way are pipelining: the connection is
 * reset and the request is recorded as pipelined.
 */
#include "zoo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int poller, listener, alarm_fd, signals;
static const char input_source; /* stands for standard input in an event */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(const char *address, int port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) fail("zoo: address");
    int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("zoo: socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr *where = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    if (bind(fd, where, is_six ? sizeof six : sizeof four) != 0 || listen(fd, 4096) != 0) fail("zoo: listen");
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in6 address; /* the port is at the same place in both families */
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) fail("zoo: port");
    return ntohs(address.sin6_port);
}

static void watch(int fd, uint32_t events, const void *source) {
    struct epoll_event event = {.events = events, .data.ptr = (void *)source};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) fail("zoo: epoll_ctl");
}

static void set_up(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    signals = signalfd(-1, &ends, SFD_CLOEXEC);
    alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    listener = listen_on(config.address, (int)config.port);
    if (poller < 0 || signals < 0 || alarm_fd < 0) fail("zoo: start");
    watch(listener, EPOLLIN, &listener);
    watch(signals, EPOLLIN, &signals);
    /* Edge-triggered: setting it again clears it, so that it never has to be read. */
    watch(alarm_fd, EPOLLIN | EPOLLET, &alarm_fd);
    struct stat input;
    if (fstat(STDIN_FILENO, &input) == 0 && S_ISFIFO(input.st_mode)) watch(STDIN_FILENO, EPOLLIN, &input_source);
}

static void run_timers(void) {
    while (next_timer_ns() <= now_ns()) {
        struct timer timer = pop_timer();
        due(&timer);
    }
}

/* How long epoll may wait: 0 shortly before a timer, which polls the sockets meanwhile; else until the alarm. */
static int wait_ms(void) {
    static int64_t set_ns;
    int64_t next = next_timer_ns(), ahead_ns = (int64_t)(config.spin_us * 1000);
    if (next == INT64_MAX) return -1;
    int64_t at = next - ahead_ns;
    if (at <= now_ns()) return 0;
    int64_t alarm_ns = monotonic_ns(at);
    struct itimerspec alarm = {.it_value = {alarm_ns / 1000000000, alarm_ns % 1000000000}};
    if (at != set_ns) timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &alarm, NULL);
    set_ns = at;
    return -1;
}

/* Serve one event; false when it is time to end. */
static bool serve(const struct epoll_event *event) {
    if (event->data.ptr == &listener) accept_all(listener);
    else if (event->data.ptr == &signals) return false;
    else if (event->data.ptr == &input_source) {
        char bytes[64];
        return read(STDIN_FILENO, bytes, sizeof bytes) > 0;
    } else if (event->data.ptr != &alarm_fd) {
        struct connection *connection = event->data.ptr;
        /* It may have been closed by what came before it. */
        if (connection->number != 0 && event->events & EPOLLOUT) writable(connection);
        if (connection->number != 0 && event->events & ~EPOLLOUT) readable(connection);
    }
    return true;
}

int main(int count, char **word) {
    configure(count - 1, word + 1);
    set_clock();
    set_up();
    prepare_connections(poller);
    start_behaviour();
    printf("%d\n", port_of(listener));
    fflush(stdout);
    for (bool serving = true; serving;) {
        struct epoll_event events[256];
        run_timers();
        int ready = epoll_wait(poller, events, 256, wait_ms());
        if (ready < 0 && errno != EINTR) fail("zoo: epoll_wait");
        for (int i = 0; i < ready && serving; i++) {
            serving = serve(&events[i]);
            run_timers();
        }
    }
    if (config.record != NULL && !write_record()) fail("zoo: record");
    return 0;
}
