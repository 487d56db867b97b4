//! {{name}} sums the numbers that it is sent as CBOR, and answers the sum so far.

const std = @import("std");
const grid = @import("grid");

pub const std_options = grid.std_options;
pub const panic = grid.panic;

const Worker = struct {
    sum: f64 = 0,

    pub fn handle(worker: *Worker, arena: std.mem.Allocator, message: []const u8) !void {
        worker.sum += try grid.cbor.decode(f64, arena, message);
        try grid.sendCbor(worker.sum);
    }
};

comptime {
    grid.exportWorker(Worker);
}
