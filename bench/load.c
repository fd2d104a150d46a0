/* The load client: opens subscribers, publishes, and checks and times every delivery, in one process with one clock.
 *
 * It implements no protocol. The driver (bench/load_client.py) sets the bytes to send and the bytes to wait for with `set`,
 * and then sends one command per line on standard input. The reply is one line of JSON on standard output:
 *
 *   open N           open N more subscribers
 *   close            close all subscribers
 *   publishers N     use N connections for publishing
 *   probe, no probe  open or close a connection whose response times are measured during a run
 *   run N B R S      publish B messages to each channel, N times: R times per second or, if R is 0, whenever the
 *                    previous ones have arrived everywhere; stop after S seconds
 *   pump N W A S     publish N times, to one channel after the other, with at most W requests per connection that wait
 *                    for their A replies; stop after S seconds
 *
 * It exits at the end of its standard input, so that it does not outlive the driver.
 */

#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "peers.h"

enum { BATCH = 64, AT_ONCE = 64, PROBES = 1 << 16 };
#define SECOND 1000000000ull
#define QUIET (5 * SECOND) /* after this time without deliveries the rest is lost */

/* Set by the driver. */
static struct greeting subscribing, publishing, probing;
static struct bytes ping, pong, publish, answer, ask, asked_answer;
static long port, publish_port, probe_port, channels = 1, size = 100, stalled, patience = 60;

static int ticker;
static struct peers subscribers, publishers;
static struct peer *probe, commands = {.kind = COMMANDS}, ticking = {.kind = CLOCK};
static struct bytes lines;
static bool no_more_commands;

/* The current run. */
static struct tally tally;
static uint32_t next_sequence = 1;
static uint64_t sent, answers, sweeps_left, due, period;
static long burst;

/* The probe: the time of its pending request, of its next one, and the response times so far. */
enum { PROBE_GAP = 2000000 };
static uint64_t probed_at, probe_next, probe_count;
static uint32_t probe_micros[PROBES];

/* Receiving. */

/* Return the number of occurrences of a text. */
static unsigned count(struct peer *peer, const struct bytes *text, const char *at, const char *end)
{
    unsigned found = 0;
    const char *hit;
    if (text->size == 0)
        return 0;
    while ((hit = memmem(at, (size_t)(end - at), text->at, text->size)) != NULL) {
        found++;
        at = hit + text->size;
    }
    keep_for(peer, text, at, end);
    return found;
}

static void find_marks(struct peer *peer, const char *at, const char *end, uint64_t now)
{
    const char *from = at;
    while ((at = memchr(at, '~', (size_t)(end - at))) != NULL && end - at >= MARK) {
        tally_mark(&tally, &peer->received, peer->channel, at, now);
        at += MARK;
    }
    if (at != NULL)
        keep(peer, at, end);
    if (ping.size && memmem(from, (size_t)(end - from), ping.at, ping.size) != NULL) {
        bytes_add(&peer->out, pong.at, pong.size);
        peer_flush(peer);
    }
}

static void probe_answered(uint64_t now)
{
    probe_micros[probe_count++ % PROBES] = (uint32_t)((now - probed_at) / 1000);
    probed_at = 0;
    probe_next = now + PROBE_GAP;
}

static void peer_receive(struct peer *peer, const char *at, const char *end, uint64_t now)
{
    if (peer->kind == SUBSCRIBER)
        find_marks(peer, at, end, now);
    else if (peer->kind == PUBLISHER) {
        unsigned found = count(peer, &answer, at, end);
        peer->answers += found;
        answers += found;
    } else if (count(peer, &asked_answer, at, end) && probed_at)
        probe_answered(now);
}

/* Publishing. */

static void add_message(struct peer *by, unsigned channel, uint32_t sequence, uint64_t when)
{
    static struct bytes payload;
    if (payload.size != (size_t)size) {
        payload.size = 0;
        for (long i = 0; i < size; i++)
            bytes_add(&payload, "x", 1);
    }
    put_mark(payload.at, channel, sequence, when);
    fill(&by->out, &publish, channel, 0, payload.at, payload.size);
}

static void sweep(uint64_t when)
{
    struct peer *by = publishers.at[0];
    for (long i = 0; i < burst; i++, next_sequence++)
        for (long channel = 0; channel < channels; channel++, sent++)
            add_message(by, (unsigned)channel, next_sequence, when);
    peer_flush(by);
    sweeps_left--;
}

static void tick(void)
{
    uint64_t times;
    if (read(ticker, &times, sizeof times) != sizeof times)
        return;
    /* Latency starts when a message is due: a late load client must not make a server look fast. */
    for (; times && sweeps_left; times--, due += period)
        sweep(due);
}

static void start_ticking(uint64_t first)
{
    struct itimerspec times = {
        .it_value = {(time_t)(first / SECOND), (long)(first % SECOND)},
        .it_interval = {(time_t)(period / SECOND), (long)(period % SECOND)},
    };
    if (timerfd_settime(ticker, TFD_TIMER_ABSTIME, &times, NULL) < 0)
        fail("timerfd_settime");
}

