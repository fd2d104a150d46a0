/* The checks of deliveries: each message is identified by its mark, and each delivery is checked and timed.
 *
 * A payload begins with a mark: `~`, then in hexadecimal the channel (8 digits), the sequence (8) and the time in
 * nanoseconds at which it was due to be sent (16). Servers send no other `~`, so payloads are found by that byte,
 * whatever the protocol.
 */

#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include "text.h"

#define MARK 33

struct tally {
    uint32_t first, count;            /* the sequences of this run, on every channel */
    uint64_t expected, delivered;     /* deliveries */
    uint64_t duplicated, disordered;  /* received twice; received after a newer one */
    uint64_t misrouted, late;         /* of another channel; of an earlier run */
    uint32_t *micros;                 /* the latency of each delivery */
    size_t room;
};

/* The messages that one subscriber has received in this run. */
struct received {
    uint64_t *seen; /* one bit per sequence */
    uint32_t newest;
};

static void tally_start(struct tally *tally, uint32_t first, uint32_t count, uint64_t expected)
{
    uint32_t *micros = tally->micros;
    size_t room = tally->room;
    if (room < expected) {
        room = expected;
        micros = realloc(micros, room * sizeof *micros);
        if (micros == NULL) {
            fprintf(stderr, "out of memory\n");
            exit(1);
        }
    }
    *tally = (struct tally){.first = first, .count = count, .expected = expected, .micros = micros, .room = room};
}

static void received_start(struct received *received, const struct tally *tally)
{
    free(received->seen);
    received->seen = calloc((tally->count + 63) / 64 + 1, sizeof *received->seen);
    received->newest = 0;
}

static void put_mark(char *at, uint32_t channel, uint32_t sequence, uint64_t nanos)
{
    at[0] = '~';
    put_number(at + 1, 8, 16, channel);
    put_number(at + 9, 8, 16, sequence);
    put_number(at + 17, 16, 16, nanos);
}

static void tally_mark(struct tally *tally, struct received *received, uint32_t channel, const char *mark, uint64_t now)
{
    uint32_t index = (uint32_t)take_hex(mark + 9, 8) - tally->first;
    if (take_hex(mark + 1, 8) != channel) {
        tally->misrouted++;
        return;
    }
    if (index >= tally->count || received->seen == NULL) {
        tally->late++;
        return;
    }
    uint64_t bit = 1ull << index % 64;
    if (received->seen[index / 64] & bit) {
        tally->duplicated++;
        return;
    }
    received->seen[index / 64] |= bit;
    if (index + 1 < received->newest)
        tally->disordered++;
    else
        received->newest = index + 1;
    uint64_t sent = take_hex(mark + 17, 16);
    uint64_t micros = now > sent ? (now - sent) / 1000 : 0;
    if (tally->delivered < tally->expected)
        tally->micros[tally->delivered] = micros > UINT32_MAX ? UINT32_MAX : (uint32_t)micros;
    tally->delivered++;
}

static int by_size(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

/* Write median, 99th percentile and maximum as members of a JSON object. */
static void put_times(const char *name, uint32_t *micros, size_t count)
{
    if (count == 0) {
        printf("\"%s\":null", name);
        return;
    }
    qsort(micros, count, sizeof *micros, by_size);
    printf("\"%s\":{\"count\":%zu,\"p50\":%u,\"p99\":%u,\"max\":%u}", name, count, micros[(count - 1) / 2],
           micros[(size_t)((double)(count - 1) * 0.99)], micros[count - 1]);
}

static void put_tally(struct tally *tally)
{
    size_t timed = tally->delivered < tally->expected ? tally->delivered : tally->expected;
    uint64_t lost = tally->expected > tally->delivered ? tally->expected - tally->delivered : 0;
    printf("\"expected\":%llu,\"delivered\":%llu,\"lost\":%llu,\"duplicated\":%llu,\"disordered\":%llu,"
           "\"misrouted\":%llu,\"late\":%llu,",
           (unsigned long long)tally->expected, (unsigned long long)tally->delivered, (unsigned long long)lost,
           (unsigned long long)tally->duplicated, (unsigned long long)tally->disordered,
           (unsigned long long)tally->misrouted, (unsigned long long)tally->late);
    put_times("latency", tally->micros, timed);
}

#endif
