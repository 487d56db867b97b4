/* CBOR as a tree of values, for workers that do not know what they will be sent. For C11.
 *
 * Everything that CBOR has goes through it: integers from -2^64 to 2^64 - 1, tags (and so integers beyond that, which are
 * tagged bytes), simple values, strings in pieces, which are joined. */
#ifndef GRID_VALUE_H
#define GRID_VALUE_H

#include "grid_reader.h"
#include "grid_writer.h"

/* A value, and all that is in it. `kind` says which member of `as` it is. */
typedef struct grid_value {
    grid_kind kind;
    union {
        uint64_t number; /* GRID_UINT; GRID_NEGATIVE, which is -1 - number; GRID_SIMPLE */
        double real;     /* GRID_FLOAT */
        bool truth;      /* GRID_BOOL */
        struct {
            uint8_t *data;
            size_t length;
        } string; /* GRID_TEXT and GRID_BYTES; a zero follows the last byte */
        struct {
            struct grid_value *items;
            size_t count;
        } list; /* GRID_ARRAY; GRID_MAP, where each key is followed by its value, and `count` counts both */
        struct {
            uint64_t number;
            struct grid_value *item;
        } tag; /* GRID_TAG */
    } as;
} grid_value;

/* Frees what is in a value. It is GRID_NONE then. */
static inline void grid_value_free(grid_value *value) {
    if (value->kind == GRID_TEXT || value->kind == GRID_BYTES) free(value->as.string.data);
    if (value->kind == GRID_TAG) {
        if (value->as.tag.item) grid_value_free(value->as.tag.item);
        free(value->as.tag.item);
    }
    if (value->kind == GRID_ARRAY || value->kind == GRID_MAP) {
        for (size_t i = 0; i < value->as.list.count; i++) grid_value_free(&value->as.list.items[i]);
        free(value->as.list.items);
    }
    value->kind = GRID_NONE;
}

static inline void grid_raw_value_string(grid_reader *in, grid_value *value, const grid_head *head) {
    const uint8_t *first = in->at;
    bool whole = head->info != 31;
    grid_bytes piece = {NULL, 0};
    size_t total = 0;
    value->kind = head->major == 3 ? GRID_TEXT : GRID_BYTES;
    value->as.string.data = NULL;
    value->as.string.length = 0;
    if (whole) grid_raw_string(in, head, &piece);
    else
        while (grid_raw_piece(in, head->major, &piece)) total += piece.length;
    if (in->error) return;
    total += whole ? piece.length : 0;
    uint8_t *data = (uint8_t *)malloc(total + 1);
    if (!data) {
        grid_mistake(in, "no memory for a string");
        return;
    }
    value->as.string.data = data;
    value->as.string.length = total;
    data[total] = 0;
    if (whole) {
        memcpy(data, piece.data, total);
        return;
    }
    /* The pieces were looked at and counted; now they are copied, once each. */
    for (in->at = first; grid_raw_piece(in, head->major, &piece); data += piece.length)
        memcpy(data, piece.data, piece.length);
}

static inline void grid_raw_value(grid_reader *in, grid_value *value, unsigned depth);

static inline void grid_raw_value_list(grid_reader *in, grid_value *value, const grid_head *head, unsigned depth) {
    size_t capacity = 0;
    value->kind = head->major == 4 ? GRID_ARRAY : GRID_MAP;
    value->as.list.items = NULL;
    value->as.list.count = 0;
    if (!grid_raw_enter(in, head)) return;
    /* A value is many times as large as the shortest item: room grows with what was read, not with what was said. */
    while (grid_more(in)) {
        if (value->as.list.count == capacity) {
            capacity = capacity ? capacity * 2 : 4;
            size_t size = capacity > SIZE_MAX / sizeof(grid_value) ? SIZE_MAX : capacity * sizeof(grid_value);
            grid_value *items = (grid_value *)realloc(value->as.list.items, size);
            if (!items) {
                grid_mistake(in, "no memory for a list");
                return;
            }
            value->as.list.items = items;
        }
        grid_raw_value(in, &value->as.list.items[value->as.list.count++], depth + 1);
    }
    grid_leave(in);
}

static inline void grid_raw_value(grid_reader *in, grid_value *value, unsigned depth) {
    grid_head head;
    value->kind = GRID_NONE;
    if (depth > GRID_NESTING_MAX) grid_mistake(in, "CBOR is nested too deep");
    if (!grid_raw_item(in, &head)) return;
    value->as.number = head.value;
    if (head.major < 2) value->kind = head.major == 0 ? GRID_UINT : GRID_NEGATIVE;
    else if (head.major < 4) grid_raw_value_string(in, value, &head);
    else if (head.major < 6) grid_raw_value_list(in, value, &head, depth);
    else if (head.major == 6) {
        value->kind = GRID_TAG;
        value->as.tag.number = head.value;
        value->as.tag.item = (grid_value *)malloc(sizeof(grid_value));
        if (value->as.tag.item) grid_raw_value(in, value->as.tag.item, depth + 1);
        else grid_mistake(in, "no memory for a tag");
    } else if (head.info >= 25) {
        value->kind = GRID_FLOAT;
        value->as.real = grid_raw_float(&head);
    } else if (head.value == 20 || head.value == 21) {
        value->kind = GRID_BOOL;
        value->as.truth = head.value == 21;
    } else value->kind = head.value == 22 ? GRID_NULL : GRID_SIMPLE;
}

/* Reads the next item as a value, which the caller frees. On a mistake it is GRID_NONE, and the reader says why. */
static inline grid_value grid_get_value(grid_reader *in) {
    grid_value value;
    grid_raw_value(in, &value, in->depth);
    if (in->error) grid_value_free(&value);
    return value;
}

/* Writes a value. */
static inline void grid_put_value(grid_writer *out, const grid_value *value) {
    const char *text = NULL;
    switch (value->kind) {
    case GRID_UINT: grid_put_uint(out, value->as.number); break;
    case GRID_NEGATIVE: grid_raw_put_head(out, 1, value->as.number); break;
    case GRID_SIMPLE: grid_raw_put_head(out, 7, value->as.number); break;
    case GRID_BOOL: grid_put_bool(out, value->as.truth); break;
    case GRID_FLOAT: grid_put_double(out, value->as.real); break;
    case GRID_BYTES: grid_put_bytes(out, value->as.string.data, value->as.string.length); break;
    case GRID_TEXT:
        text = (const char *)value->as.string.data;
        grid_put_text_n(out, text, value->as.string.length);
        break;
    case GRID_TAG:
        grid_put_tag(out, value->as.tag.number);
        grid_put_value(out, value->as.tag.item);
        break;
    case GRID_ARRAY:
    case GRID_MAP:
        if (value->kind == GRID_MAP) grid_put_map(out, value->as.list.count / 2);
        else grid_put_array(out, value->as.list.count);
        for (size_t i = 0; i < value->as.list.count; i++) grid_put_value(out, &value->as.list.items[i]);
        break;
    case GRID_NONE:
    case GRID_NULL: grid_put_null(out); break;
    }
}

#endif
