/*
 * What one thread of C with raw epoll reaches as the client of `peer`: the benchmark's measure of the machine.
 *
 *     limit pingpong PORT MILLISECONDS CONNECTIONS   64 bytes there and back; the other end is `peer echo`
 *     limit stream PORT MILLISECONDS BYTES           sends of BYTES, one way; the other end is `peer sink`
 *     limit connect PORT MILLISECONDS                connect and close; the other end is `peer sink`
 *
 * It prints one line: operations, nanoseconds, the 50th and 99th percentile of an operation's nanoseconds, and the nanoseconds
 * of processor time that it used itself. The time of a stream ends when the other end has read everything and has closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, MOST = 1 << 20, SAMPLES = 1 << 22, EVENTS = 256 };

static struct sockaddr_in address;
/* The percentiles are those of the first four million operations. */
static uint32_t samples[SAMPLES];
static size_t sample_count;
static unsigned char bytes[MOST];

static _Noreturn void die(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, errno != 0 ? strerror(errno) : "not what was sent");
    exit(1);
}

static uint64_t clock_now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now(void) {
    return clock_now(CLOCK_MONOTONIC);
}

static void sample(uint64_t nanoseconds) {
    if (sample_count < SAMPLES)
        samples[sample_count++] = nanoseconds < UINT32_MAX ? (uint32_t)nanoseconds : UINT32_MAX;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

static uint32_t percentile(unsigned percent) {
    return sample_count == 0 ? 0 : samples[(sample_count - 1) * percent / 100];
}

static int connect_new(void) {
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* --- the three kinds of work --------------------------------------------------------- */

struct exchange {
    int fd;
    uint64_t start;
    size_t received;
};

static void ping(struct exchange *exchange) {
    exchange->start = now();
    exchange->received = 0;
    if (send(exchange->fd, bytes, SIZE, MSG_NOSIGNAL) != SIZE)
        die("send");
}

/* The time begins when all are connected. */
static void pingpong(uint64_t lasting, size_t count) {
    struct epoll_event events[EVENTS];
    struct exchange *exchanges = calloc(count, sizeof *exchanges);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (exchanges == NULL || epoll_fd < 0)
        die("epoll_create1");
    for (size_t index = 0; index < count; index++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &exchanges[index] };
        exchanges[index].fd = connect_new();
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, exchanges[index].fd, &event) < 0)
            die("epoll_ctl");
    }
    uint64_t begin = now(), deadline = begin + lasting, operations = 0;
    for (size_t index = 0; index < count; index++)
        ping(&exchanges[index]);
    for (size_t busy = count; busy > 0;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (ready < 0)
            die("epoll_wait");
        for (int index = 0; index < ready; index++) {
            struct exchange *exchange = events[index].data.ptr;
            unsigned char answer[SIZE];
            ssize_t length = recv(exchange->fd, answer, SIZE - exchange->received, 0);
            if (length <= 0 || memcmp(answer, bytes + exchange->received, (size_t)length) != 0)
                die("recv");
            exchange->received += (size_t)length;
            if (exchange->received < SIZE)
                continue;
            uint64_t time = now();
            sample(time - exchange->start);
            operations++;
            if (time < deadline)
                ping(exchange);
            else
                busy--;
        }
    }
    printf("%" PRIu64 " %" PRIu64, operations, now() - begin);
}

static void stream(uint64_t lasting, size_t size) {
    int fd = connect_new();
    uint64_t begin = now(), operations = 0, start = begin, end = begin;
    do {
        for (size_t sent = 0; sent < size;) {
            ssize_t length = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
            if (length < 0)
                die("send");
            sent += (size_t)length;
        }
        end = now();
        sample(end - start);
        start = end;
        operations++;
    } while (end - begin < lasting);
    shutdown(fd, SHUT_WR);
    if (recv(fd, bytes, 1, 0) != 0)
        die("recv");
    printf("%" PRIu64 " %" PRIu64, operations, now() - begin);
}

static void connects(uint64_t lasting) {
    uint64_t begin = now(), operations = 0, start = begin, end = begin;
    do {
        int fd = connect_new();
        unsigned char byte;
        /* The other end has accepted it, has seen the end, and has closed. */
        shutdown(fd, SHUT_WR);
        if (recv(fd, &byte, 1, 0) != 0)
            die("recv");
        close(fd);
        end = now();
        sample(end - start);
        start = end;
        operations++;
    } while (end - begin < lasting);
    printf("%" PRIu64 " %" PRIu64, operations, now() - begin);
}

int main(int argc, char **argv) {
    struct rlimit limit;
    if (argc < 4 || argc > 5) {
        fputs("usage: limit pingpong|stream|connect PORT MILLISECONDS [CONNECTIONS|BYTES]\n", stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t index = 0; index < sizeof bytes; index++)
        bytes[index] = (unsigned char)(index % 251);
    size_t amount = argc == 5 ? (size_t)atol(argv[4]) : 1;
    if (amount == 0 || (strcmp(argv[1], "stream") == 0 && amount > MOST))
        die("amount");
    uint64_t lasting = (uint64_t)atol(argv[3]) * 1000000u;
    if (strcmp(argv[1], "pingpong") == 0)
        pingpong(lasting, amount);
    else if (strcmp(argv[1], "stream") == 0)
        stream(lasting, amount);
    else
        connects(lasting);
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf(" %u %u %" PRIu64 "\n", percentile(50), percentile(99), clock_now(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
