/*
 * A TCP peer without BEAM and without Rust: one thread, non-blocking sockets, raw epoll.
 * Tests use it as the other end of a connection whose behaviour must not depend on the
 * library under test; the benchmark uses it for the limits of the machine.
 *
 * Lines on standard output:
 *     port N                        listening on TCP port N (not with -u)
 *     connected N                   all N outgoing connections are open
 *     closed ID RECEIVED SENT WHY   with -v: one connection has ended; WHY is eof, reset,
 *                                   done (by us) or the name of an errno
 *     total N RECEIVED SENT         when it ends: connections and bytes over all of them
 *
 * It ends by SIGTERM, and when its standard input ends, so that it never outlives the
 * test that started it; in the connecting role also when all its connections have ended.
 */
#define _GNU_SOURCE
#include "peer_config.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct connection {
    int fd;
    unsigned id;
    uint32_t armed;                /* the events that epoll watches for */
    bool connecting;               /* connect() is under way */
    bool saw_eof;                  /* the peer has shut down its sending side */
    bool sending;                  /* the mode has begun to send payload or pattern */
    bool write_shut;               /* we have shut down our sending side */
    uint64_t received, sent;
    unsigned char *unsent;         /* echo: what the kernel did not take, or NULL */
    size_t unsent_length;
    struct connection *next, *previous;    /* the list of the open ones */
};

enum { SCRATCH = 64 * 1024, EVENTS = 256, CONNECTING_LIMIT = 128, PATTERN_PERIOD = 251 };

static unsigned char scratch[SCRATCH];
/* Byte k of a stream is k mod 251: a lost or repeated piece of any usual size shows. */
static unsigned char pattern[SCRATCH + PATTERN_PERIOD];

static int epoll_fd, listener_fd = -1, timer_fd = -1;
/* Only their addresses matter: they tell the special descriptors from connections. */
static char is_listener, is_standard_input, is_timer, is_signal;

static struct connection *open_list;
static unsigned open_count, connecting_count, started_count, connected_count;
static uint64_t total_count, total_received, total_sent;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

static void watch(int fd, uint32_t events, void *tag) {
    struct epoll_event event = { .events = events, .data.ptr = tag };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void arm(struct connection *connection, uint32_t events) {
    struct epoll_event event = { .events = events, .data.ptr = connection };
    if (connection->armed == events)
        return;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        die("epoll_ctl");
    connection->armed = events;
}

static struct connection *connection_new(int fd, bool connecting) {
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        die("calloc");
    connection->fd = fd;
    connection->id = (unsigned)++total_count;
    connection->connecting = connecting;
    connection->next = open_list;
    if (open_list != NULL)
        open_list->previous = connection;
    open_list = connection;
    open_count++;
    connection->armed = connecting ? EPOLLOUT : 0;
    watch(fd, connection->armed, connection);
    return connection;
}

static void connection_end(struct connection *connection, const char *why) {
    if (config.verbose)
        say("closed %u %" PRIu64 " %" PRIu64 " %s\n", connection->id, connection->received,
            connection->sent, why);
    if (connection->connecting)
        connecting_count--;
    close(connection->fd);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        open_list = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    open_count--;
    free(connection->unsent);
    free(connection);
}

static void connection_failed(struct connection *connection, int error) {
    connection_end(connection, error == ECONNRESET ? "reset" : strerrorname_np(error));
}

/* Closes with a reset: no output is kept and the peer sees ECONNRESET. */
static void connection_reset(struct connection *connection) {
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    connection_end(connection, "done");
}

/* --- sending ------------------------------------------------------------------------ */

/* What a step of a connection says about it. */
enum outcome { ALIVE, BLOCKED, ENDED };

/* Sends at most `limit` bytes of the payload or pattern, as much as the kernel takes. */
static enum outcome send_some(struct connection *connection, uint64_t limit) {
    while (connection->sent < config.to_send && limit > 0) {
        uint64_t left = config.to_send - connection->sent;
        size_t length = left < SCRATCH ? (size_t)left : SCRATCH;
        if (length > limit)
            length = (size_t)limit;
        const unsigned char *bytes = config.payload != NULL
            ? config.payload + connection->sent
            : pattern + connection->sent % PATTERN_PERIOD;
        ssize_t written = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN)
            return BLOCKED;
        if (written < 0) {
            connection_failed(connection, errno);
            return ENDED;
        }
        connection->sent += (uint64_t)written;
        limit -= (uint64_t)written;
        total_sent += (uint64_t)written;
    }
    if (connection->sent == config.to_send && !connection->write_shut) {
        connection->write_shut = true;
        shutdown(connection->fd, SHUT_WR);
    }
    return ALIVE;
}