/* The loop. */

static void read_commands(void)
{
    char block[1 << 16];
    ssize_t got = read(0, block, sizeof block);
    if (got <= 0)
        no_more_commands = true;
    else
        bytes_add(&lines, block, (size_t)got);
}

static void ask_probe(void)
{
    uint64_t now = nanos();
    if (!probed_at && now >= probe_next) {
        probed_at = now;
        bytes_add(&probe->out, ask.at, ask.size);
        peer_flush(probe);
    } else if (probed_at)
        peer_read(probe); /* in each iteration, so that it does not wait behind events of other connections */
}

static void turn(int timeout)
{
    struct epoll_event events[BATCH];
    bool asks = probe != NULL && probe->state == READY && tally.count;
    int count = epoll_wait(poller, events, BATCH, asks ? 1 : timeout);
    for (int i = 0; i < count; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer->kind == COMMANDS)
            read_commands();
        else if (peer->kind == CLOCK)
            tick();
        else if (peer->state != CLOSED)
            peer_event(peer, events[i].events);
    }
    if (no_more_commands)
        exit(0);
    if (asks)
        ask_probe();
}

/* Commands. */

static double seconds_since(uint64_t start)
{
    return (double)(nanos() - start) / (double)SECOND;
}

static double own_cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void wait_for_opening(uint64_t most, uint64_t deadline)
{
    while (opening > most && nanos() < deadline)
        turn(50);
}

static void open_peers(struct peers *peers, enum kind kind, const struct greeting *greeting, long to, long more)
{
    uint64_t start = nanos(), deadline = start + (uint64_t)patience * SECOND;
    unsigned before = peers_ready(peers);
    for (long i = 0; i < more && nanos() < deadline; i++) {
        wait_for_opening(AT_ONCE - 1, deadline);
        struct peer *peer = peer_open(kind, greeting, to, (unsigned)peers->count);
        peer->channel = peer->number % (unsigned)channels;
        if (kind == SUBSCRIBER && stalled)
            peer_stall(peer);
        peers_add(peers, peer);
    }
    wait_for_opening(0, deadline);
    printf("{\"ready\":%u,\"asked\":%ld,\"seconds\":%.6f}\n", peers_ready(peers) - before, more, seconds_since(start));
}

static void close_probe(void)
{
    if (probe != NULL)
        peer_forget(probe);
    probe = NULL;
    probed_at = 0;
}

static void open_probe(void)
{
    uint64_t deadline = nanos() + (uint64_t)patience * SECOND;
    close_probe();
    probe = peer_open(PROBE, &probing, probe_port, 0);
    wait_for_opening(0, deadline);
    printf("{\"ready\":%d}\n", probe->state == READY);
}

/* Return the number of deliveries of one message on each channel. */
static uint64_t active_subscribers(void)
{
    uint64_t found = 0;
    for (size_t i = 0; i < subscribers.count; i++)
        found += subscribers.at[i]->state == READY && !subscribers.at[i]->stalled;
    return found;
}

static void finish_run(uint64_t start, double cpu)
{
    double seconds = seconds_since(start);
    cpu = own_cpu() - cpu;
    if (probed_at)
        probe_answered(nanos()); /* no reply yet: this is a lower bound */
    printf("{\"messages\":%llu,\"answers\":%llu,\"closed\":%llu,\"seconds\":%.6f,\"load_cpu\":%.6f,",
           (unsigned long long)sent, (unsigned long long)answers, (unsigned long long)lost_peers, seconds, cpu);
    put_times("probe", probe_micros, probe_count < PROBES ? probe_count : PROBES);
    printf(",");
    put_tally(&tally);
    printf("}\n");
    tally.count = 0;
}

static void start_run(long sweeps, long messages, double rate)
{
    tally_start(&tally, next_sequence, (uint32_t)(sweeps * messages), active_subscribers() * (uint64_t)(sweeps * messages));
    for (size_t i = 0; i < subscribers.count; i++)
        received_start(&subscribers.at[i]->received, &tally);
    sent = answers = lost_peers = probe_count = probed_at = probe_next = 0;
    burst = messages;
    sweeps_left = (uint64_t)sweeps;
    if (rate > 0) {
        period = (uint64_t)((double)SECOND / rate);
        due = nanos() + period;
        start_ticking(due);
    }
}

/* Return whether nothing was sent or received for a while; `seen` and `since` are the last count and its time. */
static bool is_quiet(uint64_t *seen, uint64_t *since)
{
    uint64_t now = nanos(), there_is = sent + answers + tally.delivered;
    if (*seen != there_is) {
        *seen = there_is;
        *since = now;
    }
    return now - *since > QUIET;
}

