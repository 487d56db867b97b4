/* CBOR (RFC 8949), read an item at a time. For C11 and C++17; needs nothing of the grid's.
 *
 * A reader pulls items in their order. It remembers the first mistake, and gives zeros from there on, so that a worker
 * asks once, at the end:
 *
 *     grid_reader in = grid_reader_new(message);
 *     grid_enter_array(&in);
 *     uint64_t from = grid_get_uint(&in);
 *     uint64_t to = grid_get_uint(&in);
 *     grid_leave(&in);
 *     if (!grid_done(&in)) grid_fail(in.error);
 *
 * Whatever the message says of itself is checked against what is left of it. Reading allocates nothing. */
#ifndef GRID_READER_H
#define GRID_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that somebody else owns. */
typedef struct grid_bytes {
    const uint8_t *data;
    size_t length;
} grid_bytes;

/* What an item is. */
typedef enum grid_kind {
    GRID_NONE, /* there is no item: the list, the map or the message has ended, or there was a mistake */
    GRID_UINT,
    GRID_NEGATIVE,
    GRID_BYTES,
    GRID_TEXT,
    GRID_ARRAY,
    GRID_MAP,
    GRID_TAG,
    GRID_BOOL,
    GRID_NULL,
    GRID_SIMPLE, /* `undefined`, which is 23, and the simple values that have no name */
    GRID_FLOAT
} grid_kind;

/* Lists and maps in each other, at the most. A byte can open one, and the stack of a worker is small. */
#define GRID_NESTING_MAX 64

/* A list or map that is being read; for readers only. */
typedef struct grid_level {
    size_t left; /* items to come, a key and its value being two; of no meaning if `open` */
    bool open;   /* a break ends it, not a count */
    bool map;
    bool half; /* an open map has had a key, and not its value */
} grid_level;

/* Reads a message. */
typedef struct grid_reader {
    const char *error; /* the first mistake; NULL while there is none */
    const uint8_t *at;
    const uint8_t *end;
    unsigned depth;
    bool tagged; /* a tag was read, and not what it tags */
    grid_level levels[GRID_NESTING_MAX + 1];
} grid_reader;

/* The first bytes of an item; for readers only. `info` is 31 for what a break ends. */
typedef struct grid_head {
    unsigned major;
    unsigned info;
    uint64_t value;
} grid_head;

/* A reader of a message with one item. The message must live as long as the reader, and what it gives. */
static inline grid_reader grid_reader_new(grid_bytes message) {
    grid_reader in;
    memset(&in, 0, sizeof in);
    in.at = message.data;
    in.end = message.data + message.length;
    in.levels[0].left = 1;
    return in;
}

/* Notes a mistake, unless there was one before; false. */
static inline bool grid_mistake(grid_reader *in, const char *error) {
    if (!in->error) in->error = error;
    return false;
}

static inline size_t grid_raw_left(const grid_reader *in) {
    return (size_t)(in->end - in->at);
}

static inline bool grid_raw_at_break(const grid_reader *in) {
    return in->at < in->end && *in->at == 0xff;
}

static inline bool grid_raw_head(grid_reader *in, grid_head *head) {
    if (in->at == in->end) return grid_mistake(in, "CBOR ends too early");
    unsigned first = *in->at++;
    head->major = first >> 5;
    head->info = first & 31;
    head->value = head->info;
    if (head->info < 24) return true;
    if (head->info == 31) {
        if (head->major == 7) return grid_mistake(in, "CBOR has fewer items than expected");
        return (head->major >= 2 && head->major <= 5) || grid_mistake(in, "CBOR has a number without an end");
    }
    if (head->info > 27) return grid_mistake(in, "CBOR has an item of no known form");
    size_t size = (size_t)1 << (head->info - 24);
    if (grid_raw_left(in) < size) return grid_mistake(in, "CBOR ends too early");
    for (head->value = 0; size > 0; size--) head->value = head->value << 8 | *in->at++;
    if (head->major == 7 && head->info == 24 && head->value < 32)
        return grid_mistake(in, "CBOR has a simple value in two bytes that has one");
    return true;
}

/* The head of the next item of the list or map at hand. A tag is no item: what it tags is still to come. */
static inline bool grid_raw_item(grid_reader *in, grid_head *head) {
    if (in->error) return false;
    grid_level *level = &in->levels[in->depth];
    if (!level->open && level->left == 0) return grid_mistake(in, "CBOR has fewer items than expected");
    if (!grid_raw_head(in, head)) return false;
    in->tagged = head->major == 6;
    if (in->tagged) return true;
    if (!level->open) level->left--;
    else if (level->map) level->half = !level->half;
    return true;
}