/* Echo: sends what is left of an earlier read, then `length` more bytes. */
static enum outcome send_back(struct connection *connection, const unsigned char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN) {
            connection_failed(connection, errno);
            return ENDED;
        }
        if (written < 0) {
            if (connection->unsent == NULL && (connection->unsent = malloc(SCRATCH)) == NULL)
                die("malloc");
            memmove(connection->unsent, bytes, length);
            connection->unsent_length = length;
            return BLOCKED;
        }
        bytes += written;
        length -= (size_t)written;
        connection->sent += (uint64_t)written;
        total_sent += (uint64_t)written;
    }
    free(connection->unsent);
    connection->unsent = NULL;
    return ALIVE;
}

/* --- receiving ---------------------------------------------------------------------- */

/* Reads until the kernel has no more; a call is bounded so that all get their turn. */
static enum outcome receive_some(struct connection *connection) {
    for (int turns = 16; turns > 0; turns--) {
        ssize_t length = recv(connection->fd, scratch, SCRATCH, 0);
        if (length < 0 && errno == EAGAIN)
            return ALIVE;
        if (length < 0) {
            connection_failed(connection, errno);
            return ENDED;
        }
        if (length == 0) {
            connection->saw_eof = true;
            return ALIVE;
        }
        connection->received += (uint64_t)length;
        total_received += (uint64_t)length;
        if (config.mode == RESET && connection->received >= config.after)
            return ALIVE;
        if (config.mode == ECHO) {
            enum outcome outcome = send_back(connection, scratch, (size_t)length);
            if (outcome != ALIVE)
                return outcome;
        }
    }
    return ALIVE;
}

/* --- the modes ---------------------------------------------------------------------- */

static bool reads(const struct connection *connection) {
    return config.mode != NEVER_READ && !connection->saw_eof && connection->unsent == NULL;
}

/* Does whatever the mode can do now, and says which event to wait for. */
static void connection_step(struct connection *connection) {
    enum outcome outcome = ALIVE;
    uint32_t events = 0;

    if (connection->unsent != NULL)
        outcome = send_back(connection, connection->unsent, connection->unsent_length);
    if (outcome == ALIVE && reads(connection))
        outcome = receive_some(connection);
    if (outcome == ENDED)
        return;

    switch (config.mode) {
    case ECHO:
    case SINK:
        if (connection->saw_eof && connection->unsent == NULL) {
            connection_end(connection, "eof");
            return;
        }
        break;
    case RESET:
        if (connection->received >= config.after || connection->saw_eof) {
            connection_reset(connection);
            return;
        }
        break;
    case SOURCE:
        connection->sending = true;
        break;
    case HALF_CLOSE:
        if (connection->saw_eof || (config.after_given && connection->received >= config.after))
            connection->sending = true;
        break;
    case TRICKLE: /* the timer sends */
    case NEVER_READ:
        break;
    }
    if (connection->sending) {
        /* A bounded piece, and on: the other connections come in between. */
        enum outcome sent = send_some(connection, 16 * SCRATCH);
        if (sent == ENDED)
            return;
        if (!connection->write_shut)
            events |= EPOLLOUT;
    }
    if (connection->write_shut && connection->saw_eof) {
        connection_end(connection, "eof");
        return;
    }
    if (connection->unsent != NULL)
        events |= EPOLLOUT;
    if (reads(connection))
        events |= EPOLLIN;
    arm(connection, events);
}

static void trickle_tick(void) {
    struct connection *next;
    for (struct connection *connection = open_list; connection != NULL; connection = next) {
        next = connection->next;
        if (connection->connecting || connection->write_shut)
            continue;
        if (send_some(connection, 1) == ENDED)
            continue;
        if (connection->write_shut && connection->saw_eof)
            connection_end(connection, "eof");
    }
}

/* --- opening ------------------------------------------------------------------------ */