static void run(long sweeps, long messages, double rate, double most)
{
    uint64_t each = active_subscribers() * (uint64_t)messages;
    uint64_t each_answers = (uint64_t)(messages * channels) * (answer.size > 0);
    start_run(sweeps, messages, rate);
    uint64_t start = nanos(), deadline = start + (uint64_t)(most * (double)SECOND), seen = 0, since = start;
    double cpu = own_cpu();
    while (nanos() < deadline && !is_quiet(&seen, &since) && publishers.at[0]->state == READY) {
        uint64_t done = (uint64_t)sweeps - sweeps_left;
        bool arrived = tally.delivered >= each * done && answers >= each_answers * done;
        if (arrived && !sweeps_left)
            break;
        if (arrived && rate == 0)
            sweep(nanos());
        turn(100);
    }
    period = 0;
    start_ticking(0);
    tally.expected = each * ((uint64_t)sweeps - sweeps_left);
    sweeps_left = 0;
    finish_run(start, cpu);
}

static void pump(long times, long window, long each, double most)
{
    uint64_t start = nanos(), deadline = start + (uint64_t)(most * (double)SECOND), wanted = (uint64_t)(times * each);
    double cpu = own_cpu();
    sent = answers = lost_peers = probe_count = 0;
    tally_start(&tally, next_sequence, 0, 0);
    for (size_t i = 0; i < publishers.count; i++)
        publishers.at[i]->answers = publishers.at[i]->asked = 0;
    while (answers < wanted && !lost_peers && nanos() < deadline) {
        for (size_t i = 0; i < publishers.count; i++) {
            struct peer *by = publishers.at[i];
            uint64_t waiting = by->asked - by->answers / (uint64_t)each;
            if (waiting > (uint64_t)window / 2 || sent == (uint64_t)times)
                continue; /* half a window at a time, like a publisher that does not wait */
            for (; waiting < (uint64_t)window && sent < (uint64_t)times; waiting++, sent++, by->asked++)
                add_message(by, (unsigned)(sent % (uint64_t)channels), next_sequence++, 0);
            peer_flush(by);
        }
        turn(100);
    }
    finish_run(start, cpu);
}

static const struct {
    const char *name;
    struct bytes *text;
    long *number;
} settings[] = {
    {"hello", &subscribing.says, NULL},
    {"ready", &subscribing.waits_for, NULL},
    {"ping", &ping, NULL},
    {"pong", &pong, NULL},
    {"publish", &publish, NULL},
    {"answer", &answer, NULL},
    {"publish_hello", &publishing.says, NULL},
    {"publish_ready", &publishing.waits_for, NULL},
    {"probe_hello", &probing.says, NULL},
    {"probe_ready", &probing.waits_for, NULL},
    {"probe_ask", &ask, NULL},
    {"probe_answer", &asked_answer, NULL},
    {"port", NULL, &port},
    {"publish_port", NULL, &publish_port},
    {"probe_port", NULL, &probe_port},
    {"channels", NULL, &channels},
    {"size", NULL, &size},
    {"stalled", NULL, &stalled},
    {"patience", NULL, &patience},
};

static void set(const char *text)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        size_t length = strlen(settings[i].name);
        if (strncmp(text, settings[i].name, length) || text[length] != ' ')
            continue;
        if (settings[i].number != NULL)
            *settings[i].number = atol(text + length + 1);
        else
            unescape(settings[i].text, text + length + 1);
        return;
    }
    fprintf(stderr, "load: no setting for: %.60s\n", text);
    exit(1);
}

static void obey(const char *line)
{
    long a = 0, b = 0, c = 0;
    double rate = 0, most = 0;
    if (strncmp(line, "set ", 4) == 0) {
        set(line + 4);
        return;
    }
    if (sscanf(line, "open %ld", &a) == 1)
        open_peers(&subscribers, SUBSCRIBER, &subscribing, port, a);
    else if (strcmp(line, "close") == 0) {
        peers_clear(&subscribers);
        printf("{}\n");
    } else if (sscanf(line, "publishers %ld", &a) == 1) {
        peers_clear(&publishers);
        open_peers(&publishers, PUBLISHER, &publishing, publish_port, a);
    } else if (strcmp(line, "probe") == 0)
        open_probe();
    else if (strcmp(line, "no probe") == 0) {
        close_probe();
        printf("{}\n");
    } else if (sscanf(line, "run %ld %ld %lf %lf", &a, &b, &rate, &most) == 4)
        run(a, b, rate, most);
    else if (sscanf(line, "pump %ld %ld %ld %lf", &a, &b, &c, &most) == 4)
        pump(a, b, c, most);
    else {
        fprintf(stderr, "load: no such command: %.60s\n", line);
        exit(1);
    }
    fflush(stdout);
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(EPOLL_CLOEXEC);
    ticking.fd = ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller < 0 || ticker < 0)
        fail("epoll_create1 or timerfd_create");
    watch(&commands, EPOLL_CTL_ADD, EPOLLIN);
    watch(&ticking, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        char *end = lines.size ? memchr(lines.at, '\n', lines.size) : NULL;
        if (end == NULL) {
            turn(-1);
            continue;
        }
        struct bytes line = {0};
        bytes_add(&line, lines.at, (size_t)(end - lines.at));
        bytes_add(&line, "", 1);
        bytes_drop(&lines, line.size);
        obey(line.at);
        free(line.at);
    }
}
