/* {{name}}: sums the integers that it is sent as CBOR, and answers the sum so far. */
#include "grid.h"

static int64_t sum;

static void add(grid_bytes message) {
    grid_reader in = grid_reader_new(message);
    int64_t number = grid_get_int(&in);
    int64_t next;
    if (!grid_done(&in)) {
        grid_fail(in.error);
        return;
    }
    if (__builtin_add_overflow(sum, number, &next)) {
        grid_fail("the sum is too large");
        return;
    }
    sum = next;
    grid_writer out = grid_writer_new();
    grid_put_int(&out, sum);
    grid_send_cbor(&out);
}

GRID_HANDLE_MSG(add);
