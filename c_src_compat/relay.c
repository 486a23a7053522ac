/*
 * A network between two TUN devices, usually in two namespaces: every packet that comes out of one goes into the other after
 * a delay. It can lose, duplicate and reorder packets with given probabilities, from a seed, so that a run can be repeated
 * as far as the packets themselves come in the same order.
 *
 * It makes the devices, and ends by SIGTERM or when its standard input ends. It says `ready` when both are there, and
 * at the end `relayed PACKETS LOST DUPLICATED REORDERED`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Packets under way; more are lost, as in a network. MOST bytes is what a device with an MTU of 65535 gives. */
enum { SLOTS = 8192, MOST = 65536, BATCH = 64 };

struct packet {
    uint64_t due; /* nanoseconds on the monotonic clock */
    uint64_t order; /* of those due at the same time the earlier one goes first */
    int to;
    size_t length;
    size_t room;
    unsigned char *bytes;
};

static struct {
    uint64_t delay_ns;
    double lose, duplicate, reorder;
    uint64_t reorder_ns;
    uint64_t seed;
    uint64_t spin_ns; /* below this the waiting is done without sleeping */
} config = { .delay_ns = 200000, .reorder_ns = 1000000, .seed = 1, .spin_ns = 20000 };

/* A heap of what is under way, the next one due first; behind `under_way` lie the free ones with their memory. */
static struct packet *heap[SLOTS];
static size_t under_way;
static uint64_t relayed, lost, duplicated, reordered, orders;
static volatile sig_atomic_t ending;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static _Noreturn void usage(void) {
    fputs("usage: relay DEVICE NETNS DEVICE NETNS [options]\n"
          "  NETNS     a namespace's name under /run/netns, or `-` for this one\n"
          "  -d US     delay (200)\n"
          "  -l P      probability that a packet is lost (0)\n"
          "  -u P      probability that it is duplicated (0)\n"
          "  -o P      probability that it is held back, so that later ones overtake it (0)\n"
          "  -h US     for how long it is held back (1000)\n"
          "  -s SEED   of the probabilities (1)\n",
          stderr);
    exit(2);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* splitmix64: small, and the same everywhere. Source: Steele, Lea, Flood, 2014. */
static bool happens(double probability) {
    if (probability <= 0)
        return false;
    uint64_t mixed = (config.seed += 0x9e3779b97f4a7c15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    mixed ^= mixed >> 31;
    return (double)(mixed >> 11) * 0x1p-53 < probability;
}

/* --- what is under way -------------------------------------------------------------- */

static bool before(const struct packet *one, const struct packet *other) {
    return one->due != other->due ? one->due < other->due : one->order < other->order;
}

static void exchange(size_t one, size_t other) {
    struct packet *packet = heap[one];
    heap[one] = heap[other];
    heap[other] = packet;
}

static void enter(int to, const unsigned char *bytes, size_t length, uint64_t due) {
    if (under_way == SLOTS) {
        lost++;
        return;
    }
    struct packet *packet = heap[under_way];
    if (packet == NULL && (packet = heap[under_way] = calloc(1, sizeof *packet)) == NULL)
        die("calloc");
    if (packet->room < length) {
        packet->room = length;
        if ((packet->bytes = realloc(packet->bytes, length)) == NULL)
            die("realloc");
    }
    memcpy(packet->bytes, bytes, length);
    packet->length = length;
    packet->to = to;
    packet->due = due;
    packet->order = orders++;
    for (size_t place = under_way++; place > 0 && before(heap[place], heap[(place - 1) / 2]); place = (place - 1) / 2)
        exchange(place, (place - 1) / 2);
}

static void leave(void) {
    struct packet *packet = heap[0];
    /* A full device loses it, as a full queue of a network does. */
    ssize_t written = write(packet->to, packet->bytes, packet->length);
    if (written == (ssize_t)packet->length)
        relayed++;
    else
        lost++;
    exchange(0, --under_way);
    for (size_t place = 0;;) {
        size_t first = place;
        for (size_t child = 2 * place + 1; child <= 2 * place + 2 && child < under_way; child++)
            if (before(heap[child], heap[first]))
                first = child;
        if (first == place)
            return;
        exchange(place, first);
        place = first;
    }
}

/* Takes what has come out of a device, a bounded number so that what is due is not late. */
static void take(int from, int to) {
    static unsigned char bytes[MOST];
    for (int count = 0; count < BATCH; count++) {
        ssize_t length = read(from, bytes, sizeof bytes);
        if (length <= 0) {
            if (length < 0 && errno != EAGAIN && errno != EINTR)
                die("read");
            return;
        }
        uint64_t due = now() + config.delay_ns;
        if (happens(config.lose)) {
            lost++;
            continue;
        }
        if (happens(config.reorder)) {
            reordered++;
            due += config.reorder_ns;
        }
        enter(to, bytes, (size_t)length, due);
        if (happens(config.duplicate)) {
            duplicated++;
            enter(to, bytes, (size_t)length, due);
        }
    }
}

/* --- devices ------------------------------------------------------------------------ */

static void go_to(int namespace) {
    if (setns(namespace, CLONE_NEWNET) < 0)
        die("setns");
}

/* A device belongs to the namespace in which it was made; its descriptor works everywhere. */
static int device(const char *name, const char *namespace) {
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (here < 0)
        die("/proc/self/ns/net");
    if (strcmp(namespace, "-") != 0) {
        char path[256];
        snprintf(path, sizeof path, "/run/netns/%s", namespace);
        int there = open(path, O_RDONLY | O_CLOEXEC);
        if (there < 0)
            die(path);
        go_to(there);
        close(there);
    }
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        die("/dev/net/tun");
    if (strlen(name) >= sizeof request.ifr_name)
        usage();
    strcpy(request.ifr_name, name);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        die("TUNSETIFF");
    go_to(here);
    close(here);
    return fd;
}

/* --- the loop ----------------------------------------------------------------------- */

static void on_signal(int signal_number) {
    (void)signal_number;
    ending = 1;
}

static void run(int one, int other) {
    struct pollfd events[3] = { { .fd = one, .events = POLLIN }, { .fd = other, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    while (!ending) {
        uint64_t time = now();
        while (under_way > 0 && heap[0]->due <= time)
            leave();
        struct timespec wait = { 0 };
        uint64_t left = under_way > 0 ? heap[0]->due - time : 0;
        if (left > config.spin_ns) {
            /* The kernel wakes a sleeper some microseconds late: the last ones are waited for awake. */
            left -= config.spin_ns;
            wait.tv_sec = (time_t)(left / 1000000000u);
            wait.tv_nsec = (long)(left % 1000000000u);
        }
        int count = ppoll(events, 3, under_way > 0 ? &wait : NULL, NULL);
        if (count < 0 && errno != EINTR)
            die("ppoll");
        if (count <= 0)
            continue;
        if ((events[0].revents & POLLIN) != 0)
            take(one, other);
        if ((events[1].revents & POLLIN) != 0)
            take(other, one);
        if (events[2].revents != 0) {
            char byte;
            if (read(STDIN_FILENO, &byte, 1) <= 0)
                return;
        }
    }
}

static double number(const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || value < 0)
        usage();
    return value;
}

int main(int argc, char **argv) {
    int option;
    if (argc < 5)
        usage();
    optind = 5;
    while ((option = getopt(argc, argv, "d:l:u:o:h:s:")) != -1) {
        switch (option) {
        case 'd': config.delay_ns = (uint64_t)(number(optarg) * 1000); break;
        case 'l': config.lose = number(optarg); break;
        case 'u': config.duplicate = number(optarg); break;
        case 'o': config.reorder = number(optarg); break;
        case 'h': config.reorder_ns = (uint64_t)(number(optarg) * 1000); break;
        case 's': config.seed = (uint64_t)number(optarg); break;
        default: usage();
        }
    }
    if (optind != argc)
        usage();
    int one = device(argv[1], argv[2]);
    int other = device(argv[3], argv[4]);
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    /* The default lets the kernel wake a sleeper 50 us late. */
    FILE *slack = fopen("/proc/self/timerslack_ns", "w");
    if (slack != NULL) {
        fputs("1", slack);
        fclose(slack);
    }
    printf("ready\n");
    fflush(stdout);
    run(one, other);
    printf("relayed %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", relayed, lost, duplicated, reordered);
    return 0;
}
