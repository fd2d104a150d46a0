/* The minimum cost of a fan-out: one send per subscriber and published line, and nothing else.
 *
 * A client subscribes with `SUB`; the reply is `+OK`. A line `PUB TEXT` sends the line TEXT to all subscribers; the reply is
 * `+OK`. The argument is the port to listen on.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 16, MOST = 1 << 20 };

struct client {
    int fd;
    size_t size;
    char *line; /* the received part of a line */
};

static int subscribers[MOST];
static size_t subscriber_count;

/* The sockets are blocking, so a send waits for buffer space, as in the simplest server. */
static void send_all(int to, const char *what, size_t size)
{
    while (size > 0) {
        ssize_t done = send(to, what, size, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        what += done;
        size -= (size_t)done;
    }
}

static void obey(struct client *client, const char *line, size_t size)
{
    if (size >= 4 && memcmp(line, "PUB ", 4) == 0)
        for (size_t i = 0; i < subscriber_count; i++)
            send_all(subscribers[i], line + 4, size - 4);
    else if (subscriber_count < MOST)
        subscribers[subscriber_count++] = client->fd;
    send_all(client->fd, "+OK\n", 4);
}

static int take(struct client *client)
{
    ssize_t got = recv(client->fd, client->line + client->size, ROOM - client->size, MSG_DONTWAIT);
    if (got <= 0)
        return 0;
    client->size += (size_t)got;
    char *at = client->line, *end = client->line + client->size, *next;
    while ((next = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        obey(client, at, (size_t)(next + 1 - at));
        at = next + 1;
    }
    client->size = (size_t)(end - at);
    memmove(client->line, at, client->size);
    return 1;
}

static void forget(struct client *client)
{
    for (size_t i = 0; i < subscriber_count; i++)
        if (subscribers[i] == client->fd)
            subscribers[i] = subscribers[--subscriber_count];
    close(client->fd);
    free(client->line);
    free(client);
}

static void greet(int poller, int fd)
{
    int on = 1;
    struct client *client = calloc(1, sizeof *client);
    client->fd = fd;
    client->line = malloc(ROOM);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

int main(int count_of_words, char **words)
{
    struct rlimit files;
    struct sockaddr_in address = {.sin_family = AF_INET};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)(count_of_words > 1 ? atoi(words[1]) : 0));
    int listener = socket(AF_INET, SOCK_STREAM, 0), poller = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        perror("limit: can not listen");
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client == NULL)
                greet(poller, accept(listener, NULL, NULL));
            else if (!take(client))
                forget(client);
        }
    }
}