static void set_integer(int fd, int level, int name, int value) {
    /* A refusal does not matter: a Unix-domain socket has no TCP options. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static int socket_new(void) {
    int fd = socket(config.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (config.receive_buffer != 0)
        set_integer(fd, SOL_SOCKET, SO_RCVBUF, config.receive_buffer);
    return fd;
}

static void connection_open(struct connection *connection) {
    connection->connecting = false;
    set_integer(connection->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    connection_step(connection);
}

/* Keeps a bounded number of connects under way until all were started. */
static void connect_more(void) {
    while (started_count < config.connections && connecting_count < CONNECTING_LIMIT) {
        int fd = socket_new();
        started_count++;
        int result = connect(fd, (struct sockaddr *)&config.address, config.address_length);
        if (result < 0 && errno != EINPROGRESS)
            die("connect");
        connecting_count++;
        connection_new(fd, true);
    }
}

static void connect_finished(struct connection *connection) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        error = errno;
    if (error != 0) {
        errno = error;
        die("connect");
    }
    connecting_count--;
    if (++connected_count == config.connections)
        say("connected %u\n", connected_count);
    connection_open(connection);
    connect_more();
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            connection_open(connection_new(fd, false));
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED && errno != EINTR)
            die("accept");
    }
}

static void listen_start(void) {
    int fd = socket_new();
    set_integer(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, (struct sockaddr *)&config.address, config.address_length) < 0)
        die("bind");
    if (listen(fd, config.backlog) < 0)
        die("listen");
    watch(fd, EPOLLIN, &is_listener);
    if (config.address.ss_family != AF_UNIX) {
        struct sockaddr_storage bound;
        socklen_t length = sizeof bound;
        if (getsockname(fd, (struct sockaddr *)&bound, &length) < 0)
            die("getsockname");
        /* The port is at the same place in both address families. */
        say("port %u\n", ntohs(((struct sockaddr_in *)&bound)->sin_port));
    }
    listener_fd = fd;
}

/* --- the loop ----------------------------------------------------------------------- */

static void timer_start(void) {
    struct itimerspec every = { 0 };
    every.it_interval.tv_sec = config.interval_us / 1000000;
    every.it_interval.tv_nsec = (long)(config.interval_us % 1000000) * 1000;
    every.it_value = every.it_interval;
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer_fd < 0 || timerfd_settime(timer_fd, 0, &every, NULL) < 0)
        die("timerfd");
    watch(timer_fd, EPOLLIN, &is_timer);
}

static void standard_input_watch(void) {
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &is_standard_input };
    /* A file or /dev/null as input cannot be watched: then only a signal ends this process. */
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0 && errno != EPERM)
        die("epoll_ctl");
}

/* Signals come as events too: no handler, and the totals are printed in one place. */
static void signals_watch(void) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    int fd = -1;
    if (sigprocmask(SIG_BLOCK, &ending, NULL) == 0)
        fd = signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd");
    watch(fd, EPOLLIN, &is_signal);
}

static void connection_event(struct connection *connection, uint32_t events) {
    if (connection->connecting) {
        connect_finished(connection);
        return;
    }
    /* With nothing armed only a failure is reported, and a peer that has closed both ways. */
    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & (EPOLLIN | EPOLLOUT)) == 0) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0)
            connection_failed(connection, error);
        else
            connection_end(connection, "eof");
        return;
    }
    connection_step(connection);
}

static void run(void) {
    struct epoll_event events[EVENTS];
    bool running = true;
    while (running) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        /* A connection ends only in its own event or, all at once, in the timer's: that
         * one is served after the batch, so that no event refers to freed memory. */
        bool tick = false;
        for (int index = 0; index < count; index++) {
            void *tag = events[index].data.ptr;
            if (tag == &is_listener)
                accept_all();
            else if (tag == &is_standard_input || tag == &is_signal)
                running = false;
            else if (tag == &is_timer)
                tick = true;
            else
                connection_event(tag, events[index].events);
        }
        uint64_t expirations;
        if (tick && read(timer_fd, &expirations, sizeof expirations) > 0)
            trickle_tick();
        if (config.connects && open_count == 0 && started_count == config.connections)
            running = false;
    }
}

int main(int argc, char **argv) {
    struct rlimit limit;

    config_parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (size_t index = 0; index < sizeof pattern; index++)
        pattern[index] = (unsigned char)(index % PATTERN_PERIOD);

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    standard_input_watch();
    signals_watch();
    if (config.mode == TRICKLE)
        timer_start();
    if (config.connects)
        connect_more();
    else
        listen_start();
    run();
    say("total %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", total_count, total_received, total_sent);
    return 0;
}
