/* Write a grid worker in C11. (In C++17: grid.hpp.)
 *
 * A worker is a function that takes a message, and one line that exports it:
 *
 *     #include "grid.h"
 *
 *     static void square(grid_bytes message) {
 *         grid_reader in = grid_reader_new(message);
 *         double number = grid_get_double(&in);
 *         if (!grid_done(&in)) {
 *             grid_fail(in.error);
 *             return;
 *         }
 *         grid_writer out = grid_writer_new();
 *         grid_put_double(&out, number * number);
 *         grid_send_cbor(&out);
 *     }
 *
 *     GRID_HANDLE_MSG(square);
 *
 * Three more exports are there for those who want them: GRID_INIT, GRID_LOOP and GRID_STOP. One source file of a worker
 * uses these macros; any may include this header. On any other target than WebAssembly the calls named `grid_host_...`
 * are for the author to define, so that a worker can be tested where it is written. */
#ifndef GRID_H
#define GRID_H

#include <stdarg.h>
#include <stdio.h>

#include "grid_reader.h"
#include "grid_writer.h"

#ifdef __wasm__
#define GRID_HOST_IMPORT(name) __attribute__((import_module("grid"), import_name(name)))
#define GRID_WORKER_EXPORT(name) __attribute__((export_name(name)))
#else
#define GRID_HOST_IMPORT(name)
#define GRID_WORKER_EXPORT(name)
#endif

