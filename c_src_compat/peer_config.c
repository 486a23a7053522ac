/* The command line of `peer`; see peer_config.h. */
#include "peer_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct config config = { .connections = 1, .interval_us = 1000, .backlog = 4096 };

static const char *const mode_names[] = {
    [ECHO] = "echo",
    [SINK] = "sink",
    [SOURCE] = "source",
    [RESET] = "reset",
    [HALF_CLOSE] = "half-close",
    [TRICKLE] = "trickle",
    [NEVER_READ] = "never-read",
};

void die(const char *what) {
    fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static _Noreturn void usage(void) {
    fputs("usage: peer MODE [-l PORT | -u PATH | -c PORT | -C PATH] [options]\n"
          "modes: echo sink source reset half-close trickle never-read\n"
          "  -l PORT   listen on TCP port PORT (default: -l 0, any free port)\n"
          "  -u PATH   listen on a Unix-domain address\n"
          "  -c PORT   connect to a TCP port\n"
          "  -C PATH   connect to a Unix-domain address\n"
          "  -h HOST   IPv4 or IPv6 address to listen on or to connect to (127.0.0.1)\n"
          "  -n COUNT  how many connections to open when connecting (1)\n"
          "  -s BYTES  how much to send: source, trickle and half-close (0; 'endless')\n"
          "  -f FILE   send the file's bytes instead, once\n"
          "  -a BYTES  received bytes after which reset (0) and half-close (end of stream) act\n"
          "  -i US     microseconds between two bytes of trickle (1000)\n"
          "  -r BYTES  SO_RCVBUF\n"
          "  -b COUNT  backlog (4096)\n"
          "  -v        report every connection's end\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        usage();
    return value;
}

static void read_payload(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        die(path);
    config.to_send = (uint64_t)status.st_size;
    config.payload = malloc(config.to_send + 1);
    if (config.payload == NULL)
        die("malloc");
    for (uint64_t have = 0; have < config.to_send;) {
        ssize_t length = read(fd, config.payload + have, config.to_send - have);
        if (length <= 0)
            die(path);
        have += (uint64_t)length;
    }
    close(fd);
}

static void set_path(const char *path) {
    struct sockaddr_un *local = (struct sockaddr_un *)&config.address;
    if (strlen(path) >= sizeof local->sun_path)
        usage();
    local->sun_family = AF_UNIX;
    strcpy(local->sun_path, path);
    config.address_length = sizeof *local;
}

static void set_host(const char *host, uint16_t port) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&config.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&config.address;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        config.address_length = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        config.address_length = sizeof *v6;
    } else {
        usage();
    }
}

void config_parse(int argc, char **argv) {
    const char *host = "127.0.0.1";
    const char *path = NULL;
    uint16_t port = 0;
    int mode = 0, option;
    int modes = (int)(sizeof mode_names / sizeof *mode_names);

    if (argc < 2)
        usage();
    while (mode < modes && strcmp(argv[1], mode_names[mode]) != 0)
        mode++;
    if (mode == modes)
        usage();
    config.mode = (enum mode)mode;

    optind = 2;
    while ((option = getopt(argc, argv, "l:u:c:C:h:n:s:f:a:i:r:b:v")) != -1) {
        switch (option) {
        case 'l': port = (uint16_t)number(optarg); break;
        case 'u': path = optarg; break;
        case 'c': config.connects = true; port = (uint16_t)number(optarg); break;
        case 'C': config.connects = true; path = optarg; break;
        case 'h': host = optarg; break;
        case 'n': config.connections = (unsigned)number(optarg); break;
        case 's': config.to_send = strcmp(optarg, "endless") == 0 ? UINT64_MAX : number(optarg); break;
        case 'f': read_payload(optarg); break;
        case 'a': config.after = number(optarg); config.after_given = true; break;
        case 'i': config.interval_us = (unsigned)number(optarg); break;
        case 'r': config.receive_buffer = (int)number(optarg); break;
        case 'b': config.backlog = (int)number(optarg); break;
        case 'v': config.verbose = true; break;
        default: usage();
        }
    }
    if (optind != argc || (config.mode == TRICKLE && config.interval_us == 0))
        usage();
    if (path != NULL)
        set_path(path);
    else
        set_host(host, port);
}
