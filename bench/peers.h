/* Connections of subscribers, publishers and the probe: each sends a greeting, and is ready after the expected reply. */

#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tally.h"

enum { ROOM = 1 << 18, KEEP = 64 };

enum kind { COMMANDS, CLOCK, SUBSCRIBER, PUBLISHER, PROBE };
enum state { CLOSED, CONNECTING, GREETING, READY };

/* The bytes that peers of a kind send first, and the expected reply, empty if the server sends none. */
struct greeting {
    struct bytes says, waits_for;
};

struct peer {
    int fd;
    enum kind kind;
    enum state state;
    bool stalled;
    uint8_t kept; /* bytes of the last read that may be an incomplete match */
    char keep[KEEP];
    unsigned number, channel;
    const struct greeting *greeting;
    struct received received;
    struct bytes out;
    uint64_t answers, asked;
};

struct peers {
    struct peer **at;
    size_t count, room;
};

static int poller;
static uint64_t opening, lost_peers; /* connections that are not ready yet; connections closed by the server */

/* Process the bytes that a ready peer receives; an incomplete match is kept with `keep`. */
static void peer_receive(struct peer *peer, const char *at, const char *end, uint64_t now);

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t nanos(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void watch(struct peer *peer, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(poller, how, peer->fd, &event) < 0)
        fail("epoll_ctl");
}

static struct peer *peer_open(enum kind kind, const struct greeting *greeting, long port, unsigned number)
{
    struct peer *peer = calloc(1, sizeof *peer);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *peer = (struct peer){.kind = kind, .greeting = greeting, .number = number, .state = CONNECTING};
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0)
        fail("socket");
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(peer->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect");
    opening++;
    watch(peer, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    return peer;
}

/* Make it read nothing once it is ready, with the smallest receive buffer. */
static void peer_stall(struct peer *peer)
{
    int little = 4096;
    peer->stalled = true;
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
}

static void peer_close(struct peer *peer)
{
    if (peer->state == CONNECTING || peer->state == GREETING)
        opening--;
    if (peer->state != CLOSED)
        close(peer->fd);
    peer->state = CLOSED;
}

static void peer_forget(struct peer *peer)
{
    peer_close(peer);
    free(peer->received.seen);
    free(peer->out.at);
    free(peer);
}

static void peers_add(struct peers *peers, struct peer *peer)
{
    if (peers->count == peers->room) {
        peers->room = 2 * peers->room + 16;
        peers->at = realloc(peers->at, peers->room * sizeof *peers->at);
    }
    peers->at[peers->count++] = peer;
}

static void peers_clear(struct peers *peers)
{
    for (size_t i = 0; i < peers->count; i++)
        peer_forget(peers->at[i]);
    peers->count = 0;
}

static unsigned peers_ready(const struct peers *peers)
{
    unsigned found = 0;
    for (size_t i = 0; i < peers->count; i++)
        found += peers->at[i]->state == READY;
    return found;
}

static void peer_flush(struct peer *peer)
{
    size_t done = 0;
    while (done < peer->out.size) {
        ssize_t got = send(peer->fd, peer->out.at + done, peer->out.size - done, MSG_NOSIGNAL);
        if (got < 0)
            break; /* full, or lost, which the next read reports */
        done += (size_t)got;
    }
    bytes_drop(&peer->out, done);
    watch(peer, EPOLL_CTL_MOD, EPOLLIN | (peer->out.size ? EPOLLOUT : 0));
}

static void peer_is_ready(struct peer *peer)
{
    peer->state = READY;
    opening--;
    if (peer->stalled)
        watch(peer, EPOLL_CTL_DEL, 0);
}

static void peer_greet(struct peer *peer)
{
    peer->state = GREETING;
    fill(&peer->out, &peer->greeting->says, peer->channel, peer->number, "", 0);
    peer_flush(peer);
    if (peer->greeting->waits_for.size == 0)
        peer_is_ready(peer);
}

/* Prepend the bytes of an incomplete match to the next read. */
static void keep(struct peer *peer, const char *from, const char *end)
{
    size_t left = (size_t)(end - from);
    if (left > KEEP)
        from = end - (left = KEEP);
    memcpy(peer->keep, from, left);
    peer->kept = (uint8_t)left;
}

/* Keep the bytes at the end that may be an incomplete match. */
static void keep_for(struct peer *peer, const struct bytes *text, const char *at, const char *end)
{
    keep(peer, (size_t)(end - at) >= text->size ? end - text->size + 1 : at, end);
}

static void peer_read(struct peer *peer)
{
    static char buffer[KEEP + ROOM];
    const char *at = buffer + KEEP - peer->kept, *end = buffer + KEEP;
    ssize_t got = recv(peer->fd, buffer + KEEP, ROOM, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        peer_close(peer);
        lost_peers++;
        return;
    }
    end += got;
    uint64_t now = nanos();
    memcpy(buffer + KEEP - peer->kept, peer->keep, peer->kept);
    peer->kept = 0;
    if (peer->state == GREETING) {
        const struct bytes *waits_for = &peer->greeting->waits_for;
        const char *hit = memmem(at, (size_t)(end - at), waits_for->at, waits_for->size);
        if (hit == NULL) {
            keep_for(peer, waits_for, at, end);
            return;
        }
        peer_is_ready(peer);
        at = hit + waits_for->size;
    }
    peer_receive(peer, at, end, now);
}

static void peer_event(struct peer *peer, uint32_t events)
{
    if (peer->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) {
            peer_close(peer);
            lost_peers++;
        } else if (events & EPOLLOUT)
            peer_greet(peer);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        peer_read(peer);
    if (peer->state != CLOSED && events & EPOLLOUT)
        peer_flush(peer);
}

#endif