static inline bool grid_raw_utf8(const uint8_t *at, size_t left) {
    while (left > 0) {
        size_t size = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
        if (size == 0 || size > left) return false;
        for (size_t i = 1; i < size; i++)
            if ((at[i] & 0xc0) != 0x80) return false;
        /* What has a shorter form, surrogates, and what is above U+10FFFF. */
        if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f)) return false;
        if ((*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f)) return false;
        at += size;
        left -= size;
    }
    return true;
}

/* The bytes of a text or byte string that has one piece. */
static inline bool grid_raw_string(grid_reader *in, const grid_head *head, grid_bytes *string) {
    if (head->value > grid_raw_left(in)) return grid_mistake(in, "CBOR is shorter than it says");
    string->data = in->at;
    string->length = (size_t)head->value;
    in->at += string->length;
    return head->major != 3 || grid_raw_utf8(string->data, string->length) ||
           grid_mistake(in, "CBOR has text that is not UTF-8");
}

/* The next piece of a string that comes in pieces; false after the last, and on a mistake. */
static inline bool grid_raw_piece(grid_reader *in, unsigned major, grid_bytes *piece) {
    grid_head head;
    if (grid_raw_at_break(in)) {
        in->at++;
        return false;
    }
    if (!grid_raw_head(in, &head)) return false;
    if (head.major != major || head.info == 31) return grid_mistake(in, "CBOR has a piece of no known form");
    return grid_raw_string(in, &head, piece);
}

/* Goes into the list or map that the head begins. */
static inline bool grid_raw_enter(grid_reader *in, const grid_head *head) {
    size_t each = head->major == 5 ? 2 : 1;
    bool open = head->info == 31;
    if (in->depth == GRID_NESTING_MAX) return grid_mistake(in, "CBOR is nested too deep");
    /* An item is a byte or more. */
    if (!open && head->value > grid_raw_left(in) / each) return grid_mistake(in, "CBOR is shorter than it says");
    grid_level *level = &in->levels[++in->depth];
    level->left = open ? 0 : (size_t)head->value * each;
    level->open = open;
    level->map = each == 2;
    level->half = false;
    return true;
}

static inline double grid_raw_float(const grid_head *head) {
    double number;
    uint64_t bits = head->value;
    if (head->info == 26) {
        uint32_t narrow = (uint32_t)bits;
        float single;
        memcpy(&single, &narrow, sizeof single);
        return single;
    }
    if (head->info == 25) {
        uint64_t sign = bits >> 15, exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent == 0) return (double)fraction / (sign ? -16777216.0 : 16777216.0);
        exponent = exponent == 31 ? 2047 : exponent + 1023 - 15;
        bits = sign << 63 | exponent << 52 | fraction << 42;
    }
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Whether the list or map at hand has another item. */
static inline bool grid_more(const grid_reader *in) {
    const grid_level *level = &in->levels[in->depth];
    if (in->error) return false;
    return level->open ? in->at < in->end && *in->at != 0xff : level->left > 0;
}

/* What the next item is; nothing is read. */
static inline grid_kind grid_peek(const grid_reader *in) {
    static const grid_kind kinds[] = {GRID_UINT,  GRID_NEGATIVE, GRID_BYTES, GRID_TEXT,
                                      GRID_ARRAY, GRID_MAP,      GRID_TAG};
    if (!grid_more(in) || in->at == in->end) return GRID_NONE;
    unsigned info = *in->at & 31;
    if (*in->at >> 5 < 7) return kinds[*in->at >> 5];
    if (info == 20 || info == 21) return GRID_BOOL;
    if (info == 22) return GRID_NULL;
    return info >= 25 && info <= 27 ? GRID_FLOAT : info < 25 ? GRID_SIMPLE : GRID_NONE;
}

/* Reads an integer from 0 to 2^64 - 1. */
static inline uint64_t grid_get_uint(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return 0;
    if (head.major == 0) return head.value;
    return (uint64_t)grid_mistake(in, "expected an integer of 0 or more");
}

/* Reads an integer from -2^63 to 2^63 - 1. */
static inline int64_t grid_get_int(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return 0;
    if (head.major > 1) return (int64_t)grid_mistake(in, "expected an integer");
    if (head.value > INT64_MAX) return (int64_t)grid_mistake(in, "expected an integer of 64 bits with a sign");
    return head.major == 0 ? (int64_t)head.value : -1 - (int64_t)head.value;
}