#ifdef __cplusplus
#define GRID_C_LINKAGE extern "C"
extern "C" {
#else
#define GRID_C_LINKAGE
#endif

/* How grave a line of the log is. */
typedef enum grid_log_level { GRID_ERROR, GRID_WARN, GRID_INFO, GRID_DEBUG, GRID_TRACE } grid_log_level;

/* What is left to do after a turn. */
typedef enum grid_turn {
    GRID_IDLE, /* nothing, until the next message; the one at hand is done */
    GRID_AGAIN /* something: call again */
} grid_turn;

/* The calls to the host, as they are. */
GRID_HOST_IMPORT("recv") int32_t grid_host_recv(void *data, size_t capacity);
GRID_HOST_IMPORT("send") void grid_host_send(const void *data, size_t length);
GRID_HOST_IMPORT("log") void grid_host_log(int32_t level, const void *data, size_t length);
GRID_HOST_IMPORT("fail") void grid_host_fail(const void *data, size_t length);

/* Sends a message to the client, waiting while too much of what was sent before is unread. More than 64 MiB end the
 * worker. */
static inline void grid_send(const void *data, size_t length) {
    grid_host_send(data, length);
}

/* Sends text with a zero at its end, which is not sent. */
static inline void grid_send_text(const char *text) {
    grid_host_send(text, strlen(text));
}

/* Writes bytes to the worker's log as a line. What is not UTF-8 is replaced. */
static inline void grid_log_bytes(grid_log_level level, const void *data, size_t length) {
    grid_host_log((int32_t)level, data, length);
}

/* Writes a line to the worker's log. */
static inline void grid_log(grid_log_level level, const char *line) {
    grid_host_log((int32_t)level, line, strlen(line));
}

/* Says that the message at hand could not be handled, and why, in bytes; the worker goes on. */
static inline void grid_fail_bytes(const void *data, size_t length) {
    grid_host_fail(data, length);
}

/* Says that the message at hand could not be handled, and why; the worker goes on. In GRID_INIT, refuses the spawn
 * arguments and ends the worker. It returns: return yourself. */
static inline void grid_fail(const char *reason) {
    grid_host_fail(reason, strlen(reason));
}

/* Bytes of a formatted line, at the most; the rest is cut. A worker's stack may have as little as 64 KiB. */
#define GRID_LINE_MAX 1024

static inline size_t grid_raw_format(char *line, const char *format, va_list arguments) {
    int length = vsnprintf(line, GRID_LINE_MAX, format, arguments);
    return length < 0 ? 0 : length < GRID_LINE_MAX ? (size_t)length : GRID_LINE_MAX - 1;
}

/* Writes a line to the worker's log, formatted as by printf. */
__attribute__((format(printf, 2, 3))) static inline void grid_logf(grid_log_level level, const char *format, ...) {
    char line[GRID_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    grid_host_log((int32_t)level, line, grid_raw_format(line, format, arguments));
    va_end(arguments);
}

/* As grid_fail, with the reason formatted as by printf. */
__attribute__((format(printf, 1, 2))) static inline void grid_failf(const char *format, ...) {
    char line[GRID_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    grid_host_fail(line, grid_raw_format(line, format, arguments));
    va_end(arguments);
}

/* Ends the worker, with a line in its log that says why. The client is told the functions that were being called. */
__attribute__((noreturn)) static inline void grid_panic(const char *text) {
    grid_log(GRID_ERROR, text);
    __builtin_trap();
}

/* Sends what was written as a message, and frees it. Fails the message at hand if there was no memory to write it. */
static inline void grid_send_cbor(grid_writer *out) {
    if (out->failed) grid_fail("no memory for the answer");
    else grid_send(out->data, out->length);
    grid_writer_free(out);
}

/* What waits to be received, of which the host said that it has `length` bytes, for the caller to free. A zero follows
 * the last byte. NULL if there is no memory. */
static inline uint8_t *grid_raw_receive(uint32_t length) {
    uint8_t *data = (uint8_t *)malloc((size_t)length + 1);
    if (!data) return NULL;
    grid_host_recv(data, length);
    data[length] = 0;
    return data;
}

static inline void grid_raw_deliver(uint32_t length, void (*function)(grid_bytes)) {
    uint8_t *data = grid_raw_receive(length);
    grid_bytes message = {data, length};
    if (data) function(message);
    else grid_fail("no memory for the message");
    free(data);
}

#ifdef __cplusplus
}
#endif

/* Exports `void function(grid_bytes message)`, which takes a message. The message is there until the function returns,
 * and a zero follows its last byte: a message of text is a string of C. What is sent from here and from GRID_LOOP is
 * the answer. */
#define GRID_HANDLE_MSG(function)                                                                 \
    GRID_C_LINKAGE GRID_WORKER_EXPORT("handle_msg") void grid_worker_handle_msg(uint32_t length); \
    void grid_worker_handle_msg(uint32_t length) { grid_raw_deliver(length, function); }          \
    GRID_C_LINKAGE void grid_worker_handle_msg(uint32_t length)

/* Exports `void function(grid_bytes arguments)`, which is called once, first, with the spawn arguments. All as for a
 * message. */
#define GRID_INIT(function)                                                           \
    GRID_C_LINKAGE GRID_WORKER_EXPORT("init") void grid_worker_init(uint32_t length); \
    void grid_worker_init(uint32_t length) { grid_raw_deliver(length, function); }    \
    GRID_C_LINKAGE void grid_worker_init(uint32_t length)

/* Exports `grid_turn function(void)`, which does a slice of what is left to do. It is called after each message, and
 * again for as long as it returns GRID_AGAIN; the message is done at the first GRID_IDLE. */
#define GRID_LOOP(function)                                                   \
    GRID_C_LINKAGE GRID_WORKER_EXPORT("loop") int32_t grid_worker_loop(void); \
    int32_t grid_worker_loop(void) { return function(); }                     \
    GRID_C_LINKAGE int32_t grid_worker_loop(void)

/* Exports `void function(void)`, the last call, when the worker is stopped in good order. It has two seconds. */
#define GRID_STOP(function)                                                \
    GRID_C_LINKAGE GRID_WORKER_EXPORT("stop") void grid_worker_stop(void); \
    void grid_worker_stop(void) { function(); }                            \
    GRID_C_LINKAGE void grid_worker_stop(void)

#endif
