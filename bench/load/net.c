/* Sockets. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { SOURCE_PORTS = 4000 };   /* connections from one local address */

static int epoll_fd;
static struct sockaddr_in server;
static char buffer[4 << 20];

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    long needed = 20;
    for (int i = 0; i < nclients; i++) needed += clients[i].connections;
    if ((rlim_t)needed > limit.rlim_max)
        die("%ld open files are needed and %lu allowed: raise `ulimit -Hn` (root, or "
            "LimitNOFILE= of the service), for the server as well; or take fewer "
            "--clients or --talkers", needed, (unsigned long)limit.rlim_max);
}

void net_open(void) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    if (getaddrinfo(opt.host, NULL, &hints, &found)) die("%s: no such host", opt.host);
    memcpy(&server, found->ai_addr, sizeof server);
    freeaddrinfo(found);
    server.sin_port = htons((uint16_t)opt.port);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll: %s", strerror(errno));
}

static void watch(struct conn *k, uint32_t events, int operation) {
    struct epoll_event e = {.events = events, .data.ptr = k};
    if (epoll_ctl(epoll_fd, operation, k->fd, &e) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* On loopback, several local addresses: one has only 28,000 ports. */
static void spread_source(int fd) {
    static unsigned opened;
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    if (ntohl(server.sin_addr.s_addr) >> 24 != 127) return;
    source.sin_addr.s_addr = htonl(0x7f000101u + opened++ / SOURCE_PORTS % 200);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&source, sizeof source) < 0) die("bind: %s", strerror(errno));
}

/* Opens the connection unless it is; false if it is refused at once. */
bool conn_ready(struct conn *k) {
    int one = 1;
    if (k->open) return true;
    k->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (k->fd < 0) die("socket: %s (raise ulimit -n)", strerror(errno));
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    spread_source(k->fd);
    int result = connect(k->fd, (void *)&server, sizeof server);
    if (result < 0 && errno != EINPROGRESS) {
        close(k->fd);
        k->fd = -1;
        count.refused++;
        return false;
    }
    k->open = true;
    k->connecting = result < 0;
    k->in_n = 0;
    watch(k, k->connecting ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_ADD);
    return true;
}

void conn_close(struct conn *k) {
    if (k->open) close(k->fd);
    k->fd = -1;
    k->open = k->connecting = false;
    k->in_n = k->out_n = k->out_done = 0;
}

static void flush(struct conn *k) {
    while (k->out_done < k->out_n) {
        ssize_t n = write(k->fd, k->outgoing + k->out_done,
                          (size_t)(k->out_n - k->out_done));
        if (n < 0) {
            if (errno == EAGAIN) watch(k, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return;             /* another error: reading reports it */
        }
        k->out_done += (int)n;
    }
    k->out_n = k->out_done = 0;
}

void conn_send(struct conn *k, const char *bytes, int n) {
    if (!k->connecting && !k->out_n) {
        ssize_t written = write(k->fd, bytes, (size_t)n);
        if (written == n || (written < 0 && errno != EAGAIN)) return;
        if (written > 0) bytes += written, n -= (int)written;
        watch(k, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    k->outgoing = realloc(k->outgoing, (size_t)(k->out_n + n));
    if (!k->outgoing) die("out of memory");
    memcpy(k->outgoing + k->out_n, bytes, (size_t)n);
    k->out_n += n;
}

static void keep_rest(struct conn *k, const char *bytes, int n) {
    if (n >= (int)sizeof buffer / 2) die("a response is larger than %d bytes", n);
    if (k->in_size < n) {
        k->in_size = n * 2;
        if (!(k->in = realloc(k->in, (size_t)k->in_size))) die("out of memory");
    }
    memcpy(k->in, bytes, (size_t)n);
    k->in_n = n;
}

/* Handles whole responses in the buffer; false if the connection is done with. */
static bool take_all(struct conn *k, int n) {
    int used = 0, fd = k->fd;
    while (used < n) {
        int taken = http_take(k, buffer + used, n - used);
        if (taken < 0) {
            count.unexpected++;
            on_lost(k, "bad HTTP");
            return false;
        }
        if (!k->open || k->fd != fd) return false;
        if (!taken) break;
        used += taken;
    }
    if (used < n) keep_rest(k, buffer + used, n - used);
    return true;
}

static void on_readable(struct conn *k) {
    for (;;) {
        int had = k->in_n, room = (int)sizeof buffer - 1 - had;
        if (had) memcpy(buffer, k->in, (size_t)had);
        ssize_t got = read(k->fd, buffer + had, (size_t)room);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) {
            on_lost(k, got ? strerror(errno) : "closed by the server");
            return;
        }
        k->in_n = 0;
        if (!take_all(k, had + (int)got) || got < room) return;
    }
}

static void on_writable(struct conn *k) {
    int error = 0;
    socklen_t size = sizeof error;
    if (k->connecting) {
        getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            count.refused++;
            on_lost(k, strerror(error));
            return;
        }
        k->connecting = false;
    }
    watch(k, EPOLLIN, EPOLL_CTL_MOD);
    flush(k);
}

/* Handles what happens until then, or within 0.1 s. */
void net_poll(int64_t until) {
    struct epoll_event events[512];
    int64_t left = until - now_ns();
    if (left < 0) left = 0;
    if (left > 100000000) left = 100000000;
    struct timespec wait = {0, left};
    int n = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct conn *k = events[i].data.ptr;
        if (k->open && events[i].events & EPOLLOUT) on_writable(k);
        if (k->open && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(k);
    }
}

void net_run(int64_t until) {
    while (now_ns() < until) net_poll(until);
}
