/* CBOR (RFC 8949), written an item at a time. For C11 and C++17; needs nothing of the grid's.
 *
 *     grid_writer out = grid_writer_new();
 *     grid_put_map(&out, 2);
 *     grid_put_text(&out, "from");
 *     grid_put_uint(&out, from);
 *     grid_put_text(&out, "to");
 *     grid_put_uint(&out, to);
 *     grid_send_cbor(&out);
 *
 * `grid_send_cbor` (grid.h) frees what the writer holds; otherwise `grid_writer_free` must. */
#ifndef GRID_WRITER_H
#define GRID_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was written so far: `length` bytes at `data`. */
typedef struct grid_writer {
    uint8_t *data;
    size_t length;
    size_t capacity;
    bool failed; /* there was no memory; what was written since is lost */
} grid_writer;

/* A writer that has written nothing. */
static inline grid_writer grid_writer_new(void) {
    grid_writer out;
    memset(&out, 0, sizeof out);
    return out;
}

/* Frees what a writer holds. It is as new. */
static inline void grid_writer_free(grid_writer *out) {
    free(out->data);
    *out = grid_writer_new();
}

/* Appends bytes as they are: an item that was encoded elsewhere. */
static inline void grid_put_raw(grid_writer *out, const void *data, size_t length) {
    if (out->failed || length == 0) return;
    if (length > out->capacity - out->length) {
        size_t wanted = out->length + length;
        size_t capacity = out->capacity > SIZE_MAX / 2 ? SIZE_MAX : out->capacity * 2;
        if (capacity < 64) capacity = 64;
        if (capacity < wanted) capacity = wanted;
        uint8_t *moved = wanted < length ? NULL : (uint8_t *)realloc(out->data, capacity);
        if (!moved) {
            out->failed = true;
            return;
        }
        out->data = moved;
        out->capacity = capacity;
    }
    memcpy(out->data + out->length, data, length);
    out->length += length;
}

/* The head of an item of a major type, in its shortest form. */
static inline void grid_raw_put_head(grid_writer *out, unsigned major, uint64_t value) {
    uint8_t head[9];
    unsigned size = value < 24 ? 0 : value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffffffff ? 4 : 8;
    unsigned info = size == 0 ? (unsigned)value : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27;
    head[0] = (uint8_t)(major << 5 | info);
    for (unsigned i = size; i > 0; i--, value >>= 8) head[i] = (uint8_t)value;
    grid_put_raw(out, head, 1 + size);
}

/* Writes an integer of 0 or more. */
static inline void grid_put_uint(grid_writer *out, uint64_t number) {
    grid_raw_put_head(out, 0, number);
}

/* Writes an integer. */
static inline void grid_put_int(grid_writer *out, int64_t number) {
    if (number < 0) grid_raw_put_head(out, 1, ~(uint64_t)number);
    else grid_raw_put_head(out, 0, (uint64_t)number);
}

/* Writes a float, in 32 bits if they hold it. */
static inline void grid_put_double(grid_writer *out, double number) {
    float single = (float)number;
    uint8_t head[9];
    uint64_t bits = 0x7e00;
    unsigned size = 2;
    if (number == (double)single) {
        uint32_t narrow;
        memcpy(&narrow, &single, sizeof narrow);
        bits = narrow;
        size = 4;
    } else if (number == number) {
        memcpy(&bits, &number, sizeof bits);
        size = 8;
    }
    head[0] = size == 2 ? 0xf9 : size == 4 ? 0xfa : 0xfb;
    for (unsigned i = size; i > 0; i--, bits >>= 8) head[i] = (uint8_t)bits;
    grid_put_raw(out, head, 1 + size);
}

/* Writes true or false. */
static inline void grid_put_bool(grid_writer *out, bool value) {
    grid_raw_put_head(out, 7, value ? 21 : 20);
}

/* Writes null. */
static inline void grid_put_null(grid_writer *out) {
    grid_raw_put_head(out, 7, 22);
}

/* Writes text of a length. It must be UTF-8: whoever reads it may refuse all else. */
static inline void grid_put_text_n(grid_writer *out, const char *text, size_t length) {
    grid_raw_put_head(out, 3, length);
    grid_put_raw(out, text, length);
}

/* Writes text with a zero at its end, which is not written. */
static inline void grid_put_text(grid_writer *out, const char *text) {
    grid_put_text_n(out, text, strlen(text));
}

/* Writes bytes. */
static inline void grid_put_bytes(grid_writer *out, const void *data, size_t length) {
    grid_raw_put_head(out, 2, length);
    grid_put_raw(out, data, length);
}

/* Begins a list; its `count` items must follow. */
static inline void grid_put_array(grid_writer *out, size_t count) {
    grid_raw_put_head(out, 4, count);
}

/* Begins a map; `count` times a key and its value must follow. */
static inline void grid_put_map(grid_writer *out, size_t count) {
    grid_raw_put_head(out, 5, count);
}

/* Writes a tag; the item that it tags must follow. */
static inline void grid_put_tag(grid_writer *out, uint64_t tag) {
    grid_raw_put_head(out, 6, tag);
}

#ifdef __cplusplus
}
#endif

#endif
