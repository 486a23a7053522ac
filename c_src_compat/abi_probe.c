/*
 * Prints what the C headers of this machine say: socket options, flags and errors by
 * their values, structures by their sizes and offsets. A test compares it with what the
 * library was compiled with; see README.md.
 *
 * One fact a line, "name value":
 *     SO_LINGER 13
 *     sizeof(linger) 8
 *     offsetof(linger.l_linger) 4
 *     option(keepidle) 6:4          the level and the name of an option of `inet:setopts/2`
 *     tcp_info(rtt) 68:4            offset and size of a statistic
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
/* The kernel's header, not <netinet/tcp.h>: glibc's `struct tcp_info` ends earlier. */
#include <linux/tcp.h>

/* Linux has it since 5.6; older headers do not name it. */
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define CONSTANT(name) printf("%s %lld\n", #name, (long long)(name))
#define SIZE(kind, name) printf("sizeof(%s) %zu\n", #name, sizeof(kind name))
#define OFFSET(name, field) printf("offsetof(%s.%s) %zu\n", #name, #field, offsetof(struct name, field))
#define OPTION(name, level, option) printf("option(%s) %d:%d\n", #name, (level), (option))
#define STATISTIC(name, field) \
    printf("tcp_info(%s) %zu:%zu\n", #name, offsetof(struct tcp_info, field), \
           sizeof(((struct tcp_info *)NULL)->field))

static void constants(void) {
    /* Address families and socket types. */
    CONSTANT(AF_INET);
    CONSTANT(AF_INET6);
    CONSTANT(AF_UNIX);
    CONSTANT(AF_UNSPEC);
    CONSTANT(SOCK_STREAM);
    CONSTANT(SOCK_NONBLOCK);
    CONSTANT(SOCK_CLOEXEC);
    /* Levels and protocols. */
    CONSTANT(SOL_SOCKET);
    CONSTANT(IPPROTO_IP);
    CONSTANT(IPPROTO_IPV6);
    CONSTANT(IPPROTO_TCP);
    CONSTANT(IPPROTO_MPTCP);
    /* The socket level. */
    CONSTANT(SO_ACCEPTCONN);
    CONSTANT(SO_BINDTODEVICE);
    CONSTANT(SO_BUSY_POLL);
    CONSTANT(SO_DOMAIN);
    CONSTANT(SO_DONTROUTE);
    CONSTANT(SO_ERROR);
    CONSTANT(SO_INCOMING_CPU);
    CONSTANT(SO_KEEPALIVE);
    CONSTANT(SO_LINGER);
    CONSTANT(SO_MARK);
    CONSTANT(SO_PRIORITY);
    CONSTANT(SO_PROTOCOL);
    CONSTANT(SO_RCVBUF);
    CONSTANT(SO_RCVLOWAT);
    CONSTANT(SO_REUSEADDR);
    CONSTANT(SO_REUSEPORT);
    CONSTANT(SO_SNDBUF);
    CONSTANT(SO_TYPE);
    /* IPv4. */
    CONSTANT(IP_PKTOPTIONS);
    CONSTANT(IP_RECVTOS);
    CONSTANT(IP_RECVTTL);
    CONSTANT(IP_TOS);
    CONSTANT(IP_TTL);
    /* IPv6. */
    CONSTANT(IPV6_HOPLIMIT);
    CONSTANT(IPV6_RECVHOPLIMIT);
    CONSTANT(IPV6_RECVTCLASS);
    CONSTANT(IPV6_TCLASS);
    CONSTANT(IPV6_UNICAST_HOPS);
    CONSTANT(IPV6_V6ONLY);
    /* TCP. */
    CONSTANT(TCP_CONGESTION);
    CONSTANT(TCP_CORK);
    CONSTANT(TCP_DEFER_ACCEPT);
    CONSTANT(TCP_FASTOPEN);
    CONSTANT(TCP_FASTOPEN_CONNECT);
    CONSTANT(TCP_INFO);
    CONSTANT(TCP_KEEPCNT);
    CONSTANT(TCP_KEEPIDLE);
    CONSTANT(TCP_KEEPINTVL);
    CONSTANT(TCP_MAXSEG);
    CONSTANT(TCP_NODELAY);
    CONSTANT(TCP_NOTSENT_LOWAT);
    CONSTANT(TCP_QUICKACK);
    CONSTANT(TCP_USER_TIMEOUT);
    /* Calls. */
    CONSTANT(CLONE_NEWNET);
    CONSTANT(F_GETFL);
    CONSTANT(F_SETFL);
    CONSTANT(MSG_DONTWAIT);
    CONSTANT(MSG_MORE);
    CONSTANT(MSG_NOSIGNAL);
    CONSTANT(MSG_OOB);
    CONSTANT(MSG_PEEK);
    CONSTANT(O_CLOEXEC);
    CONSTANT(O_NONBLOCK);
    CONSTANT(O_RDONLY);
    CONSTANT(SHUT_RD);
    CONSTANT(SHUT_RDWR);
    CONSTANT(SHUT_WR);
    /* epoll. */
    CONSTANT(EPOLLERR);
    CONSTANT(EPOLLHUP);
    CONSTANT(EPOLLIN);
    CONSTANT(EPOLLONESHOT);
    CONSTANT(EPOLLOUT);
    CONSTANT(EPOLLPRI);
    CONSTANT(EPOLLRDHUP);
    CONSTANT(EPOLL_CLOEXEC);
    CONSTANT(EPOLL_CTL_ADD);
    CONSTANT(EPOLL_CTL_DEL);
    CONSTANT(EPOLL_CTL_MOD);
    /* Errors. */
    CONSTANT(EACCES);
    CONSTANT(EADDRINUSE);
    CONSTANT(EADDRNOTAVAIL);
    CONSTANT(EAFNOSUPPORT);
    CONSTANT(EAGAIN);
    CONSTANT(EALREADY);
    CONSTANT(EBADF);
    CONSTANT(ECONNABORTED);
    CONSTANT(ECONNREFUSED);
    CONSTANT(ECONNRESET);
    CONSTANT(EDESTADDRREQ);
    CONSTANT(EEXIST);
    CONSTANT(EFAULT);
    CONSTANT(EHOSTDOWN);
    CONSTANT(EHOSTUNREACH);
    CONSTANT(EINPROGRESS);
    CONSTANT(EINTR);
    CONSTANT(EINVAL);
    CONSTANT(EIO);
    CONSTANT(EISCONN);
    CONSTANT(ELOOP);
    CONSTANT(EMFILE);
    CONSTANT(EMSGSIZE);
    CONSTANT(ENAMETOOLONG);
    CONSTANT(ENETDOWN);
    CONSTANT(ENETRESET);
    CONSTANT(ENETUNREACH);
    CONSTANT(ENFILE);
    CONSTANT(ENOBUFS);
    CONSTANT(ENODEV);
    CONSTANT(ENOENT);
    CONSTANT(ENOMEM);
    CONSTANT(ENOPROTOOPT);
    CONSTANT(ENOSYS);
    CONSTANT(ENOTCONN);
    CONSTANT(ENOTDIR);
    CONSTANT(ENOTSOCK);
    CONSTANT(ENXIO);
    CONSTANT(EOPNOTSUPP);
    CONSTANT(EPERM);
    CONSTANT(EPIPE);
    CONSTANT(EPROTO);
    CONSTANT(EPROTONOSUPPORT);
    CONSTANT(EPROTOTYPE);
    CONSTANT(EROFS);
    CONSTANT(ESOCKTNOSUPPORT);
    CONSTANT(ETIMEDOUT);
}

static void structures(void) {
    SIZE(struct, sockaddr_in);
    SIZE(struct, sockaddr_in6);
    SIZE(struct, sockaddr_un);
    SIZE(struct, sockaddr_storage);
    SIZE(struct, linger);
    SIZE(struct, epoll_event);
    SIZE(struct, iovec);
    SIZE(struct, msghdr);
    SIZE(struct, cmsghdr);
    SIZE(, socklen_t);
    OFFSET(sockaddr_in, sin_port);
    OFFSET(sockaddr_in, sin_addr);
    OFFSET(sockaddr_in6, sin6_port);
    OFFSET(sockaddr_in6, sin6_flowinfo);
    OFFSET(sockaddr_in6, sin6_addr);
    OFFSET(sockaddr_in6, sin6_scope_id);
    OFFSET(sockaddr_un, sun_path);
    OFFSET(linger, l_onoff);
    OFFSET(linger, l_linger);
    OFFSET(cmsghdr, cmsg_len);
    OFFSET(cmsghdr, cmsg_level);
    OFFSET(cmsghdr, cmsg_type);
}

/* The kernel options of `inet:setopts/2`, each with the meaning its documentation gives. */
static void options(void) {
    OPTION(bind_to_device, SOL_SOCKET, SO_BINDTODEVICE);
    OPTION(busy_poll, SOL_SOCKET, SO_BUSY_POLL);
    OPTION(congestion, IPPROTO_TCP, TCP_CONGESTION);
    OPTION(defer_accept, IPPROTO_TCP, TCP_DEFER_ACCEPT);
    OPTION(dontroute, SOL_SOCKET, SO_DONTROUTE);
    OPTION(incoming_cpu, SOL_SOCKET, SO_INCOMING_CPU);
    OPTION(ipv6_v6only, IPPROTO_IPV6, IPV6_V6ONLY);
    OPTION(keepalive, SOL_SOCKET, SO_KEEPALIVE);
    OPTION(keepcnt, IPPROTO_TCP, TCP_KEEPCNT);
    OPTION(keepidle, IPPROTO_TCP, TCP_KEEPIDLE);
    OPTION(keepintvl, IPPROTO_TCP, TCP_KEEPINTVL);
    OPTION(linger, SOL_SOCKET, SO_LINGER);
    OPTION(nodelay, IPPROTO_TCP, TCP_NODELAY);
    OPTION(nopush, IPPROTO_TCP, TCP_CORK);
    OPTION(notsent_lowat, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
    OPTION(priority, SOL_SOCKET, SO_PRIORITY);
    OPTION(quickack, IPPROTO_TCP, TCP_QUICKACK);
    OPTION(recbuf, SOL_SOCKET, SO_RCVBUF);
    OPTION(recvtclass, IPPROTO_IPV6, IPV6_RECVTCLASS);
    OPTION(recvtos, IPPROTO_IP, IP_RECVTOS);
    OPTION(recvttl, IPPROTO_IP, IP_RECVTTL);
    OPTION(reuseaddr, SOL_SOCKET, SO_REUSEADDR);
    OPTION(reuseport, SOL_SOCKET, SO_REUSEPORT);
    OPTION(reuseport_lb, SOL_SOCKET, SO_REUSEPORT);
    OPTION(sndbuf, SOL_SOCKET, SO_SNDBUF);
    OPTION(tclass, IPPROTO_IPV6, IPV6_TCLASS);
    OPTION(tos, IPPROTO_IP, IP_TOS);
    OPTION(ttl, IPPROTO_IP, IP_TTL);
    OPTION(user_timeout, IPPROTO_TCP, TCP_USER_TIMEOUT);
}

/* The statistics of `tcp_info`. Later kernels have more at the structure's end. */
static void statistics(void) {
    STATISTIC(ca_state, tcpi_ca_state);
    STATISTIC(retransmits, tcpi_retransmits);
    STATISTIC(probes, tcpi_probes);
    STATISTIC(backoff, tcpi_backoff);
    STATISTIC(rto, tcpi_rto);
    STATISTIC(ato, tcpi_ato);
    STATISTIC(snd_mss, tcpi_snd_mss);
    STATISTIC(rcv_mss, tcpi_rcv_mss);
    STATISTIC(unacked, tcpi_unacked);
    STATISTIC(sacked, tcpi_sacked);
    STATISTIC(lost, tcpi_lost);
    STATISTIC(retrans, tcpi_retrans);
    STATISTIC(last_data_sent_ms, tcpi_last_data_sent);
    STATISTIC(last_data_recv_ms, tcpi_last_data_recv);
    STATISTIC(last_ack_recv_ms, tcpi_last_ack_recv);
    STATISTIC(pmtu, tcpi_pmtu);
    STATISTIC(rcv_ssthresh, tcpi_rcv_ssthresh);
    STATISTIC(rtt, tcpi_rtt);
    STATISTIC(rttvar, tcpi_rttvar);
    STATISTIC(ssthresh, tcpi_snd_ssthresh);
    STATISTIC(cwnd, tcpi_snd_cwnd);
    STATISTIC(advmss, tcpi_advmss);
    STATISTIC(reordering, tcpi_reordering);
    STATISTIC(rcv_rtt, tcpi_rcv_rtt);
    STATISTIC(rcv_space, tcpi_rcv_space);
    STATISTIC(total_retrans, tcpi_total_retrans);
    STATISTIC(pacing_rate, tcpi_pacing_rate);
    STATISTIC(max_pacing_rate, tcpi_max_pacing_rate);
    STATISTIC(bytes_acked, tcpi_bytes_acked);
    STATISTIC(bytes_received, tcpi_bytes_received);
    STATISTIC(segs_out, tcpi_segs_out);
    STATISTIC(segs_in, tcpi_segs_in);
    STATISTIC(notsent, tcpi_notsent_bytes);
    STATISTIC(min_rtt, tcpi_min_rtt);
    STATISTIC(data_segs_in, tcpi_data_segs_in);
    STATISTIC(data_segs_out, tcpi_data_segs_out);
    STATISTIC(delivery_rate, tcpi_delivery_rate);
    STATISTIC(busy_time, tcpi_busy_time);
    STATISTIC(rwnd_limited, tcpi_rwnd_limited);
    STATISTIC(sndbuf_limited, tcpi_sndbuf_limited);
    STATISTIC(delivered, tcpi_delivered);
    STATISTIC(delivered_ce, tcpi_delivered_ce);
    STATISTIC(bytes_sent, tcpi_bytes_sent);
    STATISTIC(bytes_retrans, tcpi_bytes_retrans);
    STATISTIC(dsack_dups, tcpi_dsack_dups);
    STATISTIC(reord_seen, tcpi_reord_seen);
    STATISTIC(rcv_ooopack, tcpi_rcv_ooopack);
    STATISTIC(snd_wnd, tcpi_snd_wnd);
}

int main(void) {
    constants();
    structures();
    options();
    statistics();
    return 0;
}
