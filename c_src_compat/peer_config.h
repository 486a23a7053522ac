/* What the command line of `peer` asks for. */
#ifndef PEER_CONFIG_H
#define PEER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum mode { ECHO, SINK, SOURCE, RESET, HALF_CLOSE, TRICKLE, NEVER_READ };

struct config {
    enum mode mode;
    bool connects;                 /* the role: connecting, else listening */
    struct sockaddr_storage address;
    socklen_t address_length;
    unsigned connections;          /* how many to open when connecting */
    uint64_t after;                /* received bytes after which reset and half-close act */
    bool after_given;              /* without it half-close waits for the end of the stream */
    uint64_t to_send;              /* bytes to send in all; UINT64_MAX is endless */
    unsigned char *payload;        /* what to send instead of the pattern, once */
    unsigned interval_us;          /* between two bytes of trickle */
    int receive_buffer;            /* SO_RCVBUF, 0 leaves the kernel's */
    int backlog;
    bool verbose;
};

extern struct config config;

/* Fills `config`. Wrong arguments end the program with status 2 and the usage. */
void config_parse(int argc, char **argv);

/* Ends the program with status 1 and the meaning of errno. */
_Noreturn void die(const char *what);

#endif
