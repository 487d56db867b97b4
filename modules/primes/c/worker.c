/* Counts primes the naive way: tries every smaller divisor until one divides.
 *
 * A message is the CBOR pair [from, to], or a line of text with a number n, which means [n, n + 1000]; the answer is the
 * CBOR map {from, to, count, largest} for the primes p with from <= p < to. */
#include "grid.h"

/* What is known so far about the range at hand. */
static struct {
    bool busy;
    uint32_t from, to, next;
    uint32_t count, largest; /* there is no largest while the count is 0 */
} found;

/* Numbers looked at in one turn. */
enum { SLICE = 100 };

/* Numbers in the range that a line of text stands for. */
enum { LINE = 1000 };

/* Whether the message is a number as text, alone but for spaces around it. No digit and no space begins a pair in CBOR, so
 * the two forms never meet. */
static bool is_line(grid_bytes message, uint32_t *number) {
    static const char spaces[] = " \t\r\n";
    const char *text = (const char *)message.data + strspn((const char *)message.data, spaces);
    size_t digits = strspn(text, "0123456789");
    const char *end = text + digits;
    uint64_t value = 0;
    for (; text < end && value <= UINT32_MAX; text++) value = value * 10 + (uint64_t)(*text - '0');
    *number = (uint32_t)value;
    end += strspn(end, spaces);
    return digits > 0 && value <= UINT32_MAX && end == (const char *)message.data + message.length;
}

static void handle_msg(grid_bytes message) {
    uint64_t from, to;
    uint32_t number;
    if (is_line(message, &number)) {
        from = number;
        to = from + LINE < UINT32_MAX ? from + LINE : UINT32_MAX;
    } else {
        grid_reader in = grid_reader_new(message);
        grid_enter_array(&in);
        from = grid_get_uint(&in);
        to = grid_get_uint(&in);
        grid_leave(&in);
        if (from > UINT32_MAX || to > UINT32_MAX) grid_mistake(&in, "expected integers of 32 bits");
        if (!grid_done(&in)) {
            grid_failf("expected the CBOR pair [from, to] or a number as text: %s", in.error);
            return;
        }
    }
    memset(&found, 0, sizeof found);
    found.busy = true;
    found.from = found.next = (uint32_t)from;
    found.to = (uint32_t)to;
}

static bool is_prime(uint32_t number) {
    for (uint32_t divisor = 2; divisor < number; divisor++)
        if (number % divisor == 0) return false;
    return number >= 2;
}

static void answer(void) {
    grid_writer out = grid_writer_new();
    grid_put_map(&out, 4);
    grid_put_text(&out, "from");
    grid_put_uint(&out, found.from);
    grid_put_text(&out, "to");
    grid_put_uint(&out, found.to);
    grid_put_text(&out, "count");
    grid_put_uint(&out, found.count);
    grid_put_text(&out, "largest");
    if (found.count > 0) grid_put_uint(&out, found.largest);
    else grid_put_null(&out);
    grid_send_cbor(&out);
}

static grid_turn turn(void) {
    if (!found.busy) return GRID_IDLE;
    for (int left = SLICE; left > 0 && found.next < found.to; left--, found.next++) {
        if (!is_prime(found.next)) continue;
        found.count++;
        found.largest = found.next;
    }
    if (found.next < found.to) return GRID_AGAIN;
    answer();
    found.busy = false;
    return GRID_IDLE;
}

GRID_HANDLE_MSG(handle_msg);
GRID_LOOP(turn);