/* Reads a number: a float of any size, or an integer, which may be rounded. */
static inline double grid_get_double(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return 0;
    if (head.major == 0) return (double)head.value;
    if (head.major == 1) return -1 - (double)head.value;
    if (head.major == 7 && head.info >= 25) return grid_raw_float(&head);
    return (double)grid_mistake(in, "expected a number");
}

/* Reads true or false. */
static inline bool grid_get_bool(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return false;
    if (head.major == 7 && (head.info == 20 || head.info == 21)) return head.info == 21;
    return grid_mistake(in, "expected true or false");
}

/* Reads null. */
static inline void grid_get_null(grid_reader *in) {
    grid_head head;
    if (grid_raw_item(in, &head) && (head.major != 7 || head.info != 22)) grid_mistake(in, "expected null");
}

/* Reads a tag. What it tags comes next. */
static inline uint64_t grid_get_tag(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return 0;
    return head.major == 6 ? head.value : (uint64_t)grid_mistake(in, "expected a tag");
}

static inline grid_bytes grid_raw_get_string(grid_reader *in, unsigned major, const char *expected) {
    grid_head head;
    grid_bytes none = {NULL, 0}, string;
    if (!grid_raw_item(in, &head)) return none;
    if (head.major != major) grid_mistake(in, expected);
    else if (head.info == 31) grid_mistake(in, "expected a string in one piece");
    else if (grid_raw_string(in, &head, &string)) return string;
    return none;
}

/* Reads text, which is UTF-8 and has no zero at its end. It is part of the message. Text that comes in pieces, which
 * hardly anything writes, is a mistake here; grid_value.h joins it. */
static inline grid_bytes grid_get_text(grid_reader *in) {
    return grid_raw_get_string(in, 3, "expected text");
}

/* Reads bytes; all else as for text. */
static inline grid_bytes grid_get_bytes(grid_reader *in) {
    return grid_raw_get_string(in, 2, "expected bytes");
}

/* Goes into a list. Its items come next, while there are more; then leave it. */
static inline void grid_enter_array(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return;
    if (head.major == 4) grid_raw_enter(in, &head);
    else grid_mistake(in, "expected a list");
}

/* Goes into a map. Keys and values come next, in turns, while there are more; then leave it. */
static inline void grid_enter_map(grid_reader *in) {
    grid_head head;
    if (!grid_raw_item(in, &head)) return;
    if (head.major == 5) grid_raw_enter(in, &head);
    else grid_mistake(in, "expected a map");
}

/* Leaves a list or map, of which everything must have been read. */
static inline void grid_leave(grid_reader *in) {
    const grid_level *level = &in->levels[in->depth];
    if (in->error) return;
    if (in->depth == 0) grid_mistake(in, "left more lists than were entered");
    else if (level->open && in->at == in->end) grid_mistake(in, "CBOR ends too early");
    else if (grid_more(in)) grid_mistake(in, "CBOR has more items than expected");
    else if (in->tagged) grid_mistake(in, "CBOR has a tag without a value");
    else if (level->half) grid_mistake(in, "CBOR has a key without a value");
    else {
        if (level->open) in->at++;
        in->depth--;
    }
}

/* Reads an item of any kind, with all that is in it, and drops it. */
static inline void grid_skip(grid_reader *in) {
    unsigned floor = in->depth;
    grid_head head;
    grid_bytes string;
    do {
        if (in->depth > floor && !grid_more(in)) {
            grid_leave(in);
            continue;
        }
        if (!grid_raw_item(in, &head)) return;
        if (head.major == 4 || head.major == 5) grid_raw_enter(in, &head);
        else if (head.major != 2 && head.major != 3) continue;
        else if (head.info != 31) grid_raw_string(in, &head, &string);
        else
            while (grid_raw_piece(in, head.major, &string)) {}
    } while (!in->error && (in->depth > floor || in->tagged));
}

/* Whether the message was read to its end without a mistake. If not, `error` says why. */
static inline bool grid_done(grid_reader *in) {
    if (in->error) return false;
    if (in->depth > 0 || in->levels[0].left > 0) return grid_mistake(in, "CBOR has more items than expected");
    return in->at == in->end || grid_mistake(in, "CBOR has bytes after its end");
}

#ifdef __cplusplus
}
#endif

#endif
