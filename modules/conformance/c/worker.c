/* The conformance worker. The first byte of a message says what to do, and the rest is its body:
 *
 *   (none)  sends an empty message      g  logs the body at each level
 *   =  sends the body back              o  writes the body to standard output and error
 *   +  counts these messages            t  traps with the body as the message
 *   *  sends as many messages           m  takes so many MiB of memory
 *   a  sends the spawn arguments        c  decodes CBOR and encodes it again
 *   l  takes as many turns              n  says what type the CBOR is here
 *   f  fails with the body              all else fails
 */
#include "grid.h"
#include "grid_value.h"

static uint64_t count;
static grid_bytes arguments;
static struct {
    bool busy;
    uint64_t wanted, taken;
} turns;

static void send_number(uint64_t number) {
    char text[24];
    grid_send(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)number));
}

/* The body as a decimal number. A zero follows it. */
static uint64_t decimal(grid_bytes body) {
    return strtoull((const char *)body.data, NULL, 10);
}

static void write_line(FILE *stream, grid_bytes line) {
    fwrite(line.data, 1, line.length, stream);
    fputc('\n', stream);
    fflush(stream);
}

__attribute__((noinline)) static void deliberate_trap(const char *text) {
    grid_panic(text);
}

__attribute__((noinline)) static void trap_on_request(const char *text) {
    deliberate_trap(text);
}

/* Takes pieces of one MiB, and gives them back when all are there, or there is no more. */
static void take_memory(uint64_t pieces) {
    enum { PIECE = 1 << 20 };
    struct piece {
        struct piece *before;
        uint8_t rest[PIECE - sizeof(void *)];
    } *last = NULL;
    uint64_t taken = 0;
    for (; taken < pieces; taken++) {
        struct piece *piece = malloc(PIECE);
        if (!piece) break;
        memset(piece, 0xa5, PIECE);
        piece->before = last;
        last = piece;
    }
    while (last) {
        struct piece *before = last->before;
        free(last);
        last = before;
    }
    if (taken == pieces) grid_send_text("allocated");
    else grid_failf("no memory after %llu MiB", (unsigned long long)taken);
}

static void convert_cbor(grid_bytes body) {
    grid_reader in = grid_reader_new(body);
    grid_value value = grid_get_value(&in);
    if (grid_done(&in)) {
        grid_writer out = grid_writer_new();
        grid_put_value(&out, &value);
        grid_send_cbor(&out);
    } else grid_fail(in.error);
    grid_value_free(&value);
}

static void name_type(grid_bytes body) {
    static const char *const names[] = {
        [GRID_NONE] = "nothing",     [GRID_UINT] = "uint64_t",   [GRID_NEGATIVE] = "negative uint64_t",
        [GRID_BYTES] = "uint8_t *",  [GRID_TEXT] = "char *",     [GRID_ARRAY] = "grid_value *",
        [GRID_MAP] = "grid_value *", [GRID_TAG] = "grid_value",  [GRID_BOOL] = "bool",
        [GRID_NULL] = "NULL",        [GRID_SIMPLE] = "uint64_t", [GRID_FLOAT] = "double",
    };
    grid_reader in = grid_reader_new(body);
    grid_kind kind = grid_peek(&in);
    grid_skip(&in);
    if (grid_done(&in)) grid_send_text(names[kind]);
    else grid_fail(in.error);
}

static void handle_msg(grid_bytes message) {
    if (message.length == 0) {
        grid_send(NULL, 0);
        return;
    }
    grid_bytes body = {message.data + 1, message.length - 1};
    uint64_t wanted;
    switch (message.data[0]) {
    case '=': grid_send(body.data, body.length); break;
    case '+': send_number(++count); break;
    case '*':
        wanted = decimal(body);
        for (uint64_t i = 0; i < wanted; i++) send_number(i);
        break;
    case 'a': grid_send(arguments.data, arguments.length); break;
    case 'l':
        turns.busy = true;
        turns.wanted = decimal(body);
        turns.taken = 0;
        break;
    case 'f': grid_fail_bytes(body.data, body.length); break;
    case 'g':
        for (int level = GRID_ERROR; level <= GRID_TRACE; level++)
            grid_log_bytes((grid_log_level)level, body.data, body.length);
        grid_send_text("logged");
        break;
    case 'o':
        write_line(stdout, body);
        write_line(stderr, body);
        grid_send_text("written");
        break;
    case 't': trap_on_request((const char *)body.data); break;
    case 'm': take_memory(decimal(body)); break;
    case 'c': convert_cbor(body); break;
    case 'n': name_type(body); break;
    default: grid_fail("unknown request");
    }
}

static void init(grid_bytes given) {
    if (strcmp((const char *)given.data, "refuse") == 0) {
        grid_fail("refused");
        return;
    }
    uint8_t *copy = malloc(given.length + 1);
    if (!copy) grid_panic("no memory for the arguments");
    memcpy(copy, given.data, given.length);
    arguments = (grid_bytes){copy, given.length};
}

static grid_turn turn(void) {
    if (!turns.busy) return GRID_IDLE;
    if (turns.taken < turns.wanted) {
        turns.taken++;
        return GRID_AGAIN;
    }
    char text[32];
    grid_send(text, (size_t)snprintf(text, sizeof text, "turns:%llu", (unsigned long long)turns.taken));
    turns.busy = false;
    return GRID_IDLE;
}

static void stop(void) {
    grid_log(GRID_INFO, "stopped");
}

GRID_HANDLE_MSG(handle_msg);
GRID_INIT(init);
GRID_LOOP(turn);
GRID_STOP(stop);
