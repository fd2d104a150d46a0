/* Bytes as text: the escapes that the driver uses, and templates with placeholders. */

#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *at;
    size_t size, room;
};

static void bytes_add(struct bytes *to, const void *from, size_t size)
{
    if (to->size + size > to->room) {
        to->room = 2 * (to->size + size);
        to->at = realloc(to->at, to->room);
        if (to->at == NULL) {
            fprintf(stderr, "out of memory\n");
            exit(1);
        }
    }
    memcpy(to->at + to->size, from, size);
    to->size += size;
}

/* Remove the first bytes, which have been processed. */
static void bytes_drop(struct bytes *of, size_t size)
{
    memmove(of->at, of->at + size, of->size - size);
    of->size -= size;
}

/* Write a number with this many hexadecimal or decimal digits. */
static void put_number(char *at, int digits, int base, uint64_t number)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = "0123456789abcdef"[number % base];
        number /= base;
    }
}

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static uint64_t take_hex(const char *at, int digits)
{
    uint64_t number = 0;
    for (int i = 0; i < digits; i++)
        number = number << 4 | (hex_digit(at[i]) & 15);
    return number;
}

/* Decode a text of the driver: \n, \r, \\ and \xNN are escapes. */
static void unescape(struct bytes *to, const char *text)
{
    to->size = 0;
    for (; *text; text++) {
        char c = *text;
        if (c == '\\' && text[1] == 'x' && text[2] && text[3]) {
            c = (char)take_hex(text + 2, 2);
            text += 3;
        } else if (c == '\\' && text[1]) {
            text++;
            c = *text == 'n' ? '\n' : *text == 'r' ? '\r' : *text;
        }
        bytes_add(to, &c, 1);
    }
}

/* A pattern of fourteen segments, each a letter or `*`, another one for each number below 2^14: a message on the
 * channel of the letters alone reaches them all. */
static void put_pattern(struct bytes *to, unsigned number)
{
    for (int i = 0; i < 14; i++) {
        char segment[2] = {number >> i & 1 ? '*' : (char)('a' + i), '/'};
        bytes_add(to, segment, i < 13 ? 2 : 1);
    }
}

/* Fill a template: %c the number of the channel in five digits, %b a pattern, %p the payload, %% a per cent sign. */
static void fill(struct bytes *to, const struct bytes *with, unsigned channel, unsigned number, const char *payload,
                 size_t size)
{
    char digits[5];
    const char *at = with->at, *end = at + with->size;
    while (at < end) {
        const char *next = memchr(at, '%', (size_t)(end - at));
        if (next == NULL || next + 1 == end)
            next = end;
        bytes_add(to, at, (size_t)(next - at));
        if (next == end)
            return;
        if (next[1] == 'c') {
            put_number(digits, 5, 10, channel);
            bytes_add(to, digits, 5);
        } else if (next[1] == 'b')
            put_pattern(to, number);
        else if (next[1] == 'p')
            bytes_add(to, payload, size);
        else
            bytes_add(to, next + 1, 1);
        at = next + 2;
    }
}

#endif
